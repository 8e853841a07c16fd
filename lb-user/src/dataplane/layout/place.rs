//! Placing one vip or route: local numbers for its dests, entries for what is new, and a ring.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::{Dest, RingPage, past_pages, ring_pages};

use super::placed::{Local, Placed, Wanted, dests_in_use};
use super::runs::{Recipe, Taken};
use super::{EntryKey, Layout, RetiredDest, Write, ring, server_ids, too_many_vips};
use crate::dataplane::dest_entry::{DestSpec, dest_entry};
use crate::dataplane::extents::Extent;
use crate::dataplane::{DataplaneError, RINGS, dest_block};
use crate::state::{ForwardDest, ForwardVip, TrackingMode, Tunnel, VipKey};

impl Layout {
    /// Writes what a new or changed vip or route needs to free entries. Says whether its place changes.
    pub(super) fn place_entry(
        &mut self,
        key: &EntryKey,
        vip: &Arc<ForwardVip>,
        tunnel: &Tunnel,
        writes: &mut Vec<Write>,
    ) -> Result<bool, DataplaneError> {
        let mut placed = match self.entries.remove(key) {
            Some(placed) => placed,
            None => Placed::new(self.free_number()?, vip),
        };
        let before = (placed.locals.clone(), placed.block);
        let wanted = self.wanted_dests(key, vip, placed.number, tunnel)?;
        let numbers = match placed.assign(&wanted) {
            Some(numbers) => numbers,
            None => {
                self.retire_block(key.vip, &placed);
                placed.block = self.take_block(wanted.len() as u32)?;
                placed.locals = vec![None; placed.block.len as usize];
                placed.assign(&wanted).unwrap_or_default()
            }
        };
        for (number, (_, dest)) in numbers.iter().zip(&wanted) {
            let same_block = placed.block == before.1;
            if !same_block || before.0.get(usize::from(*number)) != placed.locals.get(usize::from(*number)) {
                let index = placed.block.start + u32::from(*number);
                writes.push(Write::Dest { index, dest: dest.clone() });
                if dest.owner != 0 {
                    writes.push(Write::Owner { owner: dest.owner, dest: Some(index) });
                }
            }
        }
        let kept: Vec<IpAddr> =
            wanted.iter().filter(|(want, _)| want.owner != 0).map(|(want, _)| want.backend).collect();
        self.owners.retire(*key, &kept, writes);
        if placed.block == before.1 {
            self.retire_locals(key.vip, &mut placed, &before.0, &wanted);
        }
        let stays = placed.vip.ring == vip.ring
            && placed.vip.dests.keys().eq(vip.dests.keys())
            && placed.vip.past == vip.past
            && (placed.locals.clone(), placed.block) == before
            && placed.ring.is_some() != wanted.is_empty();
        if !stays {
            let before = placed.ring.take();
            if !wanted.is_empty() {
                placed.ring = Some(self.take_ring(vip, &wanted, &numbers, writes)?);
            }
            before.into_iter().for_each(|ring| self.runs.release(ring));
        }
        placed.vip = Arc::clone(vip);
        self.entries.insert(*key, placed);
        Ok(!stays)
    }

    /// The dests that slots of `vip`, connection ids or flows name, each with its entry.
    fn wanted_dests(
        &mut self,
        key: &EntryKey,
        vip: &ForwardVip,
        number: u32,
        tunnel: &Tunnel,
    ) -> Result<Vec<(Wanted, Box<Dest>)>, DataplaneError> {
        let mut wanted = Vec::new();
        for dest in dests_in_use(vip) {
            let Ok(hop) = &dest.next_hop else { continue };
            let Some(device) = self.devices.get(&hop.ifindex).copied() else { continue };
            let (backend, mode) = (dest.address, dest.mode);
            let owner = match vip.options.tracking {
                TrackingMode::None => 0,
                TrackingMode::Adaptive | TrackingMode::Full => self.owners.number(*key, backend)?,
            };
            let entry = dest_entry(&DestSpec {
                vip_number: number,
                vip_is_v6: key.vip.address.is_ipv6(),
                backend,
                mode,
                hop,
                device,
                tunnel,
                server_id: dest.server_id.filter(|_| server_ids::is_named(vip, dest)),
                owner,
            });
            wanted.push((Wanted { backend, owner }, Box::new(entry)));
        }
        Ok(wanted)
    }

