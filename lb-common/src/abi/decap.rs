//! What the decapsulation program on a backend shares with user space.
//!
//! ```text
//! DECAP_LOCALS    HASH[1024]       [u8; 16] -> u32   addresses that tunnels may end at (IPv4 as ::ffff:a.b.c.d)
//! DECAP_SOURCES   LPM_TRIE[4096]   [u8; 16] -> u32   tunnel sources that are accepted, when any are configured
//! DECAP_OUTCOMES  PERCPU_ARRAY[16] u64               packets by DecapOutcome
//! ```

/// Entries in `DECAP_LOCALS`.
pub const DECAP_LOCALS: u32 = 1024;
/// Entries in `DECAP_SOURCES`.
pub const DECAP_SOURCES: u32 = 4096;

/// Entries in `DECAP_OUTCOMES`.
pub const DECAP_OUTCOME_COUNT: u32 = 16;

/// What became of a packet in the decapsulation program; the index of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecapOutcome {
    /// An inner packet was handed to the kernel.
    Decapsulated = 0,
    /// Not a tunnel packet for this host: passed untouched.
    NotTunnel = 1,
    /// A tunnel packet from a source that is not configured: dropped.
    ForeignSource = 2,
    /// The inner packet is malformed: dropped.
    Malformed = 3,
    /// The outer packet is a fragment: passed, for the kernel to reassemble.
    Fragment = 4,
    /// The outer header says congestion experienced but the inner flow does not speak ECN: dropped (RFC 6040 4.2).
    Congestion = 5,
    /// GUE with a control message, flags, optional fields, or another payload than IP: passed, for the kernel to know.
    Unsupported = 6,
}

impl DecapOutcome {
    pub const ALL: &[Self] = &[
        Self::Decapsulated,
        Self::NotTunnel,
        Self::ForeignSource,
        Self::Malformed,
        Self::Fragment,
        Self::Congestion,
        Self::Unsupported,
    ];

    /// Whether the packet is dropped; else the kernel gets it.
    #[must_use]
    #[inline(always)]
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::ForeignSource | Self::Malformed | Self::Congestion)
    }

    /// The name in metrics and command output.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Decapsulated => "decapsulated",
            Self::NotTunnel => "not_tunnel",
            Self::ForeignSource => "foreign_source",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::Congestion => "congestion",
            Self::Unsupported => "gue_unsupported",
        }
    }
}
