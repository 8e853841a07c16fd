//! Two real daemons that elect and hold copies of each other's flows: a backend drains on the master alone, the master dies,
//! and every connection goes on with the backend that it had.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_user::api::types::{FlowCount, PeersReport, VrrpRole, VrrpStatus};
use tests::lab::{Connections, Daemon, DaemonConfig, Network, Shape, VIP4, privileged, wait_until};

const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 60;
const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const PORT: u16 = 7946;

fn config(network: &Network, priority: u8) -> DaemonConfig {
    let config = network
        .backends
        .iter()
        .fold(DaemonConfig::default(), |config, backend| config.backend(&backend.name, backend.address4));
    config.vip("web", VIP4, 80, "tcp", &NAMES).vip_line(&format!(
        "announce = \"arp\"\n\n[[vrrp.router]]\nname = \"edge\"\ninterface = \"eth0\"\nrouter_id = 51\n\
         addresses = [\"{VIP4}\"]\npriority = {priority}\ninterval = \"100ms\"\n"
    ))
}

struct Pair {
    network: Network,
    nodes: [Daemon; 2],
}

impl Pair {
    /// Two daemons that elect; the first one is master.
    fn start() -> Result<Self> {
        let network = Network::new(Shape { balancers: 2, backends: 3 })?;
        network.router.ip(&format!("route replace {VIP4}/32 dev br0\n"))?;
        let start = |number: usize, priority| {
            let (name, config) = (format!("lb{number}"), config(&network, priority));
            Daemon::start(&network.lab, &network.balancers[number], &name, &config, &[])
        };
        let pair = Self { nodes: [start(0, 150)?, start(1, 100)?], network };
        pair.wait_for_master(0)?;
        Ok(pair)
    }

    /// From now on they hold copies of each other's flows.
    fn meet(&self) -> Result<()> {
        let Self { network, nodes } = self;
        let addresses = ["10.1.0.101", "10.1.0.102"];
        for (number, priority) in [(0, 150), (1, 100)] {
            let (own, other) = (addresses[number], addresses[1 - number]);
            let fingerprint = nodes[1 - number].fingerprint()?;
            let general = format!("peer_listen = \"{own}:{PORT}\"");
            let peer = format!(
                "[[peer]]\nname = \"other\"\naddress = \"{other}:{PORT}\"\nfingerprint = \"{fingerprint}\"\n"
            );
            let config = config(network, priority).general_line(&general).vip_line(&peer);
            nodes[number].write_config(&config.text())?;
            nodes[number].cli(["reload"])?;
        }
        self.wait_in_step(1)
    }

    fn wait_for_master(&self, number: usize) -> Result<()> {
        wait_until(&format!("node {number} to be master"), PATIENCE, || {
            let status: VrrpStatus = self.ask(number, &["vrrp"])?;
            ensure!(status.routers[0].role == VrrpRole::Master, "{status:#?}");
            Ok(())
        })
        .with_context(|| self.nodes[number].log())
    }

    fn wait_in_step(&self, number: usize) -> Result<()> {
        wait_until(&format!("node {number} to be in step"), PATIENCE, || {
            let report: PeersReport = self.ask(number, &["peer"])?;
            ensure!(report.peers[0].copy.in_step, "{report:#?}");
            Ok(())
        })
        .with_context(|| self.nodes[number].log())
    }

    /// Until both remember the same flows.
    fn wait_for_the_same_flows(&self) -> Result<()> {
        wait_until("the same flows on both", PATIENCE, || {
            let flows = |number| -> Result<Vec<(String, u64)>> {
                let counts: Vec<FlowCount> = self.ask(number, &["flows", "count"])?;
                Ok(counts.into_iter().map(|of| (of.address.to_string(), of.opened + of.live)).collect())
            };
            let (here, there) = (flows(0)?, flows(1)?);
            ensure!(here == there && here.iter().any(|(_, flows)| *flows > 0), "{here:?} {there:?}");
            Ok(())
        })
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, number: usize, command: &[&str]) -> Result<T> {
        let text = self.nodes[number].cli(command.iter().copied().chain(["--output", "json"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn open(&self) -> Result<Connections> {
        Connections::open(&self.network.client, SocketAddr::from((VIP4, 80)), CONNECTIONS)
    }
}

#[test]
fn connections_survive_a_master_that_dies_while_a_backend_drains() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut pair = Pair::start()?;
    pair.meet()?;
    let mut before = pair.open()?;
    ensure!(NAMES.iter().all(|name| before.to(name) > 0), "too few connections for three backends");
    // Nobody tells the other node, which would give new connections to web-2.
    pair.nodes[0].cli(["backend", "drain", "web-2"])?;
    let mut during = pair.open()?;
    ensure!(during.to("web-2") == 0, "a drained backend gets no new connections");
    before.ask()?;
    pair.wait_for_the_same_flows()?;

    pair.nodes[0].kill()?;
    pair.wait_for_master(1)?;
    before.ask().context("begun before the drain")?;
    during.ask().context("begun during the drain")?;
    let mut after = pair.open()?;
    ensure!(after.to("web-2") > 0, "here it is not drained");

    // The first one comes back by its priority, but not before it knows what has happened meanwhile.
    pair.nodes[0].restart()?;
    pair.wait_for_master(0)?;
    for (open, what) in [(&mut before, "before"), (&mut during, "during"), (&mut after, "after")] {
        open.ask().with_context(|| format!("begun {what} the drain, back at the first node"))?;
    }
    Ok(())
}

#[test]
fn without_copies_the_same_death_breaks_connections() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut pair = Pair::start()?;
    let mut before = pair.open()?;
    pair.nodes[0].cli(["backend", "drain", "web-2"])?;
    let mut during = pair.open()?;
    pair.nodes[0].kill()?;
    pair.wait_for_master(1)?;
    before.ask().context("begun before the drain")?;
    // If nothing broke here, the other test could not see a failure.
    ensure!(during.ask().is_err(), "connections that only the dead node knew of go on");
    Ok(())
}
