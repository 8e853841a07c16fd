//! Two real daemons that elect, and a host on their link that asks all the time where the addresses are: whatever happens to the
//! master, nobody ever hears it after the next one.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lb_user::net::link;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::{
    Asker, Daemon, DaemonConfig, Mac, Namespace, Network, Shape, VIP4, curl_many, privileged, run, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Of the virtual router, but of no vip: the kernel has it.
const KERNELS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const ASKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);

struct World {
    network: Network,
    daemons: [Daemon; 2],
    macs: [Mac; 2],
}

fn config(network: &Network, priority: u8) -> DaemonConfig {
    config_with(network, priority, "interval = \"100ms\"")
}

fn config_with(network: &Network, priority: u8, more: &str) -> DaemonConfig {
    let backends: Vec<&str> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let config = DaemonConfig::default().general_line("hash_seed = 7");
    let config = network
        .backends
        .iter()
        .fold(config, |config, backend| config.backend(&backend.name, backend.address4));
    config.vip("web", VIP4, 80, "tcp", &backends).vip_line(&format!(
        "announce = \"arp\"\n\n[[vrrp.router]]\nname = \"edge\"\ninterface = \"eth0\"\nrouter_id = 51\n\
         addresses = [\"{VIP4}\", \"{KERNELS}\"]\npriority = {priority}\n{more}\n"
    ))
}

impl World {
    fn start() -> Result<Self> {
        let network = Network::new(Shape { balancers: 2, backends: 2 })?;
        network
            .router
            .ip(&format!("route replace {VIP4}/32 dev br0\nroute replace {KERNELS}/32 dev br0\n"))?;
        let start = |number: usize, priority| {
            let name = format!("lb{number}");
            Daemon::start(&network.lab, &network.balancers[number], &name, &config(&network, priority), &[])
        };
        let daemons = [start(0, 150)?, start(1, 100)?];
        let mac = |namespace: &Namespace| namespace.inside(|| Ok(link::mac("eth0")?));
        let macs = [mac(&network.balancers[0])?, mac(&network.balancers[1])?];
        Ok(Self { network, daemons, macs })
    }

    fn asker(&self, address: Ipv4Addr) -> Result<Asker> {
        Asker::start(&self.network.router, "br0", ASKER, address)
    }

    /// Until this one is the last that has answered for all addresses.
    fn wait_for(&self, askers: &[Asker], number: usize) -> Result<()> {
        for asker in askers {
            wait_until(&format!("{} at balancer {number}", asker.address), PATIENCE, || {
                asker.check()?;
                ensure!(asker.last() == Some(self.macs[number]), "it is {:x?}", asker.last());
                Ok(())
            })
            .with_context(|| self.daemons[number].log())?;
        }
        Ok(())
    }

    fn served(&self) -> Result<()> {
        wait_until("answers through the vip", PATIENCE, || {
            let (answers, failures) = curl_many(&self.network.client, SocketAddr::new(VIP4.into(), 80), 10)?;
            ensure!(failures.is_empty() && answers.values().sum::<u32>() == 10, "{answers:?} {failures:?}");
            Ok(())
        })
    }
}

/// How a master goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Terminated,
    Killed,
    Stopped,
}

#[test]
fn nobody_hears_a_master_after_the_next_one_however_it_ends() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let mut world = World::start()?;
    let askers = [world.asker(VIP4)?, world.asker(KERNELS)?];
    world.wait_for(&askers, 0)?;
    world.served()?;
    for end in [End::Terminated, End::Killed, End::Stopped] {
        askers.iter().for_each(Asker::forget);
        world.wait_for(&askers, 0)?;
        let pid = Pid::from_raw(world.daemons[0].pid().cast_signed());
        match end {
            End::Terminated => world.daemons[0].terminate()?,
            End::Killed => world.daemons[0].kill()?,
            End::Stopped => kill(pid, Signal::SIGSTOP)?,
        }
        world.wait_for(&askers, 1).with_context(|| format!("{end:?}"))?;
        world.served().with_context(|| format!("{end:?}"))?;
        for asker in &askers {
            ensure!(asker.owners() == world.macs, "{end:?}, {}: {:x?}", asker.address, asker.owners());
        }
        let shown = run(world.network.balancers[0].command("ip")?.args(["addr", "show", "dev", "eth0"]))?;
        let has = shown.contains(&format!(" {KERNELS}/"));
        ensure!(has == (end != End::Terminated), "{end:?}: a kernel that nobody tells keeps it:\n{shown}");
        former_master_forwards(&world).with_context(|| format!("{end:?}"))?;
        match end {
            End::Stopped => kill(pid, Signal::SIGCONT)?,
            End::Terminated | End::Killed => world.daemons[0].restart()?,
        }
        // By its priority.
        world.wait_for(&askers, 0).with_context(|| format!("back after {end:?}"))?;
        world.served().with_context(|| format!("back after {end:?}"))?;
    }
    Ok(())
}

