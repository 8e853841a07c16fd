//! What the balancer is held against under the same packets: bounds by the benchmark's own programs, and what the kernel can do.

use std::fmt::Write;
use std::net::IpAddr;
use std::process::Command;

use anyhow::Result;

use super::balancer::{BACKENDS, Balancer};
use super::generator::{Bed, Builtin, Counts, Extent, Family, Lane, Offered, Traffic, VIP4, VIP6};
use super::generator::{backend4, backend6};
use super::report::Sink;
use crate::lab::run;

/// Who is at the far end of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Bound: packets are counted there, and dropped. Nothing comes back.
    Drop,
    /// Bound: packets come back as they are.
    Reflect,
    /// Bound: a fixed outer header in front, for IPv4 TCP.
    Bare,
    Ferrolev,
    /// The kernel's IP forwarding, to one next hop.
    Forward,
    /// Destination NAT by nftables to one of as many backends, by a hash of source address and port.
    Dnat,
}

impl Who {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "bound: counted and dropped",
            Self::Reflect => "bound: XDP_TX and nothing else",
            Self::Bare => "bound: bare encapsulation, XDP_TX",
            Self::Ferrolev => "Ferrolev",
            Self::Forward => "kernel ip_forward",
            Self::Dnat => "nftables jhash DNAT",
        }
    }

    const fn lane(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reflect => "reflect",
            Self::Bare => "bare",
            Self::Ferrolev => "ferrolev",
            Self::Forward => "forward",
            Self::Dnat => "dnat",
        }
    }

    /// Whether it may lose packets without being broken.
    const fn may_lose(self) -> bool {
        matches!(self, Self::Forward | Self::Dnat)
    }
}

/// One of them in its lane.
#[derive(Debug)]
pub struct Contestant {
    pub who: Who,
    lane: Lane,
    balancer: Option<Balancer>,
    /// Turns that were taken again.
    repeated: usize,
}

/// Says how many turns were taken again, if any were.
///
/// # Errors
/// When it cannot be written.
pub fn note_repeated<'c>(all: impl IntoIterator<Item = &'c Contestant>, sink: &mut Sink) -> Result<()> {
    let repeated = all.into_iter().filter(|one| one.repeated > 0);
    let counts: Vec<_> = repeated.map(|one| format!("{} {}", one.repeated, one.who.name())).collect();
    if counts.is_empty() {
        return Ok(());
    }
    sink.note(&format!(
        "Turns that were taken again, since something else ran on the core and packets found a queue full: {}.",
        counts.join(", ")
    ))
}

impl Contestant {
    /// In a lane of its own; `number` tells the lanes of one kind apart.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(bed: &mut Bed, who: Who, number: usize) -> Result<Self> {
        let lane = bed.lane(&format!("{}-{number}", who.lane()))?;
        let mut balancer = None;
        match who {
            Who::Drop => bed.attach(&lane, Builtin::Sink)?,
            Who::Reflect => bed.attach(&lane, Builtin::Reflect)?,
            Who::Bare => bed.attach(&lane, Builtin::Bare)?,
            Who::Ferrolev => balancer = Some(Balancer::start(&lane)?),
            Who::Forward => forward(&lane)?,
            Who::Dnat => {
                forward(&lane)?;
                run(lane.namespace.command("nft")?.arg(rules()))?;
            }
        }
        Ok(Self { who, lane, balancer, repeated: 0 })
    }

    /// Offers packets to it, and demands that none is lost, where that must not be. A turn is taken again, some times, when an
    /// interface refused packets because something else ran on a core: queues hold more than what is on the way at once.
    ///
    /// # Errors
    /// When packets are lost or broken, or the balancer's own counters say something else than the sink's.
    pub fn run(
        &mut self,
        bed: &mut Bed,
        offered: &Offered,
        cores: &[usize],
        extent: Extent,
    ) -> Result<Counts> {
        let what = || format!("{} under {:?} on cores {cores:?}", self.who.name(), offered.traffic);
        let vip = offered.vip_key();
        let mut repeats_left = 5;
        let (before, counts) = loop {
            let before = self.balancer.as_mut().map(|balancer| balancer.forwarded(&vip)).transpose()?;
            let counts = bed.run(&self.lane, offered, cores, extent)?;
            if self.who.may_lose() || !counts.is_cut_short() || repeats_left == 0 {
                break (before, counts);
            }
            repeats_left -= 1;
            self.repeated += 1;
        };
        let counted = |error: anyhow::Error| error.context(what());
        if self.who.may_lose() {
            anyhow::ensure!(counts.broken == 0, "{}: {} packets came out broken", what(), counts.broken);
        } else {
            counts.complete().map_err(counted)?;
        }
        if let (Some(balancer), Some(before)) = (&mut self.balancer, before) {
            let after = balancer.forwarded(&vip)?;
            let (own, sink) = (
                (after.0 - before.0, after.1 - before.1),
                (counts.arrived_packets(), counts.arrived_bytes()),
            );
            anyhow::ensure!(
                own == sink,
                "{}: {own:?} packets and bytes by the balancer's counters, {sink:?} arrived",
                what()
            );
        }
        Ok(counts)
    }
}

/// Has the kernel forward what is for the vips to the first backend.
fn forward(lane: &Lane) -> Result<()> {
    lane.namespace.sysctls(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        // Packets leave where they came in.
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/eth0/send_redirects", "0"),
    ])?;
    lane.namespace.ip(&format!(
        "route add {VIP4}/32 via {}\nroute add {VIP6}/128 via {}\n\
         route add 10.0.0.0/8 via {}\nroute add 2001:db8:c::/48 via {}\n",
        backend4(1),
        backend6(1),
        backend4(BACKENDS),
        backend6(BACKENDS),
    ))?;
    // Each core sends by a queue of its own: without, both wait for the same lock.
    let queues =
        "for core in 0 1; do echo $((1 << core)) > /sys/class/net/eth0/queues/tx-$core/xps_cpus; done";
    run(Command::new("ip").args(["netns", "exec", lane.namespace.name(), "sh", "-c", queues]))?;
    Ok(())
}

/// Every service of the vips, to all backends.
fn rules() -> String {
    let mut rules = String::new();
    for (family, vip, table) in [(Family::V4, IpAddr::V4(VIP4), "ip"), (Family::V6, IpAddr::V6(VIP6), "ip6")]
    {
        let mut services = String::new();
        for traffic in [Traffic::Ack, Traffic::Udp, Traffic::Quic] {
            let offered = Offered::new(family, traffic);
            let protocol = if traffic == Traffic::Ack { "tcp" } else { "udp" };
            let map: Vec<String> = (1..=BACKENDS)
                .map(|number| {
                    let backend = if family == Family::V4 {
                        IpAddr::V4(backend4(number))
                    } else {
                        IpAddr::V6(backend6(number))
                    };
                    format!("{} : {backend}", number - 1)
                })
                .collect();
            // Writing to a String cannot fail.
            let _ = writeln!(
                services,
                "{table} daddr {vip} {protocol} dport {} dnat to jhash {table} saddr . {protocol} sport mod {BACKENDS} \
                 map {{ {} }}",
                offered.port,
                map.join(", ")
            );
        }
        let _ = writeln!(
            rules,
            "table {table} bench {{\nchain choose {{\ntype nat hook prerouting priority dstnat;\n{services}}}\n}}"
        );
    }
    rules
}
