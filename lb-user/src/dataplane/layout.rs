//! Where everything lies in the tables, and the order in which a change is written. Pure: it decides, `memory` stores.
//!
//! Packets read while user space writes, so nothing that a packet can reach is ever written in pieces:
//!
//! - rings and dests that a change needs go to free entries, then one store of a vip's [`lb_common::abi::Place`] switches
//!   to them;
//! - a changed set of vips goes to the idle bank, then one store switches banks;
//! - what a change leaves behind is *retired*: still readable by packets under way, and not written again before a
//!   [`Write::Settle`], which waits until every packet that was under way is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Answering, FILTER_WORDS, MAX_DEVICES, Tracking, Tunnels, VIP_SLOTS};
use lb_common::flow;

use super::DataplaneError;
use super::extents::{Extent, Extents};
use crate::state::{
    AccessRules, Affinity, DesiredAddress, FlowTimes, ForwardVip, Forwarding, Prefixes, Tunnel, VipKey,
    VipOptions,
};

mod address;
mod banks;
mod keys;
mod lists;
mod owners;
mod place;
mod placed;
mod places;
mod policy;
mod ring;
mod room;
mod runs;
mod server_ids;
mod stage;
mod tunnels;
mod write;

pub use keys::{EntryKey, address4_entry_key, address6_entry_key, vip4_entry_key, vip6_entry_key};
use lists::Lists;
pub use lists::{List, ListContent, RetiredList};
use owners::Owners;
use placed::{Local, Placed};
pub use places::Places;
pub use policy::ListUse;
use room::{check_vip_counts, too_many_vips};
use runs::Runs;
pub(super) use server_ids::word as server_id_word;
pub use write::{Capacity, Retired, RetiredDest, Write};

/// The state of all tables.
#[derive(Clone, Debug)]
pub struct Layout {
    runs: Runs,
    dests: Extents,
    /// Numbers that no vip has.
    numbers: Extents,
    /// Entries of `POLICIES` that no vip names.
    policies: Extents,
    owners: Owners,
    tracking: Tracking,
    flow_buckets: u32,
    /// Vips and their routes.
    entries: BTreeMap<EntryKey, Placed>,
    lists: Lists,
    /// The global list's number.
    global: u32,
    access: AccessRules,
    /// By interface index.
    devices: BTreeMap<u32, u32>,
    seed: u64,
    answering: Answering,
    tunnels: Tunnels,
    tunnel: Option<Tunnel>,
    addresses: BTreeMap<IpAddr, DesiredAddress>,
    elected: BTreeSet<IpAddr>,
    places: Places,
    bank: u32,
    /// Where the live bank holds each vip: an index over both banks.
    slots: BTreeMap<EntryKey, u32>,
    /// Of the live bank.
    filter: [u64; FILTER_WORDS],
    /// Whether packets may still read the idle bank.
    idle_bank_read: bool,
    retired_dests: Vec<RetiredDest>,
    retired_blocks: Vec<Extent>,
    retired_numbers: Vec<(u32, VipKey)>,
    retired_policies: Vec<u32>,
}

