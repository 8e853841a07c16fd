//! Open connections of real clients while backends and the balancer change.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lb_user::api::types::{BackendState, DestStatus};
use tests::lab::{
    Connections, Daemon, DaemonConfig, FileServer, Load, Network, Shape, Transfer, VIP4, VIP6, privileged,
    transfer, wait_until, wrk,
};

const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const CONNECTIONS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(30);
/// Of one client, in each direction.
const MOST_TRANSFERS: u32 = 2000;

fn network() -> Network {
    Network::new(Shape { balancers: 1, backends: 3 }).unwrap()
}

fn config(network: &Network) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    config.vip("web", VIP4, 80, "tcp", &NAMES).vip("web6", VIP6, 80, "tcp", &NAMES)
}

fn start(network: &Network, config: &DaemonConfig) -> Daemon {
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", config, &[]).unwrap();
    daemon.wait_active(&NAMES).unwrap();
    daemon
}

/// Open connections to both vips.
fn connect(network: &Network) -> [Connections; 2] {
    [IpAddr::from(VIP4), IpAddr::from(VIP6)].map(|vip| {
        let server = SocketAddr::from((vip, 80));
        let open = Connections::open(&network.client, server, CONNECTIONS).unwrap();
        assert!(NAMES.iter().all(|name| open.to(name) > 0), "{vip}: too few connections for three backends");
        open
    })
}

fn ask(open: &mut [Connections; 2]) {
    open.iter_mut().for_each(|open| open.ask().unwrap());
}

fn dest(daemon: &Daemon, vip: &str, name: &str) -> DestStatus {
    let status = daemon.status().unwrap();
    let vip = status.vips.into_iter().find(|of| of.name == vip).unwrap();
    vip.backends.into_iter().find(|of| of.name == name).unwrap()
}

#[test]
fn no_connection_is_lost_while_backends_are_drained_weighed_added_and_removed() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, &config(&network));
    let mut open = connect(&network);
    let load = Load::start(&network.client, &[(VIP4, 80).into(), (VIP6, 80).into()], 2).unwrap();
    let address = network.backends[2].address4.to_string();
    let changes: [&[&str]; 7] = [
        &["backend", "drain", "web-2"],
        &["backend", "weight", "web-1", "300"],
        &["backend", "undrain", "web-2"],
        &["backend", "weight", "web-1", "10"],
        &["backend", "remove", "web-3"],
        &["backend", "add", "web-3", "--vip", "web", "--address", &address],
        &["backend", "weight", "web-2", "1"],
    ];
    for change in changes {
        daemon.cli(change.iter().copied()).unwrap();
        ask(&mut open);
    }
    let report = load.stop().unwrap();
    assert!(report.failures().is_empty(), "{:?}", report.failures());
}

#[test]
fn without_tracking_the_same_drain_breaks_connections() {
    if !privileged() {
        return;
    }
    let network = network();
    let config = config(&network).vip_line("tracking = \"none\"");
    let daemon = start(&network, &config);
    let [mut tracked, mut untracked] = connect(&network);
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    tracked.ask().unwrap();
    // The last vip is the one without; if nothing broke there, these tests could not see a failure.
    assert!(untracked.ask().is_err(), "connections to a drained backend go on without tracking");
}

#[test]
fn downloads_uploads_and_wrk_go_on_while_the_backends_change() {
    if !privileged() {
        return;
    }
    let network = network();
    let config = config(&network).vip("files", VIP4, 9000, "tcp", &NAMES);
    let daemon = start(&network, &config);
    let server = SocketAddr::from((VIP4, 9000));
    let _servers: Vec<_> = network
        .backends
        .iter()
        .map(|backend| FileServer::start(&backend.namespace, server, &backend.name).unwrap())
        .collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let transfers = [Transfer::Download, Transfer::Upload].map(|of| {
            let (client, is_over) = (&network.client, &is_over);
            scope.spawn(move || {
                // Bounded: whoever sets the flag may have failed.
                (1..=MOST_TRANSFERS).find(|_| {
                    transfer(client, server, of).unwrap();
                    is_over.load(Ordering::Relaxed)
                })
            })
        });
        let load = scope.spawn(|| wrk(&network.client, (VIP4, 80).into(), 8, 8).unwrap());
        for _ in 0..3 {
            for change in ["drain", "undrain"] {
                for name in ["web-1", "web-2"] {
                    daemon.cli(["backend", change, name]).unwrap();
                    thread::sleep(Duration::from_millis(300));
                }
            }
            daemon.cli(["backend", "weight", "web-3", "500"]).unwrap();
            thread::sleep(Duration::from_millis(300));
            daemon.cli(["backend", "weight", "web-3", "100"]).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let whole = transfers.map(|transfer| transfer.join().unwrap());
        assert!(whole.iter().all(Option::is_some), "the transfers were over before the changes");
        let load = load.join().unwrap();
        assert!(load.requests > 0 && load.errors == 0, "{load:?}");
    });
}

