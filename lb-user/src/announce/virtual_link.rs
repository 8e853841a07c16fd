//! Interfaces at virtual MAC addresses (macvlan, as keepalived's `use_vmac`). They are there while this node has the addresses, so
//! that the card below takes their frames, and the kernel has addresses to put there.
#![forbid(unsafe_code)]

use std::io;

use rtnetlink::packet_route::link::MacVlanMode;
use rtnetlink::{Handle, LinkMacVlan, LinkUnspec};
use tracing::warn;

use crate::net::{HostFacts, io_error};
use crate::state::MacAddress;

/// What their names begin with.
const PREFIX: &str = "flv";

/// The name of the interface at `mac` on the one with the number `parent`: `flv4-51.2`.
pub(super) fn name(parent: u32, MacAddress([.., family, vrid]): MacAddress) -> String {
    format!("{PREFIX}{}-{vrid}.{parent}", if family == 2 { 6 } else { 4 })
}

/// Makes the interface, if it is not there, and gives its number.
pub(super) async fn make(
    handle: &Handle,
    parent: u32,
    parent_name: &str,
    mac: MacAddress,
) -> io::Result<u32> {
    let name = name(parent, mac);
    let new = LinkMacVlan::new(&name, parent, MacVlanMode::Private).address(mac.0.to_vec()).build();
    match handle.link().add(new).execute().await.map_err(io_error) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    let ifindex = crate::net::link::ifindex(&name).map_err(io::Error::other)?;
    // No address of its own making: it would be the same on all nodes.
    set(&format!("net/ipv6/conf/{name}/addr_gen_mode"), "1");
    if mac.0[4] == 1 && !set(&format!("net/ipv4/conf/{parent_name}/arp_ignore"), "1") {
        warn!(
            interface = parent_name,
            "the kernel answers for addresses at a virtual MAC address from its own, too; set net.ipv4.conf.{parent_name}.arp_ignore = 1"
        );
    }
    handle.link().set(LinkUnspec::new_with_index(ifindex).up().build()).execute().await.map_err(io_error)?;
    Ok(ifindex)
}

/// Removes the interface, if it is there.
pub(super) async fn remove(handle: &Handle, name: &str) -> io::Result<()> {
    let Ok(ifindex) = crate::net::link::ifindex(name) else { return Ok(()) };
    match handle.link().del(ifindex).execute().await.map_err(io_error) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Those that an earlier daemon has left.
pub(super) fn leftovers(facts: &HostFacts) -> Vec<String> {
    let ours = facts.links.values().filter(|link| {
        let is_virtual = link.mac.is_some_and(|mac| matches!(mac.0, [0, 0, 0x5e, 0, 1 | 2, _]));
        is_virtual && link.name.starts_with(PREFIX)
    });
    ours.map(|link| link.name.clone()).collect()
}

fn set(key: &str, value: &str) -> bool {
    let path = std::path::Path::new("/proc/sys").join(key);
    let is_set = std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == value);
    is_set || std::fs::write(&path, value).is_ok()
}
