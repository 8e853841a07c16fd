//! The configuration with the runtime changes laid over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::options::{AccessRules, DesiredAddress, FlowTimes, Prefixes, ServerId, VipOptions};
use super::{Out, Spared, VipKey};

/// How packets reach a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213), all four combinations of IPv4 and IPv6.
    #[default]
    Ipip,
    /// Generic UDP encapsulation (draft-ietf-intarea-gue), all four combinations of IPv4 and IPv6.
    Gue,
    /// The frame as it is with another destination MAC address, for backends on the same segment.
    L2,
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
    /// All packets of a source address to one port.
    SourceAndPort,
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
    /// UDP destination port of GUE.
    pub gue_port: u16,
    pub gue_variant: GueVariant,
    pub oversize: Oversize,
}

impl Default for Tunnel {
    fn default() -> Self {
        Self {
            source4: None,
            source6: None,
            ttl: 64,
            dscp: Dscp::Copy,
            gue_port: 6080,
            gue_variant: GueVariant::Direct,
            oversize: Oversize::Kernel,
        }
    }
}

/// What stands between GUE's UDP header and the inner packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GueVariant {
    /// Variant 0: a header of four bytes.
    Header,
    /// Variant 1: nothing; the inner packet's version tells its family.
    #[default]
    Direct,
}

/// What becomes of an IPv4 packet that may be fragmented and does not fit the way to its backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// It is encapsulated and given to the kernel, which forwards it in fragments (towards IPv4 backends).
    #[default]
    Kernel,
    Drop,
}

/// All that users asked for, by file or at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    pub hash_seed: u64,
    pub tunnel: Tunnel,
    pub answers: Answers,
    pub flows: FlowTimes,
    /// For all vips; asked before a vip's own.
    pub access: AccessRules,
    /// Every address of a vip.
    pub addresses: BTreeMap<IpAddr, DesiredAddress>,
    /// Addresses, of vips or not, that are only answered for while an election says so.
    pub elected: BTreeSet<IpAddr>,
    pub vips: BTreeMap<VipKey, DesiredVip>,
}

/// What the program may write by itself, and how long it remembers fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Echo replies a second; as many "too big" messages, and as many rejects.
    pub replies_per_second: u32,
    /// Datagrams in fragments that are begun a second.
    pub fragments_per_second: u32,
    /// How long later fragments are expected after the one before.
    pub fragment_timeout: Duration,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            replies_per_second: 1000,
            fragments_per_second: 10_000,
            fragment_timeout: Duration::from_secs(15),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredVip {
    pub name: String,
    pub mode: Mode,
    /// A prime; fixed for the vip's life.
    pub ring_size: u32,
    pub affinity: Affinity,
    pub options: VipOptions,
    /// By backend name.
    pub members: BTreeMap<String, DesiredMember>,
    /// Other backends for some sources; at most 255.
    pub routes: Vec<DesiredRoute>,
    /// Backends, of the vip or not, on which no flow goes on that has begun there.
    pub given_up: BTreeSet<IpAddr>,
}

impl DesiredVip {
    /// Every backend that the vip or one of its routes has, by name.
    #[must_use]
    pub fn all_members(&self) -> BTreeMap<&str, &DesiredMember> {
        let routes = self.routes.iter().flat_map(|route| &route.members);
        routes.chain(&self.members).map(|(name, member)| (name.as_str(), member)).collect()
    }
}

/// A group of backends for clients of some prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRoute {
    pub name: String,
    pub sources: Prefixes,
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
    /// The backend's own mode, or the vip's.
    pub mode: Mode,
    /// What the backend writes into its QUIC connection ids.
    pub server_id: Option<ServerId>,
    /// So long it takes to get its whole share when it begins to serve.
    pub slow_start: Duration,
    /// Why it gets no slots of the ring for its health, or for that of others.
    pub out: Option<Out>,
    /// Why it gets slots though its check alone would not have it so.
    pub spared: Option<Spared>,
    /// Drained, and not checked.
    pub silent: bool,
    /// The weight that its check asks for in place of `weight`.
    pub checked_weight: Option<u32>,
    /// The weight for the ring in place of `weight`, while a backend of the ring starts slowly.
    pub slow_weight: Option<u32>,
}

impl DesiredMember {
    /// A backend with nothing special about it.
    #[must_use]
    pub const fn new(address: IpAddr, weight: u32) -> Self {
        Self {
            address,
            weight,
            drained: false,
            mode: Mode::Ipip,
            server_id: None,
            slow_start: Duration::ZERO,
            out: None,
            spared: None,
            silent: false,
            checked_weight: None,
            slow_weight: None,
        }
    }

    /// The weight without regard to slow start, and to whether it serves at all.
    #[must_use]
    pub const fn asked_weight(&self) -> u32 {
        match self.checked_weight {
            Some(weight) => weight,
            None => self.weight,
        }
    }

    /// The weight that counts in the ring.
    #[must_use]
    pub const fn effective_weight(&self) -> u32 {
        match self.slow_weight {
            _ if self.drained || self.out.is_some() => 0,
            None => self.asked_weight(),
            Some(weight) => weight,
        }
    }
}
