//! The task with real servers on loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio::net::TcpListener;

use super::super::probe::{FailureKind, Origin, TcpProbe};
use super::super::{Rhythm, Start, Way};
use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn spec(start: Start) -> Spec {
    let interval = Duration::from_millis(20);
    Spec {
        probe: Probe::Tcp(TcpProbe::default()),
        origin: Origin::default(),
        rhythm: Rhythm {
            interval,
            fast_interval: interval,
            down_interval: interval,
            rise: 2,
            fall: 3,
            start,
        },
        timeout: Duration::from_millis(500),
        beside: false,
    }
}

fn target(port: u16) -> Target {
    Target { check: "web".to_owned(), address: HERE, port, way: None }
}

fn no_ways() -> watch::Receiver<Ways> {
    watch::channel(Ways::new()).1
}

async fn until(checker: &mut Checker, port: u16, state: State) -> Standing {
    let standings = tokio::time::timeout(
        Duration::from_secs(20),
        checker.standings.wait_for(|all| all.get(&target(port)).is_some_and(|one| one.state() == state)),
    );
    standings.await.expect("in time").expect("the task lives")[&target(port)].clone()
}

#[tokio::test]
async fn a_server_that_ends_becomes_unhealthy_and_comes_back() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut checker = spawn(Known::new(), no_ways()).unwrap();
    checker.wanted.send_replace(Wanted::from([(target(port), spec(Start::Up))]));
    let standing = until(&mut checker, port, State::Healthy).await;
    assert_eq!(standing.last.unwrap().failure, None);
    drop(listener);
    let standing = until(&mut checker, port, State::Unhealthy).await;
    assert_eq!(standing.reason(), Some("connection refused"));
    assert_eq!(standing.tally.failures.values().sum::<u64>(), 3, "no more and no fewer than fall");
    let _listener = TcpListener::bind((HERE, port)).await.unwrap();
    let standing = until(&mut checker, port, State::Healthy).await;
    let states: Vec<_> = standing.transitions.iter().map(|transition| transition.to).collect();
    assert_eq!(states, [State::Healthy, State::Unhealthy, State::Healthy]);
}

#[tokio::test]
async fn a_changed_check_keeps_its_state_and_one_that_is_not_wanted_is_forgotten() {
    let mut checker = spawn(Known::new(), no_ways()).unwrap();
    let (closed, port) = {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let other = TcpListener::bind((HERE, 0)).await.unwrap();
        (listener.local_addr().unwrap().port(), other.local_addr().unwrap().port())
    };
    let wanted = |spec: &Spec| Wanted::from([(target(closed), spec.clone()), (target(port), spec.clone())]);
    checker.wanted.send_replace(wanted(&spec(Start::Up)));
    until(&mut checker, closed, State::Unhealthy).await;
    let mut slower = spec(Start::Up);
    slower.rhythm.interval = Duration::from_secs(60);
    slower.rhythm.fast_interval = Duration::from_secs(60);
    checker.wanted.send_replace(Wanted::from([(target(closed), slower)]));
    checker.standings.wait_for(|all| all.len() == 1).await.unwrap();
    let kept = checker.standings.borrow()[&target(closed)].clone();
    assert_eq!((kept.state(), kept.progress), (State::Unhealthy, (0, 2)));
}

