//! What can be asked of a vip, or of a vip's address, beyond ring and backends. Every default is "off", or what users of
//! a router would expect.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Options of one vip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VipOptions {
    /// Vips of one group have the same backends: a change of one counts for all.
    pub group: Option<String>,
    pub fragments: Fragments,
    pub access: AccessRules,
    pub limits: FlowLimits,
    pub quic: Option<QuicRouting>,
    pub tracking: TrackingMode,
}

/// What becomes of the flows of a backend that turns unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnUnhealthy {
    /// They go to other backends at once, which reset those that they do not know.
    #[default]
    Reset,
    /// They go on with the backend until they end.
    Drain,
}

/// Which flows of a vip are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackingMode {
    /// Those in ring slots that change hands, while that matters.
    #[default]
    Adaptive,
    /// All.
    Full,
    /// None: a flow moves when its slot does.
    None,
}

/// How long flows are remembered, and what is done for those of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimes {
    /// A TCP connection without a packet for so long is over.
    pub tcp_idle: Duration,
    /// A UDP flow without a packet for so long is over.
    pub udp_idle: Duration,
    /// A flow of which only one packet was seen is over so soon.
    pub opened: Duration,
    /// A TCP connection that was seen to end is over so soon.
    pub closing: Duration,
    /// So long after a slot has changed hands, packets without a record are taken to be of older flows.
    pub transition: Duration,
    /// That ends so soon already when no flow of the previous backend has been seen.
    pub quiet: Duration,
    /// So long, datagrams without a record are taken to be of older flows.
    pub udp_learning: Duration,
}

impl FlowTimes {
    /// `quiet` when nobody says otherwise.
    #[must_use]
    pub fn usual_quiet(transition: Duration) -> Duration {
        transition.min(Duration::from_secs(60))
    }
}

impl Default for FlowTimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            tcp_idle: seconds(900),
            udp_idle: seconds(60),
            opened: seconds(60),
            closing: seconds(30),
            transition: seconds(300),
            quiet: seconds(60),
            udp_learning: seconds(10),
        }
    }
}

/// How fragments find their backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fragments {
    /// All of a datagram's go where its flow goes; a table remembers them.
    #[default]
    Track,
    /// By source address, destination address and protocol alone; no table.
    Hash,
    Drop,
}

/// An address prefix with no host bits set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    pub len: u8,
}

impl Prefix {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differs = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(own.to_bits() ^ other.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= u32::from(self.len)
    }
}

impl fmt::Display for Prefix {
    /// `ADDRESS/LENGTH`, or the address when the prefix is just that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len } = self;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if *len == bits { write!(f, "{address}") } else { write!(f, "{address}/{len}") }
    }
}

/// Sorted, without duplicates.
pub type Prefixes = Arc<[Prefix]>;

/// Which sources may use a vip. The longest prefix that holds a source decides; an equal one in both lists is an error of
/// the configuration. A source in neither may use it when `allow` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    pub allow: Prefixes,
    pub deny: Prefixes,
}

impl AccessRules {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// How many flows may begin: TCP connection attempts and QUIC Initial packets. A burst of one second's worth is let
/// through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowLimits {
    /// New flows a second of the whole vip.
    pub vip_per_second: Option<u32>,
    /// New flows a second of one source prefix.
    pub source_per_second: Option<u32>,
    /// Bits of an IPv4 source that make its prefix.
    pub source_prefix4: u8,
    /// Bits of an IPv6 source that make its prefix.
    pub source_prefix6: u8,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self { vip_per_second: None, source_per_second: None, source_prefix4: 32, source_prefix6: 64 }
    }
}

impl FlowLimits {
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.vip_per_second.is_none() && self.source_per_second.is_none()
    }
}

/// Where servers put their id into QUIC connection ids: draft-ietf-quic-load-balancers, plaintext. The first byte holds
/// the configuration's id in its upper three bits, then come the server id's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuicRouting {
    /// Bytes of the server id, 1 to 8.
    pub server_id_len: u8,
    /// 0 to 6.
    pub config_id: u8,
}

/// A backend's server id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    /// The id, then zeros.
    pub bytes: [u8; 8],
    /// 1 to 8.
    pub len: u8,
}

impl fmt::Display for ServerId {
    /// Two hexadecimal digits a byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.iter().take(usize::from(self.len)).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A vip's address: what is said of it on the link, and what happens to packets that are for no vip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredAddress {
    pub announce: Announce,
    /// Interfaces to announce on; empty: those with an address in whose prefix this one lies, or else all that the program
    /// is attached to.
    pub announce_on: Vec<String>,
    pub unknown_ports: UnknownPorts,
    /// Echo requests are answered.
    pub ping: bool,
    /// It is not announced while its vips have no healthy backend.
    pub withdraw_when_down: bool,
}

/// Who answers for an address.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Announce {
    /// Somebody else: a route, a BGP speaker, keepalived.
    #[default]
    None,
    /// The program: it answers ARP and neighbour solicitations; the address is none of the host's.
    Arp,
    /// The kernel: the address is added to an interface.
    Address,
}

/// What happens to packets for a vip's address but for no vip's port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPorts {
    /// The kernel gets them.
    #[default]
    Pass,
    Drop,
    /// TCP: a reset; else an ICMP "port unreachable".
    Reject,
}

impl UnknownPorts {
    /// What holds when nobody says otherwise: with the program answering for the address, the kernel does not know it.
    #[must_use]
    pub fn beside(announce: Announce) -> Self {
        if announce == Announce::Arp { Self::Drop } else { Self::Pass }
    }
}
