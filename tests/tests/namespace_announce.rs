//! Announcing against real hosts: what they believe afterwards, and what happens when one of them has the address.

#[path = "namespace_announce/world.rs"]
mod world;

use std::time::Duration;

use anyhow::Result;
use lb_user::announce::{PlaceState, Wanted, remove_leftovers};
use lb_user::state::{Announce, MacAddress};
use tests::lab::{Daemon, DaemonConfig, ferrolev, privileged, run, wait_until};
use world::{
    VIP4, VIP6, WRONG_MAC, World, both, ip, mac, mislead, until, until_believed, until_owned, wanted,
};

/// The group of [`VIP6`] as `ip maddr` shows it.
const GROUP: &str = "33:33:ff:ab:cd:ef";

#[test]
fn hosts_learn_where_an_address_is_that_the_program_answers_for() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let (own, host, lb) = (mac(&world.lb, "eth0")?, world.host.clone(), world.lb.clone());
    assert!(ip(&world.lb, "link show eth0")?.contains(&own.to_string()));
    mislead(&world.host)?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Arp)));
        for vip in [VIP4, VIP6] {
            let places = until_owned(&mut announcer, vip).await?;
            assert_eq!((places.len(), places[0].interface.as_str()), (1, "eth0"));
            until_believed(&host, vip, own).await?;
        }
        let addresses = ip(&lb, "addr show")?;
        assert!(
            !addresses.contains(&VIP4.to_string()) && !addresses.contains(&VIP6.to_string()),
            "{addresses}"
        );
        // A second later once more, for those that missed the first.
        mislead(&host)?;
        for vip in [VIP4, VIP6] {
            until_believed(&host, vip, own).await?;
            assert!(until_owned(&mut announcer, vip).await?[0].announcements >= 2);
        }
        Ok(())
    })?;
    assert!(ip(&world.lb, "maddr show dev eth0")?.contains(GROUP), "the program goes on answering");
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Arp)));
        until_owned(&mut announcer, VIP6).await?;
        announcer.withdraw().await;
        Ok(())
    })?;
    assert!(!ip(&world.lb, "maddr show dev eth0")?.contains(GROUP));
    Ok(())
}

#[test]
fn the_kernel_is_given_an_address_keeps_it_over_a_restart_and_gives_it_back() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let (own, host) = (mac(&world.lb, "eth0")?, world.host.clone());
    mislead(&world.host)?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Address)));
        for vip in [VIP4, VIP6] {
            until_owned(&mut announcer, vip).await?;
            until_believed(&host, vip, own).await?;
        }
        Ok(())
    })?;
    let shown = ip(&world.lb, "-d addr show dev eth0")?;
    assert!(shown.contains(&format!("{VIP4}/32")) && shown.contains(&format!("{VIP6}/128")), "{shown}");
    assert!(shown.contains("eth0:flv"), "{shown}");
    assert!(ip(&world.host, &format!("route get {VIP4}")).is_ok());

    // The next daemon owns it without asking anybody, and takes back what it does not want.
    world.announce(async move |mut announcer| {
        let before = tokio::time::Instant::now();
        announcer.wanted.send_replace(Some(wanted(&[VIP4], Announce::Address, &[])));
        until_owned(&mut announcer, VIP4).await?;
        assert!(before.elapsed() < Duration::from_millis(900), "{:?}", before.elapsed());
        Ok(())
    })?;
    let shown = ip(&world.lb, "addr show dev eth0")?;
    assert!(shown.contains(&format!("{VIP4}/32")) && !shown.contains(&VIP6.to_string()), "{shown}");

    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(wanted(&[VIP4], Announce::Address, &[])));
        until_owned(&mut announcer, VIP4).await?;
        announcer.withdraw().await;
        Ok(())
    })?;
    let shown = ip(&world.lb, "addr show dev eth0")?;
    assert!(!shown.contains(&VIP4.to_string()), "{shown}");
    Ok(())
}

#[test]
fn what_an_operator_put_there_is_announced_and_never_taken_away() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    world.lb.ip(&format!("addr add {VIP4}/32 dev eth0\naddr add {VIP6}/128 dev eth0 nodad\n"))?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Address)));
        for vip in [VIP4, VIP6] {
            until_owned(&mut announcer, vip).await?;
        }
        announcer.withdraw().await;
        Ok(())
    })?;
    world.announce(async move |mut announcer| {
        announcer
            .wanted
            .send_replace(Some(Wanted { attached: vec!["eth0".to_owned()], ..Wanted::default() }));
        tokio::time::sleep(Duration::from_millis(200)).await;
        announcer.wanted.send_replace(Some(both(Announce::Arp)));
        until_owned(&mut announcer, VIP4).await.map(drop)
    })?;
    let shown = ip(&world.lb, "addr show dev eth0")?;
    assert!(shown.contains(&format!("{VIP4}/32")) && shown.contains(&format!("{VIP6}/128")), "{shown}");
    Ok(())
}

