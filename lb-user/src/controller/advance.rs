//! What changes by itself as time goes by: steps of slow starts, flows that are given up when a drain's deadline is reached, and
//! backends that are held out or kept in for some time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{info, warn};

use super::engine::Engine;
use super::health;
use super::view::dest_totals;
use crate::dataplane::Dataplane;
use crate::health::Target;
use crate::state::{Desired, Merged, NextHops, Protocol, SlowStart, merge};

impl<D: Dataplane> Engine<D> {
    /// When [`Self::advance`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<SystemTime> {
        let of_pools = self.pools.next_due();
        self.next_deadline.into_iter().chain(self.slow_start.next_step(&self.desired)).chain(of_pools).min()
    }

    /// Does what is due at the time `now`.
    pub fn advance(&mut self, now: SystemTime) {
        self.merge_anew(now);
        let before = self.target.clone();
        self.follow(now);
        for plan in before.plan(&self.target) {
            let vip = self.desired.vips.get(&plan.key).map_or_else(String::new, |vip| vip.name.clone());
            info!(vip, slots_moved = plan.slots_moved, "slow start, drain or health");
        }
    }

    /// Works out anew what is asked for at the time `now`, and who of it is healthy.
    pub(super) fn merge_anew(&mut self, now: SystemTime) {
        let Merged { mut desired, next_deadline, .. } = merge(&self.setup.config, &self.overlay, now);
        log_given_up(&self.desired, &desired);
        let (mut pools, reachable) = (self.pools.clone(), is_reachable(&self.hops));
        health::mind(&mut desired, &self.setup.config, &self.verdicts, &mut pools, reachable, now);
        health::tell_alarms(&self.setup.hooks, &desired, &self.pools, &pools, now);
        self.pools = pools;
        self.desired = desired;
        self.next_deadline = next_deadline;
    }

    /// Takes in who serves at the time `now`, and makes the kernel forward so.
    pub(super) fn follow(&mut self, now: SystemTime) {
        let mut slow_start = self.slow_start.clone();
        slow_start.follow(&mut self.desired, is_reachable(&self.hops), now);
        self.keep_slow_start(slow_start);
        self.rebuild();
    }

    /// Looks for backends that answer nobody; the checks of those that have come to be suspected, to be made at once.
    pub(super) fn look_for_silence(&mut self, now: SystemTime) -> Vec<Target> {
        if !self.desired.vips.keys().any(|vip| vip.protocol == Protocol::Tcp) {
            return Vec::new();
        }
        self.read_counters();
        let members = self.desired.vips.iter().flat_map(|(key, vip)| {
            let all = vip.all_members().into_values();
            all.map(|member| ((*key, member.address), dest_totals(&self.totals, *key, member.address)))
        });
        let new = self.silence.look(members.collect(), now);
        let mut hurry = Vec::new();
        for (key, address) in new {
            let Some(vip) = self.desired.vips.get(&key) else { continue };
            for (name, member) in
                vip.all_members().into_iter().filter(|(_, member)| member.address == address)
            {
                let why = self.silence.of(&(key, address)).unwrap_or_default();
                warn!(vip = vip.name, backend = name, %address, "{why}");
                hurry
                    .extend(health::targets(&self.setup.config, key, name, member).map(|(target, _)| target));
            }
        }
        hurry
    }

    /// Stores who is healthy: the next daemon begins with that.
    pub(super) fn keep_healths(&mut self) {
        self.healths = Arc::new(health::lasting(&self.verdicts));
        if let Err(error) = self.setup.store.put_healths(&self.healths) {
            warn!(%error, "who is healthy would not be known after a restart");
        }
    }

    /// Stores which slow starts are under way: the next daemon goes on with them.
    pub(super) fn keep_slow_start(&mut self, next: SlowStart) {
        for warming in next.begun_since(&self.slow_start, &self.desired) {
            info!(vip = %warming.vip, backend = warming.backend, takes = ?warming.takes, "slow start");
        }
        if next.began() != self.slow_start.began()
            && let Err(error) = self.setup.store.put_slow_starts(next.began())
        {
            warn!(%error, "slow starts would not go on after a restart");
        }
        self.slow_start = next;
    }
}

pub(super) fn is_reachable(hops: &NextHops) -> impl Fn(IpAddr) -> bool {
    |address| hops.get(&address).is_some_and(Result::is_ok)
}

fn log_given_up(before: &Desired, after: &Desired) {
    for (key, vip) in &after.vips {
        let known = before.vips.get(key).map(|vip| &vip.given_up);
        for address in
            vip.given_up.iter().filter(|address| known.is_none_or(|known| !known.contains(*address)))
        {
            info!(vip = vip.name, %address, "deadline of the drain: flows that are left go to other backends");
        }
    }
}
