//! `health`: what checks say of the backends, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::client::path_segment;
use crate::api::types::{Diagnosis, HealthState, HealthStatus};
use crate::cli::args::{ClientArgs, Format, HealthArgs};
use crate::cli::error::CliError;
use crate::cli::output::{Style, lines, print};
use crate::cli::screen::{Screen, one_line};
use crate::cli::table::{Cell, Table, Tone, left, right};

/// Transitions that are shown at once.
const TRANSITIONS: usize = 20;

pub(in crate::cli) async fn run(args: &HealthArgs) -> Result<(), CliError> {
    let HealthArgs { vip, client, .. } = args;
    let of = vip.as_ref().map(|vip| format!("?vip={}", path_segment(vip))).unwrap_or_default();
    let path = format!("/v1/health{of}");
    if let Some(interval) = args.watch() {
        return tokio::select! {
            result = watch(client, &path, interval) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
    }
    let reply = client.client().get(&path).await?;
    client.show(&reply, |backends: &Vec<HealthStatus>, style| match vip {
        Some(_) => list(backends, style) + &transitions(backends, style),
        None => list(backends, style),
    })
}

/// Looks every `interval`, and shows what has changed: in place on a terminal, below each other elsewhere, and as one line of JSON
/// each.
async fn watch(args: &ClientArgs, path: &str, interval: Duration) -> Result<(), CliError> {
    let (client, style) = (args.client(), Style::of_stdout());
    let screen = Screen::open(args, "looking…");
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = String::new();
    loop {
        ticks.tick().await;
        let reply = client.get(path).await?;
        if reply.body == before {
            continue;
        }
        if args.output == Format::Json {
            print(&lines(&one_line(&reply.body)))?;
        } else {
            let backends: Vec<HealthStatus> = reply.parse()?;
            let text = list(&backends, style) + &transitions(&backends, style);
            match &screen {
                Some(screen) => screen.show(&format!("{text}\n"))?,
                None => print(&format!("{text}\n"))?,
            }
        }
        before = reply.body;
    }
}

fn list(backends: &[HealthStatus], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        left("CHECK"),
        left("STATE"),
        left("SINCE"),
        left("LAST RESULT"),
        right("LATENCY"),
        left("NOTE"),
    ]);
    for backend in backends {
        let (last, latency) = match &backend.last {
            Some(last) => (last.at.clone(), milliseconds(last.latency_us)),
            None => ("none yet".to_owned(), String::new()),
        };
        table.row([
            backend.vip.as_str().into(),
            backend.backend.as_str().into(),
            asked(backend).into(),
            state(backend.state),
            backend.since.as_deref().unwrap_or_default().into(),
            last.into(),
            latency.into(),
            note(backend).into(),
        ]);
    }
    table.render(style)
}

fn asked(backend: &HealthStatus) -> String {
    let through = if backend.through_tunnel { " (tunnel)" } else { "" };
    let agent = if backend.is_agent { " (agent)" } else { "" };
    format!("{} port {}{through}{agent}", backend.check, backend.port)
}

/// What has changed at last, of all backends together, the newest at the end; empty when nothing has.
fn transitions(backends: &[HealthStatus], style: Style) -> String {
    // Vips that share a check share its transitions.
    let checks: BTreeMap<_, _> = backends
        .iter()
        .map(|of| ((&of.check, of.address, of.port, of.through_tunnel.then_some(&of.vip)), of))
        .collect();
    let of = |backend: &&'_ HealthStatus| {
        let names = (backend.backend.clone(), asked(backend));
        backend.transitions.clone().into_iter().map(move |transition| (transition, names.clone()))
    };
    let mut all: Vec<_> = checks.values().flat_map(of).collect();
    if all.is_empty() {
        return String::new();
    }
    all.sort_by(|(one, _), (other, _)| one.at.cmp(&other.at));
    let mut table = Table::new([
        left("CHANGED"),
        left("BACKEND"),
        left("CHECK"),
        left("FROM"),
        left("TO"),
        right("LATENCY"),
        left("REASON"),
    ]);
    let old = all.len().saturating_sub(TRANSITIONS);
    for (transition, (backend, check)) in all.split_off(old) {
        let reason = explained(transition.diagnosis, transition.reason).unwrap_or_default();
        table.row([
            transition.at.into(),
            backend.into(),
            check.into(),
            transition.before.map_or_else(|| "".into(), state),
            state(transition.state),
            milliseconds(transition.latency_us).into(),
            reason.into(),
        ]);
    }
    format!("\n{}", table.render(style))
}

fn state(state: HealthState) -> Cell {
    match state {
        HealthState::Initial => Cell::new("initial", Tone::Waiting),
        HealthState::Healthy => Cell::new("healthy", Tone::Good),
        HealthState::Unhealthy => Cell::new("unhealthy", Tone::Bad),
    }
}

/// A failure behind what it means.
fn explained(diagnosis: Option<Diagnosis>, failure: Option<String>) -> Option<String> {
    match (diagnosis, failure) {
        (Some(diagnosis), Some(failure)) => Some(format!("{diagnosis}: {failure}")),
        (_, failure) => failure,
    }
}

