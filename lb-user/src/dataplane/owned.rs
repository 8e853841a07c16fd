//! `OWNED`: which dest has which number in flow records, for the daemon that comes next. Only user space reads it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya_obj::generated::{BPF_F_NO_PREALLOC, bpf_map_type};
use bytemuck::{Pod, Zeroable};
use lb_common::abi::FLOW_OWNERS;

use super::DataplaneError;
use super::carried::{Wire, address, protocol};
use super::layout::EntryKey;
use crate::state::{VipKey, identity};

/// A dest: vip, number of its route, and backend.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
struct Dest {
    vip: [u8; 16],
    backend: [u8; 16],
    port: u16,
    protocol: u8,
    route: u8,
}

/// The pinned map.
pub(super) struct Owned {
    map: HashMap<MapData, u32, Wire<Dest>>,
    /// What it holds.
    known: BTreeMap<u16, (EntryKey, IpAddr)>,
}

impl Owned {
    /// A new map, pinned at `path`.
    pub(super) fn create(path: &Path) -> Result<Self, DataplaneError> {
        let failed = |error: &dyn std::fmt::Display| DataplaneError::other("OWNED", error);
        let map = aya_obj::Map::new_from_params(
            bpf_map_type::BPF_MAP_TYPE_HASH as u32,
            size_of::<u32>() as u32,
            size_of::<Dest>() as u32,
            FLOW_OWNERS,
            BPF_F_NO_PREALLOC,
        );
        let data = MapData::create(map, "OWNED", None).map_err(|error| failed(&error))?;
        data.pin(path).map_err(|error| failed(&error))?;
        Self::adopt(data).map_err(|error| failed(&error))
    }

    pub(super) fn adopt(data: MapData) -> Result<Self, MapError> {
        let map: HashMap<_, u32, Wire<Dest>> = HashMap::try_from(Map::HashMap(data))?;
        let known = map
            .iter()
            .flatten()
            .filter_map(|(owner, Wire(dest))| {
                let protocol = protocol(u16::from(dest.protocol))?;
                let vip = VipKey { address: address(dest.vip), port: dest.port, protocol };
                let entry = EntryKey { vip, route: dest.route };
                Some((u16::try_from(owner).ok()?, (entry, address(dest.backend))))
            })
            .collect();
        Ok(Self { map, known })
    }

    /// By number.
    pub(super) const fn dests(&self) -> &BTreeMap<u16, (EntryKey, IpAddr)> {
        &self.known
    }

    /// Replaces what it holds.
    pub(super) fn set(
        &mut self,
        owners: impl Iterator<Item = (EntryKey, IpAddr, u16)>,
    ) -> Result<(), DataplaneError> {
        let failed = |error| DataplaneError::other("OWNED", error);
        let wanted: BTreeMap<_, _> =
            owners.map(|(entry, backend, owner)| (owner, (entry, backend))).collect();
        for owner in self.known.keys().filter(|owner| !wanted.contains_key(owner)) {
            self.map.remove(&u32::from(*owner)).map_err(failed)?;
        }
        for (owner, (entry, backend)) in &wanted {
            if self.known.get(owner) != Some(&(*entry, *backend)) {
                let dest = Dest {
                    vip: identity(entry.vip.address),
                    backend: identity(*backend),
                    port: entry.vip.port,
                    protocol: entry.vip.protocol.number(),
                    route: entry.route,
                };
                self.map.insert(u32::from(*owner), Wire(dest), 0).map_err(failed)?;
            }
        }
        self.known = wanted;
        Ok(())
    }
}
