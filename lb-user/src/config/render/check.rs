//! A check as a file would say it.

use super::{duration, line, list, quoted};
use crate::config::words::{CheckType, check_type, http_version, start, transport, via};
use crate::config::{CheckConfig, Config, DEFAULT_CHECK_TIMEOUT};
use crate::health::probe::{
    DnsProbe, HttpProbe, Origin, Probe, Rcode, RecordType, StatusSet, Tls, Transport,
};
use crate::health::{Rhythm, Via};

/// One value.
pub(in crate::config) struct Text {
    pub(in crate::config) key: &'static str,
    /// Without quotes.
    pub(in crate::config) plain: String,
    /// As the file says it.
    pub(super) toml: String,
    /// Whether it has to be said.
    pub(super) differs: bool,
}

impl Config {
    pub(super) fn check(&self, out: &mut String, name: &str, check: &CheckConfig) {
        out.push_str("\n[[check]]\n");
        line(out, "name", quoted(name));
        for text in check_texts(check) {
            self.some(out, &["check", name, text.key], text.toml, text.differs);
        }
    }
}

/// Every value that a check of its type has, in the order of the reference.
pub(in crate::config) fn check_texts(check: &CheckConfig) -> Vec<Text> {
    let kind = check_type(CheckType::of(&check.probe));
    let CheckConfig { probe, origin, port, via: asked, rhythm, timeout } = check;
    let Rhythm { interval, fast_interval, down_interval, rise, fall, start: begins } = rhythm;
    let default = Rhythm::default();
    let port = port.map(|port| port.to_string());
    let mut texts =
        vec![text("type", kind, true), number("port", port.clone().unwrap_or_default(), port.is_some())];
    texts.extend(way_texts(probe, *asked, origin));
    texts.extend([
        text("interval", &duration(*interval), *interval != default.interval),
        text("fast_interval", &duration(*fast_interval), fast_interval != interval),
        text("down_interval", &duration(*down_interval), down_interval != interval),
        text("timeout", &duration(*timeout), *timeout != DEFAULT_CHECK_TIMEOUT),
        number("rise", rise.to_string(), *rise != default.rise),
        number("fall", fall.to_string(), *fall != default.fall),
        text("start", start(*begins), *begins != default.start),
    ]);
    match probe {
        Probe::Tcp(probe) => texts.extend([some("send", &probe.send), some("expect", &probe.expect)]),
        Probe::Tls(probe) => texts.extend(tls_texts(&probe.tls)),
        Probe::Http(probe) => {
            texts.extend(http_texts(probe));
            texts.extend(probe.tls.iter().flat_map(tls_texts));
        }
        Probe::Grpc(probe) => {
            texts.extend([
                some("host", &probe.host),
                text("service", &probe.service, !probe.service.is_empty()),
                number("tls", probe.tls.is_some().to_string(), probe.tls.is_some()),
            ]);
            texts.extend(probe.tls.iter().flat_map(tls_texts));
        }
        Probe::Udp(probe) => texts.extend([text("send", &probe.send, true), some("expect", &probe.expect)]),
        Probe::Dns(probe) => texts.extend(dns_texts(probe)),
        Probe::Ping(probe) => texts.push(number("size", probe.size.to_string(), probe.size != 0)),
        Probe::Agent(probe) => texts.push(some("send", &probe.send)),
        Probe::File(probe) => texts.extend([
            text("file", &probe.path, true),
            some("expect", &probe.expect),
            number("dynamic_weight", probe.dynamic_weight.to_string(), probe.dynamic_weight),
        ]),
        Probe::Exec(probe) => texts.extend([
            texts_of("command", probe.command.clone(), true),
            number("dynamic_weight", probe.dynamic_weight.to_string(), probe.dynamic_weight),
        ]),
    }
    texts
}

fn http_texts(probe: &HttpProbe) -> [Text; 9] {
    let default = HttpProbe::default();
    let headers = probe.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let version = http_version(probe.version);
    [
        text("method", &probe.method, probe.method != default.method),
        text("path", &probe.path, probe.path != default.path),
        some("host", &probe.host),
        texts_of("headers", headers, !probe.headers.is_empty()),
        text("http_version", version, probe.version != default.version),
        texts_of("status", probe.status.texts(), probe.status != StatusSet::default()),
        some("body_contains", &probe.body_contains),
        some("body_matches", &probe.body_matches.as_ref().map(|pattern| pattern.text().to_owned())),
        number("requests", probe.requests.to_string(), probe.requests != default.requests),
    ]
}

fn tls_texts(tls: &Tls) -> [Text; 5] {
    let (certificate, key) = tls.client.clone().unzip();
    [
        some("server_name", &tls.server_name),
        number("verify", tls.verify.to_string(), tls.verify),
        some("ca", &tls.ca),
        some("client_certificate", &certificate),
        some("client_key", &key),
    ]
}

fn dns_texts(probe: &DnsProbe) -> [Text; 5] {
    let rcodes = probe.rcodes.iter().map(Rcode::to_string).collect();
    [
        text("query", &probe.query.to_string(), true),
        text("query_type", &probe.kind.to_string(), probe.kind != RecordType::A),
        texts_of("rcode", rcodes, probe.rcodes != [Rcode::NOERROR]),
        some("answer", &probe.answer),
        text("transport", transport(probe.transport), probe.transport != Transport::default()),
    ]
}

/// Whom a check asks, and from where: as far as its type sends packets.
fn way_texts(probe: &Probe, asked: Via, origin: &Origin) -> Vec<Text> {
    let mut texts = Vec::new();
    if !matches!(probe, Probe::Ping(_) | Probe::File(_)) {
        texts.push(text("via", via(asked), asked != Via::default()));
    }
    if !matches!(probe, Probe::File(_) | Probe::Exec(_)) {
        let source = origin.source.iter().map(ToString::to_string).collect();
        texts.push(texts_of("source", source, !origin.source.is_empty()));
        texts.push(some("interface", &origin.interface));
    }
    texts
}

pub(super) fn text(key: &'static str, plain: &str, differs: bool) -> Text {
    Text { key, plain: plain.to_owned(), toml: quoted(plain), differs }
}

pub(super) fn some(key: &'static str, value: &Option<String>) -> Text {
    text(key, value.as_deref().unwrap_or_default(), value.is_some())
}

pub(super) fn number(key: &'static str, plain: String, differs: bool) -> Text {
    Text { key, toml: plain.clone(), plain, differs }
}

pub(super) fn texts_of(key: &'static str, texts: Vec<String>, differs: bool) -> Text {
    Text { key, plain: texts.join(", "), toml: list(texts.iter()), differs }
}
