//! The grammar of the command line; the man pages and completions are written from it.

mod flows;
mod peer;
mod vrrp;
mod watching;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::build_info::{OBJECT_SHA256, REVISION, VERSION};
use crate::controller::options::{
    DEFAULT_BPFFS, DEFAULT_CONFIG, DEFAULT_SOCKET, DEFAULT_STATE_DIR, InstanceName,
};
use crate::dataplane::XdpMode;
use crate::decap::options::IpPrefix;
use crate::state::Protocol;

pub(super) use flows::{FlowFilter, FlowsCommand};
pub(super) use peer::{PeerArgs, PeerCommand};
pub(super) use vrrp::{CheckFitArgs, Switch, VrrpArgs, VrrpCommand};
pub(super) use watching::{HealthArgs, StatsArgs};

/// XDP layer-4 load balancer
///
/// Balances TCP and UDP over backends with Maglev hashing in XDP. `ferrolev run` is the daemon; most other commands talk
/// to it over its unix socket.
#[derive(Debug, Parser)]
#[command(
    name = "ferrolev",
    after_help = "Exit codes: 0 done · 1 refused or failed · 2 usage · 3 the daemon cannot be reached, or flows were left when the time of `backend drain --wait` was over · 4 the configuration is invalid"
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The grammar with the version of this build.
pub(super) fn command() -> clap::Command {
    let long = format!(
        "{VERSION}\nrevision {REVISION}\nABI version {}\neBPF object SHA-256 {OBJECT_SHA256}",
        lb_common::abi::ABI_VERSION
    );
    Args::command().version(VERSION).long_version(long)
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    Run(RunArgs),
    /// Validate a configuration file; needs no privileges and no daemon
    Check(CheckArgs),
    /// Take an instance's program off its interfaces and remove its pins
    Detach(DetachArgs),
    /// Show the daemon, its interfaces, vips, and what is wrong
    Status(ClientArgs),
    /// List or show vips
    #[command(subcommand)]
    Vip(VipCommand),
    /// List or change backends
    #[command(subcommand)]
    Backend(BackendCommand),
    /// Show who answers for the vips' addresses, where they are announced, and what is in the way
    Addresses(ClientArgs),
    /// Show what checks say of the backends, and why
    Health(HealthArgs),
    /// Show virtual routers, or tell them what to do
    Vrrp(VrrpArgs),
    /// Show copies of other nodes' flows, and who this node is for its peers
    Peer(PeerArgs),
    /// Say whether this host can forward, by the exit code: 0 when it can, else 1 with the reasons
    CheckFit(CheckFitArgs),
    /// Show what access lists and routes decide
    #[command(subcommand)]
    Access(AccessCommand),
    /// Show, count, export or import remembered flows
    #[command(subcommand)]
    Flows(FlowsCommand),
    /// Read the configuration file again: all of it, or nothing when it is invalid
    Reload(ReloadArgs),
    /// Show the running configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// List the runtime changes: what, by whom, and when
    Changes(ClientArgs),
    /// Show where a flow goes and why, by a test run of the attached program
    Explain(ExplainArgs),
    /// Show packets, bytes and new flows
    Stats(StatsArgs),
    /// Print the metrics as Prometheus reads them
    Metrics(SocketArgs),
    /// Run the decapsulation agent on a backend, in the foreground
    Decap(DecapArgs),
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Write the man pages into a directory
    Man { dir: PathBuf },
}

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    /// Where runtime changes are stored
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub(super) state_dir: PathBuf,
    /// The API's socket [default: /run/ferrolev/api.sock, or /run/ferrolev/NAME.sock for another instance]
    #[arg(long, value_name = "PATH", env = "FERROLEV_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// How the program attaches; wins over the file
    #[arg(long, value_name = "MODE")]
    pub(super) xdp_mode: Option<XdpMode>,
    /// Stop forwarding when the daemon ends; otherwise the kernel goes on
    #[arg(long)]
    pub(super) detach_on_exit: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct PinArgs {
    /// The name of the instance; each has its own pins, state and socket
    #[arg(long, value_name = "NAME", default_value_t)]
    pub(super) instance: InstanceName,
    /// The directory for pins; a bpffs is mounted below it when there is none
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPFFS)]
    pub(super) bpffs: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct DetachArgs {
    #[command(flatten)]
    pub(super) pins: PinArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[arg(default_value = DEFAULT_CONFIG)]
    pub(super) file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct DecapArgs {
    /// The interface on which tunnels arrive
    #[arg(long, value_name = "IFACE")]
    pub(super) dev: String,
    /// Take tunnels from these sources only (address or prefix; may be repeated)
    #[arg(long, value_name = "PREFIX")]
    pub(super) source: Vec<IpPrefix>,
    /// The UDP port on which GUE is taken in, 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 6080)]
    pub(super) gue_port: u16,
    /// How the program attaches
    #[arg(long, value_name = "MODE", default_value = "native")]
    pub(super) xdp_mode: XdpMode,
}

/// What every command has that asks the daemon.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SocketArgs {
    /// The daemon's socket
    #[arg(long, value_name = "PATH", env = "FERROLEV_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    pub(super) daemon: SocketArgs,
    /// Tables for people, or the API's JSON for programs
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum VipCommand {
    /// List all vips
    List(ClientArgs),
    /// Show one vip and its backends
    Show {
        /// A vip's name, or ADDRESS:PORT/PROTOCOL
        vip: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum BackendCommand {
    /// List the backends of all vips
    List(ClientArgs),
    /// Add a backend to a vip
    Add {
        /// A backend of the configuration file, or a new name with --address
        name: String,
        /// The vip that it joins
        #[arg(long)]
        vip: String,
        /// Its address, when the file has no backend of this name
        #[arg(long)]
        address: Option<IpAddr>,
        /// Its weight in this vip
        #[arg(long, value_parser = clap::value_parser!(u32).range(0..=65_535))]
        weight: Option<u32>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Take a backend out of a vip, or of all; flows that it has go on
    Remove {
        #[command(flatten)]
        backend: BackendArgs,
        /// Give its flows up: they go to other backends, which reset TCP connections
        #[arg(long)]
        force: bool,
    },
    /// Give a backend no new flows, in a vip or in all; flows that it has go on
    Drain(DrainArgs),
    /// Use a backend again that was disabled, in maintenance or drained, in a vip or in all
    Enable(BackendArgs),
    /// Give a backend no new flows, and move those that it has to other backends, which reset TCP connections
    Disable(BackendArgs),
    /// Drain a backend and do not check it until it is enabled
    Maintenance {
        #[command(flatten)]
        backend: BackendArgs,
        /// So long its flows are meant to take at most, such as 300s or 5min
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        timeout: Option<Duration>,
        /// Give up the flows that are left after the timeout, or at once without one
        #[arg(long)]
        force: bool,
    },
    /// Undo a drain: the backend gets the same slots back
    Undrain(BackendArgs),
    /// Give a backend another weight, in a vip or in all
    Weight {
        /// The backend's name
        name: String,
        /// 0 takes no flows
        #[arg(value_parser = clap::value_parser!(u32).range(0..=65_535))]
        weight: u32,
        /// Only in this vip
        #[arg(long)]
        vip: Option<String>,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    pub(super) backend: BackendArgs,
    /// So long its flows are meant to take at most, such as 300s or 5min
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Give up the flows that are left after the timeout, or at once without one: they go to other backends, which reset
    /// TCP connections
    #[arg(long)]
    pub(super) force: bool,
    /// Wait until no flow is left; exit code 3 when the timeout is over before
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) wait: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct BackendArgs {
    /// The backend's name
    pub(super) name: String,
    /// Only in this vip
    #[arg(long)]
    pub(super) vip: Option<String>,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// Only say what would happen
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show every value in effect and where it comes from
    Show {
        /// Print a configuration file instead
        #[arg(long, conflicts_with = "output")]
        toml: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The client, such as 198.51.100.7:40000 or [2001:db8::7]:40000
    #[arg(value_name = "SRC:PORT")]
    pub(super) source: SocketAddr,
    /// Where the client connects to
    #[arg(value_name = "VIP:PORT")]
    pub(super) destination: SocketAddr,
    /// tcp or udp
    #[arg(value_name = "PROTO")]
    pub(super) protocol: Protocol,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum AccessCommand {
    /// List prefixes of access lists and routes, those that decided about most packets first
    Show(AccessArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct AccessArgs {
    /// Only the lists of this vip: its name or ADDRESS:PORT/PROTOCOL
    #[arg(long)]
    pub(super) vip: Option<String>,
    /// How many prefixes
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) top: usize,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[cfg(test)]
mod tests;