#[test]
fn a_detached_instance_leaves_no_address_of_its_own() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    world.lb.ip("addr add 192.0.2.77/32 dev eth0\n")?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Address)));
        until_owned(&mut announcer, VIP4).await?;
        until_owned(&mut announcer, VIP6).await.map(drop)
    })?;
    let removed = world.lb.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(remove_leftovers(&["eth0".to_owned()]))?)
    })?;
    assert_eq!(removed, [VIP4, VIP6]);
    let shown = ip(&world.lb, "addr show dev eth0")?;
    assert!(shown.contains("192.0.2.77/32"), "{shown}");
    assert!(!shown.contains(&VIP4.to_string()) && !shown.contains(&VIP6.to_string()), "{shown}");
    Ok(())
}

#[test]
fn an_address_that_another_host_has_is_not_announced() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    for mode in [Announce::Arp, Announce::Address] {
        let world = World::new()?;
        world.rival.ip(&format!("addr add {VIP4}/24 dev eth0\naddr add {VIP6}/64 dev eth0 nodad\n"))?;
        let (rival, host, lb) = (mac(&world.rival, "eth0")?, world.host.clone(), world.lb.clone());
        let own = mac(&world.lb, "eth0")?;
        mislead(&world.host)?;
        world.announce(async move |mut announcer| {
            announcer.wanted.send_replace(Some(both(mode)));
            let conflict = PlaceState::Conflict { mac: Some(rival) };
            for vip in [VIP4, VIP6] {
                let places = until(&mut announcer, vip, |place| place.state == conflict).await?;
                assert_eq!((places[0].conflicts, places[0].announcements), (1, 0));
            }
            // Longer than a whole round of questions would have taken.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            for vip in [VIP4, VIP6] {
                let believed = ip(&host, &format!("neigh show {vip}"))?;
                assert!(!believed.contains(&own.to_string()), "{believed}");
                assert!(!ip(&lb, "addr show")?.contains(&vip.to_string()));
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_owned_address_that_another_host_claims_is_defended() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let (rival, host, own) = (world.rival.clone(), world.host.clone(), mac(&world.lb, "eth0")?);
    // The rival tells the link of its addresses whenever its MAC address changes.
    rival.sysctls(&[("net/ipv4/conf/eth0/arp_notify", "1"), ("net/ipv6/conf/eth0/ndisc_notify", "1")])?;
    mislead(&host)?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(both(Announce::Arp)));
        for vip in [VIP4, VIP6] {
            until_owned(&mut announcer, vip).await?;
            until_believed(&host, vip, own).await?;
        }
        // Nothing else is announced for a minute from here on.
        tokio::time::sleep(Duration::from_secs(6)).await;
        rival.ip(&format!("addr add {VIP4}/24 dev eth0\naddr add {VIP6}/64 dev eth0 nodad\n"))?;
        let claims = MacAddress([2, 0, 0, 0, 0, 0x99]);
        rival.ip(&format!("link set eth0 address {claims}\n"))?;
        for vip in [VIP4, VIP6] {
            let places = until(&mut announcer, vip, |place| place.claimed_by == Some(claims)).await?;
            assert!(places[0].state == PlaceState::Owned && places[0].conflicts > 0, "{places:?}");
            until_believed(&host, vip, own).await?;
        }
        let before: u64 =
            announcer.reports.borrow().iter().map(|report| report.places[0].announcements).sum();
        rival.ip("link set eth0 address 02:00:00:00:00:9a\n")?;
        for vip in [VIP4, VIP6] {
            let again = MacAddress([2, 0, 0, 0, 0, 0x9a]);
            until(&mut announcer, vip, |place| place.claimed_by == Some(again)).await?;
        }
        let after: u64 = announcer.reports.borrow().iter().map(|report| report.places[0].announcements).sum();
        assert_eq!(after, before, "not twice in ten seconds");
        Ok(())
    })
}

#[test]
fn a_duplicate_that_the_kernel_found_is_reported() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    world.rival.ip(&format!("addr add {VIP6}/64 dev eth0 nodad\n"))?;
    world.lb.sysctls(&[("net/ipv6/conf/eth0/accept_dad", "1"), ("net/ipv6/conf/all/accept_dad", "1")])?;
    world.lb.ip(&format!("addr add {VIP6}/128 dev eth0\n"))?;
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(wanted(&[VIP6], Announce::Address, &[])));
        let duplicate = PlaceState::Conflict { mac: None };
        until(&mut announcer, VIP6, |place| place.state == duplicate).await.map(drop)
    })
}

