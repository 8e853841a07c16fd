//! The settings of the whole instance.

use super::Absent::{Required, Value, Words};
use super::{BACKEND, Section, VIP, setting};

pub(in crate::config) const TOP: Section = Section {
    title: "the top level",
    doc: "These keys stand at the beginning of the file, before the first `[section]`.",
    settings: &[
        setting(
            "interfaces",
            "list of interface names",
            Required,
            "Where the program attaches: every interface on which packets for vips arrive. Packets may leave by any interface.",
        ),
        setting(
            "xdp_mode",
            "`native`, `generic` or `offload`",
            Value("\"native\""),
            "How the program attaches. `native` runs in the driver; `generic` works with every driver and is several times slower; `offload` runs on the network card. `--xdp-mode` wins over it.",
        ),
        setting(
            "hash_seed",
            "0 to 18446744073709551615",
            Value("0"),
            "Seed of the hash that assigns flows to ring slots. Give balancers that share flows the same seed. A change moves most flows.",
        ),
        setting(
            "metrics_listen",
            "ADDRESS:PORT",
            Words("not served over TCP"),
            "Serves Prometheus metrics under `/metrics` at this TCP address. They are always served on the unix socket.",
        ),
    ],
    tables: &[
        ("tunnel", &TUNNEL),
        ("limits", &LIMITS),
        ("access", &ACCESS),
        ("backend", &BACKEND),
        ("vip", &VIP),
    ],
};

pub(in crate::config) const TUNNEL: Section = Section {
    title: "[tunnel]",
    doc: "How the outer headers of encapsulated packets are filled.",
    settings: &[
        setting(
            "source4",
            "IPv4 address or prefix",
            Words("the address that the route to the backend prefers"),
            "Outer source address towards IPv4 backends. With a prefix such as `172.16.0.0/16` (/8 to /32) the host bits carry a hash of the flow, which spreads flows over receive queues and equal-cost paths; backends must accept tunnels from the whole prefix.",
        ),
        setting(
            "source6",
            "IPv6 address or prefix",
            Words("the address that the route to the backend prefers"),
            "The same towards IPv6 backends; prefixes from /96 to /128.",
        ),
        setting("ttl", "1 to 255", Value("64"), "Outer TTL and hop limit."),
        setting(
            "dscp",
            "`copy`, or 0 to 63",
            Value("\"copy\""),
            "Outer DSCP: the inner packet's, or a fixed number. ECN is always copied.",
        ),
        setting("gue_port", "1 to 65535", Value("6080"), "UDP port of the backends that takes GUE in."),
        setting(
            "gue_variant",
            "0 or 1",
            Value("1"),
            "What stands between the UDP header and the inner packet in GUE: with 1 nothing, with 0 a header of four bytes. Linux (`ip fou add port 6080 gue`) takes both in.",
        ),
        setting(
            "oversize",
            "`kernel` or `drop`",
            Value("\"kernel\""),
            "What becomes of an IPv4 packet that may be fragmented and is too large for the way to its backend: the kernel sends it in fragments, towards IPv4 backends, or it is dropped. Senders of packets that must not be fragmented are told the size that fits.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const LIMITS: Section = Section {
    title: "[limits]",
    doc: "Sizes of the kernel's tables, and rates of what is not simply forwarded. Memory for the tables (`dests`, `ring_memory`, `fragments`) is taken when the program is loaded; a change loads it anew without stopping traffic. The other keys count at once.",
    settings: &[
        setting(
            "dests",
            "1 to 1048576",
            Value("8192"),
            "Room for dests. A vip, and each of its routes, takes the next power of two that holds its backends twice, at least 4, so that backends can be exchanged without a pause; one spare block of the largest size is needed for changes.",
        ),
        setting(
            "ring_memory",
            "bytes, or a text such as `\"32MiB\"` (KiB, MiB, GiB), up to 4GiB",
            Value("\"32MiB\""),
            "Room for rings. A slot takes 2 bytes and a ring is rounded up to 2 KiB, so a ring of 65537 slots takes 130 KiB; with QUIC routing 2 KiB more for up to 256 backends. Every ring needs room twice, because a change writes new rings beside the old ones; the default holds 126 rings of the default size.",
        ),
        setting(
            "fragments",
            "1 to 1048576",
            Value("16384"),
            "Room for datagrams in fragments that are followed at once, for vips with `fragments = \"track\"`, and for pings in fragments. When it is full, the ones that were quiet for longest are forgotten. An entry takes about 200 bytes.",
        ),
        setting(
            "replies_per_second",
            "0 to 1000000",
            Value("1000"),
            "Echo replies that the program sends a second; as many \"too big\" messages, and as many rejects. With 0 none are sent.",
        ),
        setting(
            "fragments_per_second",
            "0 to 10000000",
            Value("10000"),
            "Datagrams in fragments that may begin a second; the others are dropped (`fragment_flood`). With 0 none is followed.",
        ),
        setting(
            "fragment_timeout",
            "a text such as `\"15s\"` or `\"500ms\"`, from 100ms to 10min",
            Value("\"15s\""),
            "How long the next fragment of a datagram is waited for. A later one is taken for the first that comes of another datagram.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const ACCESS: Section = Section {
    title: "[access]",
    doc: "Which sources may use the vips, such as `[\"192.0.2.0/24\", \"2001:db8::/32\"]`. The longest prefix that holds a source decides; the same prefix in both lists is an error. Without any, all sources may. A vip can have lists of its own, which are asked after these.",
    settings: &[
        setting(
            "allow",
            "list of prefixes or addresses",
            Value("[]"),
            "Sources that may use the vips. When it or `allow_file` holds any, all others may not.",
        ),
        setting(
            "allow_file",
            "path of a text file",
            Words("no file"),
            "More of them: one prefix or address a line; empty lines and what follows a `#` do not count. A relative path begins at the directory of the configuration file. The file is read at start and on a reload, and may have a million lines.",
        ),
        setting("deny", "list of prefixes or addresses", Value("[]"), "Sources that may not use any vip."),
        setting("deny_file", "path of a text file", Words("no file"), "More of them, as in `allow_file`."),
    ],
    tables: &[],
};
