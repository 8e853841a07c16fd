//! What is known of a datagram under way: which stretches of it have come. Pure; where records are kept is not known here.

use lb_common::abi::{FragmentRecord, STRETCHES, Stretch};

/// Why a fragment does not fit to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// All of it has come already: networks duplicate packets.
    Repeats,
    /// Part of it has, or it contradicts where the datagram ends (RFC 5722).
    Overlaps,
    /// It would be one stretch more than are remembered.
    Scattered,
}

/// Adds a fragment. Neighbouring stretches become one.
///
/// All in masks, without a branch: the kernel's verifier would follow both sides of each, for every stretch, and give up.
///
/// # Errors
/// When it does not fit; the record is as before.
#[inline(never)]
pub(super) fn add(record: &mut FragmentRecord, piece: Stretch, is_last: bool) -> Result<(), Misfit> {
    let count = one_by_one();
    let contradicts = contradicts(record, piece, is_last);
    let last = less(0, u16::from(is_last));
    let (mut repeats, mut overlaps, mut free) = (0, 0, 0);
    for at in 0..count {
        let stretch = record.seen[at % STRETCHES];
        repeats |= !less(piece.start, stretch.start) & !less(stretch.end, piece.end);
        overlaps |= last & less(piece.end, stretch.end);
        overlaps |= less(piece.start, stretch.end) & less(stretch.start, piece.end);
        // An empty stretch, or one that the piece becomes part of.
        free |= same(stretch.end, 0) | same(stretch.end, piece.start) | same(stretch.start, piece.end);
    }
    // A repeated fragment overlaps too; it is one that agrees about the end.
    if repeats != 0 && !contradicts && (!is_last || record.end == piece.end) {
        return Err(Misfit::Repeats);
    }
    if overlaps != 0 || contradicts {
        return Err(Misfit::Overlaps);
    }
    if free == 0 {
        return Err(Misfit::Scattered);
    }
    let grown = join(&mut record.seen, count, piece);
    if is_last {
        record.end = piece.end;
    }
    if grown.start == 0 && grown.end == record.end {
        record.state |= FragmentRecord::COMPLETE;
    }
    Ok(())
}

/// Whether the fragment says something else about where the datagram ends than one before it.
#[inline(always)]
const fn contradicts(record: &FragmentRecord, piece: Stretch, is_last: bool) -> bool {
    record.end != 0 && if is_last { piece.end != record.end } else { piece.end >= record.end }
}

/// Puts a piece in, together with the stretches that it touches.
#[inline(always)]
fn join(seen: &mut [Stretch; STRETCHES], count: usize, piece: Stretch) -> Stretch {
    let mut grown = piece;
    for at in 0..count {
        let stretch = &mut seen[at % STRETCHES];
        // An empty stretch touches nothing but a first fragment, and changes nothing about it.
        let (before, behind) = (same(stretch.end, piece.start), same(stretch.start, piece.end));
        grown.start = choose(before, stretch.start, grown.start);
        grown.end = choose(behind, stretch.end, grown.end);
        stretch.start = choose(before | behind, 0, stretch.start);
        stretch.end = choose(before | behind, 0, stretch.end);
    }
    let mut placed = 0;
    for at in 0..count {
        let stretch = &mut seen[at % STRETCHES];
        let here = same(stretch.end, 0) & !placed;
        stretch.start = choose(here, grown.start, stretch.start);
        stretch.end = choose(here, grown.end, stretch.end);
        placed |= here;
    }
    grown
}

/// [`STRETCHES`], unknown to the compiler: it would load all of them at once, for which the kernel's stack has no room.
#[inline(always)]
fn one_by_one() -> usize {
    core::hint::black_box(STRETCHES)
}

/// All ones when `a` is less than `b`, else zero.
#[inline(always)]
const fn less(a: u16, b: u16) -> u32 {
    ((a as u64).wrapping_sub(b as u64) >> 32) as u32
}

/// All ones when both are the same, else zero.
#[inline(always)]
const fn same(a: u16, b: u16) -> u32 {
    !(less(a, b) | less(b, a))
}

#[inline(always)]
const fn choose(mask: u32, yes: u16, no: u16) -> u16 {
    yes & mask as u16 | no & !mask as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: FragmentRecord = FragmentRecord {
        seen_ns: 0,
        hash: 0,
        ports: 0,
        state: 0,
        end: 0,
        protocol: 17,
        seen: [Stretch { start: 0, end: 0 }; STRETCHES],
    };

    fn of(pieces: &[(u16, u16, bool)]) -> (FragmentRecord, Vec<Result<(), Misfit>>) {
        let mut record = FRESH;
        let results = pieces
            .iter()
            .map(|(start, end, is_last)| add(&mut record, Stretch { start: *start, end: *end }, *is_last));
        let results = results.collect();
        (record, results)
    }

    extern crate alloc;
    use alloc::vec;
    use alloc::vec::Vec;

    fn is_complete(record: &FragmentRecord) -> bool {
        record.state & FragmentRecord::COMPLETE != 0
    }

    #[test]
    fn a_datagram_in_order_is_one_stretch_and_complete_with_its_last_piece() {
        let (record, results) = of(&[(0, 185, false), (185, 370, false)]);
        assert!(results.iter().all(Result::is_ok) && !is_complete(&record));
        assert_eq!(record.seen[0], Stretch { start: 0, end: 370 });
        let (record, _) = of(&[(0, 185, false), (185, 370, false), (370, 371, true)]);
        assert!(is_complete(&record));
    }

    #[test]
    fn a_piece_between_two_joins_them() {
        let (record, results) = of(&[(4, 6, true), (0, 2, false), (2, 4, false)]);
        assert!(results.iter().all(Result::is_ok) && is_complete(&record));
        assert_eq!(record.seen.iter().filter(|stretch| stretch.end != 0).count(), 1);
    }

    #[test]
    fn what_has_come_already_repeats() {
        for piece in [(0, 2, false), (2, 4, false), (1, 3, false), (4, 6, true)] {
            let (record, results) = of(&[(0, 2, false), (2, 4, false), (4, 6, true), piece]);
            assert_eq!(results[3], Err(Misfit::Repeats), "{piece:?}");
            assert!(is_complete(&record));
        }
    }

    #[test]
    fn what_has_come_in_part_or_ends_elsewhere_overlaps() {
        let cases: [&[(u16, u16, bool)]; 8] = [
            &[(0, 2, false), (1, 3, false)],
            &[(2, 4, false), (1, 3, false)],
            &[(2, 4, false), (1, 5, false)],
            &[(2, 4, true), (4, 6, false)],
            &[(2, 4, true), (6, 8, true)],
            &[(2, 4, true), (0, 4, false)],
            &[(4, 6, false), (0, 2, true)],
            &[(0, 4, false), (2, 4, true)],
        ];
        for pieces in cases {
            assert_eq!(of(pieces).1, [Ok(()), Err(Misfit::Overlaps)], "{pieces:?}");
        }
    }

    #[test]
    fn more_gaps_than_are_remembered_are_refused_until_some_are_filled() {
        let mut pieces: Vec<_> = (0..=STRETCHES as u16).map(|i| (i * 2 + 1, i * 2 + 2, false)).collect();
        let (_, results) = of(&pieces);
        assert_eq!(results[STRETCHES], Err(Misfit::Scattered));
        assert!(results[..STRETCHES].iter().all(Result::is_ok));
        pieces.insert(STRETCHES, (2, 3, false));
        assert_eq!(of(&pieces).1, vec![Ok(()); STRETCHES + 2]);
    }
}
