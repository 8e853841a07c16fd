//! Why an advert is not heeded.

use std::net::IpAddr;

use super::Version;

/// Why an advert is discarded, in the order in which it is looked at. The first ones are found in the bytes, the others by
/// comparing it with a virtual router here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    #[error("the packet is not VRRP (IP protocol {0})")]
    Protocol(u8),
    #[error("the packet is cut short or longer than its address count says")]
    Length,
    #[error("VRRP version {0} is unknown")]
    UnknownVersion(u8),
    #[error("VRRP version 2 is for IPv4 only")]
    Version2OverIpv6,
    #[error("packet type {0} is not an advert")]
    Type(u8),
    #[error("the checksum is wrong")]
    Checksum,
    #[error("virtual router id 0 does not exist")]
    VridZero,
    #[error("it has no address")]
    NoAddresses,
    #[error("its advert interval is zero")]
    IntervalZero,
    #[error("authentication type {0} is neither none (0) nor PASS (1)")]
    AuthenticationType(u8),

    #[error(
        "its TTL is {0} and not 255: it was forwarded or sent by something else; for unicast, check_ttl = false lets it in"
    )]
    HopLimit(u8),
    #[error("no virtual router here has id {0}")]
    UnknownVrid(u8),
    #[error("it is VRRP version {}, here it is {}", got.number(), here.number())]
    Version { got: Version, here: Version },
    #[error("its source {0} is this host's own address: the packet came back, or the address is there twice")]
    OwnSource(IpAddr),
    #[error("its sender {0} is not among the unicast peers")]
    NotAPeer(IpAddr),
    #[error("its authentication type is another one than here")]
    AuthenticationMismatch,
    #[error("its password is wrong")]
    Password,
    #[error("its interval is {got_s} s, here it is {here_s} s; version 2 wants both equal")]
    Interval { got_s: u16, here_s: u16 },
    #[error(
        "its addresses are other ones than here: another virtual router with the same id, or one of the two configured wrong"
    )]
    AddressList,
    #[error("this node owns the addresses (priority 255), and so does its sender")]
    SecondOwner,
}

impl Reject {
    /// All words of [`Self::reason`].
    pub const REASONS: [&'static str; 20] = [
        "protocol",
        "length",
        "unknown_version",
        "version_2_over_ipv6",
        "type",
        "checksum",
        "vrid_zero",
        "no_addresses",
        "interval_zero",
        "authentication_type",
        "hop_limit",
        "unknown_vrid",
        "version",
        "own_source",
        "not_a_peer",
        "authentication_mismatch",
        "password",
        "interval",
        "address_list",
        "second_owner",
    ];

    /// A word to count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        Self::REASONS[self.index()]
    }

    const fn index(self) -> usize {
        match self {
            Self::Protocol(_) => 0,
            Self::Length => 1,
            Self::UnknownVersion(_) => 2,
            Self::Version2OverIpv6 => 3,
            Self::Type(_) => 4,
            Self::Checksum => 5,
            Self::VridZero => 6,
            Self::NoAddresses => 7,
            Self::IntervalZero => 8,
            Self::AuthenticationType(_) => 9,
            Self::HopLimit(_) => 10,
            Self::UnknownVrid(_) => 11,
            Self::Version { .. } => 12,
            Self::OwnSource(_) => 13,
            Self::NotAPeer(_) => 14,
            Self::AuthenticationMismatch => 15,
            Self::Password => 16,
            Self::Interval { .. } => 17,
            Self::AddressList => 18,
            Self::SecondOwner => 19,
        }
    }
}

/// How many were discarded, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rejects([u64; Reject::REASONS.len()]);

impl Rejects {
    pub const fn count(&mut self, reject: Reject) {
        let counter = &mut self.0[reject.index()];
        *counter = counter.saturating_add(1);
    }

    /// Every reason with its number, also those that never occurred.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reject::REASONS.into_iter().zip(self.0)
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
