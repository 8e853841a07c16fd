//! Two nodes and a host on a switch, and virtual routers on the nodes: the daemon's thread, with leases in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_user::state::{Announce, MacAddress};
use lb_user::vrrp::{self, Address, Fence, FenceError, Host, Notice, Router, RouterStatus, Vrrp, Wanted};
use lb_vrrp::announce::Schedule;
use lb_vrrp::gate::Readiness;
use lb_vrrp::machine::{Preempt, Role};
use lb_vrrp::wire::{Authentication, Interval, Ipv4Sum, Version};
use tests::lab::{Lab, Namespace, run, wait_until};
use tokio::sync::oneshot;

pub(crate) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 50));
pub(crate) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50));
/// The first address of an IPv6 router is link-local.
pub(crate) const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x50));
pub(crate) const VRID: u8 = 51;
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Nodes `a` and `b` have 192.0.2.1 and .2, 2001:db8::1 and ::2, fe80::1 and ::2 on `eth0`, the host .3. The lab comes last, so
/// that it is dropped last.
pub(crate) struct World {
    pub(crate) a: Namespace,
    pub(crate) b: Namespace,
    pub(crate) host: Namespace,
    pub(crate) switch: Namespace,
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let switch = lab.namespace("switch")?;
        switch.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n")?;
        let plug_in = |role: &str, number: u8| -> Result<Namespace> {
            let namespace = lab.namespace(role)?;
            switch.ip(&format!(
                "link add {role} type veth peer name eth0 netns {}\nlink set {role} master br0 up\n",
                namespace.name()
            ))?;
            // Without addresses of the kernel's making: the first one is known.
            namespace.sysctls(&[("net/ipv6/conf/eth0/addr_gen_mode", "1")])?;
            namespace.ip(&format!(
                "link set eth0 up\n\
                 addr add 192.0.2.{number}/24 dev eth0\n\
                 addr add 2001:db8::{number}/64 dev eth0 nodad\n\
                 addr add fe80::{number}/64 dev eth0 nodad\n"
            ))?;
            Ok(namespace)
        };
        let (a, b, host) = (plug_in("node-a", 1)?, plug_in("node-b", 2)?, plug_in("host", 3)?);
        Ok(Self { a, b, host, switch, lab })
    }

    /// Whether `a` and `b` hear each other; the host hears both all the time.
    pub(crate) fn join(&self, joined: bool) -> Result<()> {
        let isolated = if joined { "off" } else { "on" };
        self.switch.ip(&format!(
            "link set node-a type bridge_slave isolated {isolated}\nlink set node-b type bridge_slave isolated {isolated}\n"
        ))
    }

    /// The MAC address that the host finds at `address`.
    pub(crate) fn found_by_host(&self, address: IpAddr) -> Result<String> {
        // An answer to the ping matters less than one to the question where the address is.
        let _ = self.host.command("ping")?.args(["-c1", "-W1", &address.to_string()]).output()?;
        let shown = ip(&self.host, &format!("neigh show {address} dev eth0"))?;
        let mac = shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
        Ok(mac.with_context(|| format!("no neighbour: {shown}"))?.to_owned())
    }
}

/// A virtual router for [`VIP4`] or, of IPv6, [`LINK_LOCAL`] and [`VIP6`].
pub(crate) fn router(version: Version, centiseconds: u16, priority: u8, is_ipv6: bool) -> Router {
    let address = |address: IpAddr, prefix_len| Address {
        address,
        prefix_len,
        announce: Announce::Address,
        is_vip: false,
        on: None,
    };
    Router {
        interface: "eth0".to_owned(),
        vrid: VRID,
        version,
        priority,
        interval: Interval::from_centiseconds(centiseconds).expect("an interval"),
        addresses: if is_ipv6 {
            vec![address(LINK_LOCAL, 128), address(VIP6, 128)]
        } else {
            vec![address(VIP4, 24)]
        },
        more_addresses: Vec::new(),
        preempt: Preempt::Now,
        authentication: Authentication::None,
        peers: Vec::new(),
        source: None,
        check_hop_limit: true,
        sum: Ipv4Sum::Pseudo,
        virtual_mac: false,
        fencing: true,
        accept: true,
        announce: Schedule::default(),
        track: Vec::new(),
    }
}

