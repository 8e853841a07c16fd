//! What the policy stage must know of vips: access lists, limits and routes, by an entry of `POLICIES` that does not change
//! while a vip names it.

use std::sync::Arc;

use lb_common::abi::Policy;

use super::lists::ListContent;
use super::{Layout, List, Write, too_many_vips};
use crate::dataplane::DataplaneError;
use crate::dataplane::extents::Extent;
use crate::state::{AccessRules, ForwardVip, Forwarding, VipKey};

const NANOS: u64 = 1_000_000_000;

/// Where a prefix list is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListUse {
    /// For all vips.
    Global,
    /// A vip's access list.
    Access(VipKey),
    /// A vip's routes.
    Routes(VipKey),
}

impl Layout {
    /// Loads the lists that are new, and gives each vip the policy that it asks for.
    pub(super) fn set_policies(
        &mut self,
        forwarding: &Forwarding,
        writes: &mut Vec<Write>,
    ) -> Result<(), DataplaneError> {
        let global = self.list(ListContent::Access(forwarding.access.clone()), writes)?;
        let mut used = vec![global];
        let mut replaced = vec![(self.global, global)];
        for (key, vip) in &forwarding.vips {
            let access = self.list(ListContent::Access(vip.options.access.clone()), writes)?;
            let routes = self.list(ListContent::Routes(vip.routes.clone()), writes)?;
            used.extend([access, routes]);
            if let Some(before) = self.policy_of(*key) {
                replaced.extend([(before.access, access), (before.routes, routes)]);
            }
            let policy = policy(vip, [global, access, routes], &forwarding.access);
            self.set_policy(*key, policy, writes)?;
        }
        self.lists.keep(used, &replaced);
        self.global = global;
        Ok(())
    }

    /// The lists that a change to `forwarding` will need and the kernel has not got yet. They are known from now on, and not
    /// loaded again by the change itself.
    pub(in crate::dataplane) fn prepare_lists(
        &mut self,
        forwarding: &Forwarding,
    ) -> Result<Vec<Arc<List>>, DataplaneError> {
        let of_vips = forwarding.vips.values().flat_map(|vip| {
            [ListContent::Access(vip.options.access.clone()), ListContent::Routes(vip.routes.clone())]
        });
        let mut new = Vec::new();
        for content in [ListContent::Access(forwarding.access.clone())].into_iter().chain(of_vips) {
            new.extend(self.lists.number(content)?.1);
        }
        Ok(new)
    }

    /// Forgets the lists that were prepared for a change which did not come. They are to be removed.
    pub(in crate::dataplane) fn abandon_lists(&mut self) -> Vec<Arc<List>> {
        self.lists.abandon()
    }

    fn policy_of(&self, key: VipKey) -> Option<Policy> {
        Some(self.entries.get(&key.into())?.policy?.1)
    }

    fn list(&mut self, content: ListContent, writes: &mut Vec<Write>) -> Result<u32, DataplaneError> {
        let (number, new) = self.lists.number(content)?;
        writes.extend(new.map(Write::List));
        Ok(number)
    }

    fn set_policy(
        &mut self,
        key: VipKey,
        policy: Option<Policy>,
        writes: &mut Vec<Write>,
    ) -> Result<(), DataplaneError> {
        let Some(placed) = self.entries.get_mut(&key.into()) else { return Ok(()) };
        if placed.policy.map(|(_, before)| before) == policy {
            return Ok(());
        }
        self.retired_policies.extend(placed.policy.take().map(|(index, _)| index));
        if let Some(policy) = policy {
            let capacity = u64::from(self.policies.capacity());
            let index = self.policies.take(1).ok_or(too_many_vips(capacity + 1, capacity))?.start;
            placed.policy = Some((index, policy));
            writes.push(Write::Policy { index, policy: Box::new(policy) });
        }
        Ok(())
    }

    pub(super) fn settle_policies(&mut self) {
        for index in self.retired_policies.drain(..) {
            self.policies.give(Extent { start: index, len: 1 });
        }
    }

    /// The list that is used there.
    #[must_use]
    pub fn list_used(&self, of: ListUse) -> Option<&Arc<List>> {
        let id = match of {
            ListUse::Global => self.global,
            ListUse::Access(key) => self.policy_of(key)?.access,
            ListUse::Routes(key) => self.policy_of(key)?.routes,
        };
        self.lists.get(id)
    }
}

/// `lists`: the global one, the vip's own, its routes'.
fn policy(vip: &ForwardVip, lists: [u32; 3], global: &AccessRules) -> Option<Policy> {
    let limits = &vip.options.limits;
    if lists == [0; 3] && limits.is_off() {
        return None;
    }
    let [global_access, access, routes] = lists;
    let deny = |rules: &AccessRules, flag: u32| if rules.allow.is_empty() { 0 } else { flag };
    Some(Policy {
        global_access,
        access,
        deny_unlisted: deny(global, Policy::GLOBAL) | deny(&vip.options.access, Policy::VIP),
        source_prefix: u32::from(limits.source_prefix4) | u32::from(limits.source_prefix6) << 16,
        vip_interval_ns: limits.vip_per_second.map_or(0, interval),
        source_interval_ns: limits.source_per_second.map_or(0, interval),
        routes,
        reserved: 0,
    })
}

/// Nanoseconds between two of so many events a second.
fn interval(per_second: u32) -> u64 {
    NANOS.checked_div(per_second.into()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_never_zero_which_would_be_no_limit() {
        assert_eq!(interval(1000), 1_000_000);
        assert_eq!(interval(1), NANOS);
        assert_eq!(interval(u32::MAX), 1);
        assert_eq!(interval(0), u64::MAX);
    }
}
