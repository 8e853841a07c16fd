//! The instance's maps: created with the object, written through memory, counted through system calls.

use std::io;
use std::mem::offset_of;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{DevMap, Map, MapData, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::ProgramFd;
use bytemuck::Zeroable;
use lb_common::abi::{
    ABI_VERSION, Control, Counters, Dest, Directory, Reason, RingPage, Target, VIP_SLOTS, Vip4, Vip6,
    ring_pages,
};
use lb_common::maglev;

use super::carried::{Carried, Wire, add_to, sum};
use super::layout::{Layout, RetiredDest, Write};
use super::memory::{MappedArray, wait_for_packets};
use super::{DataplaneError, Totals};

/// All maps of one loaded object.
pub(super) struct Tables {
    directory: MappedArray<Directory>,
    rings: MappedArray<RingPage>,
    dests: MappedArray<Dest>,
    counters: PerCpuArray<MapData, Wire<Counters>>,
    reasons: PerCpuArray<MapData, u64>,
    devices: DevMap<MapData>,
    /// Pinned like the others: the kernel empties it when nobody holds it any more.
    stages: ProgramArray<MapData>,
    /// Nobody writes it but tests, which set a pinned clock there.
    _buckets: Map,
    pub(super) carried: Carried,
}

impl Tables {
    /// Takes the maps out of a loaded object and pins them below `dir`.
    pub(super) fn new(ebpf: &mut Ebpf, dir: &Path) -> Result<Self, DataplaneError> {
        let mut take = |name: &'static str| {
            let map =
                ebpf.take_map(name).ok_or_else(|| DataplaneError::other(name, "is not in the object"))?;
            map.pin(dir.join(name)).map_err(|error| DataplaneError::other(name, error))?;
            Ok::<Map, DataplaneError>(map)
        };
        let tables = Self {
            directory: array(take("DIRECTORY")?)?,
            rings: array(take("RINGS")?)?,
            dests: array(take("DESTS")?)?,
            counters: take("COUNTERS")?
                .try_into()
                .map_err(|error| DataplaneError::other("COUNTERS", error))?,
            reasons: take("REASONS")?.try_into().map_err(|error| DataplaneError::other("REASONS", error))?,
            devices: take("DEVICES")?.try_into().map_err(|error| DataplaneError::other("DEVICES", error))?,
            stages: take("STAGES")?.try_into().map_err(|error| DataplaneError::other("STAGES", error))?,
            _buckets: take("BUCKETS")?,
            carried: Carried::create(&dir.join("CARRIED"))?,
        };
        tables.directory.write_at(0, &[Control { abi_version: ABI_VERSION, ..Control::zeroed() }]);
        Ok(tables)
    }

    /// Makes tail calls to `index` go to a program.
    pub(super) fn set_stage(&mut self, index: u32, program: &ProgramFd) -> Result<(), DataplaneError> {
        self.stages.set(index, program, 0).map_err(|error| DataplaneError::other("STAGES", error))
    }

    /// Carries out the steps of a change, in their order: what can fail comes before what packets can see.
    pub(super) fn carry_out(&mut self, writes: &[Write]) -> Result<(), DataplaneError> {
        writes.iter().try_for_each(|write| self.write(write))
    }

    fn write(&mut self, write: &Write) -> Result<(), DataplaneError> {
        match write {
            Write::Device { slot, ifindex } => {
                let what = format!("interface index {ifindex} as a redirect target");
                let refused = |error| DataplaneError::Kernel { what, source: io::Error::other(error) };
                self.devices.set(*slot, *ifindex, None, 0).map_err(refused)?;
            }
            Write::Settle(retired) => self.settle(retired)?,
            Write::Dest { index, dest } => self.dests.write(*index, &[**dest]),
            Write::Ring { page, slots } => self.rings.write(*page, &pages(slots)),
            Write::Answering(answering) => {
                let words: [u64; 4] = bytemuck::cast(*answering);
                for (word, value) in words.iter().enumerate() {
                    let offset = offset_of!(Control, answering) + word * size_of::<u64>();
                    self.directory.publish_u64(offset, *value);
                }
            }
            Write::Seed(seed) => self.directory.publish_u64(offset_of!(Control, seed), *seed),
            Write::Place { is_v6, index, place } => {
                let target = if *is_v6 { vip6_at(*index) } else { vip4_at(*index) };
                self.directory.publish_u64(target + offset_of!(Target, place), place.to_word());
            }
            Write::Bank { number, bank } => {
                let first = number * VIP_SLOTS;
                self.directory
                    .write_at(offset_of!(Directory, vip4) + first as usize * size_of::<Vip4>(), &bank.vip4);
                self.directory
                    .write_at(offset_of!(Directory, vip6) + first as usize * size_of::<Vip6>(), &bank.vip6);
                let salt = offset_of!(Control, salt) + *number as usize * size_of::<u64>();
                self.directory.publish_u64(salt, bank.salt);
            }
            Write::Filter(words) => {
                for (word, value) in words.iter().enumerate() {
                    let offset = offset_of!(Control, filter) + word * size_of::<u64>();
                    self.directory.publish_u64(offset, *value);
                }
            }
            Write::Switch { bank } => self.directory.publish_u32(offset_of!(Control, bank), *bank),
        }
        Ok(())
    }

    /// Waits until nobody reads what is retired, then keeps its counts and clears it.
    fn settle(&mut self, retired: &[RetiredDest]) -> Result<(), DataplaneError> {
        wait_for_packets().map_err(|source| DataplaneError::Kernel { what: "membarrier".into(), source })?;
        for dest in retired {
            let counters = self.counters_of(dest.index)?;
            let full = |error| DataplaneError::other("CARRIED", error);
            self.carried.add(dest.vip, dest.backend, counters).map_err(full)?;
            self.clear(dest.index)?;
        }
        Ok(())
    }

    fn clear(&mut self, index: u32) -> Result<(), DataplaneError> {
        self.dests.write(index, &[Dest::zeroed()]);
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| DataplaneError::other(what, error))?;
        let zeros = PerCpuValues::try_from(vec![Wire(Counters::default()); cpus]);
        let zeros = zeros.map_err(|error| DataplaneError::other("COUNTERS", error))?;
        self.counters.set(index, zeros, 0).map_err(|error| DataplaneError::other("COUNTERS", error))
    }

    fn counters_of(&self, index: u32) -> Result<Counters, DataplaneError> {
        counters_of(&self.counters, index)
    }

    /// Everything ever counted.
    pub(super) fn totals(&self, layout: &Layout) -> Result<Totals, DataplaneError> {
        let mut totals = self.carried.read();
        for dest in layout.counted_dests() {
            add_to(&mut totals.dests, (dest.vip, dest.backend), self.counters_of(dest.index)?);
        }
        add_reasons(&mut totals, &self.reasons)?;
        Ok(totals)
    }
}

