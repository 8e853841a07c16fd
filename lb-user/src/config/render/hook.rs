//! A hook as a file would say it. Secrets are in files, of which only the names are shown.

use super::check::{Text, number, some, text, texts_of};
use super::{duration, line, quoted};
use crate::config::Config;
use crate::config::words::{arguments, security};
use crate::health::probe::Tls;
use crate::hooks::{
    Address, Arguments, Call, DEFAULT_TIMEOUT, DEFAULT_TRIES, Email, Filter, Hook, Limits, On, Security,
    Webhook, default_port,
};

impl Config {
    pub(super) fn hook(&self, out: &mut String, name: &str, hook: &Hook) {
        out.push_str("\n[[hook]]\n");
        line(out, "name", quoted(name));
        for text in hook_texts(hook) {
            self.some(out, &["hook", name, text.key], text.toml, text.differs);
        }
    }
}

/// Every value that a hook of its type has, in the order of the reference.
pub(in crate::config) fn hook_texts(hook: &Hook) -> Vec<Text> {
    let Hook { call, filter, timeout, tries, limits } = hook;
    let Filter { on, vips, backends, routers } = filter;
    let list = |key, names: &std::collections::BTreeSet<String>| {
        texts_of(key, names.iter().cloned().collect(), !names.is_empty())
    };
    let words = on.iter().map(|on: &On| on.word().to_owned()).collect();
    let default = Limits::default();
    let mut texts = vec![
        text("type", call.word(), true),
        texts_of("on", words, *on != call.usual()),
        list("vips", vips),
        list("backends", backends),
        list("routers", routers),
        text("timeout", &duration(*timeout), *timeout != DEFAULT_TIMEOUT),
    ];
    if !matches!(call, Call::Exec(_)) {
        texts.push(number("tries", tries.to_string(), *tries != DEFAULT_TRIES));
    }
    texts.extend([
        number("rate", limits.per_minute.to_string(), limits.per_minute != default.per_minute),
        number("burst", limits.burst.to_string(), limits.burst != default.burst),
        number("queue", limits.waiting.to_string(), limits.waiting != default.waiting),
    ]);
    match call {
        Call::Exec(exec) => texts.extend([
            texts_of("command", exec.command.clone(), true),
            text("arguments", arguments(exec.arguments), exec.arguments != Arguments::default()),
        ]),
        Call::Webhook(webhook) => {
            texts.extend(webhook_texts(webhook));
            texts.extend(tls_texts(&webhook.tls));
        }
        Call::Email(email) => {
            texts.extend(email_texts(email));
            texts.extend(tls_texts(&email.tls));
        }
    }
    texts
}

fn webhook_texts(webhook: &Webhook) -> [Text; 4] {
    let (url, file) = match &webhook.url {
        Address::Url(url) => (Some(url.clone()), None),
        Address::File(path) => (None, Some(path.clone())),
    };
    let headers = webhook.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    [
        some("url", &url),
        some("url_file", &file),
        texts_of("headers", headers, !webhook.headers.is_empty()),
        some("headers_file", &webhook.headers_file),
    ]
}

fn email_texts(email: &Email) -> [Text; 7] {
    let (user, password_file) = email.login.clone().unzip();
    [
        text("server", &email.server, true),
        number("port", email.port.to_string(), email.port != default_port(email.security)),
        text("security", security(email.security), email.security != Security::default()),
        some("user", &user),
        some("password_file", &password_file),
        text("from", &email.from, true),
        texts_of("to", email.to.clone(), true),
    ]
}

fn tls_texts(tls: &Tls) -> [Text; 2] {
    [number("verify", tls.verify.to_string(), !tls.verify), some("ca", &tls.ca)]
}
