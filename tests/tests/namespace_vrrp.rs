//! Virtual routers between two nodes on a link: who has the addresses, and when they change hands.

#[path = "namespace_vrrp/world.rs"]
mod world;

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lb_user::vrrp::{Order, Refused, RouterStatus, Subject, Tracker};
use lb_vrrp::machine::{Event, Role};
use lb_vrrp::wire::{Authentication, Version};
use tests::lab::{Keepalived, privileged, wait_until};
use world::{LINK_LOCAL, Node, PATIENCE, VIP4, VIP6, VRID, World, has, ip, router, wait_has, wanted};

/// A router alone: the higher priority is master, and the other one when it has left.
#[test]
fn the_higher_priority_has_the_address_and_the_other_one_when_it_has_left() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    for (version, is_ipv6, vip) in
        [(Version::V3, false, VIP4), (Version::V3, true, VIP6), (Version::V2, false, VIP4)]
    {
        let centiseconds = if version == Version::V2 { 100 } else { 10 };
        let low = Node::start(&world.b, wanted([("it", router(version, centiseconds, 100, is_ipv6))]))?;
        low.wait_for("it", Role::Master)?;
        wait_has(&world.b, vip, true)?;
        let high = Node::start(&world.a, wanted([("it", router(version, centiseconds, 150, is_ipv6))]))?;
        high.wait_for("it", Role::Master)?;
        low.wait_for("it", Role::Backup)?;
        wait_has(&world.a, vip, true)?;
        wait_has(&world.b, vip, false)?;
        if is_ipv6 {
            wait_has(&world.a, LINK_LOCAL, true)?;
            wait_has(&world.b, LINK_LOCAL, false)?;
        }
        ensure!(low.leases.lock().expect("leases")[&vip] <= 1, "given back");
        ensure!(high.leases.lock().expect("leases")[&vip] > 1, "leased");
        low.wait("it", "the master is heard", |router| {
            router.master.is_some() && !router.seen.peers.is_empty()
        })?;
        high.leave()?;
        ensure!(!has(&world.a, vip)?, "an orderly end lets go");
        low.wait_for("it", Role::Master)?;
        let seen = low.router("it")?.seen;
        ensure!(seen.farewells_received == 1 && seen.rejects.total() == 0, "{seen:?}");
        low.leave()?;
        ensure!(!has(&world.b, vip)?, "an orderly end lets go");
    }
    Ok(())
}

/// What keepalived is given for the same virtual router.
fn instance(version: Version, centiseconds: u16, priority: u8, is_ipv6: bool, more: &str) -> String {
    let addresses = if is_ipv6 { format!("{LINK_LOCAL}/128\n{VIP6}/128") } else { format!("{VIP4}/24") };
    format!(
        "vrrp_instance it {{\n\
         state BACKUP\ninterface eth0\nvirtual_router_id {VRID}\npriority {priority}\n\
         version {}\nadvert_int {}\n{more}\n\
         virtual_ipaddress {{\n{addresses}\n}}\n}}\n",
        version.number(),
        f64::from(centiseconds) / 100.0
    )
}

/// Either one as master of the other one, in every way that both can speak.
#[test]
fn keepalived_and_ferrolev_elect_each_other() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let password = "authentication {\nauth_type PASS\nauth_pass secret\n}";
    let unicast4 = "unicast_src_ip 192.0.2.2\nunicast_peer {\n192.0.2.1\n}";
    let unicast6 = "unicast_src_ip fe80::2\nunicast_peer {\nfe80::1\n}";
    for (version, centiseconds, is_ipv6, is_unicast, more) in [
        (Version::V2, 100, false, false, ""),
        (Version::V2, 100, false, false, password),
        (Version::V3, 10, false, false, ""),
        (Version::V3, 10, false, true, unicast4),
        (Version::V3, 10, true, false, ""),
        (Version::V3, 10, true, true, unicast6),
    ] {
        let vip = if is_ipv6 { VIP6 } else { VIP4 };
        let what = format!("{version:?} {vip} {more:?}");
        let of = |priority| {
            let mut router = router(version, centiseconds, priority, is_ipv6);
            if more == password {
                router.authentication = Authentication::password("secret");
            }
            if is_unicast {
                router.peers =
                    vec![if is_ipv6 { "fe80::2" } else { "192.0.2.2" }.parse().expect("an address")];
                // keepalived sends unicast IPv6 with 64.
                router.check_hop_limit = !is_ipv6;
            }
            router
        };
        let mut keepalived = Keepalived::start(
            &world.lab,
            &world.b,
            "b",
            &instance(version, centiseconds, 100, is_ipv6, more),
        )?;
        wait_has(&world.b, vip, true).context(what.clone()).with_context(|| keepalived.log())?;
        let node = Node::start(&world.a, wanted([("it", of(50))]))?;
        node.wait("it", "keepalived is heard", |router| router.master.is_some()).context(what.clone())?;
        ensure!(node.router("it")?.role == Role::Backup);
        node.vrrp.wanted.send_replace(Some(wanted([("it", of(150))])));
        node.wait_for("it", Role::Master).context(what.clone())?;
        wait_has(&world.a, vip, true)?;
        wait_has(&world.b, vip, false).context(what.clone()).with_context(|| keepalived.log())?;
        let seen = node.router("it")?.seen;
        ensure!(seen.rejects.total() == 0, "{what}: {seen:?}");
        node.leave()?;
        wait_has(&world.b, vip, true).context(what.clone()).with_context(|| keepalived.log())?;
        let node = Node::start(&world.a, wanted([("it", of(50))]))?;
        node.wait("it", "keepalived is heard", |router| router.master.is_some()).context(what.clone())?;
        keepalived.terminate()?;
        node.wait_for("it", Role::Master).context(what.clone())?;
        ensure!(node.router("it")?.seen.farewells_received > 0, "{what}");
    }
    Ok(())
}

