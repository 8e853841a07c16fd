//! The instance's maps: created with the object, written through memory, counted through system calls.

use std::collections::BTreeMap;
use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{DevMap, HashMap, Map, MapData, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::ProgramFd;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type};
use bytemuck::Zeroable;
use lb_common::abi::{
    ABI_VERSION, Control, Counters, Dest, Directory, FlowCounters, Interface, InterfaceKey, Policy,
    PolicyCounters, Reason, RingPage, Target, TunnelSource, Tunnels, VIP_SLOTS, Vip4, Vip6, ring_pages,
};
use lb_common::maglev;

use super::carried::{Carried, Wire, add_to, policy_sum, sum};
use super::flows::Flows;
use super::layout::{Layout, List, ListUse, Retired, RetiredList, Write};
use super::leases::Leases;
use super::list_keeper::ListKeeper;
use super::memory::{MappedArray, wait_for_packets};
use super::owned::Owned;
use super::{DataplaneError, HitsJob, LoadJob, RINGS, Totals};
use crate::state::VipKey;

/// The object's section that is the directory.
pub(super) const DIRECTORY: &str = ".bss.DIRECTORY";

/// All maps of one loaded object.
pub(super) struct Tables {
    directory: MappedArray<Directory>,
    rings: MappedArray<RingPage>,
    dests: MappedArray<Dest>,
    owners: MappedArray<u64>,
    pub(super) flows: Flows,
    pub(super) owned: Owned,
    pub(super) leases: Leases,
    flow_counters: PerCpuArray<MapData, Wire<FlowCounters>>,
    counters: PerCpuArray<MapData, Wire<Counters>>,
    reasons: PerCpuArray<MapData, u64>,
    policies: MappedArray<Policy>,
    policy_counters: PerCpuArray<MapData, Wire<PolicyCounters>>,
    access: ListKeeper,
    devices: DevMap<MapData>,
    interfaces: HashMap<MapData, Wire<InterfaceKey>, Wire<Interface>>,
    /// What `interfaces` holds.
    known_interfaces: BTreeMap<InterfaceKey, Interface>,
    /// Pinned like the others: the kernel empties it when nobody holds it any more.
    stages: ProgramArray<MapData>,
    /// Nobody writes it but tests, which set a pinned clock there.
    _buckets: Map,
    pub(super) carried: Carried,
}

