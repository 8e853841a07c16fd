//! Why a packet was passed to the kernel or dropped. Every reason is a counter.

/// Entries in `REASONS`.
pub const REASON_COUNT: u32 = 32;

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident, $kind:literal { $($(#[doc = $doc:literal])* $variant:ident = $value:literal, $label:literal;)* }) => {
        $(#[$meta])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant = $value,)* }

        impl $name {
            /// All reasons of this kind.
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

            /// Index, kind and texts together.
            #[must_use]
            pub const fn info(self) -> ReasonInfo {
                ReasonInfo { index: self as u32, kind: $kind, label: self.label(), meaning: self.meaning() }
            }
        }
    };
}

reasons! {
    /// Why a packet goes to the kernel untouched.
    PassReason, "pass" {
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
    }
}

reasons! {
    /// Why a packet for a vip is dropped.
    DropReason, "drop" {
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
}

/// One reason, as tables and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonInfo {
    /// Index into `REASONS`.
    pub index: u32,
    /// `pass` or `drop`.
    pub kind: &'static str,
    pub label: &'static str,
    pub meaning: &'static str,
}

/// Every reason, passes first.
pub fn reasons() -> impl Iterator<Item = ReasonInfo> {
    let pass = PassReason::ALL.iter().map(|reason| reason.info());
    let drop = DropReason::ALL.iter().map(|reason| reason.info());
    pass.chain(drop)
}
