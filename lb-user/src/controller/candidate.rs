//! What a change or a reload would lead to: worked out, checked and shown before anything of it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use lb_common::maglev;

use super::advance::is_reachable;
use super::engine::{Engine, Refused, addresses, build};
use super::handle::Caller;
use super::setup::LoadConfig;
use super::{clock, health, view};
use crate::api::types::ChangeResult;
use crate::config::Config;
use crate::dataplane::{Dataplane, LoadJob};
use crate::state::{
    Change, ChangeMark, Forwarding, JournalEntry, MacAddress, Merged, NextHop, Overlay, Previous, Unresolved,
    merge,
};

/// What would run after a change or a reload, validated but not yet done.
#[derive(Debug)]
pub struct Candidate {
    /// On a reload: the file that was read.
    pub(super) config: Option<Config>,
    pub(super) overlay: Overlay,
    pub(super) merged: Merged,
    pub(super) entry: Option<JournalEntry>,
    pub(super) notes: Vec<String>,
}

impl Candidate {
    /// The addresses whose next hops it needs.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<IpAddr> {
        addresses(&self.merged.desired)
    }
}

impl<D: Dataplane> Engine<D> {
    /// Validates a runtime change.
    ///
    /// # Errors
    /// When the change is not possible.
    pub fn prepare_change(&self, change: &Change, caller: &Caller) -> Result<Candidate, Refused> {
        let mark = ChangeMark { by: caller.user.clone(), pid: caller.pid, at: clock::now_text() };
        let changed = self.overlay.apply(change, &mark, &self.setup.config)?;
        let mut merged = merge(&self.setup.config, &changed.overlay, SystemTime::now());
        let is_change = changed.overlay != self.overlay || !changed.given_up.is_empty();
        for (vip, address) in changed.given_up {
            merged.desired.vips.entry(vip).and_modify(|vip| {
                vip.given_up.insert(address);
            });
        }
        let entry = is_change.then(|| JournalEntry { mark, change: change.clone() });
        Ok(Candidate { config: None, merged, overlay: changed.overlay, entry, notes: changed.notes })
    }

    /// What reads and validates the configuration file. With large prefix lists it takes seconds.
    pub(super) fn reader(&self) -> LoadConfig {
        Arc::clone(&self.setup.load)
    }

    /// What a file that was read asks for.
    #[must_use]
    pub fn prepare_reload(&self, config: Config) -> Candidate {
        let overlay = self.overlay.settled(&config);
        let merged = merge(&config, &overlay, SystemTime::now());
        Candidate {
            notes: view::reload_notes(&self.setup.config, &config, &merged),
            config: Some(config),
            merged,
            overlay,
            entry: None,
        }
    }

    /// What has to be done before [`Self::commit`] so that it takes no time: with large prefix lists it takes seconds.
    /// [`Self::abandon_lists`] has to follow the commit, or whatever came instead.
    ///
    /// # Errors
    /// When there are too many prefixes.
    pub fn prepare_lists(&mut self, candidate: &Candidate) -> Result<Option<LoadJob>, Refused> {
        let before = self.setup.open_options(&self.setup.config);
        if candidate.config.as_ref().is_some_and(|config| self.setup.open_options(config) != before) {
            // All tables are made anew.
            return Ok(None);
        }
        // Lists do not depend on rings, which take the most time.
        let target = Forwarding::build_with(
            &candidate.merged.desired,
            &self.hops,
            Previous::Nothing,
            0,
            |_, size, _| vec![maglev::EMPTY; size as usize],
        );
        self.dataplane.prepare_lists(&target).map_err(Refused::Dataplane)
    }

    /// Takes back prefix lists that were prepared and are not used.
    pub fn abandon_lists(&mut self) {
        self.dataplane.abandon_lists();
    }

    /// What `candidate` would do, with the assumption that backends whose next hop is not known yet have one.
    #[must_use]
    pub fn preview(&self, candidate: &Candidate) -> ChangeResult {
        let mut desired = candidate.merged.desired.clone();
        let hops = addresses(&desired)
            .into_iter()
            .map(|address| match self.hops.get(&address) {
                Some(known) if !known.as_ref().is_err_and(Unresolved::is_open) => (address, known.clone()),
                _ => (address, Ok(any_next_hop(address))),
            })
            .collect();
        let config = candidate.config.as_ref().unwrap_or(&self.setup.config);
        let (mut pools, now) = (self.pools.clone(), SystemTime::now());
        health::mind(&mut desired, config, &self.verdicts, &mut pools, is_reachable(&hops), now);
        let mut slow_start = self.slow_start.clone();
        slow_start.follow(&mut desired, is_reachable(&hops), now);
        let desired = &desired;
        let next = build(desired, &hops, Previous::Forwarding(&self.target), &mut BTreeMap::new());
        let warming = slow_start.begun_since(&self.slow_start, desired);
        let vips = self.plan(&next, desired, &warming);
        ChangeResult { dry_run: true, vips, notes: candidate.notes.clone() }
    }
}

/// A stand-in for previews.
fn any_next_hop(address: IpAddr) -> NextHop {
    NextHop {
        ifindex: 0,
        interface: String::new(),
        source_mac: MacAddress([0; 6]),
        destination_mac: MacAddress([0; 6]),
        gateway: None,
        vlan: None,
        preferred_source: Some(address),
        mtu: 0,
    }
}
