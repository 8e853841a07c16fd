//! The same packets by `AF_PACKET`, several in a system call, past the queueing discipline: for kernels, and for
//! real interfaces, without live frames.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use lb_common::abi::{Offer, Span};
use lb_ebpf::offered::{self, Turn};
use nix::time::{ClockId, clock_gettime};

use super::cores::on_cores;
use super::counts::Made;
use super::exit::Exit;
use super::make::{Order, Total, Watch};
use crate::host::HostFrame;
use crate::lab::{Namespace, frame_socket_here};

/// Packets in a system call.
const BATCH: usize = 64;

/// Sends from each core, and says what was sent. Streams are numbered by cores, as the kernel's are.
pub(super) fn make(exit: &Exit, order: &Order<'_>, watch: Watch<'_>) -> Result<Vec<Made>> {
    let Order { offer, spans, cores, extent } = *order;
    let (packets, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let total =
        || Ok(Total { packets: packets.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) });
    let made = on_cores(&exit.place, cores, extent, &mut || watch(&total), |core, end| {
        let mut stream = Stream::new(offer, spans, u16::try_from(core)?);
        let sender = Sender::open_here(&exit.interface)?;
        while stream.made.packets < offer.limit && !end.load(Ordering::Relaxed) {
            let before = stream.made;
            let left = usize::try_from(offer.limit - before.packets).unwrap_or(BATCH);
            let sent = sender.send_until(end, stream.next(BATCH.min(left))?)?;
            stream.take_back((stream.made.packets - before.packets) as usize, sent);
            packets.fetch_add(stream.made.packets - before.packets, Ordering::Relaxed);
            bytes.fetch_add(stream.made.bytes - before.bytes, Ordering::Relaxed);
        }
        Ok(stream.made)
    })?;
    Ok(made.into_iter().map(|(made, lasted)| Made { clocked: made.packets, lasted, ..made }).collect())
}

/// A socket that sends frames out of an interface.
#[derive(Debug)]
pub struct Sender(UdpSocket);

impl Sender {
    /// # Errors
    /// When the namespace or the interface is gone, or the kernel refuses.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.inside(|| Self::open_here(interface))
    }

    /// Where the calling thread is.
    fn open_here(interface: &str) -> Result<Self> {
        /// Of no protocol: nothing is received.
        const NONE: u16 = 0;
        let socket = frame_socket_here(interface, NONE)?;
        let on: libc::c_int = 1;
        // SAFETY: the value outlives the call and is passed with its own length.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error()).context("PACKET_QDISC_BYPASS");
        }
        Ok(Self(socket))
    }

    /// Sends all of them; waits while the interface takes no more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send<'a>(&self, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        self.send_until(&AtomicBool::new(false), frames).map(drop)
    }

    /// Sends all of them, or as many as the interface takes until it is time to end, and says how many that were.
    fn send_until<'a>(&self, end: &AtomicBool, frames: impl IntoIterator<Item = &'a [u8]>) -> Result<usize> {
        let mut pieces: Vec<libc::iovec> = frames
            .into_iter()
            // The kernel only reads.
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = pieces.iter_mut().map(message).collect();
        let mut sent = 0;
        while sent < messages.len() {
            let rest = &mut messages[sent..];
            // SAFETY: every message points to one piece, and every piece to a frame; all outlive the call.
            let result = unsafe {
                libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            match usize::try_from(result) {
                Ok(count) => sent += count,
                Err(_) => {
                    let error = std::io::Error::last_os_error();
                    match error.raw_os_error() {
                        // For as long as it has no carrier, too.
                        _ if end.load(Ordering::Relaxed) => break,
                        Some(libc::EINTR | libc::ENOBUFS | libc::EAGAIN) => std::thread::yield_now(),
                        _ => return Err(error).context("cannot send frames"),
                    }
                }
            }
        }
        Ok(sent)
    }
}

fn message(piece: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: zeros are a message without anything.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = piece;
    message.msg_hdr.msg_iovlen = 1;
    message
}

/// The packets of one core.
#[derive(Debug)]
pub struct Stream<'a> {
    offer: &'a Offer,
    spans: &'a [Span],
    number: u16,
    due_ns: u64,
    frames: Vec<HostFrame>,
    lens: Vec<usize>,
    pub(super) made: Made,
}

impl<'a> Stream<'a> {
    #[must_use]
    pub fn new(offer: &'a Offer, spans: &'a [Span], number: u16) -> Self {
        let frames = vec![HostFrame::new(&vec![0; offer.longest as usize]); BATCH];
        let made = Made { core: number.into(), ..Made::default() };
        Self { offer, spans, number, due_ns: 0, frames, lens: vec![0; BATCH], made }
    }

    /// The next packets: at most so many, and at most 64; of a slow offer one, when it is due.
    ///
    /// # Errors
    /// When the offer's frames are too short.
    pub fn next(&mut self, count: usize) -> Result<impl Iterator<Item = &[u8]>> {
        let count = if self.offer.interval_ns > 0 { 1 } else { count.min(BATCH) };
        for at in 0..count {
            let time_ns = self.wait();
            let len = self.offer.lens[(self.made.packets % u64::from(self.offer.len_count)) as usize];
            let turn = Turn { sequence: self.made.packets as u32, stream: self.number, time_ns, len };
            let pick = turn.pick();
            let flow = match self.spans.get(offered::span_of(pick) as usize) {
                Some(span) => offered::flow_in(span, pick),
                None => offered::flow_of(self.offer.flows, pick),
            };
            offered::write(&mut self.frames[at], self.offer, &turn, flow).context("frames are too short")?;
            self.lens[at] = len.into();
            self.made.packets += 1;
            self.made.bytes += u64::from(len);
        }
        Ok(self.frames.iter().zip(&self.lens).take(count).map(|(frame, len)| &frame.bytes()[..*len]))
    }

    /// Of the last packets, of which there were `count`, only `sent` have left.
    fn take_back(&mut self, count: usize, sent: usize) {
        for len in &self.lens[sent..count] {
            self.made.packets -= 1;
            self.made.bytes -= *len as u64;
        }
    }

    /// Until the next packet is due. Returns the time.
    fn wait(&mut self) -> u64 {
        let mut now = now_ns();
        if self.offer.interval_ns > 0 {
            let due = if self.due_ns == 0 { now } else { self.due_ns };
            while now < due {
                std::hint::spin_loop();
                now = now_ns();
            }
            self.due_ns = due + self.offer.interval_ns;
        }
        now
    }
}

/// On the clock of `bpf_ktime_get_ns`.
fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}
