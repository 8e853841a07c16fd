//! What is shown of peers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lb_vrrp::gate::Flows;

use super::Fingerprint;

/// Messages come much more often than that; without one, a copy counts as out of step.
const IN_STEP: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersStatus {
    /// Of this node; `None` without peers.
    pub fingerprint: Option<Fingerprint>,
    /// Why nobody can ask this node.
    pub trouble: Option<String>,
    /// By name.
    pub peers: BTreeMap<String, PeerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStatus {
    /// This node as the holder of the peer's copy.
    pub follower: FollowerStatus,
    /// This node as the one that tells the peer.
    pub teller: TellerStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerStatus {
    pub connected: bool,
    /// When everything that the peer had to tell was here last.
    pub in_step_at: Option<Instant>,
    pub vips: usize,
    /// Records that were taken in since the daemon started.
    pub flows: u64,
    /// Records that were left out: of vips or backends that are not here, over by now, or without room.
    pub flows_left_out: u64,
    pub connections: u64,
    /// Why there is no connection, or the last one ended.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TellerStatus {
    pub connected: bool,
    /// Records that were told since the daemon started.
    pub flows: u64,
    /// Batches that are not confirmed yet.
    pub batches_open: u64,
    pub trouble: Option<String>,
}

impl FollowerStatus {
    /// How far behind the copy is; `None` before it was complete once.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Option<Duration> {
        self.in_step_at.map(|at| now.saturating_duration_since(at))
    }

    #[must_use]
    pub fn is_in_step(&self, now: Instant) -> bool {
        self.connected && self.lag(now).is_some_and(|lag| lag < IN_STEP)
    }
}

impl PeersStatus {
    /// How the copies here compare with the originals, for the gate of an election.
    #[must_use]
    pub fn flows(&self, now: Instant) -> Flows {
        if self.peers.is_empty() {
            Flows::NotCopied
        } else if self.peers.values().any(|peer| peer.follower.is_in_step(now)) {
            Flows::InStep
        } else {
            Flows::Behind
        }
    }
}
