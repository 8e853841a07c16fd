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
            "`tcp`, `tls`, `http`, `https`, `grpc`, `udp`, `dns`, `ping`, `agent`, `file` or `exec`",
            Required,
            "`tcp` connects, and says `send` and waits for `expect` when they are there; `tls` shakes hands; `http` and `https` make a request; `grpc` asks the health service of a gRPC server; `udp` sends a datagram and waits for `expect`, or without one makes sure that nobody calls the port closed; `dns` asks a name server; `ping` sends an echo request; `agent` does as an agent on the backend says, in the words of HAProxy's `agent-check`; `file` looks at a file of this host; `exec` runs a command.",
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
            "Who is asked: with `direct` the backend's own address; with `tunnel` the vip's, by packets that come to the backend as those of clients do, so that a tunnel, a vip or a rule of a firewall that is missing there is found, too. For all types but `ping` and `file`, and without `source` and `interface`. See OPERATIONS.md, \"Checks through the tunnel\".",
        ),
        setting(
            "source",
            "list of addresses of this host, at most one for each family",
            Value("[]"),
            "What probes come from; for types that send packets. Without one the kernel chooses.",
        ),
        setting(
            "interface",
            "the name of an interface",
            Words("what the routes say"),
            "What probes leave through, whatever the routes say; for types that send packets.",
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
        setting("method", "an HTTP method", Value("\"GET\""), "For `http` and `https`."),
        setting("path", "path and query", Value("\"/\""), "For `http` and `https`."),
        setting(
            "host",
            "a host name",
            Words("the backend's address and port"),
            "For `http`, `https` and `grpc`: the `Host` header, or what HTTP/2 has for it.",
        ),
        setting(
            "headers",
            "list of texts such as `\"X-Token: abc\"`",
            Value("[]"),
            "For `http` and `https`: more headers.",
        ),
        setting(
            "http_version",
            "`1.0`, `1.1` or `2`",
            Value("\"1.1\""),
            "For `http` and `https`. HTTP/2 in the clear is spoken from the first byte on (prior knowledge).",
        ),
        setting(
            "status",
            "list of codes, ranges and classes, such as `[\"204\", \"200-202\", \"3xx\"]`",
            Value("[\"2xx\", \"3xx\"]"),
            "For `http` and `https`: the answers that are good.",
        ),
        setting(
            "body_contains",
            "a text",
            Words("the body is not read"),
            "For `http` and `https`: part of what the body begins with; the first 64 KiB are searched.",
        ),
        setting(
            "body_matches",
            "a regular expression",
            Words("the body is not read"),
            "The same, as an expression in the syntax of Rust's regex crate; it takes time in proportion to the body, whatever it is.",
        ),
        setting(
            "requests",
            "1 to 1000000",
            Value("1"),
            "For `http` and `https` below HTTP/2: requests over one connection, which is kept between probes meanwhile. A connection that the server has closed since is replaced, and no failure.",
        ),
        setting("tls", "`true` or `false`", Value("false"), "For `grpc`: over TLS."),
        setting(
            "server_name",
            "a host name",
            Words("`host`, else the backend's address"),
            "With TLS: whom to ask for (SNI), and whom the certificate has to be for.",
        ),
        setting(
            "verify",
            "`true` or `false`",
            Value("false"),
            "With TLS: whether the certificate has to be valid, for that name, and from somebody who is trusted. Without it any certificate will do.",
        ),
        setting(
            "ca",
            "the path of a file with certificates (PEM)",
            Words("the system's"),
            "With `verify`: who is trusted. This file and those below are read again when they change.",
        ),
        setting(
            "client_certificate",
            "the path of a file with certificates (PEM)",
            Words("none"),
            "With TLS: what this side shows when it is asked who it is.",
        ),
        setting("client_key", "the path of its key (PEM)", Words("none"), "With `client_certificate`."),
        setting(
            "service",
            "the name of a service",
            Value("\"\""),
            "For `grpc`: whose health is asked for; an empty name is the server as a whole.",
        ),
        setting(
            "query",
            "a domain name",
            Words("none; `dns` needs it"),
            "For `dns`: what is asked for; `\".\"` is the root.",
        ),
        setting("query_type", "a type of records, such as `AAAA` or `TYPE99`", Value("\"A\""), "For `dns`."),
        setting(
            "rcode",
            "list of `noerror`, `formerr`, `servfail`, `nxdomain`, `notimp` and `refused`",
            Value("[\"noerror\"]"),
            "For `dns`: the answers that are good.",
        ),
        setting(
            "answer",
            "an address, a name or a text",
            Words("any"),
            "For `dns`: what one of the records has to say.",
        ),
        setting(
            "transport",
            "`udp` or `tcp`",
            Value("\"udp\""),
            "For `dns`. With `answer`, what does not fit into a datagram is asked for by TCP.",
        ),
        setting("size", "0 to 1400", Value("0"), "For `ping`: so many bytes more in the packet."),
        setting(
            "file",
            "the path of a file",
            Words("none; `file` needs it"),
            "For `file`: it has to be there. `{address}` and `{port}` in it stand for the backend's.",
        ),
        setting(
            "send",
            "a text",
            Words("nothing is said"),
            "For `tcp`, `udp` and `agent`; `udp` needs it. `\"\\r\\n\"` ends a line.",
        ),
        setting(
            "expect",
            "a text",
            Words("no answer is waited for"),
            "For `tcp`, `udp` and `file`: part of the answer, or of the file; the first 64 KiB are searched.",
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
            "For `exec`: exit status 2 to 255 is a pass too, and asks for the weight that is two less, as with `misc_dynamic` of keepalived. For `file`: it says the weight, and nothing else.",
        ),
    ],
    tables: &[],
};
