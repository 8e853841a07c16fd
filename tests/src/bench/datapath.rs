//! Nanoseconds a packet inside the program, by `BPF_PROG_TEST_RUN`.
//!
//! A wrapper program (lb-ebpf's `bench.rs`) makes each round's packet, calls its target by a tail call from a subprogram
//! and undoes what it did. A case's *net* cost is the wrapper around the balancer minus the same wrapper around an empty
//! `XDP_TX` program, taken in turns; the kernel's own duration counts. The balancer is loaded afresh several times, since
//! loads of one program differ by some percent.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, ProgramArray};
use aya::programs::{ProgramFd, TestRunOptions, Xdp};
use aya::{Ebpf, TestRun};
use lb_common::abi::{BenchConfig, BenchTarget};
use lb_user::dataplane::Dataplane;
use lb_user::state::Mode;
use serde::Serialize;

use crate::kernel::Kernel;
use crate::packets::{Kind, Packet};
use crate::world::World;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fresh loads of the balancer.
    pub loads: u32,
    /// Turns of each load; in each, every case and bound runs once.
    pub turns: u32,
    /// Packets a run.
    pub packets: u32,
}

/// One line of the result, in nanoseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub case: &'static str,
    pub net_ns: f64,
    /// 10th and 90th percentile of the single turns.
    pub low_ns: f64,
    pub high_ns: f64,
    /// Median with the wrapper and the kernel's loop.
    pub gross_ns: f64,
    /// What is expected of the development machine, where anything is.
    pub expected_ns: Option<f64>,
}

struct Case {
    name: &'static str,
    packet: Packet,
    flows: u32,
    target: BenchTarget,
    /// Bytes that a forwarded packet has more.
    grown: u32,
    forwards: bool,
    expected_ns: Option<f64>,
}

const V4: &str = "198.51.100.1:80/tcp";
const GUE4: &str = "198.51.100.4:80";
const GUE6: &str = "[2001:db8::4]:80";
const L2: &str = "198.51.100.5:80";

fn cases() -> Vec<Case> {
    let v4 = |kind| Packet::new(kind, "10.0.0.9:40000", "198.51.100.1:80");
    let case = |name, packet, flows, grown, expected_ns| Case {
        name,
        packet,
        flows,
        target: BenchTarget::Balancer,
        grown,
        forwards: true,
        expected_ns,
    };
    let passed =
        |name, packet, expected_ns| Case { forwards: false, ..case(name, packet, 1, 0, expected_ns) };
    let bare =
        Case { target: BenchTarget::Bare, ..case("bound: bare parse and encap", v4(Kind::Ack), 1, 20, None) };
    vec![
        bare,
        case("v4 TCP, one flow", v4(Kind::Ack), 1, 20, Some(30.0)),
        case("v4 TCP SYN", v4(Kind::Syn), 1, 20, None),
        case("v4 TCP, 1M flows", v4(Kind::Ack), 1 << 20, 20, None),
        case("v4 UDP", Packet::new(Kind::Udp, "10.0.0.9:40000", "198.51.100.1:53"), 1, 20, None),
        case(
            "v6 TCP in v6",
            Packet::new(Kind::Ack, "[2001:db8:9::9]:40000", "[2001:db8::1]:80"),
            1,
            40,
            None,
        ),
        case(
            "v6 TCP in v4",
            Packet::new(Kind::Ack, "[2001:db8:9::9]:40000", "[2001:db8::2]:80"),
            1,
            20,
            None,
        ),
        case("v4 TCP in v6", Packet::new(Kind::Ack, "10.0.0.9:40000", "198.51.100.3:80"), 1, 40, None),
        case("v4 TCP in v4, GUE", Packet::new(Kind::Ack, "10.0.0.9:40000", GUE4), 1, 28, None),
        case("v6 TCP in v6, GUE", Packet::new(Kind::Ack, "[2001:db8:9::9]:40000", GUE6), 1, 48, None),
        case("v4 TCP, L2 DSR", Packet::new(Kind::Ack, "10.0.0.9:40000", L2), 1, 0, None),
        passed("not for a vip", Packet::new(Kind::Ack, "10.0.0.9:40000", "192.0.2.77:80"), Some(10.0)),
        passed("a vip's other port", Packet::new(Kind::Ack, "10.0.0.9:40000", "198.51.100.1:81"), None),
    ]
}

fn world() -> World {
    let v4: Vec<String> = (1..=100).map(|n| format!("10.1.0.{n}")).collect();
    let v6: Vec<String> = (1..=100).map(|n| format!("2001:db8:b::{n}")).collect();
    let v4: Vec<&str> = v4.iter().map(String::as_str).collect();
    let v6: Vec<&str> = v6.iter().map(String::as_str).collect();
    let mut world = World::default()
        .vip(V4, &v4)
        .vip("198.51.100.1:53/udp", &v4)
        .vip("198.51.100.3:80/tcp", &v6)
        .vip("[2001:db8::1]:80/tcp", &v6)
        .vip("[2001:db8::2]:80/tcp", &v4);
    for (vip, backends, mode) in [(GUE4, &v4, Mode::Gue), (GUE6, &v6, Mode::Gue), (L2, &v4, Mode::L2)] {
        let key = format!("{vip}/tcp");
        world = world.vip(&key, backends).with(&key, |vip| {
            vip.members.values_mut().for_each(|member| member.mode = mode);
        });
    }
    world.desired.vips.values_mut().for_each(|vip| vip.ring_size = 65_537);
    world
}

