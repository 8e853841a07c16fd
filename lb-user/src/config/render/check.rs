//! A check as a file would say it.

use super::{duration, line, list, quoted};
use crate::config::words::{CheckType, check_type, http_version, start, via};
use crate::config::{CheckConfig, Config, DEFAULT_CHECK_TIMEOUT};
use crate::health::probe::{HttpProbe, Probe, StatusSet};
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
    let CheckConfig { probe, port, via: asked, rhythm, timeout } = check;
    let Rhythm { interval, fast_interval, down_interval, rise, fall, start: begins } = rhythm;
    let default = Rhythm::default();
    let port = port.map(|port| port.to_string());
    let mut texts =
        vec![text("type", kind, true), number("port", port.clone().unwrap_or_default(), port.is_some())];
    texts.extend([
        text("via", via(*asked), *asked != Via::default()),
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
        Probe::Http(probe) => texts.extend(http_texts(probe)),
        Probe::Udp(probe) => texts.extend([text("send", &probe.send, true), some("expect", &probe.expect)]),
        Probe::Exec(probe) => texts.extend([
            texts_of("command", probe.command.clone(), true),
            number("dynamic_weight", probe.dynamic_weight.to_string(), probe.dynamic_weight),
        ]),
    }
    texts
}

fn http_texts(probe: &HttpProbe) -> [Text; 7] {
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
    ]
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
