//! Checks of every type against real servers: nginx with TLS and HTTP/2, a gRPC server, a name server, memcached, an agent. One
//! backend has all of them, the other one none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lb_user::api::types::{HealthState, HealthStatus};
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use tests::lab::{Daemon, DaemonConfig, Namespace, Network, Process, Shape, VIP4, privileged, wait_until};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

const NAMES: [&str; 2] = ["web-1", "web-2"];
const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(600);
const FALL: u32 = 3;

/// The checks by name: what they are, the vip's port, and why they fail where there is no server.
const CHECKS: [(&str, &str, u16, &str); 11] = [
    (
        "https",
        "type = \"https\"\nhost = \"www.example.org\"\nverify = true\nca = \"DIR/ca.pem\"\nbody_contains = \"SUCCESS\"",
        443,
        "connection refused",
    ),
    (
        "mutual",
        "type = \"https\"\npath = \"/me\"\nstatus = [\"200\"]\nclient_certificate = \"DIR/me.pem\"\nclient_key = \"DIR/me.key\"\nrequests = 10",
        443,
        "connection refused",
    ),
    (
        "http2",
        "type = \"https\"\nhttp_version = \"2\"\nbody_matches = 'role: \\w+'",
        443,
        "connection refused",
    ),
    ("tls", "type = \"tls\"\nserver_name = \"www.example.org\"", 443, "connection refused"),
    ("grpc", "type = \"grpc\"\nservice = \"shop.Cart\"", 50051, "connection refused"),
    ("dns", "type = \"dns\"\nquery = \"www.example.org\"\nanswer = \"192.0.2.80\"", 53, "connection refused"),
    ("dns-tcp", "type = \"dns\"\nquery = \"www.example.org\"\ntransport = \"tcp\"", 53, "connection refused"),
    (
        "memcached",
        "type = \"tcp\"\nsend = \"version\\r\\n\"\nexpect = \"VERSION\"",
        11211,
        "connection refused",
    ),
    ("agent", "type = \"agent\"", 9000, "connection refused"),
    ("file", "type = \"file\"\nfile = \"DIR/{address}\"", 1, "No such file or directory"),
    ("ping", "type = \"ping\"", 2, ""),
];

#[test]
fn every_type_of_check_tells_servers_that_serve_from_those_that_do_not_and_says_why() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 2 }).unwrap();
    let directory = network.lab.dir().to_owned();
    certificates(&directory);
    let web = &network.backends[0];
    let servers = Servers::start(&directory, &web.namespace, web.address4.into());
    let present = directory.join(web.address4.to_string());
    fs::write(&present, "").unwrap();
    let mut config = DaemonConfig::default();
    for (name, lines, _, _) in CHECKS {
        let lines = lines.replace("DIR", directory.to_str().unwrap());
        let rhythm = format!("interval = \"{INTERVAL:?}\"\ntimeout = \"{TIMEOUT:?}\"\nfall = {FALL}");
        config = config.general_line(&format!("[[check]]\nname = \"{name}\"\n{lines}\n{rhythm}"));
    }
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    for (number, (name, _, port, _)) in (0u8..).zip(CHECKS) {
        let [a, b, c, d] = VIP4.octets();
        let address = IpAddr::from([a, b, c, d + number]);
        let line = format!("check = \"{name}\"");
        config = config.vip(&format!("vip-{name}"), address, port, "tcp", &NAMES).vip_line(&line);
    }
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    for (name, _, _, why) in CHECKS {
        until(&daemon, name, "web-1", HealthState::Healthy, "");
        let other = if name == "ping" { HealthState::Healthy } else { HealthState::Unhealthy };
        until(&daemon, name, "web-2", other, why);
    }

    servers.serving.send_replace(false);
    until(&daemon, "grpc", "web-1", HealthState::Unhealthy, "the server says NOT_SERVING");

    servers.agent.send_replace("up 50%");
    until_weight(&daemon, Some(50));
    servers.agent.send_replace("drain");
    until_weight(&daemon, Some(0));
    servers.agent.send_replace("ready down # disk is full");
    until(&daemon, "agent", "web-1", HealthState::Unhealthy, "the agent says down: disk is full");

    servers.nginx.signal(Signal::SIGSTOP).unwrap();
    servers.dnsmasq.signal(Signal::SIGKILL).unwrap();
    servers.memcached.signal(Signal::SIGKILL).unwrap();
    fs::remove_file(present).unwrap();
    for name in ["https", "mutual", "http2", "tls"] {
        until(&daemon, name, "web-1", HealthState::Unhealthy, "timed out after 600ms while");
    }
    for name in ["dns", "dns-tcp", "memcached"] {
        until(&daemon, name, "web-1", HealthState::Unhealthy, "connection refused");
    }
    until(&daemon, "file", "web-1", HealthState::Unhealthy, "No such file or directory");
    servers.nginx.signal(Signal::SIGCONT).unwrap();
    for name in ["https", "mutual", "http2", "tls"] {
        until(&daemon, name, "web-1", HealthState::Healthy, "");
    }

    web.namespace.ip("route add blackhole 10.1.0.0/25\n").unwrap();
    for (name, during) in [("ping", "waiting for an answer"), ("https", "connecting")] {
        until(
            &daemon,
            name,
            "web-1",
            HealthState::Unhealthy,
            &format!("timed out after 600ms while {during}"),
        );
    }
    let prohibit = format!("route add prohibit {}/32\n", web.address4);
    network.balancers[0].ip(&prohibit).unwrap();
    until(&daemon, "https", "web-1", HealthState::Unhealthy, "rejected by a firewall");
}

