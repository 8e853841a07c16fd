//! Interfaces by name: whether they exist, their number, their MAC address, and which driver runs them. Looked up in the
//! network namespace of the calling thread.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The longest interface name, without the closing zero.
const MAX_NAME_LEN: usize = libc::IFNAMSIZ - 1;

/// Why an interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("interface {0} does not exist; `ip link` lists those that do")]
    Missing(String),
    #[error("interface number {0} does not exist (any more)")]
    MissingIndex(u32),
    #[error("'{0}' cannot be the name of an interface (1 to {MAX_NAME_LEN} bytes, no '/', no white space)")]
    BadName(String),
    #[error("interface {0} has no Ethernet address; only Ethernet interfaces do")]
    NotEthernet(String),
    #[error("cannot ask for the MAC address of interface {interface}: {source}")]
    Mac { interface: String, source: io::Error },
}

/// The number of an interface; at the same time the check that it exists.
///
/// # Errors
/// When the name is none, or no interface has it.
pub fn ifindex(interface: &str) -> Result<u32, LinkError> {
    let name = c_name(interface)?;
    // SAFETY: `name` is a string with a closing zero that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(LinkError::Missing(interface.to_owned())),
        index => Ok(index),
    }
}

/// The name of the interface with this number.
///
/// # Errors
/// When there is no such interface.
pub fn name(ifindex: u32) -> Result<String, LinkError> {
    let mut buffer = [0u8; libc::IFNAMSIZ];
    // SAFETY: the buffer has the IFNAMSIZ bytes that the call may write.
    let written = unsafe { libc::if_indextoname(ifindex, buffer.as_mut_ptr().cast()) };
    if written.is_null() {
        return Err(LinkError::MissingIndex(ifindex));
    }
    CStr::from_bytes_until_nul(&buffer)
        .map(|name| name.to_string_lossy().into_owned())
        .map_err(|_| LinkError::MissingIndex(ifindex))
}

/// The MAC address of an Ethernet interface as it is now. [`super::watch_facts`] tells when it changes.
///
/// # Errors
/// When the name is none, no interface has it, or the interface is not an Ethernet one.
pub fn mac(interface: &str) -> Result<[u8; 6], LinkError> {
    let mut request = request_for(interface)?;
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::ENODEV) => LinkError::Missing(interface.to_owned()),
        _ => LinkError::Mac { interface: interface.to_owned(), source },
    };
    let socket = datagram_socket().map_err(failed)?;
    // SAFETY: `request` is an ifreq with a closed name that outlives the call, which fills in a socket address.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) };
    if result != 0 {
        return Err(failed(io::Error::last_os_error()));
    }
    // SAFETY: the kernel has filled in this member; it holds plain integers.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    if address.sa_family != libc::ARPHRD_ETHER {
        return Err(LinkError::NotEthernet(interface.to_owned()));
    }
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from.cast_unsigned();
    }
    Ok(mac)
}

/// The MTU of an interface: bytes of IP packet.
///
/// # Errors
/// When the name is none, or no interface has it.
pub fn mtu(interface: &str) -> Result<u32, LinkError> {
    let mut request = request_for(interface)?;
    let missing = |_| LinkError::Missing(interface.to_owned());
    let socket = datagram_socket().map_err(missing)?;
    // SAFETY: `request` is an ifreq with a closed name that outlives the call, which fills in a number.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if result != 0 {
        return Err(missing(io::Error::last_os_error()));
    }
    // SAFETY: the kernel has filled in this member, a plain integer.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(mtu.cast_unsigned())
}