#[test]
fn what_is_not_for_a_router_is_counted_and_changes_nothing() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let mut mine = router(Version::V2, 100, 100, false);
    mine.authentication = Authentication::password("secret");
    let node = Node::start(&world.a, wanted([("it", mine)]))?;
    node.wait_for("it", Role::Master)?;
    let mut other = router(Version::V2, 100, 200, false);
    other.authentication = Authentication::password("wrong");
    let rival = Node::start(&world.b, wanted([("it", other.clone())]))?;
    let counts = |reason: &'static str| {
        move |status: &RouterStatus| {
            status.seen.rejects.iter().any(|(word, count)| word == reason && count > 0)
        }
    };
    node.wait("it", "a wrong password", counts("password"))?;
    other.authentication = Authentication::None;
    rival.vrrp.wanted.send_replace(Some(wanted([("it", other.clone())])));
    node.wait("it", "no password", counts("authentication_mismatch"))?;
    other.authentication = Authentication::password("secret");
    other.addresses[0].address = "192.0.2.99".parse()?;
    rival.vrrp.wanted.send_replace(Some(wanted([("it", other.clone())])));
    node.wait("it", "the same id with other addresses", counts("address_list"))?;
    other.vrid = 77;
    rival.vrrp.wanted.send_replace(Some(wanted([("it", other)])));
    wait_until("another id", PATIENCE, || {
        let strays = node.vrrp.status.borrow().strays.get("unknown_vrid").copied();
        ensure!(strays.unwrap_or(0) > 0);
        Ok(())
    })?;
    ensure!(node.router("it")?.role == Role::Master);
    ensure!(node.router("it")?.transitions.len() == 2, "init to backup, backup to master");
    Ok(())
}

#[test]
fn a_link_that_goes_down_a_script_and_a_file_move_the_address() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let flag = world.lab.dir().join("flag");
    let number = world.lab.dir().join("number");
    std::fs::write(&flag, "")?;
    let mut first = router(Version::V3, 10, 150, false);
    first.track =
        vec![(Subject::Tracker("script".to_owned()), -100), (Subject::Tracker("number".to_owned()), 1)];
    let mut wanted_first = wanted([("it", first)]);
    let script = Tracker::Script {
        command: vec!["/usr/bin/test".to_owned(), "-e".to_owned(), flag.display().to_string()],
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 2,
    };
    wanted_first.trackers =
        [("script".to_owned(), script), ("number".to_owned(), Tracker::File { path: number.clone() })].into();
    let node = Node::start(&world.a, wanted_first)?;
    let other = Node::start(&world.b, wanted([("it", router(Version::V3, 10, 100, false))]))?;
    let first_has = |has: bool| -> Result<()> {
        let (one, two) = if has { (Role::Master, Role::Backup) } else { (Role::Backup, Role::Master) };
        other.wait_for("it", two)?;
        wait_has(&world.a, VIP4, has)?;
        wait_has(&world.b, VIP4, !has)?;
        if has { node.wait_for("it", one) } else { Ok(()) }
    };
    first_has(true)?;
    std::fs::remove_file(&flag)?;
    first_has(false)?;
    ensure!(node.router("it")?.evaluation.priority == 50);
    std::fs::write(&flag, "")?;
    first_has(true)?;
    std::fs::write(&number, "-120\n")?;
    first_has(false)?;
    std::fs::write(&number, "0\n")?;
    first_has(true)?;
    world.switch.ip("link set node-a down\n")?;
    node.wait_for("it", Role::Fault)?;
    first_has(false)?;
    world.switch.ip("link set node-a up\n")?;
    first_has(true)?;
    Ok(())
}

