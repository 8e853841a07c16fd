//! Adverts as bytes. Decides whether bytes are an advert at all and which one; never whether anybody should heed it
//! (that is [`crate::filter`]).
//!
//! ```text
//! version 3 (RFC 9568 5.1, RFC 5798)               version 2 (RFC 3768 5.1), IPv4 only
//!  0       1       2       3                        0       1       2       3
//! |ver typ| vrid  | prio  | count |                |ver typ| vrid  | prio  | count |
//! | 0  interval/cs|   checksum    |                |auth typ| int/s|   checksum    |
//! | addresses, 4 or 16 bytes each …                | addresses, 4 bytes each …
//!                                                  | authentication data, always 8 bytes
//! ```
//!
//! The checksum of version 2 is over the message alone, that of version 3 over IPv6 has the pseudo header of RFC 8200 8.1
//! in front. Version 3 over IPv4 comes in three ways: without a pseudo header (RFC 9568 5.2.8), with one (RFC 5798 as
//! keepalived and FRR read it), and with one that names the multicast group although the packet is unicast (keepalived's
//! `old_unicast_checksum`). All are understood; [`Ipv4Sum`] says which one is sent.

mod build;
mod checksum;
mod frame;
mod parse;
mod reject;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use build::{BuildError, build};
pub use checksum::Ipv4Sum;
pub use frame::{Frame, group_mac, ipv4_packet, ipv6_packet, virtual_mac};
pub use parse::{Parsed, parse};
pub use reject::{Reject, Rejects};

/// The IP protocol number.
pub const PROTOCOL: u8 = 112;
/// No router forwards an advert: what comes with less has come from elsewhere (RFC 9568 5.1.1.3).
pub const HOP_LIMIT: u8 = 255;
/// Where adverts go unless peers are named (RFC 9568 5.1.1.2, 5.1.2.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The priority of who owns the addresses for good; never changed by tracking.
pub const OWNER: u8 = 255;
/// The priority in the advert of a master that leaves.
pub const LEAVING: u8 = 0;

/// What a master says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Advert {
    pub version: Version,
    /// 1 to 255.
    pub vrid: u8,
    /// 1 to 254, [`OWNER`] or [`LEAVING`].
    pub priority: u8,
    pub interval: Interval,
    /// All of one family, at least one; over IPv6 the first one is link-local.
    pub addresses: Vec<IpAddr>,
    /// [`Authentication::None`] in version 3, which has none.
    pub authentication: Authentication,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V2,
    V3,
}

impl Version {
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// RFC 2338 5.3.6. It keeps mistakes apart, not attackers: everybody on the link can read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authentication {
    #[default]
    None,
    /// keepalived's `auth_type PASS`: the first eight bytes of the word, filled up with zeros.
    Password([u8; 8]),
}

impl Authentication {
    #[must_use]
    pub fn password(word: &str) -> Self {
        let mut bytes = [0; 8];
        for (byte, letter) in bytes.iter_mut().zip(word.bytes()) {
            *byte = letter;
        }
        Self::Password(bytes)
    }
}

/// How often a master sends, in centiseconds; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(u16);

impl Interval {
    /// What 12 bits hold (RFC 9568 5.2.7).
    pub const MAX_V3: Self = Self(4095);
    /// What a byte of seconds holds.
    pub const MAX_V2: Self = Self(25_500);
    /// RFC 9568 6.1, RFC 3768 6.1.
    pub const DEFAULT: Self = Self(100);

    #[must_use]
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds == 0 { None } else { Some(Self(centiseconds)) }
    }

    #[must_use]
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }

    /// Whether an advert of this version can say it.
    #[must_use]
    pub const fn fits(self, version: Version) -> bool {
        match version {
            Version::V2 => self.0.is_multiple_of(100) && self.0 <= Self::MAX_V2.0,
            Version::V3 => self.0 <= Self::MAX_V3.0,
        }
    }
}

/// What the IP header says of a packet, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit as received.
    pub hop_limit: u8,
}

#[cfg(test)]
mod tests;
