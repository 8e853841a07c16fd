//! The acts of the demo, and what each of them must show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tests::lab::{
    Daemon, DaemonConfig, Load, Namespace, Network, Shape, VIP4, VIP6, WrkReport, curl_many, ferrolev,
    interrupted, wait_until, wrk,
};

use crate::chart::bars;

const REQUESTS: u32 = 300;
const WRK_CONNECTIONS: u32 = 8;
const WRK_SECONDS: u32 = 8;
/// Of `REQUESTS` spread over three or four backends by hash, fewer than this for one of them do not happen by chance
/// (six standard deviations).
const LEAST_SHARE: u32 = REQUESTS / 12;

/// The network with its daemon; dropping it ends both.
pub(crate) struct Show {
    daemon: Daemon,
    network: Network,
    new_connections: u32,
}

type Wrk = JoinHandle<Result<WrkReport>>;

impl Show {
    pub(crate) fn open() -> Result<Self> {
        println!("Network: client - router - {{balancer, 4 backends with nginx}}, all in namespaces");
        let network = Network::new(Shape { balancers: 1, backends: 4 })?;
        let three = ["web-1", "web-2", "web-3"];
        let mut config = DaemonConfig::default();
        for backend in network.backends.iter().take(three.len()) {
            config = config.backend(&backend.name, backend.address4);
        }
        config = config.vip("site", VIP4, 80, "tcp", &three).vip("site-v6", VIP6, 80, "tcp", &three);
        let daemon = Daemon::start(&network.lab, &network.balancers[0], "demo", &config, &[])?;
        daemon.wait_active(&three)?;
        println!(
            "Balancer: ferrolev with vips http://{VIP4}/ and http://[{VIP6}]/, backends {}",
            three.join(", ")
        );
        Ok(Self { daemon, network, new_connections: 0 })
    }

    /// Both vips reach all three backends.
    pub(crate) fn spread(&mut self) -> Result<()> {
        println!("\n1. {REQUESTS} requests by curl to each vip, every one on a new connection");
        self.ask(&["web-1", "web-2", "web-3"], &[])
    }

    /// A backend leaves and another one comes while wrk loads both vips.
    pub(crate) fn change_under_load(&mut self) -> Result<()> {
        println!("\n   wrk now loads both vips for {WRK_SECONDS} s; what follows happens under that load");
        let load = self.load()?;
        let probe = Load::start(&self.network.client, &servers(), 2)?;

        println!("\n2. ferrolev backend drain web-2");
        let drained = self.change(&["backend", "drain", "web-2"])?;
        self.ask(&["web-1", "web-3"], &["web-2"])?;

        println!("\n3. ferrolev backend add web-4 (to both vips)");
        let address = self.network.backends[3].address4.to_string();
        let mut changes = vec![drained];
        for vip in ["site", "site-v6"] {
            changes.push(self.change(&["backend", "add", "web-4", "--vip", vip, "--address", &address])?);
        }
        self.daemon.wait_active(&["web-4"])?;
        // The ring took the backend in when its next hop was known: some time between the command and now.
        let added = (changes[1].0, Instant::now());
        self.ask(&["web-1", "web-3", "web-4"], &["web-2"])?;

        println!("\n4. wrk");
        for (vip, report) in load {
            let report = finish(report).with_context(|| format!("wrk to {vip}"))?;
            println!(
                "    {vip}: {} requests, {:.0} a second, {} errors",
                report.requests, report.requests_per_second, report.errors
            );
            ensure!(report.requests > 0, "wrk got no answer from {vip}");
            // Two changes; each may cut those connections that are open when their slot gets another backend.
            let excused = u64::from(2 * WRK_CONNECTIONS);
            ensure!(report.errors <= excused, "more than {excused} errors cannot come from two changes");
        }

        let report = probe.stop()?;
        let failed = report.failures_outside(&[drained, added]);
        let cut = report.failures().len() - failed.len();
        let new_connections = self.new_connections as usize + report.attempts.len() - cut;
        println!("\nFailed new connections: {} of {new_connections}", failed.len());
        if cut > 0 {
            println!("(and {cut} that were being opened at the moment when their slot got another backend)");
        }
        if let Some(first) = failed.first() {
            bail!("{} new connections failed, the first: {:?}", failed.len(), first.answer);
        }
        Ok(())
    }

