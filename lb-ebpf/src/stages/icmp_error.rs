//! ICMP errors about what a backend has sent from a vip: they belong to the flow, so they go to its backend.
//!
//! ```text
//! | IP: router -> vip | ICMP error | IP: vip -> client | ports ... |        the quoted packet, turned round, is the flow's
//! ```
//!
//! The eight bytes of RFC 792 behind the quoted header are enough: the ports are in them. Access lists and limits of the
//! vip are not asked, the flow is established; nor are they counted as new flows.

use lb_common::abi::{Reason, Target};
use lb_common::hash;
use lb_common::headers::{Icmp, Ipv4, Ipv6, Ports, words_v6};

use super::upper::Upper;
use crate::forward::{Flow, follow};
use crate::gate::{Asks, VipAddress, Visit, admit, client_v4};
use crate::parse::{self, FRAGMENT, MAX_EXTENSIONS, Packet, TCP, UDP};
use crate::tables::StageTables;
use crate::{Frame, Verdict, vip};

/// Of a vip's policy, only its routes count.
const ROUTES: Asks = Asks { access: false, limits: false };

/// Sends an IPv4 error on.
///
/// # Errors
/// Why it is not forwarded: [`stray`] when it is about nothing that a vip has sent.
#[inline(always)]
pub(super) fn follow_v4<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ip: &Ipv4,
    upper: &Upper,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let directory = tables.directory().ok_or(Reason::NotVip)?;
    let address = u32::from_le_bytes(ip.destination);
    let stray = || stray(vip::find_address_v4(directory, address));
    let start = upper.start + size_of::<Icmp>();
    let quoted: Ipv4 = *frame.at(start).ok_or(Reason::IcmpMalformed)?;
    let header_len = usize::from(quoted.version_ihl & 0x0f) * 4;
    let ports_at = start + header_len;
    if quoted.version_ihl >> 4 != 4 || header_len < size_of::<Ipv4>() || !is_whole(ports_at, upper) {
        return Err(Reason::IcmpMalformed);
    }
    if quoted.source != ip.destination || quoted.flags_offset.get() & Ipv4::OFFSET != 0 {
        return Err(stray());
    }
    let packet = clients_packet(frame, quoted.protocol, ports_at)?.ok_or_else(stray)?;
    let target = vip::find_v4(directory, address, &packet).ok_or_else(stray)?;
    let client = u32::from_le_bytes(quoted.destination);
    let (visited, mapped) = (VipAddress::V4(address), client_v4(client));
    let visit = Visit { directory, target, address: visited, packet: &packet, client: mapped };
    let target = admit(tables, &visit, ROUTES)?;
    let hash = hash::flow_hash_v4(client, packet.ports() & target.ports_mask, directory.control.seed);
    let (ports, seed) = (packet.ports(), directory.control.seed);
    let key = || hash::flow_key_v4(client, address, ports, quoted.protocol, seed);
    follow::<F, T, false>(frame, tables, &Flow { packet, target, hash, ingress }, offset, key)
}

/// Sends an IPv6 error on.
///
/// # Errors
/// As [`follow_v4`].
#[inline(always)]
pub(super) fn follow_v6<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ip: &Ipv6,
    upper: &Upper,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let directory = tables.directory().ok_or(Reason::NotVip)?;
    let address = words_v6(ip.destination);
    let stray = || stray(vip::find_address_v6(directory, address));
    let start = upper.start + size_of::<Icmp>();
    let quoted: &Ipv6 = frame.at(start).ok_or(Reason::IcmpMalformed)?;
    if quoted.version_class_label[0] >> 4 != 6 {
        return Err(Reason::IcmpMalformed);
    }
    let client = words_v6(quoted.destination);
    if words_v6(quoted.source) != address {
        return Err(stray());
    }
    let (protocol, ports_at) =
        first_upper(frame, quoted.next_header, start + size_of::<Ipv6>())?.ok_or_else(stray)?;
    if !is_whole(ports_at, upper) {
        return Err(Reason::IcmpMalformed);
    }
    let packet = clients_packet(frame, protocol, ports_at)?.ok_or_else(stray)?;
    let target = vip::find_v6(directory, address, &packet).ok_or_else(stray)?;
    let visit = Visit { directory, target, address: VipAddress::V6(address), packet: &packet, client };
    let target = admit(tables, &visit, ROUTES)?;
    let hash = hash::flow_hash_v6(client, packet.ports() & target.ports_mask, directory.control.seed);
    let (ports, seed) = (packet.ports(), directory.control.seed);
    let key = || hash::flow_key_v6(client, address, ports, protocol, seed);
    follow::<F, T, true>(frame, tables, &Flow { packet, target, hash, ingress }, offset, key)
}

/// What becomes of an error that no flow of a vip is the subject of. An address that the program announces is nobody
/// else's; any other may be the host's own, whose sockets the error may be for.
#[inline(always)]
fn stray(address: Option<&Target>) -> Reason {
    match address {
        Some(address) if address.has(Target::ANSWER_NEIGHBOURS) => Reason::IcmpStray,
        _ => Reason::Icmp,
    }
}

/// Whether the error holds the quoted packet's ports.
#[inline(always)]
const fn is_whole(ports_at: usize, upper: &Upper) -> bool {
    ports_at + size_of::<Ports>() <= upper.end
}

/// A packet of the client in the flow whose other half was quoted. `None` for protocols that vips do not have.
#[inline(always)]
fn clients_packet<F: Frame>(frame: &F, protocol: u8, ports_at: usize) -> Result<Option<Packet>, Reason> {
    let quoted: &Ports = frame.at(ports_at).ok_or(Reason::IcmpMalformed)?;
    let ports = hash::ports_word(quoted.destination, quoted.source);
    Ok(if protocol == TCP || protocol == UDP { Some(Packet::of_flow(protocol, ports)) } else { None })
}

/// Walks the quoted packet's extension headers; unlike in a packet's own, a first fragment's may be among them. `None` for
/// later fragments and chains that are too long.
#[inline(always)]
fn first_upper<F: Frame>(
    frame: &F,
    mut protocol: u8,
    mut offset: usize,
) -> Result<Option<(u8, usize)>, Reason> {
    for _ in 0..MAX_EXTENSIONS {
        let len = match protocol {
            FRAGMENT => {
                let head: &[u8; 4] = frame.at(offset).ok_or(Reason::IcmpMalformed)?;
                // RFC 8200, section 4.5: the offset is the upper 13 bits.
                if u16::from_be_bytes([head[2], head[3]]) & 0xfff8 != 0 {
                    return Ok(None);
                }
                protocol = head[0];
                8
            }
            _ if parse::is_option(protocol) => {
                let head: &[u8; 2] = frame.at(offset).ok_or(Reason::IcmpMalformed)?;
                protocol = head[0];
                (usize::from(head[1]) + 1) * 8
            }
            _ => return Ok(Some((protocol, offset))),
        };
        offset += len;
    }
    Ok(if protocol == FRAGMENT || parse::is_option(protocol) { None } else { Some((protocol, offset)) })
}
