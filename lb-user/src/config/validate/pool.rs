//! What a vip makes of what checks say: settings that go together, or do not.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use crate::config::HealthPolicy;
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{PoolFile, VipFile};
use crate::config::reader::{Located, printable};
use crate::state::{Flapping, Guard, PoolPolicy};

/// Settings of no use with `role_check`, by which one backend serves whatever becomes of the others.
const NOT_WITH_ROLES: [&str; 6] =
    ["backup", "quorum_up", "quorum_down", "panic_percent", "guard_percent", "flap_changes"];

/// What `file` says, when `backends` are the vip's.
pub(super) fn policy(
    check: &mut Check<'_>,
    file: &VipFile,
    backends: &BTreeMap<String, Option<u32>>,
) -> HealthPolicy {
    let pool = &file.pool;
    let role = pool.role_check.as_ref().is_some_and(|truth| truth.value);
    refuse_useless(check, file, role);
    let default = PoolPolicy::default();
    let backup = backups(check, &file.object, pool, backends);
    let (quorum_up, quorum_down) = quorum(check, &file.object, pool, backends.len() - backup.len());
    HealthPolicy {
        check: pool.check.as_ref().map(|check| check.value.clone()),
        agent: pool.agent.as_ref().map(|agent| agent.value.clone()),
        pool: PoolPolicy {
            on_unhealthy: value(&pool.on_unhealthy, default.on_unhealthy),
            fail_open: value(&pool.fail_open, default.fail_open),
            backup,
            quorum_up,
            quorum_down,
            panic_percent: value(&pool.panic_percent, default.panic_percent),
            guard: Some(value(&pool.guard_percent, 0)).filter(|percent| *percent > 0).map(|percent| Guard {
                percent,
                window: value(&pool.guard_window, Guard::WINDOW),
                hold: value(&pool.guard_hold, Guard::HOLD),
            }),
            flapping: Some(value(&pool.flap_changes, 0)).filter(|changes| *changes > 0).map(|changes| {
                Flapping {
                    changes,
                    window: value(&pool.flap_window, Flapping::WINDOW),
                    hold: value(&pool.flap_hold, Flapping::HOLD),
                }
            }),
            role: role.then(|| value(&pool.role_conflict, Default::default())),
        },
    }
}

fn value<T: Copy>(found: &Option<Located<T>>, default: T) -> T {
    found.as_ref().map_or(default, |found| found.value)
}

/// Settings that say nothing without another, or contradict it.
fn refuse_useless(check: &mut Check<'_>, file: &VipFile, role: bool) {
    let pool = &file.pool;
    let object = &file.object;
    let has_backup = pool.backup.as_ref().is_some_and(|backup| !backup.value.is_empty());
    let is_on = |found: Option<u32>| found.is_some_and(|value| value > 0);
    let guards = is_on(pool.guard_percent.as_ref().map(|found| found.value.into()));
    let damps = is_on(pool.flap_changes.as_ref().map(|found| found.value));
    for (key, line) in pool.given() {
        let text = match key {
            "role_conflict" if !role => "it is for vips with role_check = true; add that, or take it out",
            key if role && NOT_WITH_ROLES.contains(&key) => {
                "with role_check one backend serves, whatever becomes of the others; take one of the two out"
            }
            "quorum_up" | "quorum_down" if !has_backup => {
                "there is nobody to serve in place of too few backends; add backup = [\"…\"], or take it out"
            }
            "guard_window" | "guard_hold" if !guards => {
                "nothing is guarded; add guard_percent, or take it out"
            }
            "flap_window" | "flap_hold" if !damps => "nothing is damped; add flap_changes, or take it out",
            _ => continue,
        };
        check.problems.add(line, format!("{object}: {key}: {text}"));
    }
    if let Some(role) = pool.role_check.as_ref().filter(|found| found.value && pool.check.is_none()) {
        let text = format!("{object}: role_check: no check says who is active; add check = \"…\"");
        check.problems.add(role.line, text);
    }
}

fn backups(
    check: &mut Check<'_>,
    object: &str,
    pool: &PoolFile,
    backends: &BTreeMap<String, Option<u32>>,
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let Some(Located { value: names, line }) = &pool.backup else { return found };
    for Located { value: name, line } in names {
        if backends.contains_key(name) {
            found.insert(name.clone());
            continue;
        }
        let shown = printable(name);
        let hint = nearest(name, backends.keys().map(String::as_str));
        let way_out = match hint {
            Some(_) => did_you_mean(hint),
            None => "; name it there too".to_owned(),
        };
        check
            .problems
            .add(*line, format!("{object}: backup: '{shown}' is not in the vip's backends{way_out}"));
    }
    if !found.is_empty() && found.len() == backends.len() {
        let text =
            format!("{object}: backup: all of the vip's backends are backups, of nobody; leave some out");
        check.problems.add(*line, text);
    }
    found
}

/// How many of the vip's `others` have to be healthy.
fn quorum(check: &mut Check<'_>, object: &str, pool: &PoolFile, others: usize) -> (u32, u32) {
    let down = value(&pool.quorum_down, value(&pool.quorum_up, 1));
    let up = value(&pool.quorum_up, down);
    if let Some(found) = pool.quorum_down.as_ref().filter(|_| down > up) {
        let text = format!("{object}: quorum_down: {down} is more than quorum_up = {up}; write {up} or less");
        check.problems.add(found.line, text);
    }
    let given = pool.quorum_up.as_ref().or(pool.quorum_down.as_ref());
    if let Some(found) = given.filter(|_| up as usize > others) {
        let text = format!(
            "{object}: {}: {up} are never healthy of {others} backends that are no backups; write {others} or less",
            if pool.quorum_up.is_some() { "quorum_up" } else { "quorum_down" }
        );
        check.problems.add(found.line, text);
    }
    (up, down)
}
