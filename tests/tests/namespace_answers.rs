//! What the program answers itself, and ICMP errors, with real hosts around it: neighbours that look for a vip, pings,
//! connections to closed ports, and a backend that hears that its client is gone.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_user::api::types::{BackendState, ExplainReply};
use tests::lab::{Daemon, DaemonConfig, Network, Shape, VIP4, VIP6, curl_many, privileged, run, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
const ASK_PORT: u16 = 5353;
const CLOSED_PORT: u16 = 81;
const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];

/// One balancer and one backend; every vip has these lines besides.
fn start(lines: &str) -> (Network, Daemon) {
    let network = Network::new(Shape { balancers: 1, backends: 1 }).unwrap();
    let backend = &network.backends[0];
    let name6 = format!("{}-6", backend.name);
    let by4 = [backend.name.as_str()];
    let by6 = [name6.as_str()];
    let config = DaemonConfig::default()
        .backend(&backend.name, backend.address4)
        .backend(&name6, backend.address6)
        .vip("web", VIP4, 80, "tcp", &by4)
        .vip_line(lines)
        .vip("web6", VIP6, 80, "tcp", &by6)
        .vip_line(lines)
        .vip("ask", VIP4, ASK_PORT, "udp", &by4)
        .vip("ask6", VIP6, ASK_PORT, "udp", &by6);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&[&backend.name, &name6]).unwrap();
    (network, daemon)
}

fn ping(network: &Network, vip: IpAddr, bytes: u32) -> Result<String> {
    let mut ping = network.client.command("ping")?;
    let bytes = bytes.to_string();
    run(ping.args(["-c", "3", "-i", "0.2", "-W", "2", "-s", &bytes]).arg(vip.to_string()))
}

#[test]
fn an_announced_vip_is_found_by_its_neighbours_and_answers_pings() {
    if !privileged() {
        return;
    }
    let (network, _daemon) = start("announce = \"arp\"");
    // No way by the balancer: the router looks for the vips on the link itself.
    look_on(&network, "br0");
    for vip in VIPS {
        wait_until(&format!("an answer of {vip}"), PATIENCE, || ping(&network, vip, 56).map(drop)).unwrap();
        for bytes in [0, 1, 1000, 1400] {
            let said = ping(&network, vip, bytes).unwrap();
            assert!(said.contains(" 3 received") && said.contains("ttl=63"), "{vip}, {bytes} bytes: {said}");
        }
        let (answers, failures) = curl_many(&network.client, SocketAddr::new(vip, 80), 20).unwrap();
        assert!(failures.is_empty() && answers.values().sum::<u32>() == 20, "{answers:?} {failures:?}");
        let link =
            run(network.balancers[0].command("ip").unwrap().args(["-json", "link", "show", "dev", "eth0"]));
        let links: serde_json::Value = serde_json::from_str(&link.unwrap()).unwrap();
        let (neighbours, mac) = (neighbours(&network, vip), links[0]["address"].as_str().unwrap().to_owned());
        assert!(neighbours.contains(&mac), "{neighbours} is not at {mac}");
    }
}

/// Lets the router look for the vips itself, on this bridge, with nothing that it knows already.
fn look_on(network: &Network, bridge: &str) {
    network
        .router
        .ip(&format!(
            "route replace {VIP4}/32 dev {bridge}\nroute replace {VIP6}/128 dev {bridge}\n\
             neigh flush dev {bridge}\n"
        ))
        .unwrap();
}

/// What the router knows of a vip.
fn neighbours(network: &Network, vip: IpAddr) -> String {
    run(network.router.command("ip").unwrap().args(["neigh", "show", "to"]).arg(vip.to_string())).unwrap()
}

#[test]
fn an_address_is_found_only_on_the_interfaces_that_it_is_announced_on() {
    if !privileged() {
        return;
    }
    let network = Network::two_armed(Shape { balancers: 1, backends: 1 }).unwrap();
    let backend = &network.backends[0];
    let config = |on: &str| {
        let lines = format!("announce = \"arp\"\nannounce_on = [{on}]");
        let mut config = DaemonConfig::default();
        config.head = "interfaces = [\"eth0\", \"eth1\"]\n".to_owned();
        config
            .backend(&backend.name, backend.address4)
            .vip("web", VIP4, 80, "tcp", &[&backend.name])
            .vip_line(&lines)
            .vip("web6", VIP6, 80, "tcp", &[&backend.name])
            .vip_line(&lines)
    };
    let on_eth0 = config("\"eth0\"");
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &on_eth0, &[]).unwrap();
    let found = |bridge: &str| {
        look_on(&network, bridge);
        VIPS.map(|vip| ping(&network, vip, 56).is_ok())
    };
    for (on, expected) in [
        ("\"eth0\"", [true, false]),
        ("\"eth1\"", [false, true]),
        ("\"eth0\", \"eth1\"", [true, true]),
        ("\"eth9\"", [false, false]),
    ] {
        daemon.write_config(&config(on).text()).unwrap();
        daemon.cli(["reload"]).unwrap();
        for (bridge, expected) in ["br0", "br1"].into_iter().zip(expected) {
            assert_eq!(found(bridge), [expected; 2], "announced on {on}, looked for on {bridge}");
        }
    }
}

