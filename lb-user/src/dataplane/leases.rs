//! `LEASES`: until when this node answers for addresses of elections. The map is pinned beside the others and stays when the
//! programs change.
//!
//! Which addresses are in it is said with the tables ([`Leases::elect`]), so that none of them is answered for before an election
//! has spoken. Until when, whoever runs the elections writes, by a descriptor of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, MapError};
use aya_obj::generated::{BPF_ANY, BPF_NOEXIST};
use lb_common::abi::{Lease, LeaseKey, MAX_LEASES};
use lb_common::headers::words_v6;

use super::DataplaneError;
use super::carried::Wire;
use super::pins::{PinDir, remove_file};
use crate::state::MacAddress;

/// The map of an instance.
#[derive(Debug)]
pub struct Leases {
    map: HashMap<MapData, Wire<LeaseKey>, Wire<Lease>>,
    /// What [`Self::elect`] was last told.
    elected: Option<BTreeSet<IpAddr>>,
}

impl Leases {
    /// Opens the map of the instance that is pinned at `pin_dir`.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(pin_dir: &Path) -> Result<Self, DataplaneError> {
        let data = MapData::from_pin(PinDir::open(pin_dir).leases()).map_err(|error| failed(&error))?;
        Self::adopt(data)
    }

    pub(super) fn of(map: Map) -> Result<Self, DataplaneError> {
        Ok(Self { map: HashMap::try_from(map).map_err(|error| failed(&error))?, elected: None })
    }

    fn adopt(data: MapData) -> Result<Self, DataplaneError> {
        Self::of(Map::HashMap(data))
    }

    /// Elections are about these addresses, and no others. New ones are another node's until somebody says otherwise.
    pub(super) fn elect(&mut self, elected: &BTreeSet<IpAddr>) -> Result<(), DataplaneError> {
        if self.elected.as_ref() == Some(elected) {
            return Ok(());
        }
        if elected.len() > MAX_LEASES as usize {
            let (needed, capacity) = (elected.len() as u64, u64::from(MAX_LEASES));
            let what = format!(
                "virtual routers with {needed} addresses, the kernel's table holds {capacity}; use fewer"
            );
            return Err(DataplaneError::Other(what));
        }
        for address in elected {
            let left = Lease { until_ns: Lease::LEFT, ..Lease::default() };
            match self.map.insert(Wire(key(*address)), Wire(left), u64::from(BPF_NOEXIST)) {
                Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => {
                }
                other => other.map_err(|error| failed(&error))?,
            }
        }
        self.elected = Some(elected.clone());
        Ok(())
    }

    /// Addresses that no election is about are answered for as they are configured. To be called when the tables say how.
    pub(super) fn forget_others(&mut self) -> Result<(), DataplaneError> {
        let Some(elected) = self.elected.clone() else { return Ok(()) };
        for address in self.addresses() {
            if !elected.contains(&address) {
                self.forget(address)?;
            }
        }
        Ok(())
    }

    /// The address is this node's until then ([`Lease::FOR_EVER`]: without end), at this MAC address or the interface's own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn own(
        &mut self,
        address: IpAddr,
        until_ns: u64,
        mac: Option<MacAddress>,
    ) -> Result<(), DataplaneError> {
        let mac = mac.map(|mac| mac.0).unwrap_or_default();
        self.set(address, Lease { until_ns, mac, reserved: [0; 2] })
    }

    /// The address is not this node's, but the kernel may have it still: questions for it are dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lapse(&mut self, address: IpAddr) -> Result<(), DataplaneError> {
        self.set(address, Lease { until_ns: Lease::LAPSED, ..Lease::default() })
    }

    /// The address is another node's.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn leave(&mut self, address: IpAddr) -> Result<(), DataplaneError> {
        self.set(address, Lease { until_ns: Lease::LEFT, ..Lease::default() })
    }

    /// No election is about the address any more.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forget(&mut self, address: IpAddr) -> Result<(), DataplaneError> {
        match self.map.remove(&Wire(key(address))) {
            Err(MapError::KeyNotFound) => Ok(()),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(())
            }
            other => other.map_err(|error| failed(&error)),
        }
    }

    /// The addresses that elections are about.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.map.keys().flatten().map(|Wire(key)| address(key)).collect()
    }

    /// What is said of an address.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<Lease> {
        self.map.get(&Wire(key(address)), 0).ok().map(|Wire(lease)| lease)
    }

    fn set(&mut self, address: IpAddr, lease: Lease) -> Result<(), DataplaneError> {
        self.map.insert(Wire(key(address)), Wire(lease), u64::from(BPF_ANY)).map_err(|error| failed(&error))
    }
}

/// Where the map of an instance is pinned, or will be. One of another layout is given up.
pub(super) fn pin(dir: &PinDir) -> Result<std::path::PathBuf, DataplaneError> {
    let path = dir.leases();
    let Ok(found) = MapData::from_pin(&path) else { return Ok(path) };
    let is_same = found.info().is_ok_and(|info| {
        info.max_entries() == MAX_LEASES
            && info.key_size() as usize == size_of::<LeaseKey>()
            && info.value_size() as usize == size_of::<Lease>()
    });
    if !is_same || !dir.is_of_this_version() {
        remove_file(&path)?;
    }
    Ok(path)
}

/// The key of an address.
#[must_use]
pub fn key(address: IpAddr) -> LeaseKey {
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    LeaseKey { address: words_v6(address.octets()) }
}

fn address(LeaseKey { address: [high, low] }: LeaseKey) -> IpAddr {
    Ipv6Addr::from((u128::from(high) | u128::from(low) << 64).to_le_bytes()).to_canonical()
}

fn failed(error: &dyn std::fmt::Display) -> DataplaneError {
    DataplaneError::other("LEASES", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_address_in_both_families() {
        for text in ["192.0.2.1", "255.0.255.0", "2001:db8::1", "fe80::ff"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(address(key(ip)), ip);
        }
    }
}
