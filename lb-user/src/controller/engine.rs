//! What the controller holds, and what it does with one event at a time. All calls block until done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lb_common::maglev::{self, Member};
use tracing::{error, info, warn};

use super::advance::is_reachable;
use super::candidate::Candidate;
use super::events::backend_event;
use super::health::{self, Verdicts};
use super::setup::Setup;
use super::silence::Silence;
use super::{clock, view};
use crate::announce::Wanted as WantedAddresses;
use crate::api::types::ChangeResult;
use crate::config::Config;
use crate::dataplane::{Dataplane, DataplaneError, FlowTable, OpenOptions, Totals};
use crate::health::{Known, State, Target, Transition, Wanted};
use crate::net::Links;
use crate::state::{
    ChangeError, Desired, Dormant, ForwardVip, Forwarding, Found, Healths, History, Merged, NextHops,
    Overlay, Pools, Previous, SlowStart, StoreError, VipKey, merge,
};
use crate::vrrp;

/// Why something asked for was not done; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the dataplane refuses: {0}")]
    Dataplane(DataplaneError),
    #[error("cannot read from the dataplane: {0}")]
    Read(DataplaneError),
    #[error("{0}")]
    Flows(String),
    #[error(transparent)]
    Vrrp(#[from] vrrp::Refused),
    #[error("the daemon is stopping")]
    Stopped,
}

/// The state, the store and the dataplane of a running instance.
pub struct Engine<D> {
    pub(super) setup: Setup,
    pub(super) started_at: SystemTime,
    pub(super) config_loaded_at: SystemTime,
    pub(super) config_error: Option<String>,
    pub(super) overlay: Overlay,
    pub(super) desired: Desired,
    pub(super) dormant: Vec<Dormant>,
    /// When `desired` changes by itself.
    pub(super) next_deadline: Option<SystemTime>,
    pub(super) slow_start: SlowStart,
    /// What the checks say so far.
    pub(super) verdicts: Verdicts,
    /// Those that last, as they were stored.
    pub(super) healths: Arc<Healths>,
    /// Addresses of which packets come to this node, when that is known.
    pub(super) mine: BTreeSet<IpAddr>,
    /// Vips as they are at the nodes that packets come to.
    pub(super) followed: Found,
    /// What the decisions of vips about their backends remember.
    pub(super) pools: Pools,
    pub(super) hops: NextHops,
    /// What should be forwarded.
    pub(super) target: Forwarding,
    /// What the kernel forwards; another than `target` only while `dataplane_error` is set.
    pub(super) applied: Forwarding,
    pub(super) dataplane: D,
    pub(super) dataplane_error: Option<String>,
    pub(super) ring_build: BTreeMap<VipKey, Duration>,
    /// The last counters that could be read.
    pub(super) totals: Totals,
    pub(super) tallies: Tallies,
    /// The flows that were remembered when it was last looked.
    pub(super) flows: FlowTable,
    /// Which backends seem to answer nobody.
    pub(super) silence: Silence,
    /// Warnings about packet sizes that were logged.
    pub(super) warned: BTreeSet<String>,
}

/// How often things went how.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tallies {
    pub(super) reloads_done: u64,
    pub(super) reloads_refused: u64,
    pub(super) apply_errors: u64,
}

impl<D: Dataplane> Engine<D> {
    /// Opens the dataplane with what file, runtime changes and `hops` ask for.
    ///
    /// # Errors
    /// When the store cannot be read or the dataplane cannot be opened.
    pub fn start(
        mut setup: Setup,
        hops: NextHops,
        open: impl FnOnce(&OpenOptions, &Forwarding) -> Result<D, DataplaneError>,
    ) -> Result<Self, Refused> {
        let overlay = setup.overlay()?;
        let now = SystemTime::now();
        let Merged { mut desired, dormant, next_deadline } = merge(&setup.config, &overlay, now);
        let healths = setup.store.healths()?;
        let verdicts = health::known(healths.clone());
        let mut pools = Pools::default();
        health::mind(&mut desired, &setup.config, &verdicts, &mut pools, is_reachable(&hops), now);
        setup.hooks.follow(&setup.config.hooks);
        health::tell_alarms(&setup.hooks, &desired, &Pools::default(), &pools, now);
        let mut slow_start = SlowStart::resumed(setup.store.slow_starts()?);
        slow_start.follow(&mut desired, is_reachable(&hops), now);
        let mut ring_build = BTreeMap::new();
        let found = std::mem::take(&mut setup.found);
        let target = build(&desired, &hops, Previous::Found(&found), &mut ring_build);
        let dataplane = open(&setup.open_options(&setup.config), &target).map_err(Refused::Dataplane)?;
        for change in &dormant {
            warn!(vip = %change.vip, backend = change.backend, reason = %change.reason, "runtime change has no effect");
        }
        let mut engine = Self {
            setup,
            started_at: now,
            config_loaded_at: now,
            config_error: None,
            overlay,
            desired,
            dormant,
            next_deadline,
            slow_start,
            verdicts,
            healths: Arc::new(healths),
            mine: BTreeSet::new(),
            followed: Found::default(),
            pools,
            hops,
            applied: target.clone(),
            target,
            dataplane,
            dataplane_error: None,
            ring_build,
            totals: Totals::default(),
            tallies: Tallies::default(),
            flows: FlowTable::default(),
            silence: Silence::default(),
            warned: BTreeSet::new(),
        };
        engine.warn();
        Ok(engine)
    }

