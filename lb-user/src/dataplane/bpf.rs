//! The real dataplane: the embedded object in the kernel.
//!
//! Opening never touches what forwards now: the object is loaded with maps of its own, these are filled, and only then
//! do the pinned links switch to the new program, each by one atomic update. What an earlier daemon's maps have counted
//! is carried over. So a start, a restart after a crash, an upgrade and a change of interfaces or sizes are one path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;

use aya::programs::{Program, ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{
    FLOW_OWNERS, FLOW_WAYS, Interface, InterfaceKey, LOOPBACK_IFINDEX, RING_PAGE_SLOTS, RingPage, Stage,
    Tracking,
};
use lb_common::flow;

use super::flows::Ages;
use super::layout::{Capacity, EntryKey, Layout, ListUse};
use super::pins::PinDir;
use super::tables::{self, DIRECTORY, Tables};
use super::{
    Applied, Attachment, ChangesWanted, Dataplane, DataplaneError, ExplainOutcome, Explanation, Flow,
    FlowChanges, FlowRecords, FlowTable, HitsJob, Limits, LoadJob, OBJECT, OpenOptions, RINGS, Remembered,
    RingMemory, Told, Totals, Wins, attach, explain, found, interfaces, layout::Write, leases,
};
use crate::net::Links;
use crate::state::{Forwarding, Protocol};

/// The balancer as it runs in the kernel.
pub struct BpfDataplane {
    ebpf: Ebpf,
    tables: Tables,
    layout: Layout,
    attachments: Vec<Attachment>,
    /// As it was opened, but with the links of now.
    options: OpenOptions,
}

/// Loads the balancer, makes it forward as `forwarding` says, and attaches it to the interfaces. An instance that already
/// runs there is replaced without a gap.
///
/// # Errors
/// When the kernel refuses the object, a table is too small, or an interface is missing or refuses the program; what
/// forwarded before forwards on then.
pub fn open(options: &OpenOptions, forwarding: &Forwarding) -> Result<BpfDataplane, DataplaneError> {
    let dir = PinDir::create(&options.pin_dir)?;
    let opened = replace(&dir, options, forwarding);
    if opened.is_err() {
        dir.discard_new();
    }
    opened
}

fn replace(
    dir: &PinDir,
    options: &OpenOptions,
    forwarding: &Forwarding,
) -> Result<BpfDataplane, DataplaneError> {
    let kept = found::owners(dir);
    let (mut layout, writes) = Layout::with_owners(capacity(options.limits), &kept).stage(forwarding)?;
    layout.leave_room_for_rings();
    let maps = dir.new_maps()?;
    let mut ebpf = load(dir, options, layout.ring_pages(), &maps)?;
    let mut tables = Tables::new(&mut ebpf, &maps)?;
    for (index, name) in stages() {
        tables.set_stage(index, program_fd(&ebpf, name)?)?;
    }
    tables.leases.elect(&forwarding.elected)?;
    tables.carry_out(&writes)?;
    tables.owned.set(layout.owners())?;
    let attached = options.interfaces.iter().map(String::as_str);
    tables.set_interfaces(&answering(attached, &options.links, options.pinned_clock, &layout))?;
    let carried = |error| DataplaneError::other("CARRIED", error);
    tables.carried.write(&dir.totals()).map_err(carried)?;
    let attachments = attach::take_over(balancer(&mut ebpf)?, dir, options)?;
    let mut dataplane = BpfDataplane { ebpf, tables, layout, attachments, options: options.clone() };
    // The new program forwards now: what goes wrong from here on is no reason to act as if it did not.
    if let Err(error) = dataplane.settle_in(dir) {
        tracing::error!(%error, "the new program forwards, but its predecessor was not cleared away");
    }
    Ok(dataplane)
}

/// The interfaces that an instance's pinned program is attached to.
#[must_use]
pub fn attached(pin_dir: &Path) -> Vec<String> {
    PinDir::open(pin_dir).interfaces()
}

/// Takes an instance's program off its interfaces and removes all it has pinned.
///
/// # Errors
/// When a pin cannot be removed.
pub fn detach(pin_dir: &Path) -> Result<(), DataplaneError> {
    PinDir::open(pin_dir).remove()
}

impl std::fmt::Debug for BpfDataplane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BpfDataplane")
            .field("pins", &self.options.pin_dir)
            .field("attachments", &self.attachments)
            .finish_non_exhaustive()
    }
}

