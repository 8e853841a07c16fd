//! One virtual router: what its version, its family and its settings allow of each other.

use std::time::Duration;

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, OWNER, Version};

use super::addresses::Taken;
use super::rules::Rules;
use super::{Around, track};
use crate::config::file::RouterFile;
use crate::config::reader::{Located, printable};
use crate::config::validate::{Check, why_no_interface};
use crate::config::words::PreemptWord;
use crate::config::{DEFAULT_PRIORITY, path};
use crate::vrrp::Router;

pub(super) fn validate(
    check: &mut Check<'_>,
    file: &RouterFile,
    around: &Around<'_>,
    taken: &mut Taken,
) -> Option<Router> {
    let name = file.name.as_ref().map_or("", |name| name.value.as_str());
    for key in ["interface", "router_id", "addresses"] {
        check.provenance.note(path(&own(name, key)));
    }
    let interface = file.interface.as_ref()?;
    if let Some(why) = why_no_interface(&interface.value) {
        let text = format!("{}: interface: '{}' {why}", file.object, printable(&interface.value));
        check.problems.add(interface.line, text);
    }
    let found = file.addresses.as_ref()?;
    let v4 = found.value.first().is_none_or(|first| first.value.0.is_ipv4());
    let addresses = taken.router(check, around, (&file.object, "addresses"), found, &interface.value);
    let more = file.more_addresses.as_ref().map(|found| {
        check.provenance.note(path(&own(name, "more_addresses")));
        taken.router(check, around, (&file.object, "more_addresses"), found, &interface.value)
    });
    let version = match check.take(&own(name, "version"), file.version.clone()) {
        Some(2) => Version::V2,
        _ => Version::V3,
    };
    let interval = Rules { check, file, v4, version }.all();
    if file.interval.is_some() {
        check.provenance.note(path(&own(name, "interval")));
    }
    let priority = check.take(&own(name, "priority"), file.priority.clone()).unwrap_or(DEFAULT_PRIORITY);
    if file.track.is_some() {
        check.provenance.note(path(&own(name, "track")));
    }
    let router = Router {
        interface: interface.value.clone(),
        vrid: file.router_id.as_ref()?.value,
        version,
        priority,
        interval,
        addresses,
        more_addresses: more.unwrap_or_default(),
        preempt: preempt(check, file, priority, name),
        authentication: match check.take(&own(name, "password"), file.password.clone()) {
            Some(password) => Authentication::password(&password),
            None => Authentication::None,
        },
        peers: check
            .take(&own(name, "peers"), file.peers.clone())
            .map_or_else(Vec::new, |peers| peers.into_iter().map(|peer| peer.value).collect()),
        source: check.take(&own(name, "source"), file.source.clone()),
        check_hop_limit: check
            .take(&own(name, "check_hop_limit"), file.check_hop_limit.clone())
            .unwrap_or(true),
        sum: check.take(&own(name, "checksum"), file.checksum.clone()).unwrap_or_default(),
        virtual_mac: check.take(&own(name, "virtual_mac"), file.virtual_mac.clone()).unwrap_or(false),
        fencing: check.take(&own(name, "fencing"), file.fencing.clone()).unwrap_or(true),
        accept: check.take(&own(name, "accept"), file.accept.clone()).unwrap_or(true),
        announce: announce(check, file, name),
        track: track::tracks(check, file, priority, around),
    };
    virtual_mac(check, file, &router);
    accept(check, file, &router);
    Some(router)
}

/// The place of a value in a virtual router.
const fn own<'a>(name: &'a str, key: &'a str) -> [&'a str; 4] {
    ["vrrp", "router", name, key]
}

fn preempt(check: &mut Check<'_>, file: &RouterFile, priority: u8, name: &str) -> Preempt {
    let word = file.preempt.as_ref().map_or(PreemptWord::Now, |found| found.value);
    if let Some(found) = &file.preempt {
        check.provenance.note(path(&own(name, "preempt")));
        if priority == OWNER && word != PreemptWord::Now {
            let text = format!(
                "{}: preempt: with priority 255 a host takes its addresses whenever it is there; write another priority, or take preempt out",
                file.object
            );
            check.problems.add(found.line, text);
        }
    }
    match (word, &file.preempt_delay) {
        (PreemptWord::After, Some(delay)) => {
            check.provenance.note(path(&own(name, "preempt_delay")));
            Preempt::After(delay.value)
        }
        (PreemptWord::After, None) => {
            let line = file.preempt.as_ref().map_or(file.line, |found| found.line);
            let text = format!("{}: preempt: after which time? Add preempt_delay = \"30s\"", file.object);
            check.problems.add(line, text);
            Preempt::Now
        }
        (_, Some(delay)) => {
            let text = format!(
                "{}: preempt_delay: it is for preempt = \"after\"; add that, or take it out",
                file.object
            );
            check.problems.add(delay.line, text);
            Preempt::Now
        }
        (PreemptWord::Never, None) => Preempt::Never,
        (PreemptWord::Now, None) => Preempt::Now,
    }
}

fn announce(check: &mut Check<'_>, file: &RouterFile, name: &str) -> Schedule {
    let default = Schedule::default();
    let mut rounds =
        |key, found: &Option<Located<u8>>, usual| check.take(&own(name, key), found.clone()).unwrap_or(usual);
    let repeat = rounds("announce_repeat", &file.announce_repeat, default.repeat);
    let refresh_repeat =
        rounds("announce_refresh_repeat", &file.announce_refresh_repeat, default.refresh_repeat);
    let lower_priority_repeat = rounds(
        "announce_lower_priority_repeat",
        &file.announce_lower_priority_repeat,
        default.lower_priority_repeat,
    );
    let mut span = |key, found: &Option<Located<Duration>>, usual| {
        check.take(&own(name, key), found.clone()).unwrap_or(usual)
    };
    let delay = span("announce_delay", &file.announce_delay, default.delay);
    let refresh = span("announce_refresh", &file.announce_refresh, default.refresh);
    if let Some(found) = file.announce_refresh_repeat.as_ref().filter(|_| refresh.is_zero()) {
        let text = format!(
            "{}: announce_refresh_repeat: nothing is announced again; add announce_refresh, or take it out",
            file.object
        );
        check.problems.add(found.line, text);
    }
    Schedule { repeat, delay, refresh, refresh_repeat, lower_priority_repeat }
}

/// What has nothing to say is a mistake: vips' addresses have settings of their own.
fn accept(check: &mut Check<'_>, file: &RouterFile, router: &Router) {
    let Some(found) = file.accept.as_ref().filter(|found| !found.value) else { return };
    if router.closed().next().is_none() {
        let text = format!(
            "{}: accept: all its addresses are those of vips, for which unknown_ports = \"drop\" and ping = false say it; write these there, or take accept out",
            file.object
        );
        check.problems.add(found.line, text);
    }
}

fn virtual_mac(check: &mut Check<'_>, file: &RouterFile, router: &Router) {
    let Some(found) = file.virtual_mac.as_ref().filter(|found| found.value) else { return };
    if !router.peers.is_empty() {
        let text = format!(
            "{}: virtual_mac: with peers the hosts need not be on one link, where such an address means something; take one of the two out",
            file.object
        );
        check.problems.add(found.line, text);
    }
}
