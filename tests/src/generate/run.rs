//! A run: what is attached, what is sent, and what is said meanwhile and at the end.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::arguments::{Collecting, Plan, Sending};
use super::interface::Interface;
use super::text;
use crate::bench::generator::{Card, Counts, Offered};
use crate::lab::interrupted;

const SECOND: Duration = Duration::from_secs(1);

/// Does what is planned, until its time is over or somebody interrupts it.
///
/// # Errors
/// When an interface cannot do it, or the kernel refuses.
pub fn run(plan: &Plan) -> Result<()> {
    match plan {
        Plan::Send(sending) => send(sending),
        Plan::Collect(collecting) => collect(collecting),
    }
}

fn send(plan: &Sending) -> Result<()> {
    let interface = Interface::find(&plan.interface)?;
    let sink = plan.sink.as_deref().map(Interface::find).transpose().context("--sink")?;
    let own_mac = plan.source_mac.map_or(interface.mac, |mac| mac.0);
    let offered = Offered { macs: [own_mac, plan.offered.macs[1]], ..plan.offered.clone() };
    interface.takes(offered.offer(plan.cores.len())?.longest)?;
    let mut card = Card::new()?;
    if let Some(sink) = &sink {
        card.collect(sink, &offered).context("--sink")?;
        sink.wait_for_carrier()?;
    }
    interface.wait_for_carrier()?;
    let source = card.source(&interface, &offered, plan.source)?;
    // A program that was attached, or taken off again, may have taken the carrier with it.
    interface.wait_for_carrier()?;
    say_remarks(&mut card);
    say(&text::begin(plan, source))?;
    let mut ticks = Ticks::new();
    let mut last = Counts::default();
    let counts = card.send(&interface, source, &offered, &plan.cores, plan.lasting, &mut |counts| {
        let Some(seconds) = ticks.next() else { return };
        let Ok(now) = counts() else { return };
        // What cannot be written is written at the end, or in vain.
        let _ = say(&text::sending(seconds, &last, &now, sink.is_some()));
        last = now;
    })?;
    say(&text::sent(&counts, &plan.interface, plan.sink.as_deref()))
}

fn collect(plan: &Collecting) -> Result<()> {
    /// Without a packet, once there was one.
    const QUIET: Duration = Duration::from_secs(10);
    let interface = Interface::find(&plan.interface)?;
    let mut card = Card::new()?;
    card.collect(&interface, &plan.offered)?;
    say_remarks(&mut card);
    say(&format!("counting at {} what is for {}", plan.interface, plan.offered.vip_key()))?;
    let mut ticks = Ticks::new();
    let (until, mut heard) = (Instant::now() + plan.lasting, Instant::now());
    let mut last = Counts::default();
    while Instant::now() < until && !interrupted() {
        std::thread::sleep(Duration::from_millis(20));
        let Some(seconds) = ticks.next() else { continue };
        let now = card.collected()?;
        if now.arrived_packets() > last.arrived_packets() {
            heard = Instant::now();
        }
        if now.arrived_packets() > 0 {
            if heard.elapsed() > QUIET {
                break;
            }
            say(&text::collecting(seconds, &last, &now))?;
        }
        last = now;
    }
    say(&text::collected(&card.collected()?, &plan.interface))
}

/// Once a second.
struct Ticks {
    began: Instant,
    count: u32,
}

impl Ticks {
    fn new() -> Self {
        Self { began: Instant::now(), count: 0 }
    }

    /// How many seconds it has been, when that is one more than was said.
    fn next(&mut self) -> Option<u32> {
        let due = (self.count + 1) * SECOND;
        (self.began.elapsed() >= due).then(|| {
            self.count += 1;
            self.count
        })
    }
}

fn say_remarks(card: &mut Card) {
    for remark in card.remarks.drain(..) {
        eprintln!("{remark}");
    }
}

/// At once, also into a file.
fn say(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}
