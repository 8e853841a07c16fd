//! What the API and the metrics show of peers.

use std::time::Instant;

use crate::api::types::{PeerCopy, PeerReport, PeerTold, PeersReport};
use crate::peers::{FollowerStatus, PeersStatus, TellerStatus, Wanted};

pub(super) fn report(wanted: &Wanted, status: &PeersStatus, now: Instant) -> PeersReport {
    let peers = wanted.peers.iter().map(|(name, peer)| {
        let known = status.peers.get(name).cloned().unwrap_or_default();
        PeerReport {
            name: name.clone(),
            address: peer.address,
            copy: copy(&known.follower, now),
            told: told(&known.teller),
        }
    });
    PeersReport {
        fingerprint: status.fingerprint.map(|fingerprint| fingerprint.to_string()),
        listen: wanted.listen,
        trouble: status.trouble.clone(),
        peers: peers.collect(),
    }
}

fn copy(status: &FollowerStatus, now: Instant) -> PeerCopy {
    PeerCopy {
        connected: status.connected,
        in_step: status.is_in_step(now),
        lag_ms: status.lag(now).map(|lag| lag.as_millis() as u64),
        vips: status.vips,
        flows: status.flows,
        flows_left_out: status.flows_left_out,
        connections: status.connections,
        trouble: status.trouble.clone(),
    }
}

fn told(status: &TellerStatus) -> PeerTold {
    let TellerStatus { connected, flows, batches_open, trouble } = status.clone();
    PeerTold { connected, flows, batches_open, trouble }
}
