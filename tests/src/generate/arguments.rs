//! The command line, and what it comes to. Decides all that can be decided without looking at an interface.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lb_common::abi::{OFFER_FLOWS, STREAMS};
use lb_user::decap::options::IpPrefix;
use lb_user::state::MacAddress;

use super::values;
use crate::bench::generator::{Family, Offered, Size, Source, Spread, Traffic};

/// Sends numbered packets of many flows out of an interface, to a vip behind the next hop, and counts what arrives.
///
/// Example, to a balancer whose MAC address is 02:00:00:00:00:01, on one core at a million packets a second:
///
///     cargo xtask generate -i eth1 -m 02:00:00:00:00:01 -d 192.0.2.1:443 --rate 1M
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask generate",
    bin_name = "cargo xtask generate",
    verbatim_doc_comment,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    sending: Option<SendArguments>,
    // Not in the one above: clap finds no optional group that holds another.
    #[command(flatten)]
    packets: Option<PacketArguments>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Count what arrives here from a generator on another host; all other packets pass. Start it before the generator; it
    /// ends when nothing has come for ten seconds
    Sink(SinkArguments),
}

/// What generator and sink must agree about.
#[derive(Debug, Args)]
struct PacketArguments {
    /// The vip, such as 192.0.2.1:443 or [2001:db8::1]:443
    #[arg(short, long, visible_alias = "dst-addr", value_name = "ADDRESS:PORT")]
    destination: SocketAddr,
    /// What the vip balances
    #[arg(long, value_enum, default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    /// Packets of TCP (syn, ack, or mixed: one SYN in eight) or of UDP (udp, or quic: short headers) [default: ack or udp]
    #[arg(short, long, value_enum)]
    kind: Option<Kind>,
    /// Where packets come from, an address for each flow [default: 198.18.0.0/15 or 2001:2::/48, which are for benchmarks]
    #[arg(short = 'A', long, visible_alias = "src-addr", value_name = "PREFIX")]
    sources: Option<IpPrefix>,
}

#[derive(Debug, Args)]
struct SendArguments {
    /// Where packets leave
    #[arg(short, long)]
    interface: String,
    /// The balancer's, or the router's on the way there
    #[arg(short = 'm', long, visible_alias = "dst-mac", value_name = "MAC", value_parser = values::mac)]
    next_hop_mac: MacAddress,
    /// Of the frames [default: the interface's]
    #[arg(short = 'M', long, value_name = "MAC", value_parser = values::mac)]
    src_mac: Option<MacAddress>,
    /// Up to as many as there are sources
    #[arg(short, long, default_value_t = 1 << 16)]
    flows: u32,
    /// The flow of rank n gets a share of n to the power of minus this, instead of all the same
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// Bytes of a frame without its checksum, 60 to 1514, or imix (7 : 4 : 1 of 60, 572 and 1496) [default: the least]
    #[arg(short, long, visible_alias = "pkt-size", value_name = "BYTES", value_parser = values::size)]
    size: Option<Size>,
    /// Packets a second of all cores together, such as 500k or 1.5M [default: as many as they make]
    #[arg(short, long, value_name = "PPS", value_parser = values::rate)]
    rate: Option<f64>,
    /// Cores that make packets, such as 0,1 [default: the first that this process may use]
    #[arg(short, long, value_delimiter = ',')]
    cores: Vec<usize>,
    /// Up to 600
    #[arg(short = 't', long, default_value_t = 10)]
    seconds: u64,
    /// What makes packets
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Count what arrives at this interface of this host, which may be the same; all other packets pass
    #[arg(long, value_name = "INTERFACE")]
    sink: Option<String>,
    /// Tell how long packets take to the sink; frames of TCP are eight bytes longer then
    #[arg(long, requires = "sink")]
    latency: bool,
    /// Of QUIC packets, 13 bytes in hexadecimal, such as one that names a server
    #[arg(long, value_name = "HEX", value_parser = values::connection_id)]
    connection_id: Option<[u8; 13]>,
}