#[test]
fn datagrams_of_a_client_stay_with_their_backend() {
    if !privileged() {
        return;
    }
    let network = network();
    let config =
        config(&network).general_line("[flows]\nudp_learning = \"1s\"").vip("dns", VIP4, 53, "udp", &NAMES);
    let daemon = start(&network, &config);
    let _services: Vec<_> =
        network.backends.iter().map(|backend| backend.serve_udp(VIP4.into(), 53).unwrap()).collect();
    let mut before = Clients::open(&network);
    assert!(before.0.iter().any(|(_, name)| name == "web-2"), "no client of web-2");
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    before.ask();
    thread::sleep(Duration::from_millis(1500));
    before.ask();
    let after = Clients::open(&network);
    assert!(after.0.iter().all(|(_, name)| name != "web-2"), "a drained backend got a new client");
}

/// UDP clients, each with a port of its own and the backend that answered first.
struct Clients(Vec<(UdpSocket, String)>);

impl Clients {
    fn open(network: &Network) -> Self {
        let open = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect((VIP4, 53))?;
            Ok(socket)
        };
        let sockets: Vec<UdpSocket> =
            network.client.inside(move || (0..CONNECTIONS).map(|_| open()).collect()).unwrap();
        Self(
            sockets
                .into_iter()
                .map(|socket| (answer(&socket), socket))
                .map(|(name, socket)| (socket, name))
                .collect(),
        )
    }

    fn ask(&mut self) {
        for (socket, name) in &self.0 {
            assert_eq!(answer(socket), *name);
        }
    }
}

fn answer(socket: &UdpSocket) -> String {
    socket.send(b"who are you?").unwrap();
    let mut answer = [0; 2048];
    let len = socket.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[test]
fn a_thousand_changes_lose_no_connection_and_no_room_for_rings() {
    if !privileged() {
        return;
    }
    let network = network();
    let daemon = start(&network, &config(&network).vip_line("ring_size = 4093"));
    let mut open = connect(&network);
    let load = Load::start(&network.client, &[(VIP4, 80).into()], 1).unwrap();
    for change in 0..250 {
        for name in ["web-1", "web-2"] {
            daemon.cli(["backend", "drain", name]).unwrap();
            daemon.cli(["backend", "undrain", name]).unwrap();
        }
        if change % 50 == 0 {
            ask(&mut open);
        }
    }
    ask(&mut open);
    let report = load.stop().unwrap();
    assert!(report.failures().is_empty(), "{:?}", report.failures());
    assert_eq!(daemon.status().unwrap().dataplane_error, None);
}

#[test]
fn no_connection_is_lost_when_the_daemon_dies_and_starts_in_the_middle_of_a_drain() {
    if !privileged() {
        return;
    }
    let network = network();
    let mut daemon = start(&network, &config(&network));
    let mut open = connect(&network);
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    let mut begun_meanwhile = connect_to_two(&network);
    for _ in 0..3 {
        daemon.kill().unwrap();
        ask(&mut open);
        daemon.restart().unwrap();
        daemon.wait_active(&["web-1", "web-3"]).unwrap();
        ask(&mut open);
        ask(&mut begun_meanwhile);
    }
    assert_eq!(dest(&daemon, "web", "web-2").state, BackendState::Draining);
    daemon.cli(["backend", "undrain", "web-2"]).unwrap();
    ask(&mut open);
    ask(&mut begun_meanwhile);
}

/// Connections while one of the three is drained.
fn connect_to_two(network: &Network) -> [Connections; 2] {
    [IpAddr::from(VIP4), IpAddr::from(VIP6)].map(|vip| {
        let open = Connections::open(&network.client, (vip, 80).into(), CONNECTIONS).unwrap();
        assert_eq!(open.to("web-2"), 0, "{vip}: a drained backend got a new connection");
        open
    })
}

#[test]
fn a_drain_is_over_when_the_last_connection_is() {
    if !privileged() {
        return;
    }
    let network = network();
    let config = config(&network).general_line("[flows]\nquiet = \"1s\"\nclosing = \"1s\"");
    let daemon = start(&network, &config);
    let mut open = connect(&network);
    daemon.cli(["backend", "drain", "web-2"]).unwrap();
    ask(&mut open);
    wait_until("all flows are seen", PATIENCE, || {
        let flows = dest(&daemon, "web", "web-2").flows;
        anyhow::ensure!(flows == open[0].to("web-2") as u64, "{flows} of {}", open[0].to("web-2"));
        Ok(())
    })
    .unwrap();
    assert_eq!(dest(&daemon, "web", "web-2").state, BackendState::Draining);
    open.iter_mut().for_each(|open| open.close("web-2"));
    wait_until("the drain is over", PATIENCE, || {
        let found = dest(&daemon, "web", "web-2");
        anyhow::ensure!(found.state == BackendState::Drained, "{:?}, {} flows", found.state, found.flows);
        Ok(())
    })
    .unwrap();
    ask(&mut open);
}
