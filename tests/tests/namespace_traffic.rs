//! Real HTTP and UDP from a client through the balancer to real backends, and changes of the backends on the way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_user::api::types::ExplainReply;
use tests::lab::{Daemon, DaemonConfig, Load, Network, Shape, VIP4, VIP6, curl_many, privileged, udp_ask};

const PATIENCE: Duration = Duration::from_secs(5);
/// New connections for a look at who answers.
const REQUESTS: u32 = 200;

fn network(backends: u8) -> Network {
    Network::new(Shape { balancers: 1, backends }).unwrap()
}

/// Backends `web-N` by IPv4 address and `web6-N` by IPv6 address.
fn with_all_backends(network: &Network, count: usize) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    for backend in network.backends.iter().take(count) {
        let number = backend.name.trim_start_matches("web-");
        config = config
            .backend(&backend.name, backend.address4)
            .backend(&format!("web6-{number}"), backend.address6);
    }
    config
}

fn start(network: &Network, config: &DaemonConfig, active: &[&str]) -> Daemon {
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", config, &[]).unwrap();
    daemon.wait_active(active).unwrap();
    daemon
}

/// Who answers new connections by curl; none may fail.
fn answers(network: &Network, server: SocketAddr) -> BTreeMap<String, u32> {
    let (answers, failures) = curl_many(&network.client, server, REQUESTS).unwrap();
    assert!(failures.is_empty(), "{} failed, the first: {}", failures.len(), failures[0]);
    answers
}

fn who(answers: &BTreeMap<String, u32>) -> Vec<&str> {
    answers.keys().map(String::as_str).collect()
}

#[test]
fn http_reaches_every_backend_through_all_four_kinds_of_tunnel() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let (by4, by6) = (["web-1", "web-2", "web-3"], ["web6-1", "web6-2", "web6-3"]);
    let config = with_all_backends(&network, 3)
        .vip("4in4", VIP4, 80, "tcp", &by4)
        .vip("4in6", VIP4, 8080, "tcp", &by6)
        .vip("6in6", VIP6, 80, "tcp", &by6)
        .vip("6in4", VIP6, 8080, "tcp", &by4);
    let daemon = start(&network, &config, &[&by4[..], &by6[..]].concat());
    let vips: [(&str, IpAddr, u16); 4] = [
        ("4in4", VIP4.into(), 80),
        ("4in6", VIP4.into(), 8080),
        ("6in6", VIP6.into(), 80),
        ("6in4", VIP6.into(), 8080),
    ];
    for (name, address, port) in vips {
        let answers = answers(&network, (address, port).into());
        assert_eq!(who(&answers), by4, "{name}");

        let status = daemon.status().unwrap();
        let vip = status.vips.iter().find(|vip| vip.name == name).unwrap();
        assert_eq!(vip.counters.new_flows, u64::from(REQUESTS), "{name}");
        for (dest, answered) in vip.backends.iter().zip(answers.values()) {
            assert_eq!(dest.counters.new_flows, u64::from(*answered), "{name}: {}", dest.name);
        }
    }
}

#[test]
fn udp_reaches_every_backend_and_the_answers_come_from_the_vip() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let names = ["web-1", "web-2", "web-3"];
    let config = with_all_backends(&network, 3)
        .vip("dns", VIP4, 53, "udp", &names)
        .vip("dns6", VIP6, 53, "udp", &names);
    let _daemon = start(&network, &config, &names);
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        let _services: Vec<_> =
            network.backends.iter().map(|backend| backend.serve_udp(vip, 53).unwrap()).collect();
        let mut answers = BTreeMap::new();
        for _ in 0..REQUESTS {
            let answer = network.client.inside(move || udp_ask((vip, 53).into(), PATIENCE)).unwrap();
            *answers.entry(answer).or_default() += 1;
        }
        assert_eq!(who(&answers), names, "{vip}");
    }
}

