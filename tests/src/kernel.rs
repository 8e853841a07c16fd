//! The real program in the kernel, run by `BPF_PROG_TEST_RUN` without being attached.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use aya::TestRun;
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::{TestRunOptions, Xdp};
use lb_common::abi::{FLOW_WAYS, Interface, InterfaceKey, LOOPBACK_IFINDEX, PINNED_CLOCK_BUCKET, Reason};
use lb_user::dataplane::bpf::{self, BpfDataplane};
use lb_user::dataplane::{Dataplane, Limits, OpenOptions, XdpMode};
use lb_user::state::Forwarding;

use crate::world::{BALANCER, CAPACITY, links};

const XDP_ABORTED: u32 = 0;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;

/// Where the tests pin, and how their directories' names begin; the number of the process follows.
const PINS: &str = "/sys/fs/bpf/ferrolev";
const PREFIX: &str = "test-";

/// A dataplane without interfaces, with pins of its own.
#[derive(Debug)]
pub struct Kernel {
    pub dataplane: Option<BpfDataplane>,
    program: Xdp,
    options: OpenOptions,
}

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Stopped(Reason),
    Transmit,
}

impl Kernel {
    /// Loads and fills the maps.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(forwarding: &Forwarding) -> Result<Self> {
        Self::open_with(forwarding, |_| ())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open_with(forwarding: &Forwarding, change: impl FnOnce(&mut OpenOptions)) -> Result<Self> {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let pin_dir = PathBuf::from(PINS).join(format!("{PREFIX}{}-{number}", std::process::id()));
        let flows = CAPACITY.flow_buckets * FLOW_WAYS as u32;
        let limits = Limits { dests: 4096, ring_memory: 8 << 20, flows, ..Limits::default() };
        let mut options = OpenOptions {
            pin_dir,
            interfaces: Vec::new(),
            mode: XdpMode::Native,
            limits,
            links: links(),
            pinned_clock: true,
        };
        change(&mut options);
        let dataplane = bpf::open(&options, forwarding)?;
        let program = pinned(&options)?;
        Ok(Self { dataplane: Some(dataplane), program, options })
    }

    /// Forwards something else.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn apply(&mut self, forwarding: &Forwarding) -> Result<()> {
        let dataplane = self.dataplane()?;
        let before = dataplane.ring_memory().allocated;
        dataplane.apply(forwarding)?;
        if dataplane.ring_memory().allocated != before {
            self.program = pinned(&self.options)?;
        }
        Ok(())
    }

    /// The dataplane under test.
    ///
    /// # Errors
    /// When it was taken away.
    pub fn dataplane(&mut self) -> Result<&mut BpfDataplane> {
        self.dataplane.as_mut().context("no dataplane")
    }

    /// Where the instance is pinned.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.options.pin_dir
    }

    /// The pinned program.
    #[must_use]
    pub const fn program(&self) -> &Xdp {
        &self.program
    }

    /// Opens the same instance once more, as a restarted daemon does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn restart(&mut self, forwarding: &Forwarding) -> Result<()> {
        self.dataplane = None;
        self.dataplane = Some(bpf::open(&self.options, forwarding)?);
        self.program = pinned(&self.options)?;
        Ok(())
    }

    /// Sets the program's clock, which was pinned when it was loaded.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_clock(&self, now_ns: u64) -> Result<()> {
        set_clock(&self.options.pin_dir, now_ns)
    }

    /// Gives the interface of test runs its MAC address, which only a pinned clock brings along.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn name_test_interface(&self) -> Result<()> {
        let map = Map::HashMap(self.pinned_map("INTERFACES")?);
        let mut interfaces: HashMap<MapData, [u8; size_of::<InterfaceKey>()], [u8; size_of::<Interface>()]> =
            map.try_into()?;
        let key = InterfaceKey { ifindex: LOOPBACK_IFINDEX, vlans: 0 };
        let value = Interface { mac: BALANCER.0, ..Interface::default() };
        let (key, value): ([u8; size_of::<InterfaceKey>()], [u8; size_of::<Interface>()]) =
            (bytemuck::cast(key), bytemuck::cast(value));
        Ok(interfaces.insert(key, value, 0)?)
    }

    /// One of the program's maps.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn pinned_map(&self, name: &str) -> Result<MapData> {
        Ok(MapData::from_pin(self.options.pin_dir.join("maps").join(name))?)
    }

    /// Runs one frame and says what became of it; the reason of a pass or drop is the counter that moved.
    ///
    /// # Errors
    /// When the kernel refuses, or not exactly one reason moved.
    pub fn run(&mut self, frame: &[u8]) -> Result<(Action, Vec<u8>)> {
        let before = self.dataplane()?.counters()?.reasons;
        let (action, output) = self.run_raw(frame, 1)?;
        let after = self.dataplane()?.counters()?.reasons;
        let moved: Vec<u32> = after
            .iter()
            .filter(|(reason, count)| before.get(reason) != Some(count))
            .map(|(reason, _)| *reason)
            .collect();
        let action = match (action, moved.as_slice()) {
            (XDP_TX, []) => Action::Transmit,
            (XDP_PASS | XDP_DROP | XDP_TX, [index]) => {
                let reason = Reason::from_index(*index).context("an unknown reason was counted")?;
                ensure!(
                    (reason.is_drop(), reason.is_answer()) == (action == XDP_DROP, action == XDP_TX),
                    "{reason:?} is no reason for action {action}"
                );
                Action::Stopped(reason)
            }
            (XDP_ABORTED, _) => anyhow::bail!("the program was aborted"),
            (action, moved) => anyhow::bail!("action {action} with reasons {moved:?}"),
        };
        Ok((action, output))
    }

    /// Runs one frame `repeat` times; the action and the frame after the last run.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run_raw(&self, frame: &[u8], repeat: u32) -> Result<(u32, Vec<u8>)> {
        let mut output = vec![0; frame.len() + 128];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut output);
        options.repeat = repeat;
        let result = self.program.test_run(options)?;
        output.truncate(result.data_size_out as usize);
        Ok((result.return_value, output))
    }
}

/// Sets the clock of a dataplane that was opened with a pinned one.
///
/// # Errors
/// When the kernel refuses.
pub fn set_clock(pin_dir: &Path, now_ns: u64) -> Result<()> {
    let map = MapData::from_pin(pin_dir.join("maps/BUCKETS"))?;
    let mut buckets: Array<MapData, u64> = Map::Array(map).try_into()?;
    Ok(buckets.set(PINNED_CLOCK_BUCKET, now_ns, 0)?)
}

/// Removes what runs that were killed have left.
fn sweep() {
    let entries = std::fs::read_dir(PINS).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let is_dead = |pid: &str| !Path::new("/proc").join(pid).exists();
        if pid.is_some_and(is_dead)
            && let Err(error) = bpf::detach(&path)
        {
            eprintln!("{}: {error}", path.display());
        }
    }
}

/// The program that is pinned now.
fn pinned(options: &OpenOptions) -> Result<Xdp> {
    let path = options.pin_dir.join("prog");
    Xdp::from_pin(path, aya_obj::programs::XdpAttachType::Interface).context("the pinned program")
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = bpf::detach(&self.options.pin_dir) {
            eprintln!("{}: {error}", self.options.pin_dir.display());
        }
    }
}

/// Whether tests may touch the kernel. Says why not, and panics in CI, where a skipped test is a failed one.
///
/// # Panics
/// In CI without root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root || std::env::var_os("CI").is_none(), "CI must run this test as root");
    if !root {
        eprintln!("skipped: needs root for BPF");
    }
    root
}
