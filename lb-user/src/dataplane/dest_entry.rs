//! The finished headers of a dest: Ethernet, and what its mode puts between that and the client's packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytemuck::Zeroable;
use lb_common::abi::{Dest, DestKind};
use lb_common::checksum;
use lb_common::headers::Ipv4;

use super::layout::server_id_word as word;
use crate::state::{Dscp, GueVariant, Mode, NextHop, ServerId, SourcePrefix, Tunnel};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
/// Protocol numbers of the inner packet: RFC 2003 and RFC 4213, section 3.5.
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_UDP: u8 = 17;

/// What a dest is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct DestSpec<'a> {
    pub(super) vip_number: u32,
    pub(super) vip_is_v6: bool,
    pub(super) backend: IpAddr,
    pub(super) mode: Mode,
    pub(super) hop: &'a NextHop,
    /// Index into `DEVICES`.
    pub(super) device: u32,
    pub(super) tunnel: &'a Tunnel,
    /// By which QUIC connection ids name the dest.
    pub(super) server_id: Option<ServerId>,
    /// Its number in flow records; 0: none.
    pub(super) owner: u16,
}

impl DestSpec<'_> {
    const fn kind(&self) -> DestKind {
        let tagged = self.hop.vlan.is_some();
        match (self.mode, self.tunnel.gue_variant, self.backend.is_ipv4(), tagged) {
            (Mode::Ipip, _, true, false) => DestKind::Ipv4,
            (Mode::Ipip, _, true, true) => DestKind::Ipv4Vlan,
            (Mode::Ipip, _, false, false) => DestKind::Ipv6,
            (Mode::Ipip, _, false, true) => DestKind::Ipv6Vlan,
            (Mode::Gue, GueVariant::Direct, true, false) => DestKind::UdpIpv4,
            (Mode::Gue, GueVariant::Direct, true, true) => DestKind::UdpIpv4Vlan,
            (Mode::Gue, GueVariant::Direct, false, false) => DestKind::UdpIpv6,
            (Mode::Gue, GueVariant::Direct, false, true) => DestKind::UdpIpv6Vlan,
            (Mode::Gue, GueVariant::Header, true, false) => DestKind::GueIpv4,
            (Mode::Gue, GueVariant::Header, true, true) => DestKind::GueIpv4Vlan,
            (Mode::Gue, GueVariant::Header, false, false) => DestKind::GueIpv6,
            (Mode::Gue, GueVariant::Header, false, true) => DestKind::GueIpv6Vlan,
            (Mode::L2, _, _, false) => DestKind::L2,
            (Mode::L2, _, _, true) => DestKind::L2Vlan,
        }
    }

    /// Protocol number of the client's packet.
    const fn inner_protocol(&self) -> u8 {
        if self.vip_is_v6 { PROTOCOL_IPV6 } else { PROTOCOL_IPV4 }
    }

    /// What follows the outer IP header, by its protocol number.
    const fn outer_protocol(&self) -> u8 {
        if matches!(self.mode, Mode::Gue) { PROTOCOL_UDP } else { self.inner_protocol() }
    }
}

