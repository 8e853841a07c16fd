//! Records one by one: read out for people and other balancers, and taken in from there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use lb_common::abi::FLOW_WAYS;
use lb_common::flow::{FlowState, MAX_TICKS, Record, Tick, way};

use super::{Ages, Flows};
use crate::dataplane::layout::EntryKey;
use crate::state::{Protocol, VipKey};

/// A remembered flow. Its addresses and ports are not: bucket and tag are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub vip: VipKey,
    /// The number of the vip's route, from 1; 0: none.
    pub route: u8,
    pub backend: IpAddr,
    pub state: FlowState,
    /// Since its last packet.
    pub age: Tick,
    pub bucket: u32,
    /// Of 28 bits.
    pub tag: u32,
}

/// Some of them, and what makes them comparable with those of other balancers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowRecords {
    /// Of the table.
    pub buckets: u32,
    pub records: Vec<FlowRecord>,
}

/// Who is right about a flow that is remembered on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wins {
    /// What is remembered here: packets come here.
    Here,
    /// What comes in: packets come there.
    There,
}

/// What became of records that were taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    pub taken: u64,
    /// The flow is remembered here already.
    pub known: u64,
    /// The vip does not have the backend here, or remembers nothing.
    pub foreign: u64,
    /// The flow is over by the times that hold here.
    pub over: u64,
    /// Its bucket is full of flows that go on.
    pub full: u64,
}

type Owners = BTreeMap<u16, (EntryKey, IpAddr)>;

impl Ages<'_> {
    pub(super) fn counts(&self, record: Record, is_udp: bool) -> bool {
        let is_quiet = is_udp && record.age(self.now) > self.udp_idle;
        !is_quiet && record.is_live(self.now, self.tracking)
    }
}

impl Flows {
    /// The records of some buckets that count.
    pub(in crate::dataplane) fn records(
        &self,
        buckets: Range<u32>,
        ages: &Ages<'_>,
        owners: &Owners,
    ) -> FlowRecords {
        let mut records = Vec::new();
        for bucket in buckets.start..buckets.end.min(self.0.len()) {
            for index in 0..FLOW_WAYS {
                let Some(record) = Record::from_word(self.0.read_at(word_at(bucket, index))) else {
                    continue;
                };
                let Some((EntryKey { vip, route }, backend)) = owners.get(&record.owner) else { continue };
                if ages.counts(record, vip.protocol == Protocol::Udp) {
                    records.push(FlowRecord {
                        vip: *vip,
                        route: *route,
                        backend: *backend,
                        state: record.state,
                        age: record.age(ages.now),
                        bucket,
                        tag: record.tag,
                    });
                }
            }
        }
        FlowRecords { buckets: self.0.len(), records }
    }

    /// Takes records of a table with as many buckets in.
    pub(in crate::dataplane) fn remember(
        &self,
        records: &[FlowRecord],
        wins: Wins,
        ages: &Ages<'_>,
        owners: &Owners,
    ) -> Remembered {
        let numbers: BTreeMap<_, u16> = owners.iter().map(|(number, dest)| (*dest, *number)).collect();
        let mut done = Remembered::default();
        for flow in records {
            let dest = (EntryKey { vip: flow.vip, route: flow.route }, flow.backend);
            let Some(owner) = numbers.get(&dest).copied().filter(|_| flow.bucket < self.0.len()) else {
                done.foreign += 1;
                continue;
            };
            let seen = ages.now.wrapping_sub(flow.age.min(MAX_TICKS));
            let record = Record { tag: flow.tag, state: flow.state, seen, owner };
            if !ages.counts(record, flow.vip.protocol == Protocol::Udp) {
                done.over += 1;
                continue;
            }
            *self.put(flow.bucket, record, wins, ages, &mut done) += 1;
        }
        done
    }

    /// Puts a record into its bucket; gives the number that has to be raised.
    fn put<'d>(
        &self,
        bucket: u32,
        record: Record,
        wins: Wins,
        ages: &Ages<'_>,
        done: &'d mut Remembered,
    ) -> &'d mut u64 {
        let way = way(|index| self.0.read_at(word_at(bucket, index)), record.tag, ages.now, ages.tracking);
        let goes_on = |word| Record::from_word(word).is_some_and(|held| held.state >= record.state);
        if way.is_found && wins == Wins::Here {
            &mut done.known
        } else if way.evicts && goes_on(way.word) {
            &mut done.full
        } else {
            self.0.replace_u64(word_at(bucket, way.index), way.word, record.to_word());
            &mut done.taken
        }
    }
}

/// Where a record is, in bytes from the map's beginning.
const fn word_at(bucket: u32, index: usize) -> usize {
    (bucket as usize * FLOW_WAYS + index) * size_of::<u64>()
}