fn health(daemon: &Daemon, check: &str, backend: &str) -> HealthStatus {
    let said = daemon.cli(["health", &format!("vip-{check}"), "-o", "json"]).unwrap();
    let all: Vec<HealthStatus> = serde_json::from_str(&said).unwrap();
    all.into_iter().find(|one| one.backend == backend).unwrap()
}

/// Waits until a backend is in a state, with a last result that begins or ends so; empty: that passed.
fn until(daemon: &Daemon, check: &str, backend: &str, state: HealthState, why: &str) {
    wait_until(&format!("{check} of {backend} is {state:?} ({why})"), Duration::from_secs(15), || {
        let found = health(daemon, check, backend);
        let failure = found.last.as_ref().and_then(|last| last.failure.clone()).unwrap_or_default();
        let is_it = if why.is_empty() { failure.is_empty() } else { failure.contains(why) };
        anyhow::ensure!(found.state == state && is_it, "{found:?}");
        Ok(())
    })
    .unwrap();
}

fn until_weight(daemon: &Daemon, weight: Option<u32>) {
    wait_until(&format!("the agent asks for {weight:?}"), Duration::from_secs(15), || {
        let found = health(daemon, "agent", "web-1");
        anyhow::ensure!(found.state == HealthState::Healthy && found.weight == weight, "{found:?}");
        Ok(())
    })
    .unwrap();
}

