//! What the API and the metrics show of checks.

use std::time::Duration;

use super::clock;
use super::engine::{Engine, Refused};
use super::health::{agent, asked, target};
use crate::api::types::{CheckResult, HealthState, HealthStatus, HealthTransition};
use crate::config::CheckConfig;
use crate::dataplane::Dataplane;
use crate::health::{Standing, Standings, State, Tally, Target};
use crate::state::{DesiredMember, DesiredVip, VipKey, find_vip};

/// A check's part of the metrics.
#[derive(Clone, Debug)]
pub struct CheckSample {
    pub target: Target,
    pub state: HealthState,
    pub tally: Tally,
}

impl<D: Dataplane> Engine<D> {
    /// The checked backends of a vip, or of all.
    pub(super) fn health(
        &self,
        vip: Option<&str>,
        standings: &Standings,
    ) -> Result<Vec<HealthStatus>, Refused> {
        let only = vip.map(|name| find_vip(&self.desired, name)).transpose()?;
        let vips = self.desired.vips.iter().filter(|(key, _)| only.is_none_or(|only| only == **key));
        Ok(vips.flat_map(|(key, vip)| self.health_of(*key, vip, standings)).collect())
    }

    fn health_of(&self, key: VipKey, vip: &DesiredVip, standings: &Standings) -> Vec<HealthStatus> {
        let config = &self.setup.config;
        let one =
            |name: &str, member: &DesiredMember, target: Target, check: &CheckConfig, is_agent: bool| {
                let standing = standings.get(&target).cloned();
                let initial = State::Initial(check.rhythm.start);
                let state = standing.as_ref().map_or(initial, Standing::state);
                let standing = standing.unwrap_or_default();
                HealthStatus {
                    vip: vip.name.clone(),
                    backend: name.to_owned(),
                    check: target.check,
                    address: target.address,
                    port: target.port,
                    is_agent,
                    through_tunnel: target.way.is_some(),
                    state: shown(state),
                    used: member.effective_weight() > 0,
                    suspicion: self.silence.of(&(key, member.address)).filter(|_| !is_agent),
                    since: standing.since.map(clock::text),
                    last: standing.last.map(|last| CheckResult {
                        at: clock::text(last.at),
                        latency_us: micros(last.took),
                        failure: last.failure,
                        diagnosis: last.diagnosis,
                    }),
                    contrary_results: standing.progress.0,
                    contrary_needed: standing.progress.1,
                    weight: standing.weight.map(|weight| asked(weight, member)),
                    passes: standing.tally.passes,
                    failures: standing
                        .tally
                        .failures
                        .iter()
                        .map(|(kind, count)| (kind.label().to_owned(), *count))
                        .collect(),
                    transitions: standing
                        .transitions
                        .into_iter()
                        .map(|transition| HealthTransition {
                            at: clock::text(transition.at),
                            before: Some(shown(transition.from)),
                            state: shown(transition.to),
                            latency_us: micros(transition.took),
                            reason: transition.reason,
                            diagnosis: transition.diagnosis,
                        })
                        .collect(),
                }
            };
        let both = |(name, member)| {
            let check = target(config, key, name, member);
            let agent = agent(config, key, name, member);
            let check = check.map(|(target, check)| one(name, member, target, check, false));
            check.into_iter().chain(agent.map(|(target, check)| one(name, member, target, check, true)))
        };
        vip.all_members().into_iter().flat_map(both).collect()
    }
}

pub(super) fn samples(standings: &Standings) -> Vec<CheckSample> {
    let sample = |(target, standing): (&Target, &Standing)| CheckSample {
        target: target.clone(),
        state: shown(standing.state()),
        tally: standing.tally.clone(),
    };
    standings.iter().map(sample).collect()
}

const fn shown(state: State) -> HealthState {
    match state {
        State::Initial(_) => HealthState::Initial,
        State::Healthy => HealthState::Healthy,
        State::Unhealthy => HealthState::Unhealthy,
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
