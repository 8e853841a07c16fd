//! Flows in slots that have changed hands: what is remembered of them, and where their packets go.
//!
//! A slot in steady state needs none of this. In a transition, flows that began before it belong to the slot's previous
//! dest, later ones to its owner; a record says which it was. The rules are pure, so that a model can check them; the
//! kernel's flow stage and user space call the same functions.
//!
//! ```text
//! record  | tag (28) | state (4) | last seen (16) | owner (16) |      0: empty
//! ```

use crate::abi::{FLOW_WAYS, Tracking};

/// 2^30 ns, about 1.07 s, on the kernel's monotonic clock; wraps after 19 hours.
pub type Tick = u16;

/// The tick of a time in nanoseconds.
#[must_use]
#[inline(always)]
pub const fn tick(now_ns: u64) -> Tick {
    (now_ns >> 30) as Tick
}

/// Ticks in a number of seconds, rounded up; as many as can be told apart at most.
#[must_use]
pub const fn ticks_in(seconds: u64) -> Tick {
    let ticks = seconds.saturating_mul(1_000_000_000).div_ceil(1 << 30);
    if ticks > MAX_TICKS as u64 { MAX_TICKS } else { ticks as Tick }
}

/// The longest time that a record may count: user space has removed it before the clock has gone round.
pub const MAX_TICKS: Tick = 50_000;

/// Whoever judges a record may have taken the time long before another CPU wrote it, so that it looks to be of the future. So
/// far ahead it may be.
pub const MAX_AHEAD: Tick = 1_000;

/// How far a flow has come.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowState {
    /// It has been seen to end: a FIN or RST.
    Closing = 1,
    /// One packet was seen, which anybody can send: a SYN, or the first datagram.
    Opened = 2,
    /// One packet was seen that belongs to an older flow, if it belongs to any.
    Seen = 3,
    /// It goes on.
    Confirmed = 4,
}

/// One remembered flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of 28 bits, see [`crate::hash::flow_tag`].
    pub tag: u32,
    pub state: FlowState,
    pub seen: Tick,
    /// The dest's number among owners of flows; never 0.
    pub owner: u16,
}

impl Record {
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        (self.tag as u64) << 36 | (self.state as u64) << 32 | (self.seen as u64) << 16 | self.owner as u64
    }

    /// `None` for an empty word.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        let state = match word >> 32 & 0xf {
            1 => FlowState::Closing,
            2 => FlowState::Opened,
            3 => FlowState::Seen,
            4 => FlowState::Confirmed,
            _ => return None,
        };
        Some(Self { tag: (word >> 36) as u32, state, seen: (word >> 16) as Tick, owner: word as u16 })
    }

    /// Ticks since the flow was seen.
    #[must_use]
    #[inline(always)]
    pub const fn age(&self, now: Tick) -> Tick {
        now.wrapping_sub(self.seen).wrapping_add(MAX_AHEAD).saturating_sub(MAX_AHEAD)
    }

    /// Whether it still counts.
    #[must_use]
    #[inline(always)]
    pub const fn is_live(&self, now: Tick, tracking: &Tracking) -> bool {
        let allowed = match self.state {
            FlowState::Closing => tracking.closing_ticks,
            FlowState::Opened => tracking.opened_ticks,
            FlowState::Seen | FlowState::Confirmed => tracking.idle_ticks,
        };
        self.age(now) <= allowed
    }
}

/// Where in a bucket a flow's record is, or would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub index: usize,
    /// What is there now.
    pub word: u64,
    /// It is this flow's record, and it counts.
    pub is_found: bool,
    /// It is another flow's, and it counts.
    pub evicts: bool,
}

/// The place of the flow with this tag in its bucket, whose words `read` gives. Where it has none: the one that is worth
/// least, so that flows of which only one packet was seen, as in a flood, make room for each other before those that go on.
#[must_use]
#[inline(always)]
pub fn way(read: impl Fn(usize) -> u64, tag: u32, now: Tick, tracking: &Tracking) -> Way {
    let scale = Scale::new(tag, now, tracking);
    // Most packets are of flows that have a record.
    let mut own = 0;
    for index in 0..FLOW_WAYS {
        own |= scale.is_own(read(index)) * (index as u64 + 1);
    }
    let judge = |index| Way::of(index, read(index), tag, now, tracking);
    if own != 0 {
        let way = judge((own - 1) as usize & (FLOW_WAYS - 1));
        if way.is_found {
            return way;
        }
    }
    // Number and worth in one word.
    let mut least = u64::MAX >> 2;
    for index in 0..FLOW_WAYS {
        let candidate = scale.worth(read(index)) << 3 | index as u64;
        least = scale.lesser(candidate, least);
    }
    judge((least & (FLOW_WAYS as u64 - 1)) as usize)
}

impl Way {
    /// By what is there now, which may be another word than a moment before.
    #[inline(always)]
    fn of(index: usize, word: u64, tag: u32, now: Tick, tracking: &Tracking) -> Self {
        let is_live = Record::from_word(word).is_some_and(|record| record.is_live(now, tracking));
        let is_flow = (word >> 36) as u32 == tag;
        Self { index, word, is_found: is_live && is_flow, evicts: is_live && !is_flow }
    }
}

/// What it costs to lose a record: nothing when it is this flow's own, little when it does not count any more, and then the
/// more the further the flow has come and the later it was seen.
///
/// All of it is arithmetic without a branch: the kernel's verifier would follow each combination of branches through the
/// whole bucket.
struct Scale {
    tag: u64,
    /// [`MAX_AHEAD`] later than the time: ages are that much greater, and never negative.
    now: u64,
    /// The greatest age at which a record counts, by the lower two bits of its state, 16 bits each.
    allowed: u64,
    /// What the compiler does not know, or it would make branches again.
    zero: u64,
}

