//! What access lists, limits and routes did.

use lb_common::abi::{AccessRule, PolicyCounters};

use super::engine::{Engine, Refused};
use crate::api::types::{AccessOptions, AccessPrefix, PolicyValues};
use crate::dataplane::{Dataplane, HitsJob, ListUse, Totals};
use crate::state::{VipKey, find_vip};

/// Reads lists; it may take seconds, and needs nothing of the engine any more.
pub(super) struct AccessJob {
    parts: Vec<(Part, HitsJob)>,
    top: Option<usize>,
}

/// What there is to be said of a list's prefixes.
struct Part {
    /// The vip's name; `None` for the list of all vips.
    vip: Option<String>,
    /// For a list of routes their names, by position.
    routes: Option<Vec<String>>,
}

impl<D: Dataplane> Engine<D> {
    /// The prefixes of the lists that `options` ask for, most hits first.
    pub(super) fn access(&self, options: &AccessOptions) -> Result<AccessJob, Refused> {
        let vips: Vec<VipKey> = match &options.vip {
            Some(name) => vec![find_vip(&self.desired, name)?],
            None => self.desired.vips.keys().copied().collect(),
        };
        let global = options.vip.is_none().then_some(ListUse::Global);
        let of_vips = vips.into_iter().flat_map(|key| [ListUse::Access(key), ListUse::Routes(key)]);
        let parts =
            global.into_iter().chain(of_vips).map(|of| (self.part(of), self.dataplane.prefix_hits(of)));
        Ok(AccessJob { parts: parts.collect(), top: options.top })
    }

    fn part(&self, of: ListUse) -> Part {
        match of {
            ListUse::Global => Part { vip: None, routes: None },
            ListUse::Access(key) => Part { vip: Some(self.vip_name(key)), routes: None },
            ListUse::Routes(key) => {
                let routes = self.desired.vips.get(&key).into_iter().flat_map(|vip| &vip.routes);
                let names = routes.map(|route| route.name.clone()).collect();
                Part { vip: Some(self.vip_name(key)), routes: Some(names) }
            }
        }
    }
}

impl AccessJob {
    pub(super) fn run(self) -> Result<Vec<AccessPrefix>, Refused> {
        let (mut shown, mut parts) = (Vec::new(), Vec::new());
        for (number, (part, read)) in self.parts.into_iter().enumerate() {
            shown.extend(read().map_err(Refused::Read)?.into_iter().map(|hit| (hit, number)));
            parts.push(part);
        }
        shown.sort_by_key(|(hit, _)| std::cmp::Reverse(hit.hits));
        shown.truncate(self.top.unwrap_or(usize::MAX));
        let shown = shown.into_iter().map(|(hit, number)| AccessPrefix {
            vip: parts[number].vip.clone(),
            prefix: hit.prefix.to_string(),
            verdict: parts[number].verdict(hit.verdict),
            hits: hit.hits,
        });
        Ok(shown.collect())
    }
}

impl Part {
    fn verdict(&self, verdict: u32) -> String {
        match &self.routes {
            Some(names) => {
                let name = (verdict as usize).checked_sub(1).and_then(|position| names.get(position));
                format!("route {}", name.cloned().unwrap_or_else(|| verdict.to_string()))
            }
            None if verdict == AccessRule::ALLOW => "allow".to_owned(),
            None => "deny".to_owned(),
        }
    }
}

pub(super) fn policy_values(totals: &Totals, vip: VipKey) -> PolicyValues {
    let PolicyCounters { new_flows, denied, vip_limited, source_limited } =
        totals.policies.get(&vip).copied().unwrap_or_default();
    PolicyValues { new_flows, denied, vip_limited, source_limited }
}