/// Builds the entry. Without a configured tunnel source, the route's preferred source is used, else the unspecified
/// address (which the kernel reports for no Ethernet route that can carry the family).
#[must_use]
pub(super) fn dest_entry(spec: &DestSpec<'_>) -> Dest {
    let mut head = Vec::with_capacity(lb_common::abi::HEAD_LEN);
    let is_v6 = if spec.mode == Mode::L2 { spec.vip_is_v6 } else { spec.backend.is_ipv6() };
    ethernet(&mut head, spec.hop, if is_v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 });
    let layer3 = head.len();
    let source_mask = match (spec.mode, spec.backend) {
        (Mode::L2, _) => 0,
        (Mode::Ipip | Mode::Gue, IpAddr::V4(backend)) => ipv4(&mut head, spec, backend),
        (Mode::Ipip | Mode::Gue, IpAddr::V6(backend)) => ipv6(&mut head, spec, backend),
    };
    let layer4 = head.len();
    if spec.mode == Mode::Gue {
        udp(&mut head, spec);
    }
    let (tos_mask, tos_set) = match spec.tunnel.dscp {
        Dscp::Copy => (0xff, 0),
        Dscp::Fixed(dscp) => (0x03, dscp << 2),
    };
    let outer_v4 = layer4 > layer3 && spec.backend.is_ipv4();
    let mut dest = Dest {
        kind: spec.kind() as u32,
        checksum: if outer_v4 { constant_sum(&head[layer3..]) } else { 0 },
        udp_checksum: if spec.mode == Mode::Gue {
            constant_udp_sum(&head[layer3..layer4], &head[layer4..])
        } else {
            0
        },
        ifindex: spec.hop.ifindex,
        device: spec.device,
        source_mask,
        tos_mask,
        tos_set,
        vip: spec.vip_number,
        owner: spec.owner,
        server_id: spec.server_id.map_or(0, word),
        server_id_len: spec.server_id.map_or(0, |id| u32::from(id.len)),
        max_len: max_len(spec.hop.mtu, (head.len() - layer3) as u32),
        ..Dest::zeroed()
    };
    dest.head[..head.len()].copy_from_slice(&head);
    dest
}

/// The largest IP packet that fits behind `overhead` bytes of outer headers into an IP packet of `mtu` bytes. An unknown MTU
/// (0) allows what an IP packet can hold.
fn max_len(mtu: u32, overhead: u32) -> u32 {
    let most = u32::from(u16::MAX);
    let whole = if mtu == 0 { most } else { mtu.min(most) };
    whole.saturating_sub(overhead)
}

fn ethernet(head: &mut Vec<u8>, hop: &NextHop, ether_type: u16) {
    head.extend(hop.destination_mac.0);
    head.extend(hop.source_mac.0);
    if let Some(id) = hop.vlan {
        head.extend(ETHERTYPE_VLAN.to_be_bytes());
        head.extend((id & 0x0fff).to_be_bytes());
    }
    head.extend(ether_type.to_be_bytes());
}

