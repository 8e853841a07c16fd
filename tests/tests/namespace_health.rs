//! Backends that fail, as clients and the daemon see it: real servers that are killed, stopped, and come back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_user::api::types::{BackendState, DestStatus, HealthState, HealthStatus};
use nix::sys::signal::Signal;
use tests::lab::{Connections, Daemon, DaemonConfig, Load, Network, Shape, VIP4, privileged, wait_until};

const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const CONNECTIONS: usize = 60;
const INTERVAL: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_secs(1);
const FALL: u32 = 3;
/// What a change may take from the decision to the kernel, on a machine that is busy with other things.
const SLACK: Duration = Duration::from_millis(1500);
const CHECK: &str = "[[check]]\nname = \"http\"\ntype = \"http\"\ninterval = \"400ms\"\ntimeout = \"1s\"";

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 3 }).unwrap()
}

/// A daemon with one vip whose backends are checked, and which has these lines more.
fn start(network: &Network, vip_lines: &str) -> Daemon {
    let mut config = DaemonConfig::default().general_line(CHECK);
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config.vip("web", VIP4, 80, "tcp", &NAMES).vip_line("check = \"http\"").vip_line(vip_lines);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&NAMES).unwrap();
    daemon
}

fn server() -> SocketAddr {
    SocketAddr::from((VIP4, 80))
}

fn dest(daemon: &Daemon, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    status.vips[0].backends.iter().find(|dest| dest.name == name).unwrap().clone()
}

fn health(daemon: &Daemon, name: &str) -> HealthStatus {
    let said = daemon.cli(["health", "web", "-o", "json"]).unwrap();
    let all: Vec<HealthStatus> = serde_json::from_str(&said).unwrap();
    all.into_iter().find(|one| one.backend == name).unwrap()
}

/// Waits until a backend is in this state; gives back when that was.
fn until(daemon: &Daemon, name: &str, state: BackendState) -> Instant {
    wait_until(&format!("{name} is {state:?}"), Duration::from_secs(20), || {
        let found = dest(daemon, name);
        anyhow::ensure!(found.state == state, "{found:?}\n{}", daemon.log());
        Ok(())
    })
    .unwrap();
    Instant::now()
}

#[test]
fn a_backend_that_dies_under_load_is_out_in_time_and_comes_back_while_others_keep_their_connections() {
    if !privileged() {
        return;
    }
    let mut network = network();
    let daemon = start(&network, "");
    let mut open = Connections::open(&network.client, server(), CONNECTIONS).unwrap();
    assert!(open.to("web-2") > 0, "no connection to web-2");
    let load = Load::start(&network.client, &[server()], 4).unwrap();
    sleep(Duration::from_secs(5));
    for name in NAMES {
        let transitions = health(&daemon, name).transitions;
        assert_eq!(transitions.len(), 1, "a healthy backend was taken for another: {transitions:?}");
    }
    let killed = Instant::now();
    network.backends[1].kill_nginx().unwrap();
    let out = until(&daemon, "web-2", BackendState::Unhealthy);
    println!("out {:?} after it was killed", out - killed);
    assert!(out - killed <= INTERVAL * FALL + TIMEOUT + SLACK, "{:?}", out - killed);
    assert_eq!(dest(&daemon, "web-2").slots, 0);
    let seen = health(&daemon, "web-2");
    assert_eq!((seen.state, seen.used), (HealthState::Unhealthy, false));
    assert_eq!(seen.last.unwrap().failure.as_deref(), Some("connection refused"));
    open.close("web-2");
    open.ask().unwrap();
    sleep(Duration::from_secs(1));
    let back = Instant::now();
    let Network { backends, lab, .. } = &mut network;
    backends[1].revive_nginx(lab).unwrap();
    let healthy = until(&daemon, "web-2", BackendState::Healthy);
    sleep(Duration::from_secs(1));
    open.ask().unwrap();
    let report = load.stop().unwrap();
    let failed = report.failures_outside(&[(killed, out), (back, healthy)]);
    assert!(
        failed.is_empty(),
        "{} of {} requests failed: {:?}",
        failed.len(),
        report.attempts.len(),
        failed[0]
    );
    assert!(report.answers_since(healthy)["web-2"] > 0);
}

#[test]
fn a_server_that_takes_connections_and_does_not_answer_is_found_out_and_may_keep_its_connections() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "on_unhealthy = \"drain\"");
    let mut open = Connections::open(&network.client, server(), CONNECTIONS).unwrap();
    assert!(open.to("web-2") > 0, "no connection to web-2");
    network.backends[1].signal_nginx(Signal::SIGSTOP).unwrap();
    until(&daemon, "web-2", BackendState::Unhealthy);
    let shown = daemon.cli(["health", "web"]).unwrap();
    assert!(shown.contains("timed out after 1s while waiting for an answer"), "{shown}");
    let metrics = daemon.cli(["metrics"]).unwrap();
    let counted = metrics.lines().find(|line| {
        line.starts_with("ferrolev_check_failures_total") && line.contains("timeout") && !line.ends_with(" 0")
    });
    assert!(counted.is_some(), "{metrics}");
    network.backends[1].signal_nginx(Signal::SIGCONT).unwrap();
    until(&daemon, "web-2", BackendState::Healthy);
    open.ask().unwrap();
}

#[test]
fn connections_to_an_unhealthy_backend_are_reset() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "");
    let mut open = Connections::open(&network.client, server(), CONNECTIONS).unwrap();
    network.backends[1].signal_nginx(Signal::SIGSTOP).unwrap();
    until(&daemon, "web-2", BackendState::Unhealthy);
    let asked = Instant::now();
    assert!(open.ask().is_err(), "connections to web-2 go on");
    assert!(asked.elapsed() < Duration::from_secs(4), "reset by another backend, not silent");
    open.close("web-2");
    open.ask().unwrap();
    network.backends[1].signal_nginx(Signal::SIGCONT).unwrap();
}

#[test]
fn a_vip_without_any_healthy_backend_uses_all_of_them() {
    if !privileged() {
        return;
    }
    let mut network = network();
    let daemon = start(&network, "");
    for backend in &mut network.backends {
        backend.kill_nginx().unwrap();
    }
    for name in NAMES {
        until(&daemon, name, BackendState::Unhealthy);
    }
    wait_until("the vip fails open", Duration::from_secs(5), || {
        for name in NAMES {
            let found = dest(&daemon, name);
            anyhow::ensure!(found.slots > 0, "{found:?}");
        }
        Ok(())
    })
    .unwrap();
    let Network { backends, lab, .. } = &mut network;
    backends[0].revive_nginx(lab).unwrap();
    until(&daemon, "web-1", BackendState::Healthy);
    assert_eq!(dest(&daemon, "web-2").slots, 0, "web-1 can serve alone");
}
