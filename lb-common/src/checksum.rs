//! Ones' complement sums (RFC 1071). Words are taken in memory order, so no byte is swapped: the sum of swapped words is
//! the swapped sum.

/// Folds a sum of 16-bit words into 16 bits. Two rounds are enough for any sum below 2^32 - 2^16.
#[must_use]
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    // The second carry may be added in place: the result is cut to 16 bits.
    (once + (once >> 16)) as u16
}

/// Folds a sum of at most eight 32-bit words, taken in memory order, into 16 bits.
#[must_use]
#[inline(always)]
pub const fn fold64(sum: u64) -> u16 {
    // The sum is below 2^35, so the two parts together are below 2^20.
    fold(((sum & 0xffff) + (sum >> 16)) as u32)
}

/// Folds any sum of 32-bit words, taken in memory order, into 16 bits.
#[must_use]
#[inline(always)]
pub const fn fold_long(sum: u64) -> u16 {
    // Four parts of 16 bits each.
    let (low, high) = (sum as u32, (sum >> 32) as u32);
    fold((low & 0xffff) + (low >> 16) + (high & 0xffff) + (high >> 16))
}

/// The unfolded sum of `bytes`, at most 64 KiB of them; an odd last byte is padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let whole: u32 = pairs.iter().map(|pair| u32::from(u16::from_ne_bytes(*pair))).sum();
    whole + rest.first().map_or(0, |last| u32::from(u16::from_ne_bytes([*last, 0])))
}

/// `checksum` after the 16-bit word `old` of the data became `new` (RFC 1624, equation 3). All in memory order.
#[must_use]
#[inline(always)]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold((!checksum) as u32 + (!old) as u32 + new as u32)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        // RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
        let folded = fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]));
        assert_eq!(folded.to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(fold(sum(&[0x12])).to_ne_bytes(), [0x12, 0x00]);
    }

    #[test]
    fn a_long_sum_folds_as_its_words_one_by_one() {
        for words in [vec![], vec![u32::MAX; 400], vec![0x0001_ffff, 7, 0xfffe_0000], vec![u32::MAX, 1]] {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let long = words.iter().map(|word| u64::from(*word)).sum();
            assert_eq!(fold_long(long), fold(sum(&bytes)), "{words:x?}");
        }
    }

    #[test]
    fn the_example_of_rfc_1624_updates() {
        // RFC 1624, section 4: checksum dd2f, word 5555 becomes 3285, checksum becomes 0000.
        let be = |n: u16| u16::from_ne_bytes(n.to_be_bytes());
        assert_eq!(update(be(0xdd2f), be(0x5555), be(0x3285)), be(0x0000));
    }
}
