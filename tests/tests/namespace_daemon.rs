//! The daemon under real traffic: files that are wrong, deaths and restarts, and neighbours on the same machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_user::api::types::{BackendState, DestStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::{Daemon, DaemonConfig, Load, Network, Shape, VIP4, VIP6, http_get, privileged, wait_until};

const PATIENCE: Duration = Duration::from_secs(5);

/// Three backends behind an IPv4 and an IPv6 vip.
fn config(network: &Network) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let names: Vec<_> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    config.vip("web", VIP4, 80, "tcp", &names).vip("web6", VIP6, 80, "tcp", &names)
}

fn servers() -> [SocketAddr; 2] {
    [(VIP4, 80).into(), (VIP6, 80).into()]
}

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 3 }).unwrap()
}

fn start(network: &Network, extra: &[&str]) -> Daemon {
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config(network), extra).unwrap();
    daemon.wait_active(&["web-1", "web-2", "web-3"]).unwrap();
    daemon
}

fn ask(network: &Network, server: SocketAddr) -> anyhow::Result<String> {
    network.client.inside(move || http_get(server, PATIENCE))
}

fn dest(daemon: &Daemon, vip: &str, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    let vip = status.vips.into_iter().find(|found| found.name == vip).unwrap();
    vip.backends.into_iter().find(|found| found.name == name).unwrap()
}

/// Fails with the first failure that happened.
fn assert_no_failure(load: Load) {
    let report = load.stop().unwrap();
    assert!(!report.attempts.is_empty());
    let failures = report.failures();
    assert!(
        failures.is_empty(),
        "{} of {} requests failed, the first: {:?}",
        failures.len(),
        report.attempts.len(),
        failures[0].answer
    );
}

#[test]
fn an_invalid_file_changes_nothing_and_says_where_it_is_wrong() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, &[]);
    let before = daemon.status().unwrap();
    let load = Load::start(&network.client, &servers(), 2).unwrap();

    let wrong = config(&network).text().replace("protocol = \"tcp\"", "protocoll = \"tcp\"");
    daemon.write_config(&wrong).unwrap();
    let refused = daemon.try_cli(["reload"]).unwrap();
    assert_eq!(refused.code, 4, "{refused:?}");
    for word in ["ferrolev.toml", "protocoll", "protocol"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }

    kill(Pid::from_raw(daemon.pid().cast_signed()), Signal::SIGHUP).unwrap();
    wait_until("the refusal in status", PATIENCE, || {
        anyhow::ensure!(daemon.status()?.config_error.is_some(), "no config_error");
        Ok(())
    })
    .unwrap();
    let after = daemon.status().unwrap();
    assert_eq!(after.config_loaded_at, before.config_loaded_at);
    let rings = |status: &lb_user::api::types::Status| -> Vec<_> {
        let dests = status.vips.iter().flat_map(|vip| &vip.backends);
        dests.map(|dest| (dest.vip.clone(), dest.name.clone(), dest.slots)).collect()
    };
    assert_eq!(rings(&after), rings(&before));
    assert_no_failure(load);
}

#[test]
fn a_valid_file_takes_effect_on_reload() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, &[]);
    let without_web3 = config(&network)
        .text()
        .replace("backends = [\"web-1\", \"web-2\", \"web-3\"]", "backends = [\"web-1\", \"web-2\"]");
    daemon.write_config(&without_web3).unwrap();
    daemon.cli(["reload"]).unwrap();

    let since = Instant::now();
    let load = Load::start(&network.client, &servers(), 4).unwrap();
    wait_for_answers(&daemon);
    let report = load.stop().unwrap();
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    let answers = report.answers_since(since);
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), ["web-1", "web-2"]);
}

/// Waits until the balancer counted 300 more new connections.
fn wait_for_answers(daemon: &Daemon) {
    let count = || -> anyhow::Result<u64> {
        let status = daemon.status()?;
        Ok(status.vips.iter().map(|vip| vip.counters.new_flows).sum())
    };
    let before = count().unwrap();
    wait_until("300 new connections", Duration::from_secs(30), || {
        let now = count()?;
        anyhow::ensure!(now >= before + 300, "{} so far", now - before);
        Ok(())
    })
    .unwrap();
}