#[derive(Debug, Args)]
struct SinkArguments {
    /// Where packets arrive, in the balancer's tunnel or without
    #[arg(short, long)]
    interface: String,
    #[command(flatten)]
    packets: PacketArguments,
    /// Up to 600, from the start to the end at the latest
    #[arg(short = 't', long, default_value_t = 600)]
    seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Syn,
    Ack,
    Mixed,
    Udp,
    Quic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Live frames, or a socket where the interface takes none
    Auto,
    /// Live frames of XDP, made in the kernel
    Live,
    /// A socket (AF_PACKET): slower, on every interface
    Socket,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    Send(Sending),
    Collect(Collecting),
}

/// To make packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    pub interface: String,
    /// Without the source MAC address, unless one was given.
    pub offered: Offered,
    pub source_mac: Option<MacAddress>,
    pub cores: Vec<usize>,
    pub lasting: Duration,
    pub source: Option<Source>,
    pub sink: Option<String>,
}

/// To count those of another host.
#[derive(Clone, Debug, PartialEq)]
pub struct Collecting {
    pub interface: String,
    pub offered: Offered,
    pub lasting: Duration,
}

impl Arguments {
    /// # Errors
    /// When arguments contradict each other, or are out of range.
    pub fn plan(self) -> Result<Plan> {
        match (self.task, self.sending, self.packets) {
            (Some(Task::Sink(sink)), ..) => sink.plan().map(Plan::Collect),
            (None, Some(send), Some(packets)) => send.plan(&packets).map(Plan::Send),
            (None, ..) => bail!("--interface, --next-hop-mac and --destination are needed; see --help"),
        }
    }
}

impl SendArguments {
    fn plan(self, packets: &PacketArguments) -> Result<Sending> {
        let (offered, most) = packets.offered()?;
        ensure!(
            (1..=most).contains(&self.flows),
            "--flows {}: {} holds 1 to {most}, since each has an address of its own; choose wider --sources",
            self.flows,
            packets.sources()
        );
        let mac = self.next_hop_mac;
        ensure!(
            mac.0[0] & 1 == 0 && mac.0 != [0; 6],
            "--next-hop-mac {mac} is no host's; `ip neighbour` shows the balancer's"
        );
        ensure!(
            self.connection_id.is_none() || offered.traffic == Traffic::Quic,
            "--connection-id: only --protocol udp --kind quic has one"
        );
        if let Some(exponent) = self.zipf {
            ensure!((0.0..=10.0).contains(&exponent), "--zipf {exponent}: 0 to 10");
        }
        let source_mac = self.src_mac;
        let offered = Offered {
            macs: [source_mac.map_or([0; 6], |mac| mac.0), mac.0],
            flows: self.flows,
            spread: self.zipf.map_or(Spread::Uniform, Spread::Zipf),
            size: self.size.unwrap_or(Size::Least),
            rate: self.rate,
            timed: self.latency,
            connection_id: self.connection_id.unwrap_or(offered.connection_id),
            ..offered
        };
        let cores = cores(self.cores)?;
        // Says what is wrong with sizes.
        offered.offer(cores.len())?;
        let source = match self.mode {
            Mode::Auto => None,
            Mode::Live => Some(Source::Live),
            Mode::Socket => Some(Source::Socket),
        };
        let lasting = lasting(self.seconds)?;
        Ok(Sending {
            interface: self.interface,
            offered,
            source_mac,
            cores,
            lasting,
            source,
            sink: self.sink,
        })
    }
}

impl SinkArguments {
    fn plan(self) -> Result<Collecting> {
        let (offered, most) = self.packets.offered()?;
        // The generator's are among them, however many it makes.
        let offered = Offered { flows: most, ..offered };
        Ok(Collecting { interface: self.interface, offered, lasting: lasting(self.seconds)? })
    }
}

