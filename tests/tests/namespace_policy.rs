//! Access lists, limits and routes with real clients: who gets in, who has to wait, whose backend answers, and what the
//! command line tells about it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_user::api::types::{AccessPrefix, ExplainReply, PolicyValues, Stats};
use tests::lab::{Daemon, DaemonConfig, Network, Shape, VIP4, VIP6, privileged};

/// More addresses of the client.
const OTHER4: &str = "10.77.0.2";
const OTHER6: &str = "2001:db8:77::2";
const FIRST4: &str = "192.0.2.2";
const FIRST6: &str = "2001:db8:1::2";
/// When curl gives up (curl's manual, "exit codes").
const TIMED_OUT: i32 = 28;
const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];

/// A client with two addresses of each family, two backends, and a vip of each family on the first; the vips have these
/// lines besides.
fn start(lines: &str) -> (Network, Daemon) {
    let network = Network::new(Shape { balancers: 1, backends: 2 }).unwrap();
    network
        .client
        .ip(&format!("addr add {OTHER4}/32 dev eth0\naddr add {OTHER6}/128 dev eth0 nodad preferred_lft 0\n"))
        .unwrap();
    network
        .router
        .ip(&format!("route add {OTHER4}/32 via {FIRST4}\nroute add {OTHER6}/128 via {FIRST6}\n"))
        .unwrap();
    let names = network.backends.iter().map(|backend| backend.name.as_str()).collect::<Vec<_>>();
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config
        .vip("web", VIP4, 80, "tcp", &names[..1])
        .vip_line(lines)
        .vip("web6", VIP6, 80, "tcp", &names[..1])
        .vip_line(lines);
    fs::write(denied(&network), "# nobody\n").unwrap();
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    daemon.wait_active(&names[..1]).unwrap();
    (network, daemon)
}

/// The file that `deny_file` names, seen from the configuration's directory.
fn denied(network: &Network) -> std::path::PathBuf {
    network.lab.dir().join("denied.txt")
}

fn deny(network: &Network, daemon: &Daemon, sources: &str) {
    fs::write(denied(network), sources).unwrap();
    daemon.cli(["reload"]).unwrap();
}

/// Asks by curl from one of the client's addresses: the answer, or curl's exit code.
fn curl(network: &Network, source: &str, vip: IpAddr) -> Result<String, i32> {
    let mut curl = network.client.command("curl").unwrap();
    curl.args([
        "--silent",
        "--globoff",
        "--max-time",
        "5",
        "--connect-timeout",
        "0.8",
        "--interface",
        source,
    ]);
    let output = curl.arg(format!("http://{}/", SocketAddr::new(vip, 80))).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
    } else {
        Err(output.status.code().unwrap())
    }
}

/// A connection that stays open, on which request follows request.
struct Kept(TcpStream);

impl Kept {
    /// Connects from the client's first address.
    fn open(network: &Network) -> Result<Self> {
        network.client.inside(|| {
            let stream = TcpStream::connect_timeout(&(VIP4, 80).into(), Duration::from_secs(5))?;
            Ok(Self(stream))
        })
    }

    fn ask(&mut self, patience: Duration) -> Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")?;
        self.hear(patience)
    }

    /// The next answer's body: nginx sends an answer this small at once.
    fn hear(&mut self, patience: Duration) -> Result<String> {
        self.0.set_read_timeout(Some(patience))?;
        let mut answer = [0; 2048];
        let len = self.0.read(&mut answer)?;
        let answer = std::str::from_utf8(&answer[..len])?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no whole answer")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(body.trim_end().to_owned())
    }
}

