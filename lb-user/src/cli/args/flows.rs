//! The grammar of remembered flows.

use std::path::PathBuf;

use clap::Subcommand;

use super::{ClientArgs, SocketArgs};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum FlowsCommand {
    /// List remembered flows: those in ring slots that have changed hands, and all of vips with tracking = "full"
    List {
        #[command(flatten)]
        filter: FlowFilter,
        /// How many flows
        #[arg(long, value_name = "N", default_value_t = 100)]
        top: usize,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Count remembered flows by vip and backend
    Count {
        #[command(flatten)]
        filter: FlowFilter,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Write remembered flows for another balancer, one JSON object a line
    Export {
        #[command(flatten)]
        filter: FlowFilter,
        /// Where to write; else standard output
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        daemon: SocketArgs,
    },
    /// Remember the flows of an export; hash_seed and limits.flows must be those of the balancer that wrote it
    Import {
        /// What to read; else standard input
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FlowFilter {
    /// Only those of this vip: its name or ADDRESS:PORT/PROTOCOL
    #[arg(long)]
    pub(in crate::cli) vip: Option<String>,
    /// Only those on this backend: its name or address
    #[arg(long)]
    pub(in crate::cli) backend: Option<String>,
}
