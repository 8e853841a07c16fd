//! `backend drain --wait`: looks on until no flow is left on the backend, or its time is over.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};

use crate::api::client::{ClientError, path_segment};
use crate::api::types::{BackendState, DestStatus, VipStatus};
use crate::cli::args::ClientArgs;
use crate::cli::error::CliError;
use crate::cli::units::count;

/// How often the daemon is asked.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a line is written that says nothing new, where there is no terminal.
const REPEAT: Duration = Duration::from_secs(30);
/// A daemon that restarts meanwhile is waited for so long.
const RESTART: Duration = Duration::from_secs(30);
/// Flows that are given up at a deadline are counted as gone a little later.
const GRACE: Duration = Duration::from_secs(10);

/// Waits for the end of a drain that has begun.
///
/// # Errors
/// When flows are left at the deadline, somebody undrains the backend, or the daemon is gone.
pub(super) async fn wait(
    client: &ClientArgs,
    backend: &str,
    vip: Option<&str>,
    force: bool,
) -> Result<(), CliError> {
    let mut progress = Progress::new();
    let mut answered = Instant::now();
    loop {
        let dests = match dests(client, vip).await {
            Err(CliError::Client(ClientError::Unreachable { .. })) if answered.elapsed() < RESTART => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            found => found?,
        };
        answered = Instant::now();
        match judge(&dests, backend, force, SystemTime::now()) {
            Drained::Yes => {
                progress.end(&format!("backend {backend} is drained: no flow is left"));
                return Ok(());
            }
            Drained::NotYet(left) => progress.show(&left),
            Drained::Overdue(left) => {
                progress.end("");
                return Err(CliError::FlowsLeft { backend: backend.to_owned(), what: left.to_string() });
            }
            Drained::Undone { vip } => {
                progress.end("");
                let text =
                    format!("backend {backend} is not drained any more in vip {vip}; see `ferrolev changes`");
                return Err(CliError::Operation(text));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn dests(client: &ClientArgs, vip: Option<&str>) -> Result<Vec<DestStatus>, CliError> {
    let daemon = client.client();
    Ok(match vip {
        Some(vip) => {
            daemon.get(&format!("/v1/vips/{}", path_segment(vip))).await?.parse::<VipStatus>()?.backends
        }
        None => daemon.get("/v1/backends").await?.parse()?,
    })
}

/// How a drain goes.
#[derive(Debug, PartialEq, Eq)]
enum Drained {
    Yes,
    NotYet(Left),
    Overdue(Left),
    /// Somebody has undrained it.
    Undone {
        vip: String,
    },
}

/// What a drain waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    flows: u64,
    /// By name; the ones that are not drained yet.
    vips: BTreeSet<String>,
    deadline: Option<SystemTime>,
    /// Whether flows that are left then are given up.
    force: bool,
}

/// Looks at the dests of `backend` among `dests`. One that was removed meanwhile has nothing left.
fn judge(dests: &[DestStatus], backend: &str, force: bool, now: SystemTime) -> Drained {
    let mut left = Left { flows: 0, vips: BTreeSet::new(), deadline: None, force };
    for dest in dests.iter().filter(|dest| dest.name == backend) {
        match dest.state {
            BackendState::Drained => continue,
            BackendState::Draining => {}
            _ => return Drained::Undone { vip: dest.vip.clone() },
        }
        let deadline = dest.drain_deadline.as_deref().and_then(|text| humantime::parse_rfc3339(text).ok());
        left.flows += dest.flows;
        left.deadline = left.deadline.max(deadline);
        left.force |= dest.drain_force;
        left.vips.insert(dest.vip.clone());
    }
    let grace = if left.force { GRACE } else { Duration::ZERO };
    match left.deadline {
        _ if left.vips.is_empty() => Drained::Yes,
        Some(deadline) if now >= deadline + grace => Drained::Overdue(left),
        _ => Drained::NotYet(left),
    }
}

impl std::fmt::Display for Left {
    /// Such as `12 flows left in dns, web`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let vips: Vec<_> = self.vips.iter().map(String::as_str).collect();
        let vips = vips.join(", ");
        match self.flows {
            0 => write!(
                f,
                "no flow is remembered in {vips}, but quiet ones may be left until the transition ends"
            ),
            1 => write!(f, "1 flow left in {vips}"),
            flows => write!(f, "{} flows left in {vips}", count(flows)),
        }
    }
}

impl Left {
    fn line(&self) -> String {
        match self.deadline {
            Some(at) => format!("{self} (until {})", humantime::format_rfc3339_seconds(at)),
            None => self.to_string(),
        }
    }
}

/// On standard error: a bar on a terminal, lines elsewhere.
enum Progress {
    Bar { bar: ProgressBar, most: u64 },
    Lines { last: Option<(String, Instant)> },
}

impl Progress {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: None };
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
            bar.set_style(style);
        }
        Self::Bar { bar, most: 0 }
    }

    fn show(&mut self, left: &Left) {
        let line = left.line();
        match self {
            Self::Bar { bar, most } => {
                *most = left.flows.max(*most);
                bar.set_length(*most);
                bar.set_position(*most - left.flows);
                bar.set_message(line);
            }
            Self::Lines { last } => {
                let said = last.as_ref().is_some_and(|(said, at)| *said == line && at.elapsed() < REPEAT);
                if !said {
                    eprintln!("{line}");
                    *last = Some((line, Instant::now()));
                }
            }
        }
    }

    fn end(&mut self, line: &str) {
        if let Self::Bar { bar, .. } = self {
            bar.finish_and_clear();
        }
        if !line.is_empty() {
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn dest(vip: &str, state: BackendState, flows: u64, deadline: Option<&str>) -> DestStatus {
        DestStatus {
            vip: vip.to_owned(),
            state,
            flows,
            drain_deadline: deadline.map(str::to_owned),
            ..samples::vip().backends.remove(1)
        }
    }

    fn at(time: &str) -> SystemTime {
        humantime::parse_rfc3339(time).unwrap()
    }

    const DEADLINE: &str = "2026-01-02T03:05:00Z";
    const BEFORE: &str = "2026-01-02T03:04:59Z";

    fn seen(dests: &[DestStatus], force: bool, now: &str) -> String {
        match judge(dests, "web-2", force, at(now)) {
            Drained::Yes => "drained".to_owned(),
            Drained::NotYet(left) => left.line(),
            Drained::Overdue(left) => format!("overdue: {left}"),
            Drained::Undone { vip } => format!("undone in {vip}"),
        }
    }

    #[test]
    fn it_waits_for_the_flows_of_all_vips() {
        use BackendState::{Drained, Draining};
        let both = [dest("web", Draining, 11, None), dest("dns", Draining, 1989, None)];
        assert_eq!(seen(&both, false, BEFORE), "2.0k flows left in dns, web");
        let one = [dest("web", Draining, 1, Some(DEADLINE)), dest("dns", Drained, 0, Some(DEADLINE))];
        assert_eq!(seen(&one, false, BEFORE), "1 flow left in web (until 2026-01-02T03:05:00Z)");
        assert_eq!(
            seen(&[dest("web", Drained, 0, None), dest("dns", Drained, 0, None)], false, BEFORE),
            "drained"
        );
        let quiet = seen(&[dest("web", Draining, 0, None)], false, BEFORE);
        assert!(quiet.starts_with("no flow is remembered in web, but"), "{quiet}");
    }

    #[test]
    fn a_deadline_ends_the_wait_and_with_force_a_little_later() {
        let one = [dest("web", BackendState::Draining, 3, Some(DEADLINE))];
        assert_eq!(seen(&one, false, DEADLINE), "overdue: 3 flows left in web");
        assert_eq!(seen(&one, true, DEADLINE), "3 flows left in web (until 2026-01-02T03:05:00Z)");
        let forced = [DestStatus { drain_force: true, ..one[0].clone() }];
        assert_eq!(seen(&forced, false, DEADLINE), "3 flows left in web (until 2026-01-02T03:05:00Z)");
        assert_eq!(seen(&one, true, "2026-01-02T03:05:10Z"), "overdue: 3 flows left in web");
    }

    #[test]
    fn a_backend_that_was_removed_has_nothing_left_and_one_that_was_undrained_ends_the_wait() {
        assert_eq!(seen(&[], false, BEFORE), "drained");
        assert_eq!(seen(&[dest("web", BackendState::Healthy, 3, None)], false, BEFORE), "undone in web");
        assert_eq!(seen(&samples::vip().backends[..1], false, BEFORE), "drained", "others do not count");
    }
}
