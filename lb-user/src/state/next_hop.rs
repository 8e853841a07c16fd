//! Where packets for a backend leave this host, as the kernel's routing and neighbour tables say.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The way to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface whose device sends the frame (for a route over a VLAN interface: its parent).
    pub ifindex: u32,
    pub interface: String,
    pub source_mac: MacAddress,
    /// The backend itself or the gateway towards it.
    pub destination_mac: MacAddress,
    /// The gateway, when the backend is not on the link.
    pub gateway: Option<IpAddr>,
    /// VLAN id, for a route over a VLAN interface.
    pub vlan: Option<u16>,
    /// The address that the kernel would send from.
    pub preferred_source: Option<IpAddr>,
    /// MTU of the route or of the interface, in bytes of IP packet.
    pub mtu: u32,
}

/// Why there is no next hop. The texts are shown in `ferrolev status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    #[error("not looked up yet")]
    Pending,
    #[error("no route to {0}; add a route")]
    NoRoute(IpAddr),
    #[error("{0} is an address of this host; a backend must be another host")]
    Local(IpAddr),
    #[error("the route to {address} is of type {kind}; add a unicast route")]
    BadRoute { address: IpAddr, kind: String },
    #[error("{hop} does not answer on {interface} (neighbour {state}); is it up and on this link?")]
    NoNeighbour { hop: IpAddr, interface: String, state: String },
    #[error(
        "interface {interface} cannot carry Ethernet frames ({kind}); route the backend over an Ethernet interface"
    )]
    NotEthernet { interface: String, kind: String },
    #[error(
        "interface {interface} is {what}, which is not supported; route the backend over another interface"
    )]
    NotSupported { interface: String, what: String },
    #[error(
        "no source address for tunnels to {address} on {interface}; give the interface one or set tunnel.{setting}"
    )]
    NoSource { address: IpAddr, interface: String, setting: &'static str },
    #[error(
        "{address} is behind the gateway {gateway} ({interface}), and mode l2 reaches backends on the same segment only; use mode ipip or gue, or a backend address on a network of this host"
    )]
    BehindGateway { address: IpAddr, gateway: IpAddr, interface: String },
    #[error("interface {0} is down")]
    LinkDown(String),
    #[error("netlink: {0}")]
    Netlink(String),
}

impl Unresolved {
    /// Whether the question is still open: an answer may come at any moment.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Pending => true,
            Self::NoNeighbour { state, .. } => state == "incomplete",
            _ => false,
        }
    }
}

/// The next hops of all backends that are looked up.
pub type NextHops = BTreeMap<IpAddr, Result<NextHop, Unresolved>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_written_in_lower_case_with_colons() {
        assert_eq!(MacAddress([0x02, 0xAB, 0, 1, 0xff, 0x10]).to_string(), "02:ab:00:01:ff:10");
    }

    #[test]
    fn only_questions_under_way_are_open() {
        let neighbour = |state: &str| Unresolved::NoNeighbour {
            hop: "10.0.0.1".parse().unwrap(),
            interface: "eth0".to_owned(),
            state: state.to_owned(),
        };
        assert!(Unresolved::Pending.is_open());
        assert!(neighbour("incomplete").is_open());
        assert!(!neighbour("failed").is_open());
        assert!(!Unresolved::NoRoute("10.0.0.1".parse().unwrap()).is_open());
    }
}
