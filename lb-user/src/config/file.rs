//! The file as it is written: every value with its line, nothing checked yet but its own form.
//!
//! Reading goes on after a wrong value, so that all of a file's problems are found at once. What is wrong is left out
//! here and noted in the problems; a file with problems never becomes a [`super::Config`].

mod check;
mod hook;
mod objects;
mod peer;
mod pool;
mod vrrp;

pub(super) use check::CheckFile;
pub(super) use hook::HookFile;
pub(super) use objects::{AddressFile, BackendFile, MemberFile, RouteFile, VipFile};
pub(super) use peer::PeerFile;
pub(super) use pool::PoolFile;
pub(super) use vrrp::{Addresses, ExternalFile, GroupFile, RouterFile, TrackFile, TrackerFile, VrrpFile};

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::decode::{
    bytes, choice, dscp, duration, expected, number, probe_prefix, socket_address, source_prefix, text,
};
use super::error::Problems;
use super::prefix;
use super::reader::{Located, Source, TableReader};
use super::settings::{
    ACCESS, BACKEND, CHECK, FLOWS as FLOWS_SECTION, HOOK, LIMITS, PEER, Section, TOP, TUNNEL, VIP,
};
use super::words::{OVERSIZES, XDP_MODES};
use crate::dataplane::XdpMode;
use crate::state::{Dscp, GueVariant, Oversize, Prefix, SourcePrefix};

#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) interfaces: Option<Located<Vec<Located<String>>>>,
    pub(super) xdp_mode: Option<Located<XdpMode>>,
    pub(super) hash_seed: Option<Located<u64>>,
    pub(super) metrics_listen: Option<Located<SocketAddr>>,
    pub(super) peer_listen: Option<Located<SocketAddr>>,
    pub(super) tunnel: TunnelFile,
    pub(super) limits: LimitsFile,
    pub(super) flows: FlowsFile,
    pub(super) access: AccessFile,
    pub(super) checks: Vec<CheckFile>,
    pub(super) backends: Vec<BackendFile>,
    pub(super) vips: Vec<VipFile>,
    pub(super) vrrp: VrrpFile,
    pub(super) hooks: Vec<HookFile>,
    pub(super) peers: Vec<PeerFile>,
}

#[derive(Debug, Default)]
pub(super) struct TunnelFile {
    pub(super) source4: Option<Located<SourcePrefix<Ipv4Addr>>>,
    pub(super) source6: Option<Located<SourcePrefix<Ipv6Addr>>>,
    pub(super) ttl: Option<Located<u8>>,
    pub(super) dscp: Option<Located<Dscp>>,
    pub(super) gue_port: Option<Located<u16>>,
    pub(super) gue_variant: Option<Located<GueVariant>>,
    pub(super) oversize: Option<Located<Oversize>>,
    pub(super) probe4: Option<Located<Prefix>>,
    pub(super) probe6: Option<Located<Prefix>>,
}

#[derive(Debug, Default)]
pub(super) struct LimitsFile {
    pub(super) dests: Option<Located<u32>>,
    pub(super) ring_memory: Option<Located<u64>>,
    pub(super) fragments: Option<Located<u32>>,
    pub(super) flows: Option<Located<u32>>,
    pub(super) replies_per_second: Option<Located<u32>>,
    pub(super) fragments_per_second: Option<Located<u32>>,
    pub(super) fragment_timeout: Option<Located<Duration>>,
}

/// How long flows are remembered.
#[derive(Debug, Default)]
pub(super) struct FlowsFile {
    pub(super) tcp_idle: Option<Located<Duration>>,
    pub(super) udp_idle: Option<Located<Duration>>,
    pub(super) opened: Option<Located<Duration>>,
    pub(super) closing: Option<Located<Duration>>,
    pub(super) transition: Option<Located<Duration>>,
    pub(super) quiet: Option<Located<Duration>>,
    pub(super) udp_learning: Option<Located<Duration>>,
}

/// Access rules of one vip or of all.
#[derive(Debug, Default)]
pub(super) struct AccessFile {
    pub(super) allow: Option<Located<Vec<Located<Prefix>>>>,
    pub(super) deny: Option<Located<Vec<Located<Prefix>>>>,
    pub(super) allow_file: Option<Located<String>>,
    pub(super) deny_file: Option<Located<String>>,
}

