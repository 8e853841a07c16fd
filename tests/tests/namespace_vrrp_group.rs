//! A sync group of two real daemons: what happens to one virtual router happens to all, and hooks hear of it as keepalived's
//! `notify` would.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_user::net::link;
use tests::lab::{
    Asker, Daemon, DaemonConfig, Mac, Namespace, Network, Shape, VIP4, VIP6, privileged, wait_until,
};

const PATIENCE: Duration = Duration::from_secs(60);
const ASKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);

/// IPv4 and IPv6 in one group; the IPv6 one is in fault while the number in `file` is not 0.
fn config(network: &Network, priority: u8, file: &Path, heard: &Path) -> DaemonConfig {
    let names: Vec<&str> = network.backends.iter().map(|backend| backend.name.as_str()).collect();
    let config = network
        .backends
        .iter()
        .fold(DaemonConfig::default(), |config, backend| config.backend(&backend.name, backend.address4));
    let router = |name: &str, addresses: &str, more: &str| {
        format!(
            "[[vrrp.router]]\nname = \"{name}\"\ninterface = \"eth0\"\nrouter_id = 51\naddresses = {addresses}\n\
             priority = {priority}\ninterval = \"100ms\"\n{more}\n"
        )
    };
    let script = format!("echo \\\"$1 $2 $3 $4\\\" >> {}", heard.display());
    let vrrp = [
        router("edge4", &format!("[\"{VIP4}\"]"), ""),
        router("edge6", &format!("[\"fe80::51\", \"{VIP6}\"]"), "track = [{ tracker = \"file\" }]\n"),
        "[[vrrp.group]]\nname = \"pair\"\nrouters = [\"edge4\", \"edge6\"]\n".to_owned(),
        format!("[[vrrp.tracker]]\nname = \"file\"\nfile = \"{}\"\n", file.display()),
        format!(
            "[[hook]]\nname = \"log\"\ntype = \"exec\"\narguments = \"keepalived\"\n\
             command = [\"/bin/sh\", \"-c\", \"{script}\", \"hook\"]\n"
        ),
    ];
    config
        .vip("web", VIP4, 80, "tcp", &names)
        .vip_line("announce = \"arp\"")
        .vip("web6", VIP6, 80, "tcp", &names)
        .vip_line(&format!("announce = \"arp\"\n\n{}", vrrp.join("\n")))
}

/// Roles by the name of the virtual router.
fn roles(daemon: &Daemon) -> Result<Vec<String>> {
    let shown: serde_json::Value = serde_json::from_str(&daemon.cli(["vrrp", "show", "-o", "json"])?)?;
    let routers = shown["routers"].as_array().context("no routers")?;
    Ok(routers.iter().map(|router| format!("{} {}", router["name"], router["role"])).collect())
}

fn wait_for_roles(daemon: &Daemon, role: &str) -> Result<()> {
    wait_until(&format!("both are {role}"), PATIENCE, || {
        let found = roles(daemon)?;
        ensure!(
            found == [format!("\"edge4\" \"{role}\""), format!("\"edge6\" \"{role}\"")],
            "{found:?}\n{}",
            daemon.log()
        );
        Ok(())
    })
}

/// What the hook was told, in order.
fn heard(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn wait_for_word(file: &Path, word: &str) -> Result<()> {
    wait_until(word, PATIENCE, || {
        let heard = heard(file);
        ensure!(heard.last().is_some_and(|last| last == word), "{heard:?}");
        Ok(())
    })
}

#[test]
fn a_fault_of_one_family_moves_both_and_hooks_are_called_as_keepalived_calls_them() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let network = Network::new(Shape { balancers: 2, backends: 2 })?;
    network.router.ip(&format!("route replace {VIP4}/32 dev br0\n"))?;
    let mac = |namespace: &Namespace| namespace.inside(|| Ok(link::mac("eth0")?));
    let macs: [Mac; 2] = [mac(&network.balancers[0])?, mac(&network.balancers[1])?];
    let file = |name: &str| network.lab.dir().join(name);
    let (numbers, words) = ([file("number0"), file("number1")], [file("heard0"), file("heard1")]);
    let start = |number: usize, priority| {
        std::fs::write(&numbers[number], "0\n")?;
        let config = config(&network, priority, &numbers[number], &words[number]);
        Daemon::start(&network.lab, &network.balancers[number], &format!("lb{number}"), &config, &[])
    };
    let mut daemons = [start(0, 150)?, start(1, 100)?];
    let asker = Asker::start(&network.router, "br0", ASKER, VIP4)?;
    let wait_for = |number: usize| {
        wait_until(&format!("node {number} answers"), PATIENCE, || {
            asker.check()?;
            ensure!(asker.last() == Some(macs[number]), "{:x?} answers", asker.last());
            Ok(())
        })
    };
    wait_for(0).with_context(|| daemons[0].log())?;
    wait_for_roles(&daemons[0], "master")?;
    wait_for_roles(&daemons[1], "backup")?;
    wait_for_word(&words[0], "GROUP pair MASTER 0")?;

    asker.forget();
    std::fs::write(&numbers[0], "1\n")?;
    wait_for(1).with_context(|| daemons[1].log())?;
    wait_for_roles(&daemons[0], "fault")?;
    wait_for_roles(&daemons[1], "master")?;
    ensure!(asker.owners() == macs, "{:x?}", asker.owners());
    wait_for_word(&words[0], "GROUP pair FAULT 0")?;
    wait_for_word(&words[1], "GROUP pair MASTER 0")?;
    let of_member = |line: &String| line == "INSTANCE edge4 MASTER 100";
    ensure!(heard(&words[1]).iter().any(of_member), "{:?}", heard(&words[1]));

    std::fs::write(&numbers[0], "0\n")?;
    wait_for(0).with_context(|| daemons[0].log())?;
    wait_for_roles(&daemons[0], "master")?;
    wait_for_roles(&daemons[1], "backup")?;
    wait_for_word(&words[1], "GROUP pair BACKUP 0")?;

    daemons[0].terminate()?;
    wait_for_roles(&daemons[1], "master")?;
    ensure!(
        heard(&words[0]).last().is_some_and(|last| last == "GROUP pair STOP 0"),
        "{:?}",
        heard(&words[0])
    );
    Ok(())
}
