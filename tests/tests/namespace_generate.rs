//! The generator for real interfaces, as its users run it: what it sends arrives, what it counts is what was sent, and others'
//! packets pass its sink.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::{
    Daemon, DaemonConfig, Lab, Namespace, Network, Process, Shape, VIP4, privileged, run, wait_until,
};

const DESTINATION: &str = "192.0.2.1:443";
const LIMIT: Duration = Duration::from_secs(20);

/// Two interfaces of a namespace with a cable between them.
struct Loop {
    host: Namespace,
    lab: Lab,
}

impl Loop {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let host = lab.namespace("loop")?;
        host.sysctls(&[("net/ipv6/conf/default/disable_ipv6", "1")])?;
        host.ip("link add out address 02:00:00:00:00:01 type veth peer name in address 02:00:00:00:00:02\n\
             link set out up\nlink set in up\n")?;
        Ok(Self { host, lab })
    }

    /// From the one to the other.
    fn send(&self, arguments: &str) -> Result<String> {
        said(command(&self.host, &looped(arguments))?)
    }

    /// The same without waiting for the end, once it has said how the first second was. What it says goes to the file.
    fn start(&self, arguments: &str) -> Result<(Process, PathBuf)> {
        let log = self.lab.dir().join("generate.log");
        let mut process =
            Process::start("generate", &self.host, command(&self.host, &looped(arguments))?, log.clone())?;
        wait_until("the first second", LIMIT, || {
            process.check_running()?;
            ensure!(std::fs::read_to_string(&log)?.contains("   1 s  sent "), "nothing was said yet");
            Ok(())
        })?;
        Ok((process, log))
    }
}

/// To [`DESTINATION`], unless another one is given.
fn looped(arguments: &str) -> String {
    let destination = if arguments.contains("-d ") { String::new() } else { format!("-d {DESTINATION}") };
    format!("-i out -m 02:00:00:00:00:02 {destination} {arguments}")
}

fn command(host: &Namespace, arguments: &str) -> Result<Command> {
    let mut command = host.command(env!("CARGO_BIN_EXE_generate"))?;
    command.args(arguments.split_whitespace()).env("FERROLEV_BENCH_OBJECT", tests::bench::object()?);
    Ok(command)
}

fn said(mut command: Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output()?;
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.success(), "{command:?}: {status}\n{text}");
    Ok(text)
}

/// The number of packets in the line that begins with a word.
fn packets(text: &str, word: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.starts_with(word));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.with_context(|| format!("no {word} in:\n{text}"))
}

/// All that was sent has arrived, and how much that was.
fn complete(text: &str) -> Result<u64> {
    let sent = packets(text, "sent ")?;
    ensure!(sent == packets(text, "arrived")?, "{text}");
    for word in ["refused", "lost", "reordered"] {
        ensure!(packets(text, word)? == 0, "{text}");
    }
    Ok(sent)
}

fn has_program(host: &Namespace, interface: &str) -> Result<bool> {
    Ok(run(host.command("ip")?.args(["-json", "link", "show", "dev", interface]))?.contains("\"xdp\""))
}

#[test]
fn every_packet_arrives_by_live_frames_and_by_sockets() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let looped = Loop::new()?;
    for (arguments, rate) in [
        ("--mode live --sink in --rate 20k --seconds 2", Some(20_000)),
        ("--mode live --sink in --seconds 1 --kind syn --flows 100000 --zipf 1.1", None),
        ("--mode socket --sink in --rate 5k --seconds 2 --latency", Some(5000)),
        ("--mode socket --sink in --seconds 1 --protocol udp --size imix --cores 0,1", None),
        ("--mode live --sink in --rate 5k --seconds 1 --protocol udp --kind quic --latency", Some(5000)),
        ("-d [2001:db8::1]:443 --mode live --sink in --seconds 1 --kind mixed", None),
        (
            "-d [2001:db8::1]:53 --mode live --sink in --seconds 1 --protocol udp --sources 2001:db8:7::/64",
            None,
        ),
    ] {
        let text = looped.send(arguments)?;
        let sent = complete(&text).with_context(|| arguments.to_owned())?;
        if let Some(rate) = rate {
            let seconds = if arguments.contains("--seconds 2") { 2 } else { 1 };
            assert!((rate * seconds / 2..=rate * seconds * 11 / 10).contains(&sent), "{arguments}: {text}");
        }
        assert_eq!(text.contains("latency   p50 "), arguments.contains("--latency"), "{text}");
        assert!(text.contains("   1 s  sent "), "a line a second: {text}");
        assert!(!has_program(&looped.host, "in")? && !has_program(&looped.host, "out")?, "{text}");
    }
    Ok(())
}

