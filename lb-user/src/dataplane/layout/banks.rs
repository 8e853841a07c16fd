//! The vip table, of which packets read one bank while the other is written.

use std::net::IpAddr;

use lb_common::abi::{VIP_SLOTS, Vip4, Vip6};

use super::{
    Layout, Write, address, address4_entry_key, address6_entry_key, keys, too_many_vips, vip4_entry_key,
    vip6_entry_key,
};
use crate::dataplane::DataplaneError;
use crate::dataplane::vip_table::{Bank, MAX_VIPS};

impl Layout {
    /// Writes all vips to the idle bank and switches to it.
    pub(super) fn switch_banks(&mut self, writes: &mut Vec<Write>) -> Result<(), DataplaneError> {
        let number = 1 - self.bank;
        let (vips4, vips6) = self.table_entries(number);
        let most = vips4.len().max(vips6.len()) as u64;
        let bank = Bank::build(&vips4, &vips6).ok_or(too_many_vips(most, MAX_VIPS as u64))?;
        let before = self.filter;
        let after = keys::filter(self.entries.keys(), &self.addresses, &self.elected);
        self.slots = keys::locate(self.entries.keys(), &bank, number * VIP_SLOTS);
        let both = std::array::from_fn(|word| before[word] | after[word]);
        writes.push(Write::Bank { number, bank: Box::new(bank) });
        writes.push(Write::Filter(Box::new(both)));
        writes.push(Write::Switch { bank: number });
        writes.push(Write::Filter(Box::new(after)));
        self.bank = number;
        self.filter = after;
        self.idle_bank_read = true;
        Ok(())
    }

    /// Everything as bank `bank` holds it.
    fn table_entries(&self, bank: u32) -> (Vec<Vip4>, Vec<Vip6>) {
        let (mut vips4, mut vips6) = (Vec::new(), Vec::new());
        for (key, placed) in &self.entries {
            let target = placed.target(bank);
            match key.vip.address {
                IpAddr::V4(address) => vips4.push(Vip4 { key: vip4_entry_key(key, address), target }),
                IpAddr::V6(address) => {
                    let (address, service) = vip6_entry_key(key, address);
                    vips6.push(Vip6 { address, service, target });
                }
            }
        }
        let vips = self.entries.keys().filter(|key| key.route == 0);
        let ports = address::ports(vips.map(|key| &key.vip));
        for (ip, address) in &self.addresses {
            let ports = ports.get(ip).cloned().unwrap_or_default();
            let target = address::target(address, &ports, &self.places);
            match ip {
                IpAddr::V4(v4) => vips4.push(Vip4 { key: address4_entry_key(*v4), target }),
                IpAddr::V6(v6) => {
                    let (address, service) = address6_entry_key(*v6);
                    vips6.push(Vip6 { address, service, target });
                }
            }
        }
        (vips4, vips6)
    }
}
