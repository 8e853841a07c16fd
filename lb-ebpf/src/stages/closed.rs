//! An address of a vip, but no vip for the packet: passed, dropped or rejected, as the address says. An address that says
//! nothing is the host's business: the packet may be for a service of the host itself. What this balancer has wrapped
//! itself, and comes back, is dropped whatever the address says.
//!
//! A reject says what a host without the service would: a reset for TCP, "port unreachable" for UDP, and for other
//! protocols that there is none such (RFC 1122, section 3.2.2.1; RFC 4443, sections 3.1 and 3.4).

use core::mem::offset_of;

use lb_common::abi::{Bucket, Directory, MAX_TUNNEL_SOURCES, Reason, Target};
use lb_common::headers::{Extension, Icmp, Ipv4, Ipv6, Udp, words_v6};

use super::reply::{error_v4, error_v6, may_answer_v4, may_answer_v6, spend};
use super::reset;
use super::upper::{Upper, upper_v4, upper_v6};
use crate::gate::client_v4;
use crate::parse::{self, MAX_EXTENSIONS, TCP, UDP};
use crate::tables::StageTables;
use crate::{Frame, Verdict, ether_type, vip};

const PROTOCOL_UNREACHABLE: u8 = 2;
const PORT_UNREACHABLE: u8 = 3;
const V6_PORT_UNREACHABLE: u8 = 4;
const V6_UNKNOWN_NEXT_HEADER: u8 = 1;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
/// Nothing follows (RFC 8200, section 4.7).
const NO_NEXT_HEADER: u8 = 59;

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn closed<F: Frame, T: StageTables>(frame: &mut F, tables: &T, _ingress: u32) -> Result<Verdict, Reason> {
    let directory = tables.directory().ok_or(Reason::NoService)?;
    match parse::link(frame)? {
        (ether_type::IPV4, offset) => closed_v4(frame, tables, directory, offset)?,
        (ether_type::IPV6, offset) => closed_v6(frame, tables, directory, offset)?,
        _ => {}
    }
    Err(Reason::RejectReply)
}

#[inline(always)]
fn closed_v4<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    offset: usize,
) -> Result<(), Reason> {
    let ip: Ipv4 = *frame.at(offset).ok_or(Reason::Malformed)?;
    let upper = upper_v4(frame, &ip, offset)?;
    let address = vip::find_address_v4(directory, u32::from_le_bytes(ip.destination));
    if address.is_some() {
        refuse_own(frame, directory, client_v4(u32::from_le_bytes(ip.source)), &upper)?;
    }
    settle(address, &upper)?;
    may_answer_v4(directory, ip.source)?;
    if upper.protocol == TCP {
        let reset = reset::to(frame, &upper)?;
        spend(tables, directory, Bucket::Reject)?;
        return reset::send_v4(frame, offset, &ip, &reset);
    }
    spend(tables, directory, Bucket::Reject)?;
    let code = if upper.protocol == UDP { PORT_UNREACHABLE } else { PROTOCOL_UNREACHABLE };
    error_v4(frame, offset, message(Icmp::UNREACHABLE, code, 0))
}

#[inline(always)]
fn closed_v6<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    offset: usize,
) -> Result<(), Reason> {
    let ip: Ipv6 = *frame.at(offset).ok_or(Reason::Malformed)?;
    let upper = upper_v6(frame, &ip, offset)?;
    let address = vip::find_address_v6(directory, words_v6(ip.destination));
    if address.is_some() {
        refuse_own(frame, directory, words_v6(ip.source), &upper)?;
    }
    settle(address, &upper)?;
    may_answer_v6(directory, ip.source)?;
    if upper.protocol == TCP {
        let reset = reset::to(frame, &upper)?;
        spend(tables, directory, Bucket::Reject)?;
        return reset::send_v6(frame, offset, &ip, &reset);
    }
    if upper.protocol == NO_NEXT_HEADER {
        return Err(Reason::ClosedPort);
    }
    spend(tables, directory, Bucket::Reject)?;
    let message = if upper.protocol == UDP {
        message(Icmp::V6_UNREACHABLE, V6_PORT_UNREACHABLE, 0)
    } else {
        let named_at = named_at(frame, offset, &upper)?;
        message(Icmp::V6_PARAMETER_PROBLEM, V6_UNKNOWN_NEXT_HEADER, named_at as u32)
    };
    error_v6(frame, offset, message)
}

/// Refuses what this balancer has wrapped itself. Where a vip's address is a backend's too, and the packet's way to the
/// backend leads back here, it would go round and grow by a header each time.
#[inline(always)]
fn refuse_own<F: Frame>(
    frame: &F,
    directory: &Directory,
    source: [u64; 2],
    upper: &Upper,
) -> Result<(), Reason> {
    let tunnels = &directory.control.tunnels;
    let wrapped = match upper.protocol {
        IPV4_IN_IP | IPV6_IN_IP => true,
        UDP => {
            let udp: &Udp = frame.at(upper.start).ok_or(Reason::Truncated)?;
            u64::from(u16::from_be_bytes(udp.ports.destination)) == tunnels.gue_port
        }
        _ => false,
    };
    if !wrapped {
        return Ok(());
    }
    for number in 0..MAX_TUNNEL_SOURCES {
        if tunnels.sources[number].holds(source) {
            return Err(Reason::Loop);
        }
    }
    Ok(())
}

/// `Ok` when the address wants the packet rejected.
#[inline(always)]
fn settle(address: Option<&Target>, upper: &Upper) -> Result<(), Reason> {
    match address {
        Some(address) if address.has(Target::UNKNOWN_REJECT) => Ok(()),
        Some(address) if address.has(Target::UNKNOWN_DROP) => Err(Reason::ClosedPort),
        _ if upper.protocol == TCP || upper.protocol == UDP => Err(Reason::NoService),
        _ => Err(Reason::OtherProtocol),
    }
}

/// Where, counted from the IPv6 header, the upper layer's protocol is named: in the last header before it.
#[inline(always)]
fn named_at<F: Frame>(frame: &F, offset: usize, upper: &Upper) -> Result<usize, Reason> {
    let mut named_at = offset_of!(Ipv6, next_header);
    let mut next = size_of::<Ipv6>();
    for _ in 0..MAX_EXTENSIONS {
        if offset + next >= upper.start {
            break;
        }
        let extension: &Extension = frame.at(offset + next).ok_or(Reason::Truncated)?;
        named_at = next;
        next += (usize::from(extension.len) + 1) * 8;
    }
    Ok(named_at)
}

const fn message(kind: u8, code: u8, rest: u32) -> Icmp {
    Icmp { kind, code, checksum: [0; 2], rest: rest.to_be_bytes() }
}
