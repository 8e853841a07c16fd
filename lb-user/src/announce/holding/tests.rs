use super::*;

const PORT: Port = Port { ifindex: 2, mac: MacAddress([2, 0, 0, 0, 0, 1]) };

fn situation(claim: Claim, port: Result<Port, &str>, kernel: Presence) -> Situation {
    Situation { claim, port: port.map_err(str::to_owned), kernel }
}

fn ask(port: Result<Port, &str>) -> Situation {
    situation(Claim::Ask, port, Presence::Absent)
}

fn ready(take: bool) -> Vec<Event> {
    vec![Event::Ready { take, kernel: Presence::Absent }]
}

#[test]
fn only_what_changes_is_news() {
    let lost = |reason: &str| vec![Event::Lost(reason.to_owned())];
    let moved = Port { mac: MacAddress([2, 0, 0, 0, 0, 7]), ..PORT };
    let replaced = Port { ifindex: 9, ..PORT };
    let release = |port| situation(Claim::Release, port, Presence::Absent);
    let take = situation(Claim::Take, Ok(PORT), Presence::Absent);
    let used = situation(Claim::Ask, Ok(PORT), Presence::Usable);
    for (before, now, news_of_it) in [
        (None, ask(Ok(PORT)), ready(false)),
        (None, ask(Err("down")), lost("down")),
        (None, release(Ok(PORT)), vec![Event::Release]),
        (None, take.clone(), ready(true)),
        (Some(ask(Ok(PORT))), ask(Ok(PORT)), vec![]),
        (Some(ask(Ok(PORT))), ask(Err("down")), lost("down")),
        (Some(ask(Err("down"))), ask(Err("down")), vec![]),
        (Some(ask(Err("down"))), ask(Err("missing")), lost("missing")),
        (Some(ask(Err("down"))), ask(Ok(PORT)), ready(false)),
        (Some(ask(Ok(PORT))), ask(Ok(moved)), vec![Event::MacChanged]),
        (Some(ask(Ok(PORT))), ask(Ok(replaced)), ready(false)),
        (Some(ask(Ok(PORT))), used.clone(), vec![Event::Kernel(Presence::Usable)]),
        (Some(used), ask(Ok(PORT)), vec![Event::Kernel(Presence::Absent)]),
        (Some(ask(Ok(PORT))), take.clone(), ready(true)),
        (Some(take.clone()), ask(Ok(PORT)), vec![]),
        (Some(ask(Ok(PORT))), release(Ok(PORT)), vec![Event::Release]),
        (Some(release(Ok(PORT))), release(Err("down")), vec![]),
        (Some(release(Ok(PORT))), ask(Ok(PORT)), ready(false)),
        (Some(release(Err("down"))), ask(Err("down")), lost("down")),
        (Some(release(Ok(PORT))), take, ready(true)),
    ] {
        assert_eq!(news(before.as_ref(), &now), news_of_it, "{before:?} -> {now:?}");
    }
}

#[test]
fn a_claim_against_an_owned_address_is_counted_and_shown_for_some_minutes() {
    let place =
        Place { address: "192.0.2.1".parse().unwrap(), interface: "eth0".to_owned(), mode: Announce::Arp };
    let other = MacAddress([2, 0, 0, 0, 0, 9]);
    for (claim, defence) in [(Claim::Ask, vec![Action::Defend]), (Claim::Take, vec![])] {
        let (mut holding, now) = (Holding::new(Announce::Arp), Instant::now());
        assert_eq!(holding.on_claim(&place, other, now), [], "nothing is owned yet");
        holding.update(situation(claim, Ok(PORT), Presence::Absent));
        holding.on_event(&place, Event::Ready { take: true, kernel: Presence::Absent }, now);
        assert_eq!(holding.on_claim(&place, other, now), defence);
        assert_eq!(holding.on_claim(&place, other, now), []);
        let report = holding.report("eth0");
        assert_eq!((report.state, report.conflicts, report.claimed_by), (PlaceState::Owned, 2, Some(other)));
        holding.on_event(&place, Event::Tick, now + CLAIM_SHOWN);
        assert_eq!(holding.report("eth0").claimed_by, None);
    }
}

#[test]
fn a_report_counts_conflicts_and_remembers_the_last_announcement() {
    let place =
        Place { address: "192.0.2.1".parse().unwrap(), interface: "eth0".to_owned(), mode: Announce::Arp };
    let mut holding = Holding::new(Announce::Arp);
    let now = Instant::now();
    let other = MacAddress([2, 0, 0, 0, 0, 9]);
    for event in holding.update(ask(Ok(PORT))) {
        assert_eq!(holding.on_event(&place, event, now), [Action::Probe]);
    }
    holding.on_event(&place, Event::Heard(other), now);
    let report = holding.report("eth0");
    assert_eq!((report.state, report.conflicts), (PlaceState::Conflict { mac: Some(other) }, 1));
    assert_eq!(report.last_announced, None);
    holding.on_event(&place, Event::Ready { take: true, kernel: Presence::Absent }, now);
    holding.announced(SystemTime::UNIX_EPOCH);
    let report = holding.report("eth0");
    assert_eq!((report.state, report.conflicts, report.announcements), (PlaceState::Owned, 1, 1));
    assert_eq!(report.last_announced, Some(SystemTime::UNIX_EPOCH));
}
