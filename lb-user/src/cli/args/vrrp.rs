//! The grammar of virtual routers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::{ClientArgs, SocketArgs};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct VrrpArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<VrrpCommand>,
    #[command(flatten)]
    pub(in crate::cli) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum VrrpCommand {
    /// Show virtual routers; one of them, or those of a group, with peers, counters and last changes
    Show {
        /// A virtual router, a group, or a [[vrrp.external]]
        name: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Let another host take over, and leave the addresses with it until it fails
    Failover {
        /// A virtual router or group; all without it
        name: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Do not be master until further notice, or be it again
    Maintenance {
        state: Switch,
        /// A virtual router or group; all without it
        name: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Another program has decided: the addresses of a [[vrrp.external]] are this host's
    Own {
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Another program has decided: the addresses of a [[vrrp.external]] are not this host's
    Release {
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// To be called by keepalived's `notify`, which adds the arguments: owns with MASTER, else releases
    Notify {
        /// INSTANCE or GROUP
        kind: String,
        /// The [[vrrp.external]] of this name
        name: String,
        /// MASTER, BACKUP, FAULT, STOP
        state: String,
        priority: Option<String>,
        #[command(flatten)]
        daemon: SocketArgs,
    },
    /// Do what keepalived writes into its `vrrp_notify_fifo`, until Ctrl-C, also when it or the daemon starts anew
    Follow {
        /// The FIFO
        fifo: PathBuf,
        #[command(flatten)]
        daemon: SocketArgs,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Switch {
    On,
    Off,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CheckFitArgs {
    /// A daemon that does not answer within this time is not fit
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: Duration,
    /// Say nothing
    #[arg(short, long)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    pub(in crate::cli) daemon: SocketArgs,
}
