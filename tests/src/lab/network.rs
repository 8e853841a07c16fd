//! The cabling: who is connected to whom, with which addresses and routes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result};

use super::backend::Backend;
use super::lab_dir::Lab;
use super::namespace::Namespace;
use super::{pass_stub, process::run};

/// The vips of balancer `n` (from 1) have their last byte or group raised by `n - 1`.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x10);

/// Bytes of IP packet between balancers and backends: room for the outer header around a full packet of a client.
const LAN_MTU: u32 = 1600;

const FORWARDING: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub balancers: u8,
    pub backends: u8,
}

/// Where backends can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// The router's `br0`, where packets for vips arrive at the balancers' `eth0`.
    Front,
    /// The router's `br1`, which two-armed balancers reach by their `eth1`.
    Back,
    /// Behind a gateway on [`Self::Back`].
    Remote,
}

/// The network, with the backends' programs running. The lab comes last, so that it is dropped last.
#[derive(Debug)]
pub struct Network {
    pub client: Namespace,
    pub router: Namespace,
    pub balancers: Vec<Namespace>,
    pub backends: Vec<Backend>,
    /// Balancers have `eth1` on [`Segment::Back`].
    two_armed: bool,
    /// Between [`Segment::Back`] and [`Segment::Remote`], once a backend is there.
    gateway: Option<Namespace>,
    pub lab: Lab,
}

impl Network {
    /// One-armed balancers: all that they have is `eth0`, and the backends are there too.
    ///
    /// # Errors
    /// When the kernel lacks something, or a backend does not start.
    pub fn new(shape: Shape) -> Result<Self> {
        let mut network = Self::with_balancers(shape.balancers)?;
        network.fill(Segment::Front, shape.backends)?;
        Ok(network)
    }

