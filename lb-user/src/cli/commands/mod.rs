//! One module a group of commands.

pub(super) mod access;
pub(super) mod addresses;
pub(super) mod backend;
pub(super) mod changes;
pub(super) mod check_fit;
pub(super) mod config;
pub(super) mod daemon;
mod drain;
pub(super) mod explain;
pub(super) mod flows;
pub(super) mod health;
mod keepalived;
pub(super) mod peer;
pub(super) mod shell;
pub(super) mod stats;
pub(super) mod status;
pub(super) mod vip;
pub(super) mod vrrp;

#[cfg(test)]
mod samples;
