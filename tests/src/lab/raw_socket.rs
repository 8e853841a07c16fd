//! Sockets that send and get what is behind an IP header.

use std::net::UdpSocket;
use std::os::fd::FromRawFd;

use anyhow::Result;

use super::namespace::Namespace;

/// Of which family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// A socket for an IP protocol; only sending to port 0 and receiving make sense. Over IPv4 the header is received as well.
///
/// # Errors
/// When the namespace is gone or the kernel refuses.
pub fn raw_socket(namespace: &Namespace, family: Family, protocol: u8) -> Result<UdpSocket> {
    namespace.inside(move || {
        let family = if family == Family::V4 { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into()) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: the call above returned this descriptor and nobody else has it. The type only sends and receives.
        Ok(unsafe { UdpSocket::from_raw_fd(fd) })
    })
}

/// A socket for whole frames of an EtherType on an interface; only sending and receiving make sense.
///
/// # Errors
/// When the namespace or the interface is gone, or the kernel refuses.
pub fn frame_socket(namespace: &Namespace, interface: &str, ether_type: u16) -> Result<UdpSocket> {
    namespace.inside(|| frame_socket_here(interface, ether_type))
}

/// The same, where the calling thread is.
///
/// # Errors
/// When the interface is gone, or the kernel refuses.
pub fn frame_socket_here(interface: &str, ether_type: u16) -> Result<UdpSocket> {
    let ifindex = lb_user::net::link::ifindex(interface)?;
    let protocol = ether_type.to_be();
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into()) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the call above returned this descriptor and nobody else has it. The type only sends and receives.
    let socket = unsafe { UdpSocket::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address outlives the call and is passed with its own length.
    if unsafe { libc::bind(fd, (&raw const address).cast(), len) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(socket)
}
