//! Packets that are too large for the way to their backend: the sender is told what fits. IPv4 packets that may be
//! fragmented are given to the kernel behind their outer header instead, when the configuration says so.
//!
//! ```text
//! before   | Ethernet, tags | IP ...
//! answer   | Ethernet, tags | IP | ICMP | IP ...          (sender and receiver exchanged, the packet cut off)
//! kernel   | Ethernet, tags | outer IP | IP ...           (Ethernet and tags as they came)
//! ```
//!
//! The dest is the one that the program before has noted. Found anew it might be another one, since user space changes
//! the tables at any moment, and the answer would name a size that has nothing to do with the packet.

use lb_common::abi::{Bucket, Dest, Directory, Found, Reason};
use lb_common::headers::{Ethernet, Icmp, Ipv4, Ipv6};

use super::reply::{self, Link};
use crate::encap::{Fit, outer};
use crate::parse::{self, ICMP, ICMPV6};
use crate::tables::StageTables;
use crate::{Frame, Leave, Verdict, encap, ether_type};

/// The smallest MTU of a link that IPv6 knows (RFC 8200, section 5).
const MIN_MTU_V6: u32 = 1280;
/// "Fragmentation needed", a code of [`Icmp::UNREACHABLE`].
const FRAGMENTATION_NEEDED: u8 = 4;

/// Decides about one packet that does not fit the way to the dest it was found to be for.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn too_big<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    _ingress: u32,
) -> Result<Verdict, Reason> {
    let found = tables.found().ok_or(Reason::TooBig)?;
    let dest = tables.dest(found.dest).ok_or(Reason::NoDest)?;
    let directory = tables.directory().ok_or(Reason::TooBig)?;
    let (ether_type, offset) = parse::link(frame)?;
    if ether_type == ether_type::IPV6 {
        answer_v6(frame, tables, directory, offset, dest.max_len)?;
        return Err(Reason::TooBigReply);
    }
    let ip: Ipv4 = *frame.at(offset).ok_or(Reason::TooBig)?;
    if ip.flags_offset.get() & Ipv4::DF == 0 {
        return to_kernel(frame, directory, &ip, offset, (&found, dest));
    }
    answer_v4(frame, tables, directory, &ip, offset, dest.max_len)?;
    Err(Reason::TooBigReply)
}

/// "Destination unreachable, fragmentation needed" with the next hop's MTU (RFC 792; RFC 1191, section 4).
#[inline(always)]
fn answer_v4<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    ip: &Ipv4,
    offset: usize,
    mtu: u32,
) -> Result<(), Reason> {
    // RFC 1122, section 3.2.2: not about fragments but the first, nor about errors.
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    if ip.flags_offset.get() & Ipv4::OFFSET != 0
        || ip.protocol == ICMP && is_error_v4(frame, offset + header_len)
    {
        return Err(Reason::TooBig);
    }
    reply::may_answer_v4(directory, ip.source)?;
    reply::spend(tables, directory, Bucket::TooBig)?;
    let [_, _, mtu_0, mtu_1] = mtu.to_be_bytes();
    let message = Icmp {
        kind: Icmp::UNREACHABLE,
        code: FRAGMENTATION_NEEDED,
        checksum: [0; 2],
        rest: [0, 0, mtu_0, mtu_1],
    };
    reply::error_v4(frame, offset, message)
}

/// ICMPv6 "packet too big" (RFC 4443, section 3.2).
#[inline(always)]
fn answer_v6<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    directory: &Directory,
    offset: usize,
    mtu: u32,
) -> Result<(), Reason> {
    let ip: Ipv6 = *frame.at(offset).ok_or(Reason::TooBig)?;
    // No sender goes below the smallest MTU, so that there is no help for a packet that is not larger.
    let is_hopeless = size_of::<Ipv6>() as u32 + u32::from(ip.payload_len.get()) <= MIN_MTU_V6;
    // RFC 4443, section 2.4 (e): not about errors.
    if is_hopeless || is_error_v6(frame, &ip, offset) {
        return Err(Reason::TooBig);
    }
    reply::may_answer_v6(directory, ip.source)?;
    reply::spend(tables, directory, Bucket::TooBig)?;
    let mtu = if mtu < MIN_MTU_V6 { MIN_MTU_V6 } else { mtu };
    let message = Icmp { kind: Icmp::V6_PACKET_TOO_BIG, code: 0, checksum: [0; 2], rest: mtu.to_be_bytes() };
    reply::error_v6(frame, offset, message)
}

/// What cannot be read counts as an error: about less, less is said.
#[inline(always)]
fn is_error_v4<F: Frame>(frame: &F, at: usize) -> bool {
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    frame.at::<Icmp>(at).is_none_or(|icmp| {
        matches!(
            icmp.kind,
            Icmp::UNREACHABLE | SOURCE_QUENCH | REDIRECT | Icmp::TIME_EXCEEDED | Icmp::PARAMETER_PROBLEM
        )
    })
}

/// As [`is_error_v4`]: types below 128 are errors (RFC 4443, section 2.1), and a redirect counts as one. Fragments are not
/// looked into: no error is so large that its sender would have to cut it up.
#[inline(always)]
fn is_error_v6<F: Frame>(frame: &F, ip: &Ipv6, offset: usize) -> bool {
    const REDIRECT: u8 = 137;
    match parse::extensions(frame, ip.next_header, offset + size_of::<Ipv6>()) {
        Ok((ICMPV6, at)) => frame.at::<Icmp>(at).is_none_or(|icmp| icmp.kind < 128 || icmp.kind == REDIRECT),
        _ => false,
    }
}

/// Encapsulates a packet all the same, for the kernel to forward it in fragments.
#[inline(always)]
fn to_kernel<F: Frame>(
    frame: &mut F,
    directory: &Directory,
    ip: &Ipv4,
    offset: usize,
    (found, dest): (&Found, &Dest),
) -> Result<Verdict, Reason> {
    let start = outer::v4_start(dest.kind).ok_or(Reason::TooBig)?;
    if directory.control.answering.oversize_to_kernel == 0 {
        return Err(Reason::TooBig);
    }
    let Ethernet { destination, source, .. } = *frame.at(0).ok_or(Reason::TooBig)?;
    let link = Link::new(frame, offset, destination, source)?;
    let bytes = encap::encapsulate::<F, false>(frame, offset, dest, found.hash, Fit::Any)?;
    outer::tell_apart(frame, dest, ip.flags_offset.get() & Ipv4::OFFSET);
    frame.extend_front(offset as i32 - start as i32).ok_or(Reason::NoHeadroom)?;
    link.put(frame).ok_or(Reason::NoHeadroom)?;
    let Found { dest, vip, slot, opens_flow, .. } = *found;
    Ok(Verdict { leave: Leave::Kernel, vip, slot, dest, bytes, opens_flow: opens_flow != 0 })
}
