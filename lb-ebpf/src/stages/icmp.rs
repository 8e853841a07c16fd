//! ICMP and ICMPv6 for a vip's address: errors go to the backend of the flow that they are about, echo requests and
//! neighbour solicitations are answered, the rest is the kernel's.

use lb_common::abi::Reason;
use lb_common::headers::{Icmp, Ipv4, Ipv6};

use super::upper::{Upper, upper_v4, upper_v6};
use super::{echo, icmp_error, neighbour};
use crate::parse::{self, ICMP, ICMPV6};
use crate::tables::StageTables;
use crate::{Frame, Verdict, ether_type};

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn icmp<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    match parse::link(frame)? {
        (ether_type::IPV4, offset) => icmp_v4(frame, tables, offset, ingress),
        (ether_type::IPV6, offset) => icmp_v6(frame, tables, offset, ingress),
        _ => Err(Reason::Icmp),
    }
}

#[inline(always)]
fn icmp_v4<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: Ipv4 = *frame.at(offset).ok_or(Reason::Malformed)?;
    let upper = upper_v4(frame, &ip, offset)?;
    if upper.protocol != ICMP {
        return Err(Reason::Icmp);
    }
    match kind(frame, &upper)? {
        Icmp::UNREACHABLE | Icmp::TIME_EXCEEDED | Icmp::PARAMETER_PROBLEM => {
            icmp_error::follow_v4(frame, tables, offset, &ip, &upper, ingress)
        }
        Icmp::ECHO_REQUEST => {
            echo::answer_v4(frame, tables, offset, &ip, &upper)?;
            Err(Reason::EchoReply)
        }
        _ => Err(Reason::Icmp),
    }
}

#[inline(always)]
fn icmp_v6<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let ip: Ipv6 = *frame.at(offset).ok_or(Reason::Malformed)?;
    let upper = upper_v6(frame, &ip, offset)?;
    if upper.protocol != ICMPV6 {
        return Err(Reason::Icmp);
    }
    match kind(frame, &upper)? {
        Icmp::V6_UNREACHABLE
        | Icmp::V6_PACKET_TOO_BIG
        | Icmp::V6_TIME_EXCEEDED
        | Icmp::V6_PARAMETER_PROBLEM => icmp_error::follow_v6(frame, tables, offset, &ip, &upper, ingress),
        Icmp::V6_ECHO_REQUEST => {
            echo::answer_v6(frame, tables, offset, &ip, &upper)?;
            Err(Reason::EchoReply)
        }
        Icmp::V6_NEIGHBOUR_SOLICITATION => {
            neighbour::answer(frame, tables, offset, &ip, &upper, ingress)?;
            Err(Reason::NeighbourReply)
        }
        _ => Err(Reason::Icmp),
    }
}

#[inline(always)]
fn kind<F: Frame>(frame: &F, upper: &Upper) -> Result<u8, Reason> {
    if upper.len() < size_of::<Icmp>() {
        return Err(Reason::IcmpMalformed);
    }
    Ok(frame.at::<Icmp>(upper.start).ok_or(Reason::IcmpMalformed)?.kind)
}
