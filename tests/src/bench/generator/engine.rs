//! The benchmark's programs and maps in the kernel.

use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Array, DevMap, MapData, PerCpuArray, PerCpuValues};
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::xdp::XdpLinkId;
use aya::programs::{RawTracePoint, Xdp, XdpMode};
use aya::{Ebpf, TestRun};
use lb_common::abi::{
    Arrived, Departed, LATENCY_BUCKETS, Made, Offer, SINK_BACKENDS, SPANS, STREAMS, Span, StreamOrder,
    StreamSeen,
};

use super::counts::{Counts, Latencies};
use super::exit::{Exit, Place};

/// The benchmark's own programs for interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Counts and drops: all that arrives is the generator's.
    Sink,
    /// Counts and drops what is the generator's, and nothing else.
    Collect,
    /// Does nothing.
    Pass,
    /// Sends every packet back as it came.
    Reflect,
    /// Encapsulates IPv4 TCP without looking anything up, and sends it back.
    Bare,
}

impl Builtin {
    const fn program(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Collect => "collect",
            Self::Pass => "pass",
            Self::Reflect => "empty",
            Self::Bare => "bare",
        }
    }
}

/// A value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Wire<T>(T);

// SAFETY: the type inside is plain old data, and the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Wire<T> {}

pub(super) struct Engine {
    ebpf: Ebpf,
    offer: Array<MapData, Wire<Offer>>,
    spans: Array<MapData, Wire<Span>>,
    client: DevMap<MapData>,
    made: PerCpuArray<MapData, Wire<Made>>,
    arrived: PerCpuArray<MapData, Wire<Arrived>>,
    broken: PerCpuArray<MapData, u64>,
    orders: Array<MapData, Wire<StreamOrder>>,
    seen: PerCpuArray<MapData, Wire<StreamSeen>>,
    departed: PerCpuArray<MapData, Wire<Departed>>,
    latencies: PerCpuArray<MapData, u64>,
    cpus: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

impl Engine {
    /// `object` is the object file.
    pub(super) fn load(object: &Path) -> Result<Self> {
        let mut ebpf =
            Ebpf::load_file(object).with_context(|| format!("{} cannot be loaded", object.display()))?;
        for name in ["generate", "sink", "empty", "bare"] {
            program(&mut ebpf, name)?.load()?;
        }
        let mut map =
            |name: &str| ebpf.take_map(name).with_context(|| format!("the object has no map {name}"));
        Ok(Self {
            offer: map("OFFER")?.try_into()?,
            spans: map("SPANS")?.try_into()?,
            client: map("CLIENT")?.try_into()?,
            made: map("MADE")?.try_into()?,
            arrived: map("ARRIVED")?.try_into()?,
            broken: map("BROKEN")?.try_into()?,
            orders: map("STREAMS")?.try_into()?,
            seen: map("SEEN")?.try_into()?,
            departed: map("DEPARTED")?.try_into()?,
            latencies: map("LATENCIES")?.try_into()?,
            cpus: aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?,
            ebpf,
        })
    }

    /// Until the link is given back to [`Self::detach`], the engine ends, or the interface does.
    pub(super) fn attach(
        &mut self,
        place: &Place,
        which: Builtin,
        ifindex: u32,
        mode: XdpMode,
    ) -> Result<XdpLinkId> {
        let program = program(&mut self.ebpf, which.program())?;
        // Those for real interfaces are not loaded where there are none.
        if program.fd().is_err() {
            program.load()?;
        }
        place.inside(|| Ok(program.attach_to_if_index(ifindex, mode)?))
    }

    pub(super) fn detach(&mut self, which: Builtin, link: XdpLinkId) -> Result<()> {
        Ok(program(&mut self.ebpf, which.program())?.detach(link)?)
    }

    /// Has [`Self::departed`] count what drivers take of live frames.
    pub(super) fn watch_departures(&mut self) -> Result<RawTracePointLinkId> {
        let program = self.departures()?;
        program.load()?;
        program.attach("xdp_devmap_xmit").context("the kernel's tracepoint xdp_devmap_xmit")
    }

    pub(super) fn forget_departures(&mut self, link: RawTracePointLinkId) -> Result<()> {
        Ok(self.departures()?.detach(link)?)
    }

    fn departures(&mut self) -> Result<&mut RawTracePoint> {
        Ok(self.ebpf.program_mut("departed").context("the object has no program departed")?.try_into()?)
    }

    /// The program that makes packets.
    pub(super) fn generator(&self) -> Result<&Xdp> {
        Ok(self.ebpf.program("generate").context("the object has no program generate")?.try_into()?)
    }

    /// Whether this kernel makes live frames. One goes nowhere: no client is set.
    pub(super) fn has_live_frames(&self) -> bool {
        self.generator().is_ok_and(|generator| live(generator, &[0; 60], 1, 1).is_ok())
    }

    /// A packet that the program makes in the kernel without sending it.
    pub(super) fn sample(&self, len: usize) -> Result<Vec<u8>> {
        let mut output = vec![0; len];
        let frame = vec![0; len];
        let mut options = aya::programs::TestRunOptions::new();
        options.data_in = Some(&frame);
        options.data_out = Some(&mut output);
        let result = self.generator()?.test_run(options)?;
        output.truncate(result.data_size_out as usize);
        Ok(output)
    }

