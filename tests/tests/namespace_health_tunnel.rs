//! Checks that go to the vip's address through the backends' tunnels, with what they find and how they call it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::time::Duration;

use lb_user::api::types::{Diagnosis, HealthState, HealthStatus};
use tests::lab::{
    Daemon, DaemonConfig, Load, Namespace, Network, Shape, VIP4, VIP6, privileged, run, wait_until,
};

const CHECKS: &str = "\
[[check]]
name = \"http\"
type = \"http\"
via = \"tunnel\"
interval = \"200ms\"
timeout = \"400ms\"
[[check]]
name = \"dns\"
type = \"udp\"
send = \"hello\"
expect = \"web-\"
via = \"tunnel\"
interval = \"200ms\"
timeout = \"400ms\"";
const PATIENCE: Duration = Duration::from_secs(20);

/// Each vip on port 80 to backends of its own family, on port 8080 to those of the other.
fn config(network: &Network, mode: &str, announce: &str, head: &str) -> DaemonConfig {
    let mut config = DaemonConfig::default().general_line(head).general_line(CHECKS);
    let (mut by4, mut by6) = (Vec::new(), Vec::new());
    for backend in &network.backends {
        let name6 = format!("{}-6", backend.name);
        config = config.backend(&backend.name, backend.address4).backend(&name6, backend.address6);
        by4.push(backend.name.clone());
        by6.push(name6);
    }
    let by4: Vec<_> = by4.iter().map(String::as_str).collect();
    let by6: Vec<_> = by6.iter().map(String::as_str).collect();
    let lines = |check: &str| format!("mode = \"{mode}\"\nannounce = \"{announce}\"\ncheck = \"{check}\"");
    config
        .vip("web44", VIP4, 80, "tcp", &by4)
        .vip_line(&lines("http"))
        .vip("web66", VIP6, 80, "tcp", &by6)
        .vip_line(&lines("http"))
        .vip("web46", VIP4, 8080, "tcp", &by6)
        .vip_line(&lines("http"))
        .vip("web64", VIP6, 8080, "tcp", &by4)
        .vip_line(&lines("http"))
        .vip("dns4", VIP4, 53, "udp", &by4)
        .vip_line(&lines("dns"))
        .vip("dns6", VIP6, 53, "udp", &by6)
        .vip_line(&lines("dns"))
}

fn health(daemon: &Daemon) -> Vec<HealthStatus> {
    serde_json::from_str(&daemon.cli(["health", "-o", "json"]).unwrap()).unwrap()
}

/// Waits until every checked backend is as `expected` says.
fn until(daemon: &Daemon, what: &str, expected: impl Fn(&HealthStatus) -> bool) {
    wait_until(what, PATIENCE, || {
        let all = health(daemon);
        anyhow::ensure!(!all.is_empty(), "no checks");
        if let Some(other) = all.iter().find(|one| !expected(one)) {
            anyhow::bail!("{other:#?}\n{}", daemon.log());
        }
        Ok(())
    })
    .unwrap();
}

fn passes(one: &HealthStatus) -> bool {
    let fresh = one.last.as_ref().is_some_and(|last| last.failure.is_none());
    one.state == HealthState::Healthy && one.through_tunnel && fresh
}

/// As lists of backends are given.
fn by(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Devices of checks in a namespace.
fn devices(namespace: &Namespace) -> usize {
    let links = run(namespace.command("ip").unwrap().args(["-o", "link", "show"])).unwrap();
    links.lines().filter(|line| line.contains(": flv")).count()
}

#[test]
fn all_modes_and_families_are_checked_whoever_has_the_address_and_clients_notice_nothing() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 2 }).unwrap();
    let _services: Vec<_> = network
        .backends
        .iter()
        .flat_map(|backend| [VIP4.into(), VIP6.into()].map(|vip| backend.serve_udp(vip, 53).unwrap()))
        .collect();
    // Answers to checks have to pass a strict reverse path filter.
    network.balancers[0].sysctls(&[("net/ipv4/conf/default/rp_filter", "1")]).unwrap();
    for (mode, announce, head) in [
        ("ipip", "address", ""),
        ("gue", "arp", ""),
        ("gue", "none", "[tunnel]\ngue_variant = 0"),
        ("l2", "arp", ""),
    ] {
        let config = config(&network, mode, announce, head);
        let mut daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
        until(&daemon, &format!("{mode}, announced by {announce}"), passes);
        let servers = [SocketAddr::from((VIP4, 80)), (VIP6, 80).into(), (VIP4, 8080).into()];
        let load = Load::start(&network.client, &servers, 4).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        let report = load.stop().unwrap();
        let failed = report.failures_outside(&[]);
        assert!(failed.is_empty(), "{mode}: {} of {} failed", failed.len(), report.attempts.len());
        // A daemon goes on with the verdicts of the one before: it need not have seen a transition.
        until(&daemon, mode, |one| {
            passes(one) && one.transitions.iter().all(|to| to.state == HealthState::Healthy)
        });
        assert_eq!(devices(&network.balancers[0]), 2);
        daemon.terminate().unwrap();
        assert_eq!(devices(&network.balancers[0]), 0, "nothing is left");
    }
}

