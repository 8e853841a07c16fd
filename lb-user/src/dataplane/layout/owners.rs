//! Numbers by which flow records name dests: one for each vip or route and backend, for as long as flows may be there,
//! whatever entry of `DESTS` it has meanwhile. A number that is given back goes to another dest only after all records of
//! it are gone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::abi::FLOW_OWNERS;

use super::{DataplaneError, EntryKey, Write};
use crate::dataplane::extents::{Extent, Extents};

/// No address comes before it.
const LOWEST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// No address comes behind it.
const HIGHEST: IpAddr = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));

/// All numbers.
#[derive(Clone, Debug)]
pub(super) struct Owners {
    of: BTreeMap<(EntryKey, IpAddr), u16>,
    free: Extents,
    retired: Vec<u16>,
}

impl Owners {
    /// `kept`: numbers that records of an earlier program name.
    pub(super) fn new(kept: &BTreeMap<(EntryKey, IpAddr), u16>) -> Self {
        let mut free = Extents::new(FLOW_OWNERS);
        // 0 is nobody.
        let _nobody = free.take(1);
        for number in kept.values() {
            free.take_at(u32::from(*number));
        }
        Self { of: kept.clone(), free, retired: Vec::new() }
    }

    /// The number of a dest, a new one when it has none.
    pub(super) fn number(&mut self, entry: EntryKey, backend: IpAddr) -> Result<u16, DataplaneError> {
        if let Some(number) = self.of.get(&(entry, backend)) {
            return Ok(*number);
        }
        let extent = self.free.take(1).ok_or_else(|| {
            let what = format!(
                "flows of more than {} pairs of vip and backend would be remembered; set tracking = \"none\" for some vips",
                FLOW_OWNERS - 1
            );
            DataplaneError::Other(what)
        })?;
        let number = extent.start as u16;
        self.of.insert((entry, backend), number);
        Ok(number)
    }

    /// Takes the numbers of an entry's dests back, except of those in `kept`.
    pub(super) fn retire(&mut self, entry: EntryKey, kept: &[IpAddr], writes: &mut Vec<Write>) {
        let all = (entry, LOWEST)..=(entry, HIGHEST);
        let gone = self.of.range(all).map(|(key, _)| *key).filter(|(_, backend)| !kept.contains(backend));
        let gone: Vec<_> = gone.collect();
        for key in gone {
            if let Some(owner) = self.of.remove(&key) {
                writes.push(Write::Owner { owner, dest: None });
                self.retired.push(owner);
            }
        }
    }

    /// Takes back the numbers of entries that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&EntryKey) -> bool, writes: &mut Vec<Write>) {
        let gone: Vec<_> = self.of.keys().map(|(key, _)| *key).filter(|key| !is_there(key)).collect();
        for key in gone {
            self.retire(key, &[], writes);
        }
    }

    pub(super) fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Makes retired numbers free; their records are to be removed before anything else happens.
    pub(super) fn settle(&mut self) -> Vec<u16> {
        let retired = std::mem::take(&mut self.retired);
        for number in &retired {
            self.free.give(Extent { start: u32::from(*number), len: 1 });
        }
        retired
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EntryKey, IpAddr, u16)> + '_ {
        self.of.iter().map(|((key, backend), number)| (*key, *backend, *number))
    }
}
