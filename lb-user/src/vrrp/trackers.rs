//! Scripts and files that priorities depend on. They are observed on the daemon's own runtime: whatever they do, the thread of
//! the elections hears results and nothing else.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lb_vrrp::track::{Hysteresis, Reading};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, warn};

use super::Tracker;
use crate::process_group::ProcessGroup;

/// How often a file is read.
const FILE_INTERVAL: Duration = Duration::from_millis(250);
/// A number has fewer digits.
const FILE_MAX: usize = 64;
/// At least so long from one run to the next, however short the interval is.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// A tracker's name, and what it says now.
pub(super) type Result = (String, Reading);

/// What is observed at present.
#[derive(Debug)]
pub(super) struct Trackers {
    runtime: Handle,
    running: BTreeMap<String, Running>,
    results: mpsc::UnboundedSender<Result>,
}

#[derive(Debug)]
struct Running {
    tracker: Tracker,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Trackers {
    /// Observes on `runtime`, and says so.
    pub(super) fn new(runtime: Handle) -> (Self, mpsc::UnboundedReceiver<Result>) {
        let (results, receiver) = mpsc::unbounded_channel();
        (Self { runtime, running: BTreeMap::new(), results }, receiver)
    }

    /// Observes these from now on. What has not changed goes on; gives the names of those that begin anew, or have ended.
    pub(super) fn set(&mut self, wanted: &BTreeMap<String, Tracker>) -> Vec<String> {
        let mut changed: Vec<String> = Vec::new();
        self.running.retain(|name, running| {
            let stays = wanted.get(name) == Some(&running.tracker);
            if !stays {
                changed.push(name.clone());
            }
            stays
        });
        for (name, tracker) in wanted {
            if !self.running.contains_key(name) {
                let task = self.runtime.spawn(observe(name.clone(), tracker.clone(), self.results.clone()));
                self.running.insert(name.clone(), Running { tracker: tracker.clone(), task });
            }
        }
        changed
    }
}

async fn observe(name: String, tracker: Tracker, results: mpsc::UnboundedSender<Result>) {
    match tracker {
        Tracker::Script { command, interval, timeout, rise, fall } => {
            let mut state = Hysteresis::new(rise, fall);
            let mut last = None;
            loop {
                let begun = Instant::now();
                let outcome = run(&command, timeout).await;
                let before = state.is_known().then(|| state.reading());
                let reading = state.on_result(outcome.is_ok());
                told(&name, &outcome, before, reading);
                if last.replace(reading) != Some(reading) && results.send((name.clone(), reading)).is_err() {
                    return;
                }
                tokio::time::sleep_until((begun + interval).max(Instant::now() + PAUSE_MIN)).await;
            }
        }
        Tracker::File { path } => follow_file(&name, path, &results).await,
    }
}

fn told(name: &str, outcome: &std::result::Result<(), String>, before: Option<Reading>, reading: Reading) {
    match (outcome, reading) {
        _ if before == Some(reading) => debug!(tracker = name, ?outcome, "script has ended"),
        (_, Reading::Up) => info!(tracker = name, "script is fine"),
        (Err(why), _) => warn!(tracker = name, why, "script fails"),
        (Ok(()), _) => debug!(tracker = name, "script is fine, not often enough yet"),
    }
}

/// Runs a command without a shell, and says what was wrong. What it has begun ends with it when its time is over.
async fn run(command: &[String], limit: Duration) -> std::result::Result<(), String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let group = ProcessGroup::of(&child);
    match timeout(limit, child.wait()).await {
        Ok(Ok(status)) => {
            group.forget();
            if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
        }
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program}: not done after {}", humantime::format_duration(limit))),
    }
}

async fn follow_file(name: &str, path: PathBuf, results: &mpsc::UnboundedSender<Result>) {
    let mut ticks = interval(FILE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = None;
    loop {
        ticks.tick().await;
        let now = number(&path).await;
        if known.as_ref() == Some(&now) {
            continue;
        }
        let reading = match &now {
            Ok(number) => {
                info!(tracker = name, path = %path.display(), number, "file read");
                Reading::Number(*number)
            }
            Err(why) => {
                warn!(tracker = name, path = %path.display(), why, "file holds no number: it counts as down");
                Reading::Down
            }
        };
        known = Some(now);
        if results.send((name.to_owned(), reading)).is_err() {
            return;
        }
    }
}

/// The number in a file; one that is not there is zero, as in keepalived.
async fn number(path: &Path) -> std::result::Result<i64, String> {
    let text = match read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.to_string()),
    };
    let text = text.trim_ascii();
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("\"{}\" is no number", text.escape_ascii()))
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(FILE_MAX);
    tokio::fs::File::open(path).await?.take(FILE_MAX as u64).read_to_end(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests;
