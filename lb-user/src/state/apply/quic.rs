//! A backend that joins a QUIC vip at run time must be known by a server id, as the file's backends are.

use super::ChangeError;
use crate::config::Config;
use crate::state::DesiredVip;

/// Refuses a backend without a fitting server id of its own; vips without QUIC routing take any.
pub(super) fn check_server_id(config: &Config, vip: &DesiredVip, backend: &str) -> Result<(), ChangeError> {
    let Some(quic) = vip.options.quic else {
        return Ok(());
    };
    let refused = |why: String| {
        let (vip, backend) = (vip.name.clone(), backend.to_owned());
        Err(ChangeError::ServerId { vip, backend, why, file: config.path.display().to_string() })
    };
    let Some(id) = config.backends.get(backend).and_then(|known| known.server_id) else {
        return refused("it has none".to_owned());
    };
    if id.len != quic.server_id_len {
        return refused(format!("its server_id {id} has {} bytes", id.len));
    }
    let routes = vip.routes.iter().map(|route| &route.members);
    let mut others = std::iter::once(&vip.members).chain(routes).flatten();
    match others.find(|(name, member)| *name != backend && member.server_id == Some(id)) {
        Some((other, _)) => refused(format!("backend {other} has the server_id {id} too")),
        None => Ok(()),
    }
}