/// Packets that still come to balancer 0 go to the same backends.
fn former_master_forwards(world: &World) -> Result<()> {
    let mac = world.macs[0].map(|byte| format!("{byte:02x}")).join(":");
    world.network.router.ip(&format!("neigh replace {VIP4} lladdr {mac} dev br0 nud permanent\n"))?;
    let served = world.served();
    world.network.router.ip(&format!("neigh del {VIP4} dev br0\n"))?;
    served
}

#[test]
fn orders_of_people_move_the_addresses_and_are_shown() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::start()?;
    let askers = [world.asker(VIP4)?, world.asker(KERNELS)?];
    world.wait_for(&askers, 0)?;
    let [first, second] = &world.daemons;
    let shown = first.cli(["vrrp"])?;
    ensure!(shown.contains("edge") && shown.contains("master"), "{shown}");
    wait_until("the backup hears the master", PATIENCE, || {
        let shown = second.cli(["vrrp", "show", "edge"])?;
        ensure!(shown.contains("backup") && shown.contains("150"), "{shown}");
        Ok(())
    })?;
    first.cli(["vrrp", "failover", "edge"])?;
    world.wait_for(&askers, 1)?;
    second.cli(["vrrp", "maintenance", "on"])?;
    world.wait_for(&askers, 0)?;
    ensure!(first.try_cli(["vrrp", "failover", "nobody"])?.code != 0);
    // An edge that is reloaded without its virtual router lets the addresses go; nobody speaks about them any more.
    let text = config(&world.network, 150).text();
    let without = text.split("[[vrrp.router]]").next().ok_or_else(|| anyhow!("no router"))?;
    first.write_config(without)?;
    first.cli(["reload"])?;
    wait_until("the kernel has let go", PATIENCE, || {
        let shown = run(world.network.balancers[0].command("ip")?.args(["addr", "show", "dev", "eth0"]))?;
        ensure!(!shown.contains(&format!(" {KERNELS}/")), "{shown}");
        Ok(())
    })?;
    let leases = lb_user::dataplane::Leases::open(&first.pins())?;
    wait_until("no leases are left", PATIENCE, || {
        ensure!(leases.addresses().is_empty(), "{:?}", leases.addresses());
        Ok(())
    })?;
    Ok(())
}

#[test]
fn a_reload_with_other_options_leaves_the_addresses_where_they_are() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::start()?;
    let askers = [world.asker(VIP4)?, world.asker(KERNELS)?];
    world.wait_for(&askers, 0)?;
    let role = |daemon: &Daemon| -> Result<serde_json::Value> {
        let shown: serde_json::Value = serde_json::from_str(&daemon.cli(["vrrp", "show", "-o", "json"])?)?;
        Ok(shown["routers"][0].clone())
    };
    wait_until("the second one is backup", PATIENCE, || {
        let role = role(&world.daemons[1])?;
        ensure!(role["role"] == "backup", "{role}");
        Ok(())
    })?;
    let before = [role(&world.daemons[0])?, role(&world.daemons[1])?];
    askers.iter().for_each(Asker::forget);
    for more in [
        "interval = \"1s\"\npreempt = \"never\"",
        "interval = \"200ms\"\nfencing = false\nannounce_refresh = \"1s\"",
        "interval = \"100ms\"\nannounce_repeat = 1",
    ] {
        for (daemon, priority) in world.daemons.iter().zip([150, 100]) {
            daemon.write_config(&config_with(&world.network, priority, more).text())?;
            daemon.cli(["reload"])?;
        }
        // Longer than the master-down time of what is reloaded last.
        std::thread::sleep(Duration::from_secs(4));
        for (daemon, before) in world.daemons.iter().zip(&before) {
            let now = role(daemon)?;
            ensure!(now["role"] == before["role"] && now["since"] == before["since"], "{more}: {now}");
        }
    }
    for asker in &askers {
        asker.check()?;
        ensure!(asker.owners() == world.macs[..1], "{}: {:x?}", asker.address, asker.owners());
    }
    Ok(())
}

#[test]
fn an_address_that_is_no_vip_s_takes_packets_only_where_its_router_accepts_them() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::start()?;
    let askers = [world.asker(VIP4)?, world.asker(KERNELS)?];
    world.wait_for(&askers, 0)?;
    let pinged = |address: Ipv4Addr| -> Result<bool> {
        let mut ping = world.network.router.command("ping")?;
        ping.args(["-c", "1", "-W", "1", &address.to_string()]);
        Ok(ping.output()?.status.success())
    };
    let wait_for_ping = |wanted: bool| {
        wait_until(&format!("an answer to a ping: {wanted}"), PATIENCE, || {
            ensure!(pinged(KERNELS)? == wanted, "{}", world.daemons[0].log());
            Ok(())
        })
    };
    wait_for_ping(true)?;
    for (accept, answered) in [(false, false), (true, true)] {
        let more = format!("interval = \"100ms\"\naccept = {accept}");
        world.daemons[0].write_config(&config_with(&world.network, 150, &more).text())?;
        world.daemons[0].cli(["reload"])?;
        wait_for_ping(answered)?;
        ensure!(pinged(VIP4)?, "what a vip's address takes is said by the vip");
        askers.iter().for_each(Asker::forget);
        // Neighbours are answered all the same.
        world.wait_for(&askers, 0)?;
        world.served()?;
    }
    Ok(())
}
