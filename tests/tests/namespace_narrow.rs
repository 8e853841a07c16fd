//! Links that are narrower than those at either end: a router in the middle reports to the vip, and the report must reach
//! the backend whose packet it is about.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::Context;
use lb_user::api::types::ExplainReply;
use tests::control::{icmp, icmpv6, ipv4, ipv6};
use tests::lab::{
    Daemon, DaemonConfig, Family, FileServer, Network, Segment, Shape, Transfer, VIP4, VIP6, forget_mtus,
    learned_mtu, privileged, raw_socket, tracepath, transfer, wait_until,
};

/// Bytes that fit the link between the client's router and the balancers'.
const NARROW: u32 = 1400;
const PATIENCE: Duration = Duration::from_secs(20);
const CLIENT4: &str = "192.0.2.2";
const CLIENT6: &str = "2001:db8:1::2";
/// Downloads until every backend must have served one; that one of three never does has a chance of 1 in 400,000.
const DOWNLOADS: usize = 32;

fn network() -> Network {
    let network = Network::new(Shape { balancers: 1, backends: 3 }).unwrap();
    network.narrow(NARROW).unwrap();
    network
}

/// Vips of both families on these ports: 9000 in IP of their own family, 9001 of the other, 9002 in UDP.
fn start(network: &Network) -> Daemon {
    start_with(network, "")
}

fn start_with(network: &Network, head: &str) -> Daemon {
    let mut config = DaemonConfig::default();
    config.head += head;
    let (mut by4, mut by6) = (Vec::new(), Vec::new());
    for backend in &network.backends {
        let name6 = format!("{}-6", backend.name);
        config = config.backend(&backend.name, backend.address4).backend(&name6, backend.address6);
        by4.push(backend.name.as_str());
        by6.push(name6);
    }
    let by6: Vec<_> = by6.iter().map(String::as_str).collect();
    let gue = "mode = \"gue\"";
    let config = config
        .vip("4in4", VIP4, 9000, "tcp", &by4)
        .vip_line("unknown_ports = \"reject\"")
        .vip("6in6", VIP6, 9000, "tcp", &by6)
        .vip_line("unknown_ports = \"reject\"")
        .vip("4in6", VIP4, 9001, "tcp", &by6)
        .vip("6in4", VIP6, 9001, "tcp", &by4)
        .vip("gue4", VIP4, 9002, "tcp", &by4)
        .vip_line(gue)
        .vip("gue6", VIP6, 9002, "tcp", &by6)
        .vip_line(gue);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&by4).unwrap();
    daemon.wait_active(&by6).unwrap();
    daemon
}

#[test]
fn a_large_download_gets_through_a_narrow_link_in_front_of_the_client() {
    if !privileged() {
        return;
    }
    let network = network();
    let _daemon = start(&network);
    for (vip, client, port) in [VIP4.into(), VIP6.into()]
        .into_iter()
        .zip([CLIENT4, CLIENT6])
        .flat_map(|(vip, client): (IpAddr, _)| [9000, 9001, 9002].map(|port| (vip, client, port)))
    {
        let client: IpAddr = client.parse().unwrap();
        network.backends.iter().for_each(|backend| forget_mtus(&backend.namespace).unwrap());
        let _servers: Vec<_> = network
            .backends
            .iter()
            .map(|backend| FileServer::start(&backend.namespace, (vip, port).into(), &backend.name).unwrap())
            .collect();
        let mut served = BTreeSet::new();
        for _ in 0..DOWNLOADS {
            served.insert(transfer(&network.client, (vip, port).into(), Transfer::Download).unwrap());
            // Only who has sent too much is told: the report comes to no other backend.
            for backend in &network.backends {
                let expected = served.contains(&backend.name).then_some(NARROW);
                let learned = learned_mtu(&backend.namespace, client).unwrap();
                assert_eq!(learned, expected, "{} after {served:?}, {vip} port {port}", backend.name);
            }
            if served.len() == network.backends.len() {
                break;
            }
        }
        assert_eq!(served.len(), network.backends.len(), "{vip} port {port}");
    }
}

#[test]
fn tracepath_shows_the_way_to_a_vip_and_its_narrowest_link() {
    if !privileged() {
        return;
    }
    let network = network();
    let _daemon = start(&network);
    for (vip, routers) in
        [(IpAddr::from(VIP4), ["192.0.2.1", "10.4.0.1"]), (VIP6.into(), ["2001:db8:1::1", "fd00:4::1"])]
    {
        let said = tracepath(&network.client, vip, 8).unwrap();
        let hop = |number: u8| {
            said.lines().filter(move |line| line.trim_start().starts_with(&format!("{number}:")))
        };
        for (number, router) in (1..).zip(routers) {
            assert!(hop(number).any(|line| line.contains(router)), "no {router}:\n{said}");
        }
        assert!(hop(3).any(|line| line.contains(&vip.to_string()) && line.contains("reached")), "{said}");
        assert!(said.contains(&format!("pmtu {NARROW}")), "{said}");
        assert!(said.lines().last().unwrap().contains(&format!("pmtu {NARROW} hops 3 ")), "{said}");
        transfer_up(&network, vip);
    }
}

/// What the client's own router reports, the client has to heed; the balancer does not see it.
fn transfer_up(network: &Network, vip: IpAddr) {
    forget_mtus(&network.client).unwrap();
    let _servers: Vec<_> = network
        .backends
        .iter()
        .map(|backend| FileServer::start(&backend.namespace, (vip, 9000).into(), &backend.name).unwrap())
        .collect();
    transfer(&network.client, (vip, 9000).into(), Transfer::Upload).unwrap();
    assert_eq!(learned_mtu(&network.client, vip).unwrap(), Some(NARROW));
}

