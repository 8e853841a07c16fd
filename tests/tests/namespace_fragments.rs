//! Datagrams larger than the clients' links, with real senders: they come in fragments, and the backend's kernel puts
//! together what reaches it. It can only do so when all of a datagram reached the same one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::loaded_maps;
use lb_user::api::types::Stats;
use tests::lab::{Daemon, DaemonConfig, Network, Service, Shape, VIP4, VIP6, privileged, run, wait_until};

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];
const PORT: u16 = 53;
const GUE_PORT: u16 = 54;
/// How long an answer is waited for that must come, and one that must not.
const PATIENCE: Duration = Duration::from_secs(10);
const A_WHILE: Duration = Duration::from_millis(500);

/// Vips of both families to all backends, by both kinds of tunnels.
fn config(network: &Network, head: &str, lines: &str) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    config.head += head;
    let (mut by4, mut by6) = (Vec::new(), Vec::new());
    for backend in &network.backends {
        let name6 = format!("{}-6", backend.name);
        config = config.backend(&backend.name, backend.address4).backend(&name6, backend.address6);
        by4.push(backend.name.clone());
        by6.push(name6);
    }
    let by4: Vec<_> = by4.iter().map(String::as_str).collect();
    let by6: Vec<_> = by6.iter().map(String::as_str).collect();
    for (name, port, mode) in [("dns", PORT, "ipip"), ("gue", GUE_PORT, "gue")] {
        let mode = format!("mode = \"{mode}\"\n{lines}");
        config = config
            .vip(&format!("{name}4"), VIP4, port, "udp", &by4)
            .vip_line(&mode)
            .vip(&format!("{name}6"), VIP6, port, "udp", &by6)
            .vip_line(&mode);
    }
    config
}

fn start(network: &Network, config: &DaemonConfig) -> Daemon {
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", config, &[]).unwrap();
    for backend in &network.backends {
        daemon.wait_active(&[&backend.name, &format!("{}-6", backend.name)]).unwrap();
    }
    daemon
}

fn echo(network: &Network) -> Vec<Service> {
    let places = VIPS.iter().flat_map(|vip| [(*vip, PORT), (*vip, GUE_PORT)]);
    places
        .flat_map(|(vip, port)| {
            network.backends.iter().map(move |backend| backend.echo_udp(vip, port).unwrap())
        })
        .collect()
}

/// A client's socket.
fn socket(network: &Network, server: SocketAddr, patience: Duration) -> UdpSocket {
    let socket = network.client.inside(move || {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        Ok(socket)
    });
    let socket = socket.unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket
}

/// Sends so many bytes, and says who has sent them back.
fn ask(socket: &UdpSocket, len: usize) -> Result<String> {
    let sent: Vec<u8> = (0..len).map(|at| (at / 8) as u8).collect();
    socket.send(&sent)?;
    let mut answer = vec![0; 65_535];
    let received = socket.recv(&mut answer).with_context(|| format!("no answer to {len} bytes"))?;
    answer.truncate(received);
    let name = answer.strip_suffix(&sent[..]).with_context(|| format!("{received} other bytes"))?;
    Ok(String::from_utf8(name.to_vec())?)
}

/// A backend's first large answer over IPv6 is too large for the client's link, which an ICMP error tells it, through the
/// balancer. Nobody sends the answer again.
fn until_answered(socket: &UdpSocket, len: usize) {
    socket.set_read_timeout(Some(A_WHILE)).unwrap();
    wait_until("a large answer", PATIENCE, || ask(socket, len).map(drop)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn counted(daemon: &Daemon, reason: &str) -> u64 {
    let said = daemon.cli(["stats", "--output", "json"]).unwrap();
    let stats: Stats = serde_json::from_str(&said).unwrap();
    stats.reasons.iter().find(|of| of.reason == reason).map(|of| of.packets).unwrap()
}

#[test]
fn large_datagrams_reach_the_backend_of_their_flow() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 3 }).unwrap();
    let daemon = start(&network, &config(&network, "", ""));
    let _services = echo(&network);
    for (vip, port) in VIPS.iter().flat_map(|vip| [(*vip, PORT), (*vip, GUE_PORT)]) {
        let mut names = Vec::new();
        for _ in 0..12 {
            let socket = socket(&network, (vip, port).into(), PATIENCE);
            let name = ask(&socket, 10).unwrap();
            until_answered(&socket, 8000);
            for len in [8000, 1600, 60_000] {
                assert_eq!(ask(&socket, len).unwrap(), name, "{len} bytes to {vip}:{port}");
            }
            names.push(name);
        }
        names.sort();
        names.dedup();
        assert!(names.len() > 1, "the flows went to {names:?} only");
    }
    for reason in ["fragment", "fragment_overlap", "fragment_early", "fragment_flood", "fragment_tiny"] {
        assert_eq!(counted(&daemon, reason), 0, "{reason}");
    }
}

#[test]
fn pings_of_all_sizes_are_answered() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 1 }).unwrap();
    let _daemon = start(&network, &config(&network, "", "ping = true"));
    for vip in VIPS {
        for bytes in ["2000", "8000", "60000"] {
            let mut ping = network.client.command("ping").unwrap();
            let ping = ping.args(["-c", "5", "-i", "0.2", "-W", "2", "-s", bytes]).arg(vip.to_string());
            let said = run(ping).unwrap();
            assert!(said.contains(" 5 received") && !said.contains("wrong data"), "{vip}: {said}");
        }
    }
}

/// A large datagram is not answered, for this reason; a small one is.
fn refused(network: &Network, daemon: &Daemon, vip: IpAddr, reason: &str) {
    let before = counted(daemon, reason);
    let socket = socket(network, (vip, PORT).into(), A_WHILE);
    ask(&socket, 10).unwrap();
    let error = ask(&socket, 8000).unwrap_err();
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    assert_eq!(kind, Some(ErrorKind::WouldBlock), "{error:#}");
    assert!(counted(daemon, reason) > before, "{vip}: no {reason}");
}

#[test]
fn what_the_file_says_about_fragments_counts() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 1 }).unwrap();
    // No other program on this machine has a table of this size.
    let entries = 12_345;
    let limits = |rate| format!("[limits]\nfragments = {entries}\nfragments_per_second = {rate}\n");
    let daemon = start(&network, &config(&network, &limits(0), ""));
    let _services = echo(&network);
    let tables = loaded_maps().flatten().filter(|map| map.name_as_str() == Some("FRAGMENTS"));
    assert!(tables.map(|map| map.max_entries()).any(|found| found == entries));
    let reload = |config: &DaemonConfig| -> Result<()> {
        daemon.write_config(&config.text())?;
        daemon.cli(["reload"])?;
        ensure!(daemon.status()?.config_error.is_none());
        Ok(())
    };
    VIPS.iter().for_each(|vip| refused(&network, &daemon, *vip, "fragment_flood"));
    reload(&config(&network, &limits(100), "")).unwrap();
    for vip in VIPS {
        until_answered(&socket(&network, (vip, PORT).into(), PATIENCE), 8000);
    }
    reload(&config(&network, &limits(100), "fragments = \"drop\"")).unwrap();
    VIPS.iter().for_each(|vip| refused(&network, &daemon, *vip, "fragment_refused"));
}
