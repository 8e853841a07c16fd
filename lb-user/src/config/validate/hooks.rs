//! Hooks: whom they tell what, and what of that cannot work.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::check_probe::absolute;
use super::objects::{Objects, why_no_name};
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::HookFile;
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::config::words::{HookType, hook_type};
use crate::health::probe::Tls;
use crate::hooks::{
    self, Address, Arguments, Call, Class, DEFAULT_TIMEOUT, DEFAULT_TRIES, Email, Event, Exec, Filter, Hook,
    Kind, Limits, On, Security, Webhook, default_port,
};
use crate::vrrp;

/// The names that there are.
struct Known<'a> {
    vips: BTreeSet<&'a str>,
    backends: BTreeSet<&'a str>,
    /// Virtual routers and sync groups.
    routers: BTreeSet<&'a str>,
}

/// The valid hooks by name.
pub(super) fn validate(
    check: &mut Check<'_>,
    files: &[HookFile],
    objects: &Objects,
    vrrp: &vrrp::Wanted,
) -> BTreeMap<String, Hook> {
    let known = Known {
        vips: objects.vips.values().map(|vip| vip.name.as_str()).collect(),
        backends: objects.backends.keys().map(String::as_str).collect(),
        routers: vrrp.routers.keys().chain(vrrp.groups.keys()).map(String::as_str).collect(),
    };
    let mut hooks = BTreeMap::new();
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for file in files {
        let call = call(check, file);
        let filter = filter(check, file, call.as_ref(), &known);
        let Some(Located { value: name, line }) = &file.name else { continue };
        if let Some(why) = why_no_name(name) {
            check.problems.add(*line, format!("{}: name: '{}' {why}", file.object, printable(name)));
            continue;
        }
        if let Some(first) = lines.insert(name, *line) {
            let object = &file.object;
            let text = format!(
                "{object}: the name is taken by the hook in line {first}; choose another or remove one"
            );
            check.problems.add(*line, text);
            continue;
        }
        if let Some(call) = call {
            hooks.insert(name.clone(), hook(check, file, name, call, filter));
        }
    }
    hooks
}

fn hook(check: &mut Check<'_>, file: &HookFile, name: &str, call: Call, filter: Filter) -> Hook {
    let own = |key: &'static str| ["hook", name, key];
    check.provenance.note(path(&own("type")));
    for (key, _, _) in file.special() {
        check.provenance.note(path(&own(key)));
    }
    for (key, is_there) in [
        ("on", file.on.is_some()),
        ("vips", file.vips.is_some()),
        ("backends", file.backends.is_some()),
        ("routers", file.routers.is_some()),
    ] {
        if is_there {
            check.provenance.note(path(&own(key)));
        }
    }
    let default = Limits::default();
    let queue = check.take(&own("queue"), file.queue.clone());
    Hook {
        call,
        filter,
        timeout: check.take(&own("timeout"), file.timeout.clone()).unwrap_or(DEFAULT_TIMEOUT),
        tries: file.tries.as_ref().map_or(DEFAULT_TRIES, |found| found.value),
        limits: Limits {
            per_minute: check.take(&own("rate"), file.rate.clone()).unwrap_or(default.per_minute),
            burst: check.take(&own("burst"), file.burst.clone()).unwrap_or(default.burst),
            waiting: queue.map_or(default.waiting, |queue| queue as usize),
        },
    }
}

fn call(check: &mut Check<'_>, file: &HookFile) -> Option<Call> {
    let kind = file.kind.as_ref()?.value;
    let object = &file.object;
    for (key, types, line) in file.special() {
        if !types.contains(&kind) {
            let types: Vec<_> = types.iter().map(|of| format!("\"{}\"", hook_type(*of))).collect();
            let text = format!(
                "{object}: {key}: it belongs to hooks with type = {}, and this one is \"{}\"; take it out",
                types.join(" or "),
                hook_type(kind)
            );
            check.problems.add(line, text);
        }
    }
    match kind {
        HookType::Exec => exec(check, file).map(Call::Exec),
        HookType::Webhook => webhook(check, file).map(Call::Webhook),
        HookType::Email => email(check, file).map(Call::Email),
    }
}

