//! Counters that have outlived their entry: of dests that were replaced, of backends that left, of an earlier program.
//!
//! They are kept in a map of their own beside the others, so they live and end with what they count and survive the daemon.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya_obj::generated::{BPF_F_NO_PREALLOC, bpf_map_type};
use bytemuck::{Pod, Zeroable};
use lb_common::abi::{Counters, PolicyCounters};

use super::{DataplaneError, Totals};
use crate::state::{Protocol, VipKey, identity};

/// Entries in `CARRIED`.
const CAPACITY: u32 = 65_536;

/// A plain type as a map's key or value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<T>(pub(super) T);

// SAFETY: the wrapper is transparent and `T` is plain old data.
unsafe impl<T: Pod> aya::Pod for Wire<T> {}

/// What a count belongs to: a vip's backend; a vip (then `reason` says what of its policy, and the backend is zero); or a
/// reason alone (then both addresses are zero).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
struct Key {
    vip: [u8; 16],
    backend: [u8; 16],
    port: u16,
    /// 0: a reason.
    protocol: u16,
    reason: u32,
}

/// The pinned map of carried counters.
pub(super) struct Carried {
    map: HashMap<MapData, Wire<Key>, Wire<Counters>>,
}

impl Carried {
    /// A new map, pinned at `path`.
    pub(super) fn create(path: &Path) -> Result<Self, DataplaneError> {
        let failed = |error: &dyn std::fmt::Display| DataplaneError::other("CARRIED", error);
        // Without preallocation: most instances carry few.
        let map = aya_obj::Map::new_from_params(
            bpf_map_type::BPF_MAP_TYPE_HASH as u32,
            size_of::<Key>() as u32,
            size_of::<Counters>() as u32,
            CAPACITY,
            BPF_F_NO_PREALLOC,
        );
        let data = MapData::create(map, "CARRIED", None).map_err(|error| failed(&error))?;
        data.pin(path).map_err(|error| failed(&error))?;
        Self::adopt(data).map_err(|error| failed(&error))
    }

    pub(super) fn adopt(data: MapData) -> Result<Self, MapError> {
        Ok(Self { map: HashMap::try_from(Map::HashMap(data))? })
    }

    pub(super) fn read(&self) -> Totals {
        let mut totals = Totals::default();
        for (Wire(key), Wire(counters)) in self.map.iter().flatten() {
            match protocol(key.protocol) {
                None => _ = totals.reasons.insert(key.reason, counters.packets),
                Some(protocol) => {
                    let vip = VipKey { address: address(key.vip), port: key.port, protocol };
                    if let Some(part) = PolicyPart::of(key.reason) {
                        *part.count(totals.policies.entry(vip).or_default()) = counters.packets;
                        continue;
                    }
                    _ = totals.dests.insert((vip, address(key.backend)), counters);
                }
            }
        }
        totals
    }

    /// Replaces everything.
    pub(super) fn write(&mut self, totals: &Totals) -> Result<(), MapError> {
        for ((vip, backend), counters) in &totals.dests {
            self.set(*vip, *backend, *counters)?;
        }
        for (vip, counters) in &totals.policies {
            self.set_policy(*vip, *counters)?;
        }
        for (reason, packets) in &totals.reasons {
            let key = Key { reason: *reason, ..Key::zeroed() };
            let counters = Counters { packets: *packets, ..Counters::default() };
            self.map.insert(Wire(key), Wire(counters), 0)?;
        }
        Ok(())
    }

    /// Adds to what is carried for a vip's backend.
    pub(super) fn add(&mut self, vip: VipKey, backend: IpAddr, counters: Counters) -> Result<(), MapError> {
        if counters == Counters::default() {
            return Ok(());
        }
        let before = match self.map.get(&Wire(key(vip, backend)), 0) {
            Ok(Wire(before)) => before,
            Err(MapError::KeyNotFound) => Counters::default(),
            Err(error) => return Err(error),
        };
        self.set(vip, backend, sum(before, counters))
    }

    /// Adds to what is carried for a vip's policy.
    pub(super) fn add_policy(&mut self, vip: VipKey, counters: PolicyCounters) -> Result<(), MapError> {
        let before = self.read().policies.get(&vip).copied().unwrap_or_default();
        self.set_policy(vip, policy_sum(before, counters))
    }

    fn set_policy(&mut self, vip: VipKey, mut counters: PolicyCounters) -> Result<(), MapError> {
        for part in PolicyPart::ALL {
            let key = Key { reason: part as u32, ..key(vip, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) };
            let packets = *part.count(&mut counters);
            self.map.insert(Wire(key), Wire(Counters { packets, ..Counters::default() }), 0)?;
        }
        Ok(())
    }

    fn set(&mut self, vip: VipKey, backend: IpAddr, counters: Counters) -> Result<(), MapError> {
        self.map.insert(Wire(key(vip, backend)), Wire(counters), 0)
    }
}

/// A field of [`PolicyCounters`], as keys name it.
#[derive(Clone, Copy)]
enum PolicyPart {
    NewFlows = 1,
    Denied = 2,
    VipLimited = 3,
    SourceLimited = 4,
}

impl PolicyPart {
    const ALL: [Self; 4] = [Self::NewFlows, Self::Denied, Self::VipLimited, Self::SourceLimited];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|part| *part as u32 == number)
    }

    const fn count(self, counters: &mut PolicyCounters) -> &mut u64 {
        match self {
            Self::NewFlows => &mut counters.new_flows,
            Self::Denied => &mut counters.denied,
            Self::VipLimited => &mut counters.vip_limited,
            Self::SourceLimited => &mut counters.source_limited,
        }
    }
}

/// Adds up two vips' policy counters.
pub(super) const fn policy_sum(a: PolicyCounters, b: PolicyCounters) -> PolicyCounters {
    PolicyCounters {
        new_flows: a.new_flows + b.new_flows,
        denied: a.denied + b.denied,
        vip_limited: a.vip_limited + b.vip_limited,
        source_limited: a.source_limited + b.source_limited,
    }
}

/// Adds up two counts.
pub(super) const fn sum(a: Counters, b: Counters) -> Counters {
    Counters {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        new_flows: a.new_flows + b.new_flows,
    }
}

/// Adds `counters` to an entry of `dests`.
pub(super) fn add_to(
    dests: &mut BTreeMap<(VipKey, IpAddr), Counters>,
    of: (VipKey, IpAddr),
    counters: Counters,
) {
    let total = dests.entry(of).or_default();
    *total = sum(*total, counters);
}

fn key(vip: VipKey, backend: IpAddr) -> Key {
    Key {
        vip: identity(vip.address),
        backend: identity(backend),
        port: vip.port,
        protocol: u16::from(vip.protocol.number()),
        reason: 0,
    }
}

pub(super) fn protocol(number: u16) -> Option<Protocol> {
    [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| u16::from(protocol.number()) == number)
}

/// The address behind an [`identity`].
pub(super) fn address(identity: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(identity).to_canonical()
}
