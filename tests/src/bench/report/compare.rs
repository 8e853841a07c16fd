//! This run against an earlier one: which figures have changed by more than noise. It decides nothing else: a slow machine fails
//! nothing.

use std::fmt::{self, Display};

use super::text::number;
use super::{Better, Cell, Column, Figure, Report, Row, Table};

/// Fresh loads of the same program differ by 5 to 8 %: a change of less says nothing, however small the spread.
const LEAST_NOISE: f64 = 0.08;
/// The same for a figure that was measured only once, of whose spread nothing is known.
const NOISE_OF_ONE: f64 = 0.25;
/// From which on the machine's pace is worth a remark.
const OTHER_PACE: f64 = 0.08;

/// What has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// When the earlier run began.
    pub baseline: String,
    /// Why figures of the two runs may differ although the program does not.
    pub remarks: Vec<String>,
    pub changes: Vec<Change>,
    /// Figures of the baseline that this run's sections do not have.
    pub gone: Vec<String>,
    /// Figures of this run that the baseline does not have.
    pub new: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub place: Place,
    pub before: Figure,
    pub now: Figure,
    pub verdict: Verdict,
}

/// Where a figure stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub section: String,
    pub table: String,
    pub row: String,
    pub column: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Better,
    Worse,
    Noise,
}

impl Comparison {
    #[must_use]
    pub fn of(report: &Report, baseline: &Report) -> Self {
        let before = places(baseline);
        let now = places(report);
        let changes = now.iter().filter_map(|(place, now)| {
            let (_, before) = before.iter().find(|(of, before)| of == place && before.unit == now.unit)?;
            let (place, before, now) = (place.clone(), (*before).clone(), (*now).clone());
            Some(Change { verdict: verdict(&before, &now), place, before, now })
        });
        let changes: Vec<Change> = changes.collect();
        let is_compared = |place: &Place| changes.iter().any(|change| change.place == *place);
        let is_measured = |place: &Place| report.sections.iter().any(|section| section.name == place.section);
        let gone =
            before.iter().map(|(place, _)| place).filter(|place| is_measured(place) && !is_compared(place));
        Self {
            baseline: baseline.began.clone(),
            remarks: remarks(report, baseline),
            gone: gone.map(ToString::to_string).collect(),
            new: now.len() - changes.len(),
            changes,
        }
    }

    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.changes.iter().filter(|change| change.verdict == verdict).count()
    }

    /// The change of a figure that stands there.
    #[must_use]
    pub fn at(&self, section: &str, table: &str, row: &str, column: &str) -> Option<&Change> {
        self.changes.iter().find(|Change { place, .. }| {
            place.section == section && place.table == table && place.row == row && place.column == column
        })
    }

    /// How many have changed which way.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.changes.is_empty() {
            return "nothing to compare: the baseline has none of this run's figures".to_owned();
        }
        format!(
            "{} figures against the run of {}: {} worse, {} better, {} within noise",
            self.changes.len(),
            self.baseline,
            self.count(Verdict::Worse),
            self.count(Verdict::Better),
            self.count(Verdict::Noise)
        )
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n== Against the baseline ==")?;
        self.remarks.iter().try_for_each(|remark| writeln!(f, "! {remark}"))?;
        let mut tables: Vec<Table> = Vec::new();
        for change in &self.changes {
            let title = format!("{}: {}", change.place.section, change.place.table);
            if tables.last().is_none_or(|table| table.title != title) {
                let columns = ["figure", "before", "now", "  change", "noise", "verdict"].map(Column::from);
                tables.push(Table { title, columns: columns.into(), rows: Vec::new() });
            }
            tables.iter_mut().last().into_iter().for_each(|table| table.rows.push(change.row()));
        }
        tables.iter().try_for_each(|table| write!(f, "\n{}\n{table}", table.title))?;
        let of = |verdict| self.changes.iter().filter(move |change: &&Change| change.verdict == verdict);
        writeln!(f, "\n{}", self.summary())?;
        if self.new > 0 {
            writeln!(f, "{} figures are new", self.new)?;
        }
        self.gone.iter().try_for_each(|place| writeln!(f, "gone    {place}"))?;
        for (verdict, word) in [(Verdict::Better, "better"), (Verdict::Worse, "WORSE")] {
            of(verdict)
                .try_for_each(|change| writeln!(f, "{word:<8}{}: {}", change.place, change.change()))?;
        }
        Ok(())
    }
}