fn filter(check: &mut Check<'_>, file: &HookFile, call: Option<&Call>, known: &Known<'_>) -> Filter {
    let object = &file.object;
    let keepalived = file.arguments.as_ref().is_some_and(|found| found.value == Arguments::Keepalived);
    let roles = [On::Class(Class::Vrrp), On::Kind(Kind::Role), On::Kind(Kind::GroupRole)];
    let mut on = BTreeSet::new();
    for found in file.on.iter().flat_map(|found| &found.value) {
        let Some(one) = On::all().find(|on| on.word() == found.value) else {
            let hint = nearest(&found.value, On::all().map(On::word));
            let way_out = match hint {
                Some(_) => did_you_mean(hint),
                None => format!("; known are {}", On::all().map(On::word).collect::<Vec<_>>().join(", ")),
            };
            let text = format!("{object}: on: '{}' is no kind of events{way_out}", printable(&found.value));
            check.problems.add(found.line, text);
            continue;
        };
        if keepalived && !roles.contains(&one) {
            let text = format!(
                "{object}: on: with arguments = \"keepalived\" only changes of roles are told; write [\"vrrp\"], [\"role\"] or [\"group_role\"]"
            );
            check.problems.add(found.line, text);
        }
        on.insert(one);
    }
    match &file.on {
        Some(found) if found.value.is_empty() => {
            check.problems.add(found.line, format!("{object}: on: nothing would be told; name some events"));
        }
        Some(_) => {}
        None => on = call.map(Call::usual).unwrap_or_default(),
    }
    Filter {
        on,
        vips: names(check, object, "vips", &file.vips, &known.vips),
        backends: names(check, object, "backends", &file.backends, &known.backends),
        routers: names(check, object, "routers", &file.routers, &known.routers),
    }
}

/// The names in a list; those that nothing has are noted.
fn names(
    check: &mut Check<'_>,
    object: &str,
    key: &str,
    found: &Option<Located<Vec<Located<String>>>>,
    known: &BTreeSet<&str>,
) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for name in found.iter().flat_map(|found| &found.value) {
        if !known.contains(name.value.as_str()) {
            let hint = did_you_mean(nearest(&name.value, known.iter().copied()));
            let what = match key {
                "routers" => "virtual router or sync group",
                key => key.trim_end_matches('s'),
            };
            let shown = printable(&name.value);
            check.problems.add(name.line, format!("{object}: {key}: no {what} is called '{shown}'{hint}"));
        }
        names.insert(name.value.clone());
    }
    names
}

fn exec(check: &mut Check<'_>, file: &HookFile) -> Option<Exec> {
    let object = &file.object;
    let Some(found) = &file.command else {
        need(check, file, "command");
        return None;
    };
    if !found.value.first().is_some_and(|program| program.value.starts_with('/')) {
        let text = format!(
            "{object}: command: it does not begin with the path of a program; write for example [\"/usr/local/bin/notify\", \"{{text}}\"]"
        );
        check.problems.add(found.line, text);
    }
    for part in &found.value {
        for name in hooks::names_in(&part.value).filter(|name| !Event::has_value(name)) {
            let looks_like_one =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if looks_like_one {
                let hint = did_you_mean(nearest(name, Event::value_names()));
                let text = format!("{object}: command: there is no value '{{{}}}'{hint}", printable(name));
                check.problems.add(part.line, text);
            }
        }
    }
    let command = found.value.iter().map(|part| part.value.clone()).collect();
    Some(Exec { command, arguments: file.arguments.as_ref().map(|found| found.value).unwrap_or_default() })
}

