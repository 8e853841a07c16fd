//! Bars for a terminal.

use std::collections::BTreeMap;

/// Columns of the longest bar.
const WIDTH: u32 = 40;

/// A line for each name: bar, count and share. `names` come even when they counted nothing.
pub(crate) fn bars(counts: &BTreeMap<String, u32>, names: &[&str]) -> String {
    let mut counts = counts.clone();
    for name in names {
        counts.entry((*name).to_owned()).or_default();
    }
    let total = counts.values().sum::<u32>().max(1);
    let longest = counts.values().copied().max().unwrap_or(0).max(1);
    let name_width = counts.keys().map(String::len).max().unwrap_or(0);
    counts
        .iter()
        .map(|(name, count)| {
            let filled = (count * WIDTH).div_ceil(longest);
            let bar: String = (0..WIDTH).map(|column| if column < filled { '█' } else { ' ' }).collect();
            let percent = f64::from(*count) * 100.0 / f64::from(total);
            format!("    {name:name_width$} {bar} {count:>5}  {percent:4.1} %\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion_and_idle_backends_are_shown() {
        let counts = BTreeMap::from([("web-1".to_owned(), 30), ("web-2".to_owned(), 10)]);
        let chart = bars(&counts, &["web-3"]);
        let lines: Vec<_> = chart.lines().collect();
        let length = |line: &str| line.matches('█').count();
        assert_eq!([length(lines[0]), length(lines[1]), length(lines[2])], [40, 14, 0]);
        assert!(lines[0].ends_with("   30  75.0 %"), "{}", lines[0]);
        assert!(lines[2].ends_with("    0   0.0 %"), "{}", lines[2]);
    }
}
