//! Every setting of the configuration file: the one table that the reader takes its keys from and that
//! docs/CONFIGURATION.md is written from.

mod check;
mod general;
mod hook;
mod objects;
mod peer;
mod vrrp;

pub(super) use check::CHECK;
pub(super) use general::{ACCESS, FLOWS, LIMITS, TOP, TUNNEL};
pub(super) use hook::HOOK;
pub(super) use objects::{BACKEND, MEMBER, ROUTE, VIP};
pub(super) use peer::PEER;
pub(super) use vrrp::{VRRP, VRRP_EXTERNAL, VRRP_GROUP, VRRP_ROUTER, VRRP_TRACK, VRRP_TRACKER};

/// A table of the file.
#[derive(Debug)]
pub(super) struct Section {
    /// As messages and headings name it: `[tunnel]`.
    pub(super) title: &'static str,
    pub(super) doc: &'static str,
    pub(super) settings: &'static [Setting],
    /// The tables in it, by key.
    pub(super) tables: &'static [(&'static str, &'static Self)],
}

/// One key of a table.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    /// What values look like.
    pub(super) form: &'static str,
    pub(super) absent: Absent,
    pub(super) doc: &'static str,
}

/// What holds when a key is not there.
#[derive(Debug)]
pub(super) enum Absent {
    Required,
    /// As the file would say it.
    Value(&'static str),
    /// In words.
    Words(&'static str),
}

const fn setting(key: &'static str, form: &'static str, absent: Absent, doc: &'static str) -> Setting {
    Setting { key, form, absent, doc }
}

/// All tables with a heading of their own, in the order of the reference.
pub(super) const SECTIONS: &[&Section] = &[
    &TOP,
    &TUNNEL,
    &LIMITS,
    &FLOWS,
    &ACCESS,
    &CHECK,
    &BACKEND,
    &VIP,
    &ROUTE,
    &VRRP,
    &VRRP_ROUTER,
    &VRRP_TRACK,
    &VRRP_GROUP,
    &VRRP_TRACKER,
    &VRRP_EXTERNAL,
    &PEER,
    &HOOK,
];

impl Section {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let settings = self.settings.iter().map(|setting| setting.key);
        settings.chain(self.tables.iter().map(|(key, _)| *key))
    }

    /// The table that `key` opens here.
    pub(super) fn table(&self, key: &str) -> Option<&'static Self> {
        self.tables.iter().find(|(known, _)| *known == key).map(|(_, table)| *table)
    }
}
