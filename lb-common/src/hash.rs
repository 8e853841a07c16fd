//! From packet fields to table slots. Kernel and user space call the same functions, so user space can predict any flow.
//!
//! All words are loaded little-endian from the packet's bytes, whatever the machine, so that every balancer of a fleet
//! hashes alike. The mixer is a xorshift-multiply finalizer over 64 bits: two multiplications (three for IPv6), no memory.
//!
//! ```text
//! flow hash (v4)   mix(seed ^ (source | ports << 32))                          upper 32 bits
//! flow hash (v6)   mix(mix(seed ^ source.low) ^ source.high ^ ports·C)         upper 32 bits
//! ring slot        hash · ring_size >> 32                                      multiply-shift, no division
//! flow key         mix(mix(flow) ^ vip), flow as above with all ports          bucket: upper 32 bits, multiply-shift; tag: 28
//! vip key (v4)     address | destination port << 32 | protocol << 48 | route << 56
//! ```

use crate::abi::{FILTER_BITS, VIP_SLOTS};

const MIX_1: u64 = 0xd6e8_feb8_6659_fd93;
const MIX_2: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
const fn mix(mut x: u64) -> u64 {
    x ^= x >> 32;
    x = x.wrapping_mul(MIX_1);
    x ^= x >> 29;
    x = x.wrapping_mul(MIX_2);
    x
}

/// The two port words of a packet as the hash and the tables use them: source in the low half, destination in the
/// high half, each as its two bytes stand in the packet, read little-endian.
#[must_use]
#[inline(always)]
pub const fn ports_word(source_port: [u8; 2], destination_port: [u8; 2]) -> u32 {
    u32::from_le_bytes([source_port[0], source_port[1], destination_port[0], destination_port[1]])
}

/// Hash of an IPv4 flow. `ports` is already masked by the vip's affinity.
#[must_use]
#[inline(always)]
pub const fn flow_hash_v4(source: u32, ports: u32, seed: u64) -> u32 {
    (mix(seed ^ (source as u64 | (ports as u64) << 32)) >> 32) as u32
}

/// Hash of an IPv6 flow. `ports` is already masked by the vip's affinity.
#[must_use]
#[inline(always)]
pub const fn flow_hash_v6(source: [u64; 2], ports: u32, seed: u64) -> u32 {
    let first = mix(seed ^ source[0]);
    (mix(first ^ source[1] ^ (ports as u64).wrapping_mul(MIX_1)) >> 32) as u32
}

/// The ring slot of a flow, by multiply-shift: evenly for a `ring_size` well below 2^32.
#[must_use]
#[inline(always)]
pub const fn ring_slot(hash: u32, ring_size: u32) -> u32 {
    ((hash as u64 * ring_size as u64) >> 32) as u32
}

/// A flow's key in the flow cache, the same on every balancer of a fleet. Unlike in the flow hash, all of the ports count,
/// and the vip's address and protocol too.
#[must_use]
#[inline(always)]
pub const fn flow_key_v4(source: u32, destination: u32, ports: u32, protocol: u8, seed: u64) -> u64 {
    let flow = mix(seed ^ (source as u64 | (ports as u64) << 32));
    mix(flow ^ (destination as u64 | (protocol as u64) << 32))
}

/// The same of an IPv6 flow.
#[must_use]
#[inline(always)]
pub const fn flow_key_v6(
    source: [u64; 2],
    destination: [u64; 2],
    ports: u32,
    protocol: u8,
    seed: u64,
) -> u64 {
    let flow = mix(mix(seed ^ source[0]) ^ source[1] ^ (ports as u64).wrapping_mul(MIX_1));
    mix(mix(flow ^ destination[0]) ^ destination[1] ^ (protocol as u64) << 32)
}

/// The bucket of the flow cache that a flow belongs to, of `buckets`.
#[must_use]
#[inline(always)]
pub const fn flow_bucket(key: u64, buckets: u32) -> u32 {
    (((key >> 32) * buckets as u64) >> 32) as u32
}

/// What tells flows of a bucket apart: 28 bits.
#[must_use]
#[inline(always)]
pub const fn flow_tag(key: u64) -> u32 {
    ((key ^ key >> 32) as u32) >> 4
}

/// Key of an IPv4 vip. `address` and `port` are loaded little-endian from the packet; port 0 means all ports. Port and
/// protocol 0 stand for the address itself. No key is 0, since no vip's address is.
#[must_use]
#[inline(always)]
pub const fn vip4_key(address: u32, port: u16, protocol: u8) -> u64 {
    address as u64 | (port as u64) << 32 | (protocol as u64) << 48
}

/// Port and protocol of an IPv6 vip in one word, packed as in [`vip4_key`], with a mark, so that no service is 0.
#[must_use]
#[inline(always)]
pub const fn vip6_service(port: u16, protocol: u8) -> u64 {
    (port as u64) << 32 | (protocol as u64) << 48 | 1
}

/// Key of a vip's route, from the vip's key or service. Route 0 is the vip itself.
#[must_use]
#[inline(always)]
pub const fn route_key(key: u64, route: u8) -> u64 {
    key | (route as u64) << 56
}

/// The two slots of a bank in which an IPv4 vip may live.
#[must_use]
#[inline(always)]
pub const fn vip4_slots(key: u64, salt: u64) -> (u32, u32) {
    two_slots(key ^ salt)
}

/// The two slots of a bank in which an IPv6 vip may live.
#[must_use]
#[inline(always)]
pub const fn vip6_slots(address: [u64; 2], service: u64, salt: u64) -> (u32, u32) {
    two_slots((address[0] ^ salt).wrapping_mul(MIX_1) ^ address[1].rotate_left(32) ^ service)
}

