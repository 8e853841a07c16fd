//! The settings of backends and vips.

use super::Absent::{Required, Value, Words};
use super::{Section, setting};

const TIME: &str = "a text such as `\"30s\"`, from 1s to 1day";

pub(in crate::config) const BACKEND: Section = Section {
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
        setting(
            "mode",
            "`ipip`, `gue` or `l2`",
            Words("the vip's mode"),
            "How packets reach this backend, in all vips.",
        ),
        setting(
            "slow_start",
            "a text such as `\"30s\"`, from 0s to 1h",
            Words("the vip's slow start"),
            "So long the backend takes to get its whole share of a vip, in all vips.",
        ),
        setting(
            "check",
            "a check's name",
            Words("the vip's check"),
            "How it is found out whether the backend does its work, in all vips.",
        ),
        setting(
            "agent",
            "the name of a check of type `agent`",
            Words("the vip's agent"),
            "An agent that is asked beside the check, in all vips.",
        ),
        setting(
            "server_id",
            "2 to 16 hexadecimal digits, such as `\"c0ffee01\"`",
            Words("none"),
            "What the backend's QUIC server writes into its connection ids. Needed for vips with `quic_server_id_length`, and of that length: two digits a byte.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const VIP: Section = Section {
    title: "[[vip]]",
    doc: "An address, port and protocol that is balanced; one block each, at most 4096 for IPv4 and 4096 for IPv6, and at most 7000 of a family with their routes and addresses. `announce`, `announce_on`, `unknown_ports` and `ping` belong to the address: what one vip says counts for all of the same address.",
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
        setting(
            "group",
            "a name as for vips",
            Words("none"),
            "Vips of one group send a client to the same backend. They need `affinity = \"source\"` and equal ring sizes, modes, backends, weights and routes; a runtime change of a backend in one of them is made in all.",
        ),
        setting(
            "fragments",
            "`track`, `hash` or `drop`",
            Value("\"track\""),
            "Where fragments go: with `track` where the rest of their flow goes, remembered in a table; with `hash` by the client's address alone, without a table, which is seldom where the flow's whole packets go unless `affinity = \"source\"`; or nowhere. `hash` is as `track` where several vips of the same protocol share the address, since a later fragment does not say for which of them it is.",
        ),
        setting(
            "tracking",
            "`adaptive`, `full` or `none`",
            Value("\"adaptive\""),
            "Which flows are remembered (`[flows]`), so that they stay with their backend when the ring changes: those in slots that change hands, while that matters; all of them, which costs every packet a look at the flow table and 8 bytes of `limits.flows` a flow, and keeps flows that are quiet for longer than a transition; or none: flows move when their slot does.",
        ),
        setting(
            "slow_start",
            "a text such as `\"30s\"`, from 0s to 1h",
            Value("\"0s\""),
            "So long a backend that is added to the running vip, undrained or reachable again takes to get its whole share: its weight grows in at most ten steps. With 0s it has it at once. There is none while backends that start slowly would have most of the weight.",
        ),
        setting(
            "check",
            "a check's name",
            Words("backends are not checked"),
            "How it is found out whether the vip's backends do their work, for those without a check of their own. An unhealthy backend gets no new flows. In vips of one group a backend is healthy in all or in none.",
        ),
        setting(
            "agent",
            "the name of a check of type `agent`",
            Words("no agent is asked"),
            "An agent on each backend that is asked beside the check, for backends without one of their own: it sets the weight, drains, and takes the backend out. A backend serves when neither its check nor its agent is against it; an agent that does not answer changes nothing. See OPERATIONS.md, \"Health\".",
        ),
        setting(
            "on_unhealthy",
            "`reset` or `drain`",
            Value("\"reset\""),
            "What becomes of the flows of a backend that turns unhealthy: with `reset` they go to other backends at once, which reset connections that they do not know, so that clients can connect anew; with `drain` they go on with the backend.",
        ),
        setting(
            "fail_open",
            "`all` or `none`",
            Value("\"all\""),
            "What happens when no backend is healthy, and no backup either: with `all` all are used as if they were, since a check may be wrong and a vip without backends is of no use; with `none` none is, and packets for the vip are dropped. With `role_check`, `all` stands for the last active one.",
        ),
        setting(
            "backup",
            "list of names from `backends`",
            Value("[]"),
            "Those of the backends that serve only in place of the others, when fewer of them than `quorum_down` are healthy: another site, or servers that say sorry.",
        ),
        setting(
            "quorum_up",
            "1 to 65535",
            Words("`quorum_down`, or 1"),
            "So many of the backends that are no backups have to be healthy before they serve again in place of the backups.",
        ),
        setting(
            "quorum_down",
            "1 to `quorum_up`",
            Words("`quorum_up`, or 1"),
            "With fewer healthy ones, the backups serve in their place, if any is healthy. Less than `quorum_up`, so that one backend that comes and goes does not switch.",
        ),
        setting(
            "panic_percent",
            "0 to 100",
            Value("0"),
            "With fewer healthy backends of a hundred, all are used, since the healthy ones could not carry the load. 0: only when none is healthy, see `fail_open`. Backups come first.",
        ),
        setting(
            "guard_percent",
            "0 to 99",
            Value("0"),
            "When more of a hundred backends, and at least two, turn unhealthy within `guard_window`, the ring stays as it was before, since a check or this host's own network may be to blame. 0 turns it off, which is the default: when many backends do die at once, their flows are lost for as long as the ring stays.",
        ),
        setting(
            "guard_window",
            TIME,
            Words("`\"10s\"`"),
            "For `guard_percent`: failures within this time count together.",
        ),
        setting(
            "guard_hold",
            TIME,
            Words("`\"5min\"`"),
            "For `guard_percent`: so long the ring stays at most. It ends before when so many have recovered that they would not have led to it, when they are disabled, or with a reload without `guard_percent`.",
        ),
        setting(
            "flap_changes",
            "0 to 100",
            Value("0"),
            "A backend whose state changes so often within `flap_window` stays out until it was healthy for `flap_hold` without a change, unless no other is healthy. 0 turns it off, which is the default: a healthy backend is worth more than a calm one to most vips.",
        ),
        setting("flap_window", TIME, Words("`\"10min\"`"), "For `flap_changes`."),
        setting("flap_hold", TIME, Words("`\"1min\"`"), "For `flap_changes`."),
        setting(
            "role_check",
            "`true` or `false`",
            Value("false"),
            "Only one backend is active, the one that passes its check, such as the primary of a database mirror: all flows go to it alone. Another one takes over with its first pass once the one before does not pass any more, without waiting for `rise` or `fall`; `on_unhealthy` says what becomes of flows that were with the one before.",
        ),
        setting(
            "role_conflict",
            "`keep`, `newest` or `lowest`",
            Words("`\"keep\"`"),
            "With `role_check`, who serves when several backends pass for longer than a round of checks, which is also an alarm: who served before, who passed last (it takes over at once), or who has the lowest address.",
        ),
        setting(
            "new_flows_per_second",
            "1 to 100000000",
            Words("no limit"),
            "New flows a second: TCP connection attempts and QUIC Initial packets. What is above is dropped; a burst of one second's worth is let through.",
        ),
        setting(
            "source_new_flows_per_second",
            "1 to 100000000",
            Words("no limit"),
            "The same for each source prefix by itself.",
        ),
        setting(
            "source_prefix4",
            "8 to 32",
            Words("`32`"),
            "Bits of an IPv4 source that make its prefix for `source_new_flows_per_second`.",
        ),
        setting("source_prefix6", "16 to 128", Words("`64`"), "The same for IPv6 sources."),
        setting(
            "allow",
            "list of prefixes or addresses",
            Value("[]"),
            "Sources that may use the vip, beside what `[access]` says of all vips. When it or `allow_file` holds any, all others may not.",
        ),
        setting(
            "allow_file",
            "path of a text file",
            Words("no file"),
            "More of them: one prefix or address a line; empty lines and what follows a `#` do not count. A relative path begins at the directory of the configuration file.",
        ),
        setting("deny", "list of prefixes or addresses", Value("[]"), "Sources that may not use the vip."),
        setting("deny_file", "path of a text file", Words("no file"), "More of them, as in `allow_file`."),
        setting(
            "quic_server_id_length",
            "1 to 8",
            Words("connection ids are not looked at"),
            "Bytes of the server ids that backends write into their QUIC connection ids, in plain text as in draft-ietf-quic-load-balancers. Packets go to the backend that their connection id names, whatever the client's address is. For UDP vips whose backends all have a `server_id`.",
        ),
        setting(
            "quic_config_id",
            "0 to 6",
            Words("`0`"),
            "Id of the configuration, in the upper three bits of a connection id's first byte. Others go by the ring.",
        ),
        setting(
            "announce",
            "`none`, `arp` or `address`",
            Value("\"none\""),
            "Who answers for the vip's address on the link: somebody else (a route, a BGP speaker, keepalived); the program, which answers ARP and neighbour solicitations, while the address is none of the host's; or the kernel, to which the address is added.",
        ),
        setting(
            "announce_on",
            "list of interface names",
            Words("interfaces with an address in whose prefix the vip's lies, or else all of `interfaces`"),
            "Where `announce` announces and, with `arp`, where neighbours are answered; VLAN interfaces too.",
        ),
        setting(
            "unknown_ports",
            "`pass`, `drop` or `reject`",
            Words("`\"drop\"` with `announce = \"arp\"`, else `\"pass\"`"),
            "What happens to packets for the address that are for none of its vips: the kernel gets them, or they are dropped, or the sender is told that nobody is there.",
        ),
        setting(
            "ping",
            "`true` or `false`",
            Value("true"),
            "Echo requests for the address are answered. With `false` the kernel gets them, or they are dropped where `unknown_ports` is `drop`.",
        ),
        setting(
            "withdraw_when_down",
            "`true` or `false`",
            Value("false"),
            "The address is not announced, and neighbours are not answered, while none of its vips has a healthy backend, so that another balancer or site can take it over. Without it a vip stays reachable whatever its backends do.",
        ),
    ],
    tables: &[("route", &ROUTE)],
};

pub(in crate::config) const ROUTE: Section = Section {
    title: "[[vip.route]]",
    doc: "Other backends for clients of some prefixes; below the `[[vip]]` that it belongs to, at most 255 in each. The route with the longest prefix that holds a client's address counts; clients in none go to the vip's own backends.",
    settings: &[
        setting(
            "name",
            "a name as for vips",
            Required,
            "How messages call it; no other route of the vip has it.",
        ),
        setting(
            "sources",
            "list of prefixes or addresses",
            Required,
            "The clients. A prefix stands in one route of a vip only.",
        ),
        setting("backends", "as in `[[vip]]`", Required, "Who serves them."),
    ],
    tables: &[],
};

pub(in crate::config) const MEMBER: Section = Section {
    title: "'backends' of [[vip]]",
    doc: "",
    settings: &[
        setting("name", "a backend's name", Required, "The backend."),
        setting("weight", "0 to 65535", Words("the backend's weight"), "Its weight for this vip."),
    ],
    tables: &[],
};
