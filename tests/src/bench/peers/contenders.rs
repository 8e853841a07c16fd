//! The balancers that are compared, each on a host and an address of its own in front of the same backends, so that all run at
//! once and take turns under load.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::loads::BULK_PORT;
use super::{nat, proxies};
use crate::lab::{Daemon, DaemonConfig, Network, Process, http_get, wait_until};

const HTTP_PORT: u16 = 80;
/// Of a direct connection: every backend has it.
const DIRECT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 200);
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that must show every backend; that one of three is never met has a chance of one in 10^8.
const ASKED: usize = 48;

/// One way from the client to the backends.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// What it does, and what is not fair about comparing it.
    pub(super) remark: &'static str,
    /// Starts it on this balancer of the network, from 1.
    begin: fn(&Network, u8) -> Result<Running>,
}

/// One that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    /// Spread over all backends.
    pub(super) http: SocketAddr,
    /// To one backend: iperf3 needs its two connections at the same server.
    pub(super) bulk: SocketAddr,
    pub(super) processes: Vec<Process>,
    pub(super) daemon: Option<Daemon>,
}

/// The first one is what the others are held against; the others' numbers are their places.
pub(super) const ALL: [Contender; 6] = [
    Contender {
        name: "direct",
        remark: "No balancer: the router spreads the connections over the same backends (ECMP), and does nothing else.",
        begin: |network, _| direct(network),
    },
    Contender {
        name: "Ferrolev, ipip",
        remark: "Requests pass the balancer, replies do not (direct server return): of TCP it carries the smaller half, and it \
                 cannot change a byte of it. Backends take the tunnel off by `ferrolev decap`, which is counted. A veth copies a \
                 packet that a socket sent before it shows it to XDP; a card's driver copies nothing.",
        begin: |network, number| ferrolev(network, number, "ipip"),
    },
    Contender {
        name: "Ferrolev, l2",
        remark: "The same without a tunnel: needs backends on its own segment.",
        begin: |network, number| ferrolev(network, number, "l2"),
    },
    Contender {
        name: "nftables, jhash DNAT",
        remark: "The kernel's own. Every packet passes it in both directions, and it remembers every connection: when the host \
                 dies or its backends change, these break. Backends need a route back through it, and no agent.",
        begin: nat::begin,
    },
    Contender {
        name: "nginx, stream",
        remark: "A proxy: it ends each connection and makes another one to a backend, which does not see the client's address. \
                 It could read and change what it carries. One process, by turns over the backends.",
        begin: proxies::nginx,
    },
    Contender { name: "HAProxy, TCP", remark: "As nginx. One thread.", begin: proxies::haproxy },
];

impl Contender {
    /// Starts it, and waits until it reaches every backend.
    ///
    /// # Errors
    /// When a program is missing or does not start, or the client does not reach all backends.
    pub(super) fn start(&self, network: &Network, number: u8) -> Result<Running> {
        let mut running = (self.begin)(network, number)?;
        let server = running.http;
        wait_until(self.name, PATIENCE, || {
            running.check()?;
            network.client.inside(move || http_get(server, Duration::from_secs(1)).map(drop))
        })
        .with_context(|| running.logs())?;
        let ask = move || (0..ASKED).map(|_| http_get(server, Duration::from_secs(5))).collect();
        let answers: BTreeSet<String> = network.client.inside(ask)?;
        let expected = network.backends.iter().map(|backend| backend.name.clone()).collect();
        ensure!(answers == expected, "the client reached {answers:?} only");
        Ok(running)
    }
}

impl Running {
    /// On this balancer's address.
    pub(super) fn on(number: u8, processes: Vec<Process>, daemon: Option<Daemon>) -> Self {
        let (vip, _) = Network::vips(number);
        Self { http: (vip, HTTP_PORT).into(), bulk: (vip, BULK_PORT).into(), processes, daemon }
    }

    fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check_running)
    }

    /// What its programs said last.
    pub(super) fn logs(&self) -> String {
        let processes = self.processes.iter().map(Process::log_tail);
        processes.chain(self.daemon.as_ref().map(Daemon::log)).collect::<Vec<_>>().join("\n")
    }
}

fn direct(network: &Network) -> Result<Running> {
    let mut route = format!("route add {DIRECT}/32");
    for backend in &network.backends {
        backend.namespace.ip(&format!("addr add {DIRECT}/32 dev lo\n"))?;
        route += &format!(" nexthop via {} dev br0", backend.address4);
    }
    // By addresses and ports, as the others do.
    network.router.sysctls(&[("net/ipv4/fib_multipath_hash_policy", "1")])?;
    network.router.ip(&format!("{route}\n"))?;
    let bulk = network.backends.first().context("no backend")?.address4;
    Ok(Running {
        http: (DIRECT, HTTP_PORT).into(),
        bulk: (bulk, BULK_PORT).into(),
        processes: Vec::new(),
        daemon: None,
    })
}

fn ferrolev(network: &Network, number: u8, mode: &str) -> Result<Running> {
    let (vip, _) = Network::vips(number);
    let names: Vec<&str> = network.backends.iter().map(|backend| &*backend.name).collect();
    let mode_line = format!("mode = \"{mode}\"");
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config
        .vip("http", vip, HTTP_PORT, "tcp", &names)
        .vip_line(&mode_line)
        .vip("bulk", vip, BULK_PORT, "tcp", &names[..1])
        .vip_line(&mode_line);
    let balancer = &network.balancers[usize::from(number) - 1];
    let daemon = Daemon::start(&network.lab, balancer, mode, &config, &[])?;
    daemon.wait_active(&names)?;
    Ok(Running::on(number, Vec::new(), Some(daemon)))
}