#[inline(always)]
const fn two_slots(x: u64) -> (u32, u32) {
    let hash = (x ^ x >> 32).wrapping_mul(MIX_2);
    let mask = VIP_SLOTS - 1;
    ((hash >> 50) as u32 & mask, (hash >> 36) as u32 & mask)
}

/// The two slots in which the table of server ids holds an id; `slots` is a power of two of at most 2^24. Slot 0 holds the
/// table's salt.
#[must_use]
#[inline(always)]
pub const fn server_id_slots(id: u64, salt: u16, slots: u32) -> (u32, u32) {
    let hash = mix(id ^ (salt as u64) << 48);
    let mask = slots - 1;
    ((hash >> 40) as u32 & mask, (hash >> 16) as u32 & mask)
}

/// The bits of a server id of `len` bytes, from 1 to 8, read little-endian.
#[must_use]
#[inline(always)]
pub const fn server_id_mask(len: u32) -> u64 {
    u64::MAX >> (64u32.wrapping_sub(8 * len) & 63)
}

/// The bit of [`crate::abi::Control::filter`] that stands for an IPv4 address.
#[must_use]
#[inline(always)]
pub const fn filter_bit_v4(address: u32) -> u32 {
    filter_bit((address as u64).wrapping_mul(MIX_2))
}

/// The bit of [`crate::abi::Control::filter`] that stands for an IPv6 address.
#[must_use]
#[inline(always)]
pub const fn filter_bit_v6(address: [u64; 2]) -> u32 {
    filter_bit((address[0] ^ address[1].rotate_left(32)).wrapping_mul(MIX_2))
}

#[inline(always)]
const fn filter_bit(product: u64) -> u32 {
    (product >> (64 - FILTER_BITS.trailing_zeros())) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These vectors are part of the wire contract of a fleet: changing one moves every flow.
    #[test]
    fn flow_hashes_have_not_changed() {
        let ports = ports_word(40_000u16.to_be_bytes(), 80u16.to_be_bytes());
        assert_eq!(ports, 0x5000_409c);
        let source = u32::from_le_bytes([192, 0, 2, 1]);
        let v4 = [0, 1, u64::MAX].map(|seed| flow_hash_v4(source, ports, seed));
        assert_eq!(v4, VECTORS_V4);
        let source = [
            u64::from_le_bytes([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0]),
            u64::from_le_bytes([0, 0, 0, 0, 0, 0, 0, 1]),
        ];
        let v6 = [0, 1, u64::MAX].map(|seed| flow_hash_v6(source, ports, seed));
        assert_eq!(v6, VECTORS_V6);
    }

    const VECTORS_V4: [u32; 3] = [0x286b_2ef4, 0xeb34_3aa2, 0xdf1f_a67f];
    const VECTORS_V6: [u32; 3] = [0x404b_f8a5, 0xa64b_cfeb, 0x4ba0_d7e7];

    #[test]
    fn flow_keys_have_not_changed() {
        let ports = ports_word(40_000u16.to_be_bytes(), 80u16.to_be_bytes());
        let address = |bytes| u32::from_le_bytes(bytes);
        let v4 = flow_key_v4(address([192, 0, 2, 1]), address([198, 51, 100, 1]), ports, 6, 7);
        let v6 = flow_key_v6([1, 2], [3, 4], ports, 17, 7);
        assert_eq!([v4, v6], FLOW_KEYS);
    }

    const FLOW_KEYS: [u64; 2] = [0xda6f_de7c_3795_d711, 0x73df_ea36_9c7a_4941];

    #[test]
    fn flows_spread_over_buckets_and_tags() {
        let mut buckets = [0u32; 16];
        let mut tags = [0u32; 16];
        for port in 1024u16..=65_023 {
            let key = flow_key_v4(0x0700_000a, 1, ports_word(port.to_be_bytes(), [1, 0xbb]), 6, 7);
            let bucket = flow_bucket(key, 1600);
            buckets[bucket as usize / 100] += 1;
            // Of the tags within few buckets: neither part follows from the other.
            tags[flow_tag(key) as usize >> 24] += u32::from(bucket < 800);
        }
        assert!(buckets.iter().all(|n| n.abs_diff(4000) < 310), "{buckets:?}");
        assert!(tags.iter().all(|n| n.abs_diff(2000) < 220), "{tags:?}");
    }

    #[test]
    fn ring_slots_cover_the_ring_and_never_leave_it() {
        for size in [251, 65_537, 655_373] {
            assert_eq!(ring_slot(0, size), 0);
            assert_eq!(ring_slot(u32::MAX, size), size - 1);
        }
    }

    #[test]
    fn sequential_ports_spread_evenly() {
        let source = u32::from_le_bytes([10, 0, 0, 7]);
        let mut buckets = [0u32; 16];
        for port in 1024u16..=65_023 {
            let hash = flow_hash_v4(source, ports_word(port.to_be_bytes(), 443u16.to_be_bytes()), 7);
            buckets[ring_slot(hash, 16) as usize] += 1;
        }
        // 64000 balls in 16 bins: 4000 each, standard deviation 61; five sigmas.
        assert!(buckets.iter().all(|n| n.abs_diff(4000) < 310), "{buckets:?}");
    }

    #[test]
    fn sequential_sources_spread_evenly_without_ports() {
        let mut buckets = [0u32; 16];
        for host in 0..64_000u32 {
            let hash = flow_hash_v4((0x0a00_0000 + host).swap_bytes(), 0, 7);
            buckets[ring_slot(hash, 16) as usize] += 1;
        }
        assert!(buckets.iter().all(|n| n.abs_diff(4000) < 310), "{buckets:?}");
    }
}
