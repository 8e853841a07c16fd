//! Checks as they are written.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::texts;
use crate::config::decode::{choice, duration, number, text, truth};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::config::words::{CHECK_TYPES, CheckType, HTTP_VERSIONS, STARTS, TRANSPORTS, VIAS};
use crate::health::probe::{HttpVersion, Transport};
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
    pub(in crate::config) source: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) interface: Option<Located<String>>,
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
    pub(in crate::config) body_matches: Option<Located<String>>,
    pub(in crate::config) requests: Option<Located<u32>>,
    pub(in crate::config) tls: Option<Located<bool>>,
    pub(in crate::config) server_name: Option<Located<String>>,
    pub(in crate::config) verify: Option<Located<bool>>,
    pub(in crate::config) ca: Option<Located<String>>,
    pub(in crate::config) client_certificate: Option<Located<String>>,
    pub(in crate::config) client_key: Option<Located<String>>,
    pub(in crate::config) service: Option<Located<String>>,
    pub(in crate::config) query: Option<Located<String>>,
    pub(in crate::config) query_type: Option<Located<String>>,
    pub(in crate::config) rcode: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) answer: Option<Located<String>>,
    pub(in crate::config) transport: Option<Located<Transport>>,
    pub(in crate::config) size: Option<Located<u16>>,
    pub(in crate::config) file: Option<Located<String>>,
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
            source: table.optional(problems, "source", list),
            interface: table.optional(problems, "interface", text),
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
            body_matches: table.optional(problems, "body_matches", text),
            requests: table.optional(problems, "requests", number(1..=1_000_000)),
            tls: table.optional(problems, "tls", truth),
            server_name: table.optional(problems, "server_name", text),
            verify: table.optional(problems, "verify", truth),
            ca: table.optional(problems, "ca", text),
            client_certificate: table.optional(problems, "client_certificate", text),
            client_key: table.optional(problems, "client_key", text),
            service: table.optional(problems, "service", text),
            query: table.optional(problems, "query", text),
            query_type: table.optional(problems, "query_type", text),
            rcode: table.optional(problems, "rcode", list),
            answer: table.optional(problems, "answer", text),
            transport: table.optional(problems, "transport", choice(TRANSPORTS)),
            size: table.optional(problems, "size", number(0..=1400)),
            file: table.optional(problems, "file", text),
            send: table.optional(problems, "send", text),
            expect: table.optional(problems, "expect", text),
            command: table.optional(problems, "command", list),
            dynamic_weight: table.optional(problems, "dynamic_weight", truth),
            object: table.object,
        }
    }

    /// The keys that are there and belong to some types only, with those and their lines.
    pub(in crate::config) fn special(&self) -> Vec<(&'static str, &'static [CheckType], u32)> {
        use CheckType::{Agent, Dns, Exec, File, Grpc, Http, Https, Ping, Tcp, Tls, Udp};
        fn line<T>(found: &Option<Located<T>>) -> Option<u32> {
            found.as_ref().map(|found| found.line)
        }
        const HTTP: &[CheckType] = &[Http, Https];
        const TLS: &[CheckType] = &[Https, Tls, Grpc];
        const SOCKET: &[CheckType] = &[Tcp, Tls, Http, Https, Grpc, Udp, Dns, Ping, Agent];
        // What a tunnel carries, and the command that is told where to ask.
        const TUNNEL: &[CheckType] = &[Tcp, Tls, Http, Https, Grpc, Udp, Dns, Agent, Exec];
        let all: [(&'static str, &'static [CheckType], Option<u32>); 31] = [
            ("port", &[Tcp, Tls, Http, Https, Grpc, Udp, Dns, Agent, File, Exec], line(&self.port)),
            ("via", TUNNEL, line(&self.via)),
            ("source", SOCKET, line(&self.source)),
            ("interface", SOCKET, line(&self.interface)),
            ("method", HTTP, line(&self.method)),
            ("path", HTTP, line(&self.path)),
            ("host", &[Http, Https, Grpc], line(&self.host)),
            ("headers", HTTP, line(&self.headers)),
            ("http_version", HTTP, line(&self.http_version)),
            ("status", HTTP, line(&self.status)),
            ("body_contains", HTTP, line(&self.body_contains)),
            ("body_matches", HTTP, line(&self.body_matches)),
            ("requests", HTTP, line(&self.requests)),
            ("tls", &[Grpc], line(&self.tls)),
            ("server_name", TLS, line(&self.server_name)),
            ("verify", TLS, line(&self.verify)),
            ("ca", TLS, line(&self.ca)),
            ("client_certificate", TLS, line(&self.client_certificate)),
            ("client_key", TLS, line(&self.client_key)),
            ("service", &[Grpc], line(&self.service)),
            ("query", &[Dns], line(&self.query)),
            ("query_type", &[Dns], line(&self.query_type)),
            ("rcode", &[Dns], line(&self.rcode)),
            ("answer", &[Dns], line(&self.answer)),
            ("transport", &[Dns], line(&self.transport)),
            ("size", &[Ping], line(&self.size)),
            ("file", &[File], line(&self.file)),
            ("send", &[Tcp, Udp, Agent], line(&self.send)),
            ("expect", &[Tcp, Udp, File], line(&self.expect)),
            ("command", &[Exec], line(&self.command)),
            ("dynamic_weight", &[Exec, File], line(&self.dynamic_weight)),
        ];
        all.into_iter().filter_map(|(key, types, line)| Some((key, types, line?))).collect()
    }
}