impl Tables {
    /// Takes the maps out of a loaded object and pins them below `dir`.
    pub(super) fn new(ebpf: &mut Ebpf, dir: &Path) -> Result<Self, DataplaneError> {
        let directory = ebpf.take_map(DIRECTORY);
        let mut take = |name: &'static str| {
            let map =
                ebpf.take_map(name).ok_or_else(|| DataplaneError::other(name, "is not in the object"))?;
            // Those outlive the others: they are pinned elsewhere.
            if !["FLOWS", "LEASES"].contains(&name) {
                map.pin(dir.join(name)).map_err(|error| DataplaneError::other(name, error))?;
            }
            Ok::<Map, DataplaneError>(map)
        };
        let tables = Self {
            directory: array(
                directory.ok_or_else(|| DataplaneError::other(DIRECTORY, "is not in the object"))?,
            )?,
            rings: array(take(RINGS)?)?,
            dests: array(take("DESTS")?)?,
            owners: array(take("OWNERS")?)?,
            flows: Flows::new(array(take("FLOWS")?)?),
            leases: Leases::of(take("LEASES")?)?,
            owned: Owned::create(&dir.join("OWNED"))?,
            flow_counters: take("FLOW_COUNTERS")?
                .try_into()
                .map_err(|error| DataplaneError::other("FLOW_COUNTERS", error))?,
            counters: take("COUNTERS")?
                .try_into()
                .map_err(|error| DataplaneError::other("COUNTERS", error))?,
            reasons: take("REASONS")?.try_into().map_err(|error| DataplaneError::other("REASONS", error))?,
            policies: array(take("POLICIES")?)?,
            policy_counters: take("POLICY_COUNTERS")?
                .try_into()
                .map_err(|error| DataplaneError::other("POLICY_COUNTERS", error))?,
            access: match take("ACCESS")? {
                Map::LpmTrie(data) => ListKeeper::start(data)?,
                _ => return Err(DataplaneError::other("ACCESS", "is no prefix table")),
            },
            devices: take("DEVICES")?.try_into().map_err(|error| DataplaneError::other("DEVICES", error))?,
            interfaces: take("INTERFACES")?
                .try_into()
                .map_err(|error| DataplaneError::other("INTERFACES", error))?,
            known_interfaces: BTreeMap::new(),
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

    /// Says what interfaces the program can answer on. An entry is replaced as a whole.
    pub(super) fn set_interfaces(
        &mut self,
        interfaces: &BTreeMap<InterfaceKey, Interface>,
    ) -> Result<(), DataplaneError> {
        let refused = |error| DataplaneError::other("INTERFACES", error);
        let gone = self.known_interfaces.keys().filter(|key| !interfaces.contains_key(key));
        for key in gone.copied().collect::<Vec<_>>() {
            self.interfaces.remove(&Wire(key)).map_err(refused)?;
            self.known_interfaces.remove(&key);
        }
        for (key, interface) in interfaces {
            if self.known_interfaces.get(key) != Some(interface) {
                self.interfaces.insert(Wire(*key), Wire(*interface), 0).map_err(refused)?;
                self.known_interfaces.insert(*key, *interface);
            }
        }
        Ok(())
    }

    /// Carries out the steps of a change, in their order: what can fail comes before what packets can see.
    pub(super) fn carry_out(&mut self, writes: &[Write]) -> Result<(), DataplaneError> {
        for (done, write) in writes.iter().enumerate() {
            if let Err(error) = self.write(write) {
                self.unload(&writes[..done]);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes the lists that a change has loaded before it failed: their numbers will be given away again.
    fn unload(&self, done: &[Write]) {
        for write in done {
            if let Write::List(list) = write {
                self.remove_list(Arc::clone(list));
            }
        }
    }

    fn write(&mut self, write: &Write) -> Result<(), DataplaneError> {
        match write {
            Write::Device { slot, ifindex } => {
                let what = format!("interface index {ifindex} as a redirect target");
                let refused = |error| DataplaneError::Kernel { what, source: io::Error::other(error) };
                self.devices.set(*slot, *ifindex, None, 0).map_err(refused)?;
            }
            Write::Settle(retired) => self.settle(retired)?,
            Write::List(list) => self.access.load(list)?,
            Write::Policy { index, policy } => self.policies.write(*index, &[**policy]),
            Write::Dest { index, dest } => self.dests.write(*index, &[**dest]),
            Write::Ring { page, slots } => self.rings.write(*page, &pages(slots)),
            Write::Answering(answering) => {
                let words: [u64; 4] = bytemuck::cast(*answering);
                for (word, value) in words.iter().enumerate() {
                    let offset = offset_of!(Control, answering) + word * size_of::<u64>();
                    self.directory.publish_u64(offset, *value);
                }
            }
            Write::Tunnels(tunnels) => {
                let at = offset_of!(Control, tunnels);
                for (number, source) in tunnels.sources.iter().enumerate() {
                    let at = at + offset_of!(Tunnels, sources) + number * size_of::<TunnelSource>();
                    let [high, low] = source.address;
                    // Empty meanwhile: half of an address is none.
                    for (field, value) in [(16, 0), (0, high), (8, low), (16, source.mask)] {
                        self.directory.publish_u64(at + field, value);
                    }
                }
                self.directory.publish_u64(at + offset_of!(Tunnels, gue_port), tunnels.gue_port);
            }
            Write::Owner { owner, dest } => {
                let word = dest.map_or(0, |index| u64::from(index) + 1);
                self.owners.publish_u64(usize::from(*owner) * size_of::<u64>(), word);
            }
            Write::Tracking(tracking) => {
                let words: [u64; 2] = bytemuck::cast(*tracking);
                for (word, value) in words.iter().enumerate() {
                    let offset = offset_of!(Control, tracking) + word * size_of::<u64>();
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

    /// Loads lists that nothing names yet, whenever the job is done.
    pub(super) fn loading(&self, lists: Vec<Arc<List>>) -> LoadJob {
        self.access.loading(lists)
    }

    /// Removes a list that nothing names, some time later.
    pub(super) fn remove_list(&self, list: Arc<List>) {
        self.access.remove(RetiredList { list, successors: Vec::new() });
    }

    /// Waits until all lists are loaded and removed as they should be.
    pub(super) fn wait_for_lists(&self) {
        self.access.wait();
    }

    /// Waits until nobody reads what is retired, then keeps its counts and clears it.
    fn settle(&mut self, retired: &Retired) -> Result<(), DataplaneError> {
        wait_for_packets().map_err(|source| DataplaneError::Kernel { what: "membarrier".into(), source })?;
        let full = |error| DataplaneError::other("CARRIED", error);
        for dest in &retired.dests {
            let counters = self.counters_of(dest.index)?;
            self.carried.add(dest.vip, dest.backend, counters).map_err(full)?;
            self.clear(dest.index)?;
        }
        for (number, vip) in &retired.numbers {
            let counters = policy_counters_of(&self.policy_counters, *number)?;
            if counters != PolicyCounters::default() {
                self.carried.add_policy(*vip, counters).map_err(full)?;
                clear_all_cpus(&mut self.policy_counters, *number, "POLICY_COUNTERS")?;
            }
        }
        for list in &retired.lists {
            self.access.remove(list.clone());
        }
        self.flows.forget(&retired.owners);
        Ok(())
    }

    fn clear(&mut self, index: u32) -> Result<(), DataplaneError> {
        self.dests.write(index, &[Dest::zeroed()]);
        clear_all_cpus(&mut self.counters, index, "COUNTERS")
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
        for (number, vip) in layout.numbers() {
            let counted = policy_counters_of(&self.policy_counters, number)?;
            add_policy(&mut totals, vip, counted);
        }
        add_reasons(&mut totals, &self.reasons)?;
        let of_cpus = self.flow_counters.get(&0, 0);
        let of_cpus = of_cpus.map_err(|error| DataplaneError::other("FLOW_COUNTERS", error))?;
        totals.flows = of_cpus.iter().fold(FlowCounters::default(), |sum, Wire(counters)| FlowCounters {
            recorded: sum.recorded + counters.recorded,
            followed: sum.followed + counters.followed,
            to_previous: sum.to_previous + counters.to_previous,
            to_owner: sum.to_owner + counters.to_owner,
            evicted: sum.evicted + counters.evicted,
            lost: sum.lost + counters.lost,
        });
        Ok(totals)
    }

    /// The prefixes of a list with their hits; none where there is no list.
    pub(super) fn prefix_hits(&self, layout: &Layout, of: ListUse) -> HitsJob {
        self.access.hits(layout.list_used(of).cloned())
    }
}

/// Zeroes a per-CPU value.
fn clear_all_cpus<T: bytemuck::Zeroable>(
    map: &mut PerCpuArray<MapData, Wire<T>>,
    index: u32,
    name: &str,
) -> Result<(), DataplaneError>
where
    Wire<T>: aya::Pod,
{
    let cpus = aya::util::nr_cpus().map_err(|(what, error)| DataplaneError::other(what, error))?;
    let zeros = PerCpuValues::try_from((0..cpus).map(|_| Wire(T::zeroed())).collect::<Vec<_>>());
    let zeros = zeros.map_err(|error| DataplaneError::other(name, error))?;
    map.set(index, zeros, 0).map_err(|error| DataplaneError::other(name, error))
}

/// The sum over all CPUs of a vip's policy counters.
pub(super) fn policy_counters_of(
    map: &PerCpuArray<MapData, Wire<PolicyCounters>>,
    number: u32,
) -> Result<PolicyCounters, DataplaneError> {
    let values = map.get(&number, 0).map_err(|error| DataplaneError::other("POLICY_COUNTERS", error))?;
    Ok(values.iter().fold(PolicyCounters::default(), |total, Wire(counters)| policy_sum(total, *counters)))
}

/// Adds to a vip's policy counters.
pub(super) fn add_policy(totals: &mut Totals, vip: VipKey, counters: PolicyCounters) {
    if counters != PolicyCounters::default() {
        let total = totals.policies.entry(vip).or_default();
        *total = policy_sum(*total, counters);
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

/// Makes and pins the map of the section [`DIRECTORY`]: aya would make one that cannot be mapped. Returns the pin's path.
pub(super) fn create_directory(maps: &Path) -> Result<PathBuf, DataplaneError> {
    const NAME: &str = "DIRECTORY";
    let map = aya_obj::Map::new_from_params(
        bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<Directory>() as u32,
        1,
        BPF_F_MMAPABLE,
    );
    let path = maps.join(NAME);
    let data = MapData::create(map, NAME, None).map_err(|error| DataplaneError::other(NAME, error))?;
    data.pin(&path).map_err(|error| DataplaneError::other(NAME, error))?;
    Ok(path)
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
