//! One packet through the attached program, by `BPF_PROG_TEST_RUN`, with a request for a trace in front of it.

use std::net::IpAddr;

use aya::TestRun;
use aya::programs::{TestRunOptions, Xdp};
use lb_common::abi::Trace;

use super::{DataplaneError, Flow};
use crate::state::Protocol;

const ETHERNET: usize = 14;
const TRACE: usize = size_of::<Trace>();
/// Bytes of payload behind the ports: none is looked at.
const TCP: usize = 20;
const UDP: usize = 8;

/// What the program answered.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    pub(super) trace: Trace,
    /// The frame as the program left it.
    pub(super) frame: Vec<u8>,
}

/// Runs a packet of `flow` that comes in on `ingress`.
pub(super) fn run(program: &Xdp, flow: &Flow, ingress: u32) -> Result<Traced, DataplaneError> {
    let frame = frame(flow)?;
    let input = [bytemuck::bytes_of(&Trace::REQUEST), &frame].concat();
    let mut output = vec![0; input.len() + lb_common::abi::HEAD_LEN];
    let context = Context::new(input.len(), ingress);
    let mut options = TestRunOptions::new();
    options.data_in = Some(&input);
    options.data_out = Some(&mut output);
    options.ctx_in = Some(bytemuck::bytes_of(&context));
    let result = program.test_run(options).map_err(|error| DataplaneError::other("test run", error))?;
    output.truncate(result.data_size_out as usize);
    let (trace, frame) = output
        .split_first_chunk::<TRACE>()
        .ok_or_else(|| DataplaneError::other("test run", "returned no trace"))?;
    Ok(Traced { trace: bytemuck::pod_read_unaligned(trace), frame: frame.to_vec() })
}

/// `struct xdp_md`, as a test run takes it: the metadata lies in front of the data.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

impl Context {
    const fn new(len: usize, ingress_ifindex: u32) -> Self {
        Self {
            data: TRACE as u32,
            data_end: len as u32,
            data_meta: 0,
            ingress_ifindex,
            rx_queue_index: 0,
            egress_ifindex: 0,
        }
    }
}

/// A minimal frame of the flow: for TCP, an ACK.
fn frame(flow: &Flow) -> Result<Vec<u8>, DataplaneError> {
    let mut layer4 = Vec::new();
    layer4.extend(flow.source.port().to_be_bytes());
    layer4.extend(flow.destination.port().to_be_bytes());
    match flow.protocol {
        Protocol::Tcp => {
            layer4.resize(TCP, 0);
            layer4[12] = 0x50;
            layer4[13] = lb_common::headers::TcpStart::ACK;
        }
        Protocol::Udp => {
            layer4.resize(UDP, 0);
            layer4[5] = UDP as u8;
        }
    }
    let mut frame = vec![0; ETHERNET];
    match (flow.source.ip(), flow.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame[12..].copy_from_slice(&0x0800u16.to_be_bytes());
            let len = 20 + layer4.len() as u16;
            frame.extend([0x45, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, flow.protocol.number(), 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame[12..].copy_from_slice(&0x86ddu16.to_be_bytes());
            frame.extend([0x60, 0, 0, 0]);
            frame.extend((layer4.len() as u16).to_be_bytes());
            frame.extend([flow.protocol.number(), 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (source, destination) => {
            let what = format!("{source} and {destination} are of different address families");
            return Err(DataplaneError::Other(what));
        }
    }
    frame.extend(layer4);
    Ok(frame)
}
