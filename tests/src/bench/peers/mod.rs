//! The balancers that people use today, side by side: the same client, network and backends, in turns within one run.

mod contenders;
mod cores;
mod loads;
mod nat;
mod proxies;
mod usage;

use anyhow::{Context, Result, bail};

use super::report::{Better, Cell, Column, Effort, Figure, Sink};
use crate::lab::{Network, Process, Shape, interrupted};
use contenders::{ALL, Contender, Running};
use cores::Cores;
use loads::{Load, Sample};
use usage::Usage;

const BACKENDS: u8 = 3;
const METHOD: &str = "A client, a router, one host for each balancer, and three backends (nginx), all network namespaces of this \
machine, joined by veths. All balancers run all the time and take turns under load, round by round; each round's figures are held \
against the direct connection of the same round. The client runs on the last core, everything else on the others; the kernel \
handles packets on the core of whoever sent them. wrk keeps 32 requests under way, each on a new connection or on connections that \
nginx keeps for 1000 requests; iperf3 moves bulk over one connection, to one backend for all.

CPU is the processor time of all that takes part, the kernel's work on packets included, during the run, by what was done in it: \
client, router and backends as well, which is why only what is above the direct connection tells of a balancer. Since the client is as fast as it is \
answered, requests/s and p99 mostly measure the whole machine.

Not fair: everything shares these cores, and veths are no network cards. Segmentation and checksum offloads are off on all links, \
since a tunnel on veths needs that: with a card, all that is not XDP would move bulk in larger pieces, at less cost than here. \
Each proxy has one thread, and the backends' XDP agent looks at packets of all.";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Amount {
    seconds: u32,
    rounds: usize,
}

impl Load {
    fn amount(self, effort: Effort) -> Amount {
        let rounds = if self.is_bulk() { effort.pick(1, 5) } else { effort.pick(1, 7) };
        Amount { seconds: effort.pick(1, 3), rounds }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NewConnections => "A new connection for each request (wrk)",
            Self::KeepAlive => "Requests on open connections (wrk)",
            Self::Upload => "Bulk from the client (iperf3): all data passes every balancer",
            Self::Download => {
                "Bulk to the client (iperf3): with direct server return only acknowledgements pass the balancer"
            }
        }
    }

    fn columns(self) -> Vec<Column> {
        let names: &[&str] = if self.is_bulk() {
            &["rate", "of direct", "CPU a GB", "above direct"]
        } else {
            &["requests/s", "of direct", "p99", "CPU a request", "above direct"]
        };
        let rest = names.iter().map(|name| Column::wide(name, 26));
        std::iter::once(Column::wide("balancer", 20)).chain(rest).collect()
    }
}

/// A contender and what became of it.
struct Peer {
    contender: &'static Contender,
    running: Result<Running>,
    /// Of the present load, round by round; ends with the first one that failed.
    samples: Vec<Sample>,
    failure: Option<String>,
}

/// Measures all of them under one load after the other.
///
/// # Errors
/// When there is no network to measure in. A balancer that cannot run has a row that says so.
pub fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    sink.section("peers", "Beside others", METHOD)?;
    sink.table("What is compared", ["balancer", "what it does, and what is not fair"])?;
    for Contender { name, remark, .. } in &ALL {
        sink.row(name, [(*remark).into()])?;
    }
    let usage = Usage::begin()?;
    let cores = Cores::split()?;
    let network = Network::new(Shape { balancers: ALL.len() as u8 - 1, backends: BACKENDS })?;
    network.client.sysctls(&[("net/ipv4/ip_local_port_range", "1024 65535")])?;
    let mut bulk_server = loads::serve_bulk(&network.backends[0].namespace, network.lab.dir());
    let mut peers: Vec<Peer> =
        (0..).zip(&ALL).map(|(number, contender)| Peer::start(contender, &network, number)).collect();
    for load in Load::ALL {
        let amount = load.amount(effort);
        for _ in 0..amount.rounds {
            for peer in &mut peers {
                if interrupted() {
                    bail!("interrupted");
                }
                peer.run(load, amount.seconds, (&cores, &usage), &network, &mut bulk_server);
            }
        }
        report(load, &peers, sink)?;
        peers.iter_mut().for_each(Peer::forget);
    }
    Ok(())
}

impl Peer {
    fn start(contender: &'static Contender, network: &Network, number: u8) -> Self {
        Self { contender, running: contender.start(network, number), samples: Vec::new(), failure: None }
    }