#[test]
fn a_drained_backend_gets_no_new_connections_until_it_is_undrained() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let names = ["web-1", "web-2", "web-3"];
    let config = with_all_backends(&network, 3)
        .vip("web", VIP4, 80, "tcp", &names)
        .vip("web6", VIP6, 80, "tcp", &names);
    let daemon = start(&network, &config, &names);
    let load = Load::start(&network.client, &[(VIP4, 80).into(), (VIP6, 80).into()], 4).unwrap();

    let mut changes = Vec::new();
    let mut change = |command: [&str; 3]| {
        let began = Instant::now();
        daemon.cli(command).unwrap();
        changes.push((began, Instant::now()));
    };
    change(["backend", "drain", "web-2"]);
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        assert_eq!(who(&answers(&network, (vip, 80).into())), ["web-1", "web-3"]);
    }
    change(["backend", "undrain", "web-2"]);
    assert_eq!(who(&answers(&network, (VIP4, 80).into())), names);

    let report = load.stop().unwrap();
    let failures = report.failures_outside(&changes);
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn a_backend_added_at_run_time_takes_its_share() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let config = with_all_backends(&network, 2).vip("web", VIP4, 80, "tcp", &["web-1", "web-2"]);
    let daemon = start(&network, &config, &["web-1", "web-2"]);
    assert_eq!(who(&answers(&network, (VIP4, 80).into())), ["web-1", "web-2"]);

    let address = network.backends[2].address4.to_string();
    let add = ["backend", "add", "web-3", "--vip", "web", "--address", &address];
    let plan = daemon.cli([&add[..], &["--dry-run"]].concat()).unwrap();
    assert_eq!(daemon.status().unwrap().vips[0].backends.len(), 2, "a dry run changed something: {plan}");
    daemon.cli(add).unwrap();
    daemon.wait_active(&["web-3"]).unwrap();
    assert_eq!(who(&answers(&network, (VIP4, 80).into())), ["web-1", "web-2", "web-3"]);

    daemon.cli(["backend", "remove", "web-3", "--vip", "web"]).unwrap();
    assert_eq!(who(&answers(&network, (VIP4, 80).into())), ["web-1", "web-2"]);
}

#[test]
fn weights_decide_the_shares() {
    if !privileged() {
        return;
    }
    let network = network(2);
    let config = with_all_backends(&network, 2).vip("web", VIP4, 80, "tcp", &["web-1", "web-2"]);
    let daemon = start(&network, &config, &["web-1", "web-2"]);
    daemon.cli(["backend", "weight", "web-2", "900"]).unwrap();
    let status = daemon.status().unwrap();
    let share = |name: &str| {
        let dests = &status.vips[0].backends;
        dests.iter().find(|dest| dest.name == name).unwrap().share
    };
    assert!((share("web-2") - 0.9).abs() < 0.001, "{}", share("web-2"));
    // 20 of 200 expected for web-1; 60 would be more than nine standard deviations away.
    let counted = answers(&network, (VIP4, 80).into());
    assert!(counted.get("web-1").copied().unwrap_or(0) < 60, "{counted:?}");

    daemon.cli(["backend", "weight", "web-1", "0"]).unwrap();
    assert_eq!(who(&answers(&network, (VIP4, 80).into())), ["web-2"]);
}

#[test]
fn explain_names_the_backend_that_then_answers() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let names = ["web-1", "web-2", "web-3"];
    let config = with_all_backends(&network, 3).vip("dns", VIP4, 53, "udp", &names);
    let daemon = start(&network, &config, &names);
    let _services: Vec<_> =
        network.backends.iter().map(|backend| backend.serve_udp(VIP4.into(), 53).unwrap()).collect();
    let vip = SocketAddr::from((VIP4, 53)).to_string();
    for port in 20_000..20_030 {
        let said =
            daemon.cli(["explain", &format!("192.0.2.2:{port}"), &vip, "udp", "--output", "json"]).unwrap();
        let explained: ExplainReply = serde_json::from_str(&said).unwrap();
        let answered = network
            .client
            .inside(move || {
                let socket = std::net::UdpSocket::bind(("192.0.2.2", port))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.connect((VIP4, 53))?;
                socket.send(b"who are you?")?;
                let mut answer = [0; 64];
                let length = socket.recv(&mut answer)?;
                Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
            })
            .unwrap();
        assert_eq!(explained.backend, Some(answered), "{said}");
        assert_eq!(explained.backend, explained.predicted_backend, "{said}");
    }
    // An explanation is no traffic.
    assert_eq!(daemon.status().unwrap().vips[0].counters.packets, 30);
}