/// The sum over all CPUs of a dest's counters.
pub(super) fn counters_of(
    map: &PerCpuArray<MapData, Wire<Counters>>,
    index: u32,
) -> Result<Counters, DataplaneError> {
    let values = map.get(&index, 0).map_err(|error| DataplaneError::other("COUNTERS", error))?;
    Ok(values.iter().fold(Counters::default(), |total, Wire(counters)| sum(total, *counters)))
}

/// Adds the reasons' counts over all CPUs.
pub(super) fn add_reasons(
    totals: &mut Totals,
    map: &PerCpuArray<MapData, u64>,
) -> Result<(), DataplaneError> {
    for reason in Reason::ALL {
        let index = *reason as u32;
        let values = map.get(&index, 0).map_err(|error| DataplaneError::other("REASONS", error))?;
        *totals.reasons.entry(index).or_default() += values.iter().sum::<u64>();
    }
    Ok(())
}

/// Where an IPv4 vip's target begins in the directory.
const fn vip4_at(index: u32) -> usize {
    offset_of!(Directory, vip4) + index as usize * size_of::<Vip4>() + offset_of!(Vip4, target)
}

/// Where an IPv6 vip's target begins in the directory.
const fn vip6_at(index: u32) -> usize {
    offset_of!(Directory, vip6) + index as usize * size_of::<Vip6>() + offset_of!(Vip6, target)
}

fn array<T: bytemuck::Pod>(map: Map) -> Result<MappedArray<T>, DataplaneError> {
    let Map::Array(data) = map else { return Err(DataplaneError::other("map", "is not an array")) };
    MappedArray::new(&data).map_err(|error| DataplaneError::other("map", error))
}

/// A ring cut into pages; the last one is padded.
fn pages(slots: &[u16]) -> Vec<RingPage> {
    let mut pages = vec![RingPage { slots: [maglev::EMPTY; _] }; ring_pages(slots.len() as u32) as usize];
    for (page, part) in pages.iter_mut().zip(slots.chunks(lb_common::abi::RING_PAGE_SLOTS as usize)) {
        page.slots[..part.len()].copy_from_slice(part);
    }
    pages
}
