//! How packets reach backends: in UDP through `ferrolev decap`, and as they are on one segment.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_user::api::types::{BackendState, ExplainReply};
use tests::lab::{
    Daemon, DaemonConfig, Network, Segment, Shape, VIP4, VIP6, curl_many, privileged, udp_ask, wait_until,
};

const REQUESTS: u32 = 60;
const PATIENCE: Duration = Duration::from_secs(20);
const WEB: [&str; 2] = ["web-1", "web-2"];

/// Each vip on port 80 to backends of its own family, on port 8080 to those of the other.
fn config(network: &Network, head: &str, mode: &str) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    config.head += head;
    let mut by6 = Vec::new();
    for backend in &network.backends {
        let name6 = format!("{}-6", backend.name);
        config = config.backend(&backend.name, backend.address4).backend(&name6, backend.address6);
        by6.push(name6);
    }
    let by4: Vec<_> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let by6: Vec<_> = by6.iter().map(String::as_str).collect();
    let mode = format!("mode = \"{mode}\"");
    config
        .vip("web44", VIP4, 80, "tcp", &by4)
        .vip_line(&mode)
        .vip("web66", VIP6, 80, "tcp", &by6)
        .vip_line(&mode)
        .vip("web46", VIP4, 8080, "tcp", &by6)
        .vip_line(&mode)
        .vip("web64", VIP6, 8080, "tcp", &by4)
        .vip_line(&mode)
        .vip("dns4", VIP4, 53, "udp", &by4)
        .vip_line(&mode)
        .vip("dns6", VIP6, 53, "udp", &by6)
        .vip_line(&mode)
}

fn network(backends: u8) -> Network {
    Network::new(Shape { balancers: 1, backends }).unwrap()
}

fn start(network: &Network, config: &DaemonConfig) -> Daemon {
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", config, &[]).unwrap();
    for backend in &network.backends {
        daemon.wait_active(&[&backend.name, &format!("{}-6", backend.name)]).unwrap();
    }
    daemon
}

/// Pages and datagrams from all vips; every backend must be among those who answer, and nothing may fail.
fn assert_all_answer(network: &Network, names: &[&str]) {
    for (vip, port) in [(IpAddr::from(VIP4), 80), (VIP6.into(), 80), (VIP4.into(), 8080), (VIP6.into(), 8080)]
    {
        let (answers, failures) = curl_many(&network.client, (vip, port).into(), REQUESTS).unwrap();
        let logs = || network.backends.iter().map(|backend| backend.logs()).collect::<String>();
        assert!(failures.is_empty(), "{} failed, the first: {}\n{}", failures.len(), failures[0], logs());
        assert_eq!(answers.keys().collect::<Vec<_>>(), names, "{vip}:{port}");
    }
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        let _services: Vec<_> =
            network.backends.iter().map(|backend| backend.serve_udp(vip, 53).unwrap()).collect();
        for _ in 0..20 {
            let answer = network.client.inside(move || udp_ask((vip, 53).into(), PATIENCE)).unwrap();
            assert!(names.contains(&&*answer), "{vip} answered {answer}");
        }
    }
}

/// The frame that leaves for a flow, as bytes.
fn frame(daemon: &Daemon, client: &str, vip: SocketAddr) -> Vec<u8> {
    let said = daemon.cli(["explain", client, &vip.to_string(), "tcp", "--output", "json"]).unwrap();
    let explained: ExplainReply = serde_json::from_str(&said).unwrap();
    assert_eq!(explained.verdict, "forward", "{said}");
    assert_eq!(explained.backend, explained.predicted_backend, "{said}");
    let hex: Vec<char> = explained.frame.chars().filter(char::is_ascii_hexdigit).collect();
    hex.chunks(2).map(|byte| u8::from_str_radix(&byte.iter().collect::<String>(), 16).unwrap()).collect()
}

#[test]
fn gue_of_both_variants_carries_both_families_over_both() {
    if !privileged() {
        return;
    }
    let network = network(2);
    for (variant, inner) in [(1, [0x45, 0x00, 0x00]), (0, [0x00, 0x04, 0x00])] {
        let head = format!("[tunnel]\ngue_variant = {variant}\n");
        let mut daemon = start(&network, &config(&network, &head, "gue"));
        let frame = frame(&daemon, "192.0.2.2:20000", (VIP4, 80).into());
        assert_eq!((frame[23], &frame[36..38], &frame[42..45]), (17, &6080u16.to_be_bytes()[..], &inner[..]));
        assert_all_answer(&network, &WEB);
        daemon.terminate().unwrap();
    }
}

#[test]
fn l2_reaches_backends_on_the_segment_by_their_mac_addresses_alone() {
    if !privileged() {
        return;
    }
    let network = network(2);
    let daemon = start(&network, &config(&network, "", "l2"));
    let frame = frame(&daemon, "192.0.2.2:20000", (VIP4, 80).into());
    assert_eq!((frame.len(), &frame[30..34]), (14 + 40, &VIP4.octets()[..]), "nothing is added");
    assert_all_answer(&network, &WEB);
}

#[test]
fn l2_refuses_a_backend_behind_a_gateway_and_says_why() {
    if !privileged() {
        return;
    }
    let mut network = Network::two_armed(Shape { balancers: 1, backends: 1 }).unwrap();
    network.add_backend(Segment::Remote).unwrap();
    let config = config(&network, "", "l2");
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&["web-1", "web-1-6"]).unwrap();
    wait_until("a backend behind a gateway", PATIENCE, || {
        let status = daemon.status()?;
        for (name, address, gateway) in
            [("web-2", "10.3.0.12", "10.2.0.254"), ("web-2-6", "fd00:3::12", "fd00:2::fe")]
        {
            let dest =
                status.vips.iter().flat_map(|vip| &vip.backends).find(|dest| dest.name == name).unwrap();
            let reason = dest.reason.clone().unwrap_or_default();
            anyhow::ensure!(dest.state == BackendState::Unresolved && dest.slots == 0, "{dest:#?}");
            for word in [address, gateway, "l2", "ipip or gue"] {
                anyhow::ensure!(reason.contains(word), "no {word} in {reason}");
            }
        }
        Ok(())
    })
    .unwrap();
    assert_all_answer(&network, &["web-1"]);
}

#[test]
fn backends_of_one_vip_may_be_reached_in_different_ways() {
    if !privileged() {
        return;
    }
    let network = network(3);
    let mut config = DaemonConfig::default();
    let mut names = Vec::new();
    for (backend, mode) in network.backends.iter().zip(["ipip", "gue", "l2"]) {
        let mode = format!("mode = \"{mode}\"");
        config = config.backend(&backend.name, backend.address4).backend_line(&mode);
        names.push(backend.name.as_str());
    }
    let config = config.vip("web", VIP4, 80, "tcp", &names);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&names).unwrap();
    let (answers, failures) = curl_many(&network.client, (VIP4, 80).into(), REQUESTS).unwrap();
    assert!(failures.is_empty(), "{} failed, the first: {}", failures.len(), failures[0]);
    assert_eq!(answers.keys().collect::<Vec<_>>(), names);
}
