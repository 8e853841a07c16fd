//! `run`, `detach` and `decap`: the parts that touch the kernel, called with what the command line says.

use crate::announce;
use crate::cli::args::{DecapArgs, DetachArgs, RunArgs};
use crate::cli::error::CliError;
use crate::cli::output::print;
use crate::controller::{self, options::RunOptions};
use crate::dataplane;
use crate::decap::options::DecapOptions;
use crate::tunnel_probes;

pub(in crate::cli) fn run(args: RunArgs) -> Result<(), CliError> {
    dataplane::give_large_buffers_back();
    controller::run(run_options(args)).map_err(CliError::from_daemon)
}

/// Addresses go first: nobody should be told of them when nothing forwards.
pub(in crate::cli) async fn detach(args: &DetachArgs) -> Result<(), CliError> {
    let instance = &args.pins.instance;
    let pin_dir = instance.pin_dir(&args.pins.bpffs);
    let what = format!("cannot detach instance {instance}");
    if !pin_dir.try_exists().map_err(CliError::operation(&what))? {
        return print(&format!("instance {instance} has nothing pinned in {}\n", pin_dir.display()));
    }
    let interfaces = dataplane::bpf::attached(&pin_dir);
    let removed = announce::remove_leftovers(&interfaces).await.map_err(CliError::operation(&what))?;
    for address in removed {
        print(&format!("removed {address}, which the kernel had for instance {instance}\n"))?;
    }
    tunnel_probes::remove_devices(instance.as_str(), &interfaces)
        .await
        .map_err(CliError::operation(&what))?;
    dataplane::bpf::detach(&pin_dir).map_err(CliError::operation(&what))?;
    print(&format!("instance {instance} is detached, nothing of it is pinned any more\n"))
}

pub(in crate::cli) fn decap(args: DecapArgs) -> Result<(), CliError> {
    let options = decap_options(args);
    let what = format!("cannot take tunnels in on {}", options.interface);
    crate::decap::run(&options).map_err(CliError::operation(&what))
}

fn run_options(args: RunArgs) -> RunOptions {
    let socket = args.socket.unwrap_or_else(|| args.pins.instance.default_socket());
    RunOptions {
        config: args.config,
        instance: args.pins.instance,
        bpffs: args.pins.bpffs,
        state_dir: args.state_dir,
        socket,
        xdp_mode: args.xdp_mode,
        detach_on_exit: args.detach_on_exit,
    }
}

fn decap_options(args: DecapArgs) -> DecapOptions {
    DecapOptions {
        interface: args.dev,
        sources: args.source,
        gue_port: args.gue_port,
        xdp_mode: args.xdp_mode,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;
    use crate::cli::args::{Args, Command};

    #[test]
    fn an_instance_has_its_own_socket_unless_one_is_named() {
        let socket = |line: &str| {
            let args = Args::try_parse_from(line.split_whitespace()).expect("valid");
            let Command::Run(args) = args.command else { panic!("run") };
            run_options(args).socket
        };
        assert_eq!(socket("ferrolev run --instance edge"), Path::new("/run/ferrolev/edge.sock"));
        assert_eq!(socket("ferrolev run --instance edge --socket /x"), Path::new("/x"));
    }
}
