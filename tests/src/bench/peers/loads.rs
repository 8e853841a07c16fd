//! One run of a load against one balancer: what it got done, and what that cost the machine.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::cores::Cores;
use super::usage::Usage;
use crate::lab::{Namespace, Process, WrkReport, run, wrk, wrk_keeping_alive};

/// Of a client that always has this many requests under way.
const CONNECTIONS: u32 = 32;
pub(super) const BULK_PORT: u16 = 5201;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    NewConnections,
    KeepAlive,
    Upload,
    Download,
}

/// What one run has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Requests or Gbit, a second.
    pub(super) rate: f64,
    /// Milliseconds, of requests.
    pub(super) p99_ms: f64,
    /// Processor time: microseconds a request, or milliseconds a GB.
    pub(super) cost: f64,
    /// Requests that failed.
    pub(super) errors: u64,
}

impl Load {
    pub(super) const ALL: [Self; 4] = [Self::NewConnections, Self::KeepAlive, Self::Upload, Self::Download];

    pub(super) const fn is_bulk(self) -> bool {
        matches!(self, Self::Upload | Self::Download)
    }

    /// Runs it against a server for some seconds.
    ///
    /// # Errors
    /// When the client fails, or nothing gets through.
    pub(super) fn run(
        self,
        (cores, usage): (&Cores, &Usage),
        client: &Namespace,
        server: SocketAddr,
        seconds: u32,
    ) -> Result<Sample> {
        let before = usage.seconds()?;
        if self.is_bulk() {
            let (bytes, rate) =
                cores.as_client(|| iperf3(client, server, seconds, self == Self::Download))?;
            let busy = usage.seconds()? - before;
            return Ok(Sample { rate: rate / 1e9, p99_ms: 0.0, cost: busy * 1e12 / bytes, errors: 0 });
        }
        let load = if self == Self::KeepAlive { wrk_keeping_alive } else { wrk };
        let report = cores.as_client(|| load(client, server, CONNECTIONS, seconds))?;
        let busy = usage.seconds()? - before;
        let WrkReport { requests, requests_per_second, p99, errors } = report;
        ensure!(requests > 0, "no request got through");
        Ok(Sample {
            rate: requests_per_second,
            p99_ms: p99.as_secs_f64() * 1e3,
            cost: busy * 1e6 / requests as f64,
            errors,
        })
    }
}

/// The other end of bulk transfers.
///
/// # Errors
/// When iperf3 cannot be run.
pub(super) fn serve_bulk(namespace: &Namespace, dir: &Path) -> Result<Process> {
    let mut command = std::process::Command::new("iperf3");
    command.args(["--server", "--port", &BULK_PORT.to_string()]);
    Process::start("iperf3 --server", namespace, command, dir.join("iperf3.log"))
}

/// Bytes that arrived, and how many bits a second.
fn iperf3(client: &Namespace, server: SocketAddr, seconds: u32, download: bool) -> Result<(f64, f64)> {
    // It waits for ever when a transfer stalls.
    let mut command = client.command("timeout")?;
    command.args([&(seconds + 8).to_string(), "iperf3", "--json", "--connect-timeout", "3000"]);
    command.args(["--client", &server.ip().to_string(), "--port", &server.port().to_string()]);
    command.args(["--time", &seconds.to_string()]);
    if download {
        command.arg("--reverse");
    }
    transferred(&run(&mut command)?)
}

fn transferred(said: &str) -> Result<(f64, f64)> {
    let report: serde_json::Value = serde_json::from_str(said).context("iperf3 printed no JSON")?;
    let received = &report["end"]["sum_received"];
    let number = |key: &str| received[key].as_f64().filter(|number| *number > 0.0);
    let both = number("bytes").zip(number("bits_per_second"));
    both.with_context(|| format!("iperf3 received nothing: {}", report["error"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_what_was_received() {
        let said = r#"{"end": {"sum_sent": {"bytes": 9, "bits_per_second": 9.0},
            "sum_received": {"bytes": 1000, "bits_per_second": 8000.5}}}"#;
        assert_eq!(transferred(said).unwrap(), (1000.0, 8000.5));
    }

    #[test]
    fn a_transfer_of_nothing_is_an_error_that_says_why() {
        let error = transferred(r#"{"end": {}, "error": "unable to connect"}"#).unwrap_err().to_string();
        assert!(error.contains("unable to connect"), "{error}");
        assert!(transferred("iperf3: command not found").is_err());
    }
}
