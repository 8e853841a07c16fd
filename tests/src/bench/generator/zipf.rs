//! Zipf's law in a table: the spans of flows that each get one part in 4096 of all packets.

use lb_common::abi::{SPANS, Span};

/// The spans of `flows` flows by the exponent. A flow that is worth several parts has several spans; within a span that
/// holds many, all are alike.
pub(super) fn spans(flows: u32, exponent: f64) -> Vec<Span> {
    let total: f64 = (1..=flows).map(|rank| share(rank, exponent)).sum();
    let part = total / SPANS as f64;
    let mut spans = Vec::with_capacity(SPANS);
    let (mut rank, mut below) = (0_u32, 0.0);
    // The flow in which a part ends is the last of its span, and the first of the next when there is more of it.
    for number in 0..SPANS {
        let end = part * (number + 1) as f64;
        let first = rank;
        while rank + 1 < flows && below + share(rank + 1, exponent) <= end {
            below += share(rank + 1, exponent);
            rank += 1;
        }
        let count = (rank - first).max(1);
        spans.push(Span { first, count });
    }
    // What rounding has left.
    if let Some(last) = spans.last_mut() {
        last.count = flows - last.first;
    }
    spans
}

/// Of the flow of a rank, from 1; the first one has 1.
fn share(rank: u32, exponent: f64) -> f64 {
    f64::from(rank).powf(-exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_in_a_span_and_none_is_beyond() {
        for (flows, exponent) in [(1, 1.0), (10, 1.0), (65_536, 1.0), (1 << 20, 1.2), (100_000, 0.5)] {
            let spans = spans(flows, exponent);
            assert_eq!(spans.len(), SPANS);
            let mut next = 0;
            for span in &spans {
                assert!(span.count > 0 && span.first <= next, "{flows} {exponent}: a gap before {span:?}");
                next = next.max(span.first + span.count);
            }
            assert_eq!(next, flows, "{exponent}");
        }
    }

    #[test]
    fn shares_are_those_of_zipfs_law() {
        const FLOWS: u32 = 1 << 16;
        let spans = spans(FLOWS, 1.0);
        let total: f64 = (1..=FLOWS).map(|rank| 1.0 / f64::from(rank)).sum();
        for top in [1_u32, 10, 100, 1000, 10_000] {
            let law: f64 = (1..=top).map(|rank| 1.0 / f64::from(rank)).sum::<f64>() / total;
            let inside = |span: &Span| {
                f64::from(top.saturating_sub(span.first).min(span.count)) / f64::from(span.count)
            };
            let table = spans.iter().map(inside).sum::<f64>() / SPANS as f64;
            assert!((table - law).abs() < 0.01, "the first {top}: {table} instead of {law}");
        }
    }
}
