//! Packet sockets and Ethernet groups: the only place here that talks to the kernel by hand. All of it in the network
//! namespace of the calling thread, on interfaces of any kind that carries Ethernet: for a VLAN interface the kernel adds
//! and takes the tag.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::plan::Port;
use crate::net::link;
use crate::state::MacAddress;

/// Frames of this protocol are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    Arp,
    /// Neighbour solicitations and advertisements.
    NeighbourDiscovery,
}

/// Sends whole frames on any interface.
#[derive(Debug)]
pub(crate) struct FrameSender(OwnedFd);

impl FrameSender {
    pub(crate) fn open() -> io::Result<Self> {
        // Protocol 0: nothing is received.
        packet_socket(0).map(Self)
    }

    pub(crate) fn send(&self, port: Port, frame: &[u8]) -> io::Result<()> {
        let address = link_address(0, port.ifindex);
        // SAFETY: `frame` and `address` outlive the call and are passed with their own lengths.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                SOCKADDR_LEN,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Hears the frames of one protocol that arrive on one interface.
#[derive(Debug)]
pub(super) struct FrameReceiver(AsyncFd<OwnedFd>);

impl FrameReceiver {
    /// Call it inside a tokio runtime.
    pub(super) fn open(port: Port, family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::Arp => libc::ETH_P_ARP,
            Family::NeighbourDiscovery => libc::ETH_P_IPV6,
        };
        // Without a protocol until the filter is there: nothing else gets in.
        let socket = packet_socket(0)?;
        if family == Family::NeighbourDiscovery {
            attach_filter(&socket, &NEIGHBOUR_DISCOVERY)?;
        }
        let address = link_address(protocol as u16, port.ifindex);
        // SAFETY: `address` outlives the call and is passed with its own length.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), SOCKADDR_LEN) };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the value owns the descriptor and keeps it open for as long as it is registered.
        Ok(Self(unsafe { AsyncFd::register(socket) }?))
    }

    /// The next frame that is for this host, or for all; cut to the buffer's size. Cancel safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref(), buffer)) {
                Ok(Ok(Some(len))) => return Ok(len),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// `None` for frames that this host sends, or that are for a VLAN which it does not have.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let mut address = link_address(0, 0);
    let mut address_len = SOCKADDR_LEN;
    // SAFETY: buffer and address outlive the call, which writes no more than the lengths that it is given.
    let len = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut address).cast(),
            &raw mut address_len,
        )
    };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let for_us = !matches!(address.sll_pkttype, libc::PACKET_OUTGOING | libc::PACKET_OTHERHOST);
    Ok(for_us.then_some(len.cast_unsigned()))
}

/// Makes an interface accept frames for an Ethernet group, or not any more. It lasts beyond this process, as `ip maddr
/// add` does; doing it twice does no harm.
pub(super) fn set_group(interface: &str, group: MacAddress, member: bool) -> io::Result<()> {
    let mut request = link::request_for(interface).map_err(io::Error::other)?;
    // SAFETY: all-zero bytes are a valid socket address: it holds integers alone.
    let mut address: libc::sockaddr = unsafe { std::mem::zeroed() };
    address.sa_family = libc::AF_UNSPEC as u16;
    for (to, from) in address.sa_data.iter_mut().zip(group.0) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_hwaddr = address;
    let command = if member { libc::SIOCADDMULTI } else { libc::SIOCDELMULTI };
    let socket = link::datagram_socket()?;
    // SAFETY: `request` is an ifreq with a closed name and an address, and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw mut request) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match (member, error.raw_os_error()) {
        (true, Some(libc::EEXIST)) | (false, Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        _ => Err(error),
    }
}

const SOCKADDR_LEN: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

fn packet_socket(protocol: u16) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol.to_be())) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn link_address(protocol: u16, ifindex: u32) -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

const fn instruction(code: u32, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
}

const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// IPv6 whose next header is ICMPv6, of type 135 or 136; offsets are from the Ethernet header.
const NEIGHBOUR_DISCOVERY: [libc::sock_filter; 7] = [
    instruction(LOAD_BYTE, 0, 0, 20),
    instruction(JUMP_EQUAL, 0, 4, 58),
    instruction(LOAD_BYTE, 0, 0, 54),
    instruction(JUMP_EQUAL, 1, 0, 135),
    instruction(JUMP_EQUAL, 0, 1, 136),
    instruction(RETURN, 0, 0, u32::MAX),
    instruction(RETURN, 0, 0, 0),
];

fn attach_filter(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: `program` points to `filter`, which the kernel copies and does not write; both outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
