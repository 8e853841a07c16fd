//! Packet sizes with real senders: what does not fit the way to a backend, and frames larger than a page.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use lb_user::api::types::Stats;
use tests::lab::{
    Daemon, DaemonConfig, Family, FileServer, Network, Shape, Transfer, VIP4, VIP6, forget_mtus, path_mtu,
    privileged, raw_socket, transfer, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(20);
const IP_IN_IP: u8 = 4;

/// One balancer, one backend, and vips of both families on TCP port 9000 and all UDP ports.
fn start(network: &Network) -> Daemon {
    let backend = &network.backends[0];
    let config = DaemonConfig::default()
        .backend("web", backend.address4)
        .backend("web6", backend.address6)
        .vip("4in4", VIP4, 9000, "tcp", &["web"])
        .vip("6in6", VIP6, 9000, "tcp", &["web6"])
        .vip("4in6", VIP4, 9001, "tcp", &["web6"])
        .vip("gue4", VIP4, 9002, "tcp", &["web"])
        .vip_line("mode = \"gue\"")
        .vip("gue6", VIP6, 9002, "tcp", &["web6"])
        .vip_line("mode = \"gue\"")
        .vip("udp", VIP4, 0, "udp", &["web"])
        .vip("udp6", VIP6, 0, "udp", &["web"]);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&["web", "web6"]).unwrap();
    daemon
}

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 1 }).unwrap()
}

fn upload(network: &Network, server: SocketAddr) {
    let backend = &network.backends[0];
    let _server = FileServer::start(&backend.namespace, server, &backend.name).unwrap();
    transfer(&network.client, server, Transfer::Upload).unwrap_or_else(|error| panic!("{error:#}"));
}

fn answered(daemon: &Daemon, reason: &str) -> u64 {
    let said = daemon.cli(["stats", "--output", "json"]).unwrap();
    let stats: Stats = serde_json::from_str(&said).unwrap();
    stats.reasons.iter().find(|of| of.reason == reason).map(|of| of.packets).unwrap()
}

#[test]
fn senders_learn_what_fits_and_large_uploads_get_through() {
    if !privileged() {
        return;
    }
    let network = network();
    network.set_mtu(1500, 1500).unwrap();
    let daemon = start(&network);
    let warnings = daemon.status().unwrap().warnings;
    assert!(
        warnings.iter().any(|text| text.contains("vip 4in4:") && text.contains("only 1480")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|text| text.contains("vip 6in6:") && text.contains("only 1460")),
        "{warnings:?}"
    );

    for (vip, port) in [(IpAddr::from(VIP4), 9000), (VIP4.into(), 9001), (VIP6.into(), 9000)] {
        let before = answered(&daemon, "too_big_reply");
        upload(&network, (vip, port).into());
        if port == 9000 {
            assert!(answered(&daemon, "too_big_reply") > before, "{vip}");
        }
        // What the client has learned is about the vip's address, whatever the port.
        forget_mtus(&network.client).unwrap();
    }
    assert_eq!(path_mtu(&network.client, VIP4.into()).unwrap(), 1480);
    assert_eq!(path_mtu(&network.client, VIP6.into()).unwrap(), 1480);

    // The route's MTU counts, and a change of it at once.
    network.balancers[0].ip("route change 10.1.0.0/24 dev eth0 mtu lock 1400\n").unwrap();
    wait_until("the new MTU", PATIENCE, || {
        forget_mtus(&network.client)?;
        match path_mtu(&network.client, VIP4.into())? {
            1380 => Ok(()),
            other => anyhow::bail!("tracepath says {other}"),
        }
    })
    .unwrap();
}

#[test]
fn what_may_be_fragmented_reaches_the_backend_in_fragments_of_the_outer_packet() {
    if !privileged() {
        return;
    }
    let network = network();
    network.set_mtu(1500, 1500).unwrap();
    let daemon = start(&network);
    let warned = || daemon.status().unwrap().warnings.iter().any(|text| text.contains("eth0.accept_local=1"));
    assert!(warned(), "the kernel would drop them");
    network.balancers[0]
        .sysctls(&[("net/ipv4/conf/eth0/forwarding", "1"), ("net/ipv4/conf/eth0/accept_local", "1")])
        .unwrap();
    assert!(!warned());

    // This kernel has no tunnel device: a raw socket gets what the backend's kernel has put together.
    let tunnel = raw_socket(&network.backends[0].namespace, Family::V4, IP_IN_IP).unwrap();
    tunnel.set_read_timeout(Some(PATIENCE)).unwrap();
    let payload: Vec<u8> = (0..1472u32).map(|at| at as u8).collect();
    let sent = payload.clone();
    network
        .client
        .inside(move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            forbid_discovery(&socket)?;
            socket.send_to(&sent, (VIP4, 5000))?;
            Ok(())
        })
        .unwrap();
    let mut packet = [0; 4096];
    let len = tunnel.recv(&mut packet).unwrap();
    assert_eq!(len, 20 + 1500, "outer header and the client's packet");
    assert_eq!(packet[9], 4);
    assert_eq!(packet[12..16], Ipv4Addr::new(10, 1, 0, 101).octets());
    let inner = &packet[20..len];
    assert_eq!(inner[16..20], VIP4.octets());
    assert_eq!(inner[8], 62, "the router and the balancer have spent a hop each");
    assert_eq!(inner[28..], payload);
    assert_eq!(answered(&daemon, "oversize"), 1);
}

/// `IP_PMTUDISC_DONT`: packets go out without "don't fragment".
fn forbid_discovery(socket: &UdpSocket) -> std::io::Result<()> {
    let value: libc::c_int = libc::IP_PMTUDISC_DONT;
    // SAFETY: the value outlives the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Uploads in jumbo frames to all vips. Nothing may be cut, dropped or answered, and the packets must have been large.
fn jumbo_uploads(network: &Network) {
    let daemon = start(network);
    assert_eq!(daemon.status().unwrap().warnings, [""; 0]);
    for (vip, port) in [
        (IpAddr::from(VIP4), 9000),
        (VIP4.into(), 9001),
        (VIP4.into(), 9002),
        (VIP6.into(), 9000),
        (VIP6.into(), 9002),
    ] {
        upload(network, (vip, port).into());
    }
    for reason in ["too_big", "too_big_reply", "truncated", "no_headroom"] {
        assert_eq!(answered(&daemon, reason), 0, "{reason}");
    }
    let status = daemon.status().unwrap();
    for vip in status.vips.iter().filter(|vip| vip.port >= 9000) {
        let mean = vip.counters.bytes / vip.counters.packets;
        assert!(mean > 4096, "{}: packets of {mean} bytes on average are no jumbo frames", vip.name);
    }
}

#[test]
fn jumbo_frames_go_through_balancer_and_decapsulation() {
    if !privileged() {
        return;
    }
    let network = network();
    network.set_mtu(9100, 9000).unwrap();
    jumbo_uploads(&network);
}

#[test]
fn jumbo_frames_leave_by_the_second_interface() {
    if !privileged() {
        return;
    }
    let network = Network::two_armed(Shape { balancers: 1, backends: 1 }).unwrap();
    network.set_mtu(9100, 9000).unwrap();
    jumbo_uploads(&network);
}
