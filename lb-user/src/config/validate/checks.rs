//! Checks, and the vips and backends that name them.

use std::collections::BTreeMap;

use super::Check;
use super::objects::{Objects, why_no_name};
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{BackendFile, CheckFile, VipFile};
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::config::words::{CheckType, check_type};
use crate::config::{CheckConfig, DEFAULT_CHECK_TIMEOUT};
use crate::health::Rhythm;
use crate::health::probe::{ExecProbe, HttpProbe, Probe, StatusSet, TcpProbe, UdpProbe};

/// The valid checks by name; those that vips and backends name and that are not there are noted.
pub(super) fn validate(
    check: &mut Check<'_>,
    files: &[CheckFile],
    backends: &[BackendFile],
    vips: &[VipFile],
    objects: &Objects,
) -> BTreeMap<String, CheckConfig> {
    let mut checks = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for file in files {
        if let Some((name, config)) = one(check, file, &mut lines) {
            checks.insert(name, config);
        }
    }
    for file in backends {
        named(check, &file.object, file.check.as_ref(), &lines);
    }
    for file in vips {
        named(check, &file.object, file.pool.check.as_ref(), &lines);
    }
    for (key, file, vip) in objects.in_file(vips) {
        let routes = vip.routes.iter().flat_map(|route| route.backends.keys());
        for backend in vip.backends.keys().chain(routes) {
            let own = objects.backends.get(backend).and_then(|backend| backend.check.as_ref());
            let portless = own.or(vip.health.check.as_ref()).filter(|name| {
                checks
                    .get(*name)
                    .is_some_and(|found: &CheckConfig| found.needs_port() && found.port.is_none())
            });
            if let Some(name) = portless.filter(|_| key.port == 0) {
                let text = format!(
                    "{}: the vip takes all ports, and check {name} does not say which to ask of {backend}; give the check a port",
                    file.object
                );
                check.problems.add(file.line, text);
                break;
            }
        }
    }
    checks
}

fn named(
    check: &mut Check<'_>,
    object: &str,
    found: Option<&Located<String>>,
    lines: &BTreeMap<String, u32>,
) {
    let Some(Located { value: name, line }) = found else { return };
    if lines.contains_key(name) {
        return;
    }
    let shown = printable(name);
    let hint = nearest(name, lines.keys().map(String::as_str));
    let way_out = match hint {
        Some(_) => did_you_mean(hint),
        None => format!("; add a [[check]] with name = \"{shown}\""),
    };
    check.problems.add(*line, format!("{object}: check: no check is called '{shown}'{way_out}"));
}

fn one(
    check: &mut Check<'_>,
    file: &CheckFile,
    lines: &mut BTreeMap<String, u32>,
) -> Option<(String, CheckConfig)> {
    let object = &file.object;
    let probe = probe(check, file);
    let Located { value: name, line } = file.name.as_ref()?;
    if let Some(why) = why_no_name(name) {
        check.problems.add(*line, format!("{object}: name: '{}' {why}", printable(name)));
        return None;
    }
    if let Some(first) = lines.insert(name.clone(), *line) {
        let text =
            format!("{object}: the name is taken by the check in line {first}; choose another or remove one");
        check.problems.add(*line, text);
        return None;
    }
    let own = |key: &'static str| ["check", name.as_str(), key];
    check.provenance.note(path(&own("type")));
    for (key, _, _) in file.special() {
        check.provenance.note(path(&own(key)));
    }
    let default = Rhythm::default();
    let interval = check.take(&own("interval"), file.interval.clone()).unwrap_or(default.interval);
    let rhythm = Rhythm {
        interval,
        fast_interval: check.take(&own("fast_interval"), file.fast_interval.clone()).unwrap_or(interval),
        down_interval: check.take(&own("down_interval"), file.down_interval.clone()).unwrap_or(interval),
        rise: check.take(&own("rise"), file.rise.clone()).unwrap_or(default.rise),
        fall: check.take(&own("fall"), file.fall.clone()).unwrap_or(default.fall),
        start: check.take(&own("start"), file.start.clone()).unwrap_or(default.start),
    };
    if let Some(fast) = file.fast_interval.as_ref().filter(|fast| fast.value > interval) {
        let text = format!("{object}: fast_interval: it is longer than interval; write no more than that");
        check.problems.add(fast.line, text);
    }
    if let Some(down) = file.down_interval.as_ref().filter(|down| down.value < interval) {
        let text = format!("{object}: down_interval: it is shorter than interval; write no less than that");
        check.problems.add(down.line, text);
    }
    let config = CheckConfig {
        probe: probe?,
        port: check.take(&own("port"), file.port.clone()),
        via: check.take(&own("via"), file.via.clone()).unwrap_or_default(),
        timeout: check.take(&own("timeout"), file.timeout.clone()).unwrap_or(DEFAULT_CHECK_TIMEOUT),
        rhythm,
    };
    Some((name.clone(), config))
}

