//! The story of checks through tunnels, on the host and in the kernel, with the same tables.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::{SchedClassifier, TestRunOptions, TestRunResult, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun};
use lb_common::abi::{PROBE_MAC, ProbeFlow, ProbeFlowKey, ProbeWay};
use lb_ebpf::{ProbeTables, is_answer, send_probe, take_answer};
use lb_user::dataplane::OBJECT;

use crate::host::HostFrame;

const MASK: u32 = 0xff;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_REDIRECT: u32 = 7;

/// What the story knows on the host.
#[derive(Clone, Debug, Default)]
pub struct HostProbes {
    pub ways: Vec<ProbeWay>,
    pub flows: RefCell<BTreeMap<ProbeFlowKey, ProbeFlow>>,
    pub now_ns: u64,
}

impl ProbeTables for HostProbes {
    fn way(&self, probe: &[u8; 16]) -> Option<&ProbeWay> {
        self.ways.iter().find(|way| way.probe == *probe)
    }

    fn flow(&self, key: &ProbeFlowKey) -> Option<ProbeFlow> {
        self.flows.borrow().get(key).copied()
    }

    fn remember(&self, key: &ProbeFlowKey, flow: &ProbeFlow, replace: bool) -> bool {
        let mut flows = self.flows.borrow_mut();
        if !replace && flows.contains_key(key) {
            return false;
        }
        flows.insert(*key, *flow);
        true
    }

    fn now_ns(&self) -> u64 {
        self.now_ns
    }
}

impl HostProbes {
    /// A check's packet on its way out; `None`: dropped.
    #[must_use]
    pub fn send(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut frame = HostFrame::new(frame);
        send_probe(&mut frame, self)?;
        Some(frame.bytes().to_vec())
    }

    /// Whether a packet is an answer.
    #[must_use]
    pub fn is_answer(&self, frame: &[u8]) -> bool {
        is_answer(&HostFrame::new(frame), self)
    }

    /// An answer as the socket gets it; `None`: dropped.
    #[must_use]
    pub fn take(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut frame = HostFrame::new(frame);
        take_answer(&mut frame, self)?;
        Some(frame.bytes().to_vec())
    }
}

/// The same in the kernel.
#[derive(Debug)]
pub struct KernelProbes {
    ebpf: Ebpf,
    flows: HashMap<MapData, [u8; 40], [u8; 32]>,
}

impl KernelProbes {
    /// # Errors
    /// When the kernel refuses.
    pub fn new(ways: &[ProbeWay]) -> Result<Self> {
        let mut ebpf = EbpfLoader::new()
            .override_global("PROBE_MASK", &MASK, true)
            .map_max_entries("PROBE_WAYS", MASK + 1)
            .map_max_entries("PROBE_FLOWS", 1024)
            .load(OBJECT)?;
        let map = ebpf.take_map("PROBE_WAYS").context("ways")?;
        let mut array: Array<_, [u8; 160]> = map.try_into()?;
        for way in ways {
            let [.., last] = way.probe;
            array.set(last.into(), bytemuck::cast::<_, [u8; 160]>(*way), 0)?;
        }
        let flows = ebpf.take_map("PROBE_FLOWS").context("flows")?.try_into()?;
        for name in ["probe_send", "probe_take"] {
            let program: &mut Xdp = ebpf.program_mut(name).context(name)?.try_into()?;
            program.load()?;
        }
        let program: &mut SchedClassifier = ebpf.program_mut("probe_find").context("find")?.try_into()?;
        program.load()?;
        Ok(Self { ebpf, flows })
    }

    /// See [`HostProbes::send`].
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn send(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        self.run("probe_send", frame, XDP_REDIRECT)
    }

    /// See [`HostProbes::take`].
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn take(&mut self, frame: &[u8]) -> Result<Option<Vec<u8>>> {
        self.run("probe_take", frame, XDP_PASS)
    }

    /// See [`HostProbes::is_answer`].
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn is_answer(&mut self, frame: &[u8]) -> Result<bool> {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut("probe_find").context("probe_find")?.try_into()?;
        let mut output = vec![0; frame.len()];
        let (action, len) = test_run(program, frame, &mut output)?;
        ensure!([TC_ACT_UNSPEC, TC_ACT_REDIRECT].contains(&action), "action {action}");
        let found = action == TC_ACT_REDIRECT;
        let mac = if found { &PROBE_MAC[..] } else { &frame[..6] };
        ensure!(output[..len] == [mac, &frame[6..]].concat(), "the packet was changed");
        Ok(found)
    }

    /// Lets all checks be older than they are.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn age(&mut self, by_ns: u64) -> Result<()> {
        let all: Vec<_> = self.flows.iter().collect::<Result<_, _>>()?;
        for (key, flow) in all {
            let mut flow: ProbeFlow = bytemuck::cast(flow);
            flow.sent_ns = flow.sent_ns.saturating_sub(by_ns);
            self.flows.insert(key, bytemuck::cast::<_, [u8; 32]>(flow), 0)?;
        }
        Ok(())
    }

    fn run(&mut self, name: &str, frame: &[u8], good: u32) -> Result<Option<Vec<u8>>> {
        let program: &mut Xdp = self.ebpf.program_mut(name).context("program")?.try_into()?;
        let mut output = vec![0; frame.len() + 128];
        let (action, len) = test_run(program, frame, &mut output)?;
        output.truncate(len);
        ensure!([good, XDP_DROP].contains(&action), "action {action}");
        Ok((action == good).then_some(output))
    }
}

fn test_run<P>(program: &P, frame: &[u8], output: &mut [u8]) -> Result<(u32, usize)>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(output);
    let result = program.test_run(options)?;
    Ok((result.return_value, result.data_size_out as usize))
}
