//! Warnings about packet sizes: asks the host what `state::path_mtu` wants to know, and says each thing once in the log.

use std::collections::BTreeSet;
use std::path::Path;

use tracing::warn;

use super::engine::Engine;
use crate::dataplane::Dataplane;
use crate::net::link;
use crate::state::path_mtu::{self, Ingress, IngressSysctls};

impl<D: Dataplane> Engine<D> {
    /// What is to be warned of now.
    pub(super) fn warnings(&self) -> Vec<String> {
        let attached = self.dataplane.attachments();
        let ingresses: Vec<_> = attached.iter().filter_map(|attached| ingress(&attached.interface)).collect();
        let name =
            |key: &_| self.desired.vips.get(key).map_or_else(|| key.to_string(), |vip| vip.name.clone());
        path_mtu::warnings(&self.applied, &ingresses, name)
    }

    /// Logs what was not warned of before; what comes back later is logged again.
    pub(super) fn warn(&mut self) {
        let now: BTreeSet<_> = self.warnings().into_iter().collect();
        for text in now.difference(&self.warned) {
            warn!("{text}");
        }
        self.warned = now;
    }
}

/// `None` for an interface that is gone.
fn ingress(interface: &str) -> Option<Ingress> {
    let mtu = link::mtu(interface).ok()?;
    Some(Ingress { interface: interface.to_owned(), mtu, sysctls: sysctls(interface) })
}

/// As they take effect (Documentation/networking/ip-sysctl.rst): `accept_local` of all or of the interface, the larger
/// `rp_filter`, `forwarding` of the interface alone. Below /proc/sys/net lies the namespace of the reader.
fn sysctls(interface: &str) -> Option<IngressSysctls> {
    let of = |whose: &str, setting: &str| -> Option<u8> {
        let path = Path::new("/proc/sys/net/ipv4/conf").join(whose).join(setting);
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    Some(IngressSysctls {
        forwarding: of(interface, "forwarding")? != 0,
        accept_local: of(interface, "accept_local")? != 0 || of("all", "accept_local")? != 0,
        rp_filter: of(interface, "rp_filter")?.max(of("all", "rp_filter")?),
    })
}
