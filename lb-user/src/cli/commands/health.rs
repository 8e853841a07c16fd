//! `health`: what checks say of the backends, and why.

use crate::api::client::path_segment;
use crate::api::types::{Diagnosis, HealthState, HealthStatus, HealthTransition};
use crate::cli::args::HealthArgs;
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Cell, Table, Tone, left, right};

pub(in crate::cli) async fn run(args: &HealthArgs) -> Result<(), CliError> {
    let HealthArgs { vip, client } = args;
    let of = vip.as_ref().map(|vip| format!("?vip={}", path_segment(vip))).unwrap_or_default();
    let reply = client.client().get(&format!("/v1/health{of}")).await?;
    client.show(&reply, |backends: &Vec<HealthStatus>, style| match vip {
        Some(_) => list(backends, style) + &transitions(backends, style),
        None => list(backends, style),
    })
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
    format!("{} port {}{through}", backend.check, backend.port)
}

/// What has changed, of all backends together, the last at the end; empty when nothing has.
fn transitions(backends: &[HealthStatus], style: Style) -> String {
    let of = |backend: &'_ HealthStatus| {
        let name = backend.backend.clone();
        backend.transitions.clone().into_iter().map(move |transition| (transition, name.clone()))
    };
    let mut all: Vec<(HealthTransition, String)> = backends.iter().flat_map(of).collect();
    if all.is_empty() {
        return String::new();
    }
    all.sort_by(|(one, _), (other, _)| one.at.cmp(&other.at));
    let mut table = Table::new([left("CHANGED"), left("BACKEND"), left("TO"), left("REASON")]);
    for (transition, backend) in all {
        let reason = explained(transition.diagnosis, transition.reason).unwrap_or_default();
        table.row([transition.at.into(), backend.into(), state(transition.state), reason.into()]);
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
    use crate::api::types::CheckResult;

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
            state,
            used: state != HealthState::Unhealthy,
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
    fn transitions_of_all_backends_are_in_order() {
        let at = |second: u32, state, reason: Option<&str>| HealthTransition {
            at: format!("2026-01-02T03:04:{second:02}Z"),
            state,
            reason: reason.map(str::to_owned),
            diagnosis: None,
        };
        let one = HealthStatus {
            transitions: vec![
                at(1, HealthState::Healthy, None),
                at(9, HealthState::Unhealthy, Some("connection refused")),
            ],
            ..backend("web-1", HealthState::Unhealthy, None)
        };
        let other = HealthStatus {
            transitions: vec![at(2, HealthState::Healthy, None)],
            ..backend("web-2", HealthState::Healthy, None)
        };
        assert_eq!(
            transitions(&[one, other], Style::PLAIN),
            "
CHANGED               BACKEND  TO         REASON
2026-01-02T03:04:01Z  web-1    healthy
2026-01-02T03:04:02Z  web-2    healthy
2026-01-02T03:04:09Z  web-1    unhealthy  connection refused
"
        );
        assert_eq!(transitions(&[backend("web-1", HealthState::Initial, None)], Style::PLAIN), "");
    }
}
