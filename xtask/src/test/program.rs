//! One test program: what cargo said of it, its run, and what its output says.

use std::io::Read;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A test program that takes longer than this hangs.
const TIME_LIMIT: Duration = Duration::from_secs(12 * 60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestProgram {
    /// The target's name, such as `lb_common` or `namespace_http`.
    pub(super) name: String,
    executable: PathBuf,
    /// Where cargo would run it.
    directory: PathBuf,
}

/// Tests by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// Tests that ran without the privilege they need; libtest counts them as passed, we do not.
    pub(super) skipped: u32,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[derive(Deserialize)]
struct CargoMessage {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<CargoTarget>,
    profile: Option<CargoProfile>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
}

#[derive(Deserialize)]
struct CargoProfile {
    test: bool,
}

impl TestProgram {
    /// The test programs among the artifacts that `cargo test --no-run --message-format=json` names.
    pub(super) fn from_cargo_messages(messages: &[u8]) -> Result<Vec<Self>> {
        let mut programs = Vec::new();
        for message in serde_json::Deserializer::from_slice(messages).into_iter::<CargoMessage>() {
            let message = message?;
            if let (Some(executable), Some(manifest), Some(target), Some(CargoProfile { test: true })) =
                (message.executable, message.manifest_path, message.target, message.profile)
            {
                programs.push(Self {
                    name: target.name,
                    executable,
                    directory: manifest.parent().context("a manifest lies in a directory")?.to_owned(),
                });
            }
        }
        Ok(programs)
    }

    pub(super) fn command(&self, filter: Option<&str>, threads: Option<u32>) -> Command {
        let mut command = Command::new(&self.executable);
        // A panic's message and place say what is wrong; backtraces would bury them.
        command.current_dir(&self.directory).env("RUST_BACKTRACE", "0");
        command.arg("--show-output").args(filter);
        if let Some(threads) = threads {
            command.arg(format!("--test-threads={threads}"));
        }
        command
    }

    /// Runs it; prints what it said only when something failed.
    pub(super) fn run(&self, mut command: Command) -> Result<Outcome> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.executable.display()))?;
        let (status, said) = finish(&mut child)?;
        let outcome = Outcome::read(&said, status.is_some_and(|status| status.success()));
        if outcome.failed > 0 {
            let end =
                status.map_or_else(|| format!("stopped after {TIME_LIMIT:.0?}"), |status| status.to_string());
            println!("----- {}: {end}\n{}\n-----", self.name, said.trim_end());
        }
        Ok(outcome)
    }
}

/// Waits for the end and collects the output; `None` when the time limit came first.
fn finish(child: &mut Child) -> Result<(Option<ExitStatus>, String)> {
    let (sender, lines) = mpsc::channel();
    for mut pipe in [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What could be read before an error is all there is.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    drop(sender);

    let mut said = String::new();
    let status = loop {
        match lines.recv_timeout(TIME_LIMIT) {
            Ok(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Err(mpsc::RecvTimeoutError::Disconnected) => break Some(child.wait()?),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                // The readers end with the program, unless a child of it lives on with its output.
                while let Ok(bytes) = lines.recv_timeout(Duration::from_secs(2)) {
                    said.push_str(&String::from_utf8_lossy(&bytes));
                }
                break None;
            }
        }
    };
    Ok((status, said))
}

impl Outcome {
    /// Sums libtest's `test result:` lines. A program that ends badly without saying so counts as one failure.
    fn read(said: &str, success: bool) -> Self {
        let mut outcome = Self::default();
        for result in said.lines().filter_map(|line| line.strip_prefix("test result: ")) {
            outcome.passed += number_before(result, " passed");
            outcome.failed += number_before(result, " failed");
        }
        // Every test's own output comes after a line `---- NAME stdout ----`.
        let skipped = said.split("\n---- ").skip(1).filter(|output| output.contains("\nskipped: "));
        outcome.skipped = skipped.count().try_into().unwrap_or(u32::MAX);
        outcome.passed = outcome.passed.saturating_sub(outcome.skipped);
        if !success {
            outcome.failed = outcome.failed.max(1);
        }
        outcome
    }
}

fn number_before(text: &str, word: &str) -> u32 {
    text.split_once(word).and_then(|(before, _)| before.rsplit([' ', '.']).next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_of_a_test_program_is_summed() {
        let said = "running 2 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let expected = Outcome { passed: 15, failed: 2, skipped: 0 };
        assert_eq!(Outcome::read(said, false), expected);
    }

    #[test]
    fn a_skipped_test_is_not_counted_as_passed() {
        let said = "successes:\n\n---- a stdout ----\nskipped: not root\nskipped: not root\n\n---- b stdout ----\nhello\n\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        let expected = Outcome { passed: 2, failed: 0, skipped: 1 };
        assert_eq!(Outcome::read(said, true), expected);
    }

    #[test]
    fn a_program_that_dies_silently_is_a_failure() {
        let expected = Outcome { passed: 0, failed: 1, skipped: 0 };
        assert_eq!(Outcome::read("", false), expected);
    }

    #[test]
    fn only_test_artifacts_with_an_executable_are_run() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":false},"executable":"/t/a"}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"kernel_maps"},"profile":{"test":true},"executable":"/t/deps/kernel_maps"}
{"reason":"compiler-artifact","manifest_path":"/w/b/Cargo.toml","target":{"name":"b"},"profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}
"#;
        let programs = TestProgram::from_cargo_messages(messages).unwrap();
        assert_eq!(
            programs,
            [TestProgram {
                name: "kernel_maps".to_owned(),
                executable: "/t/deps/kernel_maps".into(),
                directory: "/w/a".into(),
            }]
        );
    }
}
