//! The real daemon, with many vips: how long its start takes, and what it takes of memory.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{BACKENDS_OF_A_VIP, LARGE_RING, Plan, SMALL_RING, backend, memory, milliseconds, vip};
use crate::bench::report::{Better, Cell, Column, Figure, Sink};
use crate::lab::{Daemon, DaemonConfig, Lab, Namespace, run, wait_until};

const VIPS: u32 = 512;
const FLOWS: u32 = 1 << 20;
/// Of the daemon and the kernel's tables, in megabytes.
const ENOUGH: f64 = 100.0;
const MEGABYTE: f64 = 1e6;

pub(super) fn starts(plan: Plan, sink: &mut Sink) -> Result<()> {
    let columns =
        [Column::wide("vips", 16), "until the API answers".into(), "until all rings are there".into()];
    sink.table("A start", columns)?;
    for vips in plan.vips {
        let (mut answers, mut complete) = (Vec::new(), Vec::new());
        for _ in 0..plan.starts {
            let started = Started::with(*vips, SMALL_RING)?;
            answers.push(started.answers_ms);
            complete.push(started.complete_ms);
        }
        let cells = [answers, complete].map(|times| Figure::of(&times, "ms", Better::Lower).into());
        sink.row(&vips.to_string(), cells)?;
    }
    Ok(())
}

pub(super) fn memory(sink: &mut Sink) -> Result<()> {
    let started = Started::with(VIPS, LARGE_RING)?;
    // What a start needs for a moment is given back by then.
    std::thread::sleep(Duration::from_secs(1));
    let process = memory::of_process(started.daemon.pid())?;
    let tables = memory::of_tables(&started.daemon.pins())?;
    let all_tables: u64 = tables.iter().map(|table| table.bytes).sum();
    let megabytes = |bytes: u64| Figure::counted(bytes as f64 / MEGABYTE, "MB", Better::Lower);
    let columns = [Column::wide("of what", 40), "memory".into()];
    sink.table(&format!("Memory: {VIPS} vips, {LARGE_RING} slots each, room for {FLOWS} flows"), columns)?;
    let all = process.own + all_tables;
    sink.row("all", [megabytes(all).expecting(ENOUGH).into()])?;
    sink.row("the kernel's tables", [megabytes(all_tables).into()])?;
    // What is there is much larger than the rest.
    for table in tables.iter().filter(|table| table.bytes > all_tables / 100) {
        sink.row(&format!("  {}", table.name), [Cell::number(table.bytes as f64 / MEGABYTE, "MB")])?;
    }
    sink.row("the daemon", [megabytes(process.own).into()])?;
    sink.row("  its heap and stacks", [Cell::number(process.anonymous as f64 / MEGABYTE, "MB")])?;
    sink.row(
        "its resident pages, mapped tables included",
        [Cell::number(process.resident as f64 / MEGABYTE, "MB")],
    )
}

/// A daemon that runs. The lab comes last, so that it is dropped last.
struct Started {
    daemon: Daemon,
    answers_ms: f64,
    complete_ms: f64,
    _lab: Lab,
}

impl Started {
    fn with(vips: u32, ring_size: u32) -> Result<Self> {
        let lab = Lab::new()?;
        let namespace = lab.namespace("lb")?;
        namespace.ip(&links())?;
        let config = config(vips, ring_size);
        let names: Vec<String> = (1..=BACKENDS_OF_A_VIP).map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
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
fn links() -> String {
    let head = "link add eth0 type veth peer name peer0\nlink set eth0 up\nlink set peer0 up\naddr add 10.1.255.1/16 dev eth0\n";
    let neighbour =
        |number| format!("neigh add {} lladdr 02:00:00:00:00:99 dev eth0 nud permanent\n", backend(number));
    head.to_owned() + &(1..=BACKENDS_OF_A_VIP).map(neighbour).collect::<String>()
}

fn has_program(namespace: &Namespace) -> Result<bool> {
    let mut command = namespace.command("ip")?;
    command.args(["-details", "link", "show", "eth0"]);
    Ok(run(&mut command)?.contains("prog/xdp"))
}

fn name(number: u32) -> String {
    format!("web-{number}")
}

fn config(vips: u32, ring_size: u32) -> DaemonConfig {
    // Each twice, and the largest once more; rounded up to pages.
    let rings = u64::from(vips + 1) * 2 * u64::from(ring_size * 2).next_multiple_of(2048);
    let dests = (u64::from(vips + 1) * 32).next_power_of_two();
    let config = DaemonConfig::default()
        .general_line(&format!("\n[limits]\nring_memory = {rings}\ndests = {dests}\nflows = {FLOWS}"));
    let config =
        (1..=BACKENDS_OF_A_VIP).fold(config, |config, number| config.backend(&name(number), backend(number)));
    let names: Vec<String> = (1..=BACKENDS_OF_A_VIP).map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    (0..vips).fold(config, |config, number| {
        let key = vip(number);
        config
            .vip(&format!("vip-{number}"), key.address, key.port, "tcp", &names)
            .vip_line(&format!("ring_size = {ring_size}"))
    })
}
