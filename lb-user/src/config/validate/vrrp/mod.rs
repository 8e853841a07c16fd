//! Virtual routers, their groups and trackers, and addresses of other programs' elections: who names whom, and that every
//! address and every number on a link is spoken for once.

mod addresses;
mod router;
mod rules;
mod track;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::MAX_LEASES;

use super::Check;
use super::objects::{Objects, why_no_name};
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{ExternalFile, GroupFile, RouterFile, TrackerFile, VrrpFile};
use crate::config::reader::{Located, printable};
use crate::config::{path, words};
use crate::state::DesiredAddress;
use crate::vrrp::{External, Router, Tracker, Wanted};

use addresses::Taken;

const SHORTEST_LEASE: Duration = Duration::from_millis(300);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// What else is in the file, as far as it matters here.
struct Around<'a> {
    objects: &'a Objects,
    /// Of vips.
    addresses: &'a BTreeMap<IpAddr, DesiredAddress>,
    /// Names of trackers.
    trackers: BTreeSet<&'a str>,
}

pub(super) fn validate(
    check: &mut Check<'_>,
    file: &VrrpFile,
    objects: &Objects,
    addresses: &BTreeMap<IpAddr, DesiredAddress>,
) -> Wanted {
    let trackers = file.trackers.iter().filter_map(|tracker| Some(tracker.name.as_ref()?.value.as_str()));
    let around = Around { objects, addresses, trackers: trackers.collect() };
    let (mut names, mut taken) = (Names::default(), Taken::default());
    let mut routers = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for router in &file.routers {
        let name = names.take(check, &router.object, router.name.as_ref());
        only_one_of_id(check, router, &mut ids);
        let found = router::validate(check, router, &around, &mut taken);
        routers.extend(name.zip(found));
    }
    let groups = groups(check, &file.groups, &mut names, &file.routers, &routers);
    let mut external = BTreeMap::new();
    for one in &file.externals {
        let name = names.take(check, &one.object, one.name.as_ref());
        external.extend(name.zip(external_of(check, one, &around, &mut taken)));
    }
    let limit = check.take(&["vrrp", "start_limit"], file.start_limit.clone());
    let wanted = Wanted {
        routers,
        groups,
        trackers: trackers_of(check, &file.trackers),
        external,
        gate_limit: limit.unwrap_or(Wanted::GATE_LIMIT),
    };
    fits_the_kernel(check, file, wanted.elected().len());
    wanted
}

/// The kernel's table of whose the addresses are has a fixed size.
fn fits_the_kernel(check: &mut Check<'_>, file: &VrrpFile, elected: usize) {
    let most = MAX_LEASES as usize;
    let routers = file.routers.iter().map(|router| router.line);
    if let Some(line) = routers.max().filter(|_| elected > most) {
        let text =
            format!("[vrrp]: {elected} addresses are elected, the kernel's table holds {most}; use fewer");
        check.problems.add(line, text);
    }
}

/// Names that commands use, with the lines where they are given.
#[derive(Default)]
struct Names(BTreeMap<String, (String, u32)>);

impl Names {
    fn take(
        &mut self,
        check: &mut Check<'_>,
        object: &str,
        name: Option<&Located<String>>,
    ) -> Option<String> {
        let Located { value: name, line } = name?;
        if let Some(why) = why_no_name(name) {
            check.problems.add(*line, format!("{object}: name: '{}' {why}", printable(name)));
            return None;
        }
        if let Some((other, first)) = self.0.get(name) {
            let text = format!(
                "{object}: the name is taken by {other} in line {first}; choose another or remove one"
            );
            check.problems.add(*line, text);
            return None;
        }
        self.0.insert(name.clone(), (object.to_owned(), *line));
        Some(name.clone())
    }
}

/// On a link, a number stands for one virtual router of each family (RFC 9568 5.2.3).
fn only_one_of_id<'a>(
    check: &mut Check<'_>,
    file: &'a RouterFile,
    ids: &mut BTreeMap<(&'a str, bool, u8), &'a RouterFile>,
) {
    let (Some(interface), Some(id)) = (&file.interface, &file.router_id) else { return };
    let Some(first) = file.addresses.as_ref().and_then(|addresses| addresses.value.first()) else { return };
    let family = first.value.0.is_ipv4();
    let Some(other) = ids.insert((&interface.value, family, id.value), file) else { return };
    let text = format!(
        "{}: router_id: {} is that of {} in line {}, on the same interface and of the same family; give each its own",
        file.object, id.value, other.object, other.line
    );
    check.problems.add(id.line, text);
}

