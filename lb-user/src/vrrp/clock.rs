//! Time as the machines and the kernel's program count it.
#![forbid(unsafe_code)]

use std::time::Duration;

use lb_vrrp::Moment;
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// The time on the kernel's monotonic clock, as `bpf_ktime_get_ns` has it.
pub(super) fn now() -> Moment {
    // The call cannot fail for this clock.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    Moment::default() + since_boot
}

/// Sleeps until then; for ever when there is nothing to wait for.
pub(super) async fn until(due: Option<Moment>) {
    match due {
        Some(due) => tokio::time::sleep_until(Instant::now() + due.since(now())).await,
        None => std::future::pending().await,
    }
}
