//! A network in a machine: a client, a router, balancers and backends, each a network namespace, with real programs
//! in them.
//!
//! ```text
//!  client ---- router ---- br0 ---+--- lb-1, lb-2 …   vips are routed here; `ferrolev run` on eth0
//!  192.0.2.2    .1    10.1.0.1    +--- web-1, web-2 … vips on lo; `ferrolev decap`, nginx and a UDP service
//! ```
//!
//! Two-armed balancers have `eth1` on a second bridge, `br1`, where the backends are then; one more segment lies behind
//! a gateway there ([`Segment`]). A link between client and router may be narrower than both ([`Network::narrow`]).
//!
//! Backends answer the client through the router, not through the balancer (direct server return). Everything is made
//! with names of its own, and removed when the [`Lab`] is dropped; what a killed process left behind is removed when
//! the next one starts. All traffic stays inside.

mod asker;
mod backend;
mod connections;
mod daemon;
mod interrupt;
mod keepalived;
mod lab_dir;
pub mod live_frames;
mod load;
mod namespace;
mod network;
pub mod pass_stub;
mod process;
mod raw_socket;
mod systemd;
mod tools;
mod transfer;

pub use asker::{Asker, Mac};
pub use backend::{Backend, Service};
pub use connections::Connections;
pub use daemon::{Cli, Daemon, DaemonConfig, ferrolev};
pub use interrupt::{catch_interrupts, interrupted};
pub use keepalived::Keepalived;
pub use lab_dir::Lab;
pub use load::{Attempt, Load, LoadReport, http_get, udp_ask};
pub use namespace::Namespace;
pub use network::{Network, Segment, Shape, VIP4, VIP6};
pub use process::{Process, allow_outliving, run};
pub use raw_socket::{Family, frame_socket, frame_socket_here, raw_socket};
pub use systemd::Systemd;
pub use tools::{WrkReport, curl_many, wrk, wrk_keeping_alive};
pub use transfer::{FileServer, Transfer, forget_mtus, learned_mtu, path_mtu, tracepath, transfer};

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Capabilities without which a lab cannot be built: `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
const NEEDED_CAPABILITIES: u64 = 1 << 12 | 1 << 21;

/// Whether a test that needs privileges can run. If not it says so, or fails where `CI=true` promises that all can.
///
/// # Panics
/// With `CI=true` and without the privileges.
#[must_use]
pub fn privileged() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    if effective & NEEDED_CAPABILITIES == NEEDED_CAPABILITIES {
        return true;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI=true, but CAP_NET_ADMIN and CAP_SYS_ADMIN are missing: run as root"
    );
    println!("skipped: needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)");
    false
}

/// Waits until `ready` says yes; an error naming `what` and the last reason when it does not in time.
///
/// # Errors
/// After `limit`, when a program that it takes has ended, or when this process is interrupted.
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let Err(reason) = ready() else { return Ok(()) };
        if reason.is::<process::Ended>() {
            return Err(reason);
        }
        if interrupted() {
            bail!("interrupted");
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}: {reason:#}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
