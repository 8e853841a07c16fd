//! `cargo xtask bench`: measures and reports. A slow machine fails nothing; a wrong packet does.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use tests::bench::SECTIONS;
use tests::bench::report::{Comparison, Effort, Report, Sink, html};
use tests::lab::{catch_interrupts, interrupted};

/// Benchmarks of Ferrolev: all of them, or the sections that are named.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What is measured
    #[arg(value_parser = PossibleValuesParser::new(SECTIONS.map(|(name, _)| name)))]
    sections: Vec<String>,
    /// Less of each
    #[arg(long)]
    quick: bool,
    /// Write JSON, to standard output without a file; tables go to standard error then
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// Write one page with tables and charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say what has changed since an earlier run, which --json has written
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    arguments.check()?;
    // Now, since what is wrong with it should not be said after the measurement.
    let baseline = arguments.baseline.as_deref().map(Report::read).transpose().context("--baseline")?;
    // Networks are taken down then.
    catch_interrupts()?;
    let mut sink = arguments.sink()?;
    measure(&arguments, &mut sink)?;
    let report = sink.report().clone();
    let comparison = baseline.map(|baseline| Comparison::of(&report, &baseline));
    if let Some(comparison) = &comparison {
        sink.print(&comparison.to_string())?;
    }
    if let Some(file) = &arguments.html {
        write(file, &html::page(&report, comparison.as_ref()))?;
    }
    match &arguments.json {
        Some(Some(file)) => write(file, &json(&report)?)?,
        Some(None) => stdout().write_all(json(&report)?.as_bytes())?,
        None => {}
    }
    let failed: Vec<_> = report.sections.iter().filter(|section| section.failed.is_some()).collect();
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|section| &*section.name).collect();
        bail!("not measured to the end: {}", names.join(", "));
    }
    Ok(())
}

impl Arguments {
    /// A section behind an option that may have a file would be taken for that.
    fn check(&self) -> Result<()> {
        let json = self.json.iter().flatten();
        for file in json.chain(&self.html).chain(&self.baseline) {
            if SECTIONS.iter().any(|(name, _)| file == Path::new(name)) {
                let name = file.display();
                bail!(
                    "{name} is a section, not a file: name sections in front of options, or write ./{name}"
                );
            }
        }
        Ok(())
    }

    const fn effort(&self) -> Effort {
        if self.quick { Effort::Quick } else { Effort::Full }
    }

    fn sink(&self) -> Result<Sink> {
        let to_stderr = self.json == Some(None);
        Sink::begin(self.effort(), if to_stderr { Box::new(stderr()) } else { Box::new(stdout()) })
    }
}

/// Goes through the sections. One that fails takes nothing from the others.
fn measure(arguments: &Arguments, sink: &mut Sink) -> Result<()> {
    for (name, measure) in SECTIONS {
        if !arguments.sections.is_empty() && !arguments.sections.iter().any(|section| section == name) {
            continue;
        }
        let begin = Instant::now();
        if let Err(error) = measure(arguments.effort(), sink) {
            sink.failed(name, &format!("{error:#}"))?;
        }
        sink.took(begin.elapsed())?;
        if interrupted() {
            break;
        }
    }
    Ok(())
}

fn json(report: &Report) -> Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
