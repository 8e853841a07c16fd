//! Tables for the terminal: a heading, columns as wide as their widest cell, numbers to the right.

use super::output::Style;

/// A cell's colour by meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Waiting,
    Bad,
    Faint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[Cell; N]>,
}

/// A left-aligned column.
pub(super) const fn left(title: &'static str) -> (&'static str, Align) {
    (title, Align::Left)
}

/// A right-aligned column, for numbers.
pub(super) const fn right(title: &'static str) -> (&'static str, Align) {
    (title, Align::Right)
}

impl<const N: usize> Table<N> {
    pub(super) const fn new(columns: [(&'static str, Align); N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(cells);
    }

    /// One line for the headings and one for each row, without trailing blanks.
    pub(super) fn render(&self, style: Style) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].text.chars().count());
            cells.chain([self.columns[column].0.len()]).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let titles = self.columns.map(|(title, _)| Cell::new(title, Tone::Faint));
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.text.chars().count());
                let shown = style.paint(&cell.text, cell.tone);
                if column > 0 {
                    line.push_str("  ");
                }
                match self.columns[column].1 {
                    Align::Left => line.push_str(&format!("{shown}{pad}")),
                    Align::Right => line.push_str(&format!("{pad}{shown}")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<3> {
        let mut table = Table::new([left("NAME"), right("PACKETS"), left("NOTE")]);
        table.row(["web".into(), "1.2k".into(), Cell::default()]);
        table.row(["größer".into(), "7".into(), Cell::new("down", Tone::Bad)]);
        table
    }

    #[test]
    fn columns_fit_their_widest_cell_and_numbers_stand_to_the_right() {
        assert_eq!(
            table().render(Style::PLAIN),
            "NAME    PACKETS  NOTE\n\
             web        1.2k\n\
             größer        7  down\n"
        );
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = table().render(Style::COLOURED);
        assert!(coloured.contains("größer        7  \u{1b}[31mdown\u{1b}[0m"), "{coloured:?}");
        let mut plain = coloured;
        for code in ["\u{1b}[31m", "\u{1b}[2m", "\u{1b}[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, table().render(Style::PLAIN));
    }
}
