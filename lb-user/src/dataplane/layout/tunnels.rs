//! What this balancer's own outer headers look like, so that it knows them when they come back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use lb_common::abi::{TunnelSource, Tunnels};
use lb_common::headers::words_v6;

use super::entries;
use crate::state::{ForwardDest, Forwarding, Mode, Tunnel};

/// The configured sources; where there is none, those that the ways to the backends prefer. The first
/// [`lb_common::abi::MAX_TUNNEL_SOURCES`] are known: a host has one or two.
pub(super) fn of(forwarding: &Forwarding) -> Tunnels {
    let tunnel = &forwarding.tunnel;
    let entries = entries(forwarding);
    let dests = entries.values().flat_map(|vip| vip.dests.values());
    let configured = [
        tunnel.source4.map(|source| (IpAddr::from(source.address), source.prefix_len)),
        tunnel.source6.map(|source| (IpAddr::from(source.address), source.prefix_len)),
    ];
    let all: BTreeSet<_> =
        configured.into_iter().flatten().chain(dests.filter_map(|dest| preferred(dest, tunnel))).collect();
    let mut tunnels = Tunnels { gue_port: tunnel.gue_port.into(), ..Tunnels::default() };
    for (place, (address, len)) in tunnels.sources.iter_mut().zip(all) {
        *place = source(address, len);
    }
    tunnels
}

/// The route's source, where the outer header has it.
fn preferred(dest: &ForwardDest, tunnel: &Tunnel) -> Option<(IpAddr, u8)> {
    let source = dest.next_hop.as_ref().ok()?.preferred_source?;
    let is_configured =
        if dest.address.is_ipv4() { tunnel.source4.is_some() } else { tunnel.source6.is_some() };
    let is_used = dest.mode != Mode::L2
        && !is_configured
        && source.is_ipv4() == dest.address.is_ipv4()
        && !source.is_unspecified();
    is_used.then_some((source, if source.is_ipv4() { 32 } else { 128 }))
}

fn source(address: IpAddr, len: u8) -> TunnelSource {
    let (address, len) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), u32::from(len) + 96),
        IpAddr::V6(address) => (address, u32::from(len)),
    };
    // Outer headers are different in the last 32 bits only.
    let mask = u128::MAX << (128 - len.clamp(96, 128));
    let [_, mask_low] = words_v6(mask.to_be_bytes());
    let address = Ipv6Addr::from(u128::from(address) & mask);
    TunnelSource { address: words_v6(address.octets()), mask: mask_low }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(address: &str) -> [u64; 2] {
        let address: IpAddr = address.parse().expect("an address");
        words_v6(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        })
    }

    #[test]
    fn a_source_holds_the_addresses_of_its_prefix_and_no_others() {
        for (prefix, len, inside, outside) in [
            ("192.0.2.10", 32, "192.0.2.10", "192.0.2.11"),
            ("172.16.9.9", 16, "172.16.255.1", "172.17.0.0"),
            ("10.1.2.3", 0, "203.0.113.9", "::cb00:7109"),
            ("2001:db8:e::", 112, "2001:db8:e::ffff", "2001:db8:e::1:0"),
            ("2001:db8:e::7", 128, "2001:db8:e::7", "2001:db8:e::6"),
            ("2001:db8:e::7", 96, "2001:db8:e::ffff:ffff", "2001:db8:e:0:0:1::"),
        ] {
            let source = source(prefix.parse().expect("an address"), len);
            assert!(source.holds(words(inside)), "{inside} in {prefix}/{len}");
            assert!(!source.holds(words(outside)), "{outside} in {prefix}/{len}");
        }
        assert!(!TunnelSource::default().holds([0, 0]));
    }
}
