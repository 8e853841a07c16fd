//! A model of a vip in whose ring anything may happen, against an oracle that knows where every flow began: as long as a
//! flow's dest serves, each of its packets goes there.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{FLOW_WAYS, Tracking};
use lb_common::flow::{self, Record, Recorded, Says, SlotSays, Tick, Whose};
use lb_common::transition::{Ring, Slot, Timing};
use proptest::prelude::*;

const SLOTS: usize = 8;
const DESTS: u16 = 4;
const BUCKETS: usize = 64;
const TIMING: Timing = Timing { timeout: 300, quiet: 300 };
const LEARNING: u64 = 20;
const TRACKING: Tracking = Tracking {
    buckets: BUCKETS as u32,
    opened_ticks: 1000,
    idle_ticks: 1000,
    closing_ticks: 30,
    reserved: [0; 3],
};
/// A flow is quiet for less than [`Timing::timeout`] and, where datagrams have to say that they are old, [`LEARNING`].
const LONGEST_STEP: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// A flow begins: where in the ring, and whether it is TCP.
    Begin { slot: usize, is_tcp: bool },
    /// A packet of some flow.
    Packet { of: usize },
    /// Some flow ends, and its last acknowledgement comes behind.
    End { of: usize },
    /// The ring is built anew: owners of all slots, none for [`DESTS`] and above.
    Change { owners: Vec<u16> },
    /// A dest stops serving. It serves again, without its flows, when the ring next changes.
    Die { dest: u16 },
    /// The daemon is replaced by one that knows what the tables say.
    Restart,
    /// Every flow sends one packet, then time passes, then the controller looks after its transitions.
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..SLOTS, any::<bool>()).prop_map(|(slot, is_tcp)| Step::Begin { slot, is_tcp }),
        6 => any::<usize>().prop_map(|of| Step::Packet { of }),
        2 => any::<usize>().prop_map(|of| Step::End { of }),
        3 => prop::collection::vec(0..=DESTS, SLOTS).prop_map(|owners| Step::Change { owners }),
        1 => (0..DESTS).prop_map(|dest| Step::Die { dest }),
        1 => Just(Step::Restart),
        3 => (1..=LONGEST_STEP).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

#[derive(Clone, Debug)]
struct Flow {
    tag: u32,
    slot: usize,
    is_tcp: bool,
    /// Where it began, as a number that tells two lives of a dest apart.
    began_on: u16,
    ended_at: Option<u64>,
}

/// The program and its daemon. A dest's number is `life * DESTS + dest`, so a dest that comes back is another one.
struct World {
    ring: Ring<u16>,
    cache: Vec<[u64; FLOW_WAYS]>,
    life: [u16; DESTS as usize],
    dead: BTreeSet<u16>,
    learning_until: u64,
    now: u64,
    flows: Vec<Flow>,
    next_tag: u32,
    tracks_all: bool,
}

impl World {
    fn new(tracks_all: bool) -> Self {
        Self {
            ring: Ring::steady((0..SLOTS as u16).map(|slot| Some(slot % DESTS))),
            cache: vec![[0; FLOW_WAYS]; BUCKETS],
            life: [0; DESTS as usize],
            dead: BTreeSet::new(),
            learning_until: 0,
            now: 1000,
            flows: Vec::new(),
            next_tag: 1,
            tracks_all,
        }
    }

    /// What the kernel does. `None`: dropped for want of a dest.
    fn packet(&mut self, tag: u32, slot: usize, says: Says) -> Option<u16> {
        let Slot { owner, previous, is_looked_up } = self.ring.slots()[slot];
        if !is_looked_up && !self.tracks_all {
            return owner;
        }
        let now = flow::tick(self.now * 1_000_000_000);
        let bucket = &mut self.cache[tag as usize % BUCKETS];
        let way = flow::way(|index| bucket[index], tag, now, &TRACKING);
        let record = Record::from_word(way.word).filter(|_| way.is_found);
        let recorded = match record {
            None => Recorded::No,
            Some(record) if self.dead.contains(&record.owner) => Recorded::Dead,
            Some(record) => Recorded::Yes(record.state),
        };
        let is_learning = self.now < self.learning_until;
        let slot = SlotSays { has_previous: previous.is_some(), is_learning, tracks_all: self.tracks_all };
        let decision = flow::decide(says, slot, recorded);
        let dest = match decision.whose {
            Whose::Owner => owner,
            Whose::Previous => previous,
            Whose::Recorded => record.map(|record| record.owner),
        };
        if let (Some(state), Some(owner)) = (decision.remember, dest) {
            assert!(!way.evicts, "the model's cache is large enough");
            bucket[way.index] = Record { tag, state, seen: now, owner }.to_word();
        }
        dest
    }

