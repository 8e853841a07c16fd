//! Packets a second on one core and on two, from the generator through the balancer to the sink, beside bounds and beside
//! what the kernel forwards of the very same packets.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::balancer::{GUE4, L2, connection_id};
use super::contestants::{Contestant, Who, note_repeated};
use super::generator::{Bed, Extent, Family, Offered, Size, Spread, Traffic};
use super::report::{Better, Cell, Column, Effort, Figure, Sink};

const METHOD: &str = "Packets are made in the kernel, as live frames of BPF_PROG_TEST_RUN, and sent into a veth of two \
queues. The balancer at its other end, loaded and filled by the daemon's own code, sends them back by XDP_TX to the sink, \
which takes the tunnel header off in its head, reads the packet's number, counts and drops it. A batch of 64 goes all the \
way on the core that made it before the next one is made: generator, balancer and sink share the core, and the figures \
hold all three. No packet may be lost, come late, or be counted otherwise by the balancer than by the sink: else the \
measurement fails. A turn that was cut short, since something else ran on the core and packets found a queue full, is taken again, \
which is said. 100 backends, rings of 65537 slots.

All take turns under the same packets, in lanes of their own: each core alone, whose mean is \"one core\", then both. A \
ratio is the median of ratios of the same turn.

Not fair: a veth takes XDP frames without building socket buffers, which the kernel's forwarding has to build, as it has \
to on most network cards as well. The sink takes its frames from socket buffers, which costs the kernel's side a little \
more. ip_forward does less than a balancer: it has one next hop. nftables tracks connections, which Ferrolev does not \
need to; what its table has no room for it drops, and that is shown as lost. Queues are bound to cores (XPS), GRO is on, \
and IPv4 redirects are off.";

/// What is offered, and to whom.
struct Case {
    name: &'static str,
    offered: Offered,
    /// nftables and ip_forward do the same work.
    beside_kernel: bool,
}

/// Measures, and says each row as soon as it is known.
///
/// # Errors
/// When the kernel refuses, or counts differ.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    sink.section("throughput", "Throughput on one core and on two", METHOD)?;
    let mut bed = Bed::new()?;
    let turns = Turns::new(effort)?;
    let mut ferrolev = Contestant::start(&mut bed, Who::Ferrolev, 0)?;
    beside_others(&mut bed, &mut ferrolev, turns, sink)?;
    cases(&mut bed, &mut ferrolev, effort, turns, sink)?;
    note_repeated([&ferrolev], sink)
}

/// One kind of packet, and all who can do something with it.
fn beside_others(bed: &mut Bed, ferrolev: &mut Contestant, turns: Turns, sink: &mut Sink) -> Result<()> {
    let offered = Offered::new(Family::V4, Traffic::Ack);
    let mut others = Vec::new();
    for who in [Who::Drop, Who::Reflect, Who::Bare, Who::Forward, Who::Dnat] {
        others.push(Contestant::start(bed, who, 0)?);
    }
    let mut all: Vec<&mut Contestant> = vec![ferrolev];
    all.extend(&mut others);
    let measured = turns.take(bed, &mut all, &offered)?;
    sink.table(
        "IPv4 TCP ACK of 64k flows, frames of 60 bytes",
        [
            Column::wide("who", 34),
            "one core".into(),
            "two cores".into(),
            "two to one".into(),
            "lost".into(),
            "Ferrolev to it, one core".into(),
            "two cores".into(),
        ],
    )?;
    for of in &measured {
        let expected = match of.who {
            Who::Forward => Some(4.0),
            Who::Dnat => Some(7.0),
            _ => None,
        };
        let scaling = (of.who == Who::Ferrolev).then_some(1.8);
        sink.row(
            of.who.name(),
            [
                mpps(&of.one).into(),
                mpps(&of.two).into(),
                times(&ratios(&of.two, &of.one), scaling).into(),
                lost(of),
                times(&ratios(&measured[0].one, &of.one), expected).into(),
                times(&ratios(&measured[0].two, &of.two), None).into(),
            ],
        )?;
    }
    note_repeated(&others, sink)
}

