//! Real interfaces, in the network namespace of this process: packets leave by one, and are counted at the same or another
//! one. Attaches programs and takes them off; what is sent, and what is said of it, is decided elsewhere.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, XdpMode};

use super::bed::Source;
use super::counts::{Counts, Made};
use super::engine::{Builtin, Engine, live};
use super::exit::{Exit, Place};
use super::make::{Order, Total, make};
use super::offered::Offered;
use super::run::Extent;
use crate::generate::interface::Interface;
use crate::lab::interrupted;

/// A stamp numbers as many packets of a core.
const NUMBERED: u64 = u32::MAX as u64;
/// Cards that get a program make their queues anew, and their link may go for a while.
const PATIENCE: Duration = Duration::from_secs(5);
/// IEEE 802's local experimental EtherType: every host ignores it.
const NOBODYS: [u8; 2] = [0x88, 0xb5];

/// Says what was sent and has arrived by now.
pub type Glance<'a> = &'a dyn Fn() -> Result<Counts>;

/// The programs for real interfaces. All are taken off with it.
#[derive(Debug)]
pub struct Card {
    engine: Engine,
    /// An interface has the sink.
    collects: bool,
    /// What is not as one might think, for the user.
    pub remarks: Vec<String>,
}

impl Card {
    /// Loads the programs, and attaches none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self> {
        let engine = Engine::load(&super::object::object()?)?;
        Ok(Self { engine, collects: false, remarks: Vec::new() })
    }

    /// Counts what of the offered packets arrives at an interface, from zero.
    ///
    /// # Errors
    /// When the interface runs another program, or the kernel refuses.
    pub fn collect(&mut self, interface: &Interface, offered: &Offered) -> Result<()> {
        self.engine.prepare(offered.offer(1)?, &[])?;
        self.collects = true;
        let name = &interface.name;
        let attached = self.attach(interface, Builtin::Collect, XdpMode::Driver);
        let Err(error) = attached else { return Ok(()) };
        if is_taken(&error) {
            bail!(
                "{name}: an XDP program runs there already (a balancer, or ferrolev decap); end it, or name another interface"
            );
        }
        let driver = interface.driver();
        self.attach(interface, Builtin::Collect, XdpMode::Skb)
            .with_context(|| format!("{name}: no XDP program can be attached (driver {driver})"))?;
        self.remarks.push(format!(
            "{name}: driver {driver} refuses native XDP, so packets are counted by generic XDP, which is slower"
        ));
        Ok(())
    }

    /// What will make the packets: what is wanted, or live frames where the interface takes them.
    ///
    /// # Errors
    /// When live frames are wanted and the interface, or the kernel, does not take them.
    pub fn source(
        &mut self,
        interface: &Interface,
        offered: &Offered,
        wanted: Option<Source>,
    ) -> Result<Source> {
        if wanted == Some(Source::Socket) {
            return Ok(Source::Socket);
        }
        match (self.live(interface, offered), wanted) {
            (Ok(()), _) => Ok(Source::Live),
            (Err(error), None) => {
                self.remarks.push(format!(
                    "{error:#}; packets leave by a socket instead, at about a tenth of the speed"
                ));
                Ok(Source::Socket)
            }
            (Err(error), Some(_)) => Err(error.context("no live frames; --mode socket does without")),
        }
    }

    /// Sends for a while, or until this process is interrupted, and counts what arrives where packets are collected. `watch` is
    /// called all the time, with a function that says what there is by now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send(
        &mut self,
        interface: &Interface,
        source: Source,
        offered: &Offered,
        cores: &[usize],
        lasting: Duration,
        watch: &mut dyn FnMut(Glance<'_>),
    ) -> Result<Counts> {
        let mut offer = offered.offer(cores.len())?;
        offer.limit = NUMBERED;
        let (spans, exit) = (offered.spans(), exit(interface));
        self.engine.prepare(offer, &spans)?;
        let engine = &self.engine;
        let order = Order { offer: &offer, spans: &spans, cores, extent: Extent::For(lasting) };
        let made = make(engine, source, &exit, &order, &mut |total| {
            watch(&|| {
                let Total { packets, bytes } = total()?;
                let made = vec![Made { packets, bytes, ..Made::default() }];
                Ok(Counts { made, xmit_errors: engine.departed()?.refused, ..engine.collected()? })
            });
        })
        .with_context(|| format!("{}: packets cannot be sent", interface.name))?;
        if self.collects {
            self.settle(made.iter().map(|made| made.packets).sum())?;
        }
        let mut counts = Counts { made, ..self.engine.collected()? };
        if source == Source::Live {
            // Also those that did not come as far as the driver.
            counts.xmit_errors = counts.made_packets().saturating_sub(self.engine.departed()?.taken);
        }
        Ok(counts)
    }

    /// What has arrived where packets are collected.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn collected(&self) -> Result<Counts> {
        self.engine.collected()
    }

    /// Has the interface take live frames.
    fn live(&mut self, interface: &Interface, offered: &Offered) -> Result<()> {
        if !self.engine.has_live_frames() {
            bail!("this kernel makes no live frames of XDP, as Linux 5.18 and later do");
        }
        let exit = exit(interface);
        self.engine.aim(&exit).with_context(|| format!("{}: no way for XDP's frames", interface.name))?;
        let counting = self.engine.watch_departures()?;
        let taken = self.takes_frames(interface, offered);
        if !matches!(taken, Ok(true)) {
            self.engine.forget_departures(counting)?;
        }
        if !taken? {
            bail!(
                "{}: driver {} takes no live frames, for which it needs native XDP with ndo_xdp_xmit (a veth: XDP or GRO at its \
                 other end)",
                interface.name,
                interface.driver()
            );
        }
        Ok(())
    }

    /// Whether the interface takes live frames, if need be with a program of its own, since many drivers make queues for such
    /// frames only then.
    fn takes_frames(&mut self, interface: &Interface, offered: &Offered) -> Result<bool> {
        if self.probe(offered)? {
            return Ok(true);
        }
        let link = match self.attach(interface, Builtin::Pass, XdpMode::Driver) {
            Ok(link) => Some(link),
            // Whatever it is, queues are there.
            Err(error) if is_taken(&error) => None,
            Err(_) => return Ok(false),
        };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !interrupted() {
            if self.probe(offered)? {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if let Some(link) = link {
            self.engine.detach(Builtin::Pass, link)?;
        }
        Ok(false)
    }

    /// Sends one frame that nobody listens to, and says whether the driver took it.
    fn probe(&mut self, offered: &Offered) -> Result<bool> {
        let mut offer = offered.offer(1)?;
        (offer.limit, offer.interval_ns, offer.is_skewed) = (1, 0, 0);
        offer.head[12..14].copy_from_slice(&NOBODYS);
        self.engine.prepare(offer, &[])?;
        live(self.engine.generator()?, &vec![0; offer.longest as usize], 1, 1)?;
        Ok(self.engine.departed()?.taken == 1)
    }

    fn attach(&mut self, interface: &Interface, program: Builtin, mode: XdpMode) -> Result<XdpLinkId> {
        self.engine.attach(&Place::Here, program, interface.ifindex, mode)
    }

    /// Waits for what is still on its way: as long as there is more all the time.
    fn settle(&self, made: u64) -> Result<()> {
        const STILL: Duration = Duration::from_millis(300);
        let until = Instant::now() + PATIENCE;
        let (mut arrived, mut since) = (self.engine.arrived_packets()?, Instant::now());
        while arrived < made && since.elapsed() < STILL && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.engine.arrived_packets()?;
            if now != arrived {
                (arrived, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

fn exit(interface: &Interface) -> Exit {
    Exit { place: Place::Here, interface: interface.name.clone(), ifindex: interface.ifindex }
}

/// Whether an interface has a program that is not ours.
fn is_taken(error: &anyhow::Error) -> bool {
    let Some(ProgramError::SyscallError(error)) = error.downcast_ref() else { return false };
    // The second: one of the other mode.
    matches!(error.io_error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}