#[test]
fn an_interface_without_live_frames_sends_by_a_socket_unless_told_otherwise() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let looped = Loop::new()?;
    // Nothing at the other end takes frames of XDP.
    let text = looped.send("--rate 1k --seconds 1")?;
    assert!(text.contains("out: driver veth takes no live frames") && text.contains("by a socket"), "{text}");
    assert!(packets(&text, "sent ")? > 400, "{text}");
    let error = looped.send("--mode live --seconds 1").unwrap_err().to_string();
    assert!(error.contains("--mode socket") && error.contains("ndo_xdp_xmit"), "{error}");
    assert!(!has_program(&looped.host, "out")?);
    Ok(())
}

#[test]
fn what_is_wrong_with_an_interface_is_said() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let looped = Loop::new()?;
    let error = |arguments: &str| {
        let error = looped.send(arguments).expect_err(arguments);
        error.to_string()
    };
    assert!(error("--sink nowhere").contains("interface nowhere does not exist"));
    looped.host.ip("link set in mtu 1000\nlink set out mtu 1000\n")?;
    assert!(error("--size 1200").contains("--size goes up to 1014"));
    looped.host.ip("link set in down\n")?;
    assert!(error("--sink in").contains("in is down; `ip link set in up`"));
    Ok(())
}

#[test]
fn ctrl_c_ends_it_says_what_was_sent_and_takes_programs_off() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let looped = Loop::new()?;
    let (mut process, log) = looped.start("--mode live --sink in --rate 10k --seconds 600")?;
    assert!(has_program(&looped.host, "in")?);
    process.signal(Signal::SIGINT)?;
    assert!(process.wait(LIMIT)?.success(), "{}", process.log_tail());
    assert!(complete(&std::fs::read_to_string(&log)?)? > 1000);
    assert!(!has_program(&looped.host, "in")?);
    Ok(())
}

#[test]
fn what_the_interface_does_not_take_is_not_sent() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for mode in ["live", "socket"] {
        let looped = Loop::new()?;
        let (mut process, log) = looped.start(&format!("--mode {mode} --sink in --seconds 3"))?;
        looped.host.ip("link set in down\n")?;
        assert!(process.wait(LIMIT)?.success(), "{}", process.log_tail());
        let text = std::fs::read_to_string(&log)?;
        let (sent, arrived) = (packets(&text, "sent ")?, packets(&text, "arrived")?);
        // Up to what a veth holds is lost with the queue.
        assert!(arrived > 0 && arrived <= sent && sent - arrived <= 256, "{mode}: {text}");
        assert_eq!(packets(&text, "refused")? > 0, mode == "live", "{text}");
    }
    Ok(())
}

