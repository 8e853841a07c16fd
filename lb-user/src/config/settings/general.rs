//! The settings of the whole instance.

use super::Absent::{Required, Value, Words};
use super::{BACKEND, CHECK, HOOK, PEER, Section, VIP, VRRP, setting};

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
        setting(
            "peer_listen",
            "ADDRESS:PORT",
            Words("none; needed with `[[peer]]`"),
            "Where peers get their copies of this node's flows.",
        ),
    ],
    tables: &[
        ("tunnel", &TUNNEL),
        ("limits", &LIMITS),
        ("flows", &FLOWS),
        ("access", &ACCESS),
        ("check", &CHECK),
        ("backend", &BACKEND),
        ("vip", &VIP),
        ("vrrp", &VRRP),
        ("peer", &PEER),
        ("hook", &HOOK),
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
        setting(
            "probe4",
            "IPv4 prefix, /8 to /30",
            Value("\"198.19.240.0/20\""),
            "Addresses that stand for vips in checks with `via = \"tunnel\"`, two for each backend of a vip address. They are used within this host only; another host or instance on the same machine must not have them.",
        ),
        setting(
            "probe6",
            "IPv6 prefix, /64 to /126",
            Value("\"fd66:6c76:7072::/112\""),
            "The same for IPv6 vips.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const LIMITS: Section = Section {
    title: "[limits]",
    doc: "Sizes of the kernel's tables, and rates of what is not simply forwarded. Memory for the tables (`dests`, `fragments`, `flows`) is taken when the program is loaded; a change of these or of `ring_memory` loads it anew without stopping traffic. The other keys count at once.",
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
            Value("\"1GiB\""),
            "The most memory that rings may take; it is taken when rings need it, and vips with the same backends, weights and ring size share one ring. A slot takes 2 bytes and a ring is rounded up to 2 KiB, so a ring of 65537 slots takes 130 KiB; with QUIC routing 2 KiB more for up to 256 backends. A file is taken only if every ring could be one of its own and be there twice, for what a change leaves behind until the flows that it concerns are over, and the largest once more, since a change writes rings beside the old ones; the default suffices for 4000 rings of the default size.",
        ),
        setting(
            "fragments",
            "1 to 1048576",
            Value("16384"),
            "Room for datagrams in fragments that are followed at once, for vips with `fragments = \"track\"`, and for pings in fragments. When it is full, the ones that were quiet for longest are forgotten. An entry takes about 200 bytes.",
        ),
        setting(
            "flows",
            "1024 to 67108864, a multiple of 8",
            Value("1048576"),
            "Room for remembered flows, 8 bytes each; the default takes 8 MiB. Only flows in ring slots that change hands are remembered, and those of vips with `tracking = \"full\"`. When there is no room, flows of which one packet was seen are forgotten first, then those that were quiet for longest.",
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

const TIME: &str = "a text such as `\"90s\"` or `\"15min\"`, from 1s to 14h";

pub(in crate::config) const FLOWS: Section = Section {
    title: "[flows]",
    doc: "What is remembered of flows whose backend changes, and for how long. A flow goes where its ring slot says, without any memory of it. When a change of the backends gives a slot to another backend, the slot is *in transition*: flows that began before go on to the backend that they are with, new ones go to the new one, and which is which is remembered, 8 bytes a flow. `tracking` of a vip turns that off, or extends it to all flows. Longer times keep quiet flows with their backends; shorter ones end transitions sooner and need less room (`limits.flows`).",
    settings: &[
        setting(
            "tcp_idle",
            TIME,
            Value("\"15min\""),
            "A remembered TCP connection without a packet for so long is over. Give connections that may be quiet for longer keepalives, or a longer time here.",
        ),
        setting(
            "udp_idle",
            TIME,
            Value("\"60s\""),
            "A remembered UDP flow without a packet for so long is over.",
        ),
        setting(
            "opened",
            TIME,
            Value("\"60s\""),
            "A flow of which only the first packet was seen is over so soon. In a SYN flood it says how long each SYN is remembered.",
        ),
        setting("closing", TIME, Value("\"30s\""), "A TCP connection that was seen to end is over so soon."),
        setting(
            "transition",
            TIME,
            Value("\"5min\""),
            "So long after a slot has changed hands, TCP packets of flows without a record are taken to be of older flows, and go to the backend before. A connection that was quiet during all of that goes to the new backend afterwards, which resets it.",
        ),
        setting(
            "quiet",
            TIME,
            Words("`\"60s\"`, or `transition` when that is shorter"),
            "That ends so soon already when the backend before has no flow that is remembered. Not above `transition`.",
        ),
        setting(
            "udp_learning",
            "a text such as `\"10s\"`, from 0s to 1h",
            Value("\"10s\""),
            "UDP does not say which datagram begins a flow. So long after a slot has changed hands, datagrams without a record are taken to be of older flows, later ones to begin new flows. With 0s UDP flows move at once.",
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