#[test]
fn neighbours_and_backends_see_the_mac_address_that_the_interface_has_now() {
    const MOVED: &str = "02:00:00:00:00:77";
    if !privileged() {
        return;
    }
    // Nobody knows the vips by what was announced: only the program's answers count.
    let (network, daemon) = start("announce = \"arp\"\nannounce_on = [\"eth0\"]");
    let balancer = &network.balancers[0];
    look_on(&network, "br0");
    for vip in VIPS {
        wait_until(&format!("an answer of {vip}"), PATIENCE, || ping(&network, vip, 56).map(drop)).unwrap();
    }
    balancer.ip(&format!("link set eth0 address {MOVED}\n")).unwrap();
    for vip in VIPS {
        let server = SocketAddr::new(vip, 80).to_string();
        let client = if vip.is_ipv4() { "192.0.2.2:40000" } else { "[2001:db8:1::2]:40000" };
        wait_until("the new MAC address", PATIENCE, || {
            look_on(&network, "br0");
            ping(&network, vip, 56)?;
            let known = neighbours(&network, vip);
            ensure!(known.contains(MOVED), "{known}");
            let said = daemon.cli(["explain", client, &server, "tcp", "--output", "json"])?;
            let explained: ExplainReply = serde_json::from_str(&said)?;
            ensure!(explained.frame[12..24] == MOVED.replace(':', ""), "{said}");
            Ok(())
        })
        .unwrap();
        let (answers, failures) = curl_many(&network.client, SocketAddr::new(vip, 80), 20).unwrap();
        assert!(failures.is_empty() && answers.values().sum::<u32>() == 20, "{answers:?} {failures:?}");
    }
}

#[test]
fn a_link_that_was_down_serves_again_when_it_is_up() {
    if !privileged() {
        return;
    }
    let (network, daemon) = start("announce = \"arp\"");
    let balancer = &network.balancers[0];
    look_on(&network, "br0");
    for state in ["down", "up"] {
        balancer.ip(&format!("link set eth0 {state}\n")).unwrap();
        wait_until(state, PATIENCE, || {
            let status = daemon.status()?;
            let dests: Vec<_> = status.vips.iter().flat_map(|vip| &vip.backends).collect();
            let owned = daemon.cli(["addresses"])?.matches("owned").count();
            if state == "down" {
                ensure!(dests.iter().all(|dest| dest.state == BackendState::Unresolved), "{dests:#?}");
                ensure!(owned == 0, "an address is owned on a link that is down");
            } else {
                ensure!(owned == VIPS.len(), "{}", daemon.cli(["addresses"])?);
            }
            Ok(())
        })
        .unwrap();
        if state == "down" {
            // IPv6 addresses go with the link.
            balancer.ip("addr replace fd00:1::101/64 dev eth0 nodad\n").unwrap();
        }
    }
    balancer.ip("route replace default via 10.1.0.1\nroute replace ::/0 via fd00:1::1\n").unwrap();
    daemon.wait_active(&["web-1", "web-1-6"]).unwrap();
    for vip in VIPS {
        look_on(&network, "br0");
        let (answers, failures) = curl_many(&network.client, SocketAddr::new(vip, 80), 20).unwrap();
        assert!(failures.is_empty() && answers.values().sum::<u32>() == 20, "{answers:?} {failures:?}");
    }
}

#[test]
fn a_closed_port_refuses_at_once() {
    if !privileged() {
        return;
    }
    let (network, _daemon) = start("unknown_ports = \"reject\"\nping = true");
    for vip in VIPS {
        let closed = SocketAddr::new(vip, CLOSED_PORT);
        let begin = Instant::now();
        let refused =
            network.client.inside(move || Ok(TcpStream::connect_timeout(&closed, PATIENCE))).unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused, "{closed}");
        assert!(begin.elapsed() < Duration::from_secs(1), "no retries: {:?}", begin.elapsed());
        let unreachable = network.client.inside(move || {
            let socket = asking(vip)?;
            socket.connect(closed)?;
            socket.send(b"anybody?")?;
            Ok(socket.recv(&mut [0; 64]))
        });
        assert_eq!(unreachable.unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused, "{closed}/udp");
        let said = ping(&network, vip, 56).unwrap();
        assert!(said.contains(" 3 received"), "{said}");
    }
}

/// A socket of the family of `vip`.
fn asking(vip: IpAddr) -> Result<UdpSocket> {
    let any: IpAddr = if vip.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

#[test]
fn a_backend_hears_that_its_client_is_gone() {
    if !privileged() {
        return;
    }
    let (network, _daemon) = start("");
    for vip in VIPS {
        let server = SocketAddr::new(vip, ASK_PORT);
        let backend = network.backends[0].namespace.inside(move || {
            let socket = UdpSocket::bind(server)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        });
        let backend = backend.unwrap();
        network.client.inside(move || Ok(asking(vip)?.send_to(b"and away", server)?)).unwrap();
        let heard = (|| -> Result<ErrorKind> {
            let (_, client) = backend.recv_from(&mut [0; 64]).context("the client's datagram")?;
            backend.connect(client)?;
            backend.send(b"too late")?;
            let error = backend.recv(&mut [0; 64]).err().context("a datagram nobody has sent")?;
            ensure!(error.kind() != ErrorKind::WouldBlock, "no ICMP error came");
            Ok(error.kind())
        })();
        assert_eq!(heard.unwrap(), ErrorKind::ConnectionRefused, "{vip}");
    }
}