impl BpfDataplane {
    /// Takes over the predecessor's place: its last counts, its pins, and the interfaces that are not wanted any more.
    fn settle_in(&mut self, dir: &PinDir) -> Result<(), DataplaneError> {
        let membarrier = |source| DataplaneError::Kernel { what: "membarrier".into(), source };
        super::memory::wait_for_packets().map_err(membarrier)?;
        // What was counted between the first reading and the switch.
        let carried = |error| DataplaneError::other("CARRIED", error);
        self.tables.carried.write(&dir.totals()).map_err(carried)?;
        self.tables.leases.forget_others()?;
        attach::remove_unwanted(dir, &self.attachments)?;
        dir.adopt_new(balancer(&mut self.ebpf)?)
    }

    /// Stops forwarding and leaves nothing behind.
    ///
    /// # Errors
    /// As [`detach`].
    pub fn detach(self) -> Result<(), DataplaneError> {
        detach(&self.options.pin_dir)
    }

    fn answering(&self, layout: &Layout) -> BTreeMap<InterfaceKey, Interface> {
        let attached = self.attachments.iter().map(|attachment| attachment.interface.as_str());
        answering(attached, &self.options.links, self.options.pinned_clock, layout)
    }

    /// Waits until the kernel has all prefix lists that it is to have, and no others.
    pub fn wait_for_lists(&self) {
        self.tables.wait_for_lists();
    }

    fn program(&self) -> Result<&Xdp, DataplaneError> {
        program(&self.ebpf, BALANCER)
    }

    /// Whether rings may take more memory than they have now.
    const fn may_grow(&self) -> bool {
        self.layout.ring_pages() < capacity(self.options.limits).ring_pages
    }

    /// Makes the kernel forward as `forwarding` says, out of larger tables.
    fn grow(&mut self, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        let before = self.ring_memory().allocated;
        let options = self.options.clone();
        let applied = self.reopen(&options, forwarding)?;
        tracing::info!(before, now = self.ring_memory().allocated, "rings got more memory");
        Ok(applied)
    }
}

impl Dataplane for BpfDataplane {
    fn apply(&mut self, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        let (layout, writes) = match self.layout.stage(forwarding) {
            Err(DataplaneError::Full { table: RINGS, .. }) if self.may_grow() => {
                return self.grow(forwarding);
            }
            staged => staged?,
        };
        self.tables.set_interfaces(&self.answering(&layout))?;
        self.tables.leases.elect(&forwarding.elected)?;
        self.tables.carry_out(&writes)?;
        self.tables.leases.forget_others()?;
        self.layout = layout;
        self.tables.owned.set(self.layout.owners())?;
        Ok(applied(&writes))
    }

    fn reopen(&mut self, options: &OpenOptions, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        *self = open(options, forwarding)?;
        Ok(Applied::default())
    }

    fn follow_links(&mut self, links: &Links) -> Result<(), DataplaneError> {
        self.options.links.clone_from(links);
        self.tables.set_interfaces(&self.answering(&self.layout))
    }

    fn counters(&mut self) -> Result<Totals, DataplaneError> {
        self.tables.totals(&self.layout)
    }

    fn flows(&mut self, forwarding: &Forwarding, now_ns: u64) -> Result<FlowTable, DataplaneError> {
        let tracking = self.layout.tracking();
        let ages = ages(forwarding, &tracking, now_ns);
        let owners = self.tables.owned.dests();
        let mut is_udp = vec![false; FLOW_OWNERS as usize];
        for (owner, (entry, _)) in owners {
            is_udp[usize::from(*owner)] = entry.vip.protocol == Protocol::Udp;
        }
        let counts = self.tables.flows.count(&ages, &is_udp);
        let dests = owners.iter().filter_map(|(owner, (EntryKey { vip, route }, backend))| {
            let counts = counts[usize::from(*owner)];
            (counts.all() > 0).then_some(((*vip, *route, *backend), counts))
        });
        Ok(FlowTable { dests: dests.collect() })
    }