#[test]
fn each_fault_is_found_and_has_its_name() {
    if !privileged() {
        return;
    }
    let mut network = Network::new(Shape { balancers: 1, backends: 5 }).unwrap();
    let mode = |name: &str| if name == "web-2" { "gue" } else { "ipip" };
    let mut config = DaemonConfig::default().general_line(CHECKS);
    for backend in &network.backends {
        let line = format!("mode = \"{}\"", mode(&backend.name));
        config = config
            .backend(&backend.name, backend.address4)
            .backend_line(&line)
            .backend(&format!("{}-6", backend.name), backend.address6)
            .backend_line(&line);
    }
    let names: Vec<_> = network.backends.iter().map(|backend| backend.name.clone()).collect();
    let names6: Vec<_> = names.iter().map(|name| format!("{name}-6")).collect();
    let config = config
        .vip("web4", VIP4, 80, "tcp", &by(&names))
        .vip_line("check = \"http\"\nannounce = \"address\"")
        .vip("web6", VIP6, 80, "tcp", &by(&names6))
        .vip_line("check = \"http\"\nannounce = \"address\"");
    let mut daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    until(&daemon, "all are well", passes);

    let Network { backends, lab, .. } = &mut network;
    backends[0].kill_decap().unwrap();
    backends[1].namespace.ip(&format!("addr del {VIP4}/32 dev lo\naddr del {VIP6}/128 dev lo\n")).unwrap();
    backends[2].kill_nginx().unwrap();
    backends[3].namespace.ip("link set eth0 down\n").unwrap();
    let expected = |one: &HealthStatus| match one.backend.trim_end_matches("-6") {
        "web-1" => Some(Diagnosis::TunnelAbsent),
        "web-2" => Some(Diagnosis::VipNotConfigured),
        "web-3" => Some(Diagnosis::PortClosed),
        "web-4" => Some(Diagnosis::HostDown),
        _ => None,
    };
    until(&daemon, "faults are named", |one| match expected(one) {
        None => passes(one),
        fault => {
            one.state == HealthState::Unhealthy
                && one.last.as_ref().is_some_and(|last| last.diagnosis == fault)
        }
    });
    let noted = |one: &HealthStatus| {
        one.transitions.last().and_then(|transition| transition.diagnosis) == expected(one)
    };
    until(&daemon, "the change itself has the reason", |one| expected(one).is_none() || noted(one));
    let shown = daemon.cli(["health"]).unwrap();
    for words in
        ["http port 80 (tunnel)", "tunnel absent: ", "vip not configured on the backend: ", "host down: "]
    {
        assert!(shown.contains(words), "no {words:?} in\n{shown}");
    }
    assert!(daemon.log().contains("tunnel absent"), "{}", daemon.log());

    // A daemon that is killed leaves the devices; the next one takes their place.
    backends[0].revive_decap(lab).unwrap();
    backends[1]
        .namespace
        .ip(&format!("addr add {VIP4}/32 dev lo\naddr add {VIP6}/128 dev lo nodad\n"))
        .unwrap();
    backends[2].revive_nginx(lab).unwrap();
    daemon.kill().unwrap();
    daemon.restart().unwrap();
    until(&daemon, "well again", |one| one.backend.starts_with("web-4") || passes(one));
    assert_eq!(devices(&network.balancers[0]), 2);
    daemon.terminate().unwrap();
    assert_eq!(devices(&network.balancers[0]), 0);
}
