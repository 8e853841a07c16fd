//! Tables in columns of a terminal.
//!
//! A row is printed before the next one is known, so columns are as wide as what there was so far; [`Column::width`] makes room
//! for what is known to come.

use std::fmt::{self, Display};

use super::{Better, Cell, Column, Figure, Row, Table};

/// Of paragraphs.
const LINE: usize = 110;
/// More than the first figure takes, since others are longer.
const ROOM: usize = 2;
/// For names, at least.
const NAMES: usize = 20;

/// How wide the columns of a table are by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    columns: Vec<Width>,
    begun: bool,
}

/// A figure is a median, right-aligned, and what belongs to it, left-aligned; a text has only the latter.
#[derive(Clone, Copy, Debug, Default)]
struct Width {
    median: usize,
    rest: usize,
    all: usize,
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut layout = Layout { begun: true, ..Layout::default() };
        layout.widen(&self.columns, None);
        self.rows.iter().for_each(|row| layout.widen(&self.columns, Some(row)));
        f.write_str(&layout.heads(&self.columns))?;
        self.rows.iter().try_for_each(|row| f.write_str(&layout.line(row)))
    }
}

impl Layout {
    /// The next row; in front of the first one, the columns' heads.
    pub(super) fn next(&mut self, columns: &[Column], row: &Row) -> String {
        self.widen(columns, Some(row));
        if std::mem::replace(&mut self.begun, true) {
            return self.line(row);
        }
        self.columns[0].all = self.columns[0].all.max(NAMES);
        for (width, cell) in self.columns.iter_mut().skip(1).zip(&row.cells) {
            if cell.figure().is_some() {
                width.median += ROOM;
                width.rest += if width.rest > 0 { ROOM } else { 0 };
                width.all = width.all.max(width.figure());
            }
        }
        self.heads(columns) + &self.line(row)
    }

    fn widen(&mut self, columns: &[Column], row: Option<&Row>) {
        self.columns.resize(columns.len(), Width::default());
        for (width, column) in self.columns.iter_mut().zip(columns) {
            width.all = width.all.max(column.width).max(chars(&column.name));
        }
        let Some(row) = row else { return };
        let (name, cells) = self.columns.split_at_mut(1);
        name[0].all = name[0].all.max(chars(&row.name));
        for (width, cell) in cells.iter_mut().zip(&row.cells) {
            match cell {
                Cell::Text(text) => width.all = width.all.max(chars(text)),
                Cell::Figure(figure) => {
                    let (median, rest) = figure.pieces();
                    width.median = width.median.max(chars(&median));
                    width.rest = width.rest.max(chars(&rest));
                    width.all = width.all.max(width.figure());
                }
            }
        }
    }

    fn heads(&self, columns: &[Column]) -> String {
        let mut parts = Vec::new();
        for (number, (width, column)) in self.columns.iter().zip(columns).enumerate() {
            // Heads of figures stand over the medians.
            let head = if number > 0 && width.median > chars(&column.name) {
                format!("{:>1$}", column.name, width.median)
            } else {
                column.name.clone()
            };
            parts.push(format!("{head:<0$}", width.all));
        }
        joined(&parts)
    }

    fn line(&self, row: &Row) -> String {
        let mut parts = vec![format!("{:<1$}", row.name, self.columns[0].all)];
        for (width, cell) in self.columns.iter().skip(1).zip(&row.cells) {
            parts.push(match cell {
                Cell::Text(text) if width.median == 0 => format!("{text:<0$}", width.all),
                // Under medians.
                Cell::Text(text) => format!("{:<1$}", format!("{text:>0$}", width.median), width.all),
                Cell::Figure(figure) => {
                    let (median, rest) = figure.pieces();
                    let piece = format!("{median:>0$}  {rest}", width.median);
                    format!("{piece:<0$}", width.all)
                }
            });
        }
        joined(&parts)
    }
}

impl Width {
    const fn figure(self) -> usize {
        self.median + if self.rest > 0 { self.rest + 2 } else { 0 }
    }
}

impl Figure {
    /// The median with its unit; the spread, and what was expected.
    pub(super) fn pieces(&self) -> (String, String) {
        let median = format!("{} {}", number(self.median), self.unit);
        let rest = [self.spread(), self.bound()].into_iter().flatten().collect::<Vec<_>>().join("  ");
        (median.trim_end().to_owned(), rest)
    }

    pub(super) fn spread(&self) -> Option<String> {
        (self.low < self.high).then(|| format!("{} to {}", number(self.low), number(self.high)))
    }

    /// What was expected, and whether it was missed.
    pub(super) fn bound(&self) -> Option<String> {
        let sign = match self.better {
            Better::Lower => "<=",
            Better::Higher => ">=",
        };
        let missed = if self.is_met() == Some(false) { " missed" } else { "" };
        self.expected.map(|bound| format!("[{sign} {}{missed}]", number(bound)))
    }
}

/// With as many digits as say something.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        whole if whole.fract() == 0.0 => 0,
        large if large >= 99.95 => 0,
        middle if middle >= 9.995 => 1,
        small if small >= 0.0995 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (sign, text) = text.strip_prefix('-').map_or(("", &*text), |text| ("-", text));
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (number, digit) in whole.char_indices() {
        if number > 0 && (whole.len() - number).is_multiple_of(3) && whole.len() > 4 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

/// Paragraphs, in lines that fit.
pub(super) fn wrapped(text: &str) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for (number, paragraph) in text.split("\n\n").enumerate() {
        if number > 0 {
            wrapped.push_str("\n\n");
            column = 0;
        }
        for word in paragraph.split_whitespace() {
            let len = chars(word);
            if column > 0 && column + 1 + len > LINE {
                wrapped.push('\n');
                column = 0;
            } else if column > 0 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += len;
        }
    }
    wrapped
}

fn joined(parts: &[String]) -> String {
    format!("{}\n", parts.join("  ").trim_end())
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    #[test]
    fn a_table_stands_in_columns() {
        let report = example();
        let text = report.sections[0].tables[0].to_string();
        let golden = "\
case                   net                            action
v4 TCP             35.2 ns  33 to 38  [<= 30 missed]  transmit
not for a vip <&>     9 ns  [<= 10]                   -
";
        assert_eq!(text, golden);
    }

    #[test]
    fn rows_that_are_printed_one_by_one_stand_under_each_other() {
        let table = &example().sections[0].tables[0];
        let mut layout = Layout::default();
        let text: String = table.rows.iter().map(|row| layout.next(&table.columns, row)).collect();
        let ends: Vec<_> = text.lines().skip(1).map(|line| line.find(" ns")).collect();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(ends[0].is_some() && ends[0] == ends[1], "{text}");
    }

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let texts: Vec<_> =
            [0.0, 3.0, 0.01234, 0.5, 1.234, 12.34, 99.96, 123.4, 4093.0, 65_537.0, -1_234_567.8]
                .map(number)
                .into();
        let expected =
            ["0", "3", "0.0123", "0.50", "1.23", "12.3", "100", "123", "4093", "65,537", "-1,234,568"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn paragraphs_are_wrapped_and_kept_apart() {
        let text = wrapped(&format!("{}\n\nshort  one", "word ".repeat(40)));
        assert!(text.lines().all(|line| line.len() <= LINE), "{text}");
        assert!(text.ends_with("word\n\nshort one"), "{text}");
    }
}
