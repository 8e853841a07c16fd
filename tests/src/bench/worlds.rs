//! The worlds of the datapath benchmark: what the balancer is told to do while it is timed.
//!
//! Limits are so high that no packet meets them: each case must do the same with every packet.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb_user::state::{
    AccessRules, Announce, DesiredAddress, Dscp, FlowLimits, Fragments, Mode, Prefix, QuicRouting, ServerId,
    TrackingMode, UnknownPorts,
};

use crate::world::{World, prefixes, rules};

pub(super) const V4: &str = "198.51.100.1:80/tcp";
pub(super) const UDP4: &str = "198.51.100.1:53/udp";
pub(super) const UDP6: &str = "[2001:db8::1]:53/udp";
pub(super) const V4_IN_V6: &str = "198.51.100.3:80/tcp";
pub(super) const V6: &str = "[2001:db8::1]:80/tcp";
pub(super) const V6_IN_V4: &str = "[2001:db8::2]:80/tcp";
pub(super) const GUE4: &str = "198.51.100.4:80/tcp";
pub(super) const GUE6: &str = "[2001:db8::4]:80/tcp";
pub(super) const L2: &str = "198.51.100.5:80/tcp";
pub(super) const QUIC: &str = "198.51.100.6:443/udp";
pub(super) const LISTED: &str = "198.51.100.7:80/tcp";
pub(super) const LIMITED: &str = "198.51.100.8:80/tcp";
pub(super) const HASHED: &str = "198.51.100.11:53/udp";
pub(super) const ROUTED: &str = "198.51.100.9:80/tcp";
/// Everything at once, and an address that the program answers for.
pub(super) const BUSY4: &str = "198.51.100.10:443/udp";
pub(super) const BUSY6: &str = "[2001:db8::10]:443/udp";

/// The backend that [`ROUTED`] has for all clients of the benchmark.
pub(super) const ROUTE_BACKEND: &str = "10.2.0.1";
/// The server id of the 77th backend of [`QUIC`].
pub(super) const SERVER_ID: [u8; 4] = server_id(77);
pub(super) const SERVER_BACKEND: &str = "10.1.0.77";
/// A server id that no backend has.
pub(super) const NO_SERVER_ID: [u8; 4] = server_id(200);
pub(super) const QUIC_CONFIG: u8 = 2;

/// Prefixes of the long list: every address of 10.0.0.0/12, in which all clients of the benchmark are.
const MILLION: u32 = 1 << 20;
/// One event a nanosecond.
const UNLIMITED: u32 = 1_000_000_000;

/// Which world a case is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Vips that ask for nothing special.
    Plain,
    /// The same, and others that ask for everything there is.
    Options,
    /// The same, and an access list for all vips.
    ListForAll,
    /// [`LISTED`] with the long list.
    Million,
    /// [`Self::Plain`], with all flows remembered.
    Transition,
}

impl Place {
    pub(super) fn world(self) -> World {
        let mut world = match self {
            Self::Plain => plain(),
            Self::Options => options(),
            Self::ListForAll => list_for_all(),
            Self::Million => million(),
            Self::Transition => transition(),
        };
        world.desired.answers.replies_per_second = UNLIMITED;
        world.desired.answers.fragments_per_second = UNLIMITED;
        // Less than passes until a case comes to the same datagram again.
        world.desired.answers.fragment_timeout = Duration::from_millis(100);
        world.desired.vips.values_mut().for_each(|vip| vip.ring_size = 65_537);
        world
    }
}

/// A hundred backends.
struct Backends {
    v4: Vec<String>,
    v6: Vec<String>,
}

impl Backends {
    fn new() -> Self {
        Self {
            v4: (1..=100).map(|n| format!("10.1.0.{n}")).collect(),
            v6: (1..=100).map(|n| format!("2001:db8:b::{n}")).collect(),
        }
    }

    fn v4(&self) -> Vec<&str> {
        self.v4.iter().map(String::as_str).collect()
    }

    fn v6(&self) -> Vec<&str> {
        self.v6.iter().map(String::as_str).collect()
    }
}

