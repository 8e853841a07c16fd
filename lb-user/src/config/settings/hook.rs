//! The settings of hooks.

use super::Absent::{Required, Value, Words};
use super::{Section, setting};

pub(in crate::config) const HOOK: Section = Section {
    title: "[[hook]]",
    doc: "Whom to tell when the health of backends or the role of a virtual router changes; one block each. Events of one hook are told one after the other, and no hook waits for another. See OPERATIONS.md, \"Being told\".",
    settings: &[
        setting("name", "a name as for vips", Required, "How logs, metrics and `ferrolev status` call it."),
        setting(
            "type",
            "`exec`, `webhook` or `email`",
            Required,
            "`exec` runs a command, `webhook` sends an HTTP POST request with the event as JSON, `email` sends a mail.",
        ),
        setting(
            "on",
            "list of `health`, `vrrp` and kinds of events",
            Value("[\"health\", \"vrrp\"]"),
            "What is told. Kinds of `health`: `backend_up`, `backend_down`, `alarm`, `alarm_over`; of `vrrp`: `role`, `group_role`, `new_master`, `lower_ignored`, `held`, `handing_over`, `nobody_took_over`, `dual_master`, `dual_master_over`, `claimed`.",
        ),
        setting(
            "vips",
            "list of names of vips",
            Words("all"),
            "Of the events about vips only those about one of these. So do `backends` and `routers`: each restricts the events that have such names, and no others.",
        ),
        setting("backends", "list of names of backends", Words("all"), "As `vips`."),
        setting("routers", "list of names of virtual routers and sync groups", Words("all"), "As `vips`."),
        setting(
            "timeout",
            "a text such as `\"5s\"`, from 100ms to 5min",
            Value("\"10s\""),
            "So long a whole call may take. A command is ended then, with all that it has begun.",
        ),
        setting(
            "tries",
            "1 to 20",
            Value("4"),
            "For `webhook` and `email`: how often it is tried at most, with pauses of 1, 2, 4, … up to 60 seconds. What a receiver refuses for good (HTTP 4xx, SMTP 5xx) is not tried again.",
        ),
        setting(
            "rate",
            "0 to 60000",
            Value("60"),
            "Calls a minute in the long run. What comes beyond is left out and summed up in one call, \"N events left out\", which says how it ended. 0: no limit.",
        ),
        setting("burst", "1 to 10000", Value("60"), "Calls that may come at once before `rate` counts."),
        setting(
            "queue",
            "1 to 10000",
            Value("256"),
            "Events that wait for their call. In a full queue the oldest one is left out, and summed up as with `rate`.",
        ),
        setting(
            "command",
            "list of texts, the first one the path of a program",
            Words("required for `exec`"),
            "For `exec`: the command and its arguments; no shell is in between. `{text}` stands for a value, and all values are in the environment (`FERROLEV_TEXT`): `event`, `class`, `time`, `host`, `instance`, `text`, `vips`, `route`, `backends`, `check`, `address`, `port`, `state`, `before`, `reason`, `alarm`, `router`, `group`, `priority`, `peer`, `count`, `last`. It runs in `/` as the user of the daemon.",
        ),
        setting(
            "arguments",
            "`none` or `keepalived`",
            Value("\"none\""),
            "For `exec`: with `keepalived` four arguments are appended as keepalived does for `notify`: `INSTANCE` or `GROUP`, its name, `MASTER`, `BACKUP`, `FAULT` or `STOP`, and the priority (0 for groups). Such a hook is called for changes of roles alone.",
        ),
        setting(
            "url",
            "a URL with `http` or `https`",
            Words("`url` or `url_file` is required for `webhook`"),
            "For `webhook`: where to send to. A status of 2xx is a success; redirects are not followed.",
        ),
        setting(
            "url_file",
            "the path of a file",
            Words("`url` or `url_file` is required for `webhook`"),
            "For `webhook`: a file with the URL, for one that is a secret. Files of secrets are read at each call.",
        ),
        setting(
            "headers",
            "list of texts such as `\"X-Team: net\"`",
            Value("[]"),
            "For `webhook`: more headers. Secrets, such as `Authorization`, belong in `headers_file`.",
        ),
        setting(
            "headers_file",
            "the path of a file",
            Words("none"),
            "For `webhook`: a file with more headers, one a line.",
        ),
        setting(
            "server",
            "a host name or an address",
            Words("required for `email`"),
            "For `email`: the SMTP server.",
        ),
        setting(
            "port",
            "1 to 65535",
            Words("587 with `starttls`, 465 with `tls`, else 25"),
            "For `email`: the server's port.",
        ),
        setting(
            "security",
            "`none`, `starttls` or `tls`",
            Value("\"starttls\""),
            "For `email`: with `starttls` the connection switches to TLS before anything is said, or the call fails; with `tls` it begins with it; with `none` all is said in the clear.",
        ),
        setting(
            "user",
            "a text",
            Words("nobody logs in"),
            "For `email`: the name to log in with (AUTH PLAIN or LOGIN).",
        ),
        setting(
            "password_file",
            "the path of a file",
            Words("required with `user`"),
            "For `email`: a file with the password.",
        ),
        setting(
            "from",
            "a mail address",
            Words("required for `email`"),
            "For `email`: the sender, such as `\"Ferrolev <lb@example.com>\"`.",
        ),
        setting(
            "to",
            "list of mail addresses",
            Words("required for `email`"),
            "For `email`: the recipients.",
        ),
        setting(
            "verify",
            "`true` or `false`",
            Value("true"),
            "For `webhook` and `email` with TLS: whether the certificate has to be trusted, valid now, and for the name.",
        ),
        setting(
            "ca",
            "the path of a file",
            Words("the system's certificates"),
            "For `webhook` and `email` with TLS: the trusted certificates (PEM).",
        ),
    ],
    tables: &[],
};
