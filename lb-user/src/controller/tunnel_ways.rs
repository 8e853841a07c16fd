//! The ways of checks through tunnels, as packets of clients go now.

use std::collections::BTreeMap;

use super::engine::Engine;
use super::health::targets;
use crate::dataplane::{Dataplane, ProbeSpec};
use crate::health::{NoWay, Via, Way};
use crate::state::ForwardVip;
use crate::tunnel_probes::Wanted;

impl<D: Dataplane> Engine<D> {
    /// What checks through tunnels need.
    #[must_use]
    pub fn tunnel_ways(&self) -> Wanted {
        if !self.setup.config.checks.values().any(|check| check.via == Via::Tunnel) {
            return Wanted::default();
        }
        let mut ways = BTreeMap::new();
        for (key, vip) in &self.desired.vips {
            for (name, member) in vip.all_members() {
                for way in
                    targets(&self.setup.config, *key, name, member).filter_map(|(target, _)| target.way)
                {
                    let rings = self.target.vips.get(key).into_iter();
                    let routes = self.target.routes.range((*key, 0)..=(*key, u8::MAX)).map(|(_, ring)| ring);
                    let spec = rings.chain(routes).find_map(|ring| spec(ring, name, &way));
                    let spec = spec.unwrap_or_else(|| Err(NoWay::Here("not forwarded to yet".to_owned())));
                    if let Some(own) = way.to_backend() {
                        let own_spec = spec.clone().map(|spec| ProbeSpec { vip: own.to, ..spec });
                        ways.insert(own, own_spec);
                    }
                    ways.insert(way, spec);
                }
            }
        }
        if ways.is_empty() {
            return Wanted::default();
        }
        let attached = self.dataplane.attachments().into_iter().map(|attached| attached.interface);
        let out = ways.values().filter_map(|spec| Some(spec.as_ref().ok()?.hop.interface.clone()));
        Wanted {
            prefixes: self.setup.config.probes,
            tunnel: self.target.tunnel.clone(),
            interfaces: attached.chain(out).collect(),
            vips: self.desired.addresses.keys().copied().collect(),
            ways,
        }
    }
}

/// The way as a ring of the vip has it.
fn spec(ring: &ForwardVip, name: &str, way: &Way) -> Option<Result<ProbeSpec, NoWay>> {
    let dest = ring.dests.get(name)?;
    let hop = dest.next_hop.clone().map_err(|reason| NoWay::Backend(reason.to_string()));
    Some(hop.map(|hop| ProbeSpec { vip: way.to, backend: dest.address, mode: dest.mode, hop }))
}
