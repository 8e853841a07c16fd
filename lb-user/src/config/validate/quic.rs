//! QUIC routing: only over UDP, and every backend that a vip may send to says who it is.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::objects::Objects;
use crate::config::file::{MemberFile, VipFile};
use crate::state::{Protocol, QuicRouting};

impl Objects {
    pub(super) fn quic(&self, check: &mut Check<'_>, file: &VipFile) -> Option<QuicRouting> {
        let object = &file.object;
        let Some(length) = &file.quic_server_id_length else {
            if let Some(id) = &file.quic_config_id {
                let text = format!(
                    "{object}: quic_config_id: QUIC routing is off; add quic_server_id_length, or take quic_config_id out"
                );
                check.problems.add(id.line, text);
            }
            return None;
        };
        if file.protocol.as_ref().is_some_and(|protocol| protocol.value != Protocol::Udp) {
            let text = format!(
                "{object}: quic_server_id_length: QUIC is UDP, and this vip is not; write protocol = \"udp\", or take quic_server_id_length out"
            );
            check.problems.add(length.line, text);
        }
        self.server_ids(check, file, length.value);
        Some(QuicRouting {
            server_id_len: length.value,
            config_id: file.quic_config_id.as_ref().map_or(0, |id| id.value),
        })
    }

    fn server_ids(&self, check: &mut Check<'_>, file: &VipFile, len: u8) {
        let mut names = BTreeSet::new();
        let mut owners = BTreeMap::new();
        for MemberFile { name, .. } in members(file) {
            let Some(backend) = self.backends.get(&name.value).filter(|_| names.insert(&name.value)) else {
                continue;
            };
            let digits = 2 * u32::from(len);
            let wrong = match backend.server_id {
                None => Some(format!(
                    "has no server_id; add server_id = \"…\" with {digits} hexadecimal digits to it"
                )),
                Some(id) if id.len != len => Some(format!(
                    "has the server_id {id} of {} bytes, but quic_server_id_length = {len}; write {digits} hexadecimal digits",
                    id.len
                )),
                Some(id) => owners
                    .insert(id, &name.value)
                    .map(|other| format!("and '{other}' have the same server_id {id}; give each its own")),
            };
            if let Some(wrong) = wrong {
                check.problems.add(name.line, format!("{}: backends: '{}' {wrong}", file.object, name.value));
            }
        }
    }
}

/// All backends of a vip and of its routes.
fn members(file: &VipFile) -> impl Iterator<Item = &MemberFile> {
    let lists = std::iter::once(&file.backends).chain(file.routes.iter().map(|route| &route.backends));
    lists.flatten().flatten()
}
