//! Leases as the elections write them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{DataplaneError, Leases};
use crate::state::MacAddress;
use crate::vrrp::{Fence, FenceError};

impl Fence for Leases {
    fn own(&mut self, address: IpAddr, until_ns: u64, mac: Option<MacAddress>) -> Result<(), FenceError> {
        Self::own(self, address, until_ns, mac).map_err(refused)
    }

    fn lapse(&mut self, address: IpAddr) -> Result<(), FenceError> {
        Self::lapse(self, address).map_err(refused)
    }

    fn leave(&mut self, address: IpAddr) -> Result<(), FenceError> {
        Self::leave(self, address).map_err(refused)
    }

    fn forget(&mut self, address: IpAddr) -> Result<(), FenceError> {
        Self::forget(self, address).map_err(refused)
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        Self::addresses(self)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn refused(error: DataplaneError) -> FenceError {
    FenceError(error.to_string())
}