#[test]
fn packets_of_others_pass_the_sink() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let lab = Lab::new()?;
    let (here, there) = (lab.namespace("here")?, lab.namespace("there")?);
    here.ip(&format!(
        "link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns {}\n\
         link set eth0 up\naddr add 192.0.2.2/24 dev eth0\n",
        there.name()
    ))?;
    there.ip("link set eth0 up\naddr add 192.0.2.1/24 dev eth0\n")?;
    let log = lab.dir().join("sink.log");
    let sink = format!("sink -i eth0 -d {DESTINATION} --protocol udp");
    let mut sink = Process::start("sink", &there, command(&there, &sink)?, log.clone())?;
    wait_until("the sink", LIMIT, || {
        sink.check_running()?;
        ensure!(std::fs::read_to_string(&log)?.contains("counting at eth0"), "it does not count yet");
        Ok(())
    })?;
    let arguments =
        format!("-i eth0 -m 02:00:00:00:00:02 -d {DESTINATION} --protocol udp --rate 2k --seconds 2");
    let log_of_sender = lab.dir().join("generate.log");
    let mut sender = Process::start("generate", &here, command(&here, &arguments)?, log_of_sender.clone())?;
    // While packets of the generator arrive: those of others, also to the same port.
    let service = there.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 443))?))?;
    service.set_read_timeout(Some(LIMIT))?;
    let client = here.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    for number in 0..100_u8 {
        client.send_to(&[number; 32], DESTINATION.parse::<SocketAddr>()?)?;
        let mut buffer = [0; 64];
        let len = service.recv(&mut buffer)?;
        assert_eq!(buffer[..len], [number; 32]);
    }
    run(here.command("ping")?.args(["-c", "3", "-i", "0.2", "-W", "2", "192.0.2.1"]))?;
    assert!(sender.wait(LIMIT)?.success(), "{}", sender.log_tail());
    sink.signal(Signal::SIGINT)?;
    assert!(sink.wait(LIMIT)?.success(), "{}", sink.log_tail());
    let (sent, counted) = (std::fs::read_to_string(log_of_sender)?, std::fs::read_to_string(log)?);
    assert_eq!(packets(&sent, "sent ")?, packets(&counted, "arrived")?, "{sent}\n{counted}");
    assert_eq!((packets(&counted, "missing")?, packets(&counted, "reordered")?), (0, 0), "{counted}");
    Ok(())
}

#[test]
fn a_sink_on_each_backend_counts_what_the_balancer_gave_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut network = Network::new(Shape { balancers: 1, backends: 2 })?;
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let names = ["web-1", "web-2"];
    let daemon = Daemon::start(
        &network.lab,
        &network.balancers[0],
        "test",
        &config.vip("web", VIP4, 80, "tcp", &names),
        &[],
    )?;
    daemon.wait_active(&names)?;
    let mut sinks = Vec::new();
    for backend in &mut network.backends {
        let log = network.lab.dir().join(format!("{}-sink.log", backend.name));
        let sink = format!("sink -i eth0 -d {VIP4}:80");
        let error = said(command(&backend.namespace, &sink)?).unwrap_err().to_string();
        assert!(error.contains("eth0: an XDP program runs there already"), "{error}");
        backend.kill_decap()?;
        let sink = Process::start(
            &backend.name,
            &backend.namespace,
            command(&backend.namespace, &sink)?,
            log.clone(),
        )?;
        sinks.push((sink, log));
    }
    for (sink, log) in &mut sinks {
        wait_until("a sink", LIMIT, || {
            sink.check_running()?;
            ensure!(std::fs::read_to_string(&log)?.contains("counting at eth0"), "it does not count yet");
            Ok(())
        })?;
    }
    let next_hop = network.router.inside(|| Ok(lb_user::net::link::mac("client")?))?;
    let next_hop = lb_user::state::MacAddress(next_hop);
    let arguments =
        format!("-i eth0 -m {next_hop} -d {VIP4}:80 --mode socket --rate 2k --seconds 2 --flows 1000");
    let sent = packets(&said(command(&network.client, &arguments)?)?, "sent ")?;
    let mut arrived = 0;
    for (sink, log) in &mut sinks {
        sink.signal(Signal::SIGINT)?;
        assert!(sink.wait(LIMIT)?.success(), "{}", sink.log_tail());
        let text = std::fs::read_to_string(log)?;
        let own = packets(&text, "arrived")?;
        assert!(own > sent / 4, "of {sent}: {text}");
        arrived += own;
        assert_eq!(packets(&text, "reordered")?, 0, "{text}");
    }
    assert_eq!(arrived, sent);
    Ok(())
}
