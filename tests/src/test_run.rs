//! `BPF_PROG_TEST_RUN` many times over: one system call a packet, buffers that are used again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use anyhow::Result;
use aya::programs::Xdp;
use lb_common::abi::Trace;

const BPF_PROG_TEST_RUN: libc::c_int = 10;
const TRACE: usize = size_of::<Trace>();
/// A page: as much as a test run without fragments takes.
const BUFFER: usize = 4096;

/// The shortest frame that a test run takes.
pub const SHORTEST: usize = 14;
/// The longest: the page also holds 256 bytes of headroom, and 320 behind the frame.
pub const LONGEST: usize = BUFFER - 256 - 320;

/// A program and the buffers for its packets.
#[derive(Debug)]
pub struct TestRun {
    program: OwnedFd,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What came out of one run.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    /// `enum xdp_action`.
    pub action: u32,
    pub frame: &'a [u8],
}

impl TestRun {
    /// Keeps the program open by itself.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn new(program: &Xdp) -> Result<Self> {
        let program = program.fd()?.as_fd().try_clone_to_owned()?;
        Ok(Self { program, input: Vec::with_capacity(BUFFER), output: vec![0; BUFFER] })
    }

    /// Runs a frame as the driver would hand it over: counters move.
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn plain(&mut self, frame: &[u8]) -> io::Result<Ran<'_>> {
        let mut attributes = Attributes::new(frame, &mut self.output);
        let action = attributes.run(&self.program)?;
        Ok(Ran { action, frame: &self.output[..attributes.output_len as usize] })
    }

    /// Runs a frame behind a request for a trace: nothing moves, and the program says why.
    ///
    /// # Errors
    /// When the kernel refuses the run, or the program does not answer the request.
    pub fn traced(&mut self, frame: &[u8]) -> io::Result<(Ran<'_>, Trace)> {
        self.input.clear();
        self.input.extend(bytemuck::bytes_of(&Trace::REQUEST));
        self.input.extend(frame);
        let context = Context { data: TRACE as u32, data_end: self.input.len() as u32, ..Context::default() };
        let mut attributes = Attributes::new(&self.input, &mut self.output);
        attributes.context = &raw const context as u64;
        attributes.context_len = size_of::<Context>() as u32;
        let action = attributes.run(&self.program)?;
        let output = &self.output[..attributes.output_len as usize];
        let (trace, frame) = output
            .split_first_chunk::<TRACE>()
            .ok_or_else(|| io::Error::other("the test run returned no trace"))?;
        Ok((Ran { action, frame }, bytemuck::pod_read_unaligned(trace)))
    }
}

/// `struct xdp_md`: the metadata lies in front of the data. No interface: that of a run without a context.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// Hands a frame to a program so many times as a card's driver would, `batch` at a time: what it does with it is done.
///
/// # Errors
/// When the kernel refuses, as before Linux 5.18, or cannot do it.
pub(crate) fn live(program: &OwnedFd, frame: &[u8], repeat: u32, batch: u32) -> io::Result<()> {
    const LIVE_FRAMES: u32 = 1 << 1;
    let mut attributes = Attributes {
        input_len: frame.len() as u32,
        input: frame.as_ptr() as u64,
        repeat,
        batch,
        flags: LIVE_FRAMES,
        ..Attributes::default()
    };
    attributes.run(program).map(drop)
}

/// The part of `union bpf_attr` that `BPF_PROG_TEST_RUN` reads and writes.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    program: u32,
    action: u32,
    input_len: u32,
    output_len: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
    context_len: u32,
    context_out_len: u32,
    context: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}

impl Attributes {
    fn new(input: &[u8], output: &mut [u8]) -> Self {
        Self {
            input_len: input.len() as u32,
            output_len: output.len() as u32,
            input: input.as_ptr() as u64,
            output: output.as_mut_ptr() as u64,
            repeat: 1,
            ..Self::default()
        }
    }

    fn run(&mut self, program: &OwnedFd) -> io::Result<u32> {
        self.program = program.as_raw_fd().cast_unsigned();
        loop {
            // SAFETY: `self` is laid out as this command's part of `union bpf_attr`, and its pointers are those of buffers
            // that outlive the call, with their lengths.
            let result =
                unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut *self, size_of::<Self>()) };
            if result == 0 {
                return Ok(self.action);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}
