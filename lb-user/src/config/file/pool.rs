//! What a vip says of its backends' health, as it is written.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::texts;
use crate::config::decode::{choice, duration, number, text, truth};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader};
use crate::config::words::{FAIL_OPEN, ON_UNHEALTHY, ROLE_CONFLICTS};
use crate::state::{FailOpen, OnUnhealthy, RoleConflict};

/// What a vip makes of what checks say.
#[derive(Debug)]
pub(in crate::config) struct PoolFile {
    pub(in crate::config) check: Option<Located<String>>,
    pub(in crate::config) agent: Option<Located<String>>,
    pub(in crate::config) on_unhealthy: Option<Located<OnUnhealthy>>,
    pub(in crate::config) fail_open: Option<Located<FailOpen>>,
    pub(in crate::config) backup: Option<Located<Vec<Located<String>>>>,
    pub(in crate::config) quorum_up: Option<Located<u32>>,
    pub(in crate::config) quorum_down: Option<Located<u32>>,
    pub(in crate::config) panic_percent: Option<Located<u8>>,
    pub(in crate::config) guard_percent: Option<Located<u8>>,
    pub(in crate::config) guard_window: Option<Located<Duration>>,
    pub(in crate::config) guard_hold: Option<Located<Duration>>,
    pub(in crate::config) flap_changes: Option<Located<u32>>,
    pub(in crate::config) flap_window: Option<Located<Duration>>,
    pub(in crate::config) flap_hold: Option<Located<Duration>>,
    pub(in crate::config) role_check: Option<Located<bool>>,
    pub(in crate::config) role_conflict: Option<Located<RoleConflict>>,
}

const QUORUMS: RangeInclusive<u32> = 1..=65_535;
const TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

impl PoolFile {
    pub(super) fn read(vip: &TableReader<'_, '_>, problems: &mut Problems) -> Self {
        Self {
            check: vip.optional(problems, "check", text),
            agent: vip.optional(problems, "agent", text),
            on_unhealthy: vip.optional(problems, "on_unhealthy", choice(ON_UNHEALTHY)),
            fail_open: vip.optional(problems, "fail_open", choice(FAIL_OPEN)),
            backup: vip.optional(problems, "backup", |value| texts(vip.source, value)),
            quorum_up: vip.optional(problems, "quorum_up", number(QUORUMS)),
            quorum_down: vip.optional(problems, "quorum_down", number(QUORUMS)),
            panic_percent: vip.optional(problems, "panic_percent", number(0..=100)),
            guard_percent: vip.optional(problems, "guard_percent", number(0..=99)),
            guard_window: vip.optional(problems, "guard_window", duration(TIMES)),
            guard_hold: vip.optional(problems, "guard_hold", duration(TIMES)),
            flap_changes: vip.optional(problems, "flap_changes", number(0..=100)),
            flap_window: vip.optional(problems, "flap_window", duration(TIMES)),
            flap_hold: vip.optional(problems, "flap_hold", duration(TIMES)),
            role_check: vip.optional(problems, "role_check", truth),
            role_conflict: vip.optional(problems, "role_conflict", choice(ROLE_CONFLICTS)),
        }
    }

    /// The settings that are there, with their lines.
    pub(in crate::config) fn given(&self) -> impl Iterator<Item = (&'static str, u32)> {
        fn at<T>(found: &Option<Located<T>>) -> Option<u32> {
            found.as_ref().map(|found| found.line)
        }
        let all = [
            ("check", at(&self.check)),
            ("agent", at(&self.agent)),
            ("on_unhealthy", at(&self.on_unhealthy)),
            ("fail_open", at(&self.fail_open)),
            ("backup", at(&self.backup)),
            ("quorum_up", at(&self.quorum_up)),
            ("quorum_down", at(&self.quorum_down)),
            ("panic_percent", at(&self.panic_percent)),
            ("guard_percent", at(&self.guard_percent)),
            ("guard_window", at(&self.guard_window)),
            ("guard_hold", at(&self.guard_hold)),
            ("flap_changes", at(&self.flap_changes)),
            ("flap_window", at(&self.flap_window)),
            ("flap_hold", at(&self.flap_hold)),
            ("role_check", at(&self.role_check)),
            ("role_conflict", at(&self.role_conflict)),
        ];
        all.into_iter().filter_map(|(key, line)| Some((key, line?)))
    }
}
