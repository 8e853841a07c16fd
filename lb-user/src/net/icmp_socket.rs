//! Raw sockets that hear which packets were too large for a link on their way: copies of what the kernel gets. All in the
//! network namespace of the calling thread.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// `ICMP_FILTER` and `ICMP6_FILTER`: types whose bit is set are not received.
const FILTER: libc::c_int = 1;
const UNREACHABLE: u32 = 3;
const V6_TOO_BIG: u32 = 2;

/// Hears of IPv4 packets with their headers, or of ICMPv6 messages without.
#[derive(Debug)]
pub(super) struct IcmpReceiver(AsyncFd<OwnedFd>);

impl IcmpReceiver {
    /// Hears "destination unreachable", which "fragmentation needed" is one of. Call it inside a tokio runtime.
    pub(super) fn v4() -> io::Result<Self> {
        Self::open(libc::AF_INET, libc::IPPROTO_ICMP, libc::SOL_RAW, &[!(1 << UNREACHABLE)])
    }

    /// Hears "packet too big". Call it inside a tokio runtime.
    pub(super) fn v6() -> io::Result<Self> {
        let mut blocked = [u32::MAX; 8];
        blocked[0] = !(1 << V6_TOO_BIG);
        Self::open(libc::AF_INET6, libc::IPPROTO_ICMPV6, libc::IPPROTO_ICMPV6, &blocked)
    }

    fn open(
        family: libc::c_int,
        protocol: libc::c_int,
        level: libc::c_int,
        blocked: &[u32],
    ) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(family, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let len = size_of_val(blocked) as libc::socklen_t;
        // SAFETY: the words outlive the call and are passed with their own length.
        if unsafe { libc::setsockopt(fd, level, FILTER, blocked.as_ptr().cast(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the value owns the descriptor and keeps it open for as long as it is registered.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// The next one, cut to the buffer's size. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let received = ready.try_io(|socket| {
                // SAFETY: the buffer outlives the call, which writes no more than its length.
                let len =
                    unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
                if len < 0 { Err(io::Error::last_os_error()) } else { Ok(len.cast_unsigned()) }
            });
            if let Ok(received) = received {
                return received;
            }
        }
    }
}
