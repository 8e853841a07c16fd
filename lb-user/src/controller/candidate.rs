//! Changes and reloads: validated, planned, and then done, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use tracing::error;

use super::advance::is_reachable;
use super::engine::{Engine, Refused, addresses, build};
use super::handle::Caller;
use super::{clock, view};
use crate::api::types::ChangeResult;
use crate::config::Config;
use crate::dataplane::{Dataplane, DataplaneError};
use crate::state::{
    Change, ChangeMark, Forwarding, JournalEntry, MacAddress, Merged, NextHop, Overlay, Previous, Unresolved,
    merge,
};

/// What would run after a change or a reload, validated but not yet done.
#[derive(Debug)]
pub struct Candidate {
    /// On a reload: the file that was read.
    config: Option<Config>,
    overlay: Overlay,
    merged: Merged,
    entry: Option<JournalEntry>,
    notes: Vec<String>,
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
        for (vip, address) in changed.given_up {
            merged.desired.vips.entry(vip).and_modify(|vip| {
                vip.given_up.insert(address);
            });
        }
        let entry = (changed.overlay != self.overlay).then(|| JournalEntry { mark, change: change.clone() });
        Ok(Candidate { config: None, merged, overlay: changed.overlay, entry, notes: changed.notes })
    }

    /// Reads and validates the configuration file.
    ///
    /// # Errors
    /// When the file is not valid.
    pub fn prepare_reload(&self) -> Result<Candidate, Refused> {
        let config = (self.setup.load)().map_err(Refused::Config)?;
        let overlay = self.overlay.settled(&config);
        let merged = merge(&config, &overlay, SystemTime::now());
        Ok(Candidate {
            notes: view::reload_notes(&self.setup.config, &config, &merged),
            config: Some(config),
            merged,
            overlay,
            entry: None,
        })
    }

    /// What `candidate` would do, with the assumption that backends whose next hop is not known yet have one.
    #[must_use]
    pub fn preview(&self, candidate: &Candidate) -> ChangeResult {
        let mut desired = candidate.merged.desired.clone();
        let mut slow_start = self.slow_start.clone();
        slow_start.follow(&mut desired, |_| true, SystemTime::now());
        let desired = &desired;
        let hops = addresses(desired)
            .into_iter()
            .map(|address| match self.hops.get(&address) {
                Some(known) if !known.as_ref().is_err_and(Unresolved::is_open) => (address, known.clone()),
                _ => (address, Ok(any_next_hop(address))),
            })
            .collect();
        let next = build(desired, &hops, Previous::Forwarding(&self.target), &mut BTreeMap::new());
        let warming = slow_start.begun_since(&self.slow_start, desired);
        let vips = self.plan(&next, desired, &warming);
        ChangeResult { dry_run: true, vips, notes: candidate.notes.clone() }
    }

    /// Stores and applies `candidate`; all or nothing.
    ///
    /// # Errors
    /// When the store or the dataplane refuses.
    pub fn commit(&mut self, mut candidate: Candidate) -> Result<ChangeResult, Refused> {
        let mut slow_start = self.slow_start.clone();
        slow_start.follow(&mut candidate.merged.desired, is_reachable(&self.hops), SystemTime::now());
        let desired = &candidate.merged.desired;
        let mut ring_build = self.ring_build.clone();
        let target = build(desired, &self.hops, Previous::Forwarding(&self.target), &mut ring_build);
        let warming = slow_start.begun_since(&self.slow_start, desired);
        let plan = self.plan(&target, desired, &warming);
        let notes =
            candidate.notes.into_iter().chain(view::unresolved_notes(&self.desired, desired, &target));
        let notes = notes.collect();
        let stores = candidate.overlay != self.overlay || candidate.entry.is_some();
        let undo = stores
            .then(|| self.setup.store.commit(&self.overlay, &candidate.overlay, candidate.entry.as_ref()))
            .transpose()?;
        if let Err(refusal) = self.write(candidate.config.as_ref(), &target) {
            self.tallies.apply_errors += 1;
            if let Some(undo) = undo {
                self.setup.store.revert(undo).inspect_err(|stuck| {
                    error!(%refusal, %stuck, "a refused change stays stored and counts from the next start");
                })?;
            }
            return Err(Refused::Dataplane(refusal));
        }
        ring_build.retain(|key, _| target.vips.contains_key(key));
        self.ring_build = ring_build;
        self.applied = target.clone();
        self.target = target;
        self.dataplane_error = None;
        self.overlay = candidate.overlay;
        self.desired = candidate.merged.desired;
        self.dormant = candidate.merged.dormant;
        self.next_deadline = candidate.merged.next_deadline;
        self.keep_slow_start(slow_start);
        if let Some(config) = candidate.config {
            self.setup.config = config;
        }
        self.warn();
        Ok(ChangeResult { dry_run: false, vips: plan, notes })
    }

    fn write(&mut self, config: Option<&Config>, target: &Forwarding) -> Result<(), DataplaneError> {
        let before = self.setup.open_options(&self.setup.config);
        let options = config.map(|config| self.setup.open_options(config));
        match options.filter(|options| *options != before) {
            Some(options) => self.dataplane.reopen(&options, target)?,
            None if *target == self.applied && self.dataplane_error.is_none() => return Ok(()),
            None => self.dataplane.apply(target)?,
        };
        Ok(())
    }
}

impl Candidate {
    /// The addresses whose next hops it needs.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<IpAddr> {
        addresses(&self.merged.desired)
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
