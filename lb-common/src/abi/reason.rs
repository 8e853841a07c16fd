//! Why a packet was not forwarded: it was passed to the kernel, dropped, or answered. Every reason is a counter.

use super::Stage;

/// Entries in `REASONS`.
pub const REASON_COUNT: u32 = 64;

/// Reasons from this number on are drops.
const FIRST_DROP: u32 = 16;
/// Reasons from this number on are answers: the packet was turned into one and goes back where it came from.
const FIRST_ANSWER: u32 = 48;

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
    /// not IPv4, IPv6 or ARP (LLDP, more than two VLAN tags)
    NotIp = 0, "not_ip";
    /// the destination address is no vip's
    NotVip = 1, "not_vip";
    /// a vip's address, but no vip has this port and protocol
    NoService = 2, "no_service";
    /// a fragment for a vip's address, but for no vip, and of no echo request that is answered
    Fragment = 3, "fragment";
    /// ICMP or ICMPv6 for a vip's address
    Icmp = 4, "icmp";
    /// neither TCP, UDP nor ICMP, for a vip's address
    OtherProtocol = 5, "other_protocol";
    /// an IPv6 extension header chain that is too long or not understood, for a vip's address
    ExtensionHeaders = 6, "extension_headers";
    /// too short or malformed before its destination could be read
    Malformed = 7, "malformed";
    /// ARP that is no request for an announced address
    Arp = 8, "arp";
    /// larger than the way to its backend, given to the kernel behind its outer header, to be fragmented
    Oversize = 9, "oversize";
    /// a vip with options that the first stage does not know: the policy stage is missing
    Policy = 10, "policy";
    /// a fragment that was read: the stage that knows vips is missing
    FragmentRead = 11, "fragment_read";
    /// a fragment whose vip is known: the stage that knows its datagram is missing
    FragmentAimed = 12, "fragment_aimed";
    /// a fragment whose dest is known: the stage that sends it is missing
    FragmentFound = 13, "fragment_found";
    /// a flow of a ring slot that has changed hands, found in the tables: the stage that decides is missing
    FlowSeated = 14, "flow_seated";
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
    /// larger than the way to its backend, and no message about it may be sent (any more this second)
    TooBig = 22, "too_big";
    /// for an announced address, but no vip has this port and protocol
    ClosedPort = 23, "closed_port";
    /// the source is not allowed, or denied, by an access list
    AccessDenied = 24, "access_denied";
    /// a new flow beyond the limit of its vip
    VipLimit = 25, "vip_limit";
    /// a new flow beyond the limit of its source prefix
    SourceLimit = 26, "source_limit";
    /// sent by this balancer itself, or back to where it came from
    Loop = 27, "loop";
    /// a fragment that overlaps or repeats one before it
    FragmentOverlap = 28, "fragment_overlap";
    /// a fragment too short for the header it must hold, or of an impossible size
    FragmentTiny = 29, "fragment_tiny";
    /// a fragment that begins more datagrams than are followed, or more pieces of one than are remembered
    FragmentFlood = 30, "fragment_flood";
    /// a fragment that came before the first one of its datagram and cannot be placed without it
    FragmentEarly = 31, "fragment_early";
    /// a fragment for a vip that takes none
    FragmentRefused = 32, "fragment_refused";
    /// an answer of the program is due, but its limit for this second is spent
    AnswerLimit = 33, "answer_limit";
    /// an ICMP error about a packet that no vip has sent
    IcmpStray = 34, "icmp_stray";
    /// ICMP with a wrong checksum or a cut-off body
    IcmpMalformed = 35, "icmp_malformed";
    /// for an answer of the program, but from an address that is no host's: multicast, broadcast, loopback
    BadSource = 36, "bad_source";
    /// an echo request by way of a source route
    SourceRoute = 37, "source_route";
    /// a question for a virtual router's address whose lease has lapsed or was given back: not answered, nor by the kernel
    LeaseLapsed = 38, "lease_lapsed";
    /// an echo request, answered
    EchoReply = 48, "echo_reply";
    /// an ARP request for an announced address, answered
    ArpReply = 49, "arp_reply";
    /// a neighbour solicitation for an announced address, answered
    NeighbourReply = 50, "neighbour_reply";
    /// larger than the way to its backend: the sender was told the size that fits
    TooBigReply = 51, "too_big_reply";
    /// for no vip's port: the sender got a reset or "port unreachable"
    RejectReply = 52, "reject_reply";
}

/// A bit for each reason with a stage.
const STAGED: u64 = {
    let mut bits = 0;
    let mut next = 0;
    while next < Reason::ALL.len() {
        let reason = Reason::ALL[next];
        if reason.own_stage().is_some() {
            bits |= 1 << reason as u32;
        }
        next += 1;
    }
    bits
};

impl Reason {
    /// Whether the packet is dropped.
    #[must_use]
    #[inline(always)]
    pub const fn is_drop(self) -> bool {
        self as u32 >= FIRST_DROP && !self.is_answer()
    }

    /// Whether the packet was turned into an answer.
    #[must_use]
    #[inline(always)]
    pub const fn is_answer(self) -> bool {
        self as u32 >= FIRST_ANSWER
    }

    /// `pass`, `drop` or `answer`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        if self.is_answer() {
            "answer"
        } else if self.is_drop() {
            "drop"
        } else {
            "pass"
        }
    }

    /// The stage that decides about packets which left the first one with this reason.
    #[must_use]
    #[inline(always)]
    pub const fn stage(self) -> Option<Stage> {
        // One test for the many packets that have none, instead of a chain of comparisons.
        if STAGED >> self as u32 & 1 == 0 {
            return None;
        }
        self.own_stage()
    }

    #[inline(always)]
    const fn own_stage(self) -> Option<Stage> {
        match self {
            Self::Policy | Self::Truncated => Some(Stage::Policy),
            Self::Arp => Some(Stage::Arp),
            Self::Icmp => Some(Stage::Icmp),
            Self::Fragment => Some(Stage::Fragment),
            Self::FragmentRead => Some(Stage::Aim),
            Self::FragmentAimed => Some(Stage::Datagram),
            Self::FragmentFound => Some(Stage::Send),
            Self::NoService | Self::OtherProtocol => Some(Stage::Closed),
            Self::TooBig => Some(Stage::TooBig),
            Self::FlowSeated => Some(Stage::Decide),
            _ => None,
        }
    }

    /// The reason with this number.
    #[must_use]
    pub fn from_index(index: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| *reason as u32 == index)
    }
}
