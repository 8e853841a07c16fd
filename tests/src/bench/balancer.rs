//! The balancer at the far end of a lane: the real program, loaded and filled by the daemon's own code.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use lb_common::abi::Reason;
use lb_user::dataplane::{Dataplane, Limits};
use lb_user::net::Links;
use lb_user::state::{Mode, QuicRouting, ServerId, VipKey};

use super::generator::{Family, Lane, Offered, Traffic, backend_mac, backend4, backend6};
use crate::kernel::Kernel;
use crate::world::{BALANCER, World, link};

/// Backends of every vip.
pub const BACKENDS: u8 = 100;
const RING_SIZE: u32 = 65_537;
/// Of connection ids that name a backend.
const CONFIG_ID: u8 = 2;

/// Vips beside those of [`Offered::new`], for TCP: by GUE, and by MAC address.
pub const GUE4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 11);
pub const L2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 12);

/// A balancer in a lane; it is gone with this.
#[derive(Debug)]
pub struct Balancer {
    kernel: Kernel,
}

impl Balancer {
    /// Loads the program and attaches it to the lane's `eth0`, natively.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(lane: &Lane) -> Result<Self> {
        Self::start_with(lane, |_| ())
    }

    /// The same with something else in its world.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start_with(lane: &Lane, change: impl FnOnce(&mut World)) -> Result<Self> {
        let mut world = world(lane.ifindex);
        change(&mut world);
        let forwarding = world.forwarding();
        let links = Links::from([(lane.ifindex, link("eth0"))]);
        let kernel = lane.namespace.inside(|| {
            Kernel::open_with(&forwarding, |options| {
                options.interfaces = vec!["eth0".to_owned()];
                options.links = links;
                options.limits = Limits { dests: 8192, flows: 1 << 20, ..options.limits };
                options.pinned_clock = false;
            })
        })?;
        Ok(Self { kernel })
    }

    /// Packets and bytes that it has forwarded to backends of a vip, by its own counters.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forwarded(&mut self, vip: &str) -> Result<(u64, u64)> {
        let vip: VipKey = vip.parse()?;
        let totals = self.kernel.dataplane()?.counters()?;
        let of_vip = totals.dests.iter().filter(|((of, _), _)| *of == vip);
        Ok(of_vip.fold((0, 0), |(packets, bytes), (_, counters)| {
            (packets + counters.packets, bytes + counters.bytes)
        }))
    }

    /// Packets that it has stopped for this reason.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stopped(&mut self, reason: Reason) -> Result<u64> {
        let reasons = self.kernel.dataplane()?.counters()?.reasons;
        Ok(reasons.get(&(reason as u32)).copied().unwrap_or(0))
    }

    /// The balancer's instance in the kernel.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }
}

/// A connection id that names a backend.
#[must_use]
pub const fn connection_id(backend: u8) -> [u8; 13] {
    let [a, b, c, d] = server_id(backend);
    [CONFIG_ID << 5 | 9, a, b, c, d, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77]
}

const fn server_id(backend: u8) -> [u8; 4] {
    [0x5e, backend, backend ^ 0x33, 0x17]
}

/// Vips of every kind, with a hundred backends each on the link of this interface.
fn world(ifindex: u32) -> World {
    let v4: Vec<String> = (1..=BACKENDS).map(|number| backend4(number).to_string()).collect();
    let v6: Vec<String> = (1..=BACKENDS).map(|number| backend6(number).to_string()).collect();
    let v4: Vec<&str> = v4.iter().map(String::as_str).collect();
    let v6: Vec<&str> = v6.iter().map(String::as_str).collect();
    let mut world = World::default();
    for traffic in [Traffic::Ack, Traffic::Udp, Traffic::Quic] {
        for (family, backends) in [(Family::V4, &v4), (Family::V6, &v6)] {
            let key = Offered::new(family, traffic).vip_key();
            world = world.vip(&key, backends);
            if traffic == Traffic::Quic {
                world = world.with(&key, |vip| {
                    vip.options.quic = Some(QuicRouting { server_id_len: 4, config_id: CONFIG_ID });
                    for (number, backend) in (1..).zip(backends) {
                        let [a, b, c, d] = server_id(number);
                        let id = ServerId { bytes: [a, b, c, d, 0, 0, 0, 0], len: 4 };
                        vip.members.get_mut(*backend).expect("the backend").server_id = Some(id);
                    }
                });
            }
        }
    }
    for (address, mode) in [(GUE4, Mode::Gue), (L2, Mode::L2)] {
        let key = Offered { vip: address.into(), ..Offered::new(Family::V4, Traffic::Ack) }.vip_key();
        world = world.vip(&key, &v4).with(&key, |vip| {
            vip.members.values_mut().for_each(|member| member.mode = mode);
        });
    }
    world.desired.vips.values_mut().for_each(|vip| vip.ring_size = RING_SIZE);
    for (address, hop) in &mut world.hops {
        let hop = hop.as_mut().expect("every backend has a next hop");
        let number = match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        hop.ifindex = ifindex;
        (hop.source_mac, hop.destination_mac) = (BALANCER, backend_mac(number));
        hop.mtu = 1600;
    }
    world
}
