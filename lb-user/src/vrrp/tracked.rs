//! What a virtual router's priority depends on, as it is at present. Pure.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use lb_vrrp::track::{Evaluation, Kind, Reading, Tracked, evaluate};

use super::{Host, Router, Subject, Tracker, Wanted};
use crate::net::HostFacts;

/// What is observed of scripts and files, by name; one without a reading counts as failing.
pub(super) type Readings = BTreeMap<String, Reading>;

/// What tracking makes of a router's priority.
pub(super) fn evaluation(
    router: &Router,
    wanted: &Wanted,
    host: &Host,
    facts: &HostFacts,
    readings: &Readings,
) -> Evaluation {
    let own = Subject::Interface(router.interface.clone());
    let always = [own, Subject::Fitness]
        .into_iter()
        .filter(|subject| !router.track.iter().any(|(known, _)| known == subject));
    let all = router.track.iter().cloned().chain(always.map(|subject| (subject, 0)));
    let tracked: Vec<Tracked> = all
        .map(|(subject, weight)| {
            let up = |up| if up { Reading::Up } else { Reading::Down };
            let (kind, name, reading) = match subject {
                Subject::Interface(name) => {
                    let is_up = facts.link(&name).is_some_and(|(_, link)| link.up);
                    (Kind::Interface, name, up(is_up))
                }
                Subject::Tracker(name) => {
                    let kind = match wanted.trackers.get(&name) {
                        Some(Tracker::File { .. }) => Kind::File,
                        _ => Kind::Script,
                    };
                    let reading = readings.get(&name).copied().unwrap_or(Reading::Down);
                    (kind, name, reading)
                }
                Subject::Vip(name) => {
                    let is_up = !host.dead_vips.contains(&name);
                    (Kind::Backends, name, up(is_up))
                }
                Subject::Fitness => (Kind::Fitness, "fitness".to_owned(), up(host.unfit.is_empty())),
            };
            Tracked { kind, name, weight, reading }
        })
        .collect();
    evaluate(router.priority, &tracked)
}
