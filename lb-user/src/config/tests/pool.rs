//! What vips make of what checks say: every setting, and those that do not go together.

use std::time::Duration;

use super::*;
use crate::state::{FailOpen, Flapping, Guard, OnUnhealthy, RoleConflict};

/// [`GOOD`] with a check that nobody names, and these lines for its vip, the first in line 19.
fn vip(lines: &str) -> String {
    with("[[backend]]", "[[check]]\nname = \"c\"\ntype = \"tcp\"\n[[backend]]") + lines
}

fn read(lines: &str) -> PoolPolicy {
    let config = parse(&vip(lines)).expect("valid");
    config.vips.into_values().next().expect("a vip").health.pool
}

#[track_caller]
fn problem(lines: &str, key: &str, expected: &str) {
    let all = problems(&vip(lines));
    let line = vip(lines).lines().position(|line| line.starts_with(key)).expect("the key") + 1;
    assert_eq!(all, [format!("f.toml:{line}: vip 192.0.2.1:80/tcp: {expected}")], "{lines}");
}

#[test]
fn nothing_is_on_that_was_not_asked_for() {
    assert_eq!(read(""), PoolPolicy::default());
    assert_eq!(
        read("guard_percent = 0\nflap_changes = 0\nrole_check = false\nbackup = []"),
        PoolPolicy::default()
    );
}

#[test]
fn every_setting_is_read() {
    let seconds = Duration::from_secs;
    let found = read(
        "on_unhealthy = \"drain\"\nfail_open = \"none\"\nbackup = [\"web-2\"]\nquorum_up = 1\nquorum_down = 1\n\
         panic_percent = 40\nguard_percent = 30\nguard_window = \"5s\"\nguard_hold = \"1min\"\n\
         flap_changes = 4\nflap_window = \"2min\"\nflap_hold = \"90s\"",
    );
    let expected = PoolPolicy {
        on_unhealthy: OnUnhealthy::Drain,
        fail_open: FailOpen::None,
        backup: ["web-2".to_owned()].into(),
        quorum_up: 1,
        quorum_down: 1,
        panic_percent: 40,
        guard: Some(Guard { percent: 30, window: seconds(5), hold: seconds(60) }),
        flapping: Some(Flapping { changes: 4, window: seconds(120), hold: seconds(90) }),
        role: None,
    };
    assert_eq!(found, expected);
    let short = read("guard_percent = 30\nflap_changes = 4");
    assert_eq!(short.guard, Some(Guard { percent: 30, window: seconds(10), hold: seconds(300) }));
    assert_eq!(short.flapping, Some(Flapping { changes: 4, window: seconds(600), hold: seconds(60) }));
    let role = |lines: &str| read(&format!("check = \"c\"\nrole_check = true\n{lines}")).role;
    assert_eq!(role(""), Some(RoleConflict::Keep));
    assert_eq!(role("role_conflict = \"lowest\""), Some(RoleConflict::Lowest));
}

#[test]
fn settings_that_say_nothing_or_contradict_others_are_named_with_the_way_out() {
    problem(
        "role_conflict = \"keep\"",
        "role_conflict",
        "role_conflict: it is for vips with role_check = true; add that, or take it out",
    );
    problem("role_check = true", "role_check", "role_check: no check says who is active; add check = \"…\"");
    problem(
        "check = \"c\"\nrole_check = true\npanic_percent = 50",
        "panic_percent",
        "panic_percent: with role_check one backend serves, whatever becomes of the others; take one of the two out",
    );
    problem(
        "quorum_up = 1",
        "quorum_up",
        "quorum_up: there is nobody to serve in place of too few backends; add backup = [\"…\"], or take it out",
    );
    problem(
        "guard_hold = \"1min\"",
        "guard_hold",
        "guard_hold: nothing is guarded; add guard_percent, or take it out",
    );
    problem(
        "flap_window = \"1min\"",
        "flap_window",
        "flap_window: nothing is damped; add flap_changes, or take it out",
    );
    problem(
        "backup = [\"web-3\"]",
        "backup",
        "backup: 'web-3' is not in the vip's backends; did you mean 'web-1'?",
    );
    problem(
        "backup = [\"web-1\", \"web-2\"]",
        "backup = [\"web-1\", \"web-2\"]",
        "backup: all of the vip's backends are backups, of nobody; leave some out",
    );
    problem(
        "backup = [\"web-2\"]\nquorum_up = 2",
        "quorum_up",
        "quorum_up: 2 are never healthy of 1 backends that are no backups; write 1 or less",
    );
    problem(
        "backup = [\"web-2\"]\nquorum_up = 1\nquorum_down = 2",
        "quorum_down",
        "quorum_down: 2 is more than quorum_up = 1; write 1 or less",
    );
    problem(
        "withdraw_when_down = true",
        "withdraw_when_down",
        "withdraw_when_down: nothing is announced that could be withdrawn; add announce = \"arp\" or \"address\", or take withdraw_when_down out",
    );
}
