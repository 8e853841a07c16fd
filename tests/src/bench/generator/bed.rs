//! The network of a measurement: an edge, where packets are made and counted, and a lane to each thing that is measured.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result};
use aya::programs::XdpMode;
use lb_user::state::MacAddress;

use super::engine::{Builtin, Engine};
use super::exit::{Exit, Place};
use super::offered::Offered;
use crate::lab::{Lab, Namespace, run};
use crate::packets::CLIENT_SIDE;

/// Backends that a lane's namespace knows, numbered from 1.
const BACKENDS: u8 = 100;
/// Room for outer headers around a full packet.
const MTU: u32 = 1600;

/// The edge and what runs there. Everything goes with it, also when this process is killed: programs with their
/// descriptors, namespaces when the next lab starts.
#[derive(Debug)]
pub struct Bed {
    pub(super) edge: Namespace,
    pub(super) engine: Engine,
    pub(super) source: Source,
    lab: Lab,
}

/// What makes packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A program in the kernel.
    Live,
    /// This process, by an `AF_PACKET` socket: at a tenth of the speed.
    Socket,
}

/// A link from the edge to a namespace, of two queues, with the sink at the edge's end.
#[derive(Debug)]
pub struct Lane {
    pub namespace: Namespace,
    /// The edge's end.
    pub(super) exit: Exit,
    /// Of `eth0` in the namespace.
    pub ifindex: u32,
}

impl Bed {
    /// An edge without lanes.
    ///
    /// # Errors
    /// When the kernel lacks something.
    pub fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let edge = lab.namespace("edge")?;
        // Nothing but offered packets.
        edge.sysctls(&[("net/ipv6/conf/default/disable_ipv6", "1")])?;
        let engine = Engine::load(&super::object::object()?)?;
        let source = if engine.has_live_frames() { Source::Live } else { Source::Socket };
        Ok(Self { edge, engine, source, lab })
    }

    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Has packets made by something else.
    pub const fn make_by(&mut self, source: Source) {
        self.source = source;
    }

    /// Packets that the kernel would send.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn samples(&mut self, offered: &Offered, count: usize) -> Result<Vec<Vec<u8>>> {
        let offer = self.listen(offered, 1)?;
        (0..count).map(|_| self.engine.sample(offer.longest as usize)).collect()
    }

    /// A lane to a new namespace that has addresses and neighbours, and nothing that forwards. The name is at most 15
    /// bytes long.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lane(&mut self, name: &str) -> Result<Lane> {
        let namespace = self.lab.namespace(name)?;
        // Hosts of their own would send router solicitations and reports of groups.
        namespace.sysctls(&[("net/ipv6/conf/default/router_solicitations", "0")])?;
        let [edge_mac, own_mac] = CLIENT_SIDE.map(MacAddress);
        self.edge.ip(&format!(
            "link add {name} address {edge_mac} mtu {MTU} numrxqueues 2 numtxqueues 2 type veth \
             peer name eth0 address {own_mac} mtu {MTU} numrxqueues 2 numtxqueues 2 netns {}\n\
             link set {name} up\n",
            namespace.name()
        ))?;
        namespace.ip(&addresses())?;
        for (at, interface) in [(&self.edge, name), (&namespace, "eth0")] {
            // With GRO a veth polls by NAPI and takes frames of XDP even without a program. Its peer is told so only when
            // both are up already.
            run(at.command("ethtool")?.args(["-K", interface, "tx", "off", "gro", "on"]))?;
        }
        let exit = Exit {
            place: Place::Lab(self.edge.clone()),
            interface: name.to_owned(),
            ifindex: ifindex(&self.edge, name)?,
        };
        let lane = Lane { ifindex: ifindex(&namespace, "eth0")?, namespace, exit };
        self.engine.attach(&lane.exit.place, Builtin::Sink, lane.exit.ifindex, XdpMode::Driver)?;
        Ok(lane)
    }

    /// Runs one of the benchmark's own programs at the lane's far end.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&mut self, lane: &Lane, program: Builtin) -> Result<()> {
        let place = Place::Lab(lane.namespace.clone());
        self.engine.attach(&place, program, lane.ifindex, XdpMode::Driver).map(drop)
    }
}

impl Lane {
    /// Sum of the interfaces' counters of frames that XDP could not send or hand over, at both ends.
    pub(super) fn xmit_errors(&self, edge: &Namespace) -> Result<u64> {
        let mut errors = 0;
        for (namespace, interface) in [(edge, self.exit.interface.as_str()), (&self.namespace, "eth0")] {
            let mut ethtool: Command = namespace.command("ethtool")?;
            let said = run(ethtool.args(["-S", interface]))?;
            let counts = said.lines().filter_map(|line| line.trim().split_once(": "));
            let failed = counts
                .filter(|(name, _)| name.ends_with("xdp_xmit_errors") || name.ends_with("xdp_tx_errors"));
            errors += failed.filter_map(|(_, count)| count.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(errors)
    }
}

fn ifindex(namespace: &Namespace, interface: &str) -> Result<u32> {
    namespace.inside(|| nix::net::if_::if_nametoindex(interface).context("no such interface"))
}

/// Of a lane's namespace: its own, and where the backends are.
fn addresses() -> String {
    let mut lines = "link set eth0 up\n\
         addr add 172.16.0.100/16 dev eth0\n\
         addr add fd00::1000/64 dev eth0 nodad\n"
        .to_owned();
    for number in 1..=BACKENDS {
        let mac = backend_mac(number);
        for address in [backend4(number).to_string(), backend6(number).to_string()] {
            lines += &format!("neigh add {address} lladdr {mac} dev eth0 nud permanent\n");
        }
    }
    lines
}

#[must_use]
pub const fn backend4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 1, number)
}

#[must_use]
pub const fn backend6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number as u16)
}

/// The sink tells backends apart by the last byte.
#[must_use]
pub const fn backend_mac(number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0xbb, number])
}
