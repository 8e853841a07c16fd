//! What is known of remembered flows, for those who show or plan something.

use std::net::IpAddr;

use super::engine::Engine;
use crate::state::{ForwardVip, VipKey};

impl<D> Engine<D> {
    /// The flows of a vip on a backend that are remembered.
    pub(super) fn remembered(&self, vip: VipKey, backend: IpAddr) -> u64 {
        self.flows.of(vip, backend).all()
    }

    /// Slots of a vip and its routes that are in transition.
    pub(super) fn slots_in_transition(&self, vip: VipKey) -> u32 {
        self.rings_of(vip).map(|ring| ring.in_transition() as u32).sum()
    }

    /// Whether a backend that owns no slot of a vip may still have flows: remembered ones, or quiet ones of which nothing
    /// is known as long as the transition goes on.
    pub(super) fn may_have_flows(&self, vip: VipKey, backend: IpAddr) -> bool {
        let has_past = |ring: &ForwardVip| {
            ring.past.iter().flat_map(|past| past.past_dests()).any(|dest| dest.address == backend)
        };
        self.remembered(vip, backend) > 0 || self.rings_of(vip).any(has_past)
    }

    fn rings_of(&self, vip: VipKey) -> impl Iterator<Item = &ForwardVip> {
        let routes = self.target.routes_of(vip).map(|(_, route)| &**route);
        self.target.vips.get(&vip).map(|vip| &**vip).into_iter().chain(routes)
    }
}
