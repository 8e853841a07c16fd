//! A peer as a file would say it.

use super::{line, quoted};
use crate::config::Config;
use crate::peers::Peer;

impl Config {
    pub(super) fn peer(out: &mut String, name: &str, peer: &Peer) {
        out.push_str("\n[[peer]]\n");
        line(out, "name", quoted(name));
        line(out, "address", quoted(&peer.address.to_string()));
        line(out, "fingerprint", quoted(&peer.fingerprint.to_string()));
    }
}
