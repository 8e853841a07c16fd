//! Asks one backend once. Says what happened in words; never decides what follows from it.
//!
//! Everything has one deadline, so a peer that drips bytes or sends without end holds a probe no longer than a dead one, and
//! what is read of an answer is bounded.

mod exec;
mod failure;
mod http;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::time::timeout;

pub use exec::ExecProbe;
pub use failure::{Failure, FailureKind};
pub use http::{HttpProbe, HttpVersion, StatusSet};
pub use tcp::TcpProbe;
pub use udp::UdpProbe;

/// What is asked, and what has to come back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    Tcp(TcpProbe),
    Http(HttpProbe),
    Udp(UdpProbe),
    Exec(ExecProbe),
}

/// A backend that does what is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The weight that it asks for.
    pub weight: Option<u32>,
}

/// How a probe went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub result: Result<Pass, Failure>,
    pub took: Duration,
}

/// What a text for messages and what is compared keep of an answer, in bytes.
pub(super) const ANSWER_MAX: usize = 64 << 10;

impl Probe {
    /// Asks `address` and `port`, and waits for no longer than `limit`.
    pub async fn run(&self, address: IpAddr, port: u16, limit: Duration) -> Report {
        let began = Instant::now();
        let at = SocketAddr::new(address, port);
        // How far it came, for when the time is over.
        let stage = Stage::default();
        let probe = async {
            match self {
                Self::Tcp(probe) => probe.run(at, &stage).await,
                Self::Http(probe) => probe.run(at, &stage).await,
                Self::Udp(probe) => probe.run(at, &stage).await,
                Self::Exec(probe) => probe.run(at, &stage).await,
            }
        };
        let result = match timeout(limit, probe).await {
            Ok(result) => result,
            Err(_) => Err(Failure::TimedOut { during: stage.now(), limit }),
        };
        Report { result, took: began.elapsed() }
    }
}

impl Probe {
    /// Whether it begins with a connection, so that it is known then that the other side is there.
    #[must_use]
    pub const fn connects(&self) -> bool {
        !matches!(self, Self::Udp(_) | Self::Exec(_))
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

/// Whether `needle` is part of `bytes`; nothing is part of everything.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests;
