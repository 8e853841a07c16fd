//! `cargo xtask bench`: measures and reports. A slow machine fails nothing; a wrong packet does.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::builder::PossibleValuesParser;
use tests::bench::SECTIONS;
use tests::bench::report::{Effort, Report, Sink};

/// Benchmarks of Ferrolev: all of them, or the sections that are named.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// What is measured
    #[arg(value_parser = PossibleValuesParser::new(SECTIONS.map(|(name, _)| name)))]
    sections: Vec<String>,
    /// Less of each: all sections together end within three minutes
    #[arg(long)]
    quick: bool,
    /// Write JSON, to standard output without a file; tables go to standard error then
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let report = run(&arguments)?;
    if let Some(file) = &arguments.json {
        write_json(&report, file.as_deref())?;
    }
    let failed: Vec<_> = report.sections.iter().filter(|section| section.failed.is_some()).collect();
    if !failed.is_empty() {
        let names: Vec<_> = failed.iter().map(|section| &*section.name).collect();
        bail!("not measured: {}", names.join(", "));
    }
    Ok(())
}

/// Goes through the sections; one that fails keeps the others from nothing.
fn run(arguments: &Arguments) -> Result<Report> {
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let out: Box<dyn Write> =
        if arguments.json == Some(None) { Box::new(stderr()) } else { Box::new(stdout()) };
    let mut sink = Sink::begin(effort, out)?;
    for (name, measure) in SECTIONS {
        if !arguments.sections.is_empty() && !arguments.sections.iter().any(|section| section == name) {
            continue;
        }
        if let Err(error) = measure(effort, &mut sink) {
            sink.failed(name, &format!("{error:#}"))?;
        }
    }
    Ok(sink.report().clone())
}

fn write_json(report: &Report, file: Option<&Path>) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    let Some(file) = file else { return Ok(stdout().write_all(json.as_bytes())?) };
    if SECTIONS.iter().any(|(name, _)| file == Path::new(name)) {
        let name = file.display();
        bail!(
            "--json {name}: a section, not a file; name sections in front of --json, or write --json ./{name}"
        );
    }
    fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
}