impl Change {
    /// Such as `+12 %`; the number itself where there was 0 before.
    #[must_use]
    pub fn change(&self) -> String {
        let (before, now) = (self.before.median, self.now.median);
        if before == 0.0 {
            return if now == 0.0 { "0 %".to_owned() } else { format!("0, now {}", number(now)) };
        }
        format!("{:+.1} %", (now / before - 1.0) * 100.0)
    }

    /// Up to which change it is noise, in percent of the figure before.
    #[must_use]
    pub fn noise(&self) -> String {
        match noise(&self.before, &self.now) / self.before.median.abs() {
            part if part.is_finite() => format!("{:.0} %", part * 100.0),
            _ => "-".to_owned(),
        }
    }

    fn row(&self) -> Row {
        let Place { row, column, .. } = &self.place;
        let figure = |figure: &Figure| Cell::number(figure.median, &figure.unit);
        let cells = [
            figure(&self.before),
            figure(&self.now),
            format!("{:>8}", self.change()).into(),
            self.noise().into(),
            self.verdict.to_string().into(),
        ];
        Row { name: format!("{row}, {column}"), cells: cells.into() }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, table, row, column } = self;
        write!(f, "{section}: {table}: {row}, {column}")
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Noise => "within noise",
        })
    }
}

fn verdict(before: &Figure, now: &Figure) -> Verdict {
    let change = now.median - before.median;
    let rises_are_better = now.better == Better::Higher;
    match change {
        _ if change.abs() <= noise(before, now) => Verdict::Noise,
        _ if (change > 0.0) == rises_are_better => Verdict::Better,
        _ => Verdict::Worse,
    }
}

/// How far apart two medians of the same thing may be. The spreads are independent of each other, so they add as squares do.
fn noise(before: &Figure, now: &Figure) -> f64 {
    let half = |figure: &Figure| (figure.high - figure.low) / 2.0;
    let least = match (before.measured, now.measured) {
        (0, 0) => return 0.0,
        (1, _) | (_, 1) => NOISE_OF_ONE,
        _ => LEAST_NOISE,
    };
    half(before).hypot(half(now)).max(before.median.abs() * least)
}

fn remarks(report: &Report, baseline: &Report) -> Vec<String> {
    let mut remarks = report.machine.differences(&baseline.machine);
    if !remarks.is_empty() {
        remarks.insert(0, "the baseline is of another machine; changes may be the machine's".to_owned());
    }
    if report.machine.version != baseline.machine.version {
        remarks.push(format!("Ferrolev: {}, now {}", baseline.machine.version, report.machine.version));
    }
    if report.quick != baseline.quick {
        let word = |quick| if quick { "quick" } else { "full" };
        remarks.push(format!(
            "the baseline is a {} run, this is a {} one: figures that depend on how much is measured differ",
            word(baseline.quick),
            word(report.quick)
        ));
    }
    let (before, now) = (baseline.pace.median, report.pace.median);
    if (now / before - 1.0).abs() > OTHER_PACE {
        remarks.push(format!(
            "the machine's pace is another: a fixed piece of work took {} {unit}, now {} {unit}; times and rates of what \
             computes change with it, ratios do not",
            number(before),
            number(now),
            unit = report.pace.unit
        ));
    }
    remarks
}