fn explain(daemon: &Daemon, source: &str, vip: IpAddr) -> ExplainReply {
    let client = SocketAddr::new(source.parse().unwrap(), 40_000).to_string();
    let server = SocketAddr::new(vip, 80).to_string();
    let said = daemon.cli(["explain", &client, &server, "tcp", "--output", "json"]).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// What a vip's lists and routes decided, as `VERDICT PREFIX`, with the packets.
fn prefixes(daemon: &Daemon, vip: &str) -> Vec<(String, u64)> {
    let said = daemon.cli(["access", "show", "--vip", vip, "--output", "json"]).unwrap();
    let prefixes: Vec<AccessPrefix> = serde_json::from_str(&said).unwrap();
    prefixes.into_iter().map(|of| (format!("{} {}", of.verdict, of.prefix), of.hits)).collect()
}

fn counted(daemon: &Daemon, vip: &str) -> (PolicyValues, Stats) {
    let said = daemon.cli(["stats", "--output", "json"]).unwrap();
    let stats: Stats = serde_json::from_str(&said).unwrap();
    (stats.vips.iter().find(|of| of.name == vip).unwrap().policy, stats)
}

/// Packets that were stopped for a reason.
fn stopped(stats: &Stats, reason: &str) -> u64 {
    stats.reasons.iter().find(|of| of.reason == reason).map_or(0, |of| of.packets)
}

#[test]
fn a_denied_source_gets_no_answer_from_the_moment_of_the_reload() {
    if !privileged() {
        return;
    }
    let (network, daemon) = start("deny_file = \"../denied.txt\"");
    let name = network.backends[0].name.clone();
    for (source, vip) in [(FIRST4, VIPS[0]), (OTHER4, VIPS[0]), (FIRST6, VIPS[1]), (OTHER6, VIPS[1])] {
        assert_eq!(curl(&network, source, vip), Ok(name.clone()), "{source}");
    }
    deny(&network, &daemon, "10.77.0.0/16\n2001:db8:77::/48 # both families\n");
    for (vip_name, vip, prefix, first, other) in [
        ("web", VIPS[0], "10.77.0.0/16", FIRST4, OTHER4),
        ("web6", VIPS[1], "2001:db8:77::/48", FIRST6, OTHER6),
    ] {
        assert_eq!(curl(&network, other, vip), Err(TIMED_OUT), "{other}");
        assert_eq!(curl(&network, first, vip), Ok(name.clone()), "{first}");
        let told = explain(&daemon, other, vip);
        assert_eq!(told.verdict, "drop", "{told:?}");
        assert!(told.why.contains(prefix), "{told:?}");
        assert_eq!(explain(&daemon, first, vip).verdict, "forward");
        let decided = prefixes(&daemon, vip_name);
        let (_, hits) = decided.iter().find(|(rule, _)| *rule == format!("deny {prefix}")).unwrap();
        let (policy, stats) = counted(&daemon, vip_name);
        assert!(*hits >= 1 && policy.denied == *hits, "{hits} hits, {policy:?}");
        assert!(stopped(&stats, "access_denied") >= policy.denied, "{stats:?}");
    }
    let human = daemon.cli(["access", "show"]).unwrap();
    assert!(human.contains("10.77.0.0/16") && human.contains("deny"), "{human}");
}

#[test]
fn an_established_connection_is_denied_as_well_and_goes_on_when_it_may_again() {
    if !privileged() {
        return;
    }
    let (network, daemon) = start("deny_file = \"../denied.txt\"");
    let name = &network.backends[0].name;
    let mut kept = Kept::open(&network).unwrap();
    assert_eq!(kept.ask(Duration::from_secs(5)).unwrap(), *name);
    deny(&network, &daemon, FIRST4);
    kept.ask(Duration::from_secs(1)).unwrap_err();
    deny(&network, &daemon, "# nobody\n");
    // What TCP repeats gets through.
    assert_eq!(kept.hear(Duration::from_secs(20)).unwrap(), *name);
}

#[test]
fn a_source_over_its_limit_waits_while_others_and_established_connections_do_not() {
    if !privileged() {
        return;
    }
    const AT_ONCE: usize = 10;
    let (network, daemon) = start("source_new_flows_per_second = 1");
    let name = &network.backends[0].name;
    let mut kept = Kept::open(&network).unwrap();
    let (connected, asked) = std::thread::scope(|scope| {
        let burst = scope.spawn(|| connect_at_once(&network, AT_ONCE));
        let mut asked = 0;
        while !burst.is_finished() || asked == 0 {
            // The limit is far below the packets of this connection.
            assert_eq!(kept.ask(Duration::from_millis(500)).unwrap(), *name);
            asked += 1;
            // nginx closes a connection after a thousand requests.
            std::thread::sleep(Duration::from_millis(10));
        }
        (burst.join().unwrap().unwrap(), asked)
    });
    // One that the pause before has left, and one of the second that has passed meanwhile on a slow machine.
    assert!(connected <= 2, "{connected} of {AT_ONCE} connected");
    assert!(asked > AT_ONCE, "{asked} answers on the established connection");
    assert_eq!(curl(&network, OTHER4, VIPS[0]), Ok(name.clone()), "another source");
    let (policy, stats) = counted(&daemon, "web");
    assert!(policy.source_limited >= (AT_ONCE - 2) as u64, "{policy:?}");
    assert_eq!((policy.vip_limited, policy.denied), (0, 0));
    assert_eq!(stopped(&stats, "source_limit"), policy.source_limited);
    let human = daemon.cli(["stats"]).unwrap();
    assert!(human.contains("OVER SOURCE LIMIT"), "{human}");
    // The source has its next turn a second later.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(curl(&network, FIRST4, VIPS[0]), Ok(name.clone()));
}

/// Connects so many times at once, and waits less than a SYN takes to be repeated (1 s: RFC 6298, section 2). Returns how
/// many succeeded.
fn connect_at_once(network: &Network, count: usize) -> Result<usize> {
    network.client.inside(move || {
        let connect = || TcpStream::connect_timeout(&(VIP4, 80).into(), Duration::from_millis(700)).is_ok();
        // Threads begin their life in the namespace of the thread that makes them.
        let attempts: Vec<_> = (0..count).map(|_| std::thread::spawn(connect)).collect();
        Ok(attempts
            .into_iter()
            .filter_map(|attempt| attempt.join().ok())
            .filter(|connected| *connected)
            .count())
    })
}

#[test]
fn a_route_sends_its_sources_to_a_backend_of_their_own() {
    if !privileged() {
        return;
    }
    // The names of a lab's backends.
    let (network, daemon) = start(
        "[[vip.route]]\nname = \"inner\"\nsources = [\"10.0.0.0/8\", \"2001:db8:77::/48\"]\nbackends = [\"web-2\"]\n",
    );
    let names = [&network.backends[0].name, &network.backends[1].name];
    assert_eq!(names, ["web-1", "web-2"]);
    daemon.wait_active(&["web-1"]).unwrap();
    for (vip_name, vip, prefix, first, other) in [
        ("web", VIPS[0], "10.0.0.0/8", FIRST4, OTHER4),
        ("web6", VIPS[1], "2001:db8:77::/48", FIRST6, OTHER6),
    ] {
        for _ in 0..5 {
            assert_eq!(curl(&network, first, vip).as_ref(), Ok(names[0]));
            assert_eq!(curl(&network, other, vip).as_ref(), Ok(names[1]));
        }
        let told = explain(&daemon, other, vip);
        assert_eq!(
            (told.route.as_deref(), told.backend.as_deref()),
            (Some("inner"), Some("web-2")),
            "{told:?}"
        );
        let told = explain(&daemon, first, vip);
        assert_eq!((told.route.as_deref(), told.backend.as_deref()), (None, Some("web-1")), "{told:?}");
        let decided = prefixes(&daemon, vip_name);
        let (_, hits) = decided.iter().find(|(rule, _)| *rule == format!("route inner {prefix}")).unwrap();
        assert!(*hits >= 15, "SYN, ACK and request of five connections at least: {decided:?}");
    }
}

/// A million prefixes, IPv4 and IPv6, and the client's second address.
fn million(salt: u32) -> String {
    let mut text = format!("{OTHER4}\n");
    for n in 0..1_000_000u32 {
        // Odd multipliers: no two n give the same network; none is one of the lab's.
        let bits = (n * 2 + salt).wrapping_mul(0x9e37_79b1) & 0x001f_ffff;
        let line = if n % 4 == 0 {
            format!("2001:db9:{:x}:{:x}::/64\n", bits >> 16, bits & 0xffff)
        } else {
            format!("{}/30\n", std::net::Ipv4Addr::from(0xe000_0000 - (bits << 2) - 4))
        };
        text.push_str(&line);
    }
    text
}

#[test]
fn the_daemon_answers_while_a_million_prefixes_are_exchanged_and_their_hits_go_on() {
    const PATIENCE: Duration = Duration::from_secs(1);
    if !privileged() {
        return;
    }
    let (network, daemon) = start("deny_file = \"../denied.txt\"");
    let hits = || -> u64 {
        let said = daemon.cli(["access", "show", "--top", "5", "--output", "json"]).unwrap();
        let shown: Vec<AccessPrefix> = serde_json::from_str(&said).unwrap();
        let of_client = shown.iter().filter(|of| of.prefix.trim_end_matches("/32") == OTHER4);
        of_client.map(|of| of.hits).max().unwrap()
    };
    let mut before = 0;
    for salt in [0, 1] {
        fs::write(denied(&network), million(salt)).unwrap();
        let (mut slowest, mut asked) = (Duration::ZERO, 0);
        std::thread::scope(|scope| {
            let begin = Instant::now();
            let reload = scope.spawn(|| daemon.cli(["reload"]));
            while !reload.is_finished() {
                let asking = Instant::now();
                daemon.status().unwrap();
                slowest = slowest.max(asking.elapsed());
                asked += 1;
            }
            reload.join().unwrap().unwrap();
            println!(
                "reload in {:?}, {asked} times asked, the slowest answer in {slowest:?}",
                begin.elapsed()
            );
        });
        assert!(asked > 2, "a million prefixes took no time");
        assert!(slowest < PATIENCE, "an answer in {slowest:?}");
        assert_eq!(curl(&network, OTHER4, VIPS[0]), Err(TIMED_OUT));
        // Reading a million prefixes takes seconds; nobody has to wait for it.
        std::thread::scope(|scope| {
            let reading = scope.spawn(hits);
            let asking = Instant::now();
            daemon.status().unwrap();
            assert!(asking.elapsed() < PATIENCE, "an answer in {:?}", asking.elapsed());
            let after = reading.join().unwrap();
            assert!(after > before, "{after} hits after {before}");
            before = after;
        });
    }
}
