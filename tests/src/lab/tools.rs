//! curl and wrk, as users would run them, and what they report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::namespace::Namespace;
use super::process::run;

/// Asks `count` times by curl, every time on a new connection. Returns answers by backend, and the failures.
///
/// # Errors
/// When curl cannot be run.
pub fn curl_many(
    namespace: &Namespace,
    server: SocketAddr,
    count: u32,
) -> Result<(BTreeMap<String, u32>, Vec<String>)> {
    let mut curl = namespace.command("curl")?;
    curl.args([
        "--silent",
        "--parallel",
        "--parallel-max",
        "20",
        "--max-time",
        "20",
        "--connect-timeout",
        "5",
    ])
    .args(["--globoff", "--no-keepalive", "--header", "Connection: close"])
    .args(["--write-out", "%{http_code} %{errormsg}\n"]);
    for _ in 0..count {
        curl.arg(format!("http://{server}/"));
    }
    // curl fails as soon as one request does; which ones did is what we are after.
    let output = curl.output().context("cannot run curl")?;
    let mut answers = BTreeMap::new();
    let mut failures = Vec::new();
    let mut codes = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split_once(' ') {
            Some(("200", _)) => codes += 1,
            Some((code, error)) => failures.push(format!("{server}: {code} {error}")),
            None => *answers.entry(line.to_owned()).or_default() += 1,
        }
    }
    if codes + failures.len() != count as usize {
        bail!(
            "curl reported {} of {count} requests: {}",
            codes + failures.len(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok((answers, failures))
}

/// What wrk counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WrkReport {
    pub requests: u64,
    pub requests_per_second: f64,
    /// Of 100 requests, 99 take no longer.
    pub p99: Duration,
    /// Failed connects, reads and writes, timeouts, and answers that are no success.
    pub errors: u64,
}

/// Loads a server for some seconds, every request on a new connection.
///
/// # Errors
/// When wrk fails.
pub fn wrk(namespace: &Namespace, server: SocketAddr, connections: u32, seconds: u32) -> Result<WrkReport> {
    wrk_with(namespace, server, connections, seconds, &["--header", "Connection: close"])
}

/// The same with connections that are used again for as long as the server lets them.
///
/// # Errors
/// When wrk fails.
pub fn wrk_keeping_alive(
    namespace: &Namespace,
    server: SocketAddr,
    connections: u32,
    seconds: u32,
) -> Result<WrkReport> {
    wrk_with(namespace, server, connections, seconds, &[])
}

fn wrk_with(
    namespace: &Namespace,
    server: SocketAddr,
    connections: u32,
    seconds: u32,
    options: &[&str],
) -> Result<WrkReport> {
    let mut wrk = namespace.command("wrk")?;
    wrk.args(["--threads", "1", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--timeout", "5s", "--latency"])
        .args(options)
        .arg(format!("http://{server}/"));
    WrkReport::parse(&run(&mut wrk)?)
}

impl WrkReport {
    fn parse(said: &str) -> Result<Self> {
        let mut report = Self::default();
        let mut counted = false;
        for line in said.lines().map(str::trim) {
            if let Some((requests, _)) = line.split_once(" requests in ") {
                report.requests = requests.parse()?;
                counted = true;
            } else if let Some(latency) = line.strip_prefix("99%") {
                report.p99 = wrk_time(latency.trim())?;
            } else if let Some(rate) = line.strip_prefix("Requests/sec:") {
                report.requests_per_second = rate.trim().parse()?;
            } else if let Some(errors) = line.strip_prefix("Socket errors:") {
                report.errors +=
                    errors.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
            } else if let Some(errors) = line.strip_prefix("Non-2xx or 3xx responses:") {
                report.errors += errors.trim().parse::<u64>()?;
            }
        }
        if !counted {
            bail!("wrk said nothing of requests:\n{said}");
        }
        Ok(report)
    }
}

/// As wrk writes it, such as `850.00us` or `1.02m`.
fn wrk_time(text: &str) -> Result<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => bail!("wrk's time {text:?} has no unit"),
    };
    let number: f64 =
        text[..text.len() - unit.len()].parse().with_context(|| format!("wrk's time {text:?}"))?;
    Ok(Duration::try_from_secs_f64(number * seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_counts_requests_and_every_kind_of_error() {
        let said = "Running 1s test @ http://127.0.0.1/\n  1 threads and 8 connections\n\
            \x20 Latency Distribution\n     50%  850.00us\n     99%    2.50ms\n  4321 requests in 1.10s, 1.00MB read\n  Socket errors: connect 1, read 2, write 3, timeout 4\n\
            \x20 Non-2xx or 3xx responses: 5\nRequests/sec:   3928.18\nTransfer/sec:      0.91MB\n";
        let p99 = Duration::from_micros(2500);
        let report = WrkReport { requests: 4321, requests_per_second: 3928.18, p99, errors: 15 };
        assert_eq!(WrkReport::parse(said).unwrap(), report);
    }

    #[test]
    fn wrk_gives_times_in_the_unit_that_suits_them() {
        let times = ["12.00us", "1.50ms", "1.02s", "2.00m"].map(|text| wrk_time(text).unwrap().as_micros());
        assert_eq!(times, [12, 1500, 1_020_000, 120_000_000]);
        assert!(wrk_time("12").is_err() && wrk_time("-nanus").is_err());
    }

    #[test]
    fn a_wrk_that_counted_nothing_is_an_error() {
        assert!(WrkReport::parse("unable to connect to 127.0.0.1:80 Connection refused\n").is_err());
    }
}
