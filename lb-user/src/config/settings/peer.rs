//! The settings of peers.

use super::Absent::Required;
use super::{Section, setting};

pub(in crate::config) const PEER: Section = Section {
    title: "[[peer]]",
    doc: "Another node that may take over, or from which this one may; one block each, on each node one for every other. Nodes hold copies of each other's flows, of rings in transition and of what checks say, so that a failover in the middle of a change breaks no connection. Connections between them are encrypted, and both sides know each other by fingerprints. Peers need the same `hash_seed` and `limits.flows`. See OPERATIONS.md, \"Two hosts\".",
    settings: &[
        setting("name", "a name as for vips", Required, "How logs, metrics and `ferrolev peer` call it."),
        setting("address", "ADDRESS:PORT", Required, "The peer's `peer_listen`."),
        setting(
            "fingerprint",
            "64 hexadecimal digits",
            Required,
            "What `ferrolev peer fingerprint` says on that node.",
        ),
    ],
    tables: &[],
};
