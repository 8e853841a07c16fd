//! The sockets: one that asks, one that listens. Two, so that a flood of events never costs an answer.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::pin::{Pin, pin};

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Error, Handle, MulticastGroup};
use tokio::task::JoinSet;

use super::facts::HostFacts;
use super::snapshot::{Hop, Route, Snapshot};
use super::{NetError, decode};

/// What is listened to. Replacing a nexthop object is heard as a change of the routes that use it
/// (`net.ipv4.nexthop_compat_mode`, on by default).
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Wanted size of the listening socket's buffer; the kernel caps it at `net.core.rmem_max`.
const EVENT_BUFFER_BYTES: u32 = 1 << 20;

type Events = Pin<Box<dyn Stream<Item = NetlinkPayload<RouteNetlinkMessage>> + Send>>;

/// A connection to the network namespace of the thread that opened it.
pub(super) struct Netlink {
    handle: Handle,
    events: Events,
    /// Both sockets' tasks; they end with this value.
    _tasks: JoinSet<()>,
}

impl Netlink {
    /// Opens both sockets; call it inside a tokio runtime. Events are kept from now on.
    pub(super) fn open() -> Result<Self, NetError> {
        let mut tasks = JoinSet::new();
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Open)?;
        tasks.spawn(connection);
        let (mut connection, _, messages) =
            rtnetlink::new_multicast_connection(&GROUPS).map_err(NetError::Open)?;
        connection.socket_mut().socket_mut().set_rx_buf_sz(EVENT_BUFFER_BYTES).map_err(NetError::Open)?;
        tasks.spawn(connection);
        Ok(Self { handle, events: Box::pin(messages.map(|(message, _)| message.payload)), _tasks: tasks })
    }

    /// The next multicast message. Cancel safe.
    ///
    /// After an overrun, open anew: until its buffer has been read empty, the kernel drops every further message for a
    /// socket that overflowed (`NETLINK_S_CONGESTED` in net/netlink/af_netlink.c), and never tells of those.
    pub(super) async fn event(&mut self) -> Result<NetlinkPayload<RouteNetlinkMessage>, NetError> {
        self.events.next().await.ok_or(NetError::Closed)
    }

    /// Reads links, addresses and neighbours; routes are left empty.
    pub(super) async fn snapshot(&mut self) -> Result<Snapshot, NetError> {
        let mut snapshot = Snapshot::default();
        let mut links = pin!(self.handle.link().get().execute());
        while let Some(link) = links.next().await {
            let link = link.map_err(|error| list_error("links", &error))?;
            snapshot.links.insert(link.header.index, decode::link(&link));
        }
        let mut addresses = pin!(self.handle.address().get().execute());
        while let Some(address) = addresses.next().await {
            let address = address.map_err(|error| list_error("addresses", &error))?;
            snapshot.addresses.extend(decode::address(&address));
        }
        let mut neighbours = pin!(self.handle.neighbours().get().execute());
        while let Some(entry) = neighbours.next().await {
            let entry = entry.map_err(|error| list_error("neighbours", &error))?;
            if let Some((hop, Some(neighbour))) = decode::neighbour(&entry) {
                snapshot.neighbours.insert(hop, neighbour);
            }
        }
        Ok(snapshot)
    }

    /// Reads links and addresses alone.
    pub(super) async fn facts(&mut self) -> Result<HostFacts, NetError> {
        let mut facts = HostFacts::default();
        let mut links = pin!(self.handle.link().get().execute());
        while let Some(link) = links.next().await {
            let link = link.map_err(|error| list_error("links", &error))?;
            facts.links.insert(link.header.index, decode::link_fact(&link));
        }
        let mut addresses = pin!(self.handle.address().get().execute());
        while let Some(address) = addresses.next().await {
            let address = address.map_err(|error| list_error("addresses", &error))?;
            if let Some(fact) = decode::address_fact(&address) {
                facts.add_address(fact);
            }
        }
        Ok(facts)
    }

    /// What the kernel would do with a packet for `destination`.
    pub(super) async fn route(&mut self, destination: IpAddr) -> Result<Route, NetError> {
        let mut question = RouteMessage::default();
        (question.header.address_family, question.header.destination_prefix_length) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        question.attributes.push(RouteAttribute::Destination(RouteAddress::from(destination)));
        let mut answers = pin!(self.handle.route().get(question).execute());
        match answers.next().await {
            Some(Ok(answer)) => Ok(decode::route(&answer)),
            Some(Err(Error::NetlinkError(error))) => Ok(decode::route_error(error.to_io())),
            Some(Err(Error::RequestFailed)) | None => Err(NetError::Closed),
            Some(Err(error)) => Ok(Route::Error(error.to_string())),
        }
    }

    /// Asks the kernel to find `hop` out, as if it had a packet for it (`NTF_USE`). Does not wait for the neighbour.
    ///
    /// Not for permanent entries: Linux 5.16 and later would make them ordinary ones.
    pub(super) async fn probe(&mut self, hop: Hop) -> Result<(), std::io::Error> {
        let mut entry = NeighbourMessage::default();
        entry.header.family = match hop.address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        entry.header.ifindex = hop.link;
        entry.header.state = NeighbourState::None;
        entry.header.flags = NeighbourFlags::Use;
        entry.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::from(hop.address)));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewNeighbour(entry));
        message.header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
        let closed = || std::io::Error::other(NetError::Closed);
        let mut answers = pin!(self.handle.request(message).map_err(|_| closed())?);
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(error.to_io());
            }
        }
        Ok(())
    }
}

/// What the kernel says of a request that it refuses.
pub(crate) fn io_error(error: Error) -> std::io::Error {
    match error {
        Error::NetlinkError(message) => message.to_io(),
        other => std::io::Error::other(other.to_string()),
    }
}

fn list_error(what: &'static str, error: &Error) -> NetError {
    match error {
        Error::RequestFailed => NetError::Closed,
        Error::NetlinkError(message) => NetError::List { what, reason: message.to_io().to_string() },
        other => NetError::List { what, reason: other.to_string() },
    }
}
