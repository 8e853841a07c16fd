//! Bars for the figures of a table, with their spreads, what was expected, and where the baseline stood.

use std::fmt::Write;

use super::super::compare::Change;
use super::super::text::number;
use super::super::{Figure, Table};
use super::escaped;

const WIDTH: f64 = 960.0;
/// Of the names on the left, and of the values on the right.
const NAMES: f64 = 340.0;
const VALUES: f64 = 150.0;
const BAR: f64 = 12.0;
/// From one bar to the next, and from one row to the next beyond that.
const STEP: f64 = 17.0;
const GAP: f64 = 5.0;
/// The scale at the bottom, and names of columns at the top.
const SCALE: f64 = 22.0;
const KEY: f64 = 24.0;
/// Colours that there are.
const COLOURS: usize = 4;

struct Bar<'t> {
    row: &'t str,
    column: &'t str,
    /// Among the columns that are drawn.
    colour: usize,
    figure: &'t Figure,
    before: Option<f64>,
}

/// A chart of those figures that have the table's most frequent unit, or none where there is nothing to hold against each
/// other.
pub(super) fn chart<'c>(table: &Table, change: &impl Fn(&str, &str) -> Option<&'c Change>) -> Option<String> {
    let (bars, columns) = bars(table, change)?;
    let largest = bars.iter().flat_map(|bar| {
        let Figure { high, median, .. } = *bar.figure;
        [high, median, bar.figure.expected.unwrap_or(0.0), bar.before.unwrap_or(0.0)]
    });
    let largest = largest.fold(0.0, f64::max);
    if bars.len() < 2 || largest <= 0.0 {
        return None;
    }
    let step = round_step(largest);
    let end = (largest / step).ceil() * step;
    let x = |value: f64| NAMES + value.clamp(0.0, end) / end * (WIDTH - NAMES - VALUES);
    let key = if columns.len() > 1 { KEY } else { 4.0 };
    let rows = bars.chunk_by(|one, next| one.row == next.row);
    let height = key + bars.len() as f64 * STEP + rows.clone().count() as f64 * GAP;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n",
        height + SCALE,
        escaped(&table.title)
    );
    if columns.len() > 1 {
        for (colour, column) in columns.iter().enumerate() {
            let left = NAMES + colour as f64 * 150.0;
            let _ = writeln!(
                svg,
                "<rect class=\"bar c{colour}\" x=\"{left}\" y=\"2\" width=\"{BAR}\" height=\"{BAR}\"/>\
                 <text x=\"{}\" y=\"12\">{}</text>",
                left + BAR + 5.0,
                escaped(column)
            );
        }
    }
    let unit = &bars[0].figure.unit;
    for tick in 0..=(end / step).round() as u32 {
        let value = f64::from(tick) * step;
        let at = x(value);
        let text = escaped(format!("{} {unit}", number(value)).trim());
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{key}\" y2=\"{height:.1}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>",
            height + 15.0
        );
    }
    let mut y = key;
    for row in rows {
        let middle = y + row.len() as f64 * STEP / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{}\" y=\"{middle:.1}\">{}</text>",
            NAMES - 8.0,
            escaped(&short(row[0].row))
        );
        for bar in row {
            svg.push_str(&bar.drawn(y + (STEP - BAR) / 2.0, x));
            y += STEP;
        }
        y += GAP;
    }
    Some(svg + "</svg>\n")
}