impl Scale {
    #[inline(always)]
    fn new(tag: u32, now: Tick, tracking: &Tracking) -> Self {
        let ahead = u64::from(MAX_AHEAD);
        let idle = u64::from(tracking.idle_ticks) + ahead;
        let closing = u64::from(tracking.closing_ticks) + ahead;
        let opened = u64::from(tracking.opened_ticks) + ahead;
        let allowed = idle | closing << 16 | opened << 32 | idle << 48;
        let now = u64::from(now) + ahead;
        Self { tag: u64::from(tag), now, allowed, zero: core::hint::black_box(0) }
    }

    #[inline(always)]
    fn worth(&self, word: u64) -> u64 {
        let state = word >> 32 & 7;
        let age = self.now.wrapping_sub(word >> 16) & 0xffff;
        let allowed = self.allowed >> ((state & 3) * 16) & 0xffff;
        let some = (state + 7) >> 3;
        let live = self.is_negative(age.wrapping_sub(allowed + 1)) & some;
        let own = self.is_own(word) & some;
        let worth = (state << 16 | (0xffff - age)) * live + (live ^ 1);
        worth * (own ^ 1)
    }

    /// 1 when the word has the flow's tag, an empty one too; or 0.
    #[inline(always)]
    const fn is_own(&self, word: u64) -> u64 {
        self.is_negative(((word >> 36) ^ self.tag).wrapping_sub(1))
    }

    #[inline(always)]
    const fn lesser(&self, a: u64, b: u64) -> u64 {
        let difference = a.wrapping_sub(b).wrapping_add(self.zero);
        b.wrapping_add(difference & self.is_negative(difference).wrapping_neg())
    }

    /// 1 or 0.
    #[inline(always)]
    const fn is_negative(&self, number: u64) -> u64 {
        number.wrapping_add(self.zero) >> 63
    }
}

/// What a packet says about its flow.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// UDP: nothing.
    Nothing = 0,
    /// TCP: SYN without ACK.
    Opens = 1,
    /// TCP: it belongs to a flow that began before.
    Continues = 2,
    /// TCP: FIN or RST.
    Ends = 3,
    /// It is an ICMP error about one that was sent in the flow. Anybody can send it: it leaves no trace.
    Quotes = 4,
}

impl Says {
    /// By its number.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Opens,
            2 => Self::Continues,
            3 => Self::Ends,
            4 => Self::Quotes,
            _ => Self::Nothing,
        }
    }
}

/// What the slot of a flow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSays {
    /// Older flows belong to another dest than the owner.
    pub has_previous: bool,
    /// Flows that say nothing about their age are taken to be old.
    pub is_learning: bool,
    /// Every flow is remembered, whether it needs to be or not.
    pub tracks_all: bool,
}

/// What is known of a flow from its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    No,
    /// For a dest that does not serve any more.
    Dead,
    Yes(FlowState),
}

/// Whose a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Owner,
    Previous,
    /// The record's dest.
    Recorded,
}

/// Where a packet goes, and what is remembered then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub whose: Whose,
    pub remember: Option<FlowState>,
}

/// Decides about a packet in a slot in transition.
#[must_use]
#[inline(always)]
pub const fn decide(says: Says, slot: SlotSays, recorded: Recorded) -> Decision {
    let keeps = slot.has_previous || slot.tracks_all;
    match (says, recorded) {
        // A new flow takes the place of an older one between the same ports, whatever is known of that.
        (Says::Opens, Recorded::No) => owner(if keeps { Some(FlowState::Opened) } else { None }),
        (Says::Opens, _) => owner(Some(FlowState::Opened)),
        (Says::Quotes, Recorded::Yes(_)) => Decision { whose: Whose::Recorded, remember: None },
        (Says::Ends, Recorded::Yes(_)) => follow(FlowState::Closing),
        (_, Recorded::Yes(FlowState::Closing)) => follow(FlowState::Closing),
        (_, Recorded::Yes(_)) => follow(FlowState::Confirmed),
        // Nobody can go on with it: the owner resets it.
        (Says::Ends | Says::Quotes, Recorded::Dead) => owner(None),
        (_, Recorded::Dead) => owner(Some(FlowState::Seen)),
        (Says::Ends | Says::Quotes, Recorded::No) if slot.has_previous => {
            Decision { whose: Whose::Previous, remember: None }
        }
        (Says::Ends | Says::Quotes, Recorded::No) => owner(None),
        (Says::Continues, Recorded::No) if slot.has_previous => previous(FlowState::Seen),
        (Says::Continues, Recorded::No) => owner(if keeps { Some(FlowState::Seen) } else { None }),
        (Says::Nothing, Recorded::No) if slot.has_previous && slot.is_learning => previous(FlowState::Opened),
        (Says::Nothing, Recorded::No) => owner(if keeps { Some(FlowState::Opened) } else { None }),
    }
}

#[inline(always)]
const fn owner(remember: Option<FlowState>) -> Decision {
    Decision { whose: Whose::Owner, remember }
}

#[inline(always)]
const fn previous(remember: FlowState) -> Decision {
    Decision { whose: Whose::Previous, remember: Some(remember) }
}

#[inline(always)]
const fn follow(remember: FlowState) -> Decision {
    Decision { whose: Whose::Recorded, remember: Some(remember) }
}

#[cfg(test)]
mod tests;
