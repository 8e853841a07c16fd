//! The table behind a vip's ring that finds a dest by its QUIC server id: local numbers, each in one of the two slots that
//! the packet path will look at. Slot 0 holds the salt of the hash.

use lb_common::abi::{RING_PAGE_SLOTS, Target};
use lb_common::hash;
use lb_common::maglev::EMPTY;

use crate::state::{ForwardDest, ForwardVip, QuicRouting, ServerId};

/// Slots of the table for so many ids: at most a quarter is in use.
pub(crate) fn slots(ids: usize) -> u32 {
    let least = RING_PAGE_SLOTS;
    u32::try_from(4 * ids).unwrap_or(u32::MAX / 2).next_power_of_two().max(least)
}

/// Pages behind the ring.
pub(super) fn pages(vip: &ForwardVip) -> u32 {
    if vip.options.quic.is_some() { slots(vip.dests.len()) / RING_PAGE_SLOTS } else { 0 }
}

/// The part of [`Target::flags`] that says how the vip's connection ids are read.
pub(super) fn flags(vip: &ForwardVip) -> u32 {
    let Some(QuicRouting { server_id_len, config_id }) = vip.options.quic else { return 0 };
    Target::QUIC
        | u32::from(server_id_len) << Target::QUIC_LEN_SHIFT
        | u32::from(config_id) << Target::QUIC_CONFIG_SHIFT
        | pages(vip).ilog2() << Target::QUIC_PAGES_SHIFT
}

/// Whether connection ids can name this dest, drained or not: connections that live go on.
pub(super) fn is_named(vip: &ForwardVip, dest: &ForwardDest) -> bool {
    vip.options.quic.is_some_and(|quic| dest.server_id.is_some_and(|id| id.len == quic.server_id_len))
}

/// A server id as the packet path reads it.
pub(crate) fn word(id: ServerId) -> u64 {
    u64::from_le_bytes(id.bytes) & hash::server_id_mask(u32::from(id.len))
}

/// The table of `ids`, each with its local number.
///
/// # Panics
/// When two ids are equal, which the configuration refuses.
pub(super) fn table(ids: &[(ServerId, u16)], slots: u32) -> Vec<u16> {
    (1..EMPTY)
        .find_map(|salt| place(ids, salt, slots))
        .expect("different ids at a quarter of the slots find their places under one of 65534 salts")
}

fn place(ids: &[(ServerId, u16)], salt: u16, slots: u32) -> Option<Vec<u16>> {
    const MAX_MOVES: u32 = 100;
    let mut table: Vec<Option<(ServerId, u16)>> = vec![None; slots as usize];
    for entry in ids {
        let mut entry = *entry;
        let mut slot = hash::server_id_slots(word(entry.0), salt, slots).0;
        let mut moves = 0;
        loop {
            let (one, other) = hash::server_id_slots(word(entry.0), salt, slots);
            if slot == 0 {
                slot = if one == 0 { other } else { one };
            }
            if slot == 0 || moves == MAX_MOVES {
                return None;
            }
            let Some(previous) = table[slot as usize].replace(entry) else { break };
            let (one, other) = hash::server_id_slots(word(previous.0), salt, slots);
            slot = if slot == one { other } else { one };
            entry = previous;
            moves += 1;
        }
    }
    let mut numbers: Vec<u16> = table.iter().map(|entry| entry.map_or(EMPTY, |(_, number)| number)).collect();
    numbers[0] = salt;
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ServerId {
        let [a, b, c, d] = number.to_be_bytes();
        ServerId { bytes: [a, b, c, d, 0, 0, 0, 0], len: 4 }
    }

    #[test]
    fn every_id_is_in_one_of_its_two_slots() {
        for count in [0, 1, 2, 100, 256, 3000] {
            let ids: Vec<_> = (0..count).map(|n: u16| (id(u32::from(n)), n)).collect();
            let slots = slots(ids.len());
            let table = table(&ids, slots);
            assert_eq!(table.len(), slots as usize);
            for (id, number) in &ids {
                let (one, other) = hash::server_id_slots(word(*id), table[0], slots);
                let found = [one, other].iter().any(|slot| *slot != 0 && table[*slot as usize] == *number);
                assert!(found, "{id:?} of {count}");
            }
        }
    }

    #[test]
    fn shorter_ids_are_told_from_longer_ones_by_their_bytes_alone() {
        let short = ServerId { bytes: [7, 0xff, 0xff, 0, 0, 0, 0, 0], len: 1 };
        assert_eq!(word(short), 7);
    }
}
