//! Peers: which nodes hold copies for each other, and what of that cannot work.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Check;
use super::objects::why_no_name;
use crate::config::file::PeerFile;
use crate::config::reader::{Located, printable};
use crate::config::values::path;
use crate::peers::{Peer, Wanted};

/// The valid peers by name.
pub(super) fn validate(
    check: &mut Check<'_>,
    listen: &Option<Located<SocketAddr>>,
    files: &[PeerFile],
) -> Wanted {
    if let Some(first) = files.first().filter(|_| listen.is_none()) {
        let text = format!(
            "{}: it could not ask this node; add peer_listen = \"ADDRESS:PORT\" with an address of this node",
            first.object
        );
        check.problems.add(first.line, text);
    }
    let listen = check.take(&["peer_listen"], listen.clone());
    let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for file in files {
        let object = &file.object;
        let Some(Located { value: name, line }) = &file.name else { continue };
        if let Some(why) = why_no_name(name) {
            check.problems.add(*line, format!("{object}: name: '{}' {why}", printable(name)));
            continue;
        }
        if let Some(first) = lines.insert(name, *line) {
            let text = format!(
                "{object}: the name is taken by the peer in line {first}; choose another or remove one"
            );
            check.problems.add(*line, text);
            continue;
        }
        let (Some(address), Some(fingerprint)) = (&file.address, &file.fingerprint) else { continue };
        if Some(address.value) == listen {
            let text = format!(
                "{object}: address: {} is this node's own peer_listen; name the other node's",
                address.value
            );
            check.problems.add(address.line, text);
        }
        if let Some((other, _)) = peers.iter().find(|(_, peer)| peer.fingerprint == fingerprint.value) {
            let text = format!("{object}: fingerprint: peer {other} has the same; every node has its own");
            check.problems.add(fingerprint.line, text);
        }
        for key in ["address", "fingerprint"] {
            check.provenance.note(path(&["peer", name, key]));
        }
        peers.insert(name.clone(), Peer { address: address.value, fingerprint: fingerprint.value });
    }
    Wanted { listen, peers }
}