    /// Local numbers that were live and are not wanted any more become retired.
    fn retire_locals(
        &mut self,
        vip: VipKey,
        placed: &mut Placed,
        before: &[Option<Local>],
        wanted: &[(Wanted, Box<Dest>)],
    ) {
        for (number, local) in before.iter().enumerate() {
            let Some(Local::Live { backend, dest }) = local else {
                continue;
            };
            if wanted.iter().any(|(want, entry)| want.backend == *backend && entry == dest) {
                continue;
            }
            placed.locals[number] = Some(Local::Retired);
            let index = placed.block.start + number as u32;
            self.retired_dests.push(RetiredDest { index, vip, backend: *backend });
        }
    }

    /// The pages of a ring that numbers dests so: those that somebody has already, or new ones.
    fn take_ring(
        &mut self,
        vip: &ForwardVip,
        wanted: &[(Wanted, Box<Dest>)],
        numbers: &[u16],
        writes: &mut Vec<Write>,
    ) -> Result<Extent, DataplaneError> {
        let recipe = recipe(vip, wanted, numbers);
        let id_page = ring_pages(vip.ring_size);
        let past_page = id_page + server_ids::pages(vip);
        let pages = past_page + vip.past.as_ref().map_or(0, |_| past_pages(vip.ring_size));
        let full = DataplaneError::Full {
            table: RINGS,
            needed: u64::from(pages) * size_of::<RingPage>() as u64,
            capacity: u64::from(self.runs.capacity()) * size_of::<RingPage>() as u64,
            setting: "limits.ring_memory",
        };
        let extent = match self.runs.take(&recipe, pages).ok_or(full)? {
            Taken::Shared(extent) => return Ok(extent),
            Taken::New(extent) => extent,
        };
        let mut write = |page, slots| writes.push(Write::Ring { page: extent.start + page, slots });
        match &vip.past {
            None => write(0, ring::steady(&vip.ring, &recipe.locals)),
            Some(past) => {
                write(0, ring::in_transition(past, &recipe.past_locals));
                write(past_page, ring::past(past, &recipe.past_locals));
            }
        }
        if recipe.id_slots > 0 {
            write(id_page, server_ids::table(&recipe.ids, recipe.id_slots));
        }
        Ok(extent)
    }

    /// A block for `count` dests; one without spare room when there is no other.
    fn take_block(&mut self, count: u32) -> Result<Extent, DataplaneError> {
        let len = dest_block(u64::from(count)) as u32;
        self.dests.take(len).or_else(|| self.dests.take(count)).ok_or(DataplaneError::Full {
            table: "DESTS",
            needed: u64::from(len),
            capacity: u64::from(self.dests.capacity()),
            setting: "limits.dests",
        })
    }

    fn free_number(&mut self) -> Result<u32, DataplaneError> {
        let capacity = u64::from(self.numbers.capacity());
        let extent = self.numbers.take(1).ok_or(too_many_vips(capacity + 1, capacity))?;
        Ok(extent.start)
    }
}

/// What the ring of a vip that numbers dests so is made of.
fn recipe(vip: &ForwardVip, wanted: &[(Wanted, Box<Dest>)], numbers: &[u16]) -> Recipe {
    let numbered = || wanted.iter().zip(numbers.iter().copied());
    let local_of: BTreeMap<IpAddr, u16> =
        numbered().map(|((want, _), number)| (want.backend, number)).collect();
    let local = |dest: &ForwardDest| local_of.get(&dest.address).copied();
    let id_of = |want: &Wanted| vip.dests.values().find(|dest| dest.address == want.backend)?.server_id;
    let id_slots = if server_ids::pages(vip) > 0 { server_ids::slots(vip.dests.len()) } else { 0 };
    let named = numbered().filter(|((_, entry), _)| id_slots > 0 && entry.server_id_len > 0);
    Recipe {
        ring: Arc::clone(&vip.ring),
        past: vip.past.clone(),
        locals: vip.dests.values().map(local).collect(),
        past_locals: vip.past.iter().flat_map(|past| &past.dests).map(local).collect(),
        ids: named.filter_map(|((want, _), number)| Some((id_of(want)?, number))).collect(),
        id_slots,
    }
}
