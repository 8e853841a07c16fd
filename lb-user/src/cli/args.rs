//! The grammar of the command line; the man pages and completions are written from it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::build_info::{OBJECT_SHA256, REVISION, VERSION};
use crate::controller::options::{
    DEFAULT_BPFFS, DEFAULT_CONFIG, DEFAULT_SOCKET, DEFAULT_STATE_DIR, InstanceName,
};
use crate::dataplane::XdpMode;
use crate::decap::options::IpPrefix;
use crate::state::Protocol;

/// XDP layer-4 load balancer
///
/// Balances TCP and UDP over backends with Maglev hashing in XDP. `ferrolev run` is the daemon; most other commands talk
/// to it over its unix socket.
#[derive(Debug, Parser)]
#[command(
    name = "ferrolev",
    after_help = "Exit codes: 0 done · 1 refused or failed · 2 usage · 3 the daemon cannot be reached · 4 the configuration is invalid"
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
    /// Show what access lists and routes decide
    #[command(subcommand)]
    Access(AccessCommand),
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
    /// Take a backend out of a vip, or of all
    Remove(BackendArgs),
    /// Give a backend no new flows, in a vip or in all
    Drain(BackendArgs),
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

#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    /// Show rates again and again, every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(super) watch: Option<u32>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split_whitespace()).map(|args| args.command)
    }

    #[test]
    fn the_grammar_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_line_of_the_agreed_surface_is_understood() {
        for line in [
            "ferrolev run",
            "ferrolev run --config a.toml --instance b --bpffs /x --state-dir /y --socket /z --xdp-mode generic --detach-on-exit",
            "ferrolev check",
            "ferrolev check a.toml",
            "ferrolev detach --instance b --bpffs /x",
            "ferrolev status -o json --socket /z",
            "ferrolev vip list",
            "ferrolev vip show 192.0.2.1:80/tcp",
            "ferrolev backend list",
            "ferrolev backend add web-3 --vip web --address 10.0.0.13 --weight 5 --dry-run",
            "ferrolev backend remove web-3",
            "ferrolev backend drain web-3 --vip web --dry-run",
            "ferrolev backend undrain web-3",
            "ferrolev backend weight web-3 0 --vip web",
            "ferrolev addresses -o json",
            "ferrolev reload --dry-run",
            "ferrolev config show",
            "ferrolev config show --toml",
            "ferrolev changes",
            "ferrolev explain 198.51.100.7:40000 192.0.2.1:80 tcp",
            "ferrolev explain [2001:db8::7]:1 [2001:db8::1]:443 udp -o json",
            "ferrolev stats --watch",
            "ferrolev stats --watch 5",
            "ferrolev metrics",
            "ferrolev decap --dev eth0 --source 192.0.2.0/24 --source 2001:db8::/64 --xdp-mode native",
            "ferrolev completions bash",
            "ferrolev man /tmp/man",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn the_service_files_call_commands_that_exist() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
        for (name, commands) in [("ferrolev.service", 2), ("ferrolev-decap@.service", 1)] {
            let text = std::fs::read_to_string(dir.join(name)).expect(name);
            let lines = text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once("=/usr/bin/"));
            let lines: Vec<_> = lines.map(|(_, line)| line.replace("$FERROLEV_DECAP_OPTIONS", "")).collect();
            assert_eq!(lines.len(), commands, "{name}");
            for line in lines {
                parse(&line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            }
        }
    }

    #[test]
    fn usage_errors_are_found_before_the_daemon_is_asked() {
        for line in [
            "ferrolev",
            "ferrolev run --instance ../x",
            "ferrolev backend add web-3",
            "ferrolev backend weight web-3 65536",
            "ferrolev backend weight web-3 heavy",
            "ferrolev explain 198.51.100.7 192.0.2.1:80 tcp",
            "ferrolev explain 198.51.100.7:1 192.0.2.1:80 sctp",
            "ferrolev stats --watch 0",
            "ferrolev status -o yaml",
            "ferrolev decap",
            "ferrolev decap --dev eth0 --source 192.0.2.1/24",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn watch_without_a_number_means_every_second() {
        let Ok(Command::Stats(args)) = parse("ferrolev stats --watch") else {
            panic!("stats");
        };
        assert_eq!(args.watch, Some(1));
    }

    #[test]
    fn the_version_names_the_build() {
        let long = command().render_long_version();
        assert!(long.starts_with(&format!("ferrolev {VERSION}\nrevision ")), "{long}");
        assert!(
            long.contains(&format!("\nABI version {}\neBPF object SHA-256 ", lb_common::abi::ABI_VERSION)),
            "{long}"
        );
        assert_eq!(OBJECT_SHA256.len(), 64);
    }
}