fn probe(check: &mut Check<'_>, file: &CheckFile) -> Option<Probe> {
    let kind = file.kind.as_ref()?.value;
    let object = &file.object;
    for (key, types, line) in file.special() {
        if !types.contains(&kind) {
            let types: Vec<_> = types.iter().map(|of| format!("\"{}\"", check_type(*of))).collect();
            let text = format!(
                "{object}: {key}: it belongs to checks with type = {}, and this one is \"{}\"; take it out",
                types.join(" or "),
                check_type(kind)
            );
            check.problems.add(line, text);
        }
    }
    let text = |found: &Option<Located<String>>| found.as_ref().map(|found| found.value.clone());
    let need = |check: &mut Check<'_>, key: &str, is_there: bool| {
        if !is_there {
            check.problems.add(file.line, format!("{object}: '{key}' is missing; add {key} = …"));
        }
    };
    Some(match kind {
        CheckType::Tcp => Probe::Tcp(TcpProbe { send: text(&file.send), expect: text(&file.expect) }),
        CheckType::Http => Probe::Http(http(check, file)),
        CheckType::Udp => {
            need(check, "send", file.send.is_some());
            Probe::Udp(UdpProbe { send: text(&file.send).unwrap_or_default(), expect: text(&file.expect) })
        }
        CheckType::Exec => {
            need(check, "command", file.command.is_some());
            Probe::Exec(exec(check, file))
        }
    })
}

fn exec(check: &mut Check<'_>, file: &CheckFile) -> ExecProbe {
    let command: Vec<String> = match &file.command {
        Some(found) => found.value.iter().map(|part| part.value.clone()).collect(),
        None => Vec::new(),
    };
    if let Some(found) =
        file.command.as_ref().filter(|_| !command.first().is_some_and(|path| path.starts_with('/')))
    {
        let text = format!(
            "{}: command: it does not begin with the path of a program; write for example [\"/usr/local/bin/probe\", \"--fast\"]",
            file.object
        );
        check.problems.add(found.line, text);
    }
    ExecProbe { command, dynamic_weight: file.dynamic_weight.as_ref().is_some_and(|truth| truth.value) }
}

fn http(check: &mut Check<'_>, file: &CheckFile) -> HttpProbe {
    let object = &file.object;
    let default = HttpProbe::default();
    let text = |found: &Option<Located<String>>| found.as_ref().map(|found| found.value.clone());
    let mut headers = Vec::new();
    for header in file.headers.iter().flat_map(|found| &found.value) {
        match header.value.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                let shown = printable(&header.value);
                let text = format!("{object}: headers: '{shown}' has no ':'; write \"Name: value\"");
                check.problems.add(header.line, text);
            }
        }
    }
    let mut status = Vec::new();
    for part in file.status.iter().flat_map(|found| &found.value) {
        match StatusSet::parse_one(&part.value) {
            Some(range) => status.push(range),
            None => {
                let shown = printable(&part.value);
                let text = format!(
                    "{object}: status: '{shown}' is no status code; write for example \"200\", \"200-204\" or \"2xx\""
                );
                check.problems.add(part.line, text);
            }
        }
    }
    let probe = HttpProbe {
        method: text(&file.method).unwrap_or(default.method),
        path: text(&file.path).unwrap_or(default.path),
        host: text(&file.host),
        headers,
        version: file.http_version.as_ref().map(|version| version.value).unwrap_or_default(),
        status: if file.status.is_some() { StatusSet(status) } else { default.status },
        body_contains: text(&file.body_contains),
    };
    if let Some(found) = file.status.as_ref().filter(|found| found.value.is_empty()) {
        check
            .problems
            .add(found.line, format!("{object}: status: no answer would do; name some, such as [\"2xx\"]"));
    }
    if let Some(found) = file.path.as_ref().filter(|path| !path.value.starts_with('/')) {
        check.problems.add(found.line, format!("{object}: path: it does not begin with '/'"));
    } else if let Some(why) = probe.why_unusable() {
        check.problems.add(file.line, format!("{object}: no request can be made of it: {why}"));
    }
    probe
}
