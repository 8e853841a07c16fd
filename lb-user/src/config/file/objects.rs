//! Backends, vips and routes as they are written.

use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::{AccessFile, PoolFile, blocks, prefixes, texts};
use crate::config::decode::{address, choice, duration, expected, number, rate, server_id, text, truth};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::config::settings::{MEMBER, ROUTE};
use crate::config::words::{AFFINITIES, ANNOUNCES, FRAGMENTS, MODES, PROTOCOLS, TRACKINGS, UNKNOWN_PORTS};
use crate::state::{
    Affinity, Announce, Fragments, Mode, Prefix, Protocol, ServerId, TrackingMode, UnknownPorts, VipKey,
};

#[derive(Debug)]
pub(in crate::config) struct BackendFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) address: Option<Located<IpAddr>>,
    pub(in crate::config) weight: Option<Located<u32>>,
    pub(in crate::config) mode: Option<Located<Mode>>,
    pub(in crate::config) server_id: Option<Located<ServerId>>,
    pub(in crate::config) slow_start: Option<Located<Duration>>,
    pub(in crate::config) check: Option<Located<String>>,
    pub(in crate::config) agent: Option<Located<String>>,
}

#[derive(Debug)]
pub(in crate::config) struct VipFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) address: Option<Located<IpAddr>>,
    pub(in crate::config) port: Option<Located<u16>>,
    pub(in crate::config) protocol: Option<Located<Protocol>>,
    pub(in crate::config) mode: Option<Located<Mode>>,
    pub(in crate::config) ring_size: Option<Located<u32>>,
    pub(in crate::config) affinity: Option<Located<Affinity>>,
    pub(in crate::config) backends: Option<Vec<MemberFile>>,
    pub(in crate::config) group: Option<Located<String>>,
    pub(in crate::config) fragments: Option<Located<Fragments>>,
    pub(in crate::config) tracking: Option<Located<TrackingMode>>,
    pub(in crate::config) slow_start: Option<Located<Duration>>,
    pub(in crate::config) pool: PoolFile,
    pub(in crate::config) flow_limits: FlowLimitsFile,
    pub(in crate::config) access: AccessFile,
    pub(in crate::config) quic_server_id_length: Option<Located<u8>>,
    pub(in crate::config) quic_config_id: Option<Located<u8>>,
    pub(in crate::config) of_address: AddressFile,
    pub(in crate::config) routes: Vec<RouteFile>,
}

/// How many flows of a vip may begin.
#[derive(Debug)]
pub(in crate::config) struct FlowLimitsFile {
    pub(in crate::config) new_flows_per_second: Option<Located<u32>>,
    pub(in crate::config) source_new_flows_per_second: Option<Located<u32>>,
    pub(in crate::config) source_prefix4: Option<Located<u8>>,
    pub(in crate::config) source_prefix6: Option<Located<u8>>,
}

/// What a vip says of its address.
#[derive(Debug)]
pub(in crate::config) struct AddressFile {
    pub(in crate::config) announce: Option<Located<Announce>>,
    pub(in crate::config) announce_on: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) unknown_ports: Option<Located<UnknownPorts>>,
    pub(in crate::config) ping: Option<Located<bool>>,
    pub(in crate::config) withdraw_when_down: Option<Located<bool>>,
}

#[derive(Debug)]
pub(in crate::config) struct RouteFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) sources: Option<Located<Vec<Located<Prefix>>>>,
    pub(in crate::config) backends: Option<Vec<MemberFile>>,
    /// Of the block.
    pub(in crate::config) line: u32,
}

/// A backend as a vip names it.
#[derive(Debug)]
pub(in crate::config) struct MemberFile {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) weight: Option<Located<u32>>,
}

/// Weights fit the ring's credit arithmetic with room to spare.
const WEIGHTS: std::ops::RangeInclusive<u32> = 0..=65_535;
const SLOW_STARTS: std::ops::RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

impl BackendFile {
    pub(super) fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        if let Some(name) = peek(&table, "name").and_then(DeValue::as_str) {
            table.object = format!("backend {}", printable(name));
        }
        Self {
            name: table.required(problems, "name", text),
            address: table.required(problems, "address", address),
            weight: table.optional(problems, "weight", number(WEIGHTS)),
            mode: table.optional(problems, "mode", choice(MODES)),
            server_id: table.optional(problems, "server_id", server_id),
            slow_start: table.optional(problems, "slow_start", duration(SLOW_STARTS)),
            check: table.optional(problems, "check", text),
            agent: table.optional(problems, "agent", text),
            object: table.object,
        }
    }
}