    fn flow_records(
        &mut self,
        forwarding: &Forwarding,
        buckets: std::ops::Range<u32>,
        now_ns: u64,
    ) -> Result<FlowRecords, DataplaneError> {
        let tracking = self.layout.tracking();
        let ages = ages(forwarding, &tracking, now_ns);
        Ok(self.tables.flows.records(buckets, &ages, self.tables.owned.dests()))
    }

    fn remember(
        &mut self,
        forwarding: &Forwarding,
        records: &FlowRecords,
        wins: Wins,
        now_ns: u64,
    ) -> Result<Remembered, DataplaneError> {
        let tracking = self.layout.tracking();
        let ages = ages(forwarding, &tracking, now_ns);
        Ok(self.tables.flows.remember(&records.records, wins, &ages, self.tables.owned.dests()))
    }

    fn flow_changes(
        &mut self,
        forwarding: &Forwarding,
        told: &mut Told,
        wanted: ChangesWanted<'_>,
        now_ns: u64,
    ) -> Result<FlowChanges, DataplaneError> {
        let tracking = self.layout.tracking();
        let ages = ages(forwarding, &tracking, now_ns);
        Ok(self.tables.flows.changes(told, wanted, &ages, self.tables.owned.dests()))
    }

    fn explain(&self, flow: &Flow) -> Result<Explanation, DataplaneError> {
        let ingress = self.attachments.first().map_or(0, |attachment| attachment.ifindex);
        let explain::Traced { trace, frame } = explain::run(self.program()?, flow, ingress)?;
        let entry = self.layout.entry_numbered(trace.vip);
        let backend = self.layout.backend_at(trace.dest);
        let outcome = match (trace.reason, entry, backend) {
            (u32::MAX, Some(EntryKey { vip, route }), Some(backend)) => {
                ExplainOutcome::Forwarded { vip, route, backend }
            }
            (u32::MAX, ..) => {
                return Err(DataplaneError::other("test run", "named a dest that is not in the tables"));
            }
            (reason, ..) => ExplainOutcome::Stopped(reason),
        };
        Ok(Explanation { outcome, slot: (trace.slot != u32::MAX).then_some(trace.slot), frame })
    }

    fn prepare_lists(&mut self, forwarding: &Forwarding) -> Result<Option<LoadJob>, DataplaneError> {
        let mut layout = self.layout.clone();
        let new = layout.prepare_lists(forwarding)?;
        self.layout = layout;
        Ok((!new.is_empty()).then(|| self.tables.loading(new)))
    }

    fn abandon_lists(&mut self) {
        self.layout.abandon_lists().into_iter().for_each(|list| self.tables.remove_list(list));
    }

    fn prefix_hits(&self, of: ListUse) -> HitsJob {
        self.tables.prefix_hits(&self.layout, of)
    }

    fn attachments(&self) -> Vec<Attachment> {
        self.attachments.clone()
    }

    fn ring_memory(&self) -> RingMemory {
        let bytes = |pages: u32| u64::from(pages) * size_of::<RingPage>() as u64;
        RingMemory { used: bytes(self.layout.ring_pages_used()), allocated: bytes(self.layout.ring_pages()) }
    }
}

/// Entries of `INTERFACES`.
fn answering<'n>(
    attached: impl Iterator<Item = &'n str>,
    links: &'n Links,
    test_runs: bool,
    layout: &Layout,
) -> BTreeMap<InterfaceKey, Interface> {
    let of_test_runs = links.get(&LOOPBACK_IFINDEX).filter(|_| test_runs).map(|link| link.name.as_str());
    interfaces(attached.chain(of_test_runs), links, layout.places())
}

/// The program that is attached; the others are reached from it.
const BALANCER: &str = "balancer";

/// The other programs, by their index in `STAGES`.
fn stages() -> impl Iterator<Item = (u32, &'static str)> {
    let explain = (Stage::EXPLAIN, "explain");
    Stage::ALL.iter().map(|stage| (*stage as u32, stage.program())).chain([explain])
}