/// The driver of an interface, for messages: `virtio_net`, `mlx5_core`, or for virtual links their kind, such as `veth`.
/// `unknown` when nobody can tell.
#[must_use]
pub fn driver(interface: &str) -> String {
    ethtool_driver(interface)
        .ok()
        .filter(|driver| !driver.is_empty())
        .or_else(|| sysfs_driver(interface))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// `ETHTOOL_GDRVINFO`. Preferred, because a socket looks into the namespace of its thread and sysfs into that of whoever
/// mounted it.
fn ethtool_driver(interface: &str) -> io::Result<String> {
    const ETHTOOL_GDRVINFO: u32 = 3;

    /// `struct ethtool_drvinfo` of linux/ethtool.h.
    #[repr(C)]
    struct DriverInfo {
        command: u32,
        driver: [u8; 32],
        rest: [u8; 160],
    }
    const _: () = assert!(size_of::<DriverInfo>() == 196);

    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let socket = datagram_socket()?;
    let mut request = request_for(interface).map_err(io::Error::other)?;
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    // SAFETY: `request` is an ifreq with a closed name, and its data points to a `DriverInfo`, which is what the kernel
    // fills for this command; both outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(CStr::from_bytes_until_nul(&info.driver)
        .map(|driver| driver.to_string_lossy().into_owned())
        .unwrap_or_default())
}

/// Makes the kernel compute the checksums of what it sends through an interface before the driver gets it (`ethtool -K tx off`).
///
/// # Errors
/// When the driver refuses.
pub(crate) fn without_checksum_offload(interface: &str) -> io::Result<()> {
    const ETHTOOL_STXCSUM: u32 = 0x17;

    /// `struct ethtool_value` of linux/ethtool.h.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }

    let mut value = Value { command: ETHTOOL_STXCSUM, data: 0 };
    let socket = datagram_socket()?;
    let mut request = request_for(interface).map_err(io::Error::other)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` is an ifreq with a closed name, and its data points to the `Value` that this command reads; both
    // outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An `ifreq` that names an interface, for the `ioctl`s that take one.
pub(crate) fn request_for(interface: &str) -> Result<libc::ifreq, LinkError> {
    let name = c_name(interface)?;
    // SAFETY: all-zero bytes are a valid `ifreq`: it holds integers, byte arrays and a nullable pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

pub(crate) fn datagram_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn sysfs_driver(interface: &str) -> Option<String> {
    c_name(interface).ok()?;
    let driver = std::fs::read_link(format!("/sys/class/net/{interface}/device/driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// Checks what the kernel's `dev_valid_name` checks.
fn c_name(interface: &str) -> Result<CString, LinkError> {
    let bad = || LinkError::BadName(interface.to_owned());
    let fits = (1..=MAX_NAME_LEN).contains(&interface.len());
    let clean = !interface.contains(|c: char| c == '/' || c.is_ascii_whitespace());
    if !fits || !clean || interface == "." || interface == ".." {
        return Err(bad());
    }
    CString::new(interface).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_both_ways() {
        let index = ifindex("lo").unwrap();
        assert_eq!(name(index).unwrap(), "lo");
    }

    #[test]
    fn a_missing_interface_is_named_in_the_error() {
        let text = ifindex("no-such-link").unwrap_err().to_string();
        assert!(text.starts_with("interface no-such-link does not exist"), "{text}");
        assert!(matches!(name(u32::MAX - 1), Err(LinkError::MissingIndex(_))));
    }

    #[test]
    fn impossible_names_are_told_from_missing_interfaces() {
        for bad in ["", "sixteen-bytes-xx", "a/b", "a b", ".", "..", "a\0b"] {
            assert!(matches!(ifindex(bad), Err(LinkError::BadName(_))), "{bad:?}");
        }
    }

    #[test]
    fn only_ethernet_interfaces_have_a_mac_address() {
        assert!(matches!(mac("lo"), Err(LinkError::NotEthernet(_))));
        let text = mac("no-such-link").unwrap_err().to_string();
        assert!(text.starts_with("interface no-such-link does not exist"), "{text}");
        assert!(matches!(mac("a/b"), Err(LinkError::BadName(_))));
    }

    #[test]
    fn the_driver_of_a_missing_interface_is_unknown() {
        assert_eq!(driver("no-such-link"), "unknown");
    }
}