    /// Two-armed balancers: packets for vips arrive on `eth0`, and the backends are behind `eth1`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn two_armed(shape: Shape) -> Result<Self> {
        let mut network = Self::with_balancers(shape.balancers)?;
        network.two_armed = true;
        add_bridge(&network.router, Segment::Back)?;
        for (number, balancer) in (1..).zip(&network.balancers) {
            let port = format!("lb-{number}-back");
            plug_in(&network.router, &port, balancer, "eth1", Segment::Back, balancer_host(number))?;
            network.stub(&port)?;
        }
        network.fill(Segment::Back, shape.backends)?;
        Ok(network)
    }

    /// One more backend, once it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add_backend(&mut self, segment: Segment) -> Result<&Backend> {
        if segment == Segment::Remote && self.gateway.is_none() {
            self.gateway = Some(self.add_gateway()?);
        }
        let backend = self.start_backend(segment)?;
        self.backends.push(backend);
        let last = self.backends.len() - 1;
        self.backends[last].wait_ready()?;
        Ok(&self.backends[last])
    }

    /// Gives the segments [`Segment::Front`] and [`Segment::Back`] another MTU, and the client's link.
    ///
    /// # Errors
    /// When an interface refuses.
    pub fn set_mtu(&self, lan: u32, client: u32) -> Result<()> {
        let set =
            |host: &Namespace, interface: &str, mtu| host.ip(&format!("link set {interface} mtu {mtu}\n"));
        for (number, balancer) in (1..).zip(&self.balancers) {
            set(balancer, "eth0", lan)?;
            set(&self.router, &format!("lb-{number}"), lan)?;
            if self.two_armed {
                set(balancer, "eth1", lan)?;
                set(&self.router, &format!("lb-{number}-back"), lan)?;
            }
        }
        for backend in &self.backends {
            set(&backend.namespace, "eth0", lan)?;
            set(&self.router, &backend.name, lan)?;
        }
        set(&self.router, Segment::Front.bridge(), lan)?;
        if self.two_armed {
            set(&self.router, Segment::Back.bridge(), lan)?;
        }
        set(&self.router, "client", client)?;
        set(&self.client, "eth0", client)
    }

    /// Puts another router in front of the client, and a link of this MTU between the two routers. Returns the new one.
    ///
    /// # Errors
    /// When an interface refuses.
    pub fn narrow(&self, mtu: u32) -> Result<Namespace> {
        let edge = self.lab.namespace("edge")?;
        edge.sysctls(&FORWARDING)?;
        self.router.ip("link del client\n")?;
        connect_client(&self.client, &edge)?;
        veth((&self.router, "edge"), (&edge, "eth0"), mtu)?;
        for (end, interface, own, other, clients) in
            [(&self.router, "edge", 1, 2, true), (&edge, "eth0", 2, 1, false)]
        {
            let (to4, to6) = if clients { ("192.0.2.0/24", "2001:db8:1::/64") } else { ("default", "::/0") };
            end.ip(&format!(
                "link set {interface} up\n\
                 addr add 10.4.0.{own}/24 dev {interface}\n\
                 addr add fd00:4::{own}/64 dev {interface} nodad\n\
                 route add {to4} via 10.4.0.{other}\n\
                 route add {to6} via fd00:4::{other}\n"
            ))?;
        }
        Ok(edge)
    }

    /// Gives the segment [`Segment::Remote`] another MTU.
    ///
    /// # Errors
    /// When an interface refuses.
    pub fn narrow_remote(&self, mtu: u32) -> Result<()> {
        let Some(gateway) = &self.gateway else { return Ok(()) };
        gateway.ip(&format!("link set {} mtu {mtu}\n", Segment::Remote.bridge()))
    }

    /// Lets the router take what balancer `number` sends as it takes it from other hosts: nothing that the balancer sends by XDP
    /// arrives any more.
    ///
    /// # Errors
    /// When that was done before.
    pub fn without_xdp(&self, number: u8) -> Result<()> {
        let pin = self.lab.bpffs().join(format!("lb-{number}-stub"));
        std::fs::remove_file(&pin).with_context(|| format!("cannot remove {}", pin.display()))
    }

    /// The vip addresses of balancer `number`, from 1.
    #[must_use]
    pub fn vips(number: u8) -> (Ipv4Addr, Ipv6Addr) {
        let raise = u32::from(number - 1);
        ((u32::from(VIP4) + raise).into(), (u128::from(VIP6) + u128::from(raise)).into())
    }

    fn with_balancers(count: u8) -> Result<Self> {
        let lab = Lab::new()?;
        let client = lab.namespace("client")?;
        let router = lab.namespace("router")?;
        router.sysctls(&FORWARDING)?;
        add_bridge(&router, Segment::Front)?;
        connect_client(&client, &router)?;
        let mut network = Self {
            client,
            router,
            balancers: Vec::new(),
            backends: Vec::new(),
            two_armed: false,
            gateway: None,
            lab,
        };
        for number in 1..=count {
            network.add_balancer(number)?;
        }
        Ok(network)
    }

    /// Starts backends side by side and waits for all.
    fn fill(&mut self, segment: Segment, count: u8) -> Result<()> {
        for _ in 0..count {
            let backend = self.start_backend(segment)?;
            self.backends.push(backend);
        }
        self.backends.iter_mut().try_for_each(Backend::wait_ready)
    }

    fn add_balancer(&mut self, number: u8) -> Result<()> {
        let role = format!("lb-{number}");
        let balancer = self.lab.namespace(&role)?;
        let host = balancer_host(number);
        plug_in(&self.router, &role, &balancer, "eth0", Segment::Front, host)?;
        route_default(&balancer, Segment::Front)?;
        self.stub(&role)?;
        let (vip4, vip6) = Self::vips(number);
        let (via4, via6) = Segment::Front.addresses(host);
        self.router.ip(&format!(
            "route add {vip4}/32 via {via4} dev br0\nroute add {vip6}/128 via {via6} dev br0\n"
        ))?;
        self.balancers.push(balancer);
        Ok(())
    }

    fn start_backend(&self, segment: Segment) -> Result<Backend> {
        let number = self.backends.len() as u8 + 1;
        let role = format!("web-{number}");
        let namespace = self.lab.namespace(&role)?;
        namespace
            .sysctls(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
        let switch = match (segment, &self.gateway) {
            (Segment::Remote, Some(gateway)) => gateway,
            _ => &self.router,
        };
        let host = Host { v4: 10 + number, v6: 0x10 + u16::from(number) };
        plug_in(switch, &role, &namespace, "eth0", segment, host)?;
        route_default(&namespace, segment)?;
        for balancer in 1..=self.balancers.len() as u8 {
            let (vip4, vip6) = Self::vips(balancer);
            namespace.ip(&format!("addr add {vip4}/32 dev lo\naddr add {vip6}/128 dev lo nodad\n"))?;
        }
        Backend::start(role, namespace, segment.addresses(host), &self.lab)
    }

    /// A router between the two segments. The way to the clients is through the other one.
    fn add_gateway(&self) -> Result<Namespace> {
        let gateway = self.lab.namespace("gateway")?;
        gateway.sysctls(&FORWARDING)?;
        plug_in(&self.router, "gateway", &gateway, "eth0", Segment::Back, GATEWAY)?;
        route_default(&gateway, Segment::Back)?;
        add_bridge(&gateway, Segment::Remote)?;
        let (via4, via6) = Segment::Back.addresses(GATEWAY);
        let (to4, to6) = Segment::Remote.prefixes();
        for balancer in &self.balancers {
            balancer.ip(&format!("route add {to4} via {via4}\nroute add {to6} via {via6}\n"))?;
        }
        Ok(gateway)
    }

    /// Lets a port of the router receive what a balancer sends by XDP.
    fn stub(&self, port: &str) -> Result<()> {
        pass_stub::attach(&self.router, port, &self.lab.bpffs().join(format!("{port}-stub")))
    }
}

