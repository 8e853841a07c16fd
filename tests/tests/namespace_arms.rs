//! Where packets come in and leave: two-armed balancers, gateways, generic XDP, and interfaces that refuse.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_user::api::types::{BackendState, DestStatus, ExplainReply};
use lb_user::dataplane::XdpMode;
use tests::lab::{
    Cli, Daemon, DaemonConfig, Load, Namespace, Network, Segment, Shape, VIP4, VIP6, curl_many, pass_stub,
    privileged, run, udp_ask, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// New connections for a look at who answers.
const REQUESTS: u32 = 100;
const WEB: [&str; 2] = ["web-1", "web-2"];

/// Two balancer arms, two backends behind the second.
fn two_armed() -> Network {
    Network::two_armed(Shape { balancers: 1, backends: 2 }).unwrap()
}

fn one_armed() -> Network {
    Network::new(Shape { balancers: 1, backends: 2 }).unwrap()
}

/// All backends by IPv4 address behind the IPv4 vip and by IPv6 address (`web-N-6`) behind the IPv6 vip.
fn config(network: &Network, interfaces: &[&str]) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    config.head = format!("interfaces = {interfaces:?}\n");
    let mut by6 = Vec::new();
    for backend in &network.backends {
        let name6 = format!("{}-6", backend.name);
        config = config.backend(&backend.name, backend.address4).backend(&name6, backend.address6);
        by6.push(name6);
    }
    let by4: Vec<_> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let by6: Vec<_> = by6.iter().map(String::as_str).collect();
    config
        .vip("web", VIP4, 80, "tcp", &by4)
        .vip("web6", VIP6, 80, "tcp", &by6)
        .vip("dns", VIP4, 53, "udp", &by4)
        .vip("dns6", VIP6, 53, "udp", &by6)
}

fn start(network: &Network, interfaces: &[&str], extra: &[&str]) -> Daemon {
    let config = config(network, interfaces);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, extra).unwrap();
    for backend in &network.backends {
        daemon.wait_active(&[&backend.name, &format!("{}-6", backend.name)]).unwrap();
    }
    daemon
}

fn start_in_vain(network: &Network, interfaces: &[&str]) -> Cli {
    let config = config(network, interfaces);
    Daemon::start_in_vain(&network.lab, &network.balancers[0], "vain", &config, &[]).unwrap()
}

/// Asks both vips for pages; none may fail. Returns who answered each.
fn http(network: &Network) -> [BTreeMap<String, u32>; 2] {
    [IpAddr::from(VIP4), IpAddr::from(VIP6)].map(|vip| {
        let (answers, failures) = curl_many(&network.client, (vip, 80).into(), REQUESTS).unwrap();
        assert!(failures.is_empty(), "{} failed, the first: {}", failures.len(), failures[0]);
        answers
    })
}

fn assert_answered_by(network: &Network, names: &[&str]) {
    for answers in http(network) {
        assert_eq!(answers.keys().collect::<Vec<_>>(), names);
    }
}

fn dest(daemon: &Daemon, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    let mut dests = status.vips.into_iter().flat_map(|vip| vip.backends);
    dests.find(|dest| dest.name == name).unwrap()
}

/// The XDP program on an interface, its number and mode, as `ip` shows it; `null` when there is none.
fn programs_on(namespace: &Namespace, interface: &str) -> String {
    let said = run(namespace.command("ip").unwrap().args(["-json", "link", "show", "dev", interface]));
    let links: serde_json::Value = serde_json::from_str(&said.unwrap()).unwrap();
    links[0]["xdp"].to_string()
}

/// Sum of the driver's counters for all queues of an interface, such as `_xdp_xmit`.
fn driver_count(namespace: &Namespace, interface: &str, counter: &str) -> u64 {
    let said = run(namespace.command("ethtool").unwrap().args(["-S", interface])).unwrap();
    let lines = said.lines().filter_map(|line| line.trim().split_once(": "));
    let counts = lines.filter(|(name, _)| name.ends_with(counter)).map(|(_, count)| count.trim());
    counts.map(|count| count.parse::<u64>().unwrap()).sum()
}

