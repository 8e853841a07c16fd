//! Packets through both builds of the packet story, which must agree: the host's and, as root, the kernel's.

use std::cell::RefCell;
use std::net::IpAddr;

use lb_common::abi::{Lease, Reason};
use lb_ebpf::Leave;
use lb_user::dataplane::layout::Layout;
use lb_user::dataplane::{Dataplane, FlowTable, Leases, found};
use lb_user::state::{Forwarding, Found, MacAddress};

use crate::host::HostTables;
use crate::kernel::{Action, Kernel, is_root};
use crate::oracle;
use crate::world::{CAPACITY, World};

/// Both builds with the same tables and the same memory of the packets so far. The clock stands at 0.
#[derive(Debug)]
pub struct Story {
    pub tables: HostTables,
    pub layout: Layout,
    kernel: Option<Kernel>,
}

impl Story {
    /// # Panics
    /// When the tables are too small, or the kernel refuses the program.
    #[must_use]
    pub fn new(world: &World) -> Self {
        let forwarding = world.forwarding();
        let (tables, layout) = HostTables::filled(CAPACITY, &forwarding);
        let kernel = is_root().then(|| Kernel::open(&forwarding).expect("a kernel that takes the program"));
        Self { tables, layout, kernel }
    }

    /// Forwards something else.
    ///
    /// # Panics
    /// When the tables are too small, or the kernel refuses.
    pub fn apply(&mut self, forwarding: &Forwarding) {
        let (layout, writes) = self.layout.stage(forwarding).expect("room in the tables");
        writes.iter().for_each(|write| self.tables.write(write));
        self.tables.elect(&forwarding.elected);
        self.layout = layout;
        if let Some(kernel) = &mut self.kernel {
            kernel.apply(forwarding).expect("room in the kernel's tables");
        }
    }

    /// An election says until when an address is this node's, and at which MAC address.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn own(&mut self, address: IpAddr, until_ns: u64, mac: Option<MacAddress>) {
        let of = mac.map(|mac| mac.0).unwrap_or_default();
        self.tables.set_lease(address, Lease { until_ns, mac: of, reserved: [0; 2] });
        if let Some(kernel) = &self.kernel {
            let mut leases = Leases::open(kernel.pin_dir()).expect("a pinned map");
            leases.own(address, until_ns, mac).expect("a lease");
        }
    }

    /// The daemon is replaced by one that goes on with what it finds in the kernel. What the host's build of the story
    /// remembers is not touched.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn restart(&mut self, forwarding: &Forwarding) {
        if let Some(kernel) = &mut self.kernel {
            kernel.restart(forwarding).expect("a restart");
        }
    }

    /// What a new daemon would find in the kernel; `None` without one.
    #[must_use]
    pub fn found(&self) -> Option<Found> {
        self.kernel.as_ref().map(|kernel| found(kernel.pin_dir()))
    }

    /// The flows that are remembered, as the kernel's dataplane counts them; `None` without one.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn flows(&mut self, forwarding: &Forwarding, now_ns: u64) -> Option<FlowTable> {
        let kernel = self.kernel.as_mut()?;
        Some(kernel.dataplane().expect("a dataplane").flows(forwarding, now_ns).expect("flows"))
    }

    /// Sets the clock.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn set_clock(&mut self, now_ns: u64) {
        self.tables.set_clock(now_ns);
        if let Some(kernel) = &self.kernel {
            kernel.set_clock(now_ns).expect("a clock that can be set");
        }
    }

    /// Runs a frame, and demands the same action and the same bytes of both.
    ///
    /// # Panics
    /// When they differ, or the kernel refuses.
    pub fn run(&mut self, frame: &[u8]) -> (Action, Vec<u8>) {
        let (verdict, output) = self.tables.run(frame);
        let action = match verdict {
            Ok(verdict) if verdict.leave == Leave::Kernel => Action::Stopped(Reason::Oversize),
            Ok(verdict) => {
                assert_eq!(verdict.leave, Leave::Transmit, "a test run never redirects");
                Action::Transmit
            }
            Err(reason) => Action::Stopped(reason),
        };
        if let Some(kernel) = &mut self.kernel {
            let (in_kernel, bytes) = kernel.run(frame).expect("a test run");
            assert_eq!(in_kernel, action);
            if !matches!(action, Action::Stopped(reason) if reason.is_drop()) {
                assert_eq!(bytes, output, "the kernel's bytes differ");
            }
        }
        (action, output)
    }

    /// The frame that is sent to a backend.
    ///
    /// # Panics
    /// When the frame is not forwarded.
    pub fn forwarded(&mut self, frame: &[u8]) -> Vec<u8> {
        let (action, output) = self.run(frame);
        assert_eq!(action, Action::Transmit);
        output
    }

    /// Why the kernel gets the frame.
    ///
    /// # Panics
    /// When it does not, or the frame was changed.
    pub fn passed(&mut self, frame: &[u8]) -> Reason {
        let (action, output) = self.run(frame);
        assert_eq!(output, frame, "a passed packet must stay untouched");
        let Action::Stopped(reason) = action else { panic!("{action:?}") };
        assert!(!reason.is_drop() && !reason.is_answer(), "{reason:?}");
        reason
    }

    /// Why the frame is dropped.
    ///
    /// # Panics
    /// When it is not.
    pub fn dropped(&mut self, frame: &[u8]) -> Reason {
        let (action, _) = self.run(frame);
        let Action::Stopped(reason) = action else { panic!("{action:?}") };
        assert!(reason.is_drop(), "{reason:?}");
        reason
    }

    /// What the frame was turned into, and its kind; an outside judge must find it sound.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn answered(&mut self, frame: &[u8]) -> (Reason, Vec<u8>) {
        let (action, output) = self.run(frame);
        let Action::Stopped(reason) = action else { panic!("{action:?}") };
        assert!(reason.is_answer(), "{reason:?}");
        if let Err(wrong) = oracle::check(&output) {
            panic!("{wrong}: {output:02x?}");
        }
        (reason, output)
    }
}

