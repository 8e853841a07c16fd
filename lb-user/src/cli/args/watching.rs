//! Arguments of commands that can go on showing.

use std::time::Duration;

use super::ClientArgs;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct HealthArgs {
    /// Only the backends of this vip, with their last transitions: its name or ADDRESS:PORT/PROTOCOL
    pub(in crate::cli) vip: Option<String>,
    /// Go on until Ctrl-C, with the last transitions; look again every so many seconds, and show what has changed
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..=3600))]
    watch: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) client: ClientArgs,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StatsArgs {
    /// Show rates again and again, every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..=3600))]
    watch: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) client: ClientArgs,
}

impl HealthArgs {
    /// The time between two looks.
    pub(in crate::cli) fn watch(&self) -> Option<Duration> {
        self.watch.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

impl StatsArgs {
    /// The time between two readings.
    pub(in crate::cli) fn watch(&self) -> Option<Duration> {
        self.watch.map(|seconds| Duration::from_secs(seconds.into()))
    }
}