#[test]
fn no_request_fails_while_the_daemon_is_killed_and_started_again() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, &[]);
    daemon.cli(["backend", "drain", "web-3"]).unwrap();
    let load = Load::start(&network.client, &servers(), 4).unwrap();
    wait_for_answers(&daemon);

    daemon.kill().unwrap();
    let dead_since = Instant::now();
    for _ in 0..20 {
        for server in servers() {
            ask(&network, server).unwrap();
        }
    }
    daemon.restart().unwrap();
    daemon.wait_active(&["web-1", "web-2"]).unwrap();
    wait_for_answers(&daemon);

    let web3 = dest(&daemon, "web", "web-3");
    assert_eq!(web3.state, BackendState::Draining, "the drain was forgotten");
    assert!(web3.changed.is_some(), "nobody knows who drained it");
    let report = load.stop().unwrap();
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    let answers = report.answers_since(dead_since);
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), ["web-1", "web-2"]);
}

#[test]
fn counters_go_on_after_a_restart() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, &[]);
    for _ in 0..10 {
        ask(&network, servers()[0]).unwrap();
    }
    let flows = |daemon: &Daemon| daemon.status().unwrap().vips[0].counters.new_flows;
    let before = flows(&daemon);
    assert_eq!(before, 10);
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    assert_eq!(flows(&daemon), before);
}

#[test]
fn the_kernel_forwards_after_the_daemon_ended_until_detach() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, &[]);
    daemon.terminate().unwrap();
    for server in servers() {
        ask(&network, server).unwrap();
    }
    assert!(daemon.pins().join("prog").exists());

    let bpffs = network.lab.bpffs();
    let bpffs = bpffs.to_str().unwrap();
    let detach = ["detach", "--instance", "test", "--bpffs", bpffs];
    daemon.cli(detach).unwrap();
    assert!(!daemon.pins().exists());
    let unanswered = network.client.inside(|| http_get(servers()[0], Duration::from_secs(1)));
    assert!(unanswered.is_err(), "{unanswered:?}");
}

#[test]
fn traffic_stops_with_the_daemon_when_it_was_told_to_detach() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, &["--detach-on-exit"]);
    ask(&network, servers()[0]).unwrap();
    daemon.terminate().unwrap();
    let unanswered = network.client.inside(|| http_get(servers()[0], Duration::from_secs(1)));
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert!(!daemon.pins().join("prog").exists());
}

#[test]
fn a_backend_without_next_hop_is_shown_and_left_out_of_the_ring() {
    if !privileged() {
        return;
    }
    let network = network();
    let names = ["web-1", "web-2", "web-3", "ghost"];
    let with_ghost = config(&network).backend("ghost", "10.1.0.77").vip("haunted", VIP4, 8080, "tcp", &names);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &with_ghost, &[]).unwrap();
    daemon.wait_active(&["web-1", "web-2", "web-3"]).unwrap();
    wait_until("an answer about the ghost", Duration::from_secs(20), || {
        let reason = dest(&daemon, "haunted", "ghost").reason;
        anyhow::ensure!(reason.as_ref().is_some_and(|reason| reason.contains("10.1.0.77")), "{reason:?}");
        Ok(())
    })
    .unwrap();
    let ghost = dest(&daemon, "haunted", "ghost");
    assert_eq!((ghost.state, ghost.slots), (BackendState::Unresolved, 0));

    let load = Load::start(&network.client, &[(VIP4, 8080).into()], 4).unwrap();
    wait_for_answers(&daemon);
    assert_no_failure(load);
    let table = daemon.cli(["status"]).unwrap();
    assert!(table.contains("10.1.0.77"), "{table}");
}

#[test]
fn several_instances_share_a_machine() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 2, backends: 2 }).unwrap();
    let mut daemons = Vec::new();
    for number in 1..=2 {
        let (vip4, vip6) = Network::vips(number);
        let own = format!("web-{number}");
        let backend = &network.backends[usize::from(number) - 1];
        let config = DaemonConfig::default()
            .backend(&own, backend.address4)
            .vip("web", vip4, 80, "tcp", &[&own])
            .vip("web6", vip6, 80, "tcp", &[&own]);
        let balancer = &network.balancers[usize::from(number) - 1];
        let daemon =
            Daemon::start(&network.lab, balancer, &format!("edge-{number}"), &config, &["--detach-on-exit"])
                .unwrap();
        daemon.wait_active(&[&own]).unwrap();
        daemons.push(daemon);
    }
    let ask_both = |number: u8| {
        let (vip4, vip6) = Network::vips(number);
        [ask(&network, (vip4, 80).into()).unwrap(), ask(&network, (vip6, 80).into()).unwrap()]
    };
    assert_eq!(ask_both(1), ["web-1", "web-1"]);
    assert_eq!(ask_both(2), ["web-2", "web-2"]);

    daemons[0].terminate().unwrap();
    assert!(!daemons[0].pins().join("prog").exists());
    assert!(daemons[1].pins().join("prog").exists());
    assert_eq!(ask_both(2), ["web-2", "web-2"]);
}