impl Layout {
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            runs: Runs::new(capacity.ring_pages),
            dests: Extents::new(capacity.dests),
            numbers: Extents::new(2 * VIP_SLOTS),
            policies: Extents::new(2 * VIP_SLOTS),
            owners: Owners::new(&BTreeMap::new()),
            tracking: Tracking::default(),
            flow_buckets: capacity.flow_buckets,
            entries: BTreeMap::new(),
            lists: Lists::default(),
            global: 0,
            access: AccessRules::default(),
            devices: BTreeMap::new(),
            seed: 0,
            answering: Answering::default(),
            tunnels: Tunnels::default(),
            tunnel: None,
            addresses: BTreeMap::new(),
            elected: BTreeSet::new(),
            places: Places::default(),
            bank: 0,
            slots: BTreeMap::new(),
            filter: [0; FILTER_WORDS],
            idle_bank_read: false,
            retired_dests: Vec::new(),
            retired_blocks: Vec::new(),
            retired_numbers: Vec::new(),
            retired_policies: Vec::new(),
        }
    }

    /// The layout of empty tables whose flow records name dests by these numbers already.
    #[must_use]
    pub fn with_owners(capacity: Capacity, kept: &BTreeMap<(EntryKey, IpAddr), u16>) -> Self {
        Self { owners: Owners::new(kept), ..Self::new(capacity) }
    }

    /// How the program remembers flows.
    pub(super) const fn tracking(&self) -> Tracking {
        self.tracking
    }

    /// Numbers by which flow records name dests: vip or route, and backend.
    pub fn owners(&self) -> impl Iterator<Item = (EntryKey, IpAddr, u16)> + '_ {
        self.owners.iter()
    }

    /// The vip or route with this number.
    #[must_use]
    pub fn entry_numbered(&self, number: u32) -> Option<EntryKey> {
        self.entries.iter().find(|(_, placed)| placed.number == number).map(|(key, _)| *key)
    }

    /// All numbers by which a vip's packets may be counted.
    pub fn numbers(&self) -> impl Iterator<Item = (u32, VipKey)> + '_ {
        let live = self.entries.iter().map(|(key, placed)| (placed.number, key.vip));
        live.chain(self.retired_numbers.iter().copied())
    }

    /// The interfaces that addresses are confined to.
    #[must_use]
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// The backend behind an entry of `DESTS`.
    #[must_use]
    pub fn backend_at(&self, index: u32) -> Option<IpAddr> {
        self.live_dests().find(|dest| dest.index == index).map(|dest| dest.backend)
    }

    /// All entries that count for a vip and backend.
    pub fn counted_dests(&self) -> impl Iterator<Item = RetiredDest> + '_ {
        self.live_dests().chain(self.retired_dests.iter().copied())
    }

    fn live_dests(&self) -> impl Iterator<Item = RetiredDest> + '_ {
        self.entries.iter().flat_map(|(key, placed)| {
            placed.locals.iter().zip(placed.block.start..).filter_map(|(local, index)| match local {
                Some(Local::Live { backend, .. }) => {
                    Some(RetiredDest { index, vip: key.vip, backend: *backend })
                }
                _ => None,
            })
        })
    }

    fn has_retired(&self) -> bool {
        self.lists.has_retired()
            || self.owners.has_retired()
            || self.runs.has_retired()
            || !(self.retired_dests.is_empty()
                && self.retired_blocks.is_empty()
                && self.retired_numbers.is_empty()
                && self.retired_policies.is_empty())
    }

    /// Makes everything retired free again.
    fn settle(&mut self) -> Write {
        self.runs.settle();
        for extent in self.retired_blocks.drain(..) {
            self.dests.give(extent);
        }
        for (number, _) in &self.retired_numbers {
            self.numbers.give(Extent { start: *number, len: 1 });
        }
        self.settle_policies();
        for placed in self.entries.values_mut() {
            for local in &mut placed.locals {
                if *local == Some(Local::Retired) {
                    *local = None;
                }
            }
        }
        let used = self.interfaces();
        self.devices.retain(|ifindex, _| used.contains(ifindex));
        self.idle_bank_read = false;
        Write::Settle(Retired {
            dests: std::mem::take(&mut self.retired_dests),
            numbers: std::mem::take(&mut self.retired_numbers),
            lists: self.lists.take_retired(),
            owners: self.owners.settle(),
        })
    }

    fn change(&mut self, forwarding: &Forwarding, writes: &mut Vec<Write>) -> Result<(), DataplaneError> {
        check_vip_counts(forwarding)?;
        let rebuild = !self.same_entries(forwarding);
        if rebuild && self.idle_bank_read {
            writes.push(self.settle());
        }
        let entries = entries(forwarding);
        self.devices_for(&entries, writes)?;
        self.remove_entries(&entries);
        self.owners.retain(|key| entries.contains_key(key), writes);
        let mut moved = Vec::new();
        for (key, vip) in &entries {
            let placed = self.is_placed(key, vip, &forwarding.tunnel);
            if !placed && self.place_entry(key, vip, &forwarding.tunnel, writes)? {
                moved.push(*key);
            }
        }
        if rebuild {
            self.set_policies(forwarding, writes)?;
        }
        if self.seed != forwarding.hash_seed {
            writes.push(Write::Seed(forwarding.hash_seed));
        }
        self.seed = forwarding.hash_seed;
        let answering = address::answering(&forwarding.answers, &forwarding.tunnel);
        if self.answering != answering {
            writes.push(Write::Answering(answering));
        }
        self.answering = answering;
        let tracking = tracking(&forwarding.flows, self.flow_buckets);
        if self.tracking != tracking {
            writes.push(Write::Tracking(tracking));
        }
        self.tracking = tracking;
        let tunnels = tunnels::of(forwarding);
        if self.tunnels != tunnels {
            writes.push(Write::Tunnels(Box::new(tunnels)));
        }
        self.tunnels = tunnels;
        self.addresses = forwarding.addresses.clone();
        self.elected = forwarding.elected.clone();
        self.places.follow(&self.addresses)?;
        self.access = forwarding.access.clone();
        self.tunnel = Some(forwarding.tunnel.clone());
        if rebuild {
            self.switch_banks(writes)?;
            if self.lists.has_retired() {
                // Lists may be large: their memory is not kept until the next change.
                writes.push(self.settle());
            }
            return Ok(());
        }
        writes.extend(moved.into_iter().map(|key| self.place_of(key)));
        Ok(())
    }

    /// Whether an entry is there already as it is to be.
    fn is_placed(&self, key: &EntryKey, vip: &Arc<ForwardVip>, tunnel: &Tunnel) -> bool {
        self.tunnel.as_ref() == Some(tunnel) && self.entries.get(key).is_some_and(|placed| placed.vip == *vip)
    }

    /// Switches packets to where an entry is now.
    fn place_of(&self, key: EntryKey) -> Write {
        let place = self.entries[&key].place();
        Write::Place { is_v6: key.vip.address.is_ipv6(), index: self.slots[&key], place }
    }

    /// Whether the vip table's entries, places apart, stay as they are.
    fn same_entries(&self, forwarding: &Forwarding) -> bool {
        self.tunnel.is_some()
            && self.addresses == forwarding.addresses
            && self.elected == forwarding.elected
            && self.access == forwarding.access
            && self
                .entries
                .iter()
                .map(|(key, placed)| (*key, fixed(&placed.vip)))
                .eq(entries(forwarding).into_iter().map(|(key, vip)| (key, fixed(vip))))
    }

    /// Gives every outgoing interface an entry of `DEVICES`.
    fn devices_for(&mut self, entries: &Entries<'_>, writes: &mut Vec<Write>) -> Result<(), DataplaneError> {
        let dests = entries.values().flat_map(|vip| placed::dests_in_use(vip));
        let wanted: BTreeSet<u32> =
            dests.filter_map(|dest| Some(dest.next_hop.as_ref().ok()?.ifindex)).collect();
        let used = self.interfaces();
        for ifindex in wanted.difference(&used) {
            // An entry that no live dest uses is written again: the kernel clears it when its interface goes away, and the
            // same interface may have come back.
            let slot = self.device_slot(*ifindex)?;
            self.devices.insert(*ifindex, slot);
            writes.push(Write::Device { slot, ifindex: *ifindex });
        }
        Ok(())
    }

    /// The entry of `DEVICES` that an interface has, or a free one.
    fn device_slot(&self, ifindex: u32) -> Result<u32, DataplaneError> {
        let taken = |slot: &u32| self.devices.values().any(|other| other == slot);
        self.devices.get(&ifindex).copied().or_else(|| (0..MAX_DEVICES).find(|slot| !taken(slot))).ok_or_else(
            || {
                let what = format!(
                    "packets would leave by more than {MAX_DEVICES} interfaces; route backends over fewer"
                );
                DataplaneError::Other(what)
            },
        )
    }

    /// The interfaces that live dests leave by.
    fn interfaces(&self) -> BTreeSet<u32> {
        self.entries.values().flat_map(Placed::interfaces).collect()
    }

    fn remove_entries(&mut self, wanted: &Entries<'_>) {
        let gone: Vec<_> = self.entries.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            if let Some(placed) = self.entries.remove(&key) {
                self.retire_block(key.vip, &placed);
                placed.ring.into_iter().for_each(|ring| self.runs.release(ring));
                self.retired_numbers.push((placed.number, key.vip));
                self.retired_policies.extend(placed.policy.map(|(index, _)| index));
            }
        }
    }

    fn retire_block(&mut self, vip: VipKey, placed: &Placed) {
        for (local, index) in placed.locals.iter().zip(placed.block.start..) {
            if let Some(Local::Live { backend, .. }) = local {
                self.retired_dests.push(RetiredDest { index, vip, backend: *backend });
            }
        }
        self.retired_blocks.push(placed.block);
    }
}

/// All that has a ring, by its key.
type Entries<'f> = BTreeMap<EntryKey, &'f Arc<ForwardVip>>;

fn entries(forwarding: &Forwarding) -> Entries<'_> {
    let vips = forwarding.vips.iter().map(|(key, vip)| (EntryKey::from(*key), vip));
    let routes =
        forwarding.routes.iter().map(|((vip, route), of)| (EntryKey { vip: *vip, route: *route }, of));
    vips.chain(routes).collect()
}

/// How the program remembers flows.
fn tracking(times: &FlowTimes, buckets: u32) -> Tracking {
    let ticks = |duration: Duration| flow::ticks_in(duration.as_secs());
    Tracking {
        buckets,
        opened_ticks: ticks(times.opened),
        // Which flows are of UDP, the program does not tell apart: user space does, when it removes what is over.
        idle_ticks: ticks(times.tcp_idle.max(times.udp_idle)),
        closing_ticks: ticks(times.closing),
        reserved: [0; 3],
    }
}

/// What an entry of the tables says beside its place.
fn fixed(vip: &ForwardVip) -> (u32, Affinity, &VipOptions, &[Prefixes], u32) {
    (vip.ring_size, vip.affinity, &vip.options, &vip.routes, server_ids::pages(vip))
}