/// Files below a directory on the bpffs.
fn pins_in(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn assert_says(cli: &Cli, words: &[&str]) {
    for word in words {
        assert!(cli.stderr.contains(word), "no {word} in {cli:?}");
    }
}

#[test]
fn a_two_armed_balancer_redirects_to_its_second_interface() {
    if !privileged() {
        return;
    }
    let network = two_armed();
    let balancer = &network.balancers[0];
    for interfaces in [&["eth0"][..], &["eth0", "eth1"]] {
        let sent_before = driver_count(balancer, "eth1", "_xdp_xmit");
        let mut daemon = start(&network, interfaces, &["--detach-on-exit"]);
        let status = daemon.status().unwrap();
        let attached: Vec<_> = status.interfaces.iter().map(|to| (&*to.name, to.mode, &*to.driver)).collect();
        let expected: Vec<_> = interfaces.iter().map(|name| (*name, XdpMode::Native, "veth")).collect();
        assert_eq!(attached, expected);
        for dest in status.vips.iter().flat_map(|vip| &vip.backends) {
            let hop = dest.next_hop.as_ref().unwrap();
            assert_eq!((&*hop.interface, hop.gateway), ("eth1", None), "{}", dest.name);
        }

        let answers = http(&network);
        let asked = ask_dns(&network);
        let status = daemon.status().unwrap();
        for (vip, answers) in status.vips.iter().filter(|vip| vip.port == 80).zip(&answers) {
            assert_eq!(answers.keys().collect::<Vec<_>>(), WEB, "{}", vip.name);
            for (dest, answered) in vip.backends.iter().zip(answers.values()) {
                assert_eq!(dest.counters.new_flows, u64::from(*answered), "{}", dest.name);
            }
        }
        for vip in status.vips.iter().filter(|vip| vip.port == 53) {
            assert_eq!(vip.counters.packets, asked, "{}", vip.name);
        }
        // Every packet that was counted left by eth1, and none by another way.
        let counted: u64 = status.vips.iter().map(|vip| vip.counters.packets).sum();
        let sent = driver_count(balancer, "eth1", "_xdp_xmit") - sent_before;
        assert_eq!(counted, sent, "{interfaces:?}");
        assert_eq!(driver_count(balancer, "eth0", "_xdp_tx"), 0);
        daemon.terminate().unwrap();
    }
}

/// Asks both vips by UDP, one packet a question. Returns how many questions each got.
fn ask_dns(network: &Network) -> u64 {
    const QUESTIONS: u32 = 50;
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        let _services: Vec<_> =
            network.backends.iter().map(|backend| backend.serve_udp(vip, 53).unwrap()).collect();
        for _ in 0..QUESTIONS {
            let answer = network.client.inside(move || udp_ask((vip, 53).into(), Duration::from_secs(5)));
            assert!(WEB.contains(&&*answer.unwrap()), "{vip}");
        }
    }
    QUESTIONS.into()
}

#[test]
fn explain_shows_the_frame_that_leaves_by_the_second_interface() {
    if !privileged() {
        return;
    }
    let network = two_armed();
    let daemon = start(&network, &["eth0", "eth1"], &[]);
    for (client, vip) in [("192.0.2.2", IpAddr::from(VIP4)), ("2001:db8:1::2", IpAddr::from(VIP6))] {
        let source = SocketAddr::new(client.parse().unwrap(), 20_000).to_string();
        let server = SocketAddr::new(vip, 80).to_string();
        let said = daemon.cli(["explain", &source, &server, "tcp", "--output", "json"]).unwrap();
        let explained: ExplainReply = serde_json::from_str(&said).unwrap();
        assert_eq!(explained.verdict, "forward", "{said}");
        assert_eq!(explained.backend, explained.predicted_backend, "{said}");
        let hop = dest(&daemon, explained.backend.as_ref().unwrap()).next_hop.unwrap();
        assert!(explained.frame.starts_with(&hop.mac.replace(':', "")), "{hop:?} {said}");
    }
}

