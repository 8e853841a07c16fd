//! A backend is taken out as a script would do it, while clients keep their connections open.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use lb_user::api::types::{BackendState, DestStatus, FlowCount};
use tests::lab::{Connections, Daemon, DaemonConfig, Network, Shape, VIP4, ferrolev, privileged, wait_until};

const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const CONNECTIONS: usize = 60;

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 3 }).unwrap()
}

/// A daemon with one vip, which has these lines more. Connections that say nothing for three seconds after a change are lost.
fn start(network: &Network, vip_lines: &str) -> Daemon {
    let mut config = DaemonConfig::default().general_line("[flows]\nquiet = \"3s\"\nclosing = \"1s\"");
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config.vip("web", VIP4, 80, "tcp", &NAMES).vip_line(vip_lines);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&NAMES).unwrap();
    daemon
}

fn connect(network: &Network) -> Connections {
    let open = Connections::open(&network.client, SocketAddr::from((VIP4, 80)), CONNECTIONS).unwrap();
    assert!(open.to("web-2") > 0, "no connection to web-2");
    open
}

fn dest(daemon: &Daemon, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    status.vips[0].backends.iter().find(|dest| dest.name == name).unwrap().clone()
}

/// Connections to web-2 are broken, all others are as before.
#[track_caller]
fn only_web_2_is_lost(open: &mut Connections) {
    assert!(open.ask().is_err(), "connections to web-2 go on");
    open.close("web-2");
    open.ask().unwrap();
}

#[test]
fn a_drain_waits_for_connections_until_its_time_is_over_and_then_force_moves_them() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "");
    let mut open = connect(&network);
    let left = open.to("web-2");
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    open.ask().unwrap();
    let waited = daemon.try_cli(["backend", "drain", "web-2", "--timeout", "5s", "--wait"]).unwrap();
    assert_eq!(waited.code, 3, "{}{}", waited.stdout, waited.stderr);
    assert!(waited.stderr.contains(&format!("{left} flows left in web")), "{}", waited.stderr);
    assert!(waited.stderr.contains("--force"), "no way out: {}", waited.stderr);
    open.ask().unwrap();
    let counted = daemon.cli(["flows", "count", "--backend", "web-2", "-o", "json"]).unwrap();
    let counted: Vec<FlowCount> = serde_json::from_str(&counted).unwrap();
    assert_eq!(counted.iter().map(|of| of.live).sum::<u64>(), left as u64);
    let dump = daemon.cli(["flows", "export", "--backend", "web-2"]).unwrap();
    assert_eq!(dump.lines().count(), 1 + left);

    let planned = daemon.cli(["backend", "drain", "web-2", "--force", "--dry-run"]).unwrap();
    assert!(planned.contains(&format!("0 stay, {left} go to other backends")), "{planned}");
    daemon.cli(["backend", "drain", "web-2", "--force", "--wait"]).unwrap();
    assert_eq!(dest(&daemon, "web-2").state, BackendState::Drained);
    only_web_2_is_lost(&mut open);
}

#[test]
fn a_deadline_moves_connections_by_itself_where_all_flows_are_remembered_too() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "tracking = \"full\"");
    let mut open = connect(&network);
    daemon.cli(["backend", "drain", "web-2", "--timeout", "5s", "--force"]).unwrap();
    open.ask().unwrap();
    wait_until("flows are counted", Duration::from_secs(3), || {
        let found = dest(&daemon, "web-2").flows;
        anyhow::ensure!(found == open.to("web-2") as u64, "{found} flows");
        Ok(())
    })
    .unwrap();
    daemon.cli(["backend", "drain", "web-2", "--wait"]).unwrap();
    only_web_2_is_lost(&mut open);
}

#[test]
fn a_wait_outlives_the_daemon_that_it_began_with() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, "");
    let mut open = connect(&network);
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    open.ask().unwrap();
    let waiting = Command::new(ferrolev().unwrap())
        .args(["backend", "drain", "web-2", "--wait"])
        .env("FERROLEV_SOCKET", daemon.socket())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    sleep(Duration::from_secs(2));
    daemon.kill().unwrap();
    sleep(Duration::from_secs(2));
    daemon.restart().unwrap();
    open.ask().unwrap();
    open.close("web-2");
    let waited = waiting.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&waited.stderr);
    assert!(waited.status.success(), "{said}");
    assert!(said.contains("flows left in web") && said.contains("web-2 is drained"), "{said}");
    open.ask().unwrap();
}

#[test]
fn a_backend_that_is_removed_keeps_its_connections_unless_that_is_forced() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "");
    let mut open = connect(&network);
    daemon.cli(["backend", "remove", "web-3"]).unwrap();
    daemon.cli(["backend", "remove", "web-2"]).unwrap();
    open.ask().unwrap();
    daemon.cli(["backend", "remove", "web-2", "--force"]).unwrap();
    only_web_2_is_lost(&mut open);
}

#[test]
fn a_backend_that_comes_back_gets_its_clients_little_by_little() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, "slow_start = \"5s\"");
    let mut open = connect(&network);
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    daemon.cli(["backend", "undrain", "web-2"]).unwrap();
    let begun = dest(&daemon, "web-2");
    assert!(begun.share < 0.1, "{begun:?}");
    let mut shares = vec![begun.share];
    while dest(&daemon, "web-2").slow_start_percent.is_some() {
        shares.push(dest(&daemon, "web-2").share);
        open.ask().unwrap();
        sleep(Duration::from_millis(300));
    }
    shares.push(dest(&daemon, "web-2").share);
    assert!(shares.is_sorted() && shares.last().is_some_and(|share| *share > 0.3), "{shares:?}");
    shares.dedup();
    assert!(shares.len() >= 4, "too few steps: {shares:?}");
    open.ask().unwrap();
}