#[test]
fn a_link_that_comes_back_and_a_mac_address_that_changes_are_announced() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let (lb, host, own) = (world.lb.clone(), world.host.clone(), mac(&world.lb, "eth0")?);
    world.announce(async move |mut announcer| {
        // The prefix's address goes with the link; a name does not.
        announcer.wanted.send_replace(Some(wanted(&[VIP4, VIP6], Announce::Arp, &["eth0"])));
        until_owned(&mut announcer, VIP4).await?;
        lb.ip("link set eth0 down\n")?;
        for vip in [VIP4, VIP6] {
            let down = PlaceState::Waiting { reason: "interface eth0 is down".to_owned() };
            until(&mut announcer, vip, |place| place.state == down).await?;
        }
        mislead(&host)?;
        lb.ip("link set eth0 up\n")?;
        for vip in [VIP4, VIP6] {
            until_believed(&host, vip, own).await?;
        }
        let moved = MacAddress([2, 0, 0, 0, 0, 0x77]);
        lb.ip(&format!("link set eth0 address {moved}\n"))?;
        for vip in [VIP4, VIP6] {
            until_believed(&host, vip, moved).await?;
        }
        lb.ip("link del eth0\n")?;
        let gone = |state: &PlaceState| matches!(state, PlaceState::Waiting { reason } if reason.contains("does not exist"));
        until(&mut announcer, VIP4, |place| gone(&place.state)).await.map(drop)
    })
}

#[test]
fn an_address_of_a_vlan_is_announced_in_that_vlan() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    if world.lb.ip("link add link eth0 name eth0.42 type vlan id 42\n").is_err() {
        println!("skipped: this kernel has no 802.1Q");
        return Ok(());
    }
    world.host.ip("link add link eth0 name eth0.42 type vlan id 42\n")?;
    for (namespace, number) in [(&world.lb, 1), (&world.host, 2)] {
        namespace.ip(&format!("addr add 10.42.0.{number}/24 dev eth0.42\nlink set eth0.42 up\n"))?;
    }
    let vip = "10.42.0.10".parse()?;
    world.host.ip(&format!("neigh add {vip} lladdr {WRONG_MAC} dev eth0.42 nud stale\n"))?;
    let (own, host) = (mac(&world.lb, "eth0.42")?, world.host.clone());
    world.announce(async move |mut announcer| {
        announcer.wanted.send_replace(Some(wanted(&[vip], Announce::Arp, &[])));
        assert_eq!(until_owned(&mut announcer, vip).await?[0].interface, "eth0.42");
        let believed = ip(&host, &format!("neigh show {vip} dev eth0.42"))?;
        assert!(believed.contains(&own.to_string()), "{believed}");
        Ok(())
    })
}

#[test]
fn the_daemon_announces_its_vips_and_detaching_takes_them_back() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let (own, rival) = (mac(&world.lb, "eth0")?, mac(&world.rival, "eth0")?);
    mislead(&world.host)?;
    world.rival.ip(&format!("addr add {VIP6}/64 dev eth0 nodad\n"))?;
    let config = DaemonConfig::default()
        .backend("web-1", "192.0.2.2")
        .vip("web4", VIP4, 80, "tcp", &["web-1"])
        .vip_line("announce = \"address\"")
        .vip_line("announce_on = [\"eth0\"]")
        .vip("web6", VIP6, 80, "tcp", &["web-1"])
        .vip_line("announce = \"arp\"");
    let mut daemon = Daemon::start(&world.lab, &world.lb, "lb", &config, &[])?;
    let limit = Duration::from_secs(10);
    let shows = |daemon: &Daemon, parts: &[&str]| {
        let shown = daemon.cli(["addresses"])?;
        anyhow::ensure!(parts.iter().all(|part| shown.contains(part)), "{shown}");
        Ok(())
    };
    let expected = ["owned", "conflict", &format!("{rival} has it")];
    wait_until("addresses", limit, || shows(&daemon, &expected))?;
    assert!(
        daemon.cli(["status"])?.contains(&format!("address {VIP6} is not announced on eth0: {rival} has it"))
    );
    wait_until("the host believes it", limit, || {
        let believed = ip(&world.host, &format!("neigh show {VIP4}"))?;
        anyhow::ensure!(believed.contains(&own.to_string()), "{believed}");
        Ok(())
    })?;

    daemon.kill()?;
    assert!(ip(&world.lb, "addr show dev eth0")?.contains(&format!("{VIP4}/32")), "it outlives the daemon");
    daemon.restart()?;
    wait_until("addresses after a restart", limit, || shows(&daemon, &expected))?;

    daemon.terminate()?;
    assert!(ip(&world.lb, "addr show dev eth0")?.contains(&format!("{VIP4}/32")), "and its end");
    let bpffs = world.lab.bpffs();
    let mut detach = world.lb.command(ferrolev()?)?;
    let said = run(detach.args(["detach", "--instance", "lb", "--bpffs"]).arg(bpffs))?;
    assert!(said.contains(&format!("removed {VIP4}")), "{said}");
    assert!(!ip(&world.lb, "addr show dev eth0")?.contains(&VIP4.to_string()));
    Ok(())
}