impl Bar<'_> {
    fn drawn(&self, y: f64, x: impl Fn(f64) -> f64) -> String {
        let Figure { median, low, high, expected, .. } = *self.figure;
        let (zero, middle, bottom) = (x(0.0), y + BAR / 2.0, y + BAR);
        let (value, rest) = self.figure.pieces();
        let said = [self.row, self.column].join(", ") + &format!(": {value} {rest}");
        let mut svg = format!(
            "<g><title>{}</title><rect class=\"bar c{}\" x=\"{zero:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" \
             rx=\"1.5\"/>",
            escaped(said.trim()),
            self.colour,
            x(median) - zero
        );
        let mut line = |class: &str, [x1, y1, x2, y2]: [f64; 4]| {
            let _ = write!(
                svg,
                "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
            );
        };
        if low < high {
            line("spread-mark", [x(low), middle, x(high), middle]);
            [low, high].iter().for_each(|end| line("spread-mark", [x(*end), y + 3.0, x(*end), bottom - 3.0]));
        }
        if let Some(before) = self.before {
            line("before-mark", [x(before), y - 1.5, x(before), bottom + 1.5]);
        }
        let mut right = x(median.max(high));
        if let Some(bound) = expected {
            let class = if self.figure.is_met() == Some(false) { "bound-mark missed" } else { "bound-mark" };
            line(class, [x(bound), y - 2.0, x(bound), bottom + 2.0]);
            right = right.max(x(bound));
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            right + 6.0,
            bottom - 2.0,
            escaped(&value)
        );
        svg
    }
}

/// The bars, and the columns that they are of.
fn bars<'t, 'c>(
    table: &'t Table,
    change: &impl Fn(&str, &str) -> Option<&'c Change>,
) -> Option<(Vec<Bar<'t>>, Vec<&'t str>)> {
    let figures: Vec<_> = table
        .rows
        .iter()
        .flat_map(|row| {
            let columns = table.columns.iter().skip(1).zip(&row.cells);
            columns.filter_map(|(column, cell)| Some((&*row.name, &*column.name, cell.figure()?)))
        })
        .collect();
    let frequency = |unit: &str| figures.iter().filter(|(.., figure)| figure.unit == unit).count();
    // The first one of those that are equally frequent.
    let unit = figures.iter().rev().map(|(.., figure)| &*figure.unit).max_by_key(|unit| frequency(unit))?;
    let mut columns: Vec<&str> = Vec::new();
    let mut bars = Vec::new();
    for (row, column, figure) in figures.iter().copied().filter(|(.., figure)| figure.unit == unit) {
        if !columns.contains(&column) {
            columns.push(column);
        }
        let colour = columns.iter().position(|of| *of == column).unwrap_or(0) % COLOURS;
        let before = change(row, column).map(|change| change.before.median);
        bars.push(Bar { row, column, colour, figure, before });
    }
    Some((bars, columns))
}

/// A step of 1, 2 or 5 times a power of ten, of which about five make `largest`.
fn round_step(largest: f64) -> f64 {
    let power = 10_f64.powf((largest / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| largest / step <= 5.5).unwrap_or(10.0 * power)
}

/// A name that fits on the left.
fn short(name: &str) -> String {
    const MOST: usize = 50;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::model::tests::example;
    use super::*;

    fn svg(table: &Table) -> Option<String> {
        chart(table, &|_, _| None)
    }

    #[test]
    fn each_figure_of_a_table_has_a_bar_its_spread_and_its_bound() {
        let svg = svg(&example().sections[0].tables[0]).unwrap();
        let count = |of: &str| svg.matches(of).count();
        assert_eq!((count("<rect"), count("bound-mark"), count("bound-mark missed")), (2, 2, 1));
        // One of the two was measured more than once: a line and two ends.
        assert_eq!(count("spread-mark"), 3);
    }

    #[test]
    fn a_table_without_two_figures_of_a_unit_has_no_chart() {
        let mut table = example().sections[0].tables[0].clone();
        table.rows.truncate(1);
        assert_eq!(svg(&table), None);
        table.rows.clear();
        assert_eq!(svg(&table), None);
    }

    #[test]
    fn scales_have_round_steps() {
        let steps: Vec<_> = [0.9, 5.0, 38.0, 60.0, 1234.0].map(round_step).into();
        assert_eq!(steps, [0.2, 1.0, 10.0, 20.0, 500.0]);
    }
}
