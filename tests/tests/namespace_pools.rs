//! What vips make of backends that fail, as clients and the daemon see it: mirror pairs, backups, guards, and people who decide.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_user::api::types::{AlarmKind, BackendState, DestStatus};
use nix::sys::signal::Signal;
use tests::lab::{Connections, Daemon, DaemonConfig, Network, Shape, VIP4, http_get, privileged, wait_until};

const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const INTERVAL: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_secs(1);
/// What a change may take from the decision to the kernel, on a machine that is busy with other things.
const SLACK: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(20);

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 3 }).unwrap()
}

/// One vip of these backends, which are checked at `path`.
fn config(network: &Network, path: &str, names: &[&str], vip_lines: &str) -> DaemonConfig {
    let check = format!(
        "[[check]]\nname = \"http\"\ntype = \"http\"\npath = \"{path}\"\ninterval = \"400ms\"\ntimeout = \"1s\""
    );
    let mut config = DaemonConfig::default().general_line(&check);
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    config.vip("web", VIP4, 80, "tcp", names).vip_line("check = \"http\"").vip_line(vip_lines)
}

fn start(network: &Network, config: &DaemonConfig) -> Daemon {
    Daemon::start(&network.lab, &network.balancers[0], "test", config, &[]).unwrap()
}

fn server() -> SocketAddr {
    SocketAddr::from((VIP4, 80))
}

fn ask(network: &Network) -> Option<String> {
    let answer = network.client.inside(|| http_get(server(), Duration::from_millis(500)));
    answer.ok().map(|name| name.trim().to_owned())
}

/// Who answers twenty new connections, each name once.
fn answers(network: &Network) -> Vec<String> {
    let mut names: Vec<String> = (0..20).filter_map(|_| ask(network)).collect();
    names.sort();
    names.dedup();
    names
}

fn dest(daemon: &Daemon, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    status.vips[0].backends.iter().find(|dest| dest.name == name).unwrap().clone()
}

fn until(daemon: &Daemon, what: &str, holds: impl Fn(&dyn Fn(&str) -> DestStatus, &[AlarmKind]) -> bool) {
    wait_until(what, LONG, || {
        let status = daemon.status()?;
        let alarms: Vec<AlarmKind> = status.vips[0].alarms.iter().map(|alarm| alarm.kind).collect();
        let dest =
            |name: &str| status.vips[0].backends.iter().find(|dest| dest.name == name).unwrap().clone();
        anyhow::ensure!(holds(&dest, &alarms), "{:?}\n{}", status.vips[0], daemon.log());
        Ok(())
    })
    .unwrap();
}

fn healthy(daemon: &Daemon) {
    until(daemon, "all are healthy", |dest, _| {
        NAMES.iter().all(|name| dest(name).state == BackendState::Healthy)
    });
}

#[test]
fn all_flows_follow_the_active_one_of_a_mirror_pair() {
    if !privileged() {
        return;
    }
    let network = network();
    let active = |index: usize, active| network.backends[index].set_active(&network.lab, active).unwrap();
    active(0, true);
    let daemon = start(&network, &config(&network, "/role", &NAMES[..2], "role_check = true"));
    until(&daemon, "web-1 serves", |dest, _| dest("web-1").slots > 0 && dest("web-2").slots == 0);
    until(&daemon, "web-2 is known", |dest, _| dest("web-2").state == BackendState::Unhealthy);
    assert_eq!(answers(&network), ["web-1"]);
    let mut open = Connections::open(&network.client, server(), 10).unwrap();
    assert_eq!(open.to("web-1"), 10);

    let switched = Instant::now();
    active(0, false);
    active(1, true);
    wait_until("web-2 answers", LONG, || {
        anyhow::ensure!(ask(&network).as_deref() == Some("web-2"), "not yet");
        Ok(())
    })
    .unwrap();
    let took = switched.elapsed();
    println!("followed a switch-over after {took:?}");
    assert!(took <= INTERVAL + TIMEOUT + SLACK, "{took:?}: as if `rise` and `fall` were waited for");
    assert_eq!(answers(&network), ["web-2"]);
    assert!(open.ask().is_err(), "old flows are reset");

    active(0, true);
    until(&daemon, "two are active", |dest, alarms| {
        alarms == [AlarmKind::SeveralActive] && dest("web-2").slots > 0 && dest("web-1").slots == 0
    });
    let shown = daemon.cli(["status"]).unwrap();
    assert!(shown.contains("web-1, web-2 all answer as the active backend: web-2 serves"), "{shown}");
    active(1, false);
    until(&daemon, "web-1 serves", |dest, alarms| dest("web-1").slots > 0 && alarms.is_empty());
    active(0, false);
    until(&daemon, "none is active", |dest, alarms| {
        alarms == [AlarmKind::NoneActive] && dest("web-1").slots > 0 && dest("web-2").slots == 0
    });
    assert!(daemon.log().contains("none_active"), "{}", daemon.log());
}