fn webhook(check: &mut Check<'_>, file: &HookFile) -> Option<Webhook> {
    let object = &file.object;
    absolute(check, object, "url_file", &file.url_file);
    absolute(check, object, "headers_file", &file.headers_file);
    let mut headers = Vec::new();
    for found in file.headers.iter().flat_map(|found| &found.value) {
        let why = match hooks::header(&found.value) {
            // Values may be secrets: they are not shown.
            Err(why) => why.to_owned(),
            Ok((name, _)) if hooks::is_secret(name.as_str()) => {
                format!("{name} is a secret; write the line into a file, and its path as headers_file")
            }
            Ok(_) => {
                headers.extend(
                    found
                        .value
                        .split_once(':')
                        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())),
                );
                continue;
            }
        };
        check.problems.add(found.line, format!("{object}: headers: {why}"));
    }
    let url = match (&file.url, &file.url_file) {
        (Some(found), None) => {
            if let Some(why) = hooks::why_no_url(&found.value) {
                check.problems.add(found.line, format!("{object}: url: {why}"));
            }
            Address::Url(found.value.clone())
        }
        (None, Some(found)) => Address::File(found.value.clone()),
        (Some(_), Some(found)) => {
            check
                .problems
                .add(found.line, format!("{object}: url_file: there is a url already; take one out"));
            return None;
        }
        (None, None) => {
            need(check, file, "url");
            return None;
        }
    };
    let headers_file = file.headers_file.as_ref().map(|found| found.value.clone());
    Some(Webhook { url, headers, headers_file, tls: tls(check, file) })
}

fn email(check: &mut Check<'_>, file: &HookFile) -> Option<Email> {
    let object = &file.object;
    absolute(check, object, "password_file", &file.password_file);
    for (key, is_there) in
        [("server", file.server.is_some()), ("from", file.from.is_some()), ("to", file.to.is_some())]
    {
        if !is_there {
            need(check, file, key);
        }
    }
    let to = file.to.iter().flat_map(|found| &found.value);
    for (key, found) in
        file.from.iter().map(|found| ("from", found)).chain(to.clone().map(|found| ("to", found)))
    {
        if !hooks::is_mailbox(&found.value) {
            let shown = printable(&found.value);
            let text = format!(
                "{object}: {key}: '{shown}' is no mail address; write for example \"ops@example.com\""
            );
            check.problems.add(found.line, text);
        }
    }
    if let Some(found) = file.to.as_ref().filter(|found| found.value.is_empty()) {
        check.problems.add(found.line, format!("{object}: to: nobody would get it; name a mail address"));
    }
    if let Some(found) = file.server.as_ref().filter(|found| !Tls::is_server_name(&found.value)) {
        let shown = printable(&found.value);
        check.problems.add(found.line, format!("{object}: server: '{shown}' is no name of a host"));
    }
    let login = match (&file.user, &file.password_file) {
        (Some(user), Some(password)) => Some((user.value.clone(), password.value.clone())),
        (Some(one), None) | (None, Some(one)) => {
            let text = format!("{object}: user and password_file belong together; add the other one");
            check.problems.add(one.line, text);
            None
        }
        (None, None) => None,
    };
    let security = file.security.as_ref().map(|found| found.value).unwrap_or_default();
    if let Some(found) = file.user.as_ref().filter(|_| security == Security::None) {
        let text = format!(
            "{object}: user: the password would be sent in the clear; add security = \"starttls\" or \"tls\""
        );
        check.problems.add(found.line, text);
    }
    Some(Email {
        server: file.server.as_ref()?.value.clone(),
        port: file.port.as_ref().map_or(default_port(security), |found| found.value),
        security,
        login,
        from: file.from.as_ref()?.value.clone(),
        to: to.map(|found| found.value.clone()).collect(),
        tls: tls(check, file),
    })
}

fn tls(check: &mut Check<'_>, file: &HookFile) -> Tls {
    absolute(check, &file.object, "ca", &file.ca);
    let verify = file.verify.as_ref().is_none_or(|found| found.value);
    if let Some(ca) = file.ca.as_ref().filter(|_| !verify) {
        check
            .problems
            .add(ca.line, format!("{}: ca: nothing is verified; take out verify = false", file.object));
    }
    Tls::new(None, verify, file.ca.as_ref().map(|found| found.value.clone()), None)
}

fn need(check: &mut Check<'_>, file: &HookFile, key: &str) {
    check.problems.add(file.line, format!("{}: '{key}' is missing; add {key} = …", file.object));
}