/// `maps` is the directory for pins of new maps.
fn load(dir: &PinDir, options: &OpenOptions, ring_pages: u32, maps: &Path) -> Result<Ebpf, DataplaneError> {
    let Capacity { dests, flow_buckets, .. } = capacity(options.limits);
    let flows = dir.flows_for(flow_buckets)?;
    let leases = leases::pin(dir)?;
    let mut ebpf = EbpfLoader::new()
        .map_pin_path(DIRECTORY, tables::create_directory(maps)?)
        .override_global("PINNED_CLOCK", &u32::from(options.pinned_clock), true)
        .map_max_entries(RINGS, ring_pages)
        .map_max_entries("DESTS", dests)
        .map_max_entries("COUNTERS", dests)
        .map_max_entries("FRAGMENTS", options.limits.fragments)
        .map_max_entries("FLOWS", flow_buckets)
        .map_pin_path("FLOWS", flows)
        .map_pin_path("LEASES", leases)
        .load(OBJECT)
        .map_err(|error| DataplaneError::other("the eBPF object cannot be loaded", error))?;
    let names: BTreeSet<&str> = stages().map(|(_, name)| name).chain([BALANCER]).collect();
    // The verifier takes its time for each, and several at once.
    thread::scope(|scope| {
        let programs = ebpf.programs_mut().filter(|(name, _)| names.contains(name));
        let loads: Vec<_> = programs
            .map(|(name, program)| {
                let name = name.to_owned();
                scope.spawn(move || verify(&name, program))
            })
            .collect();
        loads.into_iter().try_for_each(|load| {
            load.join().unwrap_or_else(|_| Err(DataplaneError::Other("loading a program broke down".into())))
        })
    })?;
    Ok(ebpf)
}

fn verify(name: &str, program: &mut Program) -> Result<(), DataplaneError> {
    let program: &mut Xdp = program.try_into().map_err(|error| DataplaneError::other(name, error))?;
    let refused = |error| DataplaneError::other(&format!("the kernel refuses the program {name}"), error);
    program.load().map_err(refused)
}

fn balancer(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program =
        ebpf.program_mut(BALANCER).ok_or_else(|| DataplaneError::other("object", no_program(BALANCER)))?;
    program.try_into().map_err(|error| DataplaneError::other(BALANCER, error))
}

fn program<'e>(ebpf: &'e Ebpf, name: &str) -> Result<&'e Xdp, DataplaneError> {
    let program = ebpf.program(name).ok_or_else(|| DataplaneError::other("object", no_program(name)))?;
    program.try_into().map_err(|error| DataplaneError::other(name, error))
}

fn program_fd<'e>(ebpf: &'e Ebpf, name: &str) -> Result<&'e ProgramFd, DataplaneError> {
    program(ebpf, name)?.fd().map_err(|error| DataplaneError::other(name, error))
}

fn no_program(name: &str) -> String {
    format!("has no program {name}")
}

const fn capacity(limits: Limits) -> Capacity {
    let ring_pages = limits.ring_memory / size_of::<RingPage>() as u64;
    let flow_buckets = limits.flows.div_ceil(FLOW_WAYS as u32);
    Capacity { ring_pages: ring_pages as u32, dests: limits.dests, flow_buckets }
}

fn ages<'t>(forwarding: &Forwarding, tracking: &'t Tracking, now_ns: u64) -> Ages<'t> {
    let udp_idle = flow::ticks_in(forwarding.flows.udp_idle.as_secs());
    Ages { now: flow::tick(now_ns), tracking, udp_idle }
}

fn applied(writes: &[Write]) -> Applied {
    let count = |of: fn(&Write) -> bool| writes.iter().filter(|write| of(write)).count() as u32;
    Applied {
        rings_written: count(|write| matches!(write, Write::Ring { .. })),
        dests_written: count(|write| matches!(write, Write::Dest { .. })),
        vips_written: count(|write| matches!(write, Write::Place { .. } | Write::Switch { .. })),
    }
}

const _: () = assert!(RING_PAGE_SLOTS as usize * 2 == size_of::<RingPage>());