#[test]
fn two_halves_of_a_link_have_a_master_each_until_they_are_one_again() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let first = Node::start(&world.a, wanted([("it", router(Version::V3, 10, 150, false))]))?;
    first.wait_for("it", Role::Master)?;
    let second = Node::start(&world.b, wanted([("it", router(Version::V3, 10, 100, false))]))?;
    second.wait("it", "the master is heard", |router| router.master.is_some())?;
    world.join(false)?;
    second.wait_for("it", Role::Master)?;
    // Whatever the host believes now, it finds the one that stays when the other one has let go.
    world.join(true)?;
    second.wait_for("it", Role::Backup)?;
    wait_has(&world.b, VIP4, false)?;
    let dual = |event: &Event| matches!(event, Event::DualMaster { .. } | Event::DualMasterEnded { .. });
    let told = |node: &Node| node.notices.try_iter().filter(|notice| dual(&notice.event)).count();
    ensure!(told(&first) + told(&second) > 0, "somebody has noticed");
    let own = ip(&world.a, "link show dev eth0")?;
    wait_until("the host finds the master", PATIENCE, || {
        let found = world.found_by_host(VIP4)?;
        ensure!(own.contains(&found), "{found} is not in {own}");
        Ok(())
    })
}

#[test]
fn a_hand_over_moves_the_address_without_a_gap_and_maintenance_keeps_it_away() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    let first = Node::start(&world.a, wanted([("it", router(Version::V3, 10, 150, false))]))?;
    first.wait_for("it", Role::Master)?;
    let second = Node::start(&world.b, wanted([("it", router(Version::V3, 10, 100, false))]))?;
    second.wait("it", "the master is heard", |router| router.master.is_some())?;
    order(&first, Order::HandOver(Some("it".to_owned())))?.map_err(|error| anyhow!(error))?;
    second.wait_for("it", Role::Master)?;
    first.wait_for("it", Role::Backup)?;
    ensure!(order(&first, Order::HandOver(None))?.is_err(), "it has nothing to hand over");
    ensure!(order(&first, Order::HandOver(Some("that".to_owned())))?.is_err(), "there is no such router");
    order(&second, Order::Maintenance(None, true))?.map_err(|error| anyhow!(error))?;
    first.wait_for("it", Role::Master)?;
    second.wait("it", "maintenance", |router| router.role == Role::Backup && router.maintenance)?;
    Ok(())
}

fn order(node: &Node, order: Order) -> Result<Result<(), Refused>> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    node.vrrp.orders.blocking_send((order, reply))?;
    Ok(answer.blocking_recv()?)
}

#[test]
fn at_the_virtual_mac_address_neighbours_notice_no_change_of_the_master() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let world = World::new()?;
    for (is_ipv6, vip, mac) in [(false, VIP4, "00:00:5e:00:01:33"), (true, VIP6, "00:00:5e:00:02:33")] {
        let of = |priority| {
            let mut router = router(Version::V3, 10, priority, is_ipv6);
            router.virtual_mac = true;
            router
        };
        let first = Node::start(&world.a, wanted([("it", of(150))]))?;
        first.wait_for("it", Role::Master)?;
        let second = Node::start(&world.b, wanted([("it", of(100))]))?;
        second.wait("it", "the master is heard", |router| router.master.is_some())?;
        let found = |what: &str| {
            wait_until(what, PATIENCE, || {
                world.host.ip("neigh flush dev eth0\n")?;
                let found = world.found_by_host(vip)?;
                ensure!(found == mac, "{vip} is at {found}");
                Ok(())
            })
        };
        let links =
            |namespace| -> Result<usize> { Ok(ip(namespace, "-o link show type macvlan")?.lines().count()) };
        found("the first master")?;
        ensure!((links(&world.a)?, links(&world.b)?) == (1, 0), "only the master's card takes the frames");
        first.leave()?;
        second.wait_for("it", Role::Master)?;
        found("the second master")?;
        ensure!((links(&world.a)?, links(&world.b)?) == (0, 1));
    }
    Ok(())
}