    /// Says what will be made, and counts from zero.
    pub(super) fn prepare(&mut self, offer: Offer, spans: &[Span]) -> Result<()> {
        self.offer.set(0, Wire(offer), 0)?;
        for (index, span) in (0..SPANS as u32).zip(spans) {
            self.spans.set(index, Wire(*span), 0)?;
        }
        let cpus = self.cpus;
        self.made.set(0, everywhere(Wire(Made::default()), cpus)?, 0)?;
        self.departed.set(0, everywhere(Wire(Departed::default()), cpus)?, 0)?;
        self.broken.set(0, everywhere(0, cpus)?, 0)?;
        for backend in 0..SINK_BACKENDS {
            self.arrived.set(backend, everywhere(Wire(Arrived::default()), cpus)?, 0)?;
        }
        for stream in 0..STREAMS {
            self.orders.set(stream, Wire(StreamOrder::default()), 0)?;
            self.seen.set(stream, everywhere(Wire(StreamSeen::default()), cpus)?, 0)?;
        }
        for bucket in 0..if offer.is_timed == 0 { 0 } else { LATENCY_BUCKETS } {
            self.latencies.set(bucket, everywhere(0, cpus)?, 0)?;
        }
        Ok(())
    }

    /// Where packets will leave.
    pub(super) fn aim(&mut self, exit: &Exit) -> Result<()> {
        let client = &mut self.client;
        exit.place.inside(|| Ok(client.set(0, exit.ifindex, None, 0)?))
    }

    /// What each core has made.
    pub(super) fn made(&self) -> Result<Vec<Made>> {
        Ok(self.made.get(&0, 0)?.iter().map(|made| made.0).collect())
    }

    /// Packets that have arrived.
    pub(super) fn arrived_packets(&self) -> Result<u64> {
        let mut packets = self.broken.get(&0, 0)?.iter().sum();
        for backend in 0..SINK_BACKENDS {
            packets += self.arrived.get(&backend, 0)?.iter().map(|arrived| arrived.0.packets).sum::<u64>();
        }
        Ok(packets)
    }

    /// What drivers have done with what was made.
    pub(super) fn departed(&self) -> Result<Departed> {
        let mut all = Departed::default();
        for Wire(core) in self.departed.get(&0, 0)?.iter() {
            all.taken += core.taken;
            all.refused += core.refused;
        }
        Ok(all)
    }

    /// All that [`Builtin::Sink`] has counted.
    pub(super) fn counts(&self) -> Result<Counts> {
        let mut counts = self.arrivals()?;
        for stream in 0..STREAMS {
            let Wire(order) = self.orders.get(&stream, 0)?;
            counts.skipped += order.skipped;
            counts.late += order.late;
        }
        Ok(counts)
    }

    /// All that [`Builtin::Collect`] has counted. Skipped are the numbers up to the highest of each stream that no core has seen.
    pub(super) fn collected(&self) -> Result<Counts> {
        let mut counts = self.arrivals()?;
        for stream in 0..STREAMS {
            let (mut next, mut packets) = (0, 0);
            for Wire(core) in self.seen.get(&stream, 0)?.iter() {
                next = core.next.max(next);
                packets += core.packets;
                counts.late += core.late;
            }
            counts.skipped += next.saturating_sub(packets);
        }
        Ok(counts)
    }

    /// How much has arrived for whom, and how late.
    fn arrivals(&self) -> Result<Counts> {
        let mut counts = Counts { broken: self.broken.get(&0, 0)?.iter().sum(), ..Counts::default() };
        for backend in 0..SINK_BACKENDS {
            let mut all = Arrived::default();
            for Wire(arrived) in self.arrived.get(&backend, 0)?.iter() {
                all.packets += arrived.packets;
                all.bytes += arrived.bytes;
            }
            if all.packets > 0 {
                counts.arrived.insert(u8::try_from(backend)?, all);
            }
        }
        if self.offer.get(&0, 0)?.0.is_timed != 0 {
            let bucket = |bucket| Ok(self.latencies.get(&bucket, 0)?.iter().sum());
            counts.latencies = Latencies((0..LATENCY_BUCKETS).map(bucket).collect::<Result<_>>()?);
        }
        Ok(counts)
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

fn everywhere<T: aya::Pod>(value: T, cpus: usize) -> Result<PerCpuValues<T>> {
    Ok(PerCpuValues::try_from(vec![value; cpus])?)
}

/// Runs the generator on frames that begin like `frame`, until so many were made or a signal arrives.
pub(super) fn live(generator: &Xdp, frame: &[u8], batch: u32, packets: u32) -> Result<()> {
    let mut options = aya::programs::TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = packets;
    options.attrs = options.attrs.xdp_live_frames(batch);
    match generator.test_run(options) {
        Ok(_) => Ok(()),
        Err(aya::programs::ProgramError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::Interrupted =>
        {
            Ok(())
        }
        Err(error) => Err(error).context("live frames of BPF_PROG_TEST_RUN, which Linux 5.18 and later have"),
    }
}
