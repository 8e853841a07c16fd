//! Peers as they are written.

use std::net::SocketAddr;

use crate::config::decode::{expected, socket_address, text};
use crate::config::error::Problems;
use crate::config::reader::{Located, TableReader, printable};
use crate::peers::Fingerprint;

#[derive(Debug)]
pub(in crate::config) struct PeerFile {
    /// How messages call it.
    pub(in crate::config) object: String,
    pub(in crate::config) line: u32,
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) address: Option<Located<SocketAddr>>,
    pub(in crate::config) fingerprint: Option<Located<Fingerprint>>,
}

impl PeerFile {
    pub(super) fn read(mut table: TableReader<'_, '_>, problems: &mut Problems) -> Self {
        let name = table.table.get("name").and_then(|name| name.get_ref().as_str());
        if let Some(name) = name {
            table.object = format!("peer {}", printable(name));
        }
        Self {
            line: table.line,
            name: table.required(problems, "name", text),
            address: table.required(problems, "address", socket_address),
            fingerprint: table.required(problems, "fingerprint", |value| {
                let text = value.as_str().ok_or_else(|| expected("64 hexadecimal digits in quotes", value))?;
                text.parse().map_err(|_| {
                    format!("'{}' is no fingerprint; write the 64 digits that `ferrolev peer fingerprint` says on that node", printable(text))
                })
            }),
            object: table.object,
        }
    }
}
