//! Why a packet was not forwarded: it was passed to the kernel, or dropped. Every reason is a counter.

/// Entries in `REASONS`.
pub const REASON_COUNT: u32 = 32;

/// Reasons from this number on are drops.
const FIRST_DROP: u32 = 16;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $value:literal, $label:literal;)*) => {
        /// Why a packet was not forwarded; its number is the index of its counter in `REASONS`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $variant = $value,)* }

        impl Reason {
            /// All of them, passes first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in metrics and command output.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

reasons! {
    /// not IPv4 or IPv6 (ARP, LLDP, more than two VLAN tags)
    NotIp = 0, "not_ip";
    /// the destination address is no vip's
    NotVip = 1, "not_vip";
    /// a vip's address, but no vip has this port and protocol
    NoService = 2, "no_service";
    /// a fragment for a vip's address
    Fragment = 3, "fragment";
    /// ICMP or ICMPv6 for a vip's address
    Icmp = 4, "icmp";
    /// neither TCP, UDP nor ICMP, for a vip's address
    OtherProtocol = 5, "other_protocol";
    /// an IPv6 extension header chain that is too long or not understood, for a vip's address
    ExtensionHeaders = 6, "extension_headers";
    /// too short or malformed before its destination could be read
    Malformed = 7, "malformed";
    /// shorter than its headers say, or with impossible lengths
    Truncated = 16, "truncated";
    /// the time to live or hop limit ran out here
    TtlExpired = 17, "ttl_expired";
    /// the vip has no backend in its ring
    NoBackend = 18, "no_backend";
    /// the ring names a dest that does not exist: a defect worth a report
    NoDest = 19, "no_dest";
    /// no room in front of the frame for the outer headers
    NoHeadroom = 20, "no_headroom";
    /// too long to be encapsulated (an IP packet holds 65535 bytes)
    TooLong = 21, "too_long";
}

impl Reason {
    /// Whether the packet is dropped; else the kernel gets it, untouched.
    #[must_use]
    #[inline(always)]
    pub const fn is_drop(self) -> bool {
        self as u32 >= FIRST_DROP
    }

    /// `pass` or `drop`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        if self.is_drop() { "drop" } else { "pass" }
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| *reason as u32 == index)
    }
}
