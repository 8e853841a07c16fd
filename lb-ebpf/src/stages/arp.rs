//! ARP: requests for announced addresses are answered in place (RFC 826), with the tags they came with. All other ARP is the
//! kernel's.
//!
//! A probe, from a host that has no address yet, is answered like any request: that defends the address (RFC 5227, section
//! 2.4). An announcement of the address by another host is not: there is nothing to tell it. Nor is a request for a virtual
//! router's address while this node does not have it.

use lb_common::abi::{Interface, Reason, Target};
use lb_common::headers::{Arp, Be16, Ethernet};

use super::receiver::receiver;
use super::reply::{answering_mac, held, is_host_v4, same_mac};
use crate::gate::client_v4;
use crate::tables::StageTables;
use crate::{Frame, Verdict, ether_type, parse, vip};

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn arp<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let (_, offset) = parse::link(frame)?;
    let request: Arp = *frame.at(offset).ok_or(Reason::Arp)?;
    if !is_request(&request) || request.sender == request.target {
        return Err(Reason::Arp);
    }
    let mac = held(tables, client_v4(u32::from_le_bytes(request.target)), Reason::Arp)?;
    answer(frame, tables, offset, &request, mac, ingress).ok_or(Reason::Arp)?;
    Err(Reason::ArpReply)
}

/// Turns a request into its reply. `None`, with the frame as it came, when there is nothing to answer.
#[inline(always)]
fn answer<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    request: &Arp,
    held: [u8; 6],
    ingress: u32,
) -> Option<()> {
    let target = u32::from_le_bytes(request.target);
    let address = vip::find_address_v4(tables.directory()?, target)?;
    if !address.has(Target::ANSWER_NEIGHBOURS) {
        return None;
    }
    let Interface { mac, places, .. } = receiver(frame, tables, ingress)?;
    let mac = answering_mac(held, mac);
    if !address.answers_in(places) {
        return None;
    }
    let sender = u32::from_le_bytes(request.sender);
    let is_host = sender == 0 || is_host_v4(request.sender);
    let is_group = request.sender_mac[0] & 1 != 0;
    if !is_host || is_group || same_mac(request.sender_mac, mac) {
        return None;
    }
    let reply = Arp {
        operation: Be16::new(Arp::REPLY),
        sender_mac: mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
        ..*request
    };
    let ethernet: &mut Ethernet = frame.at_mut(0)?;
    ethernet.destination = request.sender_mac;
    ethernet.source = mac;
    *frame.at_mut(offset)? = reply;
    Some(())
}

#[inline(always)]
const fn is_request(arp: &Arp) -> bool {
    arp.hardware_type.get() == Arp::ETHERNET
        && arp.protocol_type.get() == ether_type::IPV4
        && arp.hardware_len == 6
        && arp.protocol_len == 4
        && arp.operation.get() == Arp::REQUEST
}