    /// Leaves everything running, and says what to do with it.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.network.lab.keep()?;
        self.daemon.keep();
        for backend in &mut self.network.backends {
            backend.keep();
        }
        let ferrolev = ferrolev()?;
        let ferrolev = ferrolev.display();
        let client = format!("nsenter --net={}", self.network.client.path().display());
        println!("\nStill running. To play with it:");
        println!("  export FERROLEV_SOCKET={}", self.daemon.socket().display());
        for command in [
            "status",
            "backend list",
            "backend undrain web-2",
            "backend weight web-4 50 --dry-run",
            "stats --watch",
        ] {
            println!("  {ferrolev} {command}");
        }
        println!("  {ferrolev} explain 192.0.2.2:40000 {VIP4}:80 tcp");
        println!("  {client} curl http://{VIP4}/ http://[{VIP6}]/");
        println!("  {client} wrk -c 8 -d 10s -H 'Connection: close' http://{VIP4}/");
        println!("To end it: cargo xtask demo --clean");
        Ok(())
    }

    /// Asks both vips by curl and shows who answered: `busy` backends must have, `idle` ones must not, and no request
    /// may fail.
    fn ask(&mut self, busy: &[&str], idle: &[&str]) -> Result<()> {
        for server in servers() {
            ensure!(!interrupted(), "interrupted");
            let (answers, failures) = curl_many(&self.network.client, server, REQUESTS)?;
            self.new_connections += REQUESTS;
            println!("  http://{server}/: {} of {REQUESTS} failed", failures.len());
            print!("{}", bars(&answers, &[busy, idle].concat()));
            if let Some(first) = failures.first() {
                bail!("{} new connections failed, the first: {first}\n{}", failures.len(), self.logs());
            }
            check(&answers, busy, idle).with_context(|| format!("http://{server}/"))?;
        }
        Ok(())
    }

    /// Runs a command; returns when it began and when it was done.
    fn change(&self, command: &[&str]) -> Result<(Instant, Instant)> {
        let began = Instant::now();
        self.daemon.cli(command.iter().copied())?;
        Ok((began, Instant::now()))
    }

    fn load(&self) -> Result<Vec<(SocketAddr, Wrk)>> {
        let start = |server| -> Result<(SocketAddr, Wrk)> {
            let client: Namespace = self.network.client.clone();
            let run = move || wrk(&client, server, WRK_CONNECTIONS, WRK_SECONDS);
            Ok((server, std::thread::Builder::new().spawn(run)?))
        };
        servers().into_iter().map(start).collect()
    }

    fn logs(&self) -> String {
        let mut logs = self.daemon.log();
        for backend in &self.network.backends {
            logs.push('\n');
            logs.push_str(&backend.logs());
        }
        logs
    }
}

fn servers() -> [SocketAddr; 2] {
    [(VIP4, 80).into(), (VIP6, 80).into()]
}

/// Waits for wrk, but not when somebody wants the demo to end.
fn finish(wrk: Wrk) -> Result<WrkReport> {
    wait_until("the end of wrk", Duration::from_secs(30), || {
        ensure!(wrk.is_finished(), "it still runs");
        Ok(())
    })?;
    wrk.join().map_err(|_| anyhow!("its thread panicked"))?
}

fn check(answers: &BTreeMap<String, u32>, busy: &[&str], idle: &[&str]) -> Result<()> {
    for (name, count) in answers {
        let name = name.as_str();
        ensure!(!idle.contains(&name), "{name} still answered {count} new connections");
        ensure!(busy.contains(&name), "an unknown backend '{name}' answered");
    }
    for name in busy {
        let count = answers.get(*name).copied().unwrap_or(0);
        ensure!(
            count >= LEAST_SHARE,
            "{name} answered {count} of {REQUESTS} new connections; at least {LEAST_SHARE} are its share"
        );
    }
    Ok(())
}
