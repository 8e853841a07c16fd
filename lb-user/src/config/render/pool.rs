//! What a vip makes of what checks say, as a file would say it.

use super::check::{Text, number, some, text, texts_of};
use super::duration;
use crate::config::HealthPolicy;
use crate::config::words::{fail_open, on_unhealthy, role_conflict};
use crate::state::{Flapping, Guard, PoolPolicy};

/// Every value that is in effect, in the order of the reference.
pub(in crate::config) fn pool_texts(health: &HealthPolicy) -> Vec<Text> {
    let default = PoolPolicy::default();
    let PoolPolicy {
        on_unhealthy: flows,
        fail_open: open,
        backup,
        quorum_up,
        quorum_down,
        panic_percent,
        guard,
        flapping,
        role,
    } = &health.pool;
    let mut texts = vec![
        some("check", &health.check),
        some("agent", &health.agent),
        text("on_unhealthy", on_unhealthy(*flows), *flows != default.on_unhealthy),
        text("fail_open", fail_open(*open), *open != default.fail_open),
        texts_of("backup", backup.iter().cloned().collect(), !backup.is_empty()),
    ];
    if !backup.is_empty() {
        texts.extend([
            number("quorum_up", quorum_up.to_string(), *quorum_up != default.quorum_up),
            number("quorum_down", quorum_down.to_string(), quorum_down != quorum_up),
        ]);
    }
    let percent = guard.map_or(0, |guard| guard.percent);
    texts.extend([
        number("panic_percent", panic_percent.to_string(), *panic_percent != default.panic_percent),
        number("guard_percent", percent.to_string(), guard.is_some()),
    ]);
    if let Some(Guard { window, hold, .. }) = guard {
        texts.extend([
            text("guard_window", &duration(*window), *window != Guard::WINDOW),
            text("guard_hold", &duration(*hold), *hold != Guard::HOLD),
        ]);
    }
    let changes = flapping.map_or(0, |flapping| flapping.changes);
    texts.push(number("flap_changes", changes.to_string(), flapping.is_some()));
    if let Some(Flapping { window, hold, .. }) = flapping {
        texts.extend([
            text("flap_window", &duration(*window), *window != Flapping::WINDOW),
            text("flap_hold", &duration(*hold), *hold != Flapping::HOLD),
        ]);
    }
    texts.push(number("role_check", role.is_some().to_string(), role.is_some()));
    if let Some(conflict) = role {
        texts.push(text("role_conflict", role_conflict(*conflict), *conflict != Default::default()));
    }
    texts
}
