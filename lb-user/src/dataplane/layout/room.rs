//! How many vips, routes and addresses the vip table takes.

use std::net::IpAddr;

use crate::dataplane::DataplaneError;
use crate::dataplane::vip_table::{MAX_ENTRIES, MAX_VIPS};
use crate::state::Forwarding;

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
