//! One run in a lane: what is offered, and what comes of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use lb_common::abi::Offer;

use super::bed::{Bed, Lane};
use super::counts::Counts;
use super::make::{Order, make};
use super::offered::Offered;
use crate::lab::interrupted;

/// How much a run makes.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    For(Duration),
    /// Packets of each core.
    Packets(u32),
}

impl Bed {
    /// Offers packets to a lane from each of these cores, and counts what comes of them.
    ///
    /// # Errors
    /// When the kernel refuses, or this process is interrupted.
    pub fn run(&mut self, lane: &Lane, offered: &Offered, cores: &[usize], extent: Extent) -> Result<Counts> {
        let offer = self.listen_to(offered, cores.len(), extent)?;
        let errors = lane.xmit_errors(&self.edge)?;
        self.engine.aim(&lane.exit)?;
        let spans = offered.spans();
        let order = Order { offer: &offer, spans: &spans, cores, extent };
        let made = make(&self.engine, self.source, &lane.exit, &order, &mut |_| ())?;
        ensure!(!interrupted(), "interrupted");
        self.settle(made.iter().map(|made| made.packets).sum())?;
        let mut counts = self.counts()?;
        ensure!(made.iter().all(|made| made.packets > 0), "a core made no packet: {made:?}");
        counts.made = made;
        counts.xmit_errors = lane.xmit_errors(&self.edge)? - errors;
        Ok(counts)
    }

    /// Has the sink count from zero what it is offered, by so many cores.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn listen(&mut self, offered: &Offered, cores: usize) -> Result<Offer> {
        self.listen_to(offered, cores, Extent::For(Duration::ZERO))
    }

    fn listen_to(&mut self, offered: &Offered, cores: usize, extent: Extent) -> Result<Offer> {
        let mut offer = offered.offer(cores)?;
        if let Extent::Packets(packets) = extent {
            offer.limit = packets.into();
        }
        self.engine.prepare(offer, &offered.spans())?;
        Ok(offer)
    }

    /// What the sink has counted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn counts(&self) -> Result<Counts> {
        self.engine.counts()
    }

    /// Waits until nothing arrives any more: the kernel may have left work to another thread.
    fn settle(&self, made: u64) -> Result<()> {
        let mut arrived = self.engine.arrived_packets()?;
        for _ in 0..100 {
            if arrived >= made {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            let now = self.engine.arrived_packets()?;
            if now == arrived {
                break;
            }
            arrived = now;
        }
        Ok(())
    }
}
