//! The metrics of checks. Their counts begin anew when a target is new, and with the daemon.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Gauges, Labels, SetValue};
use crate::api::types::HealthState;
use crate::controller::CheckSample;
use crate::health::probe::FailureKind;
use crate::health::{LATENCY_BOUNDS_MS, LATENESS_BOUNDS_MS, LateTally};

const STATES: [(HealthState, &str); 3] = [
    (HealthState::Initial, "initial"),
    (HealthState::Healthy, "healthy"),
    (HealthState::Unhealthy, "unhealthy"),
];

pub(super) fn write(registry: &mut Registry, checks: &[CheckSample], delays: &LateTally) {
    let (states, failures) = (Gauges::default(), Counters::default());
    let latencies = Family::<Labels, Histogram>::default();
    let all_delays = Histogram::default();
    all_delays.set(&LATENESS_BOUNDS_MS, &delays.counts, delays.sum);
    registry.register_with_unit(
        "check_start_delay",
        "How late probes began, all checks together",
        Unit::Seconds,
        all_delays,
    );
    registry.register(
        "check_state",
        "1 for the state that a check says a backend is in, else 0",
        states.clone(),
    );
    registry.register("check_failures", "Probes of a backend that did not pass, by reason", failures.clone());
    registry.register_with_unit(
        "check_latency",
        "How long probes took that passed",
        Unit::Seconds,
        latencies.clone(),
    );
    for CheckSample { target, state, tally } in checks {
        let labels = || -> Labels {
            let mut labels = vec![
                ("check", target.check.clone()),
                ("address", target.address.to_string()),
                ("port", target.port.to_string()),
            ];
            labels.extend(target.way.as_ref().map(|way| ("vip", way.to.to_string())));
            labels
        };
        for (known, label) in STATES {
            let labels = [labels(), vec![("state", label.to_owned())]].concat();
            states.set_value(labels, if *state == known { 1.0 } else { 0.0 });
        }
        for kind in FailureKind::ALL {
            let count = tally.failures.get(&kind).copied().unwrap_or(0);
            failures.set_value([labels(), vec![("reason", kind.label().to_owned())]].concat(), count);
        }
        latencies.get_or_create(&labels()).set(&LATENCY_BOUNDS_MS, &tally.latencies, tally.latency_sum);
    }
}

/// The labels of a sample without the bucket's bound.
pub(super) fn labels(sample: &str) -> &str {
    let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
    let labels = labels.split_once('}').map_or(labels, |(labels, _)| labels);
    // The bound comes first.
    match labels.strip_prefix("le=\"").and_then(|bound| bound.split_once("\",")) {
        Some((_, labels)) => labels,
        None => labels,
    }
}

/// Counts that were made elsewhere, as a histogram.
#[derive(Clone, Debug, Default)]
struct Histogram(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// Each with its bucket's upper bound in seconds.
    buckets: Vec<(f64, u64)>,
    sum: Duration,
}

impl Histogram {
    /// `counts`: one for each bound, and one for all above.
    fn set(&self, bounds_ms: &[u64], counts: &[u64], sum: Duration) {
        let bounds = bounds_ms.iter().map(|bound| *bound as f64 / 1000.0).chain([f64::INFINITY]);
        let buckets = bounds.zip(counts.iter().copied()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Counts { buckets, sum };
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let Counts { buckets, sum } = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), count, buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Tally, Target};

    #[test]
    fn a_check_has_its_state_its_failures_and_its_latencies() {
        let mut tally = Tally { passes: 3, latency_sum: Duration::from_millis(30), ..Tally::default() };
        tally.failures.insert(FailureKind::Refused, 7);
        (tally.latencies[0], tally.latencies[4]) = (1, 2);
        let target = Target { check: "web".to_owned(), address: [10, 0, 0, 1].into(), port: 80, way: None };
        let mut registry = Registry::with_prefix("ferrolev");
        let mut delays = LateTally { sum: Duration::from_millis(7), ..LateTally::default() };
        (delays.counts[0], delays.counts[11]) = (5, 1);
        write(&mut registry, &[CheckSample { target, state: HealthState::Healthy, tally }], &delays);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let text = super::super::sorted(&text);
        let of = "check=\"web\",address=\"10.0.0.1\",port=\"80\"";
        for line in [
            format!("ferrolev_check_state{{{of},state=\"healthy\"}} 1.0"),
            format!("ferrolev_check_state{{{of},state=\"unhealthy\"}} 0.0"),
            format!("ferrolev_check_failures_total{{{of},reason=\"refused\"}} 7"),
            format!("ferrolev_check_failures_total{{{of},reason=\"timeout\"}} 0"),
            format!("ferrolev_check_latency_seconds_sum{{{of}}} 0.03"),
            format!("ferrolev_check_latency_seconds_count{{{of}}} 3"),
            "ferrolev_check_start_delay_seconds_bucket{le=\"5.0\"} 5".to_owned(),
            "ferrolev_check_start_delay_seconds_count 6".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let latency = "ferrolev_check_latency_seconds_bucket";
        let buckets: Vec<&str> = text.lines().filter(|line| line.starts_with(latency)).collect();
        assert_eq!(buckets.len(), LATENCY_BOUNDS_MS.len() + 1, "{text}");
        assert!(buckets[0].contains("le=\"0.001\"") && buckets[0].ends_with(" 1"), "{}", buckets[0]);
        assert!(buckets[4].contains("le=\"0.025\"") && buckets[4].ends_with(" 3"), "{}", buckets[4]);
        assert!(buckets[11].contains("le=\"+Inf\"") && buckets[11].ends_with(" 3"), "{}", buckets[11]);
    }
}
