//! Virtual routers and what belongs to them, as they are written.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use lb_vrrp::wire::Ipv4Sum;

use super::{blocks, each, section, texts};
use crate::config::decode::{
    address, address_text, choice, duration, expected, host_address, number, text, truth,
};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::config::settings::{VRRP, VRRP_EXTERNAL, VRRP_GROUP, VRRP_ROUTER, VRRP_TRACK, VRRP_TRACKER};
use crate::config::words::{CHECKSUMS, PREEMPTS, PreemptWord};

#[derive(Debug, Default)]
pub(in crate::config) struct VrrpFile {
    pub(in crate::config) start_limit: Option<Located<Duration>>,
    pub(in crate::config) routers: Vec<RouterFile>,
    pub(in crate::config) groups: Vec<GroupFile>,
    pub(in crate::config) trackers: Vec<TrackerFile>,
    pub(in crate::config) externals: Vec<ExternalFile>,
}

/// An address, and the length of its prefix when it is written.
pub(in crate::config) type Addresses = Located<Vec<Located<(IpAddr, Option<u8>)>>>;

#[derive(Debug)]
pub(in crate::config) struct RouterFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) interface: Option<Located<String>>,
    pub(in crate::config) router_id: Option<Located<u8>>,
    pub(in crate::config) addresses: Option<Addresses>,
    pub(in crate::config) more_addresses: Option<Addresses>,
    pub(in crate::config) version: Option<Located<u8>>,
    pub(in crate::config) priority: Option<Located<u8>>,
    pub(in crate::config) interval: Option<Located<Duration>>,
    pub(in crate::config) preempt: Option<Located<PreemptWord>>,
    pub(in crate::config) preempt_delay: Option<Located<Duration>>,
    pub(in crate::config) peers: Option<Located<Vec<Located<IpAddr>>>>,
    pub(in crate::config) source: Option<Located<IpAddr>>,
    pub(in crate::config) check_hop_limit: Option<Located<bool>>,
    pub(in crate::config) password: Option<Located<String>>,
    pub(in crate::config) checksum: Option<Located<Ipv4Sum>>,
    pub(in crate::config) virtual_mac: Option<Located<bool>>,
    pub(in crate::config) fencing: Option<Located<bool>>,
    pub(in crate::config) accept: Option<Located<bool>>,
    pub(in crate::config) announce_repeat: Option<Located<u8>>,
    pub(in crate::config) announce_delay: Option<Located<Duration>>,
    pub(in crate::config) announce_refresh: Option<Located<Duration>>,
    pub(in crate::config) announce_refresh_repeat: Option<Located<u8>>,
    pub(in crate::config) announce_lower_priority_repeat: Option<Located<u8>>,
    pub(in crate::config) track: Option<Vec<TrackFile>>,
}

/// One entry of `track`.
#[derive(Debug)]
pub(in crate::config) struct TrackFile {
    pub(in crate::config) line: u32,
    pub(in crate::config) interface: Option<Located<String>>,
    pub(in crate::config) tracker: Option<Located<String>>,
    pub(in crate::config) vip: Option<Located<String>>,
    pub(in crate::config) fitness: Option<Located<bool>>,
    pub(in crate::config) weight: Option<Located<i16>>,
}

#[derive(Debug)]
pub(in crate::config) struct GroupFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) routers: Option<Located<Vec<Located<String>>>>,
}

#[derive(Debug)]
pub(in crate::config) struct TrackerFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) command: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) file: Option<Located<String>>,
    pub(in crate::config) interval: Option<Located<Duration>>,
    pub(in crate::config) timeout: Option<Located<Duration>>,
    pub(in crate::config) rise: Option<Located<u32>>,
    pub(in crate::config) fall: Option<Located<u32>>,
}

#[derive(Debug)]
pub(in crate::config) struct ExternalFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) addresses: Option<Addresses>,
    pub(in crate::config) follows: Option<Located<IpAddr>>,
    pub(in crate::config) lease: Option<Located<Duration>>,
}

const START_LIMITS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
/// Each version takes less.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(255);
const PREEMPT_DELAYS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
const ANNOUNCE_DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const REFRESHES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
const LEASES: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const ROUNDS: RangeInclusive<u8> = 1..=60;
const RUNS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const ROWS: RangeInclusive<u32> = 1..=100;

impl VrrpFile {
    pub(super) fn read(top: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let Some(table) = section(top, problems, "vrrp", &VRRP) else {
            return Self::default();
        };
        Self {
            start_limit: table.optional(problems, "start_limit", duration(START_LIMITS)),
            routers: blocks(&table, problems, "router", &VRRP_ROUTER)
                .into_iter()
                .map(|table| RouterFile::read(table, problems))
                .collect(),
            groups: blocks(&table, problems, "group", &VRRP_GROUP)
                .into_iter()
                .map(|table| GroupFile::read(table, problems))
                .collect(),
            trackers: blocks(&table, problems, "tracker", &VRRP_TRACKER)
                .into_iter()
                .map(|table| TrackerFile::read(table, problems))
                .collect(),
            externals: blocks(&table, problems, "external", &VRRP_EXTERNAL)
                .into_iter()
                .map(|table| ExternalFile::read(table, problems))
                .collect(),
        }
    }
}