    fn live(&self) -> BTreeMap<u16, usize> {
        let now: Tick = flow::tick(self.now * 1_000_000_000);
        let mut live = BTreeMap::new();
        for record in self.cache.iter().flatten().filter_map(|word| Record::from_word(*word)) {
            if record.is_live(now, &TRACKING) {
                *live.entry(record.owner).or_default() += 1;
            }
        }
        live
    }

    fn begin(&mut self, slot: usize, is_tcp: bool) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let says = if is_tcp { Says::Opens } else { Says::Nothing };
        if let Some(began_on) = self.packet(tag, slot, says) {
            self.flows.push(Flow { tag, slot, is_tcp, began_on, ended_at: None });
        }
    }

    /// A packet of a flow goes where the flow began, unless that died.
    fn check(&mut self, of: usize, says: Says) {
        let flow = self.flows[of].clone();
        let dest = self.packet(flow.tag, flow.slot, says);
        if self.dead.contains(&flow.began_on) {
            self.flows.remove(of);
        } else {
            assert_eq!(dest, Some(flow.began_on), "{flow:?} in {:?}", self.ring.slots()[flow.slot]);
        }
    }

    fn one_of(&self, number: usize) -> Option<usize> {
        (!self.flows.is_empty()).then(|| number % self.flows.len())
    }

    fn continues(&self, of: usize) -> Says {
        if self.flows[of].is_tcp { Says::Continues } else { Says::Nothing }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Begin { slot, is_tcp } => self.begin(*slot, *is_tcp),
            Step::Packet { of } => {
                if let Some(of) = self.one_of(*of) {
                    self.check(of, self.continues(of));
                }
            }
            Step::End { of } => {
                let Some(of) = self.one_of(*of).filter(|of| self.flows[*of].is_tcp) else { return };
                self.check(of, Says::Ends);
                if let Some(flow) = self.flows.get_mut(of) {
                    flow.ended_at.get_or_insert(self.now);
                }
            }
            Step::Change { owners } => {
                let of = |dest: u16| self.life[usize::from(dest)] * DESTS + dest;
                let owners: Vec<_> = owners.iter().map(|dest| (*dest < DESTS).then(|| of(*dest))).collect();
                let dead = self.dead.clone();
                self.ring.give(owners, |dest| !dead.contains(&dest), self.now);
                self.learning_until = self.now + LEARNING;
            }
            Step::Die { dest } => {
                let life = &mut self.life[usize::from(*dest)];
                self.dead.insert(*life * DESTS + dest);
                *life += 1;
                let dead = self.dead.clone();
                self.ring.give_up(|dest| !dead.contains(&dest));
                // As the health checks would have it: nobody's slots are a dead dest's.
                let owners: Vec<_> = self
                    .ring
                    .slots()
                    .iter()
                    .map(|slot| slot.owner.filter(|dest| !dead.contains(dest)))
                    .collect();
                self.ring.give(owners, |dest| !dead.contains(&dest), self.now);
            }
            Step::Restart => {
                let slots = self.ring.slots().to_vec();
                let since = self.ring.since().unwrap_or(0);
                let recorded: Vec<_> =
                    self.live().into_keys().filter(|dest| !self.dead.contains(dest)).collect();
                self.ring = Ring::found(slots, since, recorded);
            }
            Step::Wait { seconds } => {
                let now = self.now;
                // The other side's last packets of a flow that ends come within seconds.
                self.flows.retain(|flow| flow.ended_at.is_none_or(|at| now < at + 2 * LONGEST_STEP));
                for of in (0..self.flows.len()).rev() {
                    self.check(of, self.continues(of));
                }
                self.now += seconds;
                let live = self.live();
                self.ring.end(TIMING, |dest| live.contains_key(&dest), self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_flow_leaves_a_dest_that_serves(
        steps in prop::collection::vec(step(), 1..400),
        tracks_all in any::<bool>(),
    ) {
        let mut world = World::new(tracks_all);
        steps.iter().for_each(|step| world.run(step));
    }

    #[test]
    fn when_nothing_changes_any_more_the_ring_is_steady_again(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new(false);
        steps.iter().for_each(|step| world.run(step));
        world.flows.clear();
        world.now += 2000;
        let live = world.live();
        world.ring.end(TIMING, |dest| live.contains_key(&dest), world.now);
        prop_assert!(world.ring.is_steady());
    }
}