    /// One run; none after one that failed.
    fn run(
        &mut self,
        load: Load,
        seconds: u32,
        clocks: (&Cores, &Usage),
        network: &Network,
        bulk_server: &mut Result<Process>,
    ) {
        let Ok(running) = &self.running else { return };
        if self.failure.is_some() {
            return;
        }
        let server = if load.is_bulk() { running.bulk } else { running.http };
        let ready = if load.is_bulk() { check(bulk_server) } else { Ok(()) };
        let sample = ready.and_then(|()| load.run(clocks, &network.client, server, seconds));
        match sample.with_context(|| running.logs()) {
            Ok(sample) => self.samples.push(sample),
            Err(error) => self.failure = Some(format!("failed: {error:#}")),
        }
    }

    fn forget(&mut self) {
        self.samples.clear();
        self.failure = None;
    }

    /// In one line.
    fn failure(&self) -> Option<String> {
        let failure = match (&self.running, &self.failure) {
            (Err(error), _) => format!("cannot run: {error:#}"),
            (Ok(_), Some(failure)) => failure.clone(),
            (Ok(_), None) => return None,
        };
        Some(failure.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

fn check(server: &mut Result<Process>) -> Result<()> {
    match server {
        Ok(server) => server.check_running(),
        Err(error) => bail!("{error:#}"),
    }
}

fn report(load: Load, peers: &[Peer], sink: &mut Sink) -> Result<()> {
    sink.table(load.title(), load.columns())?;
    let direct = peers.first().map(|peer| &*peer.samples).unwrap_or_default();
    for (place, peer) in peers.iter().enumerate() {
        let mut cells = cells(load, &peer.samples, if place == 0 { &[] } else { direct });
        if let Some(failure) = peer.failure() {
            cells[0] = failure.into();
        }
        sink.row(peer.contender.name, cells)?;
    }
    for peer in peers {
        let errors: u64 = peer.samples.iter().map(|sample| sample.errors).sum();
        if errors > 0 {
            sink.note(&format!("{}: {errors} requests failed", peer.contender.name))?;
        }
    }
    Ok(())
}

/// For the columns of a load. Each sample is held against the direct one of its round.
fn cells(load: Load, samples: &[Sample], direct: &[Sample]) -> Vec<Cell> {
    use Better::{Higher, Lower};
    let of = |value: fn(&Sample) -> f64, unit: &str, better| {
        Cell::from(Figure::of(&samples.iter().map(value).collect::<Vec<_>>(), unit, better))
    };
    let beside = |value: fn(&Sample, &Sample) -> f64, unit: &str, better| {
        let pairs: Vec<f64> = samples.iter().zip(direct).map(|(own, direct)| value(own, direct)).collect();
        Cell::from(Figure::of(&pairs, unit, better))
    };
    let (rate, cost) = if load.is_bulk() { ("Gbit/s", "ms") } else { ("", "µs") };
    let mut cells = vec![
        of(|own| own.rate, rate, Higher),
        beside(|own, direct| own.rate / direct.rate, "times", Higher),
        of(|own| own.cost, cost, Lower),
        beside(|own, direct| own.cost - direct.cost, cost, Lower),
    ];
    if !load.is_bulk() {
        cells.insert(2, of(|own| own.p99_ms, "ms", Lower));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64, cost: f64) -> Sample {
        Sample { rate, p99_ms: 1.0, cost, errors: 0 }
    }

    #[test]
    fn each_round_is_held_against_the_direct_connection_of_that_round() {
        // The machine became half as fast in between.
        let direct = [sample(1000.0, 100.0), sample(500.0, 200.0)];
        let own = [sample(800.0, 130.0), sample(400.0, 230.0)];
        let cells = cells(Load::NewConnections, &own, &direct);
        let medians: Vec<_> = cells.iter().map(|cell| cell.figure().unwrap()).collect();
        assert_eq!((medians[1].low, medians[1].high), (0.8, 0.8));
        assert_eq!((medians[4].low, medians[4].high), (30.0, 30.0));
        assert_eq!(cells.len() + 1, Load::NewConnections.columns().len());
    }

    #[test]
    fn one_that_failed_half_way_is_compared_as_far_as_it_came() {
        let direct = [sample(10.0, 100.0), sample(10.0, 100.0)];
        let cells = cells(Load::Upload, &[sample(5.0, 150.0)], &direct);
        assert_eq!(cells[1].figure().unwrap().median, 0.5);
        assert_eq!(cells.len() + 1, Load::Upload.columns().len());
    }

    #[test]
    fn what_was_not_measured_has_no_figures() {
        assert!(cells(Load::KeepAlive, &[], &[]).iter().all(|cell| cell.figure().is_none()));
    }
}
