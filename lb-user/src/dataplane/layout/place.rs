//! Placing one vip or route: local numbers for its dests, entries for what is new, and a ring.

use std::sync::Arc;

use lb_common::abi::{Dest, RingPage, ring_pages};
use lb_common::maglev;

use super::placed::{Local, Placed, Wanted};
use super::{EntryKey, Layout, RetiredDest, Write, server_ids, too_many_vips};
use crate::dataplane::dest_entry::{DestSpec, dest_entry};
use crate::dataplane::extents::Extent;
use crate::dataplane::{DataplaneError, dest_block};
use crate::state::{ForwardVip, Tunnel, VipKey};

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
        let wanted = self.wanted_dests(&key.vip, vip, placed.number, tunnel);
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
            }
        }
        if placed.block == before.1 {
            self.retire_locals(key.vip, &mut placed, &before.0, &wanted);
        }
        let stays = placed.vip.ring == vip.ring
            && placed.vip.dests.keys().eq(vip.dests.keys())
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

    /// The dests in the ring of `vip`: position in `vip.dests` and entry.
    fn wanted_dests(
        &self,
        key: &VipKey,
        vip: &ForwardVip,
        number: u32,
        tunnel: &Tunnel,
    ) -> Vec<(Wanted, Box<Dest>)> {
        let vip_is_v6 = key.address.is_ipv6();
        vip.dests
            .values()
            .enumerate()
            .filter(|(_, dest)| dest.weight > 0 || server_ids::is_named(vip, dest))
            .filter_map(|(position, dest)| {
                let hop = dest.next_hop.as_ref().ok()?;
                let device = self.devices.get(&hop.ifindex).copied()?;
                let (backend, mode) = (dest.address, dest.mode);
                let server_id = dest.server_id.filter(|_| server_ids::is_named(vip, dest));
                let entry = dest_entry(&DestSpec {
                    vip_number: number,
                    vip_is_v6,
                    backend,
                    mode,
                    hop,
                    device,
                    tunnel,
                    server_id,
                });
                Some((Wanted { position, backend }, Box::new(entry)))
            })
            .collect()
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
        let pages = ring_pages(vip.ring_size) + ids;
        let extent = self.pages.take(pages).ok_or(DataplaneError::Full {
            table: "RINGS",
            needed: u64::from(pages) * size_of::<RingPage>() as u64,
            capacity: u64::from(self.pages.capacity()) * size_of::<RingPage>() as u64,
            setting: "limits.ring_memory",
        })?;
        let mut local_of = vec![maglev::EMPTY; vip.dests.len()];
        for ((want, _), number) in wanted.iter().zip(numbers) {
            local_of[want.position] = *number;
        }
        let slots = vip
            .ring
            .iter()
            .map(|owner| local_of.get(usize::from(*owner)).copied().unwrap_or(maglev::EMPTY))
            .collect();
        writes.push(Write::Ring { page: extent.start, slots });
        if ids > 0 {
            let id_of = |want: &Wanted| vip.dests.values().nth(want.position).and_then(|dest| dest.server_id);
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
