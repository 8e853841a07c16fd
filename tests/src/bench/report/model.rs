//! The form of results, and of the JSON that keeps them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::Machine;
use super::text::number;

/// Of the JSON; another one is not read.
pub const VERSION: u32 = 1;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub version: u32,
    pub machine: Machine,
    /// When it began, as RFC 3339 has it.
    pub began: String,
    pub quick: bool,
    /// A fixed piece of work by one core. It tells how fast the machine was on that day, so that another run can be held
    /// against this one.
    pub pace: Figure,
    pub sections: Vec<Section>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// By which the command line knows it.
    pub name: String,
    pub title: String,
    /// What was done, and what is not fair about it. Paragraphs end with an empty line.
    pub method: String,
    pub tables: Vec<Table>,
    /// Sentences about it that only its figures allow.
    pub notes: Vec<String>,
    /// Why it is not complete.
    pub failed: Option<String>,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    /// The first one heads the rows' names.
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// In characters, at least, when a terminal shows it: the longest entry is not known when the first one is printed.
    #[serde(skip)]
    pub width: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Different in all rows of a table: another run's row is found by it.
    pub name: String,
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    Text(String),
    Figure(Figure),
}

/// What a machine may do better or worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub median: f64,
    /// The spread: 10th and 90th percentile; both are the median of what was measured once.
    pub low: f64,
    pub high: f64,
    /// Such as `ns`, `Mpps`, `MB`; `times` of a ratio; empty of a count.
    pub unit: String,
    pub better: Better,
    /// Of how many measurements; 0 of what is counted, and the same each time.
    pub measured: usize,
    /// What the median should be at most, or at least, as `better` says.
    pub expected: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

impl Report {
    /// Of a file that `--json` has written.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text)
            .context("not a report of benchmarks; `cargo xtask bench --json FILE` writes one")?;
        ensure!(
            version == VERSION,
            "a report in form {version}, and this program knows form {VERSION} only; measure it again with \
             `cargo xtask bench --json FILE`"
        );
        Ok(serde_json::from_str(text)?)
    }

    /// All figures, with where they stand.
    pub fn figures(&self) -> impl Iterator<Item = (&Section, &Table, &Row, &Column, &Figure)> {
        self.sections.iter().flat_map(|section| {
            section.tables.iter().flat_map(move |table| {
                table.rows.iter().flat_map(move |row| {
                    let columns = table.columns.iter().skip(1);
                    columns
                        .zip(&row.cells)
                        .filter_map(move |(column, cell)| Some((section, table, row, column, cell.figure()?)))
                })
            })
        })
    }
}

impl Column {
    /// At least this wide, when a terminal shows it.
    #[must_use]
    pub fn wide(name: &str, width: usize) -> Self {
        Self { name: name.to_owned(), width }
    }
}

impl From<&str> for Column {
    fn from(name: &str) -> Self {
        Self::wide(name, 0)
    }
}

impl Cell {
    #[must_use]
    pub const fn figure(&self) -> Option<&Figure> {
        match self {
            Self::Text(_) => None,
            Self::Figure(figure) => Some(figure),
        }
    }

    /// A number that is neither good nor bad.
    #[must_use]
    pub fn number(value: f64, unit: &str) -> Self {
        Self::Text(format!("{} {unit}", number(value)).trim_end().to_owned())
    }

