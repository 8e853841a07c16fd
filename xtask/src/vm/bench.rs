//! What the guest's benchmark has measured, in tables: medians with their spread, and each round held against the direct
//! connection of the same round.

use std::fmt::Write;

/// A line `SAMPLE load who rate cost` of the console, such as `SAMPLE new-connections ipvs 812.4 1290`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    load: String,
    who: String,
    /// Requests or packets a second.
    rate: f64,
    /// Microseconds of processor time for each.
    cost: f64,
}

/// By which the others are held against.
const DIRECT: &str = "direct";

impl Sample {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("SAMPLE ")?.split_whitespace();
        let mut next = || words.next();
        let (load, who) = (next()?.to_owned(), next()?.to_owned());
        Some(Self { load, who, rate: next()?.parse().ok()?, cost: next()?.parse().ok()? })
    }
}

/// A table for each load; nothing of nothing.
pub(super) fn tables(samples: &[Sample]) -> String {
    let mut text = String::new();
    for load in names(samples, |sample| &sample.load) {
        let of_load: Vec<Sample> = samples.iter().filter(|sample| sample.load == load).cloned().collect();
        let _ = writeln!(
            text,
            "\n{load:<24} {:>28} {:>22} {:>30} {:>30}",
            "a second", "of direct", "CPU \u{b5}s each", "above direct"
        );
        for who in names(&of_load, |sample| &sample.who) {
            let of = |name: &str| of_load.iter().filter(|sample| sample.who == name).collect::<Vec<_>>();
            let (own, direct) = (of(who), of(DIRECT));
            let pairs = || own.iter().zip(&direct);
            let _ = writeln!(
                text,
                "{who:<24} {:>28} {:>22} {:>30} {:>30}",
                spread(own.iter().map(|own| own.rate), 0),
                spread(pairs().map(|(own, direct)| own.rate / direct.rate), 2),
                spread(own.iter().map(|own| own.cost), 1),
                spread(pairs().map(|(own, direct)| own.cost - direct.cost), 1),
            );
        }
    }
    text
}

/// Each once, in the order in which they came.
fn names(samples: &[Sample], name: fn(&Sample) -> &str) -> Vec<&str> {
    let mut names = Vec::new();
    for sample in samples {
        if !names.contains(&name(sample)) {
            names.push(name(sample));
        }
    }
    names
}

/// Median, least and most.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return "-".to_owned() };
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) {
        sorted[middle - 1].midpoint(sorted[middle])
    } else {
        sorted[middle]
    };
    format!("{median:.digits$} ({least:.digits$} to {most:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(lines: &str) -> Vec<Sample> {
        lines.lines().filter_map(Sample::parse).collect()
    }

    #[test]
    fn only_whole_samples_are_taken() {
        let lines =
            "SAMPLE new ipvs 10 2.5\nSAMPLE new ipvs 10\nsample new ipvs 1 2\nSAMPLE new ipvs ten 2\n";
        let sample = Sample { load: "new".into(), who: "ipvs".into(), rate: 10.0, cost: 2.5 };
        assert_eq!(samples(lines), [sample]);
    }

    #[test]
    fn rounds_are_held_against_the_direct_connection_of_their_round() {
        let text = tables(&samples(
            "SAMPLE new direct 100 50\nSAMPLE new ipvs 50 80\nSAMPLE new direct 40 120\nSAMPLE new ipvs 20 150\n",
        ));
        let ipvs = text.lines().find(|line| line.starts_with("ipvs")).unwrap();
        assert!(ipvs.contains("35 (20 to 50)") && ipvs.contains("0.50 (0.50 to 0.50)"), "{text}");
        assert!(ipvs.ends_with("30.0 (30.0 to 30.0)"), "{text}");
    }

    #[test]
    fn nothing_measured_is_no_table() {
        assert_eq!(tables(&[]), "");
    }
}
