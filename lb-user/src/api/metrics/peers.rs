//! The metrics of peers. Their counts begin anew with the daemon, and when peers are configured anew.

use prometheus_client::registry::{Registry, Unit};

use super::{Counters, Gauges, Labels, SetValue, flag};
use crate::api::types::{PeerReport, PeersReport};

pub(super) fn write(registry: &mut Registry, report: &PeersReport) {
    let (connected, in_step, lag) = (Gauges::default(), Gauges::default(), Gauges::default());
    registry.register(
        "peer_connected",
        "1 while a copy of the peer's flows is kept up to date",
        connected.clone(),
    );
    registry.register("peer_in_step", "1 while the copy of the peer's flows is complete", in_step.clone());
    registry.register_with_unit(
        "peer_lag",
        "How far the copy of the peer's flows is behind",
        Unit::Seconds,
        lag.clone(),
    );
    let (flows, left_out, told) = (Counters::default(), Counters::default(), Counters::default());
    registry.register("peer_flows", "Flows of the peer that were taken in", flows.clone());
    registry.register("peer_flows_left_out", "Flows of the peer that were not taken in", left_out.clone());
    registry.register("peer_flows_told", "Flows that the peer was told", told.clone());
    for peer in &report.peers {
        connected.set_value(of(peer), flag(peer.copy.connected));
        in_step.set_value(of(peer), flag(peer.copy.in_step));
        if let Some(ms) = peer.copy.lag_ms {
            lag.set_value(of(peer), ms as f64 / 1000.0);
        }
        for (family, count) in
            [(&flows, peer.copy.flows), (&left_out, peer.copy.flows_left_out), (&told, peer.told.flows)]
        {
            family.get_or_create(&of(peer)).inc_by(count);
        }
    }
}

fn of(peer: &PeerReport) -> Labels {
    vec![("peer", peer.name.clone())]
}