/// Measures all cases. `object` is the wrapper's object file.
///
/// # Errors
/// When the kernel refuses a program, or a case does not do what it should.
pub fn measure(object: &Path, effort: Effort) -> Result<Vec<Measured>> {
    let cases = cases();
    let mut net: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut gross = net.clone();
    let mut floor = Vec::new();
    for _ in 0..effort.loads {
        let mut bench = Bench::load(object)?;
        for case in &cases {
            bench.check(case)?;
        }
        for _ in 0..effort.turns {
            for (index, case) in cases.iter().enumerate() {
                // The empty target sees the same packet and the same flows.
                let empty = bench.run(case, BenchTarget::Empty, effort.packets)?;
                let full = bench.run(case, case.target, effort.packets)?;
                net[index].push(full - empty);
                gross[index].push(full);
                if index == 0 {
                    floor.push(empty);
                }
            }
        }
    }
    let bound = summary("bound: empty XDP_TX (the wrapper alone)", &mut [0.0], &mut floor, None);
    let lines = cases
        .iter()
        .zip(net.iter_mut().zip(&mut gross))
        .map(|(case, (net, gross))| summary(case.name, net, gross, case.expected_ns));
    Ok(std::iter::once(bound).chain(lines).collect())
}

fn summary(case: &'static str, net: &mut [f64], gross: &mut [f64], expected_ns: Option<f64>) -> Measured {
    let at = |values: &[f64], part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
    net.sort_by(f64::total_cmp);
    gross.sort_by(f64::total_cmp);
    Measured {
        case,
        net_ns: at(net, 0.5),
        low_ns: at(net, 0.1),
        high_ns: at(net, 0.9),
        gross_ns: at(gross, 0.5),
        expected_ns,
    }
}

/// One load of the balancer and of the wrapper around it.
struct Bench {
    kernel: Kernel,
    ebpf: Ebpf,
    config: Array<aya::maps::MapData, Wire>,
    /// Keeps the targets alive.
    _targets: ProgramArray<aya::maps::MapData>,
}

/// [`BenchConfig`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Wire(BenchConfig);

// SAFETY: `BenchConfig` is plain old data, and the wrapper is transparent.
unsafe impl aya::Pod for Wire {}

impl Bench {
    fn load(object: &Path) -> Result<Self> {
        let kernel = Kernel::open(&world().forwarding())?;
        let mut ebpf = Ebpf::load_file(object)
            .with_context(|| format!("{}: run this through `cargo xtask bench`", object.display()))?;
        for name in ["bench", "empty", "bare"] {
            program(&mut ebpf, name)?.load()?;
        }
        let mut targets = ProgramArray::try_from(ebpf.take_map("TARGETS").context("TARGETS")?)?;
        targets.set(BenchTarget::Empty as u32, fd(program(&mut ebpf, "empty")?)?, 0)?;
        targets.set(BenchTarget::Bare as u32, fd(program(&mut ebpf, "bare")?)?, 0)?;
        targets.set(BenchTarget::Balancer as u32, fd(kernel.program())?, 0)?;
        let config = Array::try_from(ebpf.take_map("BENCH").context("BENCH")?)?;
        Ok(Self { kernel, ebpf, config, _targets: targets })
    }

    /// Nanoseconds a packet, all in all.
    fn run(&mut self, case: &Case, target: BenchTarget, packets: u32) -> Result<f64> {
        let frame = Packet { ttl: BenchConfig::TTL, payload: vec![0; 6], ..case.packet.clone() }.frame();
        let is_v6 = case.packet.destination.is_ipv6();
        let checksum = if is_v6 { 0 } else { u32::from(u16::from_ne_bytes([frame[24], frame[25]])) };
        let config = BenchConfig {
            target: target as u32,
            flow_mask: case.flows - 1,
            grown: if target == BenchTarget::Empty { 0 } else { case.grown },
            is_v6: u32::from(is_v6),
            checksum,
            reserved: 0,
        };
        self.config.set(0, Wire(config), 0)?;
        let mut output = vec![0; frame.len() + 64];
        let mut options = TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut output);
        options.repeat = packets;
        let result = program(&mut self.ebpf, "bench")?.test_run(options)?;
        ensure!(result.return_value != 0, "{}: a run was aborted", case.name);
        // The kernel's duration is that of one round, cut to whole nanoseconds.
        Ok(result.duration.as_nanos() as f64)
    }

    /// A case must do what its name says: forward every packet, or none.
    fn check(&mut self, case: &Case) -> Result<()> {
        if case.target != BenchTarget::Balancer {
            return Ok(());
        }
        const PACKETS: u32 = 1000;
        let counted = |bench: &mut Self| -> Result<u64> {
            let totals = bench.kernel.dataplane()?.counters()?;
            Ok(totals.dests.values().map(|counters| counters.packets).sum())
        };
        let before = counted(self)?;
        self.run(case, case.target, PACKETS)?;
        let forwarded = counted(self)? - before;
        let expected = if case.forwards { u64::from(PACKETS) } else { 0 };
        ensure!(forwarded == expected, "{}: {forwarded} of {PACKETS} packets were forwarded", case.name);
        Ok(())
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

fn fd(program: &Xdp) -> Result<&ProgramFd> {
    Ok(program.fd()?)
}