const DESTS: RangeInclusive<u32> = 1..=1 << 20;
/// Datagrams in fragments that are followed at once.
const FRAGMENTS: RangeInclusive<u32> = 1..=1 << 20;
/// Flows that are remembered at once.
const FLOWS: RangeInclusive<u32> = 1024..=1 << 26;
/// Times of flows are counted in 16 bits of about a second, see `lb_common::flow::MAX_TICKS`.
const FLOW_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(14 * 3600);
/// May be off.
const LEARNING: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const FRAGMENT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

impl ConfigFile {
    pub(super) fn read(source: &Source, table: &DeTable<'_>, problems: &mut Problems) -> Self {
        let top = TableReader { source, table, line: 1, object: String::new() };
        top.refuse_unknown_keys(problems, &TOP);
        Self {
            interfaces: top.required(problems, "interfaces", |value| texts(source, value)),
            xdp_mode: top.optional(problems, "xdp_mode", choice(XDP_MODES)),
            hash_seed: top.optional(problems, "hash_seed", number(0..=u64::MAX)),
            metrics_listen: top.optional(problems, "metrics_listen", socket_address),
            peer_listen: top.optional(problems, "peer_listen", socket_address),
            tunnel: section(&top, problems, "tunnel", &TUNNEL)
                .map_or_else(TunnelFile::default, |table| TunnelFile::read(&table, problems)),
            limits: section(&top, problems, "limits", &LIMITS)
                .map_or_else(LimitsFile::default, |table| LimitsFile::read(&table, problems)),
            flows: section(&top, problems, "flows", &FLOWS_SECTION)
                .map_or_else(FlowsFile::default, |table| FlowsFile::read(&table, problems)),
            access: section(&top, problems, "access", &ACCESS)
                .map_or_else(AccessFile::default, |table| AccessFile::read(&table, problems)),
            checks: blocks(&top, problems, "check", &CHECK)
                .into_iter()
                .map(|table| CheckFile::read(table, problems))
                .collect(),
            backends: blocks(&top, problems, "backend", &BACKEND)
                .into_iter()
                .map(|table| BackendFile::read(table, problems))
                .collect(),
            vips: blocks(&top, problems, "vip", &VIP)
                .into_iter()
                .map(|table| VipFile::read(table, problems))
                .collect(),
            vrrp: VrrpFile::read(&top, problems),
            peers: blocks(&top, problems, "peer", &PEER)
                .into_iter()
                .map(|table| PeerFile::read(table, problems))
                .collect(),
            hooks: blocks(&top, problems, "hook", &HOOK)
                .into_iter()
                .map(|table| HookFile::read(table, problems))
                .collect(),
        }
    }
}

impl TunnelFile {
    fn read(table: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            source4: table.optional(problems, "source4", source_prefix),
            source6: table.optional(problems, "source6", source_prefix),
            ttl: table.optional(problems, "ttl", number(1..=255)),
            dscp: table.optional(problems, "dscp", dscp),
            gue_port: table.optional(problems, "gue_port", number(1..=u16::MAX)),
            gue_variant: table.optional(problems, "gue_variant", |value| {
                let header = number(0..=1)(value)? == 0u8;
                Ok(if header { GueVariant::Header } else { GueVariant::Direct })
            }),
            oversize: table.optional(problems, "oversize", choice(OVERSIZES)),
            probe4: table.optional(problems, "probe4", probe_prefix(false)),
            probe6: table.optional(problems, "probe6", probe_prefix(true)),
        }
    }
}

impl LimitsFile {
    fn read(table: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            dests: table.optional(problems, "dests", number(DESTS)),
            ring_memory: table.optional(problems, "ring_memory", bytes),
            fragments: table.optional(problems, "fragments", number(FRAGMENTS)),
            flows: table.optional(problems, "flows", number(FLOWS)),
            replies_per_second: table.optional(problems, "replies_per_second", number(0..=1_000_000)),
            fragments_per_second: table.optional(problems, "fragments_per_second", number(0..=10_000_000)),
            fragment_timeout: table.optional(problems, "fragment_timeout", duration(FRAGMENT_TIMEOUTS)),
        }
    }
}