impl Segment {
    /// Its IPv4 network is `10.N.0.0/24`, its IPv6 network `fd00:N::/64`.
    const fn number(self) -> u8 {
        match self {
            Self::Front => 1,
            Self::Back => 2,
            Self::Remote => 3,
        }
    }

    const fn bridge(self) -> &'static str {
        match self {
            Self::Front | Self::Remote => "br0",
            Self::Back => "br1",
        }
    }

    fn addresses(self, host: Host) -> (Ipv4Addr, Ipv6Addr) {
        let number = self.number();
        (Ipv4Addr::new(10, number, 0, host.v4), Ipv6Addr::new(0xfd00, number.into(), 0, 0, 0, 0, 0, host.v6))
    }

    fn prefixes(self) -> (String, String) {
        let (v4, v6) = self.addresses(Host { v4: 0, v6: 0 });
        (format!("{v4}/24"), format!("{v6}/64"))
    }
}

/// The part of an address that tells the hosts of a segment apart.
#[derive(Clone, Copy, Debug)]
struct Host {
    v4: u8,
    v6: u16,
}

/// Whoever has the bridge.
const ROUTER: Host = Host { v4: 1, v6: 1 };
const GATEWAY: Host = Host { v4: 254, v6: 0xfe };

const fn balancer_host(number: u8) -> Host {
    Host { v4: 100 + number, v6: 0x100 + number as u16 }
}

fn add_bridge(namespace: &Namespace, segment: Segment) -> Result<()> {
    let bridge = segment.bridge();
    let (own4, own6) = segment.addresses(ROUTER);
    namespace.ip(&format!(
        "link add {bridge} mtu {LAN_MTU} type bridge mcast_snooping 0\n\
         addr add {own4}/24 dev {bridge}\n\
         addr add {own6}/64 dev {bridge} nodad\n\
         link set {bridge} up\n"
    ))
}

/// Connects `interface` of a namespace to the segment's bridge in `switch`.
fn plug_in(
    switch: &Namespace,
    port: &str,
    namespace: &Namespace,
    interface: &str,
    segment: Segment,
    host: Host,
) -> Result<()> {
    veth((switch, port), (namespace, interface), LAN_MTU)?;
    switch.ip(&format!("link set {port} master {} up\n", segment.bridge()))?;
    let (address4, address6) = segment.addresses(host);
    namespace.ip(&format!(
        "link set {interface} up\n\
         addr add {address4}/24 dev {interface}\n\
         addr add {address6}/64 dev {interface} nodad\n"
    ))
}

fn route_default(namespace: &Namespace, segment: Segment) -> Result<()> {
    let (via4, via6) = segment.addresses(ROUTER);
    namespace.ip(&format!("route add default via {via4}\nroute add ::/0 via {via6}\n"))
}

fn connect_client(client: &Namespace, router: &Namespace) -> Result<()> {
    veth((router, "client"), (client, "eth0"), 1500)?;
    router.ip("link set client up\n\
         addr add 192.0.2.1/24 dev client\n\
         addr add 2001:db8:1::1/64 dev client nodad\n")?;
    client.ip("link set eth0 up\n\
         addr add 192.0.2.2/24 dev eth0\n\
         addr add 2001:db8:1::2/64 dev eth0 nodad\n\
         route add default via 192.0.2.1\n\
         route add ::/0 via 2001:db8:1::1\n")
}

/// A cable between two interfaces. Checksums are computed before a frame is sent: they would be wrong, or in the wrong
/// place, once it is wrapped in another packet.
fn veth(near: (&Namespace, &str), far: (&Namespace, &str), mtu: u32) -> Result<()> {
    near.0.ip(&format!(
        "link add {} mtu {mtu} type veth peer name {} mtu {mtu} netns {}\n",
        near.1,
        far.1,
        far.0.name()
    ))?;
    for (namespace, interface) in [near, far] {
        let mut ethtool: Command = namespace.command("ethtool")?;
        run(ethtool.args(["-K", interface, "tx", "off"]))?;
    }
    Ok(())
}
