//! How many vips, routes and addresses the vip table takes, and how much memory rings are given beforehand.

use std::net::IpAddr;

use super::Layout;

use crate::dataplane::DataplaneError;
use crate::dataplane::vip_table::{MAX_ENTRIES, MAX_VIPS};
use crate::state::Forwarding;

/// Less is never taken, if it is there to be taken: 4 MiB, for 15 rings of the default size that change twice.
const LEAST_RING_PAGES: u32 = 2048;

impl Layout {
    /// Pages that there are for rings.
    #[must_use]
    pub const fn ring_pages(&self) -> u32 {
        self.runs.capacity()
    }

    /// Pages that rings have.
    #[must_use]
    pub fn ring_pages_used(&self) -> u32 {
        self.runs.used()
    }

    /// Gives back what rings need not have beforehand. All of them may change once without new tables: a ring in transition has
    /// its past behind it, and is written beside the old one.
    pub fn leave_room_for_rings(&mut self) {
        let room = (self.runs.used() + self.runs.largest()).saturating_mul(2);
        self.runs.shrink_to(room.max(LEAST_RING_PAGES));
    }
}

pub(super) fn check_vip_counts(forwarding: &Forwarding) -> Result<(), DataplaneError> {
    let most = |addresses: &mut dyn Iterator<Item = IpAddr>| {
        let (v6, v4): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
        v6.len().max(v4.len())
    };
    let vips = most(&mut forwarding.vips.keys().map(|key| key.address));
    if vips > MAX_VIPS {
        return Err(too_many_vips(vips as u64, MAX_VIPS as u64));
    }
    let routes = forwarding.routes.keys().map(|(key, _)| key.address);
    let entries = forwarding.vips.keys().map(|key| key.address).chain(routes);
    let entries = most(&mut entries.chain(forwarding.addresses.keys().copied()));
    if entries <= MAX_ENTRIES { Ok(()) } else { Err(too_many_vips(entries as u64, MAX_ENTRIES as u64)) }
}

pub(super) fn too_many_vips(needed: u64, capacity: u64) -> DataplaneError {
    DataplaneError::TooManyVips { needed, capacity }
}