#[test]
fn a_large_upload_gets_through_a_narrow_link_behind_the_balancer() {
    if !privileged() {
        return;
    }
    let mut network = Network::two_armed(Shape { balancers: 1, backends: 0 }).unwrap();
    network.add_backend(Segment::Remote).unwrap();
    network.narrow_remote(NARROW).unwrap();
    let daemon = start(&network);
    let warned = |vip: &str, fits: &str| {
        let warnings = daemon.status().unwrap().warnings;
        warnings.iter().any(|text| text.contains(&format!("vip {vip}:")) && text.contains(fits))
    };
    assert!(!warned("gue4", "only"), "the balancer's own link is wide enough");
    for (vip, port, overhead) in [
        (IpAddr::from(VIP4), 9000, 20),
        (VIP4.into(), 9001, 40),
        (VIP4.into(), 9002, 28),
        (VIP6.into(), 9000, 40),
        (VIP6.into(), 9001, 20),
        (VIP6.into(), 9002, 48),
    ] {
        let backend = &network.backends[0];
        let _server = FileServer::start(&backend.namespace, (vip, port).into(), &backend.name).unwrap();
        transfer(&network.client, (vip, port).into(), Transfer::Upload).unwrap();
        let learned = learned_mtu(&network.client, vip).unwrap();
        assert_eq!(learned, Some(NARROW - overhead), "{vip} port {port}");
        forget_mtus(&network.client).unwrap();
    }
    assert!(warned("gue4", "only 1372") && warned("6in6", "only 1360"), "the operator may widen it");
}

/// Sends errors about flows of many ports to a vip, and demands that they arrive behind `ferrolev decap` byte by byte, at
/// the backend that `ferrolev explain` names.
fn errors_arrive(network: &Network, daemon: &Daemon, family: Family) {
    let (vip, client, protocol): (IpAddr, IpAddr, u8) = match family {
        Family::V4 => (VIP4.into(), CLIENT4.parse().unwrap(), 1),
        Family::V6 => (VIP6.into(), CLIENT6.parse().unwrap(), 58),
    };
    let router = raw_socket(&network.client, family, protocol).unwrap();
    let ears: Vec<_> = network
        .backends
        .iter()
        .map(|backend| (&backend.name, raw_socket(&backend.namespace, family, protocol).unwrap()))
        .collect();
    ears.iter().for_each(|(_, ear)| ear.set_nonblocking(true).unwrap());
    let mut reached = BTreeSet::new();
    for client_port in 40_000..40_012u16 {
        let source = SocketAddr::new(client, client_port).to_string();
        let server = SocketAddr::new(vip, 9002).to_string();
        let said = daemon.cli(["explain", &source, &server, "tcp", "--output", "json"]).unwrap();
        let explained: ExplainReply = serde_json::from_str(&said).unwrap();
        let error = error_about(vip, client, client_port);
        router.send_to(&error, (vip, 0)).unwrap();
        wait_until("the error", PATIENCE, || {
            let (name, seen) = ears
                .iter()
                .find_map(|(name, ear)| Some((*name, received(ear, family, vip)?)))
                .context("it arrived nowhere yet")?;
            assert_eq!(explained.backend.as_ref().unwrap().trim_end_matches("-6"), name, "{source}");
            assert_eq!(seen, error, "{source}");
            reached.insert(name.clone());
            Ok(())
        })
        .unwrap();
    }
    assert!(reached.len() > 1, "all flows go to {reached:?}");
}

/// "Fragmentation needed" or "packet too big" about a segment of the flow, of an odd number of bytes, with its checksum.
fn error_about(vip: IpAddr, client: IpAddr, client_port: u16) -> Vec<u8> {
    let ports = [9002u16.to_be_bytes(), client_port.to_be_bytes()].concat();
    let segment: Vec<u8> = ports.into_iter().chain((0..333u16).map(|at| at as u8)).collect();
    match (vip, client) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => {
            icmp(3, 4, [0, 0, 5, 0x78], &ipv4(vip, client, 6, &[], &segment))
        }
        (IpAddr::V6(vip), IpAddr::V6(client)) => {
            icmpv6((client, vip), 2, 0, [0, 0, 5, 0x78], &ipv6(vip, client, 6, 61, &segment))
        }
        _ => panic!("{vip} and {client} are of different families"),
    }
}

/// The next message for the vip, if one has arrived.
fn received(ear: &UdpSocket, family: Family, vip: IpAddr) -> Option<Vec<u8>> {
    let mut packet = [0; 2048];
    loop {
        let len = ear.recv(&mut packet).ok()?;
        let message = match (family, vip) {
            (Family::V4, IpAddr::V4(vip)) => {
                assert!(packet[16..20] != vip.octets() || packet[8] == 61, "three hops: {:?}", &packet[..20]);
                (packet[16..20] == vip.octets()).then(|| packet[20..len].to_vec())
            }
            // The header is not shown; neighbours and routers talk as well.
            _ => (packet[0] == 2).then(|| packet[..len].to_vec()),
        };
        if message.is_some() {
            return message;
        }
    }
}

#[test]
fn an_error_arrives_inside_gue_as_it_was_sent() {
    if !privileged() {
        return;
    }
    let network = network();
    for variant in [0, 1] {
        let mut daemon = start_with(&network, &format!("[tunnel]\ngue_variant = {variant}\n"));
        errors_arrive(&network, &daemon, Family::V4);
        errors_arrive(&network, &daemon, Family::V6);
        daemon.terminate().unwrap();
    }
}
