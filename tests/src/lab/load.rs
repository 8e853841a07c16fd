//! Clients made here rather than run: each connection is known by when it began and how it ended.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::namespace::Namespace;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a connection of its own, asks for `/`, and returns the body without its line end.
///
/// # Errors
/// When there is no whole answer with status 200 in time.
pub fn http_get(server: SocketAddr, patience: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").context("send")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("receive")?;
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    Ok(body.trim_end().to_owned())
}

/// Sends a datagram from a new port and returns the answer.
///
/// # Errors
/// When there is none in time.
pub fn udp_ask(server: SocketAddr, patience: Duration) -> Result<String> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(patience))?;
    // Connected: an answer from another address than the vip would not arrive.
    socket.connect(server)?;
    socket.send(b"who are you?")?;
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).with_context(|| format!("no answer from {server}"))?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// One request on a connection of its own.
#[derive(Debug)]
pub struct Attempt {
    pub began: Instant,
    pub ended: Instant,
    /// The backend that answered, or what went wrong.
    pub answer: Result<String, String>,
}

/// Clients that keep making new connections until they are stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Load {
    /// Starts `clients` threads in a namespace, each asking the servers in turn.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn start(namespace: &Namespace, servers: &[SocketAddr], clients: usize) -> Result<Self> {
        Self::start_impatient(namespace, servers, clients, PATIENCE)
    }

    /// The same with clients that wait for an answer only so long.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn start_impatient(
        namespace: &Namespace,
        servers: &[SocketAddr],
        clients: usize,
        patience: Duration,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (servers, stopped) = (servers.to_vec(), Arc::clone(&stop));
        // Threads begin their life in the namespace of the thread that makes them.
        let threads = namespace.inside(move || {
            let client = || {
                let (servers, stopped) = (servers.clone(), Arc::clone(&stopped));
                std::thread::spawn(move || ask_until(&stopped, &servers, patience))
            };
            Ok((0..clients).map(|_| client()).collect())
        })?;
        Ok(Self { stop, threads })
    }

    /// Ends it and returns what happened.
    ///
    /// # Errors
    /// When a client panicked.
    pub fn stop(mut self) -> Result<LoadReport> {
        self.stop.store(true, Ordering::Relaxed);
        let mut attempts = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            attempts.extend(thread.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok(LoadReport { attempts })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_until(stopped: &AtomicBool, servers: &[SocketAddr], patience: Duration) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for server in servers.iter().cycle() {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let answer = http_get(*server, patience).map_err(|error| format!("{server}: {error:#}"));
        attempts.push(Attempt { began, ended: Instant::now(), answer });
        std::thread::sleep(Duration::from_millis(1));
    }
    attempts
}

/// Everything that a [`Load`] saw.
#[derive(Debug)]
pub struct LoadReport {
    pub attempts: Vec<Attempt>,
}

impl LoadReport {
    /// Requests that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<&Attempt> {
        self.attempts.iter().filter(|attempt| attempt.answer.is_err()).collect()
    }

    /// How long the slowest request took that did not fail.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        let answered = self.attempts.iter().filter(|attempt| attempt.answer.is_ok());
        answered.map(|attempt| attempt.ended - attempt.began).max().unwrap_or_default()
    }

    /// Failed requests that no change can excuse: those that do not overlap any of the intervals. A connection that is
    /// being opened while its slot gets another backend is cut, as flows are not tracked.
    #[must_use]
    pub fn failures_outside(&self, changes: &[(Instant, Instant)]) -> Vec<&Attempt> {
        self.failures()
            .into_iter()
            .filter(|attempt| {
                !changes.iter().any(|(begin, end)| attempt.began <= *end && attempt.ended >= *begin)
            })
            .collect()
    }

    /// Answers by backend, of requests begun after `since`.
    #[must_use]
    pub fn answers_since(&self, since: Instant) -> BTreeMap<&str, usize> {
        let mut answers = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| attempt.began > since) {
            if let Ok(backend) = &attempt.answer {
                *answers.entry(backend.as_str()).or_default() += 1;
            }
        }
        answers
    }
}
