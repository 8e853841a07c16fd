use super::*;

const PORT: Port = Port { ifindex: 2, mac: MacAddress([2, 0, 0, 0, 0, 1]) };

fn situation(port: Result<Port, &str>) -> Situation {
    Situation { port: port.map_err(str::to_owned), kernel: Presence::Absent }
}

#[test]
fn only_what_changes_is_news() {
    let lost = |reason: &str| vec![Event::Lost(reason.to_owned())];
    let ready = || vec![Event::Ready(Presence::Absent)];
    let (up, down) = (situation(Ok(PORT)), situation(Err("down")));
    let moved = Port { mac: MacAddress([2, 0, 0, 0, 0, 7]), ..PORT };
    let replaced = Port { ifindex: 9, ..PORT };
    let used = Situation { kernel: Presence::Usable, ..up.clone() };
    for (before, now, news_of_it) in [
        (None, up.clone(), ready()),
        (None, down.clone(), lost("down")),
        (None, used.clone(), vec![Event::Ready(Presence::Usable)]),
        (Some(up.clone()), up.clone(), vec![]),
        (Some(up.clone()), down.clone(), lost("down")),
        (Some(down.clone()), down.clone(), vec![]),
        (Some(down.clone()), situation(Err("missing")), lost("missing")),
        (Some(down), up.clone(), ready()),
        (Some(up.clone()), situation(Ok(moved)), vec![Event::MacChanged]),
        (Some(up.clone()), situation(Ok(replaced)), ready()),
        (Some(up.clone()), used.clone(), vec![Event::Kernel(Presence::Usable)]),
        (Some(used), up, vec![Event::Kernel(Presence::Absent)]),
    ] {
        assert_eq!(news(before.as_ref(), &now), news_of_it, "{before:?} -> {now:?}");
    }
}

#[test]
fn a_claim_against_an_owned_address_is_counted_and_shown_for_some_minutes() {
    let place =
        Place { address: "192.0.2.1".parse().unwrap(), interface: "eth0".to_owned(), mode: Announce::Arp };
    let other = MacAddress([2, 0, 0, 0, 0, 9]);
    let (mut holding, now) = (Holding::new(Announce::Address), Instant::now());
    assert_eq!(holding.on_claim(&place, other, now), [], "nothing is owned yet");
    holding.on_event(&place, Event::Ready(Presence::Usable), now);
    assert_eq!(holding.on_claim(&place, other, now), [Action::Defend]);
    assert_eq!(holding.on_claim(&place, other, now), []);
    let report = holding.report("eth0");
    assert_eq!((report.state, report.conflicts, report.claimed_by), (PlaceState::Owned, 2, Some(other)));
    holding.on_event(&place, Event::Tick, now + CLAIM_SHOWN);
    assert_eq!(holding.report("eth0").claimed_by, None);
}

#[test]
fn a_report_counts_conflicts_and_remembers_the_last_announcement() {
    let place =
        Place { address: "192.0.2.1".parse().unwrap(), interface: "eth0".to_owned(), mode: Announce::Arp };
    let mut holding = Holding::new(Announce::Address);
    let now = Instant::now();
    let other = MacAddress([2, 0, 0, 0, 0, 9]);
    for event in holding.update(situation(Ok(PORT))) {
        assert_eq!(holding.on_event(&place, event, now), [Action::Probe]);
    }
    holding.on_event(&place, Event::Heard(other), now);
    let report = holding.report("eth0");
    assert_eq!((report.state, report.conflicts), (PlaceState::Conflict { mac: Some(other) }, 1));
    assert_eq!(report.last_announced, None);
    holding.on_event(&place, Event::Ready(Presence::Usable), now);
    holding.announced(SystemTime::UNIX_EPOCH);
    let report = holding.report("eth0");
    assert_eq!((report.state, report.conflicts, report.announcements), (PlaceState::Owned, 1, 1));
    assert_eq!(report.last_announced, Some(SystemTime::UNIX_EPOCH));
}
