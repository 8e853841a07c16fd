//! `cargo xtask generate`: sends the benchmark's packets out of a real interface, and counts what arrives.
#![forbid(unsafe_code)]

use anyhow::Result;
use clap::Parser;
use tests::generate::{Arguments, run};
use tests::lab::catch_interrupts;

fn main() -> Result<()> {
    let plan = Arguments::parse().plan()?;
    // Programs are taken off then, and what was counted is said.
    catch_interrupts()?;
    run(&plan)
}
