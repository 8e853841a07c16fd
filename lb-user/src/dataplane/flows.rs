//! The flow cache as user space sees it: memory that programs write while it is read. Only whole words are read, and a record
//! is removed only as long as it is the one that was read.

mod changes;
mod records;

pub use changes::{ChangesWanted, FlowChanges, Told};
pub use records::{FlowRecord, FlowRecords, Remembered, Wins};

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{FLOW_OWNERS, FLOW_WAYS, FlowBucket, Tracking};
use lb_common::flow::{FlowState, Record, Tick};

use super::memory::MappedArray;
use crate::state::VipKey;

/// The remembered flows of one dest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Only one packet was seen.
    pub opened: u64,
    /// They go on.
    pub live: u64,
    /// They were seen to end.
    pub closing: u64,
}

impl FlowCounts {
    #[must_use]
    pub const fn all(&self) -> u64 {
        self.opened + self.live + self.closing
    }

    const fn count(&mut self, state: FlowState) {
        match state {
            FlowState::Opened => self.opened += 1,
            FlowState::Seen | FlowState::Confirmed => self.live += 1,
            FlowState::Closing => self.closing += 1,
        }
    }
}

/// What is remembered now, by vip, number of the route (0: none) and backend. Dests without a flow are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowTable {
    pub dests: BTreeMap<(VipKey, u8, IpAddr), FlowCounts>,
}

impl FlowTable {
    /// The flows of a vip and its routes on a backend.
    #[must_use]
    pub fn of(&self, vip: VipKey, backend: IpAddr) -> FlowCounts {
        let of_vip =
            self.dests.range((vip, 0, IpAddr::from([0; 4]))..).take_while(|((key, ..), _)| *key == vip);
        let of_backend = of_vip.filter(|((.., address), _)| *address == backend);
        of_backend.fold(FlowCounts::default(), |sum, (_, counts)| FlowCounts {
            opened: sum.opened + counts.opened,
            live: sum.live + counts.live,
            closing: sum.closing + counts.closing,
        })
    }

    /// Whether anything is remembered of a vip's or route's flows on a backend.
    #[must_use]
    pub fn has(&self, vip: VipKey, route: u8, backend: IpAddr) -> bool {
        self.dests.get(&(vip, route, backend)).is_some_and(|counts| counts.all() > 0)
    }
}

/// How long records count that user space looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages<'a> {
    pub(super) now: Tick,
    pub(super) tracking: &'a Tracking,
    /// For flows of UDP.
    pub(super) udp_idle: Tick,
}

/// The instance's `FLOWS`.
pub(super) struct Flows(MappedArray<FlowBucket>);

impl Flows {
    pub(super) const fn new(map: MappedArray<FlowBucket>) -> Self {
        Self(map)
    }

    /// Counts the records that count, by owner, and removes the others. `is_udp`: by owner.
    pub(super) fn count(&self, ages: &Ages<'_>, is_udp: &[bool]) -> Vec<FlowCounts> {
        let mut counts = vec![FlowCounts::default(); FLOW_OWNERS as usize];
        self.each(|at, word, record| {
            let owner = usize::from(record.owner);
            let is_udp = is_udp.get(owner).copied().unwrap_or(false);
            let is_over = is_udp && record.age(ages.now) > ages.udp_idle;
            if is_over || !record.is_live(ages.now, ages.tracking) {
                self.0.replace_u64(at, word, 0);
            } else {
                counts[owner].count(record.state);
            }
        });
        counts
    }

    /// Removes the records of some owners.
    pub(super) fn forget(&self, owners: &[u16]) {
        if owners.is_empty() {
            return;
        }
        let mut gone = vec![false; FLOW_OWNERS as usize];
        owners.iter().for_each(|owner| gone[usize::from(*owner)] = true);
        self.each(|at, word, record| {
            if gone[usize::from(record.owner)] {
                self.0.replace_u64(at, word, 0);
            }
        });
    }

    /// Every record, with its word and where that is in the map.
    pub(super) fn each(&self, mut of: impl FnMut(usize, u64, Record)) {
        let words = self.0.len() as usize * FLOW_WAYS;
        for at in (0..words).map(|word| word * size_of::<u64>()) {
            let word = self.0.read_at::<u64>(at);
            if let Some(record) = Record::from_word(word) {
                of(at, word, record);
            }
        }
    }
}
