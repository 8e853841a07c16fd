//! The file as it is written: every value with its line, nothing checked yet but its own form.
//!
//! Reading goes on after a wrong value, so that all of a file's problems are found at once. What is wrong is left out
//! here and noted in the problems; a file with problems never becomes a [`super::Config`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::decode::{address, bytes, choice, dscp, expected, number, socket_address, source_prefix, text};
use super::error::Problems;
use super::reader::{Located, Source, TableReader, printable};
use super::settings::{BACKEND, LIMITS, MEMBER, Section, TOP, TUNNEL, VIP};
use crate::dataplane::XdpMode;
use crate::state::{Affinity, Dscp, Mode, Protocol, SourcePrefix, VipKey};

#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) interfaces: Option<Located<Vec<Located<String>>>>,
    pub(super) xdp_mode: Option<Located<XdpMode>>,
    pub(super) hash_seed: Option<Located<u64>>,
    pub(super) metrics_listen: Option<Located<SocketAddr>>,
    pub(super) tunnel: TunnelFile,
    pub(super) limits: LimitsFile,
    pub(super) backends: Vec<BackendFile>,
    pub(super) vips: Vec<VipFile>,
}

#[derive(Debug, Default)]
pub(super) struct TunnelFile {
    pub(super) source4: Option<Located<SourcePrefix<Ipv4Addr>>>,
    pub(super) source6: Option<Located<SourcePrefix<Ipv6Addr>>>,
    pub(super) ttl: Option<Located<u8>>,
    pub(super) dscp: Option<Located<Dscp>>,
}

#[derive(Debug, Default)]
pub(super) struct LimitsFile {
    pub(super) dests: Option<Located<u32>>,
    pub(super) ring_memory: Option<Located<u64>>,
}

#[derive(Debug)]
pub(super) struct BackendFile {
    /// How messages call it.
    pub(super) object: String,
    pub(super) name: Option<Located<String>>,
    pub(super) address: Option<Located<IpAddr>>,
    pub(super) weight: Option<Located<u32>>,
}

#[derive(Debug)]
pub(super) struct VipFile {
    /// How messages call it.
    pub(super) object: String,
    pub(super) line: u32,
    pub(super) name: Option<Located<String>>,
    pub(super) address: Option<Located<IpAddr>>,
    pub(super) port: Option<Located<u16>>,
    pub(super) protocol: Option<Located<Protocol>>,
    pub(super) mode: Option<Located<Mode>>,
    pub(super) ring_size: Option<Located<u32>>,
    pub(super) affinity: Option<Located<Affinity>>,
    pub(super) backends: Option<Vec<MemberFile>>,
}

/// A backend as a vip names it.
#[derive(Debug)]
pub(super) struct MemberFile {
    pub(super) name: Located<String>,
    pub(super) weight: Option<Located<u32>>,
}

pub(super) const XDP_MODES: &[(&str, XdpMode)] =
    &[("native", XdpMode::Native), ("generic", XdpMode::Generic), ("offload", XdpMode::Offload)];
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
pub(super) const MODES: &[(&str, Mode)] = &[("ipip", Mode::Ipip), ("gue", Mode::Gue), ("l2", Mode::L2)];
pub(super) const AFFINITIES: &[(&str, Affinity)] = &[
    ("five-tuple", Affinity::FiveTuple),
    ("source", Affinity::Source),
    ("source-and-port", Affinity::SourceAndPort),
];

/// Weights fit the ring's credit arithmetic with room to spare.
const WEIGHTS: std::ops::RangeInclusive<u32> = 0..=65_535;
const DESTS: std::ops::RangeInclusive<u32> = 1..=1 << 20;

impl ConfigFile {
    pub(super) fn read(source: &Source, table: &DeTable<'_>, problems: &mut Problems) -> Self {
        let top = TableReader { source, table, line: 1, object: String::new() };
        top.refuse_unknown_keys(problems, &TOP);
        Self {
            interfaces: top.required(problems, "interfaces", |value| texts(source, value)),
            xdp_mode: top.optional(problems, "xdp_mode", choice(XDP_MODES)),
            hash_seed: top.optional(problems, "hash_seed", number(0..=u64::MAX)),
            metrics_listen: top.optional(problems, "metrics_listen", socket_address),
            tunnel: section(&top, problems, "tunnel", &TUNNEL)
                .map_or_else(TunnelFile::default, |table| TunnelFile::read(&table, problems)),
            limits: section(&top, problems, "limits", &LIMITS)
                .map_or_else(LimitsFile::default, |table| LimitsFile::read(&table, problems)),
            backends: blocks(&top, problems, "backend", &BACKEND)
                .into_iter()
                .map(|table| BackendFile::read(table, problems))
                .collect(),
            vips: blocks(&top, problems, "vip", &VIP)
                .into_iter()
                .map(|table| VipFile::read(table, problems))
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
        }
    }
}

impl LimitsFile {
    fn read(table: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            dests: table.optional(problems, "dests", number(DESTS)),
            ring_memory: table.optional(problems, "ring_memory", bytes),
        }
    }
}

impl BackendFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        if let Some(name) = peek(&table, "name").and_then(DeValue::as_str) {
            table.object = format!("backend {}", printable(name));
        }
        Self {
            name: table.required(problems, "name", text),
            address: table.required(problems, "address", address),
            weight: table.optional(problems, "weight", number(WEIGHTS)),
            object: table.object,
        }
    }
}

impl VipFile {
    fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
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
            object: table.object,
        }
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
    top: &TableReader<'a, 'i>,
    problems: &mut Problems,
    key: &str,
    section: &Section,
) -> Vec<TableReader<'a, 'i>> {
    let Some(found) = top.table.get(key) else {
        return Vec::new();
    };
    let line = top.source.line(found.span().start);
    let Some(list) = found.get_ref().as_array() else {
        let wanted = format!("{} before each {key}, with double brackets", section.title);
        problems.add(line, format!("{key}: {}", expected(&wanted, found.get_ref())));
        return Vec::new();
    };
    let mut readers = Vec::new();
    for entry in list.iter() {
        let line = top.source.line(entry.span().start);
        match entry.get_ref().as_table() {
            Some(table) => {
                let reader =
                    TableReader { source: top.source, table, line, object: section.title.to_owned() };
                reader.refuse_unknown_keys(problems, section);
                readers.push(reader);
            }
            None => problems.add(line, format!("{key}: {}", expected(section.title, entry.get_ref()))),
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