impl PacketArguments {
    /// What is offered, and how many flows at most.
    fn offered(&self) -> Result<(Offered, u32)> {
        let family = if self.destination.is_ipv4() { Family::V4 } else { Family::V6 };
        let (vip, port) = (self.destination.ip(), self.destination.port());
        ensure!(
            !(vip.is_unspecified() || vip.is_multicast() || vip == Ipv4Addr::BROADCAST),
            "--destination {vip} is no vip's address"
        );
        ensure!(port != 0, "--destination {}: no vip has port 0", self.destination);
        let sources = self.sources();
        ensure!(
            sources.address.is_ipv4() == vip.is_ipv4(),
            "--sources {sources} and --destination {vip} are of different families"
        );
        let most = match sources.address {
            IpAddr::V4(_) => (1_u64 << (32 - sources.prefix_len)).min(OFFER_FLOWS.into()) as u32,
            IpAddr::V6(_) => {
                // Flows are told apart by the last four bytes.
                ensure!(sources.prefix_len <= 96, "--sources {sources}: at most /96 has room for flows");
                OFFER_FLOWS
            }
        };
        let traffic = self.traffic()?;
        Ok((Offered { vip, port, sources: sources.address, ..Offered::new(family, traffic) }, most))
    }

    fn traffic(&self) -> Result<Traffic> {
        let traffic = match (self.protocol, self.kind) {
            (Protocol::Tcp, None | Some(Kind::Ack)) => Traffic::Ack,
            (Protocol::Tcp, Some(Kind::Syn)) => Traffic::Syn,
            (Protocol::Tcp, Some(Kind::Mixed)) => Traffic::Mixed,
            (Protocol::Udp, None | Some(Kind::Udp)) => Traffic::Udp,
            (Protocol::Udp, Some(Kind::Quic)) => Traffic::Quic,
            (Protocol::Tcp, Some(Kind::Udp | Kind::Quic)) => {
                bail!("--kind udp and quic are packets of --protocol udp")
            }
            (Protocol::Udp, Some(Kind::Syn | Kind::Ack | Kind::Mixed)) => {
                bail!("--kind syn, ack and mixed are packets of --protocol tcp")
            }
        };
        Ok(traffic)
    }

    fn sources(&self) -> IpPrefix {
        /// RFC 2544, appendix C.2.2, and RFC 5180, section 8.
        const BENCHMARKS4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
        const BENCHMARKS6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0);
        let benchmarks = if self.destination.is_ipv4() {
            IpPrefix { address: BENCHMARKS4.into(), prefix_len: 15 }
        } else {
            IpPrefix { address: BENCHMARKS6.into(), prefix_len: 48 }
        };
        self.sources.unwrap_or(benchmarks)
    }
}

/// Those that were named, or one.
fn cores(named: Vec<usize>) -> Result<Vec<usize>> {
    let own = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
    let usable = |core: &usize| own.is_set(*core).unwrap_or(false);
    let list = || {
        let all: Vec<_> =
            (0..nix::sched::CpuSet::count()).filter(usable).map(|core| core.to_string()).collect();
        all.join(",")
    };
    if named.is_empty() {
        return Ok((0..STREAMS as usize).filter(usable).take(1).collect());
    }
    let mut seen = BTreeSet::new();
    for core in &named {
        ensure!(usable(core), "--cores {core}: this process may use {}", list());
        ensure!(
            *core < STREAMS as usize,
            "--cores {core}: packets are numbered on cores 0 to {}",
            STREAMS - 1
        );
        ensure!(seen.insert(*core), "--cores names {core} twice");
    }
    Ok(named)
}

fn lasting(seconds: u64) -> Result<Duration> {
    ensure!((1..=600).contains(&seconds), "--seconds {seconds}: 1 to 600");
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
#[path = "arguments_tests.rs"]
mod tests;
