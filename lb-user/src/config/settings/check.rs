//! The settings of checks.

use super::Absent::{Required, Value, Words};
use super::{Section, setting};

const TIME: &str = "a text such as `\"2s\"` or `\"500ms\"`, from 100ms to 1h";

pub(in crate::config) const CHECK: Section = Section {
    title: "[[check]]",
    doc: "How it is found out whether backends do their work; one block each, named by `check` of vips and backends. A check of the same address and port runs once, however many vips share it.",
    settings: &[
        setting("name", "a name as for vips", Required, "How vips and backends call it."),
        setting(
            "type",
            "`tcp`, `http`, `udp` or `exec`",
            Required,
            "`tcp` connects, and says `send` and waits for `expect` when they are there; `http` makes a request; `udp` sends a datagram and waits for `expect`, or without one makes sure that nobody calls the port closed; `exec` runs a command.",
        ),
        setting(
            "port",
            "1 to 65535",
            Words("the vip's port"),
            "The port that is asked. Needed for vips with port 0.",
        ),
        setting(
            "via",
            "`direct` or `tunnel`",
            Value("\"direct\""),
            "Who is asked: with `direct` the backend's own address; with `tunnel` the vip's, by packets that come to the backend as those of clients do, so that a tunnel, a vip or a rule of a firewall that is missing there is found, too. See OPERATIONS.md, \"Checks through the tunnel\".",
        ),
        setting(
            "interval",
            TIME,
            Value("\"2s\""),
            "From the begin of one probe to the begin of the next; up to a tenth less, so that checks do not march in step.",
        ),
        setting(
            "fast_interval",
            TIME,
            Words("`interval`"),
            "The same while results contradict the state, or no state is known yet.",
        ),
        setting(
            "down_interval",
            TIME,
            Words("`interval`"),
            "The same for a backend that stays unhealthy: it doubles from `interval` up to this.",
        ),
        setting(
            "timeout",
            "a text such as `\"500ms\"`, from 10ms to 1min",
            Value("\"1s\""),
            "So long a whole probe may take, whatever comes meanwhile.",
        ),
        setting("rise", "1 to 100", Value("2"), "Passes in a row that make a backend healthy."),
        setting(
            "fall",
            "1 to 100",
            Value("3"),
            "Failures in a row that make a backend unhealthy. A backend that dies gets no new flows after at most `interval` × `fall` + `timeout`.",
        ),
        setting(
            "start",
            "`up` or `down`",
            Value("\"up\""),
            "Whether a backend gets flows before its first results, after a start of the daemon and when it is new.",
        ),
        setting("method", "an HTTP method", Value("\"GET\""), "For `http`."),
        setting("path", "path and query", Value("\"/\""), "For `http`."),
        setting(
            "host",
            "a host name",
            Words("the backend's address and port"),
            "For `http`: the `Host` header.",
        ),
        setting(
            "headers",
            "list of texts such as `\"X-Token: abc\"`",
            Value("[]"),
            "For `http`: more headers.",
        ),
        setting("http_version", "`1.0` or `1.1`", Value("\"1.1\""), "For `http`."),
        setting(
            "status",
            "list of codes, ranges and classes, such as `[\"204\", \"200-202\", \"3xx\"]`",
            Value("[\"2xx\", \"3xx\"]"),
            "For `http`: the answers that are good.",
        ),
        setting(
            "body_contains",
            "a text",
            Words("the body is not read"),
            "For `http`: part of what the body begins with; the first 64 KiB are searched.",
        ),
        setting(
            "send",
            "a text",
            Words("nothing is said"),
            "For `tcp` and `udp`; `udp` needs it. `\"\\r\\n\"` ends a line.",
        ),
        setting(
            "expect",
            "a text",
            Words("no answer is waited for"),
            "For `tcp` and `udp`: part of the answer; its first 64 KiB are searched.",
        ),
        setting(
            "command",
            "list of texts: the path of a program, and what it is given",
            Words("none; `exec` needs it"),
            "For `exec`. Exit status 0 is a pass. It finds the backend in `FERROLEV_ADDRESS` and `FERROLEV_PORT`; there is no shell in between, and its output is not read.",
        ),
        setting(
            "dynamic_weight",
            "`true` or `false`",
            Value("false"),
            "For `exec`: exit status 2 to 255 is a pass too, and asks for the weight that is two less, as with `misc_dynamic` of keepalived.",
        ),
    ],
    tables: &[],
};
