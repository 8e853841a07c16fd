//! `completions` and `man`: for shells and for people, written from the grammar.

use std::path::Path;

use crate::cli::args;
use crate::cli::error::CliError;
use crate::cli::output::print;

pub(in crate::cli) fn completions(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "ferrolev", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// One page for each command: `ferrolev.1`, `ferrolev-vip-show.1` and so on.
pub(in crate::cli) fn man(dir: &Path) -> Result<(), CliError> {
    let failed = || CliError::operation(format!("cannot write man pages into {}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed())?;
    clap_mangen::generate_to(args::command(), dir).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_gets_a_man_page() {
        let dir = tempfile::tempdir().expect("temporary directory");
        man(&dir.path().join("man1")).expect("written");
        for name in
            ["ferrolev", "ferrolev-run", "ferrolev-vip-show", "ferrolev-backend-weight", "ferrolev-decap"]
        {
            let page = dir.path().join("man1").join(format!("{name}.1"));
            let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(text.contains(".SH SYNOPSIS"), "{name}");
        }
    }

    #[test]
    fn every_shell_gets_a_completion_script() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::command(), "ferrolev", &mut script);
            assert!(String::from_utf8_lossy(&script).contains("undrain"), "{shell}");
        }
    }
}
