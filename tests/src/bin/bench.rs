//! `cargo xtask bench`: measures and reports. A slow machine fails nothing; a wrong packet does.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tests::bench::datapath::{self, Effort, Measured};

/// Benchmarks of Ferrolev.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds a packet inside the program
    Datapath {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Fewer loads and turns, and no list of a million prefixes
        #[arg(long)]
        quick: bool,
    },
}

fn main() -> Result<()> {
    let What::Datapath { json, quick } = Arguments::parse().what;
    let object = std::env::var_os("FERROLEV_BENCH_OBJECT").context("run this through `cargo xtask bench`")?;
    let effort = if quick {
        Effort { loads: 2, turns: 5, packets: 500_000, long: false }
    } else {
        Effort { loads: 10, turns: 5, packets: 1_000_000, long: true }
    };
    let measured = datapath::measure(&PathBuf::from(object), effort)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&measured)?);
    } else {
        print_table(&measured);
    }
    Ok(())
}

fn print_table(lines: &[Measured]) {
    println!("{:<42} {:>7} {:>15} {:>8} {:>9}", "case", "net ns", "10 to 90 %", "gross", "expected");
    for line in lines {
        let spread = format!("{:.0} to {:.0}", line.low_ns, line.high_ns);
        let expected = line.expected_ns.map_or(String::new(), |ns| format!("<= {ns:.0}"));
        println!("{:<42} {:>7.1} {spread:>15} {:>8.1} {expected:>9}", line.case, line.net_ns, line.gross_ns);
    }
    let net = |name: &str| lines.iter().find(|line| line.case.starts_with(name)).map(|line| line.net_ns);
    if let (Some(one), Some(many)) = (net("v4 TCP, one flow"), net("v4 TCP, 1M flows")) {
        println!("1M flows cost {:.2} times one flow (expected at most 1.20)", many / one);
    }
}
