//! The configuration with the runtime changes laid over it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::VipKey;

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213), all four combinations of IPv4 and IPv6.
    #[default]
    Ipip,
}

/// Which packets of a client go to the same backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Affinity {
    /// All packets of a connection.
    #[default]
    FiveTuple,
    /// All packets of a source address.
    Source,
}

/// A tunnel source: an address, or a prefix whose host bits are filled from the flow hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix<A> {
    pub address: A,
    /// Prefix length in bits; the full length of the address turns entropy off.
    pub prefix_len: u8,
}

/// The outer DSCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dscp {
    /// The inner packet's.
    #[default]
    Copy,
    /// 0 to 63.
    Fixed(u8),
}

/// How outer headers are filled. Without a source, the address that the route prefers is used, without entropy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    pub source4: Option<SourcePrefix<Ipv4Addr>>,
    pub source6: Option<SourcePrefix<Ipv6Addr>>,
    /// Outer TTL and hop limit.
    pub ttl: u8,
    pub dscp: Dscp,
}

/// All that users asked for, by file or at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    pub hash_seed: u64,
    pub tunnel: Tunnel,
    pub vips: BTreeMap<VipKey, DesiredVip>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVip {
    pub name: String,
    pub mode: Mode,
    /// A prime; fixed for the vip's life.
    pub ring_size: u32,
    pub affinity: Affinity,
    /// By backend name.
    pub members: BTreeMap<String, DesiredMember>,
}

/// A backend as one vip uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredMember {
    pub address: IpAddr,
    /// The weight that was asked for, drained or not.
    pub weight: u32,
    /// Gets no slots of the ring.
    pub drained: bool,
}

impl DesiredMember {
    /// The weight that counts in the ring.
    #[must_use]
    pub const fn effective_weight(&self) -> u32 {
        if self.drained { 0 } else { self.weight }
    }
}