impl VipFile {
    pub(super) fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        if let Some(key) = peek_key(&table) {
            table.object = format!("vip {key}");
        } else if let Some(name) = peek(&table, "name").and_then(DeValue::as_str) {
            table.object = format!("vip {}", printable(name));
        }
        Self {
            line: table.line,
            name: table.optional(problems, "name", text),
            address: table.required(problems, "address", address),
            port: table.required(problems, "port", number(0..=u16::MAX)),
            protocol: table.required(problems, "protocol", choice(PROTOCOLS)),
            mode: table.optional(problems, "mode", choice(MODES)),
            ring_size: table.optional(problems, "ring_size", number(0..=u32::MAX)),
            affinity: table.optional(problems, "affinity", choice(AFFINITIES)),
            backends: members(&table, problems),
            group: table.optional(problems, "group", text),
            fragments: table.optional(problems, "fragments", choice(FRAGMENTS)),
            tracking: table.optional(problems, "tracking", choice(TRACKINGS)),
            slow_start: table.optional(problems, "slow_start", duration(SLOW_STARTS)),
            pool: PoolFile::read(&table, problems),
            flow_limits: FlowLimitsFile::read(&table, problems),
            access: AccessFile::read(&table, problems),
            quic_server_id_length: table.optional(problems, "quic_server_id_length", number(1..=8)),
            quic_config_id: table.optional(problems, "quic_config_id", number(0..=6)),
            of_address: AddressFile::read(&table, problems),
            routes: blocks(&table, problems, "route", &ROUTE)
                .into_iter()
                .map(|route| RouteFile::read(&table.object, route, problems))
                .collect(),
            object: table.object,
        }
    }
}

impl FlowLimitsFile {
    fn read(vip: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            new_flows_per_second: vip.optional(problems, "new_flows_per_second", rate),
            source_new_flows_per_second: vip.optional(problems, "source_new_flows_per_second", rate),
            source_prefix4: vip.optional(problems, "source_prefix4", number(8..=32)),
            source_prefix6: vip.optional(problems, "source_prefix6", number(16..=128)),
        }
    }
}

impl AddressFile {
    fn read(vip: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            announce: vip.optional(problems, "announce", choice(ANNOUNCES)),
            announce_on: vip.optional(problems, "announce_on", |value| texts(vip.source, value)),
            unknown_ports: vip.optional(problems, "unknown_ports", choice(UNKNOWN_PORTS)),
            ping: vip.optional(problems, "ping", truth),
            withdraw_when_down: vip.optional(problems, "withdraw_when_down", truth),
        }
    }
}

impl RouteFile {
    fn read(vip: &str, mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let name = peek(&table, "name").and_then(DeValue::as_str);
        table.object = match name {
            Some(name) => format!("{vip}: route {}", printable(name)),
            None => format!("{vip}: {}", ROUTE.title),
        };
        table.refuse_missing(problems, "sources");
        table.refuse_missing(problems, "backends");
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            sources: prefixes(&table, problems, "sources"),
            backends: members(&table, problems),
            object: table.object,
        }
    }
}

impl VipFile {
    /// The vip's key, when all of its parts are well written.
    pub(in crate::config) fn key(&self) -> Option<VipKey> {
        let (address, port, protocol) =
            (self.address.as_ref()?, self.port.as_ref()?, self.protocol.as_ref()?);
        Some(VipKey { address: address.value, port: port.value, protocol: protocol.value })
    }
}

fn peek<'a, 'i>(table: &TableReader<'a, 'i>, key: &str) -> Option<&'a DeValue<'i>> {
    table.table.get(key).map(|value| value.get_ref())
}

/// The vip's key, when all of its parts are well written.
fn peek_key(table: &TableReader<'_, '_>) -> Option<VipKey> {
    Some(VipKey {
        address: address(peek(table, "address")?).ok()?,
        port: number(0..=u16::MAX)(peek(table, "port")?).ok()?,
        protocol: choice(PROTOCOLS)(peek(table, "protocol")?).ok()?,
    })
}

/// A vip's `backends`: names, or tables with a name and a weight.
fn members(vip: &TableReader<'_, '_>, problems: &mut Problems) -> Option<Vec<MemberFile>> {
    let wanted = "a list such as [\"web-1\", { name = \"web-2\", weight = 50 }]";
    let found = vip.table.get("backends")?;
    let Some(list) = found.get_ref().as_array() else {
        let line = vip.source.line(found.span().start);
        problems.add(line, vip.say(&format!("backends: {}", expected(wanted, found.get_ref()))));
        return None;
    };
    let mut members = Vec::new();
    for entry in list.iter() {
        let line = vip.source.line(entry.span().start);
        match entry.get_ref() {
            DeValue::String(name) => members
                .push(MemberFile { name: Located { value: name.clone().into_owned(), line }, weight: None }),
            DeValue::Table(table) => {
                let reader = TableReader {
                    source: vip.source,
                    table,
                    line,
                    object: format!("{}: backends", vip.object),
                };
                reader.refuse_unknown_keys(problems, &MEMBER);
                let name = reader.required(problems, "name", text);
                let weight = reader.optional(problems, "weight", number(WEIGHTS));
                members.extend(name.map(|name| MemberFile { name, weight }));
            }
            other => problems.add(line, vip.say(&format!("backends: {}", expected(wanted, other)))),
        }
    }
    Some(members)
}