impl RouterFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        call(&mut table, "virtual router");
        table.refuse_missing(problems, "addresses");
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            interface: table.required(problems, "interface", text),
            router_id: table.required(problems, "router_id", number(1..=u8::MAX)),
            addresses: addresses(&table, problems, "addresses"),
            more_addresses: addresses(&table, problems, "more_addresses"),
            version: table.optional(problems, "version", number(2..=3)),
            priority: table.optional(problems, "priority", number(1..=u8::MAX)),
            interval: table.optional(problems, "interval", duration(INTERVALS)),
            preempt: table.optional(problems, "preempt", choice(PREEMPTS)),
            preempt_delay: table.optional(problems, "preempt_delay", duration(PREEMPT_DELAYS)),
            peers: each(&table, problems, "peers", "a list such as [\"192.0.2.2\"]", address_text),
            source: table.optional(problems, "source", address),
            check_hop_limit: table.optional(problems, "check_hop_limit", truth),
            password: table.optional(problems, "password", text),
            checksum: table.optional(problems, "checksum", choice(CHECKSUMS)),
            virtual_mac: table.optional(problems, "virtual_mac", truth),
            fencing: table.optional(problems, "fencing", truth),
            accept: table.optional(problems, "accept", truth),
            announce_repeat: table.optional(problems, "announce_repeat", number(ROUNDS)),
            announce_delay: table.optional(problems, "announce_delay", duration(ANNOUNCE_DELAYS)),
            announce_refresh: table.optional(problems, "announce_refresh", duration(REFRESHES)),
            announce_refresh_repeat: table.optional(problems, "announce_refresh_repeat", number(ROUNDS)),
            announce_lower_priority_repeat: table.optional(
                problems,
                "announce_lower_priority_repeat",
                number(0..=*ROUNDS.end()),
            ),
            track: tracks(&table, problems),
            object: table.object,
        }
    }
}

impl GroupFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        call(&mut table, "virtual router group");
        Self {
            name: table.required(problems, "name", text),
            routers: table.required(problems, "routers", |value| texts(table.source, value)),
            object: table.object,
        }
    }
}

impl TrackerFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        call(&mut table, "tracker");
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            command: table.optional(problems, "command", |value| texts(table.source, value)),
            file: table.optional(problems, "file", text),
            interval: table.optional(problems, "interval", duration(RUNS)),
            timeout: table.optional(problems, "timeout", duration(RUNS)),
            rise: table.optional(problems, "rise", number(ROWS)),
            fall: table.optional(problems, "fall", number(ROWS)),
            object: table.object,
        }
    }
}

impl ExternalFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        call(&mut table, "external");
        table.refuse_missing(problems, "addresses");
        Self {
            name: table.required(problems, "name", text),
            addresses: addresses(&table, problems, "addresses"),
            follows: table.optional(problems, "follows", address),
            lease: table.optional(problems, "lease", duration(LEASES)),
            object: table.object,
        }
    }
}

/// Calls what `table` describes by its name in messages.
fn call(table: &mut TableReader<'_, '_>, what: &str) {
    let name = table.table.get("name").and_then(|name| name.get_ref().as_str());
    if let Some(name) = name {
        table.object = format!("{what} {}", printable(name));
    }
}

fn addresses(table: &TableReader<'_, '_>, problems: &mut Problems, key: &str) -> Option<Addresses> {
    let wanted = "a list such as [\"192.0.2.10\", \"192.0.2.11/24\"]";
    let found = each(table, problems, key, wanted, host_address)?;
    // A list of which nothing is left is not an empty one.
    let written = table.table.get(key)?.get_ref().as_array()?.len();
    (written == 0 || !found.value.is_empty()).then_some(found)
}

fn tracks(router: &TableReader<'_, '_>, problems: &mut Problems) -> Option<Vec<TrackFile>> {
    let wanted = "a list such as [{ interface = \"eth1\", weight = -20 }]";
    let found = router.table.get("track")?;
    let Some(list) = found.get_ref().as_array() else {
        let line = router.source.line(found.span().start);
        problems.add(line, router.say(&format!("track: {}", expected(wanted, found.get_ref()))));
        return None;
    };
    let mut tracks = Vec::new();
    for entry in list.iter() {
        let line = router.source.line(entry.span().start);
        let Some(table) = entry.get_ref().as_table() else {
            problems.add(line, router.say(&format!("track: {}", expected(wanted, entry.get_ref()))));
            continue;
        };
        let object = format!("{}: track", router.object);
        let table = TableReader { source: router.source, table, line, object };
        table.refuse_unknown_keys(problems, &VRRP_TRACK);
        tracks.push(TrackFile {
            line,
            interface: table.optional(problems, "interface", text),
            tracker: table.optional(problems, "tracker", text),
            vip: table.optional(problems, "vip", text),
            fitness: table.optional(problems, "fitness", truth),
            weight: table.optional(problems, "weight", number(-253..=253)),
        });
    }
    Some(tracks)
}
