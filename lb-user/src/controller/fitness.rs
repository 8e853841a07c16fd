//! Whether this host can forward, as far as the election of a master is concerned. Reads only.
//!
//! Health of backends is no part of it: a host whose backends are all down is as good as its neighbour, which has the same
//! ones. Whoever wants otherwise tracks a vip.

use std::collections::BTreeSet;

use lb_vrrp::gate::{Flows, Readiness};

use super::advance::is_reachable;
use super::engine::Engine;
use super::health::verdict;
use crate::dataplane::Dataplane;
use crate::health::Standings;
use crate::state::{DesiredVip, VipKey};
use crate::vrrp::{Host, Subject};

impl<D: Dataplane> Engine<D> {
    /// What the election is to know. `first_round_done` as [`Self::first_round_done`] said once.
    pub(super) fn host(&self, first_round_done: bool, flows: Flows) -> Host {
        Host {
            // An engine begins with the tables filled.
            readiness: Readiness { tables_loaded: true, first_round_done, flows },
            unfit: self.unfit(),
            dead_vips: self.dead_vips(),
        }
    }

    /// Whether every check has had a result since the daemon started; what an earlier one knew may be old.
    pub(super) fn first_round_done(&self, standings: &Standings) -> bool {
        let has_result = |target| standings.get(target).is_some_and(|standing| standing.last.is_some());
        self.checks().keys().all(has_result)
    }

    /// Why this host cannot forward; empty when it can.
    fn unfit(&self) -> Vec<String> {
        let mut unfit = Vec::new();
        let attached = self.dataplane.attachments();
        for interface in &self.setup.config.interfaces {
            match attached.iter().find(|attachment| attachment.interface == *interface) {
                None => unfit.push(format!("the program is not attached to {interface}")),
                Some(attachment) => {
                    let links = &self.setup.links;
                    if !links.is_empty() && !links.contains_key(&attachment.ifindex) {
                        unfit.push(format!("interface {interface} is gone"));
                    }
                }
            }
        }
        if let Some(error) = &self.dataplane_error {
            unfit.push(format!("the kernel does not forward as it should: {error}"));
        }
        unfit.extend(self.no_way_out());
        unfit
    }

    /// Said when no backend at all has a next hop.
    fn no_way_out(&self) -> Option<String> {
        let wanted = super::engine::addresses(&self.desired);
        let first = wanted.first()?;
        if wanted.iter().any(|address| is_reachable(&self.hops)(*address)) {
            return None;
        }
        let why = match self.hops.get(first) {
            Some(Err(reason)) => reason.to_string(),
            _ => "its next hop is not known yet".to_owned(),
        };
        Some(format!("no backend can be reached; {first}: {why}"))
    }

    /// Vips that priorities depend on, and of which no backend serves.
    fn dead_vips(&self) -> BTreeSet<String> {
        let tracks = self.setup.config.vrrp.routers.values().flat_map(|router| &router.track);
        let tracked: BTreeSet<&str> = tracks
            .filter_map(|(subject, _)| match subject {
                Subject::Vip(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        if tracked.is_empty() {
            return BTreeSet::new();
        }
        let vips = self.desired.vips.iter().filter(|(_, vip)| tracked.contains(vip.name.as_str()));
        vips.filter(|(key, vip)| self.is_dead(**key, vip)).map(|(_, vip)| vip.name.clone()).collect()
    }

    /// Backends that serve for want of a healthy one do not count.
    fn is_dead(&self, key: VipKey, vip: &DesiredVip) -> bool {
        let serves = |(name, member): (&str, &crate::state::DesiredMember)| {
            let verdict = verdict(&self.setup.config, &self.verdicts, key, name, member);
            let is_up = verdict.is_none_or(|verdict| verdict.state.is_up() || verdict.passes);
            is_up && !member.drained && member.asked_weight() > 0 && is_reachable(&self.hops)(member.address)
        };
        !vip.all_members().into_iter().any(serves)
    }
}