#[tokio::test]
async fn checks_that_wait_for_their_time_to_be_over_delay_no_other() {
    // Its backlog is full: further connections are not answered.
    let silent = std::net::TcpListener::bind((HERE, 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let waits = Probe::Tcp(TcpProbe { send: None, expect: Some("hello".to_owned()) });
    let waiting = Spec { probe: waits, timeout: Duration::from_secs(30), ..spec(Start::Up) };
    let mut wanted: Wanted = (0..200)
        .map(|number| (Target { check: format!("slow-{number}"), ..target(silent_port) }, waiting.clone()))
        .collect();
    wanted.insert(target(port), spec(Start::Up));
    let mut checker = spawn(Known::new(), no_ways()).unwrap();
    checker.wanted.send_replace(wanted);
    until(&mut checker, port, State::Healthy).await;
    drop(listener);
    let began = Instant::now();
    until(&mut checker, port, State::Unhealthy).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_check_through_a_tunnel_asks_the_address_of_its_way_and_says_how_the_backend_itself_is() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let way = Way { to: [192, 0, 2, 1].into(), backend: HERE, mode: "ipip" };
    let through = Target { way: Some(way.clone()), ..target(port) };
    // Nothing listens there, and nobody knows a way to the backend's own address.
    let probe = IpAddr::from([127, 0, 0, 9]);
    let (_ways, known) = watch::channel(Ways::from([(way, Ok(probe))]));
    let mut checker = spawn(Known::new(), known).unwrap();
    checker.wanted.send_replace(Wanted::from([(through.clone(), spec(Start::Up))]));
    let unhealthy = |all: &Standings| all.get(&through).is_some_and(|one| one.state() == State::Unhealthy);
    let standing = checker.standings.wait_for(unhealthy).await.unwrap()[&through].clone();
    let last = standing.last.unwrap();
    assert_eq!(
        (last.failure.as_deref(), last.diagnosis),
        (Some("connection refused"), Some(Diagnosis::VipPortClosed))
    );
    drop(listener);
    let closed = |all: &Standings| {
        all.get(&through).and_then(|one| one.last.as_ref()?.diagnosis) == Some(Diagnosis::PortClosed)
    };
    // Not every result wakes who waits.
    for _ in 0..500 {
        if closed(&checker.standings.borrow()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be known that nothing listens any more");
}

#[tokio::test]
async fn what_an_earlier_daemon_knew_is_what_a_check_begins_with() {
    let (dead, alive, unknown) = (target(1), target(2), target(3));
    let known = Known::from([(dead.clone(), false), (alive.clone(), true)]);
    let mut checker = spawn(known, no_ways()).unwrap();
    let mut later = spec(Start::Down);
    later.rhythm.interval = Duration::from_secs(60);
    later.rhythm.fast_interval = Duration::from_secs(60);
    let all = [&dead, &alive, &unknown].map(|target| (target.clone(), later.clone()));
    checker.wanted.send_replace(all.into());
    let standings = checker.standings.wait_for(|all| all.len() == 3).await.unwrap();
    let state = |target: &Target| standings[target].state();
    assert_eq!(state(&dead), State::Unhealthy);
    assert_eq!(state(&alive), State::Healthy);
    assert!(!state(&unknown).is_up(), "it is down until proven otherwise");
}

/// Says `line` to whoever connects.
fn agent(listener: TcpListener, line: &'static str) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, line.as_bytes()).await;
        }
    })
}

#[tokio::test]
async fn an_agent_beside_a_check_counts_at_once_and_its_silence_says_nothing() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = Probe::Agent(crate::health::probe::AgentProbe::default());
    let mut beside = Spec { probe, beside: true, ..spec(Start::Up) };
    (beside.rhythm.rise, beside.rhythm.fall) = (100, 100);
    let mut checker = spawn(Known::new(), no_ways()).unwrap();
    let says_maint = agent(listener, "50% maint\n");
    checker.wanted.send_replace(Wanted::from([(target(port), beside)]));
    let standing = until(&mut checker, port, State::Unhealthy).await;
    assert_eq!(standing.reason(), Some("the agent says maint"));
    says_maint.abort();
    let _ = says_maint.await;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let refused =
            checker.standings.borrow()[&target(port)].tally.failures.get(&FailureKind::Refused).copied();
        if refused.is_some_and(|count| count > 5) {
            break;
        }
    }
    let standing = checker.standings.borrow()[&target(port)].clone();
    assert_eq!((standing.state(), standing.progress.0, standing.changes), (State::Unhealthy, 0, 1));
    assert_eq!(standing.last.unwrap().failure.as_deref(), Some("connection refused"));
    let _again = agent(TcpListener::bind((HERE, port)).await.unwrap(), "ready\n");
    let standing = until(&mut checker, port, State::Healthy).await;
    assert_eq!(standing.weight, Some(crate::health::probe::Weight::Percent(50)), "as it has said before");
}

#[tokio::test]
async fn a_target_in_a_hurry_is_asked_before_its_time() {
    let listener = TcpListener::bind((HERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut rare = spec(Start::Up);
    rare.rhythm.interval = Duration::from_secs(3600);
    let mut checker = spawn(Known::new(), no_ways()).unwrap();
    checker.wanted.send_replace(Wanted::from([(target(port), rare)]));
    until(&mut checker, port, State::Healthy).await;
    let passes = |checker: &Checker| checker.standings.borrow()[&target(port)].tally.passes;
    assert_eq!(passes(&checker), 1);
    checker.hurry.try_send(target(port + 1)).unwrap();
    checker.hurry.try_send(target(port)).unwrap();
    for _ in 0..500 {
        if passes(&checker) == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", checker.standings.borrow()[&target(port)]);
}
