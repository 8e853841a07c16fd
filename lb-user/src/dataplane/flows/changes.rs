//! What has changed among the records since somebody was told of them last: for a peer that holds a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::FLOW_WAYS;
use lb_common::flow::{FlowState, Record};

use super::{Ages, FlowRecord, Flows};
use crate::dataplane::layout::EntryKey;
use crate::state::Protocol;

/// Words that are compared in one call: about a third of a millisecond.
const WORDS_PER_CALL: usize = 1 << 19;
/// A flow that goes on is told of again when this part of its idle time has passed since the last time: what is told is that
/// much older than it is at most.
const REFRESH_PART: u16 = 8;

/// What the holder of a copy was told of each record, and how far the present round has come.
#[derive(Clone, Debug, Default)]
pub struct Told {
    words: Vec<u64>,
    next: usize,
}

impl Told {
    /// The holder does not have these after all.
    pub fn forget(&mut self, places: &[u32]) {
        for place in places {
            if let Some(word) = self.words.get_mut(*place as usize) {
                *word = 0;
            }
        }
    }
}

/// What one call has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowChanges {
    /// Of the whole table.
    pub buckets: u32,
    pub records: Vec<FlowRecord>,
    /// Where each record is, for [`Told::forget`].
    pub places: Vec<u32>,
    /// The round is over: all of the table was looked at.
    pub round_done: bool,
}

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct ChangesWanted<'a> {
    /// Of vips at these addresses.
    pub addresses: &'a BTreeSet<IpAddr>,
    /// So many records at most.
    pub most: usize,
    /// Of these, so many flows at most of which only one packet was seen; a flood can make millions.
    pub most_opened: usize,
}

impl Flows {
    /// The next records that count and of which `told` knows nothing, or something else. Those beyond the limits of flows
    /// that have only been opened are left for a later round.
    pub(in crate::dataplane) fn changes(
        &self,
        told: &mut Told,
        wanted: ChangesWanted<'_>,
        ages: &Ages<'_>,
        owners: &BTreeMap<u16, (EntryKey, IpAddr)>,
    ) -> FlowChanges {
        let words = self.0.len() as usize * FLOW_WAYS;
        told.words.resize(words, 0);
        let mut found = FlowChanges { buckets: self.0.len(), ..FlowChanges::default() };
        let end = words.min(told.next + WORDS_PER_CALL);
        let mut opened = 0;
        while told.next < end && found.records.len() < wanted.most {
            let at = told.next;
            told.next += 1;
            let word = self.0.read_at::<u64>(at * size_of::<u64>());
            if word == told.words[at] {
                continue;
            }
            let Some(record) = Record::from_word(word) else {
                told.words[at] = 0;
                continue;
            };
            let Some((EntryKey { vip, route }, backend)) = owners.get(&record.owner) else { continue };
            let counts = ages.counts(record, vip.protocol == Protocol::Udp);
            if !counts || !wanted.addresses.contains(&vip.address) {
                told.words[at] = 0;
                continue;
            }
            if !is_news(record, told.words[at], ages) {
                continue;
            }
            if record.state == FlowState::Opened {
                if opened == wanted.most_opened {
                    continue;
                }
                opened += 1;
            }
            told.words[at] = word;
            found.places.push(at as u32);
            found.records.push(FlowRecord {
                vip: *vip,
                route: *route,
                backend: *backend,
                state: record.state,
                age: record.age(ages.now),
                bucket: (at / FLOW_WAYS) as u32,
                tag: record.tag,
            });
        }
        if told.next == words {
            told.next = 0;
            found.round_done = true;
        }
        found
    }
}

/// Whether the holder of a copy has to hear of `record`.
fn is_news(record: Record, told: u64, ages: &Ages<'_>) -> bool {
    let Some(told) = Record::from_word(told) else { return true };
    let idle = match record.state {
        FlowState::Closing => return record.state != told.state || !same_flow(record, told),
        FlowState::Opened => ages.tracking.opened_ticks,
        FlowState::Seen | FlowState::Confirmed => ages.tracking.idle_ticks,
    };
    !same_flow(record, told)
        || record.state != told.state
        || record.seen.wrapping_sub(told.seen) > idle / REFRESH_PART
}

const fn same_flow(a: Record, b: Record) -> bool {
    a.tag == b.tag && a.owner == b.owner
}

#[cfg(test)]
mod tests {
    use lb_common::abi::Tracking;

    use super::*;

    const TRACKING: Tracking =
        Tracking { buckets: 1, opened_ticks: 80, idle_ticks: 800, closing_ticks: 30, reserved: [0; 3] };
    const AGES: Ages<'_> = Ages { now: 1000, tracking: &TRACKING, udp_idle: 60 };

    fn record(state: FlowState, seen: u16) -> Record {
        Record { tag: 7, state, seen, owner: 3 }
    }

    #[test]
    fn a_flow_that_goes_on_is_told_of_again_when_an_eighth_of_its_idle_time_has_passed() {
        let told = record(FlowState::Confirmed, 100).to_word();
        assert!(!is_news(record(FlowState::Confirmed, 200), told, &AGES));
        assert!(is_news(record(FlowState::Confirmed, 201), told, &AGES));
    }

    #[test]
    fn another_state_owner_or_flow_is_news_at_once() {
        let told = record(FlowState::Opened, 100).to_word();
        assert!(is_news(record(FlowState::Confirmed, 100), told, &AGES));
        assert!(is_news(Record { owner: 4, ..record(FlowState::Opened, 100) }, told, &AGES));
        assert!(is_news(Record { tag: 8, ..record(FlowState::Opened, 100) }, told, &AGES));
        assert!(is_news(record(FlowState::Opened, 100), 0, &AGES));
        assert!(!is_news(record(FlowState::Closing, 900), record(FlowState::Closing, 1).to_word(), &AGES));
    }
}
