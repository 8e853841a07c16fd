//! The vip tables and the rings they point to.
//!
//! A table has two banks of [`VIP_SLOTS`] entries. A key lives in one of the two slots that `hash::vip_slots` names, so
//! a lookup is at most two array reads. A ring is a run of [`RingPage`]s: pages instead of one value a ring keep
//! memory proportional to the configured ring sizes and need no bounds check on the slot.

use bytemuck::{Pod, Zeroable};

/// Entries in one bank of a vip table; a power of two.
pub const VIP_SLOTS: u32 = 16_384;

/// Ring slots in one page; a power of two.
pub const RING_PAGE_SLOTS: u32 = 1024;

/// A ring slot without an owner.
pub const EMPTY_SLOT: u16 = u16::MAX;

/// Set in a ring slot that is in transition: its flows may belong to another dest than its owner, whose local number the
/// other bits are. Behind the ring, and its table of server ids, lies a [`PastHead`] then, and behind that the previous
/// dest of each slot, or [`EMPTY_SLOT`].
pub const IN_TRANSITION: u16 = 0x8000;

/// A slot in transition that nobody owns any more.
pub const ORPHANED_SLOT: u16 = u16::MAX - 1;

/// Dests that a ring can tell apart.
pub const MAX_RING_DESTS: usize = (ORPHANED_SLOT & !IN_TRANSITION) as usize;

/// What stands before the previous dests of a ring's slots.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct PastHead {
    /// On the clock of `Tables::now_ns`: until then, flows that do not say whether they are new are taken to be old.
    pub learning_until_ns: u64,
    /// When the latest transition began; for user space that finds these tables.
    pub since_ns: u64,
    /// Options: see the constants.
    pub flags: u32,
    pub reserved: u32,
}

impl PastHead {
    /// Flows are remembered whether they need to be or not.
    pub const TRACKS_ALL: u32 = 1 << 0;

    /// Ring slots that it takes.
    pub const SLOTS: u32 = 12;

    /// The head of a ring's past, from its first page.
    #[must_use]
    #[inline(always)]
    pub fn of(page: &RingPage) -> Self {
        let slots = &page.slots;
        let half = |at: usize| slots[at] as u32 | (slots[at + 1] as u32) << 16;
        let word = |at: usize| half(at) as u64 | (half(at + 2) as u64) << 32;
        Self { learning_until_ns: word(0), since_ns: word(4), flags: half(8), reserved: half(10) }
    }

    /// As ring slots.
    #[must_use]
    pub fn to_slots(self) -> [u16; Self::SLOTS as usize] {
        bytemuck::cast(self)
    }
}

/// Pages that the past of a ring of `slots` slots takes.
#[must_use]
pub const fn past_pages(slots: u32) -> u32 {
    ring_pages(PastHead::SLOTS + slots)
}

/// The page number of a vip without a ring. Lookups of it, or of any page after it, find nothing.
pub const NO_RING: u32 = 0x8000_0000;

/// Pages that a ring of `slots` slots takes.
#[must_use]
pub const fn ring_pages(slots: u32) -> u32 {
    slots.div_ceil(RING_PAGE_SLOTS)
}

/// What a vip's packets need to find their dest.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Target {
    /// [`Place`] in one word, so that one aligned store moves a vip to a new ring.
    pub place: u64,
    /// Slots in the ring; fixed for a vip's life.
    pub ring_size: u32,
    /// Which bits of the ports (source in the low half, destination in the high half, as loaded little-endian from the
    /// packet) take part in the flow hash. All ones: five-tuple affinity; zero: source affinity.
    pub ports_mask: u32,
    /// The vip's number, for traces, counters and limits, and for user space.
    pub vip: u32,
    /// Options: see the constants.
    pub flags: u32,
}

/// Options of a vip.
impl Target {
    /// Access lists, limits or routes: the policy stage decides.
    pub const POLICY: u32 = 1 << 0;
    /// QUIC connection ids name backends. The other `QUIC_` fields say how.
    pub const QUIC: u32 = 1 << 1;
    /// Fragments go by addresses and protocol alone.
    pub const FRAGMENTS_HASH: u32 = 1 << 2;
    pub const FRAGMENTS_DROP: u32 = 1 << 3;
    /// Bytes of a server id, 1 to 8: four bits from here.
    pub const QUIC_LEN_SHIFT: u32 = 4;
    /// The id of the QUIC configuration: three bits from here.
    pub const QUIC_CONFIG_SHIFT: u32 = 8;
    /// The entry lies in bank 1. So the routes of a vip are looked for where the vip was found, even if banks are switched
    /// in between.
    pub const BANK: u32 = 1 << 11;
    /// Pages of the table of server ids, which lies behind the ring: a power of two, whose logarithm has four bits from
    /// here.
    pub const QUIC_PAGES_SHIFT: u32 = 12;
    /// Where in `POLICIES` the vip's policy is: sixteen bits from here.
    pub const POLICY_SHIFT: u32 = 16;