/// An authority, a server and a client.
fn certificates(directory: &Path) {
    // OpenSSL takes a certificate whose subject is its issuer for self-signed.
    let named = |host: &str| {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, host);
        params
    };
    let mut params = named("authority.example.org");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
    for (name, host) in [("server", "www.example.org"), ("me", "me.example.org")] {
        let key = KeyPair::generate().unwrap();
        let certificate = named(host).signed_by(&key, &issuer).unwrap();
        fs::write(directory.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Everything that a backend has.
struct Servers {
    nginx: Process,
    dnsmasq: Process,
    memcached: Process,
    /// Whether the gRPC server says that it serves.
    serving: watch::Sender<bool>,
    /// What the agent says.
    agent: watch::Sender<&'static str>,
    /// Serves while it is there.
    _runtime: Runtime,
}

impl Servers {
    fn start(directory: &Path, namespace: &Namespace, address: IpAddr) -> Self {
        let runtime = Runtime::new().unwrap();
        let (serving, served) = watch::channel(true);
        let (agent, says) = watch::channel("up");
        let grpc = listen(&runtime, namespace, SocketAddr::new(address, 50051));
        runtime.spawn(serve_grpc(grpc, served));
        let listener = listen(&runtime, namespace, SocketAddr::new(address, 9000));
        runtime.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let line = format!("{}\n", *says.borrow());
                let _ = stream.write_all(line.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let process = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(name);
            command.args(arguments);
            Process::start(name, namespace, command, directory.join(format!("{name}-health.log"))).unwrap()
        };
        let nginx = directory.join("nginx-tls.conf");
        fs::write(&nginx, nginx_config(directory)).unwrap();
        let (shown, own) = (directory.display().to_string(), address.to_string());
        let log = format!("{shown}/nginx-tls.log");
        Self {
            nginx: process("nginx", &["-c", nginx.to_str().unwrap(), "-e", &log, "-p", &shown]),
            dnsmasq: process(
                "dnsmasq",
                &[
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--no-resolv",
                    "--no-hosts",
                    "--user=root",
                    "--pid-file=",
                    "--bind-interfaces",
                    "--address=/www.example.org/192.0.2.80",
                    &format!("--listen-address={own}"),
                ],
            ),
            memcached: process("memcached", &["-u", "root", "-l", &own, "-p", "11211"]),
            serving,
            agent,
            _runtime: runtime,
        }
    }
}

fn nginx_config(directory: &Path) -> String {
    let dir = directory.display();
    format!(
        "daemon off;\n\
         master_process off;\n\
         user root;\n\
         pid {dir}/nginx-tls.pid;\n\
         error_log {dir}/nginx-tls.log warn;\n\
         events {{}}\n\
         http {{\n\
         \x20 access_log off;\n\
         \x20 client_body_temp_path {dir}/tls-body;\n\
         \x20 server {{\n\
         \x20   listen 443 ssl http2;\n\
         \x20   ssl_certificate {dir}/server.pem;\n\
         \x20   ssl_certificate_key {dir}/server.key;\n\
         \x20   ssl_client_certificate {dir}/ca.pem;\n\
         \x20   ssl_verify_client optional;\n\
         \x20   location / {{ return 200 \"role: SUCCESS\\n\"; }}\n\
         \x20   location /me {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} return 200 \"hello\\n\"; }}\n\
         \x20 }}\n\
         }}\n"
    )
}

fn listen(runtime: &Runtime, namespace: &Namespace, at: SocketAddr) -> TcpListener {
    let listener = namespace.inside(move || Ok(std::net::TcpListener::bind(at)?)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _inside = runtime.enter();
    TcpListener::from_std(listener).unwrap()
}

/// `grpc.health.v1.Health`, which knows `shop.Cart` only.
async fn serve_grpc(listener: TcpListener, serving: watch::Receiver<bool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let serving = serving.clone();
        tokio::spawn(async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let is_serving = *serving.borrow();
                tokio::spawn(async move {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let mut body = request.into_body();
                    let mut message = Vec::new();
                    while let Some(Ok(piece)) = body.data().await {
                        message.extend_from_slice(&piece);
                    }
                    let is_known = message == b"\0\0\0\0\x0b\x0a\x09shop.Cart";
                    let response = http::Response::builder().header("content-type", "application/grpc");
                    let mut send = respond.send_response(response.body(()).unwrap(), false).unwrap();
                    if is_known {
                        let status = if is_serving { 1 } else { 2 };
                        send.send_data(vec![0, 0, 0, 0, 2, 8, status].into(), false).unwrap();
                    }
                    let status = http::HeaderValue::from_static(if is_known { "0" } else { "5" });
                    let trailers = [(http::HeaderName::from_static("grpc-status"), status)];
                    send.send_trailers(trailers.into_iter().collect()).unwrap();
                });
            }
        });
    }
}
