//! Placing one vip or route: local numbers for its dests, entries for what is new, and a ring.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::{Dest, RingPage, past_pages, ring_pages};

use super::placed::{Local, Placed, Wanted, dests_in_use};
use super::{EntryKey, Layout, RetiredDest, Write, ring, server_ids, too_many_vips};
use crate::dataplane::dest_entry::{DestSpec, dest_entry};
use crate::dataplane::extents::Extent;
use crate::dataplane::{DataplaneError, dest_block};
use crate::state::{ForwardVip, TrackingMode, Tunnel, VipKey};

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
            self.retired_pages.extend(placed.ring.take());
            if !wanted.is_empty() {
                placed.ring = Some(self.write_ring(vip, &wanted, &numbers, writes)?);
            }
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

    fn write_ring(
        &mut self,
        vip: &ForwardVip,
        wanted: &[(Wanted, Box<Dest>)],
        numbers: &[u16],
        writes: &mut Vec<Write>,
    ) -> Result<Extent, DataplaneError> {
        let ids = server_ids::pages(vip);
        let behind = ring_pages(vip.ring_size) + ids;
        let pages = behind + vip.past.as_ref().map_or(0, |_| past_pages(vip.ring_size));
        let extent = self.pages.take(pages).ok_or(DataplaneError::Full {
            table: "RINGS",
            needed: u64::from(pages) * size_of::<RingPage>() as u64,
            capacity: u64::from(self.pages.capacity()) * size_of::<RingPage>() as u64,
            setting: "limits.ring_memory",
        })?;
        let local_of: BTreeMap<IpAddr, u16> =
            wanted.iter().zip(numbers).map(|((want, _), number)| (want.backend, *number)).collect();
        match &vip.past {
            None => writes.push(Write::Ring { page: extent.start, slots: ring::steady(vip, &local_of) }),
            Some(past) => {
                writes.push(Write::Ring { page: extent.start, slots: ring::in_transition(past, &local_of) });
                writes.push(Write::Ring { page: extent.start + behind, slots: ring::past(past, &local_of) });
            }
        }
        if ids > 0 {
            let id_of =
                |want: &Wanted| vip.dests.values().find(|dest| dest.address == want.backend)?.server_id;
            let ids: Vec<_> = wanted
                .iter()
                .zip(numbers)
                .filter(|((_, entry), _)| entry.server_id_len > 0)
                .filter_map(|((want, _), number)| Some((id_of(want)?, *number)))
                .collect();
            let slots = server_ids::table(&ids, server_ids::slots(vip.dests.len()));
            writes.push(Write::Ring { page: extent.start + ring_pages(vip.ring_size), slots });
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