fn note(backend: &HealthStatus) -> String {
    let mut parts = Vec::new();
    let failure = backend.last.as_ref().and_then(|last| explained(last.diagnosis, last.failure.clone()));
    let last = backend.transitions.last();
    let reason = last.and_then(|transition| explained(transition.diagnosis, transition.reason.clone()));
    match backend.state {
        HealthState::Unhealthy => parts.extend(failure.or(reason)),
        HealthState::Initial | HealthState::Healthy => parts.extend(failure),
    }
    if backend.contrary_results > 0 {
        parts.push(format!("{} of {} in a row", backend.contrary_results, backend.contrary_needed));
    }
    parts.extend(backend.suspicion.clone());
    parts.extend(backend.weight.map(|weight| format!("asks for weight {weight}")));
    if backend.state == HealthState::Unhealthy && backend.used {
        parts.push("used all the same".to_owned());
    }
    parts.join("; ")
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{CheckResult, HealthTransition};

    const AT: &str = "2026-01-02T03:04:05Z";

    fn backend(name: &str, state: HealthState, failure: Option<&str>) -> HealthStatus {
        let failure = failure.map(str::to_owned);
        HealthStatus {
            vip: "web".to_owned(),
            backend: name.to_owned(),
            check: "http".to_owned(),
            address: "10.0.0.1".parse().expect("address"),
            port: 80,
            through_tunnel: false,
            is_agent: false,
            state,
            used: state != HealthState::Unhealthy,
            suspicion: None,
            since: Some(AT.to_owned()),
            last: Some(CheckResult { at: AT.to_owned(), latency_us: 1250, failure, diagnosis: None }),
            contrary_results: 0,
            contrary_needed: 3,
            weight: None,
            passes: 1,
            failures: [].into(),
            transitions: Vec::new(),
        }
    }

    #[test]
    fn each_backend_has_a_line_with_why_and_how_far_it_is() {
        let doubtful = HealthStatus {
            contrary_results: 2,
            ..backend("web-2", HealthState::Healthy, Some("unexpected status 503"))
        };
        let open = HealthStatus {
            used: true,
            ..backend("web-3", HealthState::Unhealthy, Some("connection refused"))
        };
        let mut lost = HealthStatus { through_tunnel: true, ..open.clone() };
        lost.last.as_mut().expect("a result").diagnosis = Some(Diagnosis::TunnelAbsent);
        let new = HealthStatus { last: None, since: None, ..backend("web-4", HealthState::Initial, None) };
        let heavy = HealthStatus { weight: Some(7), ..backend("web-1", HealthState::Healthy, None) };
        assert_eq!(
            list(&[heavy, doubtful, open, lost, new], Style::PLAIN),
            "\
VIP  BACKEND  CHECK                  STATE      SINCE                 LAST RESULT           LATENCY  NOTE
web  web-1    http port 80           healthy    2026-01-02T03:04:05Z  2026-01-02T03:04:05Z   1.2 ms  asks for weight 7
web  web-2    http port 80           healthy    2026-01-02T03:04:05Z  2026-01-02T03:04:05Z   1.2 ms  unexpected status 503; 2 of 3 in a row
web  web-3    http port 80           unhealthy  2026-01-02T03:04:05Z  2026-01-02T03:04:05Z   1.2 ms  connection refused; used all the same
web  web-3    http port 80 (tunnel)  unhealthy  2026-01-02T03:04:05Z  2026-01-02T03:04:05Z   1.2 ms  tunnel absent: connection refused; used all the same
web  web-4    http port 80           initial                          none yet
"
        );
    }

    #[test]
    fn transitions_of_all_checks_are_in_order_and_those_that_vips_share_there_once() {
        let at = |second: u32, before, state, reason: Option<&str>| HealthTransition {
            at: format!("2026-01-02T03:04:{second:02}Z"),
            before: Some(before),
            state,
            latency_us: 1250,
            reason: reason.map(str::to_owned),
            diagnosis: None,
        };
        use HealthState::{Healthy, Initial, Unhealthy};
        let one = HealthStatus {
            transitions: vec![
                at(1, Initial, Healthy, None),
                at(9, Healthy, Unhealthy, Some("connection refused")),
            ],
            ..backend("web-1", Unhealthy, None)
        };
        let other = HealthStatus {
            address: "10.0.0.2".parse().expect("address"),
            transitions: vec![at(2, Initial, Healthy, None)],
            ..backend("web-2", Healthy, None)
        };
        let shared = HealthStatus { vip: "api".to_owned(), ..one.clone() };
        assert_eq!(
            transitions(&[one, other, shared], Style::PLAIN),
            "
CHANGED               BACKEND  CHECK         FROM     TO         LATENCY  REASON
2026-01-02T03:04:01Z  web-1    http port 80  initial  healthy     1.2 ms
2026-01-02T03:04:02Z  web-2    http port 80  initial  healthy     1.2 ms
2026-01-02T03:04:09Z  web-1    http port 80  healthy  unhealthy   1.2 ms  connection refused
"
        );
        assert_eq!(transitions(&[backend("web-1", Initial, None)], Style::PLAIN), "");
    }

    #[test]
    fn only_the_last_transitions_are_shown() {
        let transition = |second: u32| HealthTransition {
            at: format!("2026-01-02T03:04:{second:02}Z"),
            before: None,
            state: HealthState::Healthy,
            latency_us: 0,
            reason: None,
            diagnosis: None,
        };
        let transitions_of = (0..30).map(transition).collect();
        let busy =
            HealthStatus { transitions: transitions_of, ..backend("web-1", HealthState::Healthy, None) };
        let text = transitions(&[busy], Style::PLAIN);
        assert_eq!(text.lines().count(), 2 + TRANSITIONS);
        assert!(text.contains("03:04:29Z") && !text.contains("03:04:09Z"), "{text}");
    }
}
