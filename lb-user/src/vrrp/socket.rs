//! Raw sockets for adverts, one for an interface and family: whole IP packets go out, envelopes and payloads come in.
//!
//! The header is ours: time to live 255, class 0xc0, and the source that is configured. Adverts of this host do not come back.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use lb_vrrp::wire::{Envelope, GROUP_V4, GROUP_V6, PROTOCOL, Reject, ipv4_packet};
use nix::sys::socket::sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo, Priority};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

/// Longer than any advert: 255 addresses of 16 bytes, and headers.
pub(super) const PACKET_LEN: usize = 4400;
/// `TC_PRIO_CONTROL`: in front of what waits in the interface's queue.
const PRIORITY: i32 = 7;

/// Hears and sends adverts of one family on one interface.
#[derive(Debug)]
pub(super) struct AdvertSocket {
    socket: AsyncFd<Socket>,
    ifindex: u32,
    is_ipv6: bool,
}

/// What has been received.
#[derive(Debug)]
pub(super) struct Received<'b> {
    pub(super) envelope: Envelope,
    pub(super) payload: &'b [u8],
}

impl AdvertSocket {
    /// Call it inside a tokio runtime.
    pub(super) fn open(interface: &str, ifindex: u32, is_ipv6: bool) -> io::Result<Self> {
        let domain = if is_ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(interface.as_bytes()))?;
        setsockopt(&socket, Priority, &PRIORITY)?;
        if is_ipv6 {
            socket.set_header_included_v6(true)?;
            socket.set_multicast_loop_v6(false)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
            socket.join_multicast_v6(&GROUP_V6, ifindex)?;
        } else {
            socket.set_header_included_v4(true)?;
            socket.set_multicast_loop_v4(false)?;
            socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(ifindex))?;
        }
        // SAFETY: the value owns the descriptor and keeps it open for as long as it is registered.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, ifindex, is_ipv6 })
    }

    pub(super) const fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Waits until something may be there to be received. Then everything has to be received: what is left is not told of
    /// again. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.clear_ready();
        Ok(())
    }

    /// What is there, if anything is.
    pub(super) fn receive<'b>(
        &self,
        buffer: &'b mut [u8],
    ) -> io::Result<Option<Result<Received<'b>, Reject>>> {
        let received = if self.is_ipv6 { self.receive_v6(buffer) } else { self.receive_v4(buffer) };
        match received {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn receive_v4<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Result<Received<'b>, Reject>> {
        let len = io::Read::read(&mut self.socket.get_ref(), buffer)?;
        Ok(ipv4_packet(&buffer[..len]).map(|(envelope, payload)| Received { envelope, payload }))
    }

    /// The kernel gives the payload alone, and what is in the header beside it.
    fn receive_v6<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Result<Received<'b>, Reject>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, i32);
        let (len, source, destination, hop_limit) = {
            let mut into = [IoSliceMut::new(buffer)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message: nix::sys::socket::RecvMsg<'_, '_, SockaddrIn6> =
                recvmsg(self.socket.get_ref().as_raw_fd(), &mut into, Some(&mut control), flags)?;
            let (mut destination, mut hop_limit) = (None, None);
            for beside in message.cmsgs()? {
                match beside {
                    ControlMessageOwned::Ipv6PacketInfo(info) => {
                        destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                    }
                    ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).ok(),
                    _ => {}
                }
            }
            (message.bytes, message.address.map(|address| address.ip()), destination, hop_limit)
        };
        let (Some(source), Some(destination), Some(hop_limit)) = (source, destination, hop_limit) else {
            return Ok(Err(Reject::Length));
        };
        let envelope = Envelope { source: source.into(), destination: destination.into(), hop_limit };
        Ok(Ok(Received { envelope, payload: &buffer[..len] }))
    }

    /// Sends a whole IP packet.
    pub(super) fn send(&self, packet: &[u8], to: IpAddr) -> io::Result<()> {
        let to = match to {
            IpAddr::V4(_) => SocketAddr::new(to, 0),
            IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, self.ifindex).into(),
        };
        self.socket.get_ref().send_to(packet, &to.into()).map(|_| ())
    }
}
