//! The cabling: who is connected to whom, with which addresses and routes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::Result;

use super::backend::Backend;
use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::{pass_stub, process::run};

/// The vips of balancer `n` (from 1) have their last byte or group raised by `n - 1`.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

/// Bytes of IP packet between balancers and backends: room for the outer header around a full packet of a client.
const LAN_MTU: u32 = 1600;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub balancers: u8,
    pub backends: u8,
}

/// The network, with the backends' programs running. The lab comes last, so that it is dropped last.
#[derive(Debug)]
pub struct Network {
    pub client: Namespace,
    pub router: Namespace,
    pub balancers: Vec<Namespace>,
    pub backends: Vec<Backend>,
    pub lab: Lab,
}

impl Network {
    /// # Errors
    /// When the kernel lacks something, or a backend does not start.
    pub fn new(shape: Shape) -> Result<Self> {
        let lab = Lab::new()?;
        let client = lab.namespace("client")?;
        let router = lab.namespace("router")?;
        router.sysctls(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        router.ip(&format!(
            "link add br0 mtu {LAN_MTU} type bridge mcast_snooping 0\n\
             addr add 10.1.0.1/24 dev br0\n\
             addr add fd00:1::1/64 dev br0 nodad\n\
             link set br0 up\n"
        ))?;
        connect_client(&client, &router)?;

        let mut network = Self { client, router, balancers: Vec::new(), backends: Vec::new(), lab };
        for number in 1..=shape.balancers {
            network.add_balancer(number)?;
        }
        for number in 1..=shape.backends {
            network.add_backend(number)?;
        }
        for backend in &mut network.backends {
            backend.wait_ready()?;
        }
        Ok(network)
    }

    /// The vip addresses of balancer `number`, from 1.
    #[must_use]
    pub fn vips(number: u8) -> (Ipv4Addr, Ipv6Addr) {
        let raise = u32::from(number - 1);
        ((u32::from(VIP4) + raise).into(), (u128::from(VIP6) + u128::from(raise)).into())
    }

    /// A backend's addresses, for backend `number` from 1.
    #[must_use]
    pub fn backend_addresses(number: u8) -> (Ipv4Addr, Ipv6Addr) {
        (
            Ipv4Addr::new(10, 1, 0, 10 + number),
            Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x10 + u16::from(number)),
        )
    }

    fn add_balancer(&mut self, number: u8) -> Result<()> {
        let role = format!("lb-{number}");
        let balancer = self.lab.namespace(&role)?;
        let address4 = format!("10.1.0.{}", 100 + u32::from(number));
        let address6 = format!("fd00:1::{:x}", 0x100 + u32::from(number));
        self.plug_in(&balancer, &role, &address4, &address6)?;
        pass_stub::attach(&self.router, &role, self.lab.bpffs().join(format!("{role}-stub")))?;
        let (vip4, vip6) = Self::vips(number);
        self.router.ip(&format!(
            "route add {vip4}/32 via {address4} dev br0\nroute add {vip6}/128 via {address6} dev br0\n"
        ))?;
        self.balancers.push(balancer);
        Ok(())
    }

    fn add_backend(&mut self, number: u8) -> Result<()> {
        let role = format!("web-{number}");
        let namespace = self.lab.namespace(&role)?;
        namespace
            .sysctls(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
        let (address4, address6) = Self::backend_addresses(number);
        self.plug_in(&namespace, &role, &address4.to_string(), &address6.to_string())?;
        for balancer in 1..=self.balancers.len() as u8 {
            let (vip4, vip6) = Self::vips(balancer);
            namespace.ip(&format!("addr add {vip4}/32 dev lo\naddr add {vip6}/128 dev lo nodad\n"))?;
        }
        self.backends.push(Backend::start(role, namespace, (address4, address6), &self.lab)?);
        Ok(())
    }

    /// Connects a namespace's `eth0` to the bridge, at a port with the name of its role.
    fn plug_in(&self, namespace: &Namespace, port: &str, address4: &str, address6: &str) -> Result<()> {
        veth(&self.router, port, namespace, LAN_MTU)?;
        self.router.ip(&format!("link set {port} master br0 up\n"))?;
        namespace.ip(&format!(
            "link set eth0 up\n\
             addr add {address4}/24 dev eth0\n\
             addr add {address6}/64 dev eth0 nodad\n\
             route add default via 10.1.0.1\n\
             route add ::/0 via fd00:1::1\n"
        ))
    }
}

fn connect_client(client: &Namespace, router: &Namespace) -> Result<()> {
    veth(router, "client", client, 1500)?;
    router.ip("link set client up\n\
         addr add 192.0.2.1/24 dev client\n\
         addr add 2001:db8:1::1/64 dev client nodad\n")?;
    client.ip("link set eth0 up\n\
         addr add 192.0.2.2/24 dev eth0\n\
         addr add 2001:db8:1::2/64 dev eth0 nodad\n\
         route add default via 192.0.2.1\n\
         route add ::/0 via 2001:db8:1::1\n")
}

/// A cable between `port` of the router and `eth0` of another. Checksums are computed before a frame is sent: they would
/// be wrong, or in the wrong place, once it is wrapped in another packet.
fn veth(router: &Namespace, port: &str, other: &Namespace, mtu: u32) -> Result<()> {
    router.ip(&format!(
        "link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {}\n",
        other.name()
    ))?;
    for (namespace, interface) in [(router, port), (other, "eth0")] {
        let mut ethtool: Command = namespace.command("ethtool")?;
        run(ethtool.args(["-K", interface, "tx", "off"]))?;
    }
    Ok(())
}