#[test]
fn a_backend_behind_a_gateway_on_the_second_segment_is_reached() {
    if !privileged() {
        return;
    }
    let mut network = Network::two_armed(Shape { balancers: 1, backends: 0 }).unwrap();
    network.add_backend(Segment::Remote).unwrap();
    let daemon = start(&network, &["eth0"], &[]);
    for (name, gateway) in [("web-1", "10.2.0.254"), ("web-1-6", "fd00:2::fe")] {
        let hop = dest(&daemon, name).next_hop.unwrap();
        assert_eq!((&*hop.interface, hop.gateway), ("eth1", Some(gateway.parse().unwrap())), "{name}");
    }
    assert_answered_by(&network, &["web-1"]);
}

#[test]
fn traffic_leaves_a_segment_whose_cable_is_pulled_and_returns_with_it() {
    if !privileged() {
        return;
    }
    let mut network = Network::two_armed(Shape { balancers: 1, backends: 1 }).unwrap();
    network.add_backend(Segment::Front).unwrap();
    let daemon = start(&network, &["eth0"], &[]);
    assert_answered_by(&network, &WEB);

    network.router.ip("link set lb-1-back down\n").unwrap();
    wait_until("backends without a link", PATIENCE, || {
        for name in ["web-1", "web-1-6"] {
            let dest = dest(&daemon, name);
            anyhow::ensure!(dest.state == BackendState::Unresolved && dest.slots == 0, "{dest:#?}");
            anyhow::ensure!(dest.reason.as_ref().is_some_and(|why| why.contains("eth1")), "{dest:#?}");
        }
        Ok(())
    })
    .unwrap();
    assert_answered_by(&network, &["web-2"]);

    network.router.ip("link set lb-1-back up\n").unwrap();
    daemon.wait_active(&["web-1", "web-1-6"]).unwrap();
    assert_answered_by(&network, &WEB);
}

#[test]
fn generic_mode_forwards_over_ipv4_and_ipv6() {
    if !privileged() {
        return;
    }
    let network = one_armed();
    let mut daemon = start(&network, &["eth0"], &["--xdp-mode", "generic"]);
    let shown = programs_on(&network.balancers[0], "eth0");
    // 2: XDP_ATTACHED_SKB
    assert!(shown.contains("\"mode\":2"), "{shown}");
    assert_eq!(daemon.status().unwrap().interfaces[0].mode, XdpMode::Generic);
    assert_answered_by(&network, &WEB);
    let flows: Vec<_> = daemon.status().unwrap().vips.iter().map(|vip| vip.counters.new_flows).collect();
    assert_eq!(flows.iter().sum::<u64>(), u64::from(REQUESTS) * 2, "{flows:?}");

    daemon.terminate().unwrap();
    assert_answered_by(&network, &WEB);
    let bpffs = network.lab.bpffs();
    daemon.cli(["detach", "--instance", "test", "--bpffs", bpffs.to_str().unwrap()]).unwrap();
    // At once, not some time after the command.
    assert_eq!(programs_on(&network.balancers[0], "eth0"), "null");
}

#[test]
fn the_mode_changes_with_a_reload_there_and_back() {
    if !privileged() {
        return;
    }
    let network = one_armed();
    let daemon = start(&network, &["eth0"], &[]);
    let change_to = |name: &str, mode, pin| {
        let text = config(&network, &["eth0"]).text();
        daemon.write_config(&format!("xdp_mode = \"{name}\"\n{text}")).unwrap();
        daemon.cli(["reload"]).unwrap();
        assert_eq!(daemon.status().unwrap().interfaces[0].mode, mode);
        assert_eq!(pins_in(&daemon.pins().join("link")), [pin]);
    };
    // Often: the kernel may let go of an old link late, and refuses the new one until then.
    for _ in 0..20 {
        change_to("generic", XdpMode::Generic, "eth0:generic");
        change_to("native", XdpMode::Native, "eth0");
    }
    assert_answered_by(&network, &WEB);
    change_to("generic", XdpMode::Generic, "eth0:generic");
    assert_answered_by(&network, &WEB);
}