#[test]
fn a_backup_serves_while_too_few_others_are_healthy() {
    if !privileged() {
        return;
    }
    let mut network = network();
    let config = config(&network, "/", &NAMES, "backup = [\"web-3\"]\nquorum_up = 2\nquorum_down = 1");
    let daemon = start(&network, &config);
    until(&daemon, "web-3 stands by", |dest, _| {
        dest("web-3").state == BackendState::Standby
            && ["web-1", "web-2"].iter().all(|name| dest(name).state == BackendState::Healthy)
    });
    assert_eq!(answers(&network), ["web-1", "web-2"]);
    network.backends[0].kill_nginx().unwrap();
    until(&daemon, "web-2 serves alone", |dest, alarms| dest("web-1").slots == 0 && alarms.is_empty());
    network.backends[1].kill_nginx().unwrap();
    until(&daemon, "the backup serves", |dest, alarms| {
        dest("web-3").slots > 0 && alarms == [AlarmKind::Backup]
    });
    assert_eq!(answers(&network), ["web-3"]);
    let metrics = daemon.cli(["metrics"]).unwrap();
    assert!(metrics.contains("ferrolev_vip_alarm{vip=\"web\",alarm=\"backup\"} 1.0"), "{metrics}");
    let Network { backends, lab, .. } = &mut network;
    backends[0].revive_nginx(lab).unwrap();
    until(&daemon, "web-1 is healthy", |dest, alarms| {
        dest("web-1").state == BackendState::Standby && alarms == [AlarmKind::Backup]
    });
    backends[1].revive_nginx(lab).unwrap();
    until(&daemon, "they serve again", |dest, alarms| dest("web-3").slots == 0 && alarms.is_empty());
    assert_eq!(answers(&network), ["web-1", "web-2"]);
}

#[test]
fn a_ring_stays_as_it_was_when_many_fail_at_once() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon =
        start(&network, &config(&network, "/", &NAMES, "guard_percent = 50\nguard_window = \"10s\""));
    healthy(&daemon);
    let mut open = Connections::open(&network.client, server(), 30).unwrap();
    for backend in &network.backends[..2] {
        backend.signal_nginx(Signal::SIGSTOP).unwrap();
    }
    until(&daemon, "the ring is frozen", |dest, alarms| {
        alarms == [AlarmKind::Frozen] && NAMES.iter().all(|name| dest(name).slots > 0)
    });
    assert!(daemon.log().contains("failed at once"), "{}", daemon.log());
    for backend in &network.backends[..2] {
        backend.signal_nginx(Signal::SIGCONT).unwrap();
    }
    until(&daemon, "the alarm is over", |_, alarms| alarms.is_empty());
    healthy(&daemon);
    // Those on the first of the two that were found out may have been given up in between.
    open.close("web-1");
    open.close("web-2");
    open.ask().unwrap();
}

#[test]
fn people_decide_and_a_restart_forgets_neither_that_nor_who_is_dead() {
    if !privileged() {
        return;
    }
    let mut network = network();
    let mut daemon = start(&network, &config(&network, "/", &NAMES, ""));
    healthy(&daemon);
    let mut open = Connections::open(&network.client, server(), 60).unwrap();
    assert!(open.to("web-1") > 0 && open.to("web-2") > 0, "too few connections");
    let planned = daemon.cli(["backend", "disable", "web-1", "--dry-run"]).unwrap();
    assert!(planned.contains("would move") && dest(&daemon, "web-1").slots > 0, "{planned}");
    daemon.cli(["backend", "disable", "web-1"]).unwrap();
    assert_eq!(dest(&daemon, "web-1").reason.as_deref(), Some("disabled"));
    assert!(open.ask().is_err(), "connections to web-1 go on");
    open.close("web-1");
    daemon.cli(["backend", "maintenance", "web-2", "--vip", "web"]).unwrap();
    open.ask().unwrap();
    let reason = dest(&daemon, "web-2").reason;
    assert_eq!(reason.as_deref(), Some("in maintenance: its checks are silent"));
    open.close("web-2");
    network.backends[1].kill_nginx().unwrap();
    std::thread::sleep(INTERVAL * 4 + TIMEOUT);
    assert!(!daemon.log().contains("connection refused"), "its checks are not silent: {}", daemon.log());
    daemon.cli(["backend", "enable", "web-1"]).unwrap();
    until(&daemon, "web-1 is back", |dest, _| dest("web-1").slots > 0);

    daemon.cli(["backend", "enable", "web-2"]).unwrap();
    until(&daemon, "web-2 is found dead", |dest, _| dest("web-2").state == BackendState::Unhealthy);
    daemon.cli(["backend", "maintenance", "web-3"]).unwrap();
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    let (web_2, web_3) = (dest(&daemon, "web-2"), dest(&daemon, "web-3"));
    assert_eq!(
        (web_2.state, web_2.slots),
        (BackendState::Unhealthy, 0),
        "a dead one is used after a restart"
    );
    assert_eq!(web_3.reason.as_deref(), Some("in maintenance: its checks are silent"));
    assert_eq!(answers(&network), ["web-1"]);
}

#[test]
fn an_address_is_withdrawn_while_no_backend_is_healthy() {
    if !privileged() {
        return;
    }
    let mut network = network();
    let lines = "announce = \"arp\"\nwithdraw_when_down = true";
    let daemon = start(&network, &config(&network, "/", &NAMES[..1], lines));
    until(&daemon, "web-1 is healthy", |dest, _| dest("web-1").state == BackendState::Healthy);
    network.backends[0].kill_nginx().unwrap();
    until(&daemon, "it is withdrawn", |_, alarms| alarms.contains(&AlarmKind::Withdrawn));
    let places = || daemon.status().unwrap().addresses.iter().flat_map(|of| of.interfaces.clone()).count();
    wait_until("the address is not announced", LONG, || {
        anyhow::ensure!(places() == 0, "{:?}", daemon.status()?.addresses);
        Ok(())
    })
    .unwrap();
    let Network { backends, lab, .. } = &mut network;
    backends[0].revive_nginx(lab).unwrap();
    until(&daemon, "it is announced again", |_, alarms| alarms.is_empty());
    wait_until("the address is announced", LONG, || {
        anyhow::ensure!(places() > 0, "{:?}", daemon.status()?.addresses);
        Ok(())
    })
    .unwrap();
}
