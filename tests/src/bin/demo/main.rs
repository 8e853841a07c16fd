//! The demo: a balancer in front of real web servers, on real traffic, in network namespaces of this machine.
//!
//! Its last line is `demo: ok` or `demo: failed: …`, and its exit code says the same.

mod chart;
mod show;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use tests::lab::{Lab, allow_outliving, catch_interrupts, interrupted};

use show::Show;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        [] => run(false),
        ["--keep"] => run(true),
        ["--clean"] => {
            match Lab::sweep(true) {
                0 => println!("nothing was left running"),
                _ => println!("removed what was left running"),
            }
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("usage: cargo xtask demo [--keep | --clean]");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => {
            println!("demo: ok");
            ExitCode::SUCCESS
        }
        Err(_) if interrupted() => {
            println!("demo: failed: interrupted");
            ExitCode::from(130)
        }
        Err(error) => {
            println!("demo: failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(keep: bool) -> Result<()> {
    let started = Instant::now();
    catch_interrupts()?;
    if Lab::sweep(true) > 0 {
        println!("(removed what an earlier demo left running)");
    }
    if keep {
        allow_outliving();
    }
    let mut show = Show::open()?;
    show.spread()?;
    show.change_under_load()?;
    if keep {
        show.keep()?;
    }
    drop(show);
    println!("\ntook {:.1?}, everything included", started.elapsed());
    Ok(())
}
