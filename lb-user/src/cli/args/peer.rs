//! The grammar of peers.

use std::path::PathBuf;

use clap::Subcommand;

use super::ClientArgs;
use crate::controller::options::{DEFAULT_STATE_DIR, InstanceName};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct PeerArgs {
    #[command(subcommand)]
    pub(in crate::cli) command: Option<PeerCommand>,
    #[command(flatten)]
    pub(in crate::cli) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum PeerCommand {
    /// Show how far copies of other nodes' flows are behind, and who holds a copy of this node's
    Show {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Print the fingerprint by which peers know this node; needs no daemon
    Fingerprint {
        /// Where the daemon stores its state
        #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
        state_dir: PathBuf,
        /// The name of the instance
        #[arg(long, value_name = "NAME", default_value_t)]
        instance: InstanceName,
    },
}