fn plain() -> World {
    let backends = Backends::new();
    let (v4, v6) = (&backends.v4(), &backends.v6());
    let world = World::default()
        .vip(V4, v4)
        .vip(UDP4, v4)
        .vip(UDP6, v6)
        .vip(V4_IN_V6, v6)
        .vip(V6, v6)
        .vip(V6_IN_V4, v4)
        .vip(QUIC, v4)
        .with(QUIC, |vip| {
            vip.options.quic = Some(QuicRouting { server_id_len: 4, config_id: QUIC_CONFIG });
            for (number, backend) in (1..).zip(v4) {
                let [a, b, c, d] = server_id(number);
                let id = ServerId { bytes: [a, b, c, d, 0, 0, 0, 0], len: 4 };
                vip.members.get_mut(*backend).expect("the backend").server_id = Some(id);
            }
        });
    [(GUE4, v4, Mode::Gue), (GUE6, v6, Mode::Gue), (L2, v4, Mode::L2)].into_iter().fold(
        world,
        |world, (vip, backends, mode)| {
            world.vip(vip, backends).with(vip, |vip| {
                vip.members.values_mut().for_each(|member| member.mode = mode);
            })
        },
    )
}

fn options() -> World {
    let backends = Backends::new();
    let v4 = &backends.v4();
    let limits = FlowLimits {
        vip_per_second: Some(UNLIMITED),
        source_per_second: Some(UNLIMITED),
        ..FlowLimits::default()
    };
    let address = DesiredAddress {
        announce: Announce::Arp,
        unknown_ports: UnknownPorts::Drop,
        ping: true,
        ..DesiredAddress::default()
    };
    let rejecting = DesiredAddress { unknown_ports: UnknownPorts::Reject, ..DesiredAddress::default() };
    let mut world = plain()
        .vip(LISTED, v4)
        .with(LISTED, |vip| vip.options.access = rules(&["10.0.0.0/8"], &[]))
        .vip(LIMITED, v4)
        .with(LIMITED, |vip| vip.options.limits = limits)
        .vip(HASHED, v4)
        .with(HASHED, |vip| vip.options.fragments = Fragments::Hash)
        .vip(ROUTED, v4)
        .route(ROUTED, &["10.0.0.0/8"], &[ROUTE_BACKEND])
        .address("198.51.100.7", rejecting)
        .address("198.51.100.10", address.clone())
        .address("2001:db8::10", address);
    for (vip, backends) in [(BUSY4, v4), (BUSY6, &backends.v6())] {
        world = world.vip(vip, backends).route(vip, &["192.0.2.0/24"], &[ROUTE_BACKEND]).with(vip, |vip| {
            vip.options.access = rules(&["0.0.0.0/0", "::/0"], &["203.0.113.0/24"]);
            vip.options.limits = limits;
            vip.options.quic = Some(QuicRouting { server_id_len: 4, config_id: QUIC_CONFIG });
            vip.options.group = Some("busy".to_owned());
        });
    }
    world.desired.tunnel.dscp = Dscp::Fixed(10);
    world.entropy("172.16.0.0", 16, "2001:db8:e::", 112)
}

fn transition() -> World {
    let mut world = plain();
    world.desired.vips.values_mut().for_each(|vip| vip.options.tracking = TrackingMode::Full);
    world
}

fn list_for_all() -> World {
    let mut world = options();
    world.desired.access = AccessRules { allow: prefixes(&["10.0.0.0/8"]), deny: prefixes(&[]) };
    world
}

fn million() -> World {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let all = (first..first + MILLION).map(|address| Prefix::of(IpAddr::V4(address.into()), 32));
    let allow: Vec<_> = all.collect();
    World::default()
        .vip(LISTED, &Backends::new().v4())
        .with(LISTED, |vip| vip.options.access = AccessRules { allow: allow.into(), deny: prefixes(&[]) })
}

const fn server_id(number: u8) -> [u8; 4] {
    [0x5e, number, number ^ 0x33, 0x17]
}
