//! The real dataplane: the embedded object in the kernel.
//!
//! Opening never touches what forwards now: the object is loaded with maps of its own, these are filled, and only then
//! do the pinned links switch to the new program, each by one atomic update. What an earlier daemon's maps have counted
//! is carried over. So a start, a restart after a crash, an upgrade and a change of interfaces or sizes are one path.

use std::path::Path;

use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{RING_PAGE_SLOTS, RingPage};

use super::layout::{Capacity, Layout};
use super::pins::PinDir;
use super::tables::Tables;
use super::{
    Applied, Attachment, Dataplane, DataplaneError, ExplainOutcome, Explanation, Flow, Limits, OBJECT,
    OpenOptions, Totals, attach, explain, layout::Write,
};
use crate::state::Forwarding;

/// The balancer as it runs in the kernel.
pub struct BpfDataplane {
    ebpf: Ebpf,
    tables: Tables,
    layout: Layout,
    attachments: Vec<Attachment>,
    pins: std::path::PathBuf,
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
    let mut ebpf = load(options.limits)?;
    let mut tables = Tables::new(&mut ebpf, &dir.new_maps()?)?;
    let (layout, writes) = Layout::new(capacity(options.limits)).stage(forwarding)?;
    tables.carry_out(&writes)?;
    let carried = |error| DataplaneError::other("CARRIED", error);
    tables.carried.write(&dir.totals()).map_err(carried)?;
    let attachments = attach::take_over(balancer(&mut ebpf)?, dir, options)?;
    let mut dataplane = BpfDataplane { ebpf, tables, layout, attachments, pins: options.pin_dir.clone() };
    // The new program forwards now: what goes wrong from here on is no reason to act as if it did not.
    if let Err(error) = dataplane.settle_in(dir) {
        tracing::error!(%error, "the new program forwards, but its predecessor was not cleared away");
    }
    Ok(dataplane)
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
            .field("pins", &self.pins)
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
        attach::remove_unwanted(dir, &self.attachments)?;
        dir.adopt_new(balancer(&mut self.ebpf)?)
    }

    /// Stops forwarding and leaves nothing behind.
    ///
    /// # Errors
    /// As [`detach`].
    pub fn detach(self) -> Result<(), DataplaneError> {
        detach(&self.pins)
    }

    fn program(&self) -> Result<&Xdp, DataplaneError> {
        let program = self
            .ebpf
            .program("balancer")
            .ok_or_else(|| DataplaneError::other("object", "has no balancer"))?;
        program.try_into().map_err(|error| DataplaneError::other("balancer", error))
    }
}

impl Dataplane for BpfDataplane {
    fn apply(&mut self, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        let (layout, writes) = self.layout.stage(forwarding)?;
        self.tables.carry_out(&writes)?;
        self.layout = layout;
        Ok(applied(&writes))
    }

    fn reopen(&mut self, options: &OpenOptions, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        *self = open(options, forwarding)?;
        Ok(Applied::default())
    }

    fn counters(&mut self) -> Result<Totals, DataplaneError> {
        self.tables.totals(&self.layout)
    }

    fn explain(&self, flow: &Flow) -> Result<Explanation, DataplaneError> {
        let ingress = self.attachments.first().map_or(0, |attachment| attachment.ifindex);
        let explain::Traced { trace, frame } = explain::run(self.program()?, flow, ingress)?;
        let vip = self.layout.vip_numbered(trace.vip);
        let backend = self.layout.backend_at(trace.dest);
        let outcome = match (trace.reason, vip, backend) {
            (u32::MAX, Some(vip), Some(backend)) => ExplainOutcome::Forwarded { vip, backend },
            (u32::MAX, ..) => {
                return Err(DataplaneError::other("test run", "named a dest that is not in the tables"));
            }
            (reason, ..) => ExplainOutcome::Stopped(reason),
        };
        Ok(Explanation { outcome, slot: (trace.slot != u32::MAX).then_some(trace.slot), frame })
    }

    fn attachments(&self) -> Vec<Attachment> {
        self.attachments.clone()
    }
}

fn load(limits: Limits) -> Result<Ebpf, DataplaneError> {
    let Capacity { ring_pages, dests } = capacity(limits);
    let mut ebpf = EbpfLoader::new()
        .map_max_entries("RINGS", ring_pages)
        .map_max_entries("DESTS", dests)
        .map_max_entries("COUNTERS", dests)
        .load(OBJECT)
        .map_err(|error| DataplaneError::other("the eBPF object cannot be loaded", error))?;
    balancer(&mut ebpf)?
        .load()
        .map_err(|error| DataplaneError::other("the kernel refuses the balancer", error))?;
    Ok(ebpf)
}

fn balancer(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program =
        ebpf.program_mut("balancer").ok_or_else(|| DataplaneError::other("object", "has no balancer"))?;
    program.try_into().map_err(|error| DataplaneError::other("balancer", error))
}

const fn capacity(limits: Limits) -> Capacity {
    let ring_pages = limits.ring_memory / size_of::<RingPage>() as u64;
    Capacity { ring_pages: ring_pages as u32, dests: limits.dests }
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
