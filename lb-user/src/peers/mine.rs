//! Of which addresses packets come to this node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_vrrp::machine::Role;
use tokio::sync::watch;

use super::Mine;
use crate::announce;
use crate::vrrp::{Status, Vrrp, Wanted};

/// Keeps up with elections on the present runtime, until those who know have ended.
#[must_use]
pub fn mine(vrrp: &Vrrp, announced: watch::Receiver<Option<announce::Wanted>>) -> Mine {
    let (sender, mine) = watch::channel(BTreeSet::new());
    let (mut wanted, mut status, mut announced) = (vrrp.wanted.subscribe(), vrrp.status.clone(), announced);
    tokio::spawn(async move {
        loop {
            let now = {
                let vips = announced.borrow_and_update();
                let vips = vips.iter().flat_map(|wanted| wanted.addresses.keys()).copied().collect();
                let (wanted, status) = (wanted.borrow_and_update(), status.borrow_and_update());
                wanted.as_ref().map_or_else(BTreeSet::new, |wanted| owned(vips, wanted, &status))
            };
            sender.send_if_modified(|before| {
                let modified = *before != now;
                *before = now;
                modified
            });
            let changed = tokio::select! {
                changed = wanted.changed() => changed,
                changed = status.changed() => changed,
                changed = announced.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    });
    mine
}

/// Vips' addresses that no election gives to another node.
fn owned(mut vips: BTreeSet<IpAddr>, wanted: &Wanted, status: &Status) -> BTreeSet<IpAddr> {
    for (name, router) in &wanted.routers {
        if status.routers.get(name).is_none_or(|router| router.role != Role::Master) {
            let addresses = router.addresses.iter().chain(&router.more_addresses);
            addresses.for_each(|address| _ = vips.remove(&address.address));
        }
    }
    for (name, external) in &wanted.external {
        if status.external.get(name).is_none_or(|external| !external.owned) {
            external.addresses.iter().for_each(|address| _ = vips.remove(&address.address));
        }
    }
    vips
}
