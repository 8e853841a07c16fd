//! The command line: a client of the API, and the entry points of the daemon.
//!
//! Every command is a module in `commands`. Client commands turn replies into a text here and print it at the very end,
//! so that tests compare texts; `-o json` prints the API's body as it came.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod error;
mod frame;
mod output;
mod screen;
mod table;
mod units;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use error::CliError;

use args::{Args, Command};
use commands::{
    access, addresses, backend, changes, check_fit, config, daemon, explain, flows, health, peer, shell,
    stats, status, vip, vrrp,
};

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let matches = args::command().get_matches();
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.with_cmd(&Args::command()).exit(),
    };
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let report = error.report();
            if !report.is_empty() {
                eprintln!("{report}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    match command {
        Command::Run(args) => daemon::run(args),
        Command::Detach(args) => on_runtime(daemon::detach(&args)),
        Command::Decap(args) => daemon::decap(args),
        Command::Check(args) => config::check(&args),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man { dir } => shell::man(&dir),
        Command::Status(client) => on_runtime(status::run(&client)),
        Command::Vip(command) => on_runtime(vip::run(&command)),
        Command::Backend(command) => on_runtime(backend::run(&command)),
        Command::Addresses(client) => on_runtime(addresses::run(&client)),
        Command::Health(args) => on_runtime(health::run(&args)),
        Command::Vrrp(args) => on_runtime(vrrp::run(&args)),
        Command::Peer(args) => on_runtime(peer::run(&args)),
        Command::CheckFit(args) => on_runtime(check_fit::run(&args)),
        Command::Access(command) => on_runtime(access::run(&command)),
        Command::Flows(command) => on_runtime(flows::run(&command)),
        Command::Reload(args) => on_runtime(config::reload(&args)),
        Command::Config(command) => on_runtime(config::run(&command)),
        Command::Changes(client) => on_runtime(changes::run(&client)),
        Command::Explain(args) => on_runtime(explain::run(&args)),
        Command::Stats(args) => on_runtime(stats::run(&args)),
        Command::Metrics(socket) => on_runtime(stats::metrics(&socket)),
    }
}

/// These commands are one call after the other: one thread is enough.
fn on_runtime(command: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::operation("cannot start the asynchronous runtime"))?
        .block_on(command)
}
