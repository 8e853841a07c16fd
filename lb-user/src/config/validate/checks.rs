//! Checks, and the vips and backends that name them.

use std::collections::BTreeMap;

use super::Check;
use super::check_probe::{origin, probe};
use super::objects::{Objects, why_no_name};
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{BackendFile, CheckFile, VipFile};
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::config::{CheckConfig, DEFAULT_CHECK_TIMEOUT};
use crate::health::probe::Probe;
use crate::health::{Rhythm, Via};

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
        named(check, &file.object, "check", file.check.as_ref(), &lines);
        named(check, &file.object, "agent", file.agent.as_ref(), &lines);
    }
    for file in vips {
        named(check, &file.object, "check", file.pool.check.as_ref(), &lines);
        named(check, &file.object, "agent", file.pool.agent.as_ref(), &lines);
    }
    agents(check, backends, vips, &checks);
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

/// Agents that are asked beside a check.
fn agents(
    check: &mut Check<'_>,
    backends: &[BackendFile],
    vips: &[VipFile],
    checks: &BTreeMap<String, CheckConfig>,
) {
    let of_backends = backends.iter().map(|file| (&file.object, &file.check, &file.agent));
    let of_vips = vips.iter().map(|file| (&file.object, &file.pool.check, &file.pool.agent));
    let all: Vec<_> = of_backends.chain(of_vips).collect();
    for (object, _, agent) in &all {
        let Some(Located { value: name, line }) = agent else { continue };
        let Some(found) = checks.get(name) else { continue };
        let shown = printable(name);
        let problem = if !matches!(found.probe, Probe::Agent(_)) {
            format!("check '{shown}' does not ask an agent; name one with type = \"agent\"")
        } else if found.port.is_none() {
            format!("check '{shown}' does not say where agents listen; give it a port")
        } else if let Some((user, _, _)) =
            all.iter().find(|(_, check, _)| check.as_ref().is_some_and(|check| check.value == *name))
        {
            format!("'{shown}' is the check of {user}, too; add a second [[check]] for one of them")
        } else {
            continue;
        };
        check.problems.add(*line, format!("{object}: agent: {problem}"));
    }
}

fn named(
    check: &mut Check<'_>,
    object: &str,
    key: &str,
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
    check.problems.add(*line, format!("{object}: {key}: no check is called '{shown}'{way_out}"));
}

fn one(
    check: &mut Check<'_>,
    file: &CheckFile,
    lines: &mut BTreeMap<String, u32>,
) -> Option<(String, CheckConfig)> {
    let object = &file.object;
    let (probe, origin) = (probe(check, file), origin(check, file));
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
    through_tunnel(check, file);
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
        origin,
        port: check.take(&own("port"), file.port.clone()),
        via: check.take(&own("via"), file.via.clone()).unwrap_or_default(),
        timeout: check.take(&own("timeout"), file.timeout.clone()).unwrap_or(DEFAULT_CHECK_TIMEOUT),
        rhythm,
    };
    Some((name.clone(), config))
}

/// What comes through a tunnel leaves as the route to the backend says.
fn through_tunnel(check: &mut Check<'_>, file: &CheckFile) {
    if !file.via.as_ref().is_some_and(|via| via.value == Via::Tunnel) {
        return;
    }
    let source = ("source", file.source.as_ref().map(|found| found.line));
    let interface = ("interface", file.interface.as_ref().map(|found| found.line));
    for (key, line) in [source, interface] {
        let Some(line) = line else { continue };
        let text = format!(
            "{}: {key}: with via = \"tunnel\" packets leave as the route to the backend says; take it out, or ask with via = \"direct\"",
            file.object
        );
        check.problems.add(line, text);
    }
}
