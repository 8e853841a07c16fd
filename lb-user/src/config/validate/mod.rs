//! From the file's values to a valid [`Config`]: what no single value shows, such as names, duplicates and sums.

mod access;
mod addresses;
mod check_probe;
mod checks;
mod flows;
mod groups;
mod hooks;
mod limits;
mod objects;
mod peers;
mod pool;
mod quic;
mod routes;
mod vip;
mod vrrp;

pub(crate) use objects::why_no_name;

use std::net::IpAddr;
use std::path::Path;

use super::ProbePrefixes;
use super::access::Lists;
use super::address::why_unusable;
use super::decode::Family;
use super::error::Problems;
use super::file::{AccessFile, ConfigFile, LimitsFile, TunnelFile};
use super::reader::{Located, printable};
use super::settings::ACCESS;
use super::values::path;
use super::{AccessSource, Config, DEFAULT_GUE_PORT, DEFAULT_TTL, Provenance};
use crate::state::{AccessRules, Answers, SourcePrefix, Tunnel};
use crate::tunnel_probes::DEFAULT_PREFIXES;

use objects::Objects;

/// Interfaces that one instance attaches to at most; as many as packets can be redirected to.
const INTERFACES_MAX: usize = 64;

/// The configuration that `file` describes; problems are noted, and then the result must not be used.
pub(super) fn validate(
    file_path: &Path,
    file: ConfigFile,
    lists: Lists<'_>,
    problems: &mut Problems,
) -> Option<Config> {
    let mut provenance = Provenance::default();
    let mut check = Check { problems, provenance: &mut provenance, lists };
    let interfaces = check.interfaces(file.interfaces.as_ref());
    let objects = Objects::read(&mut check, &file.backends, &file.vips);
    groups::validate(&mut check, &file.vips, &objects);
    let checks = checks::validate(&mut check, &file.checks, &file.backends, &file.vips, &objects);

    let addresses = addresses::validate(&mut check, &file.vips, &objects);
    let vrrp = vrrp::validate(&mut check, &file.vrrp, &objects, &addresses);
    let hooks = hooks::validate(&mut check, &file.hooks, &objects, &vrrp);
    let peers = peers::validate(&mut check, &file.peer_listen, &file.peers);
    let tunnel = check.tunnel(&file.tunnel, &objects);
    let probes = check.probe_prefixes(&file.tunnel, &objects);
    let (access, access_source) = check.access(&file.access);
    let limits = limits::validate(&mut check, &file, &objects, &access);
    Some(Config {
        path: file_path.to_owned(),
        interfaces,
        xdp_mode: check.take(&["xdp_mode"], file.xdp_mode).unwrap_or_default(),
        hash_seed: check.take(&["hash_seed"], file.hash_seed).unwrap_or(0),
        metrics_listen: check.take(&["metrics_listen"], file.metrics_listen),
        limits,
        tunnel,
        answers: check.answers(&file.limits),
        flows: flows::validate(&mut check, &file.flows),
        access,
        access_source,
        addresses,
        checks,
        probes,
        backends: objects.backends,
        vips: objects.vips,
        vrrp,
        peers,
        hooks,
        provenance,
    })
}

/// What every check needs: where to put problems, where to note that a value came from the file, and other files.
struct Check<'a> {
    problems: &'a mut Problems,
    provenance: &'a mut Provenance,
    lists: Lists<'a>,
}

