//! A backend that joins a QUIC vip at run time must be known by a server id of its own, as the file's backends are.

use std::collections::BTreeMap;

use crate::config::{Config, VipConfig};
use crate::state::DesiredMember;

/// Why `backend` cannot join `vip` beside `members`, to be read after the backend's name; vips without QUIC routing take
/// any.
pub(in crate::state) fn why_unfit(
    config: &Config,
    vip: &VipConfig,
    members: &BTreeMap<String, DesiredMember>,
    backend: &str,
) -> Option<String> {
    let quic = vip.options.quic?;
    let id_of = |name: &str| config.backends.get(name).and_then(|known| known.server_id);
    let Some(id) = id_of(backend) else {
        return Some("has no server_id".to_owned());
    };
    if id.len != quic.server_id_len {
        return Some(format!("has the server_id {id} of {} bytes", id.len));
    }
    let routes = vip.routes.iter().flat_map(|route| route.backends.keys());
    let mut others = members.keys().chain(routes).filter(|name| *name != backend);
    others.find(|name| id_of(name) == Some(id)).map(|other| format!("has the same server_id {id} as {other}"))
}
