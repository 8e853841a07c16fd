//! Peers on the wire.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /v1/peers`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeersReport {
    /// Of this node; only with peers.
    pub fingerprint: Option<String>,
    /// Where peers ask this node.
    #[schema(value_type = Option<String>)]
    pub listen: Option<SocketAddr>,
    /// Why nobody can ask this node.
    pub trouble: Option<String>,
    pub peers: Vec<PeerReport>,
}

/// Another node: what of it is held here, and what it was told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerReport {
    pub name: String,
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// The copy that is held here.
    pub copy: PeerCopy,
    /// What the peer holds of this node.
    pub told: PeerTold,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerCopy {
    pub connected: bool,
    /// The copy is complete, and at most some seconds old.
    pub in_step: bool,
    /// How far it is behind; none before it was complete once.
    pub lag_ms: Option<u64>,
    /// Vips that are as they are there.
    pub vips: usize,
    /// Flows that were taken in since the daemon started.
    pub flows: u64,
    /// Flows that were not: of vips or backends that are not here, over by now, or without room.
    pub flows_left_out: u64,
    /// Connections since the daemon started.
    pub connections: u64,
    /// Why there is no connection.
    pub trouble: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeerTold {
    pub connected: bool,
    /// Flows that it was told since the daemon started.
    pub flows: u64,
    /// Batches of them that it has not confirmed yet.
    pub batches_open: u64,
    /// Why the last connection ended.
    pub trouble: Option<String>,
}
