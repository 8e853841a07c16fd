//! What an operator should know about packet sizes: which packets of clients do not fit the way to a backend, and whether
//! the kernel would fragment those that it is given. Pure; what the host says is handed in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{ForwardDest, ForwardVip, Forwarding, GueVariant, Mode, Oversize, Tunnel, VipKey};

/// The largest packet that is expected of clients, whatever an interface takes: one that also leads to the backends takes
/// more where room was made for the outer headers.
const CLIENT_MTU: u32 = 1500;
/// The smallest MTU that IPv6 knows (RFC 8200, section 5).
const MIN_MTU_V6: u32 = 1280;
/// Bytes of IP and TCP header in front of a segment, without options (RFC 6691).
const TCP_HEADERS: [u32; 2] = [40, 60];

/// An interface that packets for vips come in on, as the host says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub interface: String,
    /// Bytes of IP packet.
    pub mtu: u32,
    /// IPv4 settings; `None` when they cannot be read.
    pub sysctls: Option<IngressSysctls>,
}

/// IPv4 settings of an interface as they take effect, those for all interfaces included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngressSysctls {
    pub forwarding: bool,
    pub accept_local: bool,
    /// 0: off, 1: strict, 2: loose.
    pub rp_filter: u8,
}

/// Bytes of headers that a packet gets in front.
#[must_use]
pub fn overhead(mode: Mode, backend: IpAddr, tunnel: &Tunnel) -> u32 {
    let ip = if backend.is_ipv4() { 20 } else { 40 };
    let gue = match tunnel.gue_variant {
        GueVariant::Header => 4,
        GueVariant::Direct => 0,
    };
    match mode {
        Mode::L2 => 0,
        Mode::Ipip => ip,
        Mode::Gue => ip + 8 + gue,
    }
}

/// Sentences for people, each with the ways out; the vips' first. `name` gives a vip's name.
#[must_use]
pub fn warnings(
    forwarding: &Forwarding,
    ingresses: &[Ingress],
    name: impl Fn(&VipKey) -> String,
) -> Vec<String> {
    let Some(widest) = ingresses.iter().max_by_key(|ingress| ingress.mtu) else { return Vec::new() };
    let routes = forwarding.routes.iter().map(|((key, _), vip)| (key, vip));
    let mut warnings = Vec::new();
    let mut to_kernel = false;
    for (key, vip) in forwarding.vips.iter().chain(routes) {
        for (fits, tight) in tight_dests(vip, &forwarding.tunnel, widest.mtu.min(CLIENT_MTU)) {
            let text = tight_path(&name(key), key.address.is_ipv6(), fits, &tight, widest);
            if !warnings.contains(&text) {
                warnings.push(text);
            }
            to_kernel |= key.address.is_ipv4() && tight.is_fragmented;
        }
    }
    if to_kernel && forwarding.tunnel.oversize == Oversize::Kernel {
        warnings.extend(ingresses.iter().filter_map(|ingress| kernel_drops(ingress, &forwarding.tunnel)));
    }
    warnings
}

/// Dests of a vip that take equally large packets.
struct Tight<'a> {
    /// Name and address of the first one.
    first: (&'a str, IpAddr),
    others: usize,
    overhead: u32,
    /// The kernel could fragment what is too large: IPv4 outside.
    is_fragmented: bool,
}

/// The dests that packets of `mtu` bytes do not fit, by the bytes that do.
fn tight_dests<'a>(vip: &'a ForwardVip, tunnel: &Tunnel, mtu: u32) -> BTreeMap<u32, Tight<'a>> {
    let mut tight = BTreeMap::new();
    for (name, dest) in vip.dests.iter().filter(|(_, dest)| dest.weight > 0) {
        let ForwardDest { address, mode, next_hop: Ok(hop), .. } = dest else { continue };
        let overhead = overhead(*mode, *address, tunnel);
        let fits = hop.mtu.saturating_sub(overhead);
        if hop.mtu == 0 || fits >= mtu {
            continue;
        }
        let is_fragmented = address.is_ipv4() && *mode != Mode::L2;
        let first = (name.as_str(), *address);
        let new = Tight { first, others: 0, overhead, is_fragmented };
        tight.entry(fits).and_modify(|known: &mut Tight<'a>| known.others += 1).or_insert(new);
    }
    tight
}

fn tight_path(vip: &str, is_v6: bool, fits: u32, tight: &Tight<'_>, ingress: &Ingress) -> String {
    let Tight { first: (name, address), others, overhead, .. } = tight;
    let (interface, mtu) = (&ingress.interface, ingress.mtu.min(CLIENT_MTU));
    let others = if *others == 0 { String::new() } else { format!(" and {others} more") };
    let way = format!("the way to backend {name} ({address}){others}");
    if is_v6 && fits < MIN_MTU_V6 {
        return format!(
            "vip {vip}: {way} takes packets of {fits} bytes, less than the {MIN_MTU_V6} that IPv6 needs: larger ones are lost; \
             raise the MTU of the way to {} at least",
            MIN_MTU_V6 + overhead
        );
    }
    let segment = fits.saturating_sub(TCP_HEADERS[usize::from(is_v6)]);
    format!(
        "vip {vip}: packets of {mtu} bytes come in on {interface}, {way} takes only {fits}: clients are told so with each one, \
         and larger packets are lost where ICMP is filtered; raise the MTU of the way to {}, or set `advmss {segment}` \
         on the backends' default route",
        mtu + overhead
    )
}

/// What keeps the kernel from forwarding the fragments of packets that it is given on an interface.
fn kernel_drops(ingress: &Ingress, tunnel: &Tunnel) -> Option<String> {
    let IngressSysctls { forwarding, accept_local, rp_filter } = ingress.sysctls?;
    let interface = &ingress.interface;
    // An outer source out of a prefix is not this host's, so that it is not taken for a forged one.
    let is_local = tunnel.source4.is_none_or(|source| source.prefix_len == 32);
    let wrong = [
        (!forwarding).then(|| format!("net.ipv4.conf.{interface}.forwarding=1")),
        (is_local && !accept_local).then(|| format!("net.ipv4.conf.{interface}.accept_local=1")),
        (rp_filter != 0)
            .then(|| format!("net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{interface}.rp_filter=0")),
    ];
    let settings: Vec<_> = wrong.into_iter().flatten().collect();
    (!settings.is_empty()).then(|| {
        format!(
            "{interface}: IPv4 packets that are too large and may be fragmented go to the kernel, which drops them; \
             `sysctl -w {}`, or set tunnel.oversize = \"drop\"",
            settings.join(" ")
        )
    })
}

#[cfg(test)]
mod tests;
