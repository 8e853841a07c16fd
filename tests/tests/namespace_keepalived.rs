//! Two hosts where keepalived decides: it tells ferrolev by `notify`, by its FIFO, or by an address that it gives to the kernel,
//! and asks it whether the host is fit.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_user::net::link;
use tests::lab::{
    Asker, Daemon, DaemonConfig, Keepalived, Mac, Namespace, Network, Shape, VIP4, ferrolev, privileged,
    wait_until,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ASKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
/// keepalived gives it to the kernel of its master.
const MARKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);

/// How ferrolev hears of keepalived's decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Notify,
    Fifo,
    Follows,
}

fn config(network: &Network, way: Way) -> DaemonConfig {
    let names: Vec<&str> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let config = network
        .backends
        .iter()
        .fold(DaemonConfig::default(), |config, backend| config.backend(&backend.name, backend.address4));
    let follows = if way == Way::Follows { format!("follows = \"{MARKER}\"\n") } else { String::new() };
    config.vip("web", VIP4, 80, "tcp", &names).vip_line(&format!(
        "announce = \"arp\"\n\n[[vrrp.external]]\nname = \"kd\"\naddresses = [\"{VIP4}\"]\n{follows}"
    ))
}

fn keepalived(
    network: &Network,
    number: usize,
    priority: u8,
    daemon: &Daemon,
    way: Way,
) -> Result<Keepalived> {
    let ferrolev = ferrolev()?.display().to_string();
    let socket = daemon.socket().display().to_string();
    let fifo = network.lab.dir().join(format!("kd{number}.fifo")).display().to_string();
    let (global, notify) = match way {
        Way::Notify => (String::new(), format!("notify \"{ferrolev} vrrp notify --socket {socket}\"\n")),
        Way::Fifo => (
            format!(
                "global_defs {{\nvrrp_notify_fifo {fifo}\n\
                 vrrp_notify_fifo_script \"{ferrolev} vrrp follow --socket {socket}\"\n}}\n"
            ),
            String::new(),
        ),
        Way::Follows => (String::new(), String::new()),
    };
    let text = format!(
        "{global}vrrp_script fit {{\nscript \"{ferrolev} check-fit --socket {socket}\"\ninterval 1\nfall 1\nrise 1\n}}\n\
         vrrp_instance kd {{\nstate BACKUP\ninterface eth0\nvirtual_router_id 51\npriority {priority}\nversion 3\n\
         advert_int 0.1\n{notify}track_script {{\nfit\n}}\nvirtual_ipaddress {{\n{MARKER}/32\n}}\n}}\n"
    );
    Keepalived::start(&network.lab, &network.balancers[number], &format!("kd{number}"), &text)
}

fn tries(way: Way) -> Result<()> {
    let network = Network::new(Shape { balancers: 2, backends: 2 })?;
    network.router.ip(&format!("route replace {VIP4}/32 dev br0\n"))?;
    let mac = |namespace: &Namespace| namespace.inside(|| Ok(link::mac("eth0")?));
    let macs: [Mac; 2] = [mac(&network.balancers[0])?, mac(&network.balancers[1])?];
    let start = |number: usize| {
        let config = config(&network, way);
        Daemon::start(&network.lab, &network.balancers[number], &format!("lb{number}"), &config, &[])
    };
    let mut daemons = [start(0)?, start(1)?];
    let mut first = keepalived(&network, 0, 150, &daemons[0], way)?;
    let _second = keepalived(&network, 1, 100, &daemons[1], way)?;
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    let wait_for = |number: usize, log: String| {
        wait_until(&format!("{way:?}: node {number} answers"), PATIENCE, || {
            asker.check()?;
            ensure!(asker.last() == Some(macs[number]), "{:x?} answers", asker.last());
            Ok(())
        })
        .context(log)
    };
    wait_for(0, first.log())?;

    // A host whose ferrolev is gone is not fit.
    daemons[0].terminate()?;
    wait_for(1, first.log()).context("the daemon of the first host has ended")?;
    daemons[0].restart()?;
    wait_for(0, first.log()).context("the daemon of the first host is back")?;

    first.terminate()?;
    wait_for(1, daemons[1].log()).context("keepalived of the first host has ended")
}

#[test]
fn keepalived_tells_by_notify() -> Result<()> {
    if privileged() { tries(Way::Notify) } else { Ok(()) }
}

#[test]
fn keepalived_tells_by_its_fifo() -> Result<()> {
    if privileged() { tries(Way::Fifo) } else { Ok(()) }
}

#[test]
fn an_address_of_keepalived_is_followed() -> Result<()> {
    if privileged() { tries(Way::Follows) } else { Ok(()) }
}

#[test]
fn a_daemon_that_is_killed_loses_what_another_program_gave_it() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    const LEASE: Duration = Duration::from_millis(600);
    let network = Network::new(Shape { balancers: 1, backends: 2 })?;
    network.router.ip(&format!("route replace {VIP4}/32 dev br0\n"))?;
    let lease = format!("lease = \"{}ms\"", LEASE.as_millis());
    let config = config(&network, Way::Notify).vip_line(&lease);
    let mut daemon = Daemon::start(&network.lab, &network.balancers[0], "lb", &config, &[])?;
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    daemon.cli(["vrrp", "own", "kd"])?;
    let is_answered = || {
        asker.forget();
        std::thread::sleep(LEASE / 2);
        asker.last().is_some()
    };
    wait_until("an answer", PATIENCE, || {
        asker.check()?;
        ensure!(is_answered(), "{}", daemon.log());
        Ok(())
    })?;
    // Renewed again and again.
    std::thread::sleep(LEASE * 5);
    ensure!(is_answered(), "{}", daemon.log());
    daemon.kill()?;
    wait_until("the end of the answers", PATIENCE, || {
        asker.check()?;
        ensure!(!is_answered(), "the kernel goes on answering");
        Ok(())
    })?;
    // A new daemon does not know yet whose the address is.
    daemon.restart()?;
    ensure!(!is_answered(), "nobody has said that it is this host's");
    daemon.cli(["vrrp", "own", "kd"])?;
    wait_until("an answer again", PATIENCE, || {
        ensure!(is_answered(), "{}", daemon.log());
        Ok(())
    })
}
