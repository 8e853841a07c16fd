//! Maglev rings (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4).
//!
//! A ring is built from a set of members; order of arguments, names and history play no part, so two balancers with the
//! same set build the same ring.
//!
//! Each member walks its own permutation of the slots and takes the next free one when it is its turn:
//!
//! ```text
//! offset  = permutation_hash(identity, 0x6f66_6673_6574_0001) mod size
//! skip    = permutation_hash(identity, 0x736b_6970_0000_0002) mod (size - 1) + 1
//! visit n = (offset + n * skip) mod size
//! ```
//!
//! Weights work by credit: in every round each member earns its weight and spends the largest weight for a turn, so over
//! the whole ring turns are proportional to weights, not only in the first round.

use alloc::vec;
use alloc::vec::Vec;

/// An empty slot of a ring without members.
pub const EMPTY: u16 = crate::abi::EMPTY_SLOT;

/// Smallest and largest allowed ring.
pub const RING_SIZES: core::ops::RangeInclusive<u32> = 251..=655_373;

/// The default ring size.
pub const DEFAULT_RING_SIZE: u32 = 65_537;

/// A member's stable identity: its address, IPv4 as `::ffff:a.b.c.d`.
pub type Identity = [u8; 16];

/// One backend as the ring sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    pub identity: Identity,
    /// Share of the slots, relative to the others; 0 takes none.
    pub weight: u32,
}

/// Whether `size` may be a ring size: a prime within [`RING_SIZES`].
#[must_use]
pub fn is_ring_size(size: u32) -> bool {
    RING_SIZES.contains(&size) && is_prime(size)
}

/// The prime ring sizes next to `size`, below and above, for error messages.
#[must_use]
pub fn nearest_ring_sizes(size: u32) -> (Option<u32>, Option<u32>) {
    let below = (*RING_SIZES.start()..=size.min(*RING_SIZES.end())).rev().find(|n| is_prime(*n));
    let above = (size.max(*RING_SIZES.start())..=*RING_SIZES.end()).find(|n| is_prime(*n));
    (below, above)
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

/// Builds a ring of `size` slots; each holds the index of its owner in `members`. Without any weight every slot is
/// [`EMPTY`].
///
/// # Panics
/// When `size` is no ring size ([`is_ring_size`]) or there are more than 65,534 members.
#[must_use]
pub fn build(size: u32, members: &[Member]) -> Vec<u16> {
    assert!(is_ring_size(size), "{size} is not a ring size");
    assert!(members.len() < usize::from(EMPTY), "{} members do not fit a ring", members.len());
    let mut order: Vec<u16> =
        (0..members.len() as u16).filter(|i| members[usize::from(*i)].weight > 0).collect();
    order.sort_by_key(|i| members[usize::from(*i)].identity);
    let walks = order
        .into_iter()
        .map(|owner| {
            let member = members[usize::from(owner)];
            let (offset, skip) = permutation(&member.identity, size);
            Walk { owner, weight: member.weight, credit: 0, position: offset, skip }
        })
        .collect();
    fill(size, walks)
}

/// Where a member's permutation of `size` slots starts, and its stride.
#[must_use]
pub fn permutation(identity: &Identity, size: u32) -> (u32, u32) {
    let offset = permutation_hash(identity, 0x6f66_6673_6574_0001) % u64::from(size);
    let skip = permutation_hash(identity, 0x736b_6970_0000_0002) % u64::from(size - 1) + 1;
    (offset as u32, skip as u32)
}

/// Two rounds of multiply-xorshift over the identity's two little-endian words.
#[must_use]
pub fn permutation_hash(identity: &Identity, salt: u64) -> u64 {
    let [low, high] = crate::headers::words_v6(*identity);
    let mix = |mut x: u64| {
        x ^= x >> 30;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    mix(mix(salt ^ low).wrapping_add(high))
}

struct Walk {
    owner: u16,
    weight: u32,
    credit: u64,
    position: u32,
    skip: u32,
}

fn fill(size: u32, mut walks: Vec<Walk>) -> Vec<u16> {
    let mut ring = vec![EMPTY; size as usize];
    let Some(turn) = walks.iter().map(|walk| u64::from(walk.weight)).max() else {
        return ring;
    };
    let mut free = size;
    loop {
        for walk in &mut walks {
            walk.credit += u64::from(walk.weight);
            if walk.credit < turn {
                continue;
            }
            walk.credit -= turn;
            while ring[walk.position as usize] != EMPTY {
                walk.step(size);
            }
            ring[walk.position as usize] = walk.owner;
            walk.step(size);
            free -= 1;
            if free == 0 {
                return ring;
            }
        }
    }
}

impl Walk {
    /// 64-bit in effect: both terms are below `size`, which is far below 2^31.
    fn step(&mut self, size: u32) {
        let next = self.position + self.skip;
        self.position = if next >= size { next - size } else { next };
    }
}

/// How many slots have another owner in `after` than in `before`, owners compared by `same`.
#[must_use]
pub fn moved(before: &[u16], after: &[u16], same: impl Fn(u16, u16) -> bool) -> u32 {
    before.iter().zip(after).filter(|(b, a)| !same(**b, **a)).count() as u32
}

#[cfg(test)]
mod tests;
