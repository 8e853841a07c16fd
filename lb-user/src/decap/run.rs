//! The agent from start to end.
#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use super::options::DecapOptions;
use super::program::Decap;
use crate::controller::daemon::start_tracing;
use crate::net::watch_addresses;

/// How often counters are logged while they change.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Runs the agent until SIGTERM or SIGINT; SIGUSR1 logs the counters.
///
/// # Errors
/// When it cannot start.
pub fn run(options: &DecapOptions) -> anyhow::Result<()> {
    start_tracing();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(agent(options))
}

async fn agent(options: &DecapOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut asked = signal(SignalKind::user_defined1())?;
    let mut addresses = watch_addresses().await?;
    let current = addresses.borrow_and_update().clone();
    let mut decap = Decap::start(options, &current)?;
    let attachment = decap.attachment();
    info!(
        interface = attachment.interface,
        driver = attachment.driver,
        mode = ?attachment.mode,
        sources = options.sources.len(),
        gue_port = options.gue_port,
        addresses = current.len(),
        "taking tunnels in"
    );
    let mut report = Report::default();
    let mut interval = tokio::time::interval(REPORT_INTERVAL);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = asked.recv() => report.always(&decap),
            _ = interval.tick() => report.when_changed(&decap),
            changed = addresses.changed() => {
                changed.context("addresses are not followed any more")?;
                let now = addresses.borrow_and_update().clone();
                info!(addresses = now.len(), "this host's addresses have changed");
                if let Err(error) = decap.follow(&now) {
                    warn!(%error, "tunnels to new addresses are not taken in");
                }
            }
        }
    }
    report.always(&decap);
    info!("the program is taken off");
    Ok(())
}

/// The counters as they were logged last.
#[derive(Default)]
struct Report {
    last: String,
}

impl Report {
    fn when_changed(&mut self, decap: &Decap) {
        let now = text(decap);
        if now != self.last {
            info!("{now}");
            self.last = now;
        }
    }

    fn always(&mut self, decap: &Decap) {
        self.last = text(decap);
        info!("{}", self.last);
    }
}

fn text(decap: &Decap) -> String {
    match decap.outcomes() {
        Ok(outcomes) => {
            let parts: Vec<_> =
                outcomes.iter().map(|(label, packets)| format!("{label}={packets}")).collect();
            format!("packets: {}", parts.join(" "))
        }
        Err(error) => format!("counters cannot be read: {error}"),
    }
}
