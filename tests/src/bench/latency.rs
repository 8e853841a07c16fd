//! How long a packet takes from the generator to the sink, at given loads, and how much of that the balancer adds.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::contestants::{Contestant, Who, note_repeated};
use super::generator::{Bed, Counts, Extent, Family, Offered, Traffic};
use super::report::{Better, Column, Effort, Figure, Sink};

const METHOD: &str = "As for throughput, but packets leave one by one, at a rate that the program keeps on one core, and carry \
the time at which they were made; the sink takes the time again. The path without a balancer sends every packet back as it \
came: what a contestant adds is its latency minus that one's in the same turn. UDP of 64k flows, frames of 60 bytes. Figures \
are upper ends of buckets that are 1/32 wide.

The core is always awake, since the generator waits by running: no interrupt, no sleep and no wake-up is in these figures, \
all of which a network card would add, to each contestant alike. Beyond the 99th percentile they mostly tell when the machine \
did something else; those do not repeat.";

/// Measures, and says each row as soon as it is known.
///
/// # Errors
/// When the kernel refuses, or counts differ.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    sink.section("latency", "Latency under load", METHOD)?;
    let mut bed = Bed::new()?;
    let mut all = Vec::new();
    for who in [Who::Reflect, Who::Ferrolev, Who::Forward, Who::Dnat] {
        all.push(Contestant::start(&mut bed, who, 0)?);
    }
    let (turns, lasting) = effort.pick((2, Duration::from_millis(200)), (7, Duration::from_secs(1)));
    for thousands in effort.pick(&[10, 200][..], &[10, 100, 200]) {
        sink.table(
            &format!("At {thousands},000 packets a second"),
            [
                Column::wide("who", 34),
                "p50".into(),
                "p99".into(),
                "p99.9".into(),
                "adds at p50".into(),
                "adds at p99".into(),
            ],
        )?;
        let rate = f64::from(*thousands) * 1000.0;
        let offered = Offered { rate: Some(rate), timed: true, ..Offered::new(Family::V4, Traffic::Udp) };
        let mut taken: Vec<Vec<Counts>> = all.iter().map(|_| Vec::new()).collect();
        for _ in 0..turns {
            for (contestant, taken) in all.iter_mut().zip(&mut taken) {
                let counts = contestant.run(&mut bed, &offered, &[1], Extent::For(lasting))?;
                let who = contestant.who.name();
                ensure!(
                    counts.latencies.packets() == counts.arrived_packets(),
                    "{who}: packets without a time"
                );
                ensure!(
                    counts.offered_rate() < rate * 1.1,
                    "{who}: {:.0} packets a second instead of {rate:.0}",
                    counts.offered_rate()
                );
                taken.push(counts);
            }
        }
        for (contestant, of) in all.iter().zip(&taken) {
            let added = |part| (contestant.who != Who::Reflect).then(|| added(of, &taken[0], part)).flatten();
            let cells = [at(of, 0.5), at(of, 0.99), at(of, 0.999), added(0.5), added(0.99)];
            let name =
                if contestant.who == Who::Reflect { "sent back as they came" } else { contestant.who.name() };
            sink.row(name, cells.map(Into::into))?;
        }
    }
    note_repeated(&all, sink)
}

/// The latency that this part of the packets does not exceed, over all turns.
fn at(of: &[Counts], part: f64) -> Option<Figure> {
    let ns: Vec<f64> = of.iter().map(|counts| counts.latencies.quantile(part) as f64).collect();
    Figure::of(&ns, "ns", Better::Lower)
}

/// By how much it exceeds the other one's, turn by turn.
fn added(of: &[Counts], to: &[Counts], part: f64) -> Option<Figure> {
    let ns = |counts: &Counts| counts.latencies.quantile(part) as f64;
    let added: Vec<f64> = of.iter().zip(to).map(|(of, to)| ns(of) - ns(to)).collect();
    Figure::of(&added, "ns", Better::Lower)
}
