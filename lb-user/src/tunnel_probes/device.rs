//! The pair of devices that checks go through, and the routes of their addresses.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::task::JoinSet;

use super::{Prefixes, ProbeError};
use crate::net::{io_error, link};
use lb_common::abi::{PROBE_MAC, PROBE_PEER_MAC};

/// Bytes of the largest packet that a check sends: with any outer header it fits any Ethernet.
const SENT_MAX: u32 = 1280;
/// Answers may be as large as the networks behind allow.
const DEVICE_MTU: u32 = 9216;

/// Both devices.
#[derive(Debug)]
pub(super) struct Devices {
    /// Where sockets send, and get answers.
    pub(super) name: String,
    pub(super) inner: u32,
    pub(super) peer_name: String,
    pub(super) peer: u32,
    handle: Handle,
    _connection: JoinSet<()>,
}

/// The names of an instance's devices.
fn names(instance: &str) -> (String, String) {
    // FNV-1a: names of interfaces are short, those of instances need not be.
    let hash = instance
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (format!("flv{hash:08x}"), format!("flv{hash:08x}p"))
}

impl Devices {
    /// Makes them, in place of those that an earlier process may have left.
    pub(super) async fn create(instance: &str, prefixes: &Prefixes) -> Result<Self, ProbeError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| ProbeError::kernel("netlink", error))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let (name, peer_name) = names(instance);
        delete(&handle, &name).await?;
        let peer =
            LinkUnspec::new_with_name(&peer_name).address(PROBE_PEER_MAC.to_vec()).mtu(DEVICE_MTU).build();
        let pair = LinkVeth::new(&name, &peer_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .address(PROBE_MAC.to_vec())
            .mtu(DEVICE_MTU)
            .build();
        let made = handle.link().add(pair).execute().await;
        made.map_err(|error| {
            ProbeError::kernel(format!("the devices {name} and {peer_name} for checks"), io_error(error))
        })?;
        let index = |name: &str| link::ifindex(name).map_err(|error| ProbeError::Other(error.to_string()));
        let devices = Self {
            inner: index(&name)?,
            peer: index(&peer_name)?,
            name,
            peer_name,
            handle,
            _connection: tasks,
        };
        devices.set_up(instance, prefixes).await?;
        Ok(devices)
    }

    async fn set_up(&self, instance: &str, prefixes: &Prefixes) -> Result<(), ProbeError> {
        for (name, index) in [(&self.name, self.inner), (&self.peer_name, self.peer)] {
            let failed = |error| ProbeError::kernel(name.clone(), error);
            // Checksums have to be there before headers are put in front.
            link::without_checksum_offload(name).map_err(failed)?;
            // A host may have switched IPv6 off for new devices.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0");
            let up = LinkUnspec::new_with_index(index).arp(false).up().build();
            self.handle.link().set(up).execute().await.map_err(|error| failed(io_error(error)))?;
            let alias =
                LinkUnspec::new_with_index(index).alias(format!("ferrolev {instance}: checks")).build();
            // Only for people who look.
            let _ = self.handle.link().set(alias).execute().await;
        }
        for (prefix, setting) in [(prefixes.v4, "probe4"), (prefixes.v6, "probe6")] {
            if prefix.address.is_ipv6() && !std::path::Path::new("/proc/sys/net/ipv6").exists() {
                continue;
            }
            let request = self.handle.route().add(self.route(prefix.address, prefix.len, None));
            request.execute().await.map_err(|error| {
                let what = format!(
                    "route to {prefix}, the probe addresses; set tunnel.{setting} to an unused prefix"
                );
                ProbeError::kernel(what, io_error(error))
            })?;
        }
        Ok(())
    }

    /// Lets sockets that connect to `probe` have the address `source`.
    pub(super) async fn route_from(&self, probe: IpAddr, source: IpAddr) -> Result<(), ProbeError> {
        let len = if probe.is_ipv4() { 32 } else { 128 };
        let request = self.handle.route().add(self.route(probe, len, Some(source))).replace();
        request.execute().await.map_err(|error| {
            ProbeError::kernel(format!("route to the probe address {probe} from {source}"), io_error(error))
        })
    }

    /// Removes such a route; one that is gone is fine.
    pub(super) async fn forget(&self, probe: IpAddr, source: IpAddr) {
        let len = if probe.is_ipv4() { 32 } else { 128 };
        let _ = self.handle.route().del(self.route(probe, len, Some(source))).execute().await;
    }

    pub(super) async fn remove(self) -> Result<(), ProbeError> {
        delete(&self.handle, &self.name).await
    }

    fn route(&self, prefix: IpAddr, len: u8, source: Option<IpAddr>) -> RouteMessage {
        let mut message = match prefix {
            IpAddr::V4(prefix) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(prefix, len)
                .scope(rtnetlink::packet_route::route::RouteScope::Link)
                .output_interface(self.inner)
                .build(),
            IpAddr::V6(prefix) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .destination_prefix(prefix, len)
                .output_interface(self.inner)
                .build(),
        };
        message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(SENT_MAX)]));
        if let Some(source) = source {
            message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
        }
        message
    }
}

/// Removes the devices of an instance whose daemon does not run, and the programs that find answers on these interfaces.
///
/// # Errors
/// When the kernel refuses.
pub async fn remove(instance: &str, interfaces: &[String]) -> Result<(), ProbeError> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| ProbeError::kernel("netlink", error))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    for interface in interfaces {
        // An interface without any program, or that is gone, has none of ours.
        let _ = super::program::remove_finder(interface);
    }
    delete(&handle, &names(instance).0).await
}

/// Removes a device, and with it its peer and their routes. One that is gone is fine.
async fn delete(handle: &Handle, name: &str) -> Result<(), ProbeError> {
    let Ok(index) = link::ifindex(name) else { return Ok(()) };
    match handle.link().del(index).execute().await.map_err(io_error) {
        Err(error) if error.raw_os_error() != Some(libc::ENODEV) => Err(ProbeError::kernel(name, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_fit_and_differ_by_instance() {
        for instance in ["default", "a", "an-instance-with-a-name-that-is-longer-than-any-interface's"] {
            let (name, peer) = names(instance);
            assert!(peer.len() < libc::IFNAMSIZ && name != peer, "{peer}");
        }
        assert_ne!(names("a"), names("b"));
        assert_eq!(names("a"), names("a"));
    }
}
