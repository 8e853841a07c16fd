//! Proxies as balancers, each with the least configuration that spreads TCP connections.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::contenders::Running;
use super::loads::BULK_PORT;
use crate::lab::{Network, Process};

/// Where Debian's package libnginx-mod-stream puts it. Elsewhere it is often built in.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Starts nginx on this balancer.
///
/// # Errors
/// When nginx or its stream module is missing.
pub(super) fn nginx(network: &Network, number: u8) -> Result<Running> {
    let load = if Path::new(STREAM_MODULE).is_file() {
        format!("load_module {STREAM_MODULE};\n")
    } else if stream_is_built_in()? {
        String::new()
    } else {
        bail!("nginx has no stream module; install libnginx-mod-stream, or run `cargo xtask setup`");
    };
    let servers: String =
        network.backends.iter().map(|backend| format!("    server {}:80;\n", backend.address4)).collect();
    let bulk = network.backends[0].address4;
    begin(network, number, "nginx", |dir| {
        let text = dir.display();
        let config = format!(
            "{load}daemon off;\n\
             master_process off;\n\
             user root;\n\
             pid {text}/nginx.pid;\n\
             error_log {text}/nginx.log warn;\n\
             events {{ worker_connections 8192; }}\n\
             stream {{\n\
             \x20 upstream web {{\n{servers}  }}\n\
             \x20 server {{ listen 80 backlog=4096; proxy_pass web; }}\n\
             \x20 server {{ listen {BULK_PORT}; proxy_pass {bulk}:{BULK_PORT}; }}\n\
             }}\n"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-e").arg(dir.join("nginx.log")).arg("-p").arg(dir);
        Ok(command)
    })
}

/// Starts HAProxy on this balancer.
///
/// # Errors
/// When it is missing.
pub(super) fn haproxy(network: &Network, number: u8) -> Result<Running> {
    let servers: String = network
        .backends
        .iter()
        .map(|backend| format!("  server {} {}:80\n", backend.name, backend.address4))
        .collect();
    let bulk = network.backends[0].address4;
    begin(network, number, "haproxy", |dir| {
        let config = format!(
            "global\n  maxconn 8000\n  nbthread 1\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen web\n  bind :80 backlog 4096\n{servers}\
             listen bulk\n  bind :{BULK_PORT}\n  server web-1 {bulk}:{BULK_PORT}\n"
        );
        let file = dir.join("haproxy.cfg");
        fs::write(&file, config)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        Ok(command)
    })
}

/// The balancer's host takes the vip for its own.
fn begin(
    network: &Network,
    number: u8,
    name: &str,
    configure: impl FnOnce(&Path) -> Result<Command>,
) -> Result<Running> {
    network.without_xdp(number)?;
    let balancer = &network.balancers[usize::from(number) - 1];
    let (vip, _) = Network::vips(number);
    balancer.ip(&format!("addr add {vip}/32 dev lo\n"))?;
    // Ports of proxies run out before those of a client that reaches each backend itself.
    balancer.sysctls(&[("net/ipv4/ip_local_port_range", "1024 65535")])?;
    let dir = network.lab.dir().join(format!("peer-{name}"));
    fs::create_dir_all(&dir)?;
    let process = Process::start(name, balancer, configure(&dir)?, dir.join("log"))?;
    Ok(Running::on(number, vec![process], None))
}

fn stream_is_built_in() -> Result<bool> {
    // It says so on standard error.
    let output = Command::new("nginx").arg("-V").output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(said.split_whitespace().any(|option| option == "--with-stream"))
}
