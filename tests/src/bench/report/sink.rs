//! Takes results in, prints them at once, and keeps them.

use std::fmt::{self, Debug};
use std::io::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use super::machine;
use super::text::{Layout, wrapped};
use super::{Cell, Column, Effort, Machine, Report, Row, Section, Table, VERSION};
use crate::lab::interrupted;

/// Where a section tells what it finds: [`section`](Self::section) once, then tables and their rows.
pub struct Sink {
    report: Report,
    layout: Layout,
    out: Box<dyn Write>,
}

impl Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Sink {
    /// Begins a run on this machine, whose text goes to `out`.
    ///
    /// # Errors
    /// When nothing can be written there; the same for all others.
    pub fn begin(effort: Effort, out: Box<dyn Write>) -> Result<Self> {
        let report = Report {
            version: VERSION,
            machine: Machine::here(),
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            quick: effort.is_quick(),
            pace: machine::pace(),
            sections: Vec::new(),
        };
        Self::of(report, out)
    }

    /// Begins with what there is already.
    pub(super) fn of(report: Report, out: Box<dyn Write>) -> Result<Self> {
        let mut sink = Self { report, layout: Layout::default(), out };
        let Report { machine, began, quick, pace, .. } = &sink.report;
        let mut head = format!("{:<13}{began}, {}\n", "began", if *quick { "quick" } else { "full" });
        for (name, value) in machine.lines() {
            head += &format!("{name:<13}{value}\n");
        }
        let (median, _) = pace.pieces();
        head += &format!("{:<13}{median} for a fixed piece of work\n", "pace");
        sink.print(&head)?;
        Ok(sink)
    }

