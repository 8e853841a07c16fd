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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::LinkFact;
    use crate::vrrp::tests::router;

    fn facts(up: bool) -> HostFacts {
        let link = LinkFact {
            name: "eth0".to_owned(),
            mac: None,
            ethernet: true,
            up,
            vlan_parent: None,
            vlan_id: None,
            master: None,
        };
        HostFacts { links: [(2, link)].into(), ..HostFacts::default() }
    }

    fn of(track: &[(Subject, i16)], host: &Host, up: bool, readings: &Readings) -> Evaluation {
        let router = Router { track: track.to_vec(), ..router("eth0", "192.0.2.50") };
        evaluation(&router, &Wanted::default(), host, &facts(up), readings)
    }

    #[test]
    fn the_own_interface_and_fitness_are_always_tracked() {
        let fit = Host::default();
        let unfit = Host { unfit: vec!["no way out".to_owned()], ..Host::default() };
        let none = Readings::new();
        assert!(!of(&[], &fit, true, &none).is_fault());
        assert!(of(&[], &fit, false, &none).is_fault());
        assert!(of(&[], &unfit, true, &none).is_fault());
        let weighed = [(Subject::Fitness, -30), (Subject::Interface("eth0".to_owned()), -20)];
        let evaluation = of(&weighed, &unfit, false, &none);
        assert_eq!((evaluation.priority, evaluation.is_fault()), (50, false));
    }

    #[test]
    fn a_script_without_a_result_counts_as_failing_and_a_dead_vip_as_down() {
        let track = [(Subject::Tracker("it".to_owned()), -10), (Subject::Vip("web".to_owned()), -5)];
        let dead = Host { dead_vips: ["web".to_owned()].into(), ..Host::default() };
        assert_eq!(of(&track, &Host::default(), true, &Readings::new()).priority, 90);
        let up = Readings::from([("it".to_owned(), Reading::Up)]);
        assert_eq!(of(&track, &dead, true, &up).priority, 95);
    }
}
