//! From netlink messages to facts. Messages that say nothing about ways to backends become nothing.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
    VlanProtocol,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as KernelState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::facts::{AddressFact, AddressState, LinkFact};
use super::snapshot::{Event, Hop, IfIndex, Link, LinkAddress, Neighbour, NeighbourState, Route, VlanLink};
use crate::state::MacAddress;

/// What a multicast message tells.
pub(super) fn event(payload: &NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    let message = match payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(Event::Overrun),
        _ => return None,
    };
    match message {
        RouteNetlinkMessage::NewLink(link) => {
            is_device(link).then(|| Event::Link(link.header.index, self::link(link)))
        }
        RouteNetlinkMessage::DelLink(link) => is_device(link).then_some(Event::LinkGone(link.header.index)),
        RouteNetlinkMessage::NewAddress(address) => self::address(address).map(Event::Address),
        RouteNetlinkMessage::DelAddress(address) => self::address(address).map(Event::AddressGone),
        RouteNetlinkMessage::NewNeighbour(entry) => Some(match neighbour(entry)? {
            (hop, Some(neighbour)) => Event::Neighbour(hop, neighbour),
            (hop, None) => Event::NeighbourGone(hop),
        }),
        RouteNetlinkMessage::DelNeighbour(entry) => {
            neighbour(entry).map(|(hop, _)| Event::NeighbourGone(hop))
        }
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => prefix(route),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Event::Rules),
        _ => None,
    }
}

/// Link messages of another family (a bridge's ports, IPv6 settings) are not about the device.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

pub(super) fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let layer = message.header.link_layer_type;
    let mut link = Link {
        name: String::new(),
        kind: layer.to_string().to_lowercase(),
        ethernet: layer == LinkLayerType::Ether,
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        vlan: None,
    };
    let mut lower: Option<IfIndex> = None;
    let mut lower_is_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::LinkNetNsId(_) => lower_is_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => link_info(infos, &mut link),
            _ => {}
        }
    }
    if let Some(vlan) = &mut link.vlan {
        vlan.parent = lower.filter(|_| !lower_is_elsewhere);
    }
    link
}

fn link_info(infos: &[LinkInfo], link: &mut Link) {
    for info in infos {
        match info {
            LinkInfo::Kind(kind @ InfoKind::Vlan) => {
                link.kind = kind.to_string();
                link.vlan.get_or_insert(UNKNOWN_VLAN);
            }
            LinkInfo::Kind(kind) => link.kind = kind.to_string(),
            LinkInfo::Data(InfoData::Vlan(attributes)) => {
                let vlan = link.vlan.get_or_insert(UNKNOWN_VLAN);
                for attribute in attributes {
                    match attribute {
                        InfoVlan::Id(id) => vlan.id = *id,
                        InfoVlan::Protocol(protocol) => vlan.dot1q = *protocol == VlanProtocol::Ieee8021Q,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

const UNKNOWN_VLAN: VlanLink = VlanLink { parent: None, id: 0, dot1q: true };

pub(super) fn address(message: &AddressMessage) -> Option<LinkAddress> {
    // On a point-to-point link IFA_ADDRESS is the peer and IFA_LOCAL is ours; elsewhere IPv6 has no IFA_LOCAL.
    let mut own = None;
    let mut peer_or_own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => peer_or_own = Some(*address),
            _ => {}
        }
    }
    Some(LinkAddress {
        link: message.header.index,
        address: own.or(peer_or_own)?,
        prefix_len: message.header.prefix_len,
    })
}

/// A link as everybody else sees it.
pub(super) fn link_fact(message: &LinkMessage) -> LinkFact {
    let Link { name, ethernet, mac, up, vlan, .. } = link(message);
    let master = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    });
    LinkFact {
        name,
        mac,
        ethernet,
        up,
        vlan_parent: vlan.and_then(|vlan| vlan.parent),
        vlan_id: vlan.map(|vlan| vlan.id),
        master,
    }
}

/// An address as everybody else sees it.
pub(super) fn address_fact(message: &AddressMessage) -> Option<AddressFact> {
    let LinkAddress { link, address, prefix_len } = self::address(message)?;
    // The header has room for the first eight flags; newer kernels send all of them as an attribute.
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    let mut protocol = None;
    let mut label = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(number) => protocol = Some(u8::from(*number)),
            AddressAttribute::Label(text) => label = Some(text.clone()),
            _ => {}
        }
    }
    let state = if flags.contains(AddressFlags::Dadfailed) {
        AddressState::Duplicate
    } else if flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic) {
        AddressState::Tentative
    } else {
        AddressState::Usable
    };
    Some(AddressFact { ifindex: link, address, prefix_len, state, protocol, label })
}