    /// The dataplane, when the daemon ends.
    pub fn into_dataplane(self) -> D {
        self.dataplane
    }

    /// The addresses whose next hops are needed.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<IpAddr> {
        let followed = self.followed.rings.values().flat_map(History::past_dests).map(|dest| dest.address);
        addresses(&self.desired).into_iter().chain(self.target.past_addresses()).chain(followed).collect()
    }

    /// What is to be announced: a vip's address once the kernel forwards for it.
    #[must_use]
    pub fn announced(&self) -> WantedAddresses {
        let attached = self.dataplane.attachments().into_iter().map(|attached| attached.interface);
        WantedAddresses {
            addresses: self.applied.addresses.clone(),
            attached: attached.collect(),
            elected: self.applied.elected.clone(),
        }
    }

    /// Stores and applies `candidate`; all or nothing.
    ///
    /// # Errors
    /// When the store or the dataplane refuses.
    pub fn commit(&mut self, mut candidate: Candidate) -> Result<ChangeResult, Refused> {
        let config = candidate.config.as_ref().unwrap_or(&self.setup.config);
        let (mut pools, now) = (self.pools.clone(), SystemTime::now());
        health::mind(
            &mut candidate.merged.desired,
            config,
            &self.verdicts,
            &mut pools,
            is_reachable(&self.hops),
            now,
        );
        let mut slow_start = self.slow_start.clone();
        slow_start.follow(&mut candidate.merged.desired, is_reachable(&self.hops), now);
        let desired = &candidate.merged.desired;
        let mut ring_build = self.ring_build.clone();
        let target = build(desired, &self.hops, self.previous(), &mut ring_build);
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
        health::tell_alarms(&self.setup.hooks, &self.desired, &self.pools, &pools, now);
        self.pools = pools;
        self.dormant = candidate.merged.dormant;
        self.next_deadline = candidate.merged.next_deadline;
        self.keep_slow_start(slow_start);
        if let Some(config) = candidate.config {
            self.setup.config = config;
            self.setup.hooks.follow(&self.setup.config.hooks);
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

    /// Books how a reload ended.
    pub fn reload_ended(&mut self, result: Result<&ChangeResult, &Refused>) {
        match result {
            Ok(done) => {
                self.tallies.reloads_done += 1;
                self.config_error = None;
                self.config_loaded_at = SystemTime::now();
                info!(vips_changed = done.vips.len(), "configuration reloaded");
            }
            Err(refused) => {
                self.tallies.reloads_refused += 1;
                self.config_error = Some(refused.to_string());
                warn!(error = %refused, "configuration not reloaded; the running one stays");
            }
        }
    }

    /// Takes new next hops in.
    pub fn refresh(&mut self, hops: NextHops) {
        view::log_hops(&self.desired, &self.hops, &hops);
        self.hops = hops;
        let now = SystemTime::now();
        self.merge_anew(now);
        self.follow(now);
    }

    /// Who was healthy when an earlier daemon ended.
    #[must_use]
    pub fn known(&self) -> Known {
        let known = self.verdicts.iter().filter(|(_, verdict)| !matches!(verdict.state, State::Initial(_)));
        known.map(|(target, verdict)| (target.clone(), verdict.state == State::Healthy)).collect()
    }

    /// What is to be checked.
    #[must_use]
    pub fn checks(&self) -> Wanted {
        health::wanted(&self.setup.config, &self.desired)
    }

    /// Tells hooks what checks have come to say.
    pub(super) fn tell(&self, changes: &[(Target, Transition)]) {
        for (target, transition) in changes {
            let event = backend_event(&self.setup.config, &self.desired, target, transition);
            event.into_iter().for_each(|event| self.setup.hooks.tell(event));
        }
    }

    /// Takes in what the checks say now.
    pub(super) fn follow_health(&mut self, mut verdicts: Verdicts) {
        // A check that has just begun says nothing yet.
        let checks = self.checks();
        for (target, verdict) in self.verdicts.iter().filter(|(target, _)| checks.contains_key(*target)) {
            verdicts.entry(target.clone()).or_insert_with(|| verdict.clone());
        }
        if self.verdicts != verdicts {
            self.verdicts = verdicts;
            self.keep_healths();
            let now = SystemTime::now();
            self.merge_anew(now);
            self.follow(now);
        }
    }

    /// Makes the kernel forward as `desired` asks.
    pub(super) fn rebuild(&mut self) {
        let mut ring_build = std::mem::take(&mut self.ring_build);
        self.target = build(&self.desired, &self.hops, self.previous(), &mut ring_build);
        self.ring_build = ring_build;
        self.retry();
    }

    /// Takes in what is new about this host's links.
    pub fn follow_links(&mut self, links: Links) {
        if self.setup.links != links {
            self.setup.links = links;
            if let Err(refusal) = self.dataplane.follow_links(&self.setup.links) {
                self.refused(&refusal);
            }
        }
    }

    /// Applies the target when the kernel does not forward so yet.
    pub fn retry(&mut self) {
        if self.target == self.applied && self.dataplane_error.is_none() {
            return;
        }
        match self.dataplane.apply(&self.target) {
            Ok(_) => {
                self.applied = self.target.clone();
                self.warn();
                if self.dataplane_error.take().is_some() {
                    info!("the dataplane accepts again");
                }
            }
            Err(refusal) => self.refused(&refusal),
        }
    }

    /// Counts the flows that are remembered, and ends the transitions that are over.
    pub fn tick(&mut self) {
        let now_ns = clock::monotonic_ns();
        match self.dataplane.flows(&self.target, now_ns) {
            Ok(flows) => self.flows = flows,
            Err(error) => {
                // Nothing ends while nothing is known.
                warn!(%error, "the remembered flows cannot be counted");
                return;
            }
        }
        if let Some(target) = self
            .target
            .without_what_is_over(|vip, route, backend| self.flows_may_go_on(vip, route, backend), now_ns)
        {
            self.target = target;
            self.retry();
        }
    }

    /// Whether [`Self::tick`] has something to do: flows are remembered, or were.
    #[must_use]
    pub fn needs_tick(&self) -> bool {
        self.target.has_past() || !self.flows.dests.is_empty()
    }

    fn refused(&mut self, refusal: &DataplaneError) {
        self.tallies.apply_errors += 1;
        let text = refusal.to_string();
        if self.dataplane_error.as_ref() != Some(&text) {
            error!(error = %text, "the dataplane refuses; it is tried again and forwards as before until then");
        }
        self.dataplane_error = Some(text);
    }

    /// Whether [`Self::retry`] has something to do.
    #[must_use]
    pub const fn needs_retry(&self) -> bool {
        self.dataplane_error.is_some()
    }
}

impl<D> fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("setup", &self.setup).finish_non_exhaustive()
    }
}

/// [`Forwarding::build`], noting how long each new ring took, for all vips that have it.
pub(super) fn build(
    desired: &Desired,
    hops: &NextHops,
    previous: Previous<'_>,
    ring_build: &mut BTreeMap<VipKey, Duration>,
) -> Forwarding {
    let mut built = BTreeMap::new();
    let timed = |vip, size, members: &[Member]| {
        let begin = Instant::now();
        let ring = maglev::build(size, members);
        built.insert(vip, begin.elapsed());
        ring
    };
    let forwarding = Forwarding::build_with(desired, hops, previous, clock::monotonic_ns(), timed);
    let place = |vip: &ForwardVip| Arc::as_ptr(&vip.ring).addr();
    let took: BTreeMap<usize, Duration> =
        built.iter().filter_map(|(vip, took)| Some((place(forwarding.vips.get(vip)?), *took))).collect();
    let vips = forwarding.vips.iter();
    ring_build.extend(vips.filter_map(|(key, vip)| Some((*key, *took.get(&place(vip))?))));
    forwarding
}

pub(super) fn addresses(desired: &Desired) -> BTreeSet<IpAddr> {
    let vips = desired.vips.values();
    vips.flat_map(|vip| vip.all_members().into_values().map(|member| member.address)).collect()
}
