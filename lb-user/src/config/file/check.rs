//! Checks as they are written.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::texts;
use crate::config::decode::{choice, duration, number, text, truth};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::config::words::{CHECK_TYPES, CheckType, HTTP_VERSIONS, STARTS, VIAS};
use crate::health::probe::HttpVersion;
use crate::health::{Start, Via};

#[derive(Debug)]
pub(in crate::config) struct CheckFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) kind: Option<Located<CheckType>>,
    pub(in crate::config) port: Option<Located<u16>>,
    pub(in crate::config) via: Option<Located<Via>>,
    pub(in crate::config) interval: Option<Located<Duration>>,
    pub(in crate::config) fast_interval: Option<Located<Duration>>,
    pub(in crate::config) down_interval: Option<Located<Duration>>,
    pub(in crate::config) timeout: Option<Located<Duration>>,
    pub(in crate::config) rise: Option<Located<u32>>,
    pub(in crate::config) fall: Option<Located<u32>>,
    pub(in crate::config) start: Option<Located<Start>>,
    pub(in crate::config) method: Option<Located<String>>,
    pub(in crate::config) path: Option<Located<String>>,
    pub(in crate::config) host: Option<Located<String>>,
    pub(in crate::config) headers: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) http_version: Option<Located<HttpVersion>>,
    pub(in crate::config) status: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) body_contains: Option<Located<String>>,
    pub(in crate::config) send: Option<Located<String>>,
    pub(in crate::config) expect: Option<Located<String>>,
    pub(in crate::config) command: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) dynamic_weight: Option<Located<bool>>,
}

const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const ROWS: RangeInclusive<u32> = 1..=100;

impl CheckFile {
    pub(super) fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let name = table.table.get("name").and_then(|name| name.get_ref().as_str());
        if let Some(name) = name {
            table.object = format!("check {}", printable(name));
        }
        let list = |value: &DeValue<'_>| texts(table.source, value);
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            kind: table.required(problems, "type", choice(CHECK_TYPES)),
            port: table.optional(problems, "port", number(1..=u16::MAX)),
            via: table.optional(problems, "via", choice(VIAS)),
            interval: table.optional(problems, "interval", duration(INTERVALS)),
            fast_interval: table.optional(problems, "fast_interval", duration(INTERVALS)),
            down_interval: table.optional(problems, "down_interval", duration(INTERVALS)),
            timeout: table.optional(problems, "timeout", duration(TIMEOUTS)),
            rise: table.optional(problems, "rise", number(ROWS)),
            fall: table.optional(problems, "fall", number(ROWS)),
            start: table.optional(problems, "start", choice(STARTS)),
            method: table.optional(problems, "method", text),
            path: table.optional(problems, "path", text),
            host: table.optional(problems, "host", text),
            headers: table.optional(problems, "headers", list),
            http_version: table.optional(problems, "http_version", choice(HTTP_VERSIONS)),
            status: table.optional(problems, "status", list),
            body_contains: table.optional(problems, "body_contains", text),
            send: table.optional(problems, "send", text),
            expect: table.optional(problems, "expect", text),
            command: table.optional(problems, "command", list),
            dynamic_weight: table.optional(problems, "dynamic_weight", truth),
            object: table.object,
        }
    }

    /// The keys that are there and belong to some types only, with those and their lines.
    pub(in crate::config) fn special(&self) -> Vec<(&'static str, &'static [CheckType], u32)> {
        use CheckType::{Exec, Http, Tcp, Udp};
        fn line<T>(found: &Option<Located<T>>) -> Option<u32> {
            found.as_ref().map(|found| found.line)
        }
        let all: [(&'static str, &'static [CheckType], Option<u32>); 11] = [
            ("method", &[Http], line(&self.method)),
            ("path", &[Http], line(&self.path)),
            ("host", &[Http], line(&self.host)),
            ("headers", &[Http], line(&self.headers)),
            ("http_version", &[Http], line(&self.http_version)),
            ("status", &[Http], line(&self.status)),
            ("body_contains", &[Http], line(&self.body_contains)),
            ("send", &[Tcp, Udp], line(&self.send)),
            ("expect", &[Tcp, Udp], line(&self.expect)),
            ("command", &[Exec], line(&self.command)),
            ("dynamic_weight", &[Exec], line(&self.dynamic_weight)),
        ];
        all.into_iter().filter_map(|(key, types, line)| Some((key, types, line?))).collect()
    }
}
