//! Damage: what hostile or broken senders make of a packet, and what bytes of any kind become under a fuzz target.

use super::random::Random;

/// Where headers of a packet lie; fields behind them are left alone more often.
const HEADERS: usize = 100;
const LINK: usize = 14;
/// Bytes that mean something somewhere: lengths, protocols, versions, flags.
const TELLING: [u8; 20] =
    [0, 1, 2, 4, 6, 17, 20, 41, 43, 44, 47, 51, 58, 60, 0x3f, 0x45, 0x4f, 0x60, 0x80, 0xff];

/// One to three kinds of damage to a frame; it stays at least an Ethernet header.
#[must_use]
pub fn frame(random: &mut Random, frame: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    for _ in 0..=random.pick(&[0, 0, 0, 1, 2]) {
        damage(random, &mut bytes, other);
    }
    bytes.truncate(crate::test_run::LONGEST);
    if bytes.len() < crate::test_run::SHORTEST {
        bytes.resize(crate::test_run::SHORTEST, 0);
    }
    bytes
}

/// Up to four kinds of damage to any bytes, which may end up empty.
#[must_use]
pub fn any(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        damage(random, &mut bytes, other);
    }
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    if bytes.is_empty() {
        bytes.extend(other);
        return;
    }
    match random.below(10) {
        0 | 1 => flip_bits(random, bytes),
        2 => {
            let at = near(random, bytes.len());
            bytes[at] = random.pick(&TELLING);
        }
        3 => {
            let len = random.below(bytes.len());
            bytes.truncate(len);
        }
        4 => length_field(random, bytes),
        5 => swap_fields(random, bytes),
        6 => splice(random, bytes, other),
        7 => {
            let at = near(random, bytes.len());
            let count = random.below(9).min(bytes.len() - at);
            bytes.drain(at..at + count);
        }
        8 => {
            let at = near(random, bytes.len());
            let added = random.below(9);
            let added = random.bytes(added);
            bytes.splice(at..at, added);
        }
        _ => {
            let more = random.length(200);
            bytes.extend(random.bytes(more));
        }
    }
}

fn near(random: &mut Random, len: usize) -> usize {
    match random.below(8) {
        0 => random.below(len),
        1 => random.below(len.min(HEADERS)),
        // Behind an Ethernet header, which most damage makes a packet of no interest.
        _ => LINK.min(len - 1) + random.below(len.min(HEADERS).saturating_sub(LINK).max(1)),
    }
}

fn flip_bits(random: &mut Random, bytes: &mut [u8]) {
    for _ in 0..=random.below(8) {
        let at = near(random, bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
}

/// Sets two bytes to a length just beside the truth, or to an extreme.
fn length_field(random: &mut Random, bytes: &mut [u8]) {
    // Total length of IPv4, payload length of IPv6, length of UDP behind either; without a tag.
    let at = random.pick(&[16, 18, 38, 58]) + 4 * random.pick(&[0, 0, 0, 1, 2]);
    let Some(field) = bytes.get_mut(at..at + 2) else { return };
    let now = u16::from_be_bytes([field[0], field[1]]);
    let then = random.pick(&[
        0,
        1,
        7,
        19,
        20,
        u16::MAX,
        u16::MAX - 20,
        now.wrapping_add(1),
        now.wrapping_sub(1),
        now.wrapping_sub(8),
    ]);
    field.copy_from_slice(&then.to_be_bytes());
}

/// Exchanges two stretches of equal length, as source and destination would be.
fn swap_fields(random: &mut Random, bytes: &mut [u8]) {
    let len = random.pick(&[1, 2, 4, 6, 16]);
    if bytes.len() < 2 * len {
        return;
    }
    let first = near(random, bytes.len()).min(bytes.len() - 2 * len);
    let second = first + len + random.below((bytes.len() - first - 2 * len + 1).min(32));
    for i in 0..len {
        bytes.swap(first + i, second + i);
    }
}

/// The start of one packet with the end of another.
fn splice(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = near(random, bytes.len());
    bytes.truncate(at);
    bytes.extend(&other[at.min(other.len())..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_frames_still_fit_a_test_run() {
        let mut random = Random::new(1);
        let long = vec![0x45; 3400];
        for _ in 0..20_000 {
            let damaged = frame(&mut random, &[0x45; 60], &long);
            assert!((crate::test_run::SHORTEST..=crate::test_run::LONGEST).contains(&damaged.len()));
        }
    }

    #[test]
    fn empty_bytes_can_be_damaged() {
        let mut random = Random::new(1);
        for _ in 0..1000 {
            let _ = any(&mut random, &[], &[]);
        }
    }
}
