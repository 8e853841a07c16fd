//! What access lists, limits and routes did.

use lb_common::abi::{AccessRule, PolicyCounters};

use super::engine::{Engine, Refused};
use crate::api::types::{AccessOptions, AccessPrefix, PolicyValues};
use crate::dataplane::{Dataplane, ListUse, Totals};
use crate::state::{VipKey, find_vip};

impl<D: Dataplane> Engine<D> {
    /// The prefixes of the lists that `options` ask for, most hits first.
    pub(super) fn access(&self, options: &AccessOptions) -> Result<Vec<AccessPrefix>, Refused> {
        let vips: Vec<VipKey> = match &options.vip {
            Some(name) => vec![find_vip(&self.desired, name)?],
            None => self.desired.vips.keys().copied().collect(),
        };
        let global = options.vip.is_none().then_some(ListUse::Global);
        let of_vips = vips.into_iter().flat_map(|key| [ListUse::Access(key), ListUse::Routes(key)]);
        let mut shown = Vec::new();
        for of in global.into_iter().chain(of_vips) {
            let hits = self.dataplane.prefix_hits(of).map_err(Refused::Read)?;
            shown.extend(hits.into_iter().map(|hit| (hit, of)));
        }
        shown.sort_by_key(|(hit, _)| std::cmp::Reverse(hit.hits));
        shown.truncate(options.top.unwrap_or(usize::MAX));
        let shown = shown.into_iter().map(|(hit, of)| AccessPrefix {
            vip: match of {
                ListUse::Global => None,
                ListUse::Access(key) | ListUse::Routes(key) => Some(self.vip_name(key)),
            },
            prefix: hit.prefix.to_string(),
            verdict: self.verdict(of, hit.verdict),
            hits: hit.hits,
        });
        Ok(shown.collect())
    }

    fn verdict(&self, of: ListUse, verdict: u32) -> String {
        match of {
            ListUse::Routes(key) => {
                let number = u8::try_from(verdict).unwrap_or_default();
                format!("route {}", self.route_name(key, number).unwrap_or_else(|| number.to_string()))
            }
            _ if verdict == AccessRule::ALLOW => "allow".to_owned(),
            _ => "deny".to_owned(),
        }
    }
}

pub(super) fn policy_values(totals: &Totals, vip: VipKey) -> PolicyValues {
    let PolicyCounters { new_flows, denied, vip_limited, source_limited } =
        totals.policies.get(&vip).copied().unwrap_or_default();
    PolicyValues { new_flows, denied, vip_limited, source_limited }
}