impl FlowsFile {
    fn read(table: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let mut time = |key| table.optional(problems, key, duration(FLOW_TIMES));
        Self {
            tcp_idle: time("tcp_idle"),
            udp_idle: time("udp_idle"),
            opened: time("opened"),
            closing: time("closing"),
            transition: time("transition"),
            quiet: time("quiet"),
            udp_learning: table.optional(problems, "udp_learning", duration(LEARNING)),
        }
    }
}

impl AccessFile {
    fn read(table: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            allow: prefixes(table, problems, "allow"),
            deny: prefixes(table, problems, "deny"),
            allow_file: table.optional(problems, "allow_file", text),
            deny_file: table.optional(problems, "deny_file", text),
        }
    }
}

/// The table `[key]`.
fn section<'a, 'i>(
    top: &TableReader<'a, 'i>,
    problems: &mut Problems,
    key: &str,
    section: &Section,
) -> Option<TableReader<'a, 'i>> {
    let found = top.table.get(key)?;
    let line = top.source.line(found.span().start);
    let Some(table) = found.get_ref().as_table() else {
        problems.add(line, format!("{key}: {}", expected(&format!("the table [{key}]"), found.get_ref())));
        return None;
    };
    let reader = TableReader { source: top.source, table, line, object: section.title.to_owned() };
    reader.refuse_unknown_keys(problems, section);
    Some(reader)
}

/// The tables `[[key]]`.
fn blocks<'a, 'i>(
    parent: &TableReader<'a, 'i>,
    problems: &mut Problems,
    key: &str,
    section: &Section,
) -> Vec<TableReader<'a, 'i>> {
    let Some(found) = parent.table.get(key) else {
        return Vec::new();
    };
    let line = parent.source.line(found.span().start);
    let Some(list) = found.get_ref().as_array() else {
        let wanted = format!("{} before each {key}, with double brackets", section.title);
        problems.add(line, parent.say(&format!("{key}: {}", expected(&wanted, found.get_ref()))));
        return Vec::new();
    };
    let mut readers = Vec::new();
    for entry in list.iter() {
        let line = parent.source.line(entry.span().start);
        match entry.get_ref().as_table() {
            Some(table) => {
                let reader =
                    TableReader { source: parent.source, table, line, object: section.title.to_owned() };
                reader.refuse_unknown_keys(problems, section);
                readers.push(reader);
            }
            None => problems
                .add(line, parent.say(&format!("{key}: {}", expected(section.title, entry.get_ref())))),
        }
    }
    readers
}

fn texts(source: &Source, value: &DeValue<'_>) -> Result<Vec<Located<String>>, String> {
    let wanted = "a list of texts, such as [\"eth0\"]";
    let list = value.as_array().ok_or_else(|| expected(wanted, value))?;
    list.iter()
        .map(|entry| {
            let value = text(entry.get_ref()).map_err(|_| expected(wanted, entry.get_ref()))?;
            let line = source.line(entry.span().start);
            Ok(Located { value, line })
        })
        .collect()
}

/// A list of prefixes; those that are wrong are noted and left out.
fn prefixes(
    table: &TableReader<'_, '_>,
    problems: &mut Problems,
    key: &str,
) -> Option<Located<Vec<Located<Prefix>>>> {
    each(table, problems, key, "a list such as [\"192.0.2.0/24\", \"2001:db8::/32\"]", prefix::parse)
}

/// A list of texts with a meaning; those that are wrong are noted and left out.
fn each<T>(
    table: &TableReader<'_, '_>,
    problems: &mut Problems,
    key: &str,
    wanted: &str,
    decode: impl Fn(&str) -> Result<T, String>,
) -> Option<Located<Vec<Located<T>>>> {
    let value = table.table.get(key)?;
    let line = table.source.line(value.span().start);
    let Some(list) = value.get_ref().as_array() else {
        problems.add(line, table.say(&format!("{key}: {}", expected(wanted, value.get_ref()))));
        return None;
    };
    let mut found = Vec::new();
    for entry in list.iter() {
        let line = table.source.line(entry.span().start);
        let decoded = entry.get_ref().as_str().ok_or_else(|| expected(wanted, entry.get_ref()));
        match decoded.and_then(&decode) {
            Ok(value) => found.push(Located { value, line }),
            Err(text) => problems.add(line, table.say(&format!("{key}: {text}"))),
        }
    }
    Some(Located { value: found, line })
}
