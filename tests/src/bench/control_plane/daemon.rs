//! The real daemon, with many vips: how long its start takes, and what it takes of memory.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::memory::{OfProcess, OfTable};
use super::{BACKENDS_OF_A_VIP, LARGE_RING, Plan, SMALL_RING, backend, memory, milliseconds, vip};
use crate::bench::report::{Better, Cell, Column, Figure, Sink};
use crate::lab::{Daemon, DaemonConfig, Lab, Namespace, run, wait_until};

const VIPS: u32 = 512;
const FLOWS: u32 = 1 << 20;
/// Of the daemon and the kernel's tables, in megabytes.
const ENOUGH: f64 = 100.0;
const MEGABYTE: f64 = 1e6;
/// Smaller ones are not listed.
const LARGE_TABLE: u64 = 500_000;

pub(super) fn starts(plan: Plan, sink: &mut Sink) -> Result<()> {
    let columns =
        [Column::wide("vips", 16), "until the API answers".into(), "until all rings are there".into()];
    sink.table("A start", columns)?;
    for vips in plan.vips {
        let (mut answers, mut complete) = (Vec::new(), Vec::new());
        for _ in 0..plan.starts {
            let started = Started::with(*vips, SMALL_RING, Members::Same)?;
            answers.push(started.answers_ms);
            complete.push(started.complete_ms);
        }
        let cells = [answers, complete].map(|times| Figure::of(&times, "ms", Better::Lower).into());
        sink.row(&vips.to_string(), cells)?;
    }
    Ok(())
}

pub(super) fn memory(sink: &mut Sink) -> Result<()> {
    let found = [Members::Same, Members::Others].map(Found::with);
    let found = found.into_iter().collect::<Result<Vec<_>>>()?;
    let megabytes = |bytes: u64| Figure::counted(bytes as f64 / MEGABYTE, "MB", Better::Lower);
    let columns =
        [Column::wide("of what", 40), "the same ten backends".into(), "other ten for each vip".into()];
    sink.table(&format!("Memory: {VIPS} vips, {LARGE_RING} slots each, room for {FLOWS} flows"), columns)?;
    let mut row = |name: &str, cell: &dyn Fn(&Found) -> Cell| sink.row(name, found.iter().map(cell));
    row("all", &|found| megabytes(found.process.own + found.all_tables()).expecting(ENOUGH).into())?;
    row("the kernel's tables", &|found| megabytes(found.all_tables()).into())?;
    for OfTable { name, .. } in found[0].tables.iter().filter(|table| table.bytes > LARGE_TABLE) {
        row(&format!("  {name}"), &|found| Cell::number(found.table(name) as f64 / MEGABYTE, "MB"))?;
    }
    row("the daemon", &|found| megabytes(found.process.own).into())?;
    row("  its heap and stacks", &|found| Cell::number(found.process.anonymous as f64 / MEGABYTE, "MB"))?;
    row("its resident pages, mapped tables included", &|found| {
        Cell::number(found.process.resident as f64 / MEGABYTE, "MB")
    })
}

/// What a daemon with many vips takes.
struct Found {
    process: OfProcess,
    tables: Vec<OfTable>,
}

impl Found {
    fn with(members: Members) -> Result<Self> {
        let started = Started::with(VIPS, LARGE_RING, members)?;
        // What a start needs for a moment is given back by then.
        std::thread::sleep(Duration::from_secs(1));
        let process = memory::of_process(started.daemon.pid())?;
        Ok(Self { process, tables: memory::of_tables(&started.daemon.pins())? })
    }

    fn all_tables(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    fn table(&self, name: &str) -> u64 {
        self.tables.iter().filter(|table| table.name == name).map(|table| table.bytes).sum()
    }
}

/// Of which backends the vips have ten each.
#[derive(Clone, Copy, Debug)]
enum Members {
    /// All of the same: their rings are one.
    Same,
    /// No two vips of the same.
    Others,
}

impl Members {
    /// Backends that there are. With a prime number, evenly spread sets of ten differ from each other.
    const fn backends(self) -> u32 {
        match self {
            Self::Same => BACKENDS_OF_A_VIP,
            Self::Others => 67,
        }
    }

    /// By names.
    fn of(self, vip: u32) -> Vec<String> {
        let all = self.backends();
        let (first, apart) = match self {
            Self::Same => (0, 1),
            Self::Others => (vip % all, 1 + vip / all),
        };
        (0..BACKENDS_OF_A_VIP).map(|number| name(1 + (first + number * apart) % all)).collect()
    }
}

/// A daemon that runs. The lab comes last, so that it is dropped last.
struct Started {
    daemon: Daemon,
    answers_ms: f64,
    complete_ms: f64,
    _lab: Lab,
}

impl Started {
    fn with(vips: u32, ring_size: u32, members: Members) -> Result<Self> {
        let lab = Lab::new()?;
        let namespace = lab.namespace("lb")?;
        namespace.ip(&links(members.backends()))?;
        let config = config(vips, ring_size, members);
        let names: Vec<String> = (0..vips).flat_map(|vip| members.of(vip)).collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let (daemon, answers_ms) = milliseconds(|| Daemon::start(&lab, &namespace, "bench", &config, &[]));
        let daemon = daemon?;
        ensure!(has_program(&namespace)?, "the API answers, and eth0 has no program");
        let (complete, ms) =
            milliseconds(|| wait_until("all rings", Duration::from_secs(60), || daemon.wait_active(&names)));
        complete?;
        Ok(Self { daemon, answers_ms, complete_ms: answers_ms + ms, _lab: lab })
    }
}

/// An interface whose other end is nobody's, and neighbours that are known.
fn links(backends: u32) -> String {
    let head = "link add eth0 type veth peer name peer0\nlink set eth0 up\nlink set peer0 up\naddr add 10.1.255.1/16 dev eth0\n";
    let neighbour =
        |number| format!("neigh add {} lladdr 02:00:00:00:00:99 dev eth0 nud permanent\n", backend(number));
    head.to_owned() + &(1..=backends).map(neighbour).collect::<String>()
}

fn has_program(namespace: &Namespace) -> Result<bool> {
    let mut command = namespace.command("ip")?;
    command.args(["-details", "link", "show", "eth0"]);
    Ok(run(&mut command)?.contains("prog/xdp"))
}

fn name(number: u32) -> String {
    format!("web-{number}")
}

fn config(vips: u32, ring_size: u32, members: Members) -> DaemonConfig {
    let dests = (u64::from(vips + 1) * 32).next_power_of_two();
    let config =
        DaemonConfig::default().general_line(&format!("\n[limits]\ndests = {dests}\nflows = {FLOWS}"));
    let config = (1..=members.backends())
        .fold(config, |config, number| config.backend(&name(number), backend(number)));
    (0..vips).fold(config, |config, number| {
        let key = vip(number);
        let names = members.of(number);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        config
            .vip(&format!("vip-{number}"), key.address, key.port, "tcp", &names)
            .vip_line(&format!("ring_size = {ring_size}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_vips_have_the_same_backends_unless_all_have() {
        let sets = |members: Members| {
            let sets = (0..VIPS).map(|vip| members.of(vip).into_iter().collect::<BTreeSet<_>>());
            sets.collect::<BTreeSet<_>>()
        };
        assert_eq!(sets(Members::Same).len(), 1);
        let others = sets(Members::Others);
        assert_eq!(others.len(), VIPS as usize);
        assert!(others.iter().all(|set| set.len() == BACKENDS_OF_A_VIP as usize));
    }
}
