//! One bank of the vip tables: every key in one of the two slots that the packet path will look at.
//!
//! Keys are placed by cuckoo hashing (Pagh and Rodler, 2004): a newcomer takes its first slot and sends the key that was
//! there to its other one. When that goes round in circles, the whole bank is built again under the next salt.

use bytemuck::Zeroable;
use lb_common::abi::{VIP_SLOTS, Vip4, Vip6};
use lb_common::hash;

/// Vips of one address family that a bank holds for certain.
pub const MAX_VIPS: usize = VIP_SLOTS as usize / 4;
/// Entries of one address family: vips, their routes and their addresses together. Well below half of the slots, where
/// cuckoo hashing with one entry a slot begins to fail under every salt.
pub const MAX_ENTRIES: usize = 7000;

const SALTS: u64 = 64;

/// Both tables of a bank, under one salt.
#[derive(Clone, Debug)]
pub struct Bank {
    pub salt: u64,
    pub vip4: Vec<Vip4>,
    pub vip6: Vec<Vip6>,
}

impl Bank {
    /// Places all entries, or `None` when there are too many.
    #[must_use]
    pub fn build(vips4: &[Vip4], vips6: &[Vip6]) -> Option<Self> {
        if vips4.len() > MAX_ENTRIES || vips6.len() > MAX_ENTRIES {
            return None;
        }
        (0..SALTS).find_map(|salt| Some(Self { salt, vip4: place(vips4, salt)?, vip6: place(vips6, salt)? }))
    }
}

/// An entry of a vip table.
trait Entry: Copy + Zeroable {
    fn slots(&self, salt: u64) -> (u32, u32);
    fn is_empty(&self) -> bool;
}

impl Entry for Vip4 {
    fn slots(&self, salt: u64) -> (u32, u32) {
        hash::vip4_slots(self.key, salt)
    }

    fn is_empty(&self) -> bool {
        self.key == 0
    }
}

impl Entry for Vip6 {
    fn slots(&self, salt: u64) -> (u32, u32) {
        hash::vip6_slots(self.address, self.service, salt)
    }

    fn is_empty(&self) -> bool {
        self.service == 0
    }
}

fn place<E: Entry>(entries: &[E], salt: u64) -> Option<Vec<E>> {
    let mut table = vec![E::zeroed(); VIP_SLOTS as usize];
    entries.iter().all(|entry| insert(&mut table, *entry, salt)).then_some(table)
}

fn insert<E: Entry>(table: &mut [E], mut entry: E, salt: u64) -> bool {
    const MAX_MOVES: u32 = 200;
    let mut slot = entry.slots(salt).0;
    for _ in 0..MAX_MOVES {
        let previous = std::mem::replace(&mut table[slot as usize], entry);
        if previous.is_empty() {
            return true;
        }
        let (first, second) = previous.slots(salt);
        slot = if slot == first { second } else { first };
        entry = previous;
    }
    false
}

#[cfg(test)]
mod tests {
    use lb_common::abi::Target;

    use super::*;

    fn vip4(n: u32) -> Vip4 {
        Vip4 { key: hash::vip4_key(n, 80, 6), target: Target { vip: n, ..Target::default() } }
    }

    fn vip6(n: u32) -> Vip6 {
        let target = Target { vip: n, ..Target::default() };
        Vip6 { address: [u64::from(n), 1], service: hash::vip6_service(443, 17), target }
    }

    #[test]
    fn a_full_bank_finds_every_key_in_one_of_its_two_slots() {
        let v4: Vec<_> = (0..MAX_ENTRIES as u32).map(vip4).collect();
        let v6: Vec<_> = (0..MAX_ENTRIES as u32).map(vip6).collect();
        let bank = Bank::build(&v4, &v6).expect("this many must fit");
        for entry in v4 {
            let (first, second) = entry.slots(bank.salt);
            assert!(bank.vip4[first as usize] == entry || bank.vip4[second as usize] == entry);
        }
        for entry in v6 {
            let (first, second) = entry.slots(bank.salt);
            assert!(bank.vip6[first as usize] == entry || bank.vip6[second as usize] == entry);
        }
        assert_eq!(bank.vip4.iter().filter(|entry| !entry.is_empty()).count(), MAX_ENTRIES);
    }

    #[test]
    fn one_vip_too_many_is_refused() {
        let v4: Vec<_> = (0..=MAX_ENTRIES as u32).map(vip4).collect();
        assert!(Bank::build(&v4, &[]).is_none());
    }
}
