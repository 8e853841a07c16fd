//! Hooks as they are written.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::texts;
use crate::config::decode::{choice, duration, number, text, truth};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::config::words::{ARGUMENTS, HOOK_TYPES, HookType, SECURITIES};
use crate::hooks::{Arguments, Security};

#[derive(Debug)]
pub(in crate::config) struct HookFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) kind: Option<Located<HookType>>,
    pub(in crate::config) on: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) vips: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) backends: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) routers: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) timeout: Option<Located<Duration>>,
    pub(in crate::config) tries: Option<Located<u32>>,
    pub(in crate::config) rate: Option<Located<u32>>,
    pub(in crate::config) burst: Option<Located<u32>>,
    pub(in crate::config) queue: Option<Located<u32>>,
    pub(in crate::config) command: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) arguments: Option<Located<Arguments>>,
    pub(in crate::config) url: Option<Located<String>>,
    pub(in crate::config) url_file: Option<Located<String>>,
    pub(in crate::config) headers: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) headers_file: Option<Located<String>>,
    pub(in crate::config) server: Option<Located<String>>,
    pub(in crate::config) port: Option<Located<u16>>,
    pub(in crate::config) security: Option<Located<Security>>,
    pub(in crate::config) user: Option<Located<String>>,
    pub(in crate::config) password_file: Option<Located<String>>,
    pub(in crate::config) from: Option<Located<String>>,
    pub(in crate::config) to: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) verify: Option<Located<bool>>,
    pub(in crate::config) ca: Option<Located<String>>,
}

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

impl HookFile {
    pub(super) fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let name = table.table.get("name").and_then(|name| name.get_ref().as_str());
        if let Some(name) = name {
            table.object = format!("hook {}", printable(name));
        }
        let list = |value: &DeValue<'_>| texts(table.source, value);
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            kind: table.required(problems, "type", choice(HOOK_TYPES)),
            on: table.optional(problems, "on", list),
            vips: table.optional(problems, "vips", list),
            backends: table.optional(problems, "backends", list),
            routers: table.optional(problems, "routers", list),
            timeout: table.optional(problems, "timeout", duration(TIMEOUTS)),
            tries: table.optional(problems, "tries", number(1..=20)),
            rate: table.optional(problems, "rate", number(0..=60_000)),
            burst: table.optional(problems, "burst", number(1..=10_000)),
            queue: table.optional(problems, "queue", number(1..=10_000)),
            command: table.optional(problems, "command", list),
            arguments: table.optional(problems, "arguments", choice(ARGUMENTS)),
            url: table.optional(problems, "url", text),
            url_file: table.optional(problems, "url_file", text),
            headers: table.optional(problems, "headers", list),
            headers_file: table.optional(problems, "headers_file", text),
            server: table.optional(problems, "server", text),
            port: table.optional(problems, "port", number(1..=u16::MAX)),
            security: table.optional(problems, "security", choice(SECURITIES)),
            user: table.optional(problems, "user", text),
            password_file: table.optional(problems, "password_file", text),
            from: table.optional(problems, "from", text),
            to: table.optional(problems, "to", list),
            verify: table.optional(problems, "verify", truth),
            ca: table.optional(problems, "ca", text),
            object: table.object,
        }
    }

    /// The keys that are there and belong to some types only, with those and their lines.
    pub(in crate::config) fn special(&self) -> Vec<(&'static str, &'static [HookType], u32)> {
        use HookType::{Email, Exec, Webhook};
        fn line<T>(found: &Option<Located<T>>) -> Option<u32> {
            found.as_ref().map(|found| found.line)
        }
        let all: [(&'static str, &'static [HookType], Option<u32>); 16] = [
            ("tries", &[Webhook, Email], line(&self.tries)),
            ("command", &[Exec], line(&self.command)),
            ("arguments", &[Exec], line(&self.arguments)),
            ("url", &[Webhook], line(&self.url)),
            ("url_file", &[Webhook], line(&self.url_file)),
            ("headers", &[Webhook], line(&self.headers)),
            ("headers_file", &[Webhook], line(&self.headers_file)),
            ("server", &[Email], line(&self.server)),
            ("port", &[Email], line(&self.port)),
            ("security", &[Email], line(&self.security)),
            ("user", &[Email], line(&self.user)),
            ("password_file", &[Email], line(&self.password_file)),
            ("from", &[Email], line(&self.from)),
            ("to", &[Email], line(&self.to)),
            ("verify", &[Webhook, Email], line(&self.verify)),
            ("ca", &[Webhook, Email], line(&self.ca)),
        ];
        all.into_iter().filter_map(|(key, types, line)| Some((key, types, line?))).collect()
    }
}