/// [`Story::forwarded`] of a single frame.
#[must_use]
pub fn forwarded(world: &World, frame: &[u8]) -> Vec<u8> {
    in_world(world, |story| story.forwarded(frame))
}

/// [`Story::passed`] of a single frame.
#[must_use]
pub fn passed(world: &World, frame: &[u8]) -> Reason {
    in_world(world, |story| story.passed(frame))
}

/// [`Story::dropped`] of a single frame.
#[must_use]
pub fn dropped(world: &World, frame: &[u8]) -> Reason {
    in_world(world, |story| story.dropped(frame))
}

/// [`Story::answered`] of a single frame.
#[must_use]
pub fn answered(world: &World, frame: &[u8]) -> (Reason, Vec<u8>) {
    in_world(world, |story| story.answered(frame))
}

thread_local! {
    /// The worlds that this thread has looked at, the last one last. Loading the programs takes a good part of a second, most
    /// of it in the verifier.
    static WORLDS: RefCell<Vec<(World, Story)>> = const { RefCell::new(Vec::new()) };
}

const WORLDS_KEPT: usize = 4;

/// Looks at a world whose packets so far, if any, leave nothing behind that matters to a single frame.
fn in_world<T>(world: &World, look: impl FnOnce(&mut Story) -> T) -> T {
    let mut worlds = WORLDS.take();
    // Taken out meanwhile: a look that panics leaves nothing doubtful behind.
    let known = worlds.iter().position(|(known, _)| known == world).map(|index| worlds.remove(index));
    let (world, mut story) = known.unwrap_or_else(|| (world.clone(), Story::new(world)));
    let seen = look(&mut story);
    worlds.push((world, story));
    if worlds.len() > WORLDS_KEPT {
        drop(worlds.remove(0));
    }
    WORLDS.set(worlds);
    seen
}
