//! Asks one backend once. Says what happened in words; never decides what follows from it.
//!
//! Everything has one deadline, so a peer that drips bytes or sends without end holds a probe no longer than a dead one, and
//! what is read of an answer is bounded.

mod agent;
mod body;
mod dns;
mod dns_message;
mod exec;
mod failure;
mod file;
mod grpc;
mod http;
mod http1;
mod http2;
mod origin;
mod pattern;
mod ping;
mod status;
mod tcp;
mod tls;
mod udp;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::timeout;

pub use agent::AgentProbe;
pub use dns::{DnsProbe, Transport};
pub use dns_message::{Name, Rcode, RecordType};
pub use exec::ExecProbe;
pub use failure::{Failure, FailureKind};
pub use file::FileProbe;
pub use grpc::GrpcProbe;
pub use http::{HttpProbe, HttpVersion};
pub use origin::{Origin, Peer};
pub use pattern::Pattern;
pub use ping::PingProbe;
pub use status::StatusSet;
pub use tcp::TcpProbe;
pub use tls::{Tls, TlsProbe};
pub use udp::UdpProbe;

use crate::health::Outcome;

/// What is asked, and what has to come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    Tcp(TcpProbe),
    Tls(TlsProbe),
    Http(HttpProbe),
    Grpc(GrpcProbe),
    Udp(UdpProbe),
    Dns(DnsProbe),
    Ping(PingProbe),
    Agent(AgentProbe),
    File(FileProbe),
    Exec(ExecProbe),
}

/// A backend that does what is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The weight that it asks for.
    pub weight: Option<Weight>,
    /// It says itself that it is up, which no other result has to confirm.
    pub stated: bool,
}

/// A weight that a backend asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Of(u32),
    /// Of the weight that is configured.
    Percent(u32),
}

/// How a probe went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub result: Result<Pass, Failure>,
    pub took: Duration,
}

/// What a target keeps from one probe to the next.
#[derive(Debug, Default)]
pub struct Kept {
    connection: Option<http1::Connection>,
    agent: agent::Memory,
    file: file::Reader,
}

/// What a text for messages and what is compared keep of an answer, in bytes.
pub(super) const ANSWER_MAX: usize = 64 << 10;

impl Probe {
    /// Asks the backend, and waits for no longer than `limit`.
    pub async fn run(&self, peer: Peer<'_>, kept: &mut Kept, limit: Duration) -> Report {
        let began = Instant::now();
        // How far it came, for when the time is over.
        let stage = Stage::default();
        let probe = async {
            match self {
                Self::Tcp(probe) => probe.run(peer, &stage).await,
                Self::Tls(probe) => probe.run(peer, &stage).await,
                Self::Http(probe) => probe.run(peer, &mut kept.connection, &stage).await,
                Self::Grpc(probe) => probe.run(peer, &stage).await,
                Self::Udp(probe) => probe.run(peer, &stage).await,
                Self::Dns(probe) => probe.run(peer, &stage).await,
                Self::Ping(probe) => probe.run(peer, &stage).await,
                Self::Agent(probe) => probe.run(peer, &mut kept.agent, &stage).await,
                Self::File(probe) => probe.run(peer, &mut kept.file, &stage).await,
                Self::Exec(probe) => probe.run(peer, &stage).await,
            }
        };
        let result = match timeout(limit, probe).await {
            Ok(result) => result,
            Err(_) => Err(Failure::TimedOut { during: stage.now(), limit }),
        };
        Report { result, took: began.elapsed() }
    }

    /// Whether it is of no use without a port.
    #[must_use]
    pub const fn needs_port(&self) -> bool {
        !matches!(self, Self::Exec(_) | Self::Ping(_) | Self::File(_))
    }

    /// Whether it is a process of its own.
    #[must_use]
    pub const fn is_command(&self) -> bool {
        matches!(self, Self::Exec(_))
    }

    /// Whether it begins with a connection, so that it is known then that the other side is there.
    #[must_use]
    pub const fn connects(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Tls(_) | Self::Http(_) | Self::Grpc(_) | Self::Agent(_) => true,
            Self::Dns(probe) => matches!(probe.transport, Transport::Tcp),
            Self::Udp(_) | Self::Ping(_) | Self::File(_) | Self::Exec(_) => false,
        }
    }

    /// Asks for `vip` where the settings name nobody: the address that a tunnel's probes speak to stands for it on this host only.
    pub fn ask_for(&mut self, vip: SocketAddr) {
        let host = match self {
            Self::Http(probe) => &mut probe.host,
            Self::Grpc(probe) => &mut probe.host,
            Self::Tls(probe) => {
                probe.tls.server_name.get_or_insert_with(|| vip.ip().to_string());
                return;
            }
            _ => return,
        };
        host.get_or_insert_with(|| vip.to_string());
    }
}

impl Kept {
    #[must_use]
    pub const fn has_connection(&self) -> bool {
        self.connection.is_some()
    }

    /// Keeps no connection any more.
    pub fn close(&mut self) {
        self.connection = None;
    }
}

impl Pass {
    /// A pass that asks for a weight.
    const fn with(weight: Weight) -> Self {
        Self { weight: Some(weight), stated: false }
    }
}

impl Weight {
    /// What it comes to with this configured weight. Some of something is at least 1.
    #[must_use]
    pub fn over(self, configured: u32) -> u32 {
        match self {
            Self::Of(weight) => weight,
            Self::Percent(0) => 0,
            Self::Percent(_) if configured == 0 => 0,
            Self::Percent(percent) => {
                let weight = u64::from(configured) * u64::from(percent) / 100;
                u32::try_from(weight).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

impl Report {
    /// What it says about the backend.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(Pass { stated: true, .. }) => Outcome::SaidUp,
            Ok(_) => Outcome::Passed,
            Err(failure) => failure.outcome(),
        }
    }
}

/// What a probe is doing.
#[derive(Debug)]
struct Stage(std::sync::Mutex<&'static str>);

impl Default for Stage {
    fn default() -> Self {
        Self(std::sync::Mutex::new("connecting"))
    }
}

impl Stage {
    fn enter(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = what;
    }

    fn now(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A host without its port.
fn server_of(host: &str) -> &str {
    // An IPv6 address has colons of its own, and is in brackets.
    host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name })
}

/// Whether `needle` is part of `bytes`; nothing is part of everything.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || bytes.windows(needle.len()).any(|window| window == needle)
}

/// Numbers that nobody can guess, so that answers to other questions are not taken for those to this one.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests;
