//! The `ferrolev` binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lb_user::cli::main()
}