pub(crate) fn wanted(routers: impl IntoIterator<Item = (&'static str, Router)>) -> Wanted {
    let routers = routers.into_iter().map(|(name, router)| (name.to_owned(), router)).collect();
    Wanted { routers, gate_limit: Duration::from_secs(30), ..Wanted::default() }
}

/// What a node has said of an address: until when, or nothing.
type Said = Arc<Mutex<BTreeMap<IpAddr, u64>>>;

#[derive(Clone, Default)]
struct Memory(Said);

impl Fence for Memory {
    fn own(&mut self, address: IpAddr, until_ns: u64, _mac: Option<MacAddress>) -> Result<(), FenceError> {
        self.0.lock().expect("leases").insert(address, until_ns);
        Ok(())
    }

    fn lapse(&mut self, address: IpAddr) -> Result<(), FenceError> {
        self.0.lock().expect("leases").insert(address, 1);
        Ok(())
    }

    fn leave(&mut self, address: IpAddr) -> Result<(), FenceError> {
        self.0.lock().expect("leases").insert(address, 0);
        Ok(())
    }

    fn forget(&mut self, address: IpAddr) -> Result<(), FenceError> {
        self.0.lock().expect("leases").remove(&address);
        Ok(())
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.0.lock().expect("leases").keys().copied().collect()
    }
}

/// The thread in a namespace. It leaves when this is dropped.
pub(crate) struct Node {
    pub(crate) vrrp: Vrrp,
    pub(crate) leases: Said,
    pub(crate) notices: mpsc::Receiver<Notice>,
    leave: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Node {
    pub(crate) fn start(namespace: &Namespace, wanted: Wanted) -> Result<Self> {
        let namespace = namespace.clone();
        let memory = Memory::default();
        let leases = memory.0.clone();
        let (tell, notices) = mpsc::channel();
        let (started, handle) = mpsc::channel();
        let (leave, left) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            namespace.inside(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async move {
                    let tell = Box::new(move |notice| drop(tell.send(notice)));
                    let (vrrp, leaving) = vrrp::spawn(Box::new(memory), tell)?;
                    started.send(vrrp)?;
                    let _ = left.await;
                    leaving.leave().await;
                    Ok(())
                })
            })
        });
        let vrrp: Vrrp = handle.recv().context("the thread did not start")?;
        let readiness = Readiness { tables_loaded: true, first_round_done: true, ..Readiness::default() };
        vrrp.host.send_replace(Host { readiness, ..Host::default() });
        vrrp.wanted.send_replace(Some(wanted));
        Ok(Self { vrrp, leases, notices, leave: Some(leave), thread: Some(thread) })
    }

    /// Leaves in order.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        drop(self.leave.take());
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow::anyhow!("the node panicked"))?
    }

    pub(crate) fn router(&self, name: &str) -> Result<RouterStatus> {
        let status = self.vrrp.status.borrow();
        status.routers.get(name).cloned().with_context(|| format!("no router {name}"))
    }

    pub(crate) fn wait_for(&self, name: &str, role: Role) -> Result<()> {
        self.wait(name, &role.to_string(), |router| router.role == role)
    }

    pub(crate) fn wait(&self, name: &str, what: &str, is: impl Fn(&RouterStatus) -> bool) -> Result<()> {
        wait_until(what, PATIENCE, || {
            let router = self.router(name)?;
            if is(&router) { Ok(()) } else { bail!("it is {router:#?}") }
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// Runs an `ip` command and returns what it shows.
pub(crate) fn ip(namespace: &Namespace, arguments: &str) -> Result<String> {
    run(namespace.command("ip")?.args(arguments.split_whitespace()))
}

pub(crate) fn has(namespace: &Namespace, address: IpAddr) -> Result<bool> {
    Ok(ip(namespace, "addr show dev eth0")?.contains(&format!(" {address}/")))
}

pub(crate) fn wait_has(namespace: &Namespace, address: IpAddr, wanted: bool) -> Result<()> {
    wait_until(&format!("{address} in {}: {wanted}", namespace.name()), PATIENCE, || {
        if has(namespace, address)? == wanted { Ok(()) } else { bail!("not so") }
    })
}