    /// Pages of the table of server ids behind the ring.
    #[must_use]
    #[inline(always)]
    pub const fn server_id_pages(&self) -> u32 {
        if self.has(Self::QUIC) { 1 << (self.flags >> Self::QUIC_PAGES_SHIFT & 0xf) } else { 0 }
    }

    /// The vip's entry of `POLICIES`, with [`Self::POLICY`].
    #[must_use]
    #[inline(always)]
    pub const fn policy(&self) -> u32 {
        self.flags >> Self::POLICY_SHIFT
    }

    #[must_use]
    #[inline(always)]
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Options of an address: the entry with port and protocol 0. `ring_size` and `vip` are the lower and the upper half of its
/// places. Whether an election has something to say about it is in `LEASES`.
impl Target {
    /// ARP requests and neighbour solicitations are answered.
    pub const ANSWER_NEIGHBOURS: u32 = 1 << 16;
    /// Echo requests are answered.
    pub const ANSWER_ECHO: u32 = 1 << 17;
    /// Packets for no vip are dropped.
    pub const UNKNOWN_DROP: u32 = 1 << 18;
    /// Packets for no vip are rejected.
    pub const UNKNOWN_REJECT: u32 = 1 << 19;
    /// The address has TCP vips, or just one; then its port, as loaded little-endian from a packet, is the lower half of
    /// `ports_mask`.
    pub const TCP_VIPS: u32 = 1 << 20;
    pub const ONE_TCP_VIP: u32 = 1 << 21;
    /// The same of UDP; the port is the upper half of `ports_mask`.
    pub const UDP_VIPS: u32 = 1 << 22;
    pub const ONE_UDP_VIP: u32 = 1 << 23;

    /// The places of an address that is confined to none.
    pub const EVERYWHERE: u64 = u64::MAX;

    /// An address's, confined to these places: a bit for each, as in [`super::Interface::places`].
    #[must_use]
    pub const fn confined_to(self, places: u64) -> Self {
        Self { ring_size: places as u32, vip: (places >> 32) as u32, ..self }
    }

    /// Whether neighbours are answered for an address where frames come in for `places`.
    #[must_use]
    #[inline(always)]
    pub const fn answers_in(&self, places: u64) -> bool {
        let own = self.ring_size as u64 | (self.vip as u64) << 32;
        own == Self::EVERYWHERE || own & places != 0
    }
}

/// What fragments without ports ask of an address.
impl Target {
    /// Whether the address has vips of TCP, or else of UDP.
    #[must_use]
    #[inline(always)]
    pub const fn has_vips(&self, tcp: bool) -> bool {
        self.has(if tcp { Self::TCP_VIPS } else { Self::UDP_VIPS })
    }

    /// The port of the address's only vip of TCP, or else of UDP.
    #[must_use]
    #[inline(always)]
    pub const fn only_port(&self, tcp: bool) -> Option<u16> {
        match tcp {
            true if self.has(Self::ONE_TCP_VIP) => Some(self.ports_mask as u16),
            false if self.has(Self::ONE_UDP_VIP) => Some((self.ports_mask >> 16) as u16),
            _ => None,
        }
    }
}

/// Where a vip's ring and dests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First page of the ring, or [`NO_RING`].
    pub ring_page: u32,
    /// Added to a ring entry it gives the index into `DESTS`.
    pub dest_base: u32,
}

impl Place {
    /// A vip without any dest.
    pub const NONE: Self = Self { ring_page: NO_RING, dest_base: 0 };

    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { ring_page: word as u32, dest_base: (word >> 32) as u32 }
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.ring_page as u64 | (self.dest_base as u64) << 32
    }
}

/// An entry of `VIP4`: a vip, one of its routes, or an address. The key packs address, port and protocol as `hash::vip4_key` does; 0 is an empty entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Vip4 {
    pub key: u64,
    pub target: Target,
}

/// An entry of `VIP6`: a vip, one of its routes, or an address. `service` packs port and protocol as `hash::vip6_service` does; 0 is an empty entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Vip6 {
    /// The address as two words loaded little-endian from the packet.
    pub address: [u64; 2],
    pub service: u64,
    pub target: Target,
}

/// A page of a ring: dest numbers local to the vip.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RingPage {
    pub slots: [u16; RING_PAGE_SLOTS as usize],
}

const _: () = assert!(size_of::<Target>() == 24);
const _: () = assert!(size_of::<Vip4>() == 32 && core::mem::offset_of!(Vip4, target) == 8);
const _: () = assert!(size_of::<Vip6>() == 48 && core::mem::offset_of!(Vip6, target) == 24);
const _: () = assert!(size_of::<RingPage>() == 2048);
const _: () = assert!(size_of::<PastHead>() == 2 * PastHead::SLOTS as usize);
const _: () = assert!(VIP_SLOTS.is_power_of_two() && RING_PAGE_SLOTS.is_power_of_two());