    /// Where nothing was measured.
    #[must_use]
    pub fn none() -> Self {
        "-".into()
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Figure> for Cell {
    fn from(figure: Figure) -> Self {
        Self::Figure(figure)
    }
}

impl From<Option<Figure>> for Cell {
    fn from(figure: Option<Figure>) -> Self {
        figure.map_or_else(Self::none, Self::Figure)
    }
}

impl Figure {
    /// Of several measurements; nothing of none.
    #[must_use]
    pub fn of(samples: &[f64], unit: &str, better: Better) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let part = |part: f64| sorted[(last as f64 * part).round() as usize];
        Some(Self {
            low: part(0.1),
            high: part(0.9),
            measured: sorted.len(),
            ..Self::once(part(0.5), unit, better)
        })
    }

    /// Of one measurement.
    #[must_use]
    pub fn once(value: f64, unit: &str, better: Better) -> Self {
        Self { measured: 1, ..Self::counted(value, unit, better) }
    }

    /// Of what has no spread, such as the size of a table.
    #[must_use]
    pub fn counted(value: f64, unit: &str, better: Better) -> Self {
        let unit = unit.to_owned();
        Self { median: value, low: value, high: value, unit, better, measured: 0, expected: None }
    }

    /// Something to have none of, and how many there were.
    #[must_use]
    pub fn none_of(count: usize) -> Self {
        Self::counted(count as f64, "", Better::Lower).expecting(0.0)
    }

    #[must_use]
    pub fn expecting(self, bound: impl Into<Option<f64>>) -> Self {
        Self { expected: bound.into(), ..self }
    }

    /// Whether it is as good as expected; nothing where nothing is.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.expected.map(|bound| match self.better {
            Better::Lower => self.median <= bound,
            Better::Higher => self.median >= bound,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn example() -> Report {
        let ns = |samples: &[f64]| Figure::of(samples, "ns", Better::Lower).expect("samples");
        let row = |name: &str, cells| Row { name: name.to_owned(), cells };
        let table = Table {
            title: "A packet".to_owned(),
            columns: vec!["case".into(), "net".into(), "action".into()],
            rows: vec![
                row("v4 TCP", vec![ns(&[33.0, 35.25, 38.0]).expecting(30.0).into(), "transmit".into()]),
                row("not for a vip <&>", vec![ns(&[9.0]).expecting(10.0).into(), Cell::none()]),
            ],
        };
        let section = Section {
            name: "datapath".to_owned(),
            title: "Datapath".to_owned(),
            method: "By BPF_PROG_TEST_RUN.\n\nNot fair to anybody.".to_owned(),
            tables: vec![table],
            notes: vec!["A million flows cost 1.1 times one.".to_owned()],
            failed: None,
            seconds: 12.5,
        };
        Report {
            version: VERSION,
            machine: Machine {
                cpu: "A processor".to_owned(),
                cores: 2,
                mitigations: "unknown".to_owned(),
                ..Machine::default()
            },
            began: "2026-01-02T03:04:05Z".to_owned(),
            quick: true,
            pace: Figure::once(1.25, "ms", Better::Lower),
            sections: vec![section],
        }
    }

    #[test]
    fn a_report_comes_back_from_json_as_it_was() {
        let json = serde_json::to_string_pretty(&example()).unwrap();
        assert_eq!(Report::parse(&json).unwrap(), example());
    }

    #[test]
    fn a_report_of_another_version_is_not_read() {
        let json = serde_json::to_string(&Report { version: 99, ..example() }).unwrap();
        let error = format!("{:#}", Report::parse(&json).unwrap_err());
        assert!(error.contains("form 99") && error.contains("form 1 only"), "{error}");
        let error = format!("{:#}", Report::parse("[]").unwrap_err());
        assert!(error.contains("not a report of benchmarks"), "{error}");
    }

    #[test]
    fn the_spread_leaves_out_the_outer_tenths() {
        let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        let figure = Figure::of(&samples, "ns", Better::Lower).unwrap();
        assert_eq!((figure.low, figure.median, figure.high), (10.0, 50.0, 90.0));
        assert_eq!(Figure::of(&[f64::NAN], "ns", Better::Lower), None);
    }

    #[test]
    fn a_bound_is_a_most_or_a_least() {
        let figure = |better| Figure::once(7.0, "times", better).expecting(7.5);
        assert_eq!(figure(Better::Lower).is_met(), Some(true));
        assert_eq!(figure(Better::Higher).is_met(), Some(false));
        assert_eq!(Figure::once(7.0, "times", Better::Lower).is_met(), None);
    }
}