/// The entry's place and content; no content for entries that were just created.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(Hop, Option<Neighbour>)> {
    let mut address = None;
    let mut link_layer = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => link_layer = mac(bytes),
            _ => {}
        }
    }
    let hop = Hop { link: message.header.ifindex, address: address? };
    let state = match message.header.state {
        KernelState::Incomplete => NeighbourState::Incomplete,
        KernelState::Reachable => NeighbourState::Reachable,
        KernelState::Stale => NeighbourState::Stale,
        KernelState::Delay => NeighbourState::Delay,
        KernelState::Probe => NeighbourState::Probe,
        KernelState::Failed => NeighbourState::Failed,
        KernelState::Permanent => NeighbourState::Permanent,
        KernelState::Noarp => NeighbourState::NoArp,
        _ => return Some((hop, None)),
    };
    Some((hop, Some(Neighbour { state, mac: link_layer })))
}

/// The kernel's answer to the question for the route of one address.
pub(super) fn route(message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Unicast => unicast(message),
        RouteType::Local => Route::Local,
        kind => Route::Bad(route_type(kind)),
    }
}

/// The name that `ip route` gives the type.
fn route_type(kind: RouteType) -> String {
    match kind {
        RouteType::Broadcast => "broadcast".to_owned(),
        RouteType::Anycast => "anycast".to_owned(),
        RouteType::Multicast => "multicast".to_owned(),
        RouteType::BlackHole => "blackhole".to_owned(),
        RouteType::Unreachable => "unreachable".to_owned(),
        RouteType::Prohibit => "prohibit".to_owned(),
        other => format!("number {}", u8::from(other)),
    }
}

fn unicast(message: &RouteMessage) -> Route {
    let mut link = None;
    let mut gateway = None;
    let mut preferred_source = None;
    let mut mtu = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet(v4)) => gateway = Some(IpAddr::V4(*v4)),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => gateway = Some(IpAddr::V6(*v6)),
            RouteAttribute::PrefSource(address) => preferred_source = ip(address),
            RouteAttribute::Encap(_) => return Route::Bad("lightweight tunnel".to_owned()),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    match link {
        Some(link) => Route::Unicast { link, gateway, preferred_source, mtu },
        None => Route::Error("the kernel named a route without an interface".to_owned()),
    }
}

/// The kernel's refusal to name a route. IPv4 answers for blackhole, unreachable and prohibit routes with the error that
/// a sender would get (fib_props in net/ipv4/fib_semantics.c), and IPv6 does the same.
pub(super) fn route_error(error: std::io::Error) -> Route {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EAGAIN) => Route::None,
        Some(libc::EINVAL) => Route::Bad("blackhole".to_owned()),
        Some(libc::EHOSTUNREACH) => Route::Bad("unreachable".to_owned()),
        Some(libc::EACCES) => Route::Bad("prohibit".to_owned()),
        _ => Route::Error(format!("cannot ask for the route: {error}")),
    }
}

fn prefix(message: &RouteMessage) -> Option<Event> {
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    Some(Event::Route {
        prefix: destination.unwrap_or(any),
        prefix_len: message.header.destination_prefix_length,
    })
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn mac(bytes: &[u8]) -> Option<MacAddress> {
    bytes.try_into().ok().map(MacAddress)
}
