//! A vip's ring and its past as they are sent to another node. Pure.
//!
//! A ring follows from its members, so these are sent, and of the slots only those that have a past. The receiver builds the
//! ring anew; a checksum tells when the two nodes do not build the same one.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use lb_common::maglev::{self, Member};
use lb_common::transition::Slot;
use serde::{Deserialize, Serialize};

use crate::state::{ForwardDest, ForwardVip, History, Mode, Unresolved, identity};

/// A vip's ring, or a route's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingImage {
    pub size: u32,
    /// In the order in which the ring numbers them.
    pub members: Vec<MemberImage>,
    /// Of the ring that follows from them.
    pub checksum: u64,
    pub past: Option<PastImage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberImage {
    pub address: IpAddr,
    pub weight: u32,
    pub mode: ModeImage,
}

/// [`Mode`], whose own form is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModeImage {
    Ipip,
    Gue,
    L2,
}

/// What is left of earlier rings. Times are spans, since two nodes' clocks have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastImage {
    /// Dests that flows may belong to; slots name them by position.
    pub dests: Vec<MemberImage>,
    /// Nanoseconds since the latest transition began.
    pub age_ns: u64,
    /// Nanoseconds for which datagrams without a record are still taken to be of older flows.
    pub learning_ns: u64,
    /// Runs of slots that have the same owner and previous dest, in order; together they are the ring.
    pub runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub slots: u32,
    /// Positions in the past's dests.
    pub owner: Option<u16>,
    pub previous: Option<u16>,
    pub is_looked_up: bool,
}

/// Why an image is not that of a ring here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("{0} is not the size of a ring")]
    Size(u32),
    #[error("the two nodes build different rings of the same backends; run the same version on both")]
    Checksum,
    #[error("the past of a ring of {size} slots has {slots}")]
    Slots { size: u32, slots: u64 },
    #[error("a slot names backend {0}, of which there is none")]
    Dest(u16),
}

impl RingImage {
    /// `now_ns` is on this node's monotonic clock.
    #[must_use]
    pub fn of(vip: &ForwardVip, now_ns: u64) -> Self {
        Self {
            size: vip.ring_size,
            members: vip.dests.values().map(MemberImage::of).collect(),
            checksum: checksum(&vip.ring),
            past: vip.past.as_deref().map(|past| PastImage::of(past, now_ns)),
        }
    }

    /// The ring as this node goes on with it. `now_ns` is on this node's monotonic clock.
    ///
    /// # Errors
    /// When it is none.
    pub fn history(&self, now_ns: u64) -> Result<History, ImageError> {
        if !maglev::is_ring_size(self.size) {
            return Err(ImageError::Size(self.size));
        }
        let members: Vec<Member> = self.members.iter().map(MemberImage::member).collect();
        let ring = maglev::build(self.size, &members);
        if checksum(&ring) != self.checksum {
            return Err(ImageError::Checksum);
        }
        match &self.past {
            Some(past) => past.history(self.size, now_ns),
            None => {
                let owner = |number: &u16| (*number != maglev::EMPTY).then_some(*number);
                let slots = ring.iter().map(|number| Slot::steady(owner(number))).collect();
                let dests = self.members.iter().map(MemberImage::dest).collect();
                Ok(History::found(dests, slots, 0, 0))
            }
        }
    }
}

impl MemberImage {
    fn of(dest: &ForwardDest) -> Self {
        let mode = match dest.mode {
            Mode::Ipip => ModeImage::Ipip,
            Mode::Gue => ModeImage::Gue,
            Mode::L2 => ModeImage::L2,
        };
        Self { address: dest.address, weight: dest.weight, mode }
    }

    fn member(&self) -> Member {
        Member { identity: identity(self.address), weight: self.weight }
    }

    fn dest(&self) -> ForwardDest {
        let mode = match self.mode {
            ModeImage::Ipip => Mode::Ipip,
            ModeImage::Gue => Mode::Gue,
            ModeImage::L2 => Mode::L2,
        };
        let next_hop = Err(Unresolved::Pending);
        ForwardDest { address: self.address, weight: 0, mode, server_id: None, next_hop }
    }
}

impl PastImage {
    fn of(past: &History, now_ns: u64) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        for Slot { owner, previous, is_looked_up } in past.ring.slots().iter().copied() {
            match runs.last_mut() {
                Some(run)
                    if (run.owner, run.previous, run.is_looked_up) == (owner, previous, is_looked_up) =>
                {
                    run.slots += 1;
                }
                _ => runs.push(Run { slots: 1, owner, previous, is_looked_up }),
            }
        }
        Self {
            dests: past.dests.iter().map(MemberImage::of).collect(),
            age_ns: past.ring.since().map_or(0, |since| now_ns.saturating_sub(since)),
            learning_ns: past.learning_until_ns.saturating_sub(now_ns),
            runs,
        }
    }

    fn history(&self, size: u32, now_ns: u64) -> Result<History, ImageError> {
        let slots = self.runs.iter().map(|run| u64::from(run.slots)).sum();
        if slots != u64::from(size) {
            return Err(ImageError::Slots { size, slots });
        }
        let named = self.runs.iter().flat_map(|run| [run.owner, run.previous]).flatten();
        if let Some(stranger) = named.into_iter().find(|number| usize::from(*number) >= self.dests.len()) {
            return Err(ImageError::Dest(stranger));
        }
        let slots = self.runs.iter().flat_map(|run| {
            let Run { slots, owner, previous, is_looked_up } = *run;
            std::iter::repeat_n(Slot { owner, previous, is_looked_up }, slots as usize)
        });
        let (since, learning) = (now_ns.saturating_sub(self.age_ns), now_ns.saturating_add(self.learning_ns));
        let dests = self.dests.iter().map(MemberImage::dest).collect();
        let learning = if self.learning_ns == 0 { 0 } else { learning };
        Ok(History::found(dests, slots.collect(), since, learning))
    }
}

/// FNV-1a over the slots.
fn checksum(ring: &[u16]) -> u64 {
    let bytes = ring.iter().flat_map(|slot| slot.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