    /// Begins a section. `method` says what is done, and what is not fair about it.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn section(&mut self, name: &str, title: &str, method: &str) -> Result<()> {
        let [name, title, method] = [name, title, method].map(str::to_owned);
        self.print(&format!("\n== {title} ({name}) ==\n{}\n", wrapped(&method)))?;
        self.report.sections.push(Section { name, title, method, ..Section::default() });
        Ok(())
    }

    /// Begins a table. The first column heads the rows' names.
    ///
    /// # Errors
    /// As [`Self::begin`], and without a section.
    pub fn table<C: Into<Column>>(
        &mut self,
        title: &str,
        columns: impl IntoIterator<Item = C>,
    ) -> Result<()> {
        let columns: Vec<Column> = columns.into_iter().map(Into::into).collect();
        ensure!(columns.len() > 1, "{title}: a table needs a name and a value");
        self.print(&format!("\n{title}\n"))?;
        self.layout = Layout::default();
        let title = title.to_owned();
        self.last_section()?.tables.push(Table { title, columns, rows: Vec::new() });
        Ok(())
    }

    /// Adds a row to the last table.
    ///
    /// # Errors
    /// As [`Self::begin`], without a table, when it has another number of columns or a row of this name, and after Ctrl-C.
    pub fn row(&mut self, name: &str, cells: impl IntoIterator<Item = Cell>) -> Result<()> {
        let row = Row { name: name.to_owned(), cells: cells.into_iter().collect() };
        let section = self.report.sections.last_mut();
        let table = section.and_then(|section| section.tables.last_mut()).context("a row without a table")?;
        ensure!(
            row.cells.len() + 1 == table.columns.len(),
            "{name}: {} cells for {} columns",
            row.cells.len() + 1,
            table.columns.len()
        );
        ensure!(!interrupted(), "interrupted");
        ensure!(table.rows.iter().all(|other| other.name != name), "{name}: two rows of this name");
        let text = self.layout.next(&table.columns, &row);
        table.rows.push(row);
        self.print(&text)
    }

    /// Says something of the section that its figures have shown.
    ///
    /// # Errors
    /// As [`Self::table`].
    pub fn note(&mut self, text: &str) -> Result<()> {
        self.print(&format!("{}\n", wrapped(text)))?;
        self.last_section()?.notes.push(text.to_owned());
        Ok(())
    }

    /// Says why the section is not complete.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn failed(&mut self, section: &str, why: &str) -> Result<()> {
        self.print(&format!("\n{section} FAILED: {why}\n"))?;
        if self.report.sections.last().is_none_or(|last| last.name != section) {
            let [name, title] = [section, section].map(str::to_owned);
            self.report.sections.push(Section { name, title, ..Section::default() });
        }
        self.last_section()?.failed = Some(why.to_owned());
        Ok(())
    }

    /// Ends the section that was begun last.
    ///
    /// # Errors
    /// As [`Self::begin`], and without a section.
    pub fn took(&mut self, time: Duration) -> Result<()> {
        let seconds = time.as_secs_f64();
        let section = self.last_section()?;
        section.seconds = seconds;
        let name = section.name.clone();
        self.print(&format!("\n({name} took {seconds:.0} s)\n"))
    }

    /// What there is so far.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Writes text that is no result.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn print(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    fn last_section(&mut self) -> Result<&mut Section> {
        self.report.sections.last_mut().context("a result without a section")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    use super::super::model::tests::example;
    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink() -> (Sink, Paper) {
        let paper = Paper::default();
        let report = Report { sections: Vec::new(), ..example() };
        (Sink::of(report, Box::new(paper.clone())).unwrap(), paper)
    }

    #[test]
    fn what_was_told_is_printed_at_once_and_kept() {
        let (mut sink, paper) = sink();
        let [section] = &example().sections[..] else { panic!("one section") };
        sink.section(&section.name, &section.title, &section.method).unwrap();
        let [table] = &section.tables[..] else { panic!("one table") };
        sink.table(&table.title, table.columns.clone()).unwrap();
        for row in &table.rows {
            sink.row(&row.name, row.cells.clone()).unwrap();
            assert!(paper.text().contains(&row.name));
        }
        section.notes.iter().for_each(|note| sink.note(note).unwrap());
        sink.took(Duration::from_secs_f64(section.seconds)).unwrap();
        assert_eq!(*sink.report(), example());
        let golden = "\
began        2026-01-02T03:04:05Z, quick
processor    A processor, 2 cores
memory       0 MiB
kernel       , JIT off
mitigations  unknown
load before  0.0
Ferrolev     , debug build
pace         1.25 ms for a fixed piece of work

== Datapath (datapath) ==
By BPF_PROG_TEST_RUN.

Not fair to anybody.

A packet
case                        net                              action
v4 TCP                  35.2 ns  33 to 38  [<= 30 missed]    transmit
not for a vip <&>          9 ns  [<= 10]                     -
A million flows cost 1.1 times one.

(datapath took 12 s)
";
        assert_eq!(paper.text(), golden);
    }

    #[test]
    fn rows_that_do_not_fit_their_table_are_refused() {
        let (mut sink, _) = sink();
        assert!(sink.row("early", [Cell::none()]).is_err());
        assert!(sink.table("nowhere", ["name", "value"]).is_err());
        sink.section("it", "It", "So.").unwrap();
        sink.table("a table", ["name", "value"]).unwrap();
        sink.row("once", [Cell::none()]).unwrap();
        let refused = |row: Result<()>| row.unwrap_err().to_string();
        assert_eq!(refused(sink.row("once", [Cell::none()])), "once: two rows of this name");
        assert_eq!(refused(sink.row("more", [Cell::none(), Cell::none()])), "more: 3 cells for 2 columns");
    }

    #[test]
    fn a_section_that_fails_keeps_what_it_has_found() {
        let (mut sink, paper) = sink();
        sink.section("it", "It", "So.").unwrap();
        sink.failed("it", "no root").unwrap();
        sink.failed("other", "no kernel").unwrap();
        let failed = |section: &Section| (section.name.clone(), section.failed.clone().unwrap());
        let sections: Vec<_> = sink.report().sections.iter().map(failed).collect();
        assert_eq!(sections, [("it".into(), "no root".into()), ("other".into(), "no kernel".into())]);
        assert!(paper.text().contains("other FAILED: no kernel"));
    }
}
