//! Virtual routers between two nodes on a link: who has the addresses, and when they change hands.

#[path = "namespace_vrrp/world.rs"]
mod world;

use anyhow::{Result, ensure};
use lb_user::vrrp::{Order, Subject, Tracker};
use lb_vrrp::machine::{Event, Role};
use lb_vrrp::wire::{Authentication, Version};
use tests::lab::{privileged, wait_until};
use world::{LINK_LOCAL, Node, PATIENCE, VIP4, VIP6, World, has, router, wait_has, wanted};

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
