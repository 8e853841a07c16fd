//! Every setting of the configuration file: the one table that the reader takes its keys from and that
//! docs/CONFIGURATION.md is written from.

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// As messages and headings name it: `[tunnel]`.
    pub(super) title: &'static str,
    pub(super) doc: &'static str,
    pub(super) settings: &'static [Setting],
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    /// What values look like.
    pub(super) form: &'static str,
    pub(super) absent: Absent,
    pub(super) doc: &'static str,
}

/// What holds when a key is not there.
#[derive(Debug)]
pub(super) enum Absent {
    Required,
    /// As the file would say it.
    Value(&'static str),
    /// In words.
    Words(&'static str),
}

const fn setting(key: &'static str, form: &'static str, absent: Absent, doc: &'static str) -> Setting {
    Setting { key, form, absent, doc }
}

use Absent::{Required, Value, Words};

pub(super) const TOP: Section = Section {
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
};

pub(super) const TUNNEL: Section = Section {
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
    ],
};

pub(super) const LIMITS: Section = Section {
    title: "[limits]",
    doc: "Sizes of the kernel's tables. Memory is taken when the program is loaded; a change loads it anew without stopping traffic.",
    settings: &[
        setting(
            "dests",
            "1 to 1048576",
            Value("8192"),
            "Room for dests. A vip takes the next power of two that holds its backends twice, at least 4, so that backends can be exchanged without a pause; one spare block of the largest size is needed for changes.",
        ),
        setting(
            "ring_memory",
            "bytes, or a text such as `\"32MiB\"` (KiB, MiB, GiB), up to 4GiB",
            Value("\"32MiB\""),
            "Room for rings. A slot takes 2 bytes and a ring is rounded up to 2 KiB, so a ring of 65537 slots takes 130 KiB. Every ring needs room twice, because a change writes new rings beside the old ones; the default holds 126 rings of the default size.",
        ),
    ],
};

pub(super) const BACKEND: Section = Section {
    title: "[[backend]]",
    doc: "A host that serves vips; one block each. It must be another host than this one. Packets reach it with the vip's address and port inside the tunnel.",
    settings: &[
        setting(
            "name",
            "1 to 64 of the characters `A-Z a-z 0-9 . _ : / [ ] -`",
            Required,
            "How vips, commands and metrics call it.",
        ),
        setting(
            "address",
            "IPv4 or IPv6 address",
            Required,
            "Where the tunnel ends; without a port. It may be of another family than the vip's.",
        ),
        setting(
            "weight",
            "0 to 65535",
            Value("100"),
            "Share of the flows, relative to the other backends of a vip. 0 takes none.",
        ),
    ],
};

pub(super) const VIP: Section = Section {
    title: "[[vip]]",
    doc: "An address, port and protocol that is balanced; one block each, at most 4096 for IPv4 and 4096 for IPv6.",
    settings: &[
        setting(
            "name",
            "1 to 64 of the characters `A-Z a-z 0-9 . _ : / [ ] -`",
            Words("address, port and protocol, such as `203.0.113.10:80/tcp`"),
            "How commands and metrics call it.",
        ),
        setting("address", "IPv4 or IPv6 address", Required, "The address that clients use."),
        setting(
            "port",
            "0 to 65535",
            Required,
            "The port that clients use; 0 stands for all ports. A vip with the exact port goes before one with port 0.",
        ),
        setting(
            "protocol",
            "`tcp` or `udp`",
            Required,
            "The transport protocol. A service on both takes two vips.",
        ),
        setting(
            "mode",
            "`ipip`, `gue` or `l2`",
            Value("\"ipip\""),
            "How packets reach the backends: `ipip` is IP in IP and `gue` IP in UDP, both for all combinations of IPv4 and IPv6; `l2` only changes the MAC addresses, for backends on the same segment.",
        ),
        setting(
            "ring_size",
            "a prime from 251 to 655373",
            Value("65537"),
            "Slots of the vip's Maglev ring. More slots spread more evenly; about 100 for each backend keep the spread within 1 %. A change moves most flows.",
        ),
        setting(
            "affinity",
            "`five-tuple`, `source` or `source-and-port`",
            Value("\"five-tuple\""),
            "Which packets stay together: those of a connection, all of a client's source address, or all of a source address to the same port.",
        ),
        setting(
            "backends",
            "list of backend names or `{ name = \"…\", weight = … }`",
            Value("[]"),
            "Who serves the vip. The long form gives a backend another weight for this vip.",
        ),
    ],
};

pub(super) const MEMBER: Section = Section {
    title: "'backends' of [[vip]]",
    doc: "",
    settings: &[
        setting("name", "a backend's name", Required, "The backend."),
        setting("weight", "0 to 65535", Words("the backend's weight"), "Its weight for this vip."),
    ],
};

/// The tables that the top level holds, by key.
pub(super) const TABLES: &[(&str, &Section)] =
    &[("tunnel", &TUNNEL), ("limits", &LIMITS), ("backend", &BACKEND), ("vip", &VIP)];

impl Section {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let tables: &[(&str, &Section)] = if self.title == TOP.title { TABLES } else { &[] };
        let settings = self.settings.iter().map(|setting| setting.key);
        settings.chain(tables.iter().map(|(key, _)| *key))
    }
}