fn places(report: &Report) -> Vec<(Place, &Figure)> {
    let place = |(section, table, row, column, figure): (&super::Section, &Table, &Row, &Column, _)| {
        let [section, table, row, column] =
            [&section.name, &table.title, &row.name, &column.name].map(Clone::clone);
        (Place { section, table, row, column }, figure)
    };
    report.figures().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    fn figure(samples: &[f64], better: Better) -> Figure {
        Figure::of(samples, "ns", better).unwrap()
    }

    #[test]
    fn a_change_within_the_spreads_is_noise() {
        let lower = |samples: &[f64]| figure(samples, Better::Lower);
        let wide = lower(&[80.0, 100.0, 120.0]);
        assert_eq!(verdict(&wide, &lower(&[100.0, 125.0, 140.0])), Verdict::Noise);
        assert_eq!(verdict(&wide, &lower(&[129.0, 130.0, 131.0])), Verdict::Worse);
        assert_eq!(verdict(&wide, &lower(&[69.0, 70.0, 71.0])), Verdict::Better);
    }

    #[test]
    fn eight_percent_are_noise_however_small_the_spread() {
        let higher = |value: f64| figure(&[value, value], Better::Higher);
        assert_eq!(verdict(&higher(100.0), &higher(92.5)), Verdict::Noise);
        assert_eq!(verdict(&higher(100.0), &higher(91.0)), Verdict::Worse);
        assert_eq!(verdict(&higher(100.0), &higher(109.0)), Verdict::Better);
    }

    #[test]
    fn what_was_measured_once_has_more_noise_and_what_is_counted_none() {
        let once = |value| Figure::once(value, "ms", Better::Lower);
        assert_eq!(verdict(&once(100.0), &once(120.0)), Verdict::Noise);
        assert_eq!(verdict(&once(100.0), &once(130.0)), Verdict::Worse);
        assert_eq!(verdict(&Figure::none_of(0), &Figure::none_of(0)), Verdict::Noise);
        assert_eq!(verdict(&Figure::none_of(0), &Figure::none_of(1)), Verdict::Worse);
        assert_eq!(verdict(&Figure::none_of(2), &Figure::none_of(1)), Verdict::Better);
    }

    #[test]
    fn the_text_says_what_is_worse_at_the_end() {
        let baseline = example();
        let mut report = example();
        let Cell::Figure(net) = &mut report.sections[0].tables[0].rows[0].cells[0] else {
            panic!("a figure")
        };
        (net.low, net.median, net.high) = (45.0, 46.0, 47.0);
        report.pace.median = 2.5;
        report.machine.cores = 4;
        let comparison = Comparison::of(&report, &baseline);
        let golden = "
== Against the baseline ==
! the baseline is of another machine; changes may be the machine's
! cores: 2, now 4
! the machine's pace is another: a fixed piece of work took 1.25 ms, now 2.50 ms; times and rates of what computes change with it, ratios do not

datapath: A packet
figure                  before   now      change  noise  verdict
v4 TCP, net             35.2 ns  46 ns   +30.5 %  8 %    WORSE
not for a vip <&>, net  9 ns     9 ns     +0.0 %  25 %   within noise

2 figures against the run of 2026-01-02T03:04:05Z: 1 worse, 0 better, 1 within noise
WORSE   datapath: A packet: v4 TCP, net: +30.5 %
";
        assert_eq!(comparison.to_string(), golden);
        assert_eq!(comparison.at("datapath", "A packet", "v4 TCP", "net").unwrap().verdict, Verdict::Worse);
    }

    #[test]
    fn figures_that_only_one_run_has_are_named() {
        let mut report = example();
        report.sections[0].tables[0].rows[1].name = "another case".to_owned();
        let comparison = Comparison::of(&report, &example());
        assert_eq!(
            (comparison.new, &*comparison.gone),
            (1, &["datapath: A packet: not for a vip <&>, net".to_owned()][..])
        );
        let nothing = Report { sections: Vec::new(), ..example() };
        let comparison = Comparison::of(&nothing, &example());
        assert!(comparison.summary().starts_with("nothing to compare"), "{comparison}");
        assert_eq!(comparison.gone, Vec::<String>::new());
    }
}
