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
