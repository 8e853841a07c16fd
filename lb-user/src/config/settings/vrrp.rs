//! The settings of virtual routers, and of addresses that another program's election is about.

use super::Absent::{Required, Value, Words};
use super::{Section, setting};

const NAME: &str = "a name as for vips";
const TIME: &str = "a text such as `\"1s\"`, from 100ms to 1h";
const ADDRESSES: &str = "list of addresses, with a prefix length or without";

pub(in crate::config) const VRRP: Section = Section {
    title: "[vrrp]",
    doc: "Two or more hosts share addresses; one of them, the master, has them (RFC 9568, RFC 3768). See OPERATIONS.md, \"Two hosts\". The tables below belong to it.",
    settings: &[setting(
        "start_limit",
        "a text such as `\"30s\"`, from 0s to 1h",
        Value("\"30s\""),
        "After its start a host does not become master before every check has had a result, but waits for that no longer than so long. Without tables in the kernel it never does.",
    )],
    tables: &[
        ("router", &VRRP_ROUTER),
        ("group", &VRRP_GROUP),
        ("tracker", &VRRP_TRACKER),
        ("external", &VRRP_EXTERNAL),
    ],
};

pub(in crate::config) const VRRP_ROUTER: Section = Section {
    title: "[[vrrp.router]]",
    doc: "A virtual router that this host takes part in; one block each. A vip whose address is in `addresses` or `more_addresses` belongs to the master: only there it is answered for, as its `announce` and `announce_on` say. Where they say `none`, the election runs and nothing is announced. An address that is no vip's is given to the kernel.",
    settings: &[
        setting(
            "name",
            NAME,
            Required,
            "How commands and metrics call it. No other router, group or external has it.",
        ),
        setting(
            "interface",
            "the name of an interface",
            Required,
            "Where adverts are sent and heard. Always tracked: while it is down, this host takes no part.",
        ),
        setting(
            "router_id",
            "1 to 255",
            Required,
            "The virtual router's number, equal on all its hosts; keepalived's `virtual_router_id`. Once for an interface and family.",
        ),
        setting(
            "addresses",
            ADDRESSES,
            Required,
            "What the master has, named in its adverts: equal on all hosts, all of one family, at most 255 (IPv6: 90). A prefix length matters where the kernel gets the address; without one it is alone in its prefix. The first one of IPv6 is link-local (RFC 9568 5.2.9).",
        ),
        setting(
            "more_addresses",
            ADDRESSES,
            Value("[]"),
            "What the master has as well, but does not name; of any family. keepalived's `virtual_ipaddress_excluded`.",
        ),
        setting(
            "version",
            "2 or 3",
            Value("3"),
            "Of the adverts, equal on all hosts. 2 is for IPv4 only, and what keepalived sends unless told otherwise.",
        ),
        setting(
            "priority",
            "1 to 255",
            Value("100"),
            "The host with the highest becomes master. 255 is for a host that owns the addresses for good: it takes them whenever it is there.",
        ),
        setting(
            "interval",
            "version 2: whole seconds, `\"1s\"` to `\"255s\"`; version 3: `\"10ms\"` to `\"40s 950ms\"` in steps of 10 ms",
            Value("\"1s\""),
            "How often a master sends adverts. When none was heard for three of them and up to one more, the next host takes over.",
        ),
        setting(
            "preempt",
            "`now`, `never` or `after`",
            Value("\"now\""),
            "Whether this host takes over from a living master of lower priority: at once; never, keepalived's `nopreempt`; or after `preempt_delay`.",
        ),
        setting(
            "preempt_delay",
            "a text such as `\"30s\"`, from 10ms to 1h",
            Words("needed with `preempt = \"after\"`"),
            "So long after the first advert of such a master.",
        ),
        setting(
            "peers",
            "list of addresses",
            Value("[]"),
            "The other hosts. With them, adverts go to each of these, and are taken from nobody else; without, they go to the multicast group.",
        ),
        setting(
            "source",
            "an address of this host",
            Words("the interface's first one; with IPv6 its link-local one"),
            "Where adverts come from. Decides between equal priorities: the higher one wins.",
        ),
        setting(
            "check_hop_limit",
            "`true` or `false`",
            Value("true"),
            "Adverts must come with a TTL of 255, as those from the same link do. `false` is for `peers` beyond a router, and for keepalived, which sends unicast over IPv6 with 64.",
        ),
        setting(
            "password",
            "1 to 8 bytes",
            Words("none"),
            "With version 2, equal on all hosts; keepalived's `auth_type PASS`. It is sent in clear text: it keeps mistakes apart, not attackers.",
        ),
        setting(
            "checksum",
            "`pseudo-header` or `rfc9568`",
            Words("`\"pseudo-header\"`"),
            "Of version 3 over IPv4, as it is sent: as keepalived and FRR want it, or as RFC 9568 does. Both are understood.",
        ),
        setting(
            "virtual_mac",
            "`true` or `false`",
            Value("false"),
            "The addresses are at the virtual router's MAC address (00:00:5e:00:01:ID, with IPv6 00:00:5e:00:02:ID), on an interface of their own, so that neighbours need not learn anything when the master changes. Not with `peers`.",
        ),
        setting(
            "fencing",
            "`true` or `false`",
            Value("true"),
            "The kernel ends its answers for the addresses by itself, three intervals after the last advert, when this daemon stands still or dies. Without it, it goes on answering.",
        ),
        setting(
            "accept",
            "`true` or `false`",
            Value("true"),
            "Whether this host takes packets for those of the addresses that are no vip's while it is master: RFC 9568's `Accept_Mode`, keepalived's `accept`. With `false` all of them are dropped, but not questions of neighbours. Of a vip's address, `unknown_ports` and `ping` in its block say it.",
        ),
        setting(
            "announce_repeat",
            "1 to 60",
            Value("5"),
            "So often a new master announces its addresses; keepalived's `garp_master_repeat`.",
        ),
        setting(
            "announce_delay",
            "a text such as `\"5s\"`, from 0s to 1h",
            Value("\"5s\""),
            "After so long it does so once more; 0s: it does not. `garp_master_delay`.",
        ),
        setting(
            "announce_refresh",
            "a text such as `\"1min\"`, from 0s to 1day",
            Value("\"0s\""),
            "From then on so often; 0s: not at all. `garp_master_refresh`.",
        ),
        setting(
            "announce_refresh_repeat",
            "1 to 60",
            Value("1"),
            "So many times at each. `garp_master_refresh_repeat`.",
        ),
        setting(
            "announce_lower_priority_repeat",
            "0 to 60",
            Value("5"),
            "So many times when another master of lower priority was heard, or is gone. `garp_lower_prio_repeat`.",
        ),
        setting(
            "track",
            "list of tables, such as `{ interface = \"eth1\", weight = -20 }`",
            Value("[]"),
            "What the priority depends on, beside the router's interface. Each has one of `interface`, `tracker`, `vip` and `fitness`, and a `weight`, see below.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const VRRP_TRACK: Section = Section {
    title: "'track' of [[vrrp.router]]",
    doc: "What is tracked is up or down. With a weight above 0 it adds to the priority while it is up, below 0 it takes from it while it is down; with 0 the virtual router is in fault, and this host takes no part, while it is down. The sum stays from 1 to 254.",
    settings: &[
        setting("interface", "the name of an interface", Words("none"), "Up, with a carrier."),
        setting(
            "tracker",
            "a tracker's name",
            Words("none"),
            "A script is up as it says. The number in a file is multiplied by the weight and added; with weight 0 any number but 0 is a fault, and so is a product below -253.",
        ),
        setting("vip", "a vip's name", Words("none"), "Down while none of its backends serves."),
        setting(
            "fitness",
            "`true`",
            Words("tracked with weight 0"),
            "This host can forward: the program is attached, its tables are loaded, next hops are known. See `ferrolev check-fit`.",
        ),
        setting("weight", "-253 to 253", Value("0"), "See above."),
    ],
    tables: &[],
};

pub(in crate::config) const VRRP_GROUP: Section = Section {
    title: "[[vrrp.group]]",
    doc: "Virtual routers that have one role, always, such as that of IPv4 and that of IPv6: keepalived's `vrrp_sync_group`. All have the same `priority` and `preempt`.",
    settings: &[
        setting("name", NAME, Required, "How commands call it. No router or external has it."),
        setting(
            "routers",
            "list of names of routers",
            Required,
            "The members. A router is in one group at most.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const VRRP_TRACKER: Section = Section {
    title: "[[vrrp.tracker]]",
    doc: "A script or a file that priorities depend on: keepalived's `vrrp_script` and `vrrp_track_file`. It has either `command` or `file`.",
    settings: &[
        setting("name", NAME, Required, "How `track` calls it."),
        setting(
            "command",
            "list: a program and its arguments",
            Words("none"),
            "Run without a shell; it is up when it ends with 0.",
        ),
        setting("file", "absolute path of a file", Words("none"), "It holds a number."),
        setting(
            "interval",
            TIME,
            Words("`\"1s\"`"),
            "With `command`: from the begin of one run to the begin of the next.",
        ),
        setting(
            "timeout",
            TIME,
            Words("`interval`"),
            "With `command`: what runs for longer is ended, and is down. Not above `interval`.",
        ),
        setting(
            "rise",
            "1 to 100",
            Words("`1`"),
            "With `command`: so many good results in a row turn it up. The first one counts at once.",
        ),
        setting(
            "fall",
            "1 to 100",
            Words("`1`"),
            "With `command`: so many bad results in a row turn it down.",
        ),
    ],
    tables: &[],
};

pub(in crate::config) const VRRP_EXTERNAL: Section = Section {
    title: "[[vrrp.external]]",
    doc: "Addresses of vips whose owner another program decides, such as keepalived: they are this host's when `ferrolev vrrp own` says so, and not before. See OPERATIONS.md, \"Beside keepalived\".",
    settings: &[
        setting(
            "name",
            NAME,
            Required,
            "What `ferrolev vrrp own` and `release` are told. No router or group has it.",
        ),
        setting(
            "addresses",
            "list of addresses",
            Required,
            "Of vips with `announce = \"arp\"` or `\"address\"`.",
        ),
        setting(
            "follows",
            "an address",
            Words("none"),
            "They are this host's while it has this address, whatever was said: a program that is killed says nothing.",
        ),
        setting(
            "lease",
            "a text such as `\"3s\"`, from 300ms to 1h, or `\"0s\"`",
            Value("\"3s\""),
            "The kernel ends its answers for the addresses by itself so long after this daemon has died or stood still, since it hears nothing of the other program any more. Longer than the other program takes to notice (`ferrolev check-fit`), both hosts answer for a while; 0s: it never ends them.",
        ),
    ],
    tables: &[],
};
