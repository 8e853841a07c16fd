//! What nodes copy from each other: rings with their past, flows, and what checks say.
//!
//! A vip whose packets come to another node is kept as it is there: its past is the other node's, and only what is asked for
//! differently here (another configuration, another backend that fails) is laid over it, as a change. When the packets come
//! here, nothing has to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::clock;
use super::engine::{Engine, Refused};
use super::health;
use crate::dataplane::{
    ChangesWanted, Dataplane, FlowChanges, FlowRecord, FlowRecords, Remembered, Told, Wins,
};
use crate::state::{ForwardVip, Healths, History, Previous, VipKey};

/// What a peer may have a copy of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) hash_seed: u64,
    /// Of the flow cache.
    pub(crate) buckets: u32,
    /// By vip and number of the route (0: the vip's own).
    pub(crate) rings: BTreeMap<(VipKey, u8), Arc<ForwardVip>>,
    pub(crate) health: Arc<Healths>,
}

/// What is new for a peer. No flow is newer than the rings: it names no backend that they do not.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) copied: Copied,
    pub(crate) flows: FlowChanges,
}

/// Rings of another node; `None`: it has the vip no more.
pub(crate) type Rings = Vec<((VipKey, u8), Option<History>)>;

impl<D: Dataplane> Engine<D> {
    pub(super) fn copied(&self) -> Copied {
        let vips = self.target.vips.iter().map(|(vip, ring)| ((*vip, 0), ring.clone()));
        let routes = self.target.routes.iter().map(|(key, ring)| (*key, ring.clone()));
        Copied {
            hash_seed: self.target.hash_seed,
            buckets: self.setup.config.limits.flows / 8,
            rings: vips.chain(routes).collect(),
            health: self.healths.clone(),
        }
    }

    pub(super) fn changes(&mut self, told: &mut Told, wanted: ChangesWanted<'_>) -> Result<Changes, Refused> {
        let copied = self.copied();
        // In steady state nothing is remembered: there is nothing to look through.
        let flows = if self.needs_tick() {
            let now_ns = clock::monotonic_ns();
            self.dataplane.flow_changes(&self.target, told, wanted, now_ns).map_err(Refused::Read)?
        } else {
            FlowChanges { buckets: copied.buckets, round_done: true, ..FlowChanges::default() }
        };
        Ok(Changes { copied, flows })
    }

    /// What the next forwarding is made from.
    pub(super) fn previous(&self) -> Previous<'_> {
        Previous::Followed { here: &self.target, there: &self.followed }
    }

    /// Whether flows of a vip may be on a backend. Of a vip that is followed, the other node knows: what is remembered here may
    /// be on its way.
    pub(super) fn flows_may_go_on(&self, vip: VipKey, route: u8, backend: IpAddr) -> bool {
        self.followed.rings.contains_key(&(vip, route)) || self.flows.has(vip, route, backend)
    }

    /// Says of which addresses packets come here: vips of these are followed no more.
    pub(super) fn own(&mut self, mine: BTreeSet<IpAddr>) {
        self.followed.rings.retain(|(vip, _), _| !mine.contains(&vip.address));
        self.mine = mine;
    }

    pub(super) fn forget_copies(&mut self) {
        self.followed.rings.clear();
    }

    /// Keeps vips as they are at another node.
    pub(super) fn follow_rings(&mut self, rings: Rings) {
        self.followed.hash_seed = self.target.hash_seed;
        let mut changed = false;
        for (key, ring) in rings.into_iter().filter(|((vip, _), _)| !self.mine.contains(&vip.address)) {
            match ring {
                Some(ring) => {
                    changed = true;
                    self.followed.rings.insert(key, ring);
                }
                // As it was there last, until somebody else has it.
                None => _ = self.followed.rings.remove(&key),
            }
        }
        if changed {
            self.rebuild();
        }
    }

    /// Remembers another node's flows; those of vips whose packets come here are left out.
    pub(super) fn follow_flows(&mut self, mut records: Vec<FlowRecord>) -> Result<Remembered, Refused> {
        let before = records.len();
        records.retain(|flow| !self.mine.contains(&flow.vip.address));
        let left_out = (before - records.len()) as u64;
        let records = FlowRecords { buckets: self.setup.config.limits.flows / 8, records };
        let now_ns = clock::monotonic_ns();
        let done = self.dataplane.remember(&self.target, &records, Wins::There, now_ns);
        let done = done.map_err(Refused::Dataplane)?;
        Ok(Remembered { foreign: done.foreign + left_out, ..done })
    }

    /// Takes over what another node knows of backends of which nothing is known here yet.
    pub(super) fn take_healths(&mut self, healths: Healths) {
        let before = self.verdicts.len();
        for (target, verdict) in health::known(healths) {
            self.verdicts.entry(target).or_insert(verdict);
        }
        if self.verdicts.len() != before {
            let now = SystemTime::now();
            self.merge_anew(now);
            self.follow(now);
        }
    }
}
