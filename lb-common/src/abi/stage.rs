//! The programs behind the first one. What most packets need is in the balancer itself; a packet that needs more leaves it
//! with a [`super::Reason`] that names a stage, and a tail call goes there. A stage reads the packet anew.

/// A program of its own, by its index in `STAGES`. A packet goes from stage to stage only upwards.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The whole way again, for vips with access lists, limits or routes, and for frames in several buffers, which look cut
    /// off to the first program.
    Policy = 0,
    /// ARP.
    Arp = 1,
    /// ICMP and ICMPv6: echo, errors, neighbour solicitations.
    Icmp = 2,
    /// Fragments: what each says about itself.
    Fragment = 3,
    /// Fragments: which vip they are taken to be for.
    Aim = 4,
    /// Fragments among the others of their datagram.
    Datagram = 5,
    /// Fragments whose dest is known.
    Send = 6,
    /// An address of a vip, but no vip.
    Closed = 7,
    /// Flows whose slot of the ring has changed hands.
    Decide = 8,
    /// Too large for the way to the backend.
    TooBig = 9,
}

/// Entries in `STAGES`.
pub const STAGE_COUNT: u32 = 16;

impl Stage {
    /// The index of the balancer's twin that explains and changes nothing.
    pub const EXPLAIN: u32 = 15;

    pub const ALL: &[Self] = &[
        Self::Policy,
        Self::Arp,
        Self::Icmp,
        Self::Fragment,
        Self::Aim,
        Self::Datagram,
        Self::Send,
        Self::Closed,
        Self::Decide,
        Self::TooBig,
    ];

    /// The name of its program in the object.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Policy => "stage_policy",
            Self::Arp => "stage_arp",
            Self::Icmp => "stage_icmp",
            Self::Fragment => "stage_fragment",
            Self::Aim => "stage_aim",
            Self::Datagram => "stage_datagram",
            Self::Send => "stage_send",
            Self::Closed => "stage_closed",
            Self::Decide => "stage_decide",
            Self::TooBig => "stage_too_big",
        }
    }
}