fn groups(
    check: &mut Check<'_>,
    files: &[GroupFile],
    names: &mut Names,
    router_files: &[RouterFile],
    routers: &BTreeMap<String, Router>,
) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::new();
    let mut grouped: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    for file in files {
        let name = names.take(check, &file.object, file.name.as_ref());
        let Some(Located { value: members, line }) = &file.routers else { continue };
        let object = &file.object;
        if members.is_empty() {
            check.problems.add(*line, format!("{object}: routers: the list is empty; name its routers"));
        }
        let mut found = Vec::new();
        for Located { value: member, line } in members {
            let shown = printable(member);
            let known =
                || router_files.iter().filter_map(|router| Some(router.name.as_ref()?.value.as_str()));
            if !known().any(|name| name == member) {
                let hint = did_you_mean(nearest(member, known()));
                let text = format!("{object}: routers: no virtual router is called '{shown}'{hint}");
                check.problems.add(*line, text);
            } else if let Some((other, first)) = grouped.insert(member, (object, *line)) {
                let text = format!(
                    "{object}: routers: '{shown}' is in {other} in line {first} already; a router is in one group: remove one"
                );
                check.problems.add(*line, text);
            } else {
                found.push((member, *line));
            }
        }
        if let Some(name) = &name {
            check.provenance.note(path(&["vrrp", "group", name, "routers"]));
        }
        of_one_mind(check, object, &found, routers);
        groups.extend(name.map(|name| (name, found.into_iter().map(|(member, _)| member.clone()).collect())));
    }
    groups
}

/// Members that want different hosts would pull a group to and fro.
fn of_one_mind(
    check: &mut Check<'_>,
    object: &str,
    members: &[(&String, u32)],
    routers: &BTreeMap<String, Router>,
) {
    let mut known = members.iter().filter_map(|(name, line)| Some((*name, *line, routers.get(*name)?)));
    let Some((first, _, wanted)) = known.next() else { return };
    for (name, line, router) in known {
        let difference = if router.priority != wanted.priority {
            format!("priority is {}, but {}", router.priority, wanted.priority)
        } else if router.preempt != wanted.preempt {
            let words = [router, wanted].map(|router| words::preempt(router.preempt));
            match words {
                [one, other] if one == other => "preempt_delay is another one than".to_owned(),
                [one, other] => format!("preempt is \"{one}\", but \"{other}\""),
            }
        } else {
            continue;
        };
        let text = format!(
            "{object}: routers: {name}: {difference} in {first}; the routers of a group have one role: write the same in all"
        );
        check.problems.add(line, text);
    }
}

fn trackers_of(check: &mut Check<'_>, files: &[TrackerFile]) -> BTreeMap<String, Tracker> {
    let mut names = Names::default();
    let mut trackers = BTreeMap::new();
    for file in files {
        let name = names.take(check, &file.object, file.name.as_ref());
        if let (Some(tracker), Some(name)) = (track::tracker(check, file), name) {
            trackers.insert(name, tracker);
        }
    }
    trackers
}

fn external_of(
    check: &mut Check<'_>,
    file: &ExternalFile,
    around: &Around<'_>,
    taken: &mut Taken,
) -> Option<External> {
    let found = file.addresses.as_ref()?;
    let addresses = taken.external(check, around, &file.object, found);
    let name = file.name.as_ref().map_or("", |name| name.value.as_str());
    check.provenance.note(path(&["vrrp", "external", name, "addresses"]));
    if let Some(follows) = file.follows.as_ref()
        && found.value.iter().any(|address| address.value.0 == follows.value)
    {
        let text = format!(
            "{}: follows: {} is one of its addresses, which this host is to have only when it may; name one that the other program moves beside them",
            file.object, follows.value
        );
        check.problems.add(follows.line, text);
    }
    let follows = check.take(&["vrrp", "external", name, "follows"], file.follows.clone());
    let too_short = |lease: &Located<Duration>| !lease.value.is_zero() && lease.value < SHORTEST_LEASE;
    if let Some(found) = file.lease.as_ref().filter(|found| too_short(found)) {
        let text = format!(
            "{}: lease: it is renewed three times before it ends, which takes {SHORTEST_LEASE:?} at least; write \"{SHORTEST_LEASE:?}\" or more, or \"0s\" for one without end",
            file.object
        );
        check.problems.add(found.line, text);
    }
    let lease = check.take(&["vrrp", "external", name, "lease"], file.lease.clone());
    Some(External { addresses, follows, lease: lease.unwrap_or(External::LEASE) })
}