impl Check<'_> {
    /// The value, with a note that the file gave it.
    fn take<T>(&mut self, parts: &[&str], found: Option<Located<T>>) -> Option<T> {
        let found = found?;
        self.provenance.note(path(parts));
        Some(found.value)
    }

    fn interfaces(&mut self, found: Option<&Located<Vec<Located<String>>>>) -> Vec<String> {
        let Some(found) = found else {
            return Vec::new();
        };
        self.provenance.note(path(&["interfaces"]));
        if found.value.is_empty() {
            self.problems.add(
                found.line,
                "interfaces: the list is empty; name the interfaces on which packets for vips arrive, such as [\"eth0\"]",
            );
        }
        if found.value.len() > INTERFACES_MAX {
            self.problems.add(
                found.line,
                format!("interfaces: {} are too many; name at most {INTERFACES_MAX}", found.value.len()),
            );
        }
        interface_names(self, "interfaces", &found.value)
    }

    fn access(&mut self, file: &AccessFile) -> (AccessRules, AccessSource) {
        let given = [
            ("allow", file.allow.is_some()),
            ("allow_file", file.allow_file.is_some()),
            ("deny", file.deny.is_some()),
            ("deny_file", file.deny_file.is_some()),
        ];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            self.provenance.note(path(&["access", key]));
        }
        access::rules(self, ACCESS.title, file)
    }

    fn answers(&mut self, file: &LimitsFile) -> Answers {
        let default = Answers::default();
        let replies = self.take(&["limits", "replies_per_second"], file.replies_per_second.clone());
        let fragments = self.take(&["limits", "fragments_per_second"], file.fragments_per_second.clone());
        let timeout = self.take(&["limits", "fragment_timeout"], file.fragment_timeout.clone());
        Answers {
            replies_per_second: replies.unwrap_or(default.replies_per_second),
            fragments_per_second: fragments.unwrap_or(default.fragments_per_second),
            fragment_timeout: timeout.unwrap_or(default.fragment_timeout),
        }
    }

    fn tunnel(&mut self, file: &TunnelFile, objects: &Objects) -> Tunnel {
        self.tunnel_source("source4", file.source4.as_ref(), objects);
        self.tunnel_source("source6", file.source6.as_ref(), objects);
        Tunnel {
            source4: self.take(&["tunnel", "source4"], file.source4.clone()),
            source6: self.take(&["tunnel", "source6"], file.source6.clone()),
            ttl: self.take(&["tunnel", "ttl"], file.ttl.clone()).unwrap_or(DEFAULT_TTL),
            dscp: self.take(&["tunnel", "dscp"], file.dscp.clone()).unwrap_or_default(),
            gue_port: self.take(&["tunnel", "gue_port"], file.gue_port.clone()).unwrap_or(DEFAULT_GUE_PORT),
            gue_variant: self.take(&["tunnel", "gue_variant"], file.gue_variant.clone()).unwrap_or_default(),
            oversize: self.take(&["tunnel", "oversize"], file.oversize.clone()).unwrap_or_default(),
        }
    }

    /// Nobody else may have addresses of checks.
    fn probe_prefixes(&mut self, file: &TunnelFile, objects: &Objects) -> ProbePrefixes {
        for (key, found) in [("probe4", &file.probe4), ("probe6", &file.probe6)] {
            let Some(Located { value: prefix, line }) = found else { continue };
            for (address, owner) in objects.addresses() {
                if prefix.contains(address) {
                    let text = format!(
                        "[tunnel]: {key}: {prefix} contains the address of {owner}; use a prefix that no host has"
                    );
                    self.problems.add(*line, text);
                }
            }
        }
        ProbePrefixes {
            v4: self.take(&["tunnel", "probe4"], file.probe4.clone()).unwrap_or(DEFAULT_PREFIXES.v4),
            v6: self.take(&["tunnel", "probe6"], file.probe6.clone()).unwrap_or(DEFAULT_PREFIXES.v6),
        }
    }

    /// A tunnel source must be unicast, and nobody else's address: a backend drops packets from itself or from a vip.
    fn tunnel_source<A: Family>(
        &mut self,
        key: &str,
        found: Option<&Located<SourcePrefix<A>>>,
        objects: &Objects,
    ) {
        let Some(Located { value: prefix, line }) = found else {
            return;
        };
        let shown = super::render::source(*prefix);
        if let Some(why) = why_unusable(prefix.address.wide()) {
            self.problems.add(*line, format!("[tunnel]: {key}: {shown} {why}"));
        }
        for (address, owner) in objects.addresses() {
            if holds(prefix, address) {
                let text = format!(
                    "[tunnel]: {key}: {shown} {} the address of {owner}, which would drop such packets as forged; use addresses of this host",
                    if prefix.prefix_len == A::BITS { "is" } else { "contains" },
                );
                self.problems.add(*line, text);
            }
        }
    }
}

fn holds<A: Family>(prefix: &SourcePrefix<A>, address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6.to_string(),
    };
    address
        .parse::<A>()
        .is_ok_and(|address| address.network(prefix.prefix_len).wide() == prefix.address.wide())
}

/// The names that interfaces can have; others and duplicates are noted after `object`.
fn interface_names(check: &mut Check<'_>, object: &str, found: &[Located<String>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in found {
        let shown = printable(&name.value);
        if let Some(why) = why_no_interface(&name.value) {
            check.problems.add(name.line, format!("{object}: '{shown}' {why}"));
        } else if names.contains(&name.value) {
            check.problems.add(name.line, format!("{object}: '{shown}' is named twice; remove one"));
        } else {
            names.push(name.value.clone());
        }
    }
    names
}

/// Why the kernel has no interface of this name, or why the program cannot attach there.
fn why_no_interface(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty; `ip link` lists interfaces")
    } else if name == "lo" {
        Some("is the loopback interface, where no packets of clients arrive; `ip link` lists others")
    } else if name.contains(':') {
        Some("is an alias of an address, not an interface; write the part before the ':'")
    } else if name.contains('@') {
        Some("is how `ip link` shows a child interface; write the part before the '@'")
    } else if name.len() > 15 {
        Some("is longer than the 15 bytes that a name can have")
    } else if matches!(name, "." | "..")
        || name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
    {
        Some("is no name that an interface can have; `ip link` lists interfaces")
    } else {
        None
    }
}