/// RFC 791; returns the source mask.
fn ipv4(head: &mut Vec<u8>, spec: &DestSpec<'_>, backend: Ipv4Addr) -> u32 {
    let preferred = match spec.hop.preferred_source {
        Some(IpAddr::V4(address)) => address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let source = spec.tunnel.source4.unwrap_or(SourcePrefix { address: preferred, prefix_len: 32 });
    let mask = host_mask(source.prefix_len, 32);
    head.extend([0x45, 0, 0, 0, 0, 0, 0, 0, spec.tunnel.ttl, spec.outer_protocol(), 0, 0]);
    head.extend((u32::from(source.address) & !mask).to_be_bytes());
    head.extend(backend.octets());
    u32::from_le_bytes(mask.to_be_bytes())
}

/// RFC 8200; returns the source mask.
fn ipv6(head: &mut Vec<u8>, spec: &DestSpec<'_>, backend: Ipv6Addr) -> u32 {
    let preferred = match spec.hop.preferred_source {
        Some(IpAddr::V6(address)) => address,
        _ => Ipv6Addr::UNSPECIFIED,
    };
    let source = spec.tunnel.source6.unwrap_or(SourcePrefix { address: preferred, prefix_len: 128 });
    let mask = host_mask(source.prefix_len.saturating_sub(96), 32);
    head.extend([0x60, 0, 0, 0, 0, 0, spec.outer_protocol(), spec.tunnel.ttl]);
    head.extend((u128::from(source.address) & !u128::from(mask)).to_be_bytes());
    head.extend(backend.octets());
    u32::from_le_bytes(mask.to_be_bytes())
}

/// RFC 768 without source port, length and checksum, and the header of GUE's variant 0 with no flags.
fn udp(head: &mut Vec<u8>, spec: &DestSpec<'_>) {
    let [port_0, port_1] = spec.tunnel.gue_port.to_be_bytes();
    head.extend([0, 0, port_0, port_1, 0, 0, 0, 0]);
    if spec.tunnel.gue_variant == GueVariant::Header {
        head.extend([0, spec.inner_protocol(), 0, 0]);
    }
}

/// The sum of both addresses and the protocol in the pseudo header, and of everything behind the IP header.
fn constant_udp_sum(ip: &[u8], behind: &[u8]) -> u32 {
    let addresses = if ip.len() == size_of::<Ipv4>() { &ip[12..] } else { &ip[8..] };
    checksum::sum(addresses) + checksum::sum(&[0, PROTOCOL_UDP]) + checksum::sum(behind)
}

/// The sum of an IPv4 header's time to live, protocol and destination.
fn constant_sum(header: &[u8]) -> u32 {
    checksum::sum(&header[8..10]) + checksum::sum(&header[16..20])
}

/// The host bits of a prefix, in host order.
fn host_mask(prefix_len: u8, bits: u8) -> u32 {
    let host_bits = u32::from(bits.saturating_sub(prefix_len));
    u32::MAX.checked_shl(host_bits).map_or(u32::MAX, |network| !network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{MacAddress, path_mtu};

    fn hop(vlan: Option<u16>) -> NextHop {
        NextHop {
            ifindex: 7,
            interface: "eth0".into(),
            source_mac: MacAddress([2, 0, 0, 0, 0, 1]),
            destination_mac: MacAddress([2, 0, 0, 0, 0, 2]),
            gateway: None,
            vlan,
            preferred_source: Some("192.0.2.10".parse().expect("address")),
            mtu: 1500,
        }
    }

    fn tunnel() -> Tunnel {
        Tunnel::default()
    }

    fn entry(hop: &NextHop, tunnel: &Tunnel, backend: &str) -> Dest {
        entry_of(Mode::Ipip, hop, tunnel, backend)
    }

    fn entry_of(mode: Mode, hop: &NextHop, tunnel: &Tunnel, backend: &str) -> Dest {
        let backend = backend.parse().expect("address");
        dest_entry(&DestSpec {
            vip_number: 3,
            vip_is_v6: false,
            backend,
            mode,
            hop,
            device: 1,
            tunnel,
            server_id: None,
            owner: 0,
        })
    }

    #[test]
    fn an_ipv4_dest_is_an_ethernet_and_an_ip_header() {
        let dest = entry(&hop(None), &tunnel(), "10.0.0.7");
        let expected = [
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 4, 0, 0, 192, 0, 2, 10, 10, 0, 0, 7,
        ];
        assert_eq!(dest.head[..34], expected);
        assert!(dest.head[34..].iter().all(|byte| *byte == 0));
        assert_eq!(dest.kind, DestKind::Ipv4 as u32);
        assert_eq!((dest.ifindex, dest.device, dest.vip), (7, 1, 3));
        assert_eq!((dest.source_mask, dest.tos_mask, dest.tos_set), (0, 0xff, 0));
    }

    #[test]
    fn a_vlan_tag_stands_between_the_addresses_and_the_type() {
        let dest = entry(&hop(Some(100)), &tunnel(), "10.0.0.7");
        assert_eq!(dest.head[12..18], [0x81, 0x00, 0, 100, 0x08, 0x00]);
        assert_eq!(dest.kind, DestKind::Ipv4Vlan as u32);
    }

    #[test]
    fn a_source_prefix_leaves_its_host_bits_to_the_flow() {
        let source4 = Some(SourcePrefix { address: Ipv4Addr::new(172, 16, 9, 9), prefix_len: 16 });
        let dest = entry(&hop(None), &Tunnel { source4, ..tunnel() }, "10.0.0.7");
        assert_eq!(dest.head[26..30], [172, 16, 0, 0]);
        assert_eq!(dest.source_mask.to_le_bytes(), [0, 0, 0xff, 0xff]);
    }

    #[test]
    fn an_ipv6_prefix_gives_at_most_its_last_32_bits() {
        for (prefix_len, mask) in [(128, [0, 0, 0, 0]), (112, [0, 0, 0xff, 0xff]), (64, [0xff; 4])] {
            let address = "2001:db8::1:2:3".parse().expect("address");
            let source6 = Some(SourcePrefix { address, prefix_len });
            let dest = entry(&hop(None), &Tunnel { source6, ..tunnel() }, "2001:db8::7");
            assert_eq!(dest.source_mask.to_le_bytes(), mask, "/{prefix_len}");
            assert_eq!(dest.kind, DestKind::Ipv6 as u32);
        }
    }

    #[test]
    fn a_fixed_dscp_keeps_the_ecn_bits_of_the_packet() {
        let dest = entry(&hop(None), &Tunnel { dscp: Dscp::Fixed(46), ..tunnel() }, "10.0.0.7");
        assert_eq!((dest.tos_mask, dest.tos_set), (0x03, 46 << 2));
    }

    #[test]
    fn a_gue_dest_has_udp_and_its_own_header_behind_the_ip_header() {
        let variant = |gue_variant| Tunnel { gue_variant, gue_port: 0x1234, ..tunnel() };
        let direct = entry_of(Mode::Gue, &hop(None), &variant(GueVariant::Direct), "10.0.0.7");
        assert_eq!(direct.kind, DestKind::UdpIpv4 as u32);
        assert_eq!(direct.head[23], PROTOCOL_UDP);
        assert_eq!(direct.head[34..46], [0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0]);
        let header = entry_of(Mode::Gue, &hop(Some(5)), &variant(GueVariant::Header), "2001:db8::7");
        assert_eq!(header.kind, DestKind::GueIpv6Vlan as u32);
        assert_eq!(header.head[24], PROTOCOL_UDP);
        assert_eq!(header.head[58..70], [0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, PROTOCOL_IPV4, 0, 0]);
    }

    #[test]
    fn an_l2_dest_is_an_ethernet_header_of_the_vips_family() {
        let dest = entry_of(Mode::L2, &hop(None), &tunnel(), "2001:db8::7");
        assert_eq!(dest.head[..16], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0, 0]);
        assert_eq!(dest.kind, DestKind::L2 as u32);
        let tagged = entry_of(Mode::L2, &hop(Some(9)), &tunnel(), "10.0.0.7");
        assert_eq!((tagged.kind, tagged.head[15]), (DestKind::L2Vlan as u32, 9));
        assert_eq!((tagged.checksum, tagged.udp_checksum, tagged.source_mask), (0, 0, 0));
    }

    #[test]
    fn what_fits_is_the_mtu_without_the_outer_headers() {
        let header = Tunnel { gue_variant: GueVariant::Header, ..tunnel() };
        for (mode, backend, direct, with_header) in [
            (Mode::Ipip, "10.0.0.7", 1480, 1480),
            (Mode::Ipip, "2001:db8::7", 1460, 1460),
            (Mode::Gue, "10.0.0.7", 1472, 1468),
            (Mode::Gue, "2001:db8::7", 1452, 1448),
            (Mode::L2, "10.0.0.7", 1500, 1500),
        ] {
            for vlan in [None, Some(5)] {
                assert_eq!(entry_of(mode, &hop(vlan), &tunnel(), backend).max_len, direct);
                let address = backend.parse().expect("address");
                for (tunnel, fits) in [(tunnel(), direct), (header.clone(), with_header)] {
                    assert_eq!(path_mtu::overhead(mode, address, &tunnel), 1500 - fits, "as warnings say");
                }
                assert_eq!(entry_of(mode, &hop(vlan), &header, backend).max_len, with_header);
            }
        }
        let unknown = NextHop { mtu: 0, ..hop(None) };
        assert_eq!(entry_of(Mode::Gue, &unknown, &tunnel(), "10.0.0.7").max_len, 65_535 - 28);
    }
}
