//! A real QUIC client that changes its port, and real servers that put their id into the connection ids they choose.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    ClientConfig, Connection, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout,
    ServerConfig, TokioRuntime, TransportConfig,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tests::lab::{Daemon, DaemonConfig, Network, Shape, VIP4, privileged};

const NAME: &str = "quic.example";
const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const PORT: u16 = 443;
/// How often the client moves. By hash alone, all of these would go to the first server once in 3^10 runs.
const MOVES: u32 = 10;
/// A connection whose packets go astray ends after this time.
const IDLE: Duration = Duration::from_secs(3);

/// Connection ids with a server's id: configuration 0, server id, nonce.
struct Ids {
    server_id: [u8; 4],
    next: u32,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next += 1;
        let [a, b, c, d] = self.server_id;
        let [e, f, g, h] = self.next.wrapping_mul(0x9e37_79b9).to_be_bytes();
        ConnectionId::new(&[h & 0x1f, a, b, c, d, e, f, g, h])
    }

    fn cid_len(&self) -> usize {
        9
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn server_id(number: usize) -> [u8; 4] {
    [0xc0, 0xff, 0xee, number as u8]
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IdleTimeout::try_from(IDLE).unwrap()));
    Arc::new(transport)
}

/// A server that answers every stream with its name.
async fn serve(endpoint: Endpoint, name: &'static str) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                let _question = receive.read_to_end(64).await;
                let _ = send.write_all(name.as_bytes()).await;
                let _ = send.finish();
            }
        });
    }
}

async fn ask(connection: &Connection) -> Result<String, Box<dyn std::error::Error>> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(b"who are you?").await?;
    send.finish()?;
    Ok(String::from_utf8(receive.read_to_end(64).await?)?)
}

/// A client's socket with a new port.
fn client_socket(network: &Network) -> UdpSocket {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    network.client.inside(move || Ok(UdpSocket::bind(any)?)).unwrap()
}

/// Starts servers behind a vip with `vip_line`, connects, and moves. Returns who answered after each move, up to the first
/// failure, and then how often the client had moved.
fn migrate(vip_line: &str) -> (Vec<String>, u32) {
    let network = Network::new(Shape { balancers: 1, backends: 3 }).unwrap();
    let mut config = DaemonConfig::default();
    for (number, backend) in (1..).zip(&network.backends) {
        let id: String = server_id(number).iter().map(|byte| format!("{byte:02x}")).collect();
        config =
            config.backend(&backend.name, backend.address4).backend_line(&format!("server_id = \"{id}\""));
    }
    let config = config.vip("quic", VIP4, PORT, "udp", &NAMES).vip_line(vip_line);
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&NAMES).unwrap();

    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = || KeyPair::serialize_der(&signing_key).try_into().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let vip = IpAddr::from(VIP4);
    for (number, (backend, name)) in (1..).zip(network.backends.iter().zip(NAMES)) {
        let socket = backend.namespace.inside(move || Ok(UdpSocket::bind((vip, PORT))?)).unwrap();
        let mut ends = EndpointConfig::default();
        ends.cid_generator(move || Box::new(Ids { server_id: server_id(number), next: 0 }));
        let mut server = ServerConfig::with_single_cert(vec![cert.der().clone()], key()).unwrap();
        server.transport_config(transport());
        let endpoint = Endpoint::new(ends, Some(server), socket, Arc::new(TokioRuntime)).unwrap();
        runtime.spawn(serve(endpoint, name));
    }

    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    client.transport_config(transport());
    let socket = client_socket(&network);
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime)).unwrap();
    runtime.block_on(async {
        let connecting = endpoint.connect_with(client, (vip, PORT).into(), NAME).unwrap();
        let connection = connecting.await.unwrap();
        let mut answers = vec![ask(&connection).await.unwrap()];
        for moves in 1..=MOVES {
            endpoint.rebind(client_socket(&network)).unwrap();
            match ask(&connection).await {
                Ok(answer) => answers.push(answer),
                Err(_) => return (answers, moves),
            }
        }
        (answers, MOVES)
    })
}

#[test]
fn a_client_that_changes_its_port_stays_with_its_server() {
    if !privileged() {
        return;
    }
    let (answers, _) = migrate("quic_server_id_length = 4");
    assert_eq!(answers.len(), MOVES as usize + 1, "the connection broke: {answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn without_quic_routing_the_same_client_loses_its_connection() {
    if !privileged() {
        return;
    }
    let (answers, moves) = migrate("");
    assert!(answers.len() <= moves as usize, "{answers:?} after {moves} moves");
}