#[test]
fn an_interface_without_native_xdp_is_refused_with_a_way_out() {
    if !privileged() {
        return;
    }
    let network = one_armed();
    network.balancers[0].ip("link add lan0 type bridge\nlink set lan0 up\n").unwrap();
    for interfaces in [&["lan0"][..], &["eth0", "lan0"]] {
        let refused = start_in_vain(&network, interfaces);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_says(&refused, &["lan0", "driver bridge", "native", "--xdp-mode generic"]);
        assert_nothing_left(&network);
    }
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    if !privileged() {
        return;
    }
    let network = one_armed();
    let refused = start_in_vain(&network, &["eth0", "eth7"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(&refused, &["interface eth7 does not exist", "ip link"]);
    assert_nothing_left(&network);
}

#[test]
fn the_xdp_program_of_somebody_else_stays_where_it_is() {
    if !privileged() {
        return;
    }
    let network = one_armed();
    let pin = network.lab.bpffs().join("somebody");
    pass_stub::attach(&network.balancers[0], "eth0", &pin).unwrap();
    let theirs = programs_on(&network.balancers[0], "eth0");
    let refused = start_in_vain(&network, &["eth0"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(&refused, &["interface eth0", "driver veth", "another XDP program"]);
    assert!(!refused.stderr.contains("--xdp-mode"), "no mode helps: {refused:?}");
    assert_eq!(programs_on(&network.balancers[0], "eth0"), theirs);
    assert!(!network.lab.bpffs().join("vain").exists());
}

/// No pins, and no program on `eth0`.
fn assert_nothing_left(network: &Network) {
    assert_eq!(pins_in(&network.lab.bpffs().join("vain")), [""; 0]);
    assert!(!network.lab.bpffs().join("vain").exists());
    assert_eq!(programs_on(&network.balancers[0], "eth0"), "null");
}

#[test]
fn a_reload_that_an_interface_refuses_leaves_everything_as_it_was() {
    if !privileged() {
        return;
    }
    let network = two_armed();
    let balancer = &network.balancers[0];
    balancer.ip("link add lan0 type bridge\nlink set lan0 up\n").unwrap();
    pass_stub::attach(balancer, "eth1", &network.lab.bpffs().join("somebody")).unwrap();
    let daemon = start(&network, &["eth0"], &[]);
    let ours = programs_on(balancer, "eth0");
    let before = daemon.status().unwrap();
    let load = Load::start(&network.client, &[(VIP4, 80).into(), (VIP6, 80).into()], 2).unwrap();

    for (interfaces, words) in [
        (&["eth0", "lan0"][..], &["lan0", "driver bridge"][..]),
        (&["lan0", "eth0"], &["lan0", "driver bridge"]),
        (&["eth0", "eth1"], &["eth1", "another XDP program"]),
        (&["eth0", "eth7"], &["eth7", "does not exist"]),
    ] {
        daemon.write_config(&config(&network, interfaces).text()).unwrap();
        let refused = daemon.try_cli(["reload"]).unwrap();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_says(&refused, words);
        assert_eq!(programs_on(balancer, "eth0"), ours, "{interfaces:?}");
        assert_eq!(programs_on(balancer, "lan0"), "null", "{interfaces:?}");
        assert_eq!(pins_in(&daemon.pins().join("link")), ["eth0"], "{interfaces:?}");
        assert_eq!(pins_in(&daemon.pins()), ["flows", "leases", "link", "maps", "prog"], "{interfaces:?}");
        assert_eq!(daemon.status().unwrap().interfaces, before.interfaces);
    }
    let report = load.stop().unwrap();
    assert!(!report.attempts.is_empty());
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    // What runs still takes changes.
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    let (answers, failures) = curl_many(&network.client, (VIP4, 80).into(), REQUESTS).unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["web-1"]);
}

#[test]
fn a_refused_change_of_mode_gives_the_interfaces_their_old_mode_back() {
    if !privileged() {
        return;
    }
    let network = two_armed();
    let balancer = &network.balancers[0];
    pass_stub::attach(balancer, "eth1", &network.lab.bpffs().join("somebody")).unwrap();
    let daemon = start(&network, &["eth0"], &[]);
    let ours = programs_on(balancer, "eth0");
    let text = config(&network, &["eth0", "eth1"]).text();
    daemon.write_config(&format!("xdp_mode = \"generic\"\n{text}")).unwrap();
    let refused = daemon.try_cli(["reload"]).unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_says(&refused, &["eth1", "another XDP program"]);
    assert_eq!(programs_on(balancer, "eth0"), ours);
    assert_eq!(pins_in(&daemon.pins().join("link")), ["eth0"]);
    assert_answered_by(&network, &WEB);
}