/// Other packets.
fn cases(
    bed: &mut Bed,
    ferrolev: &mut Contestant,
    effort: Effort,
    turns: Turns,
    sink: &mut Sink,
) -> Result<()> {
    sink.table(
        "Other packets",
        [
            Column::wide("packets", 34),
            "one core".into(),
            "two cores".into(),
            "two to one".into(),
            "to ip_forward".into(),
            "to nft DNAT".into(),
            "nft DNAT lost".into(),
        ],
    )?;
    for (number, case) in (1..).zip(all()) {
        let mut kernel = Vec::new();
        if case.beside_kernel && !effort.is_quick() {
            // Of their own: what connection tracking remembers of other packets is none of these.
            kernel.push(Contestant::start(bed, Who::Forward, number)?);
            kernel.push(Contestant::start(bed, Who::Dnat, number)?);
        }
        let mut contestants: Vec<&mut Contestant> = vec![&mut *ferrolev];
        contestants.extend(&mut kernel);
        let measured = turns.take(bed, &mut contestants, &case.offered)?;
        let own = &measured[0];
        let to = |who: Who, least| {
            let other = measured.iter().find(|of| of.who == who);
            other.and_then(|other| times(&ratios(&own.one, &other.one), Some(least)))
        };
        let dnat = measured.iter().find(|of| of.who == Who::Dnat);
        sink.row(
            case.name,
            [
                mpps(&own.one).into(),
                mpps(&own.two).into(),
                times(&ratios(&own.two, &own.one), Some(1.8)).into(),
                to(Who::Forward, 4.0).into(),
                to(Who::Dnat, 7.0).into(),
                dnat.map_or_else(Cell::none, lost),
            ],
        )?;
    }
    Ok(())
}

fn all() -> Vec<Case> {
    let v4 = |traffic| Offered::new(Family::V4, traffic);
    let v6 = |traffic| Offered::new(Family::V6, traffic);
    let case = |name, offered| Case { name, offered, beside_kernel: true };
    let alone = |name, offered| Case { name, offered, beside_kernel: false };
    vec![
        case("v6 TCP ACK", v6(Traffic::Ack)),
        case("v4 UDP", v4(Traffic::Udp)),
        case("v4 SYN flood, 10M flows", Offered { flows: 10_000_000, ..v4(Traffic::Syn) }),
        case("v4 TCP mixed, 1M flows", Offered { flows: 1 << 20, ..v4(Traffic::Mixed) }),
        case(
            "v4 TCP ACK, 1M flows by Zipf's law",
            Offered { flows: 1 << 20, spread: Spread::Zipf(1.0), ..v4(Traffic::Ack) },
        ),
        case("v4 UDP, IMIX", Offered { size: Size::Imix, ..v4(Traffic::Udp) }),
        case("v4 UDP, frames of 1500 bytes", Offered { size: Size::Frame(1500), ..v4(Traffic::Udp) }),
        alone("QUIC, named server", Offered { connection_id: connection_id(77), ..v4(Traffic::Quic) }),
        alone("QUIC v6, named server", Offered { connection_id: connection_id(77), ..v6(Traffic::Quic) }),
        alone("v4 TCP ACK, GUE", Offered { vip: GUE4.into(), ..v4(Traffic::Ack) }),
        alone("v4 TCP ACK, L2", Offered { vip: L2.into(), ..v4(Traffic::Ack) }),
    ]
}

/// How often each of the contestants has its turn, and for how long.
#[derive(Clone, Copy)]
struct Turns {
    count: usize,
    lasting: Duration,
}

/// Packets a second of each turn.
struct Measured {
    who: Who,
    /// By one core, in the mean of both, each alone.
    one: Vec<f64>,
    two: Vec<f64>,
    /// The largest part that was lost in a turn.
    loss: f64,
}

impl Turns {
    fn new(effort: Effort) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        ensure!(cores >= 2, "two cores are needed, and this process may use {cores}");
        let (count, lasting) = effort.pick((3, 80), (25, 120));
        Ok(Self { count, lasting: Duration::from_millis(lasting) })
    }

    fn take(self, bed: &mut Bed, of: &mut [&mut Contestant], offered: &Offered) -> Result<Vec<Measured>> {
        let new =
            |of: &&mut Contestant| Measured { who: of.who, one: Vec::new(), two: Vec::new(), loss: 0.0 };
        let mut measured: Vec<Measured> = of.iter().map(new).collect();
        for _ in 0..self.count {
            for (contestant, measured) in of.iter_mut().zip(&mut measured) {
                let mut rate = |cores: &[usize]| -> Result<f64> {
                    let counts = contestant.run(bed, offered, cores, Extent::For(self.lasting))?;
                    measured.loss = measured.loss.max(counts.loss());
                    Ok(counts.rate())
                };
                // One of two virtual cores may be slower for a while.
                let (alone, both) = ([rate(&[0])?, rate(&[1])?], rate(&[0, 1])?);
                measured.one.push(f64::midpoint(alone[0], alone[1]));
                measured.two.push(both);
            }
        }
        Ok(measured)
    }
}

fn mpps(rates: &[f64]) -> Option<Figure> {
    let millions: Vec<f64> = rates.iter().map(|rate| rate / 1e6).collect();
    Figure::of(&millions, "Mpps", Better::Higher)
}

/// Turn by turn.
fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

fn times(ratios: &[f64], least: Option<f64>) -> Option<Figure> {
    Some(Figure::of(ratios, "times", Better::Higher)?.expecting(least))
}

fn lost(of: &Measured) -> Cell {
    if of.loss == 0.0 { "none".into() } else { Figure::once(of.loss * 100.0, "%", Better::Lower).into() }
}
