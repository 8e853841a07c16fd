//! Echo requests for a vip's address: answered here, when its owner wants it (RFC 792; RFC 4443, section 4.2).
//!
//! The request becomes its reply in place, with its identification, data and options; checksums are updated, not made anew,
//! so that a request that was broken on its way gives a reply that is. A source route is not turned round: requests with one
//! are dropped, as Linux hosts do.

use lb_common::abi::{Bucket, Reason, Target};
use lb_common::checksum;
use lb_common::headers::{Icmp, Ipv4, Ipv6, words_v6};

use super::reply::{ECN, TTL, held, may_answer_v4, may_answer_v6, spend, swap_macs};
use super::upper::Upper;
use crate::gate::client_v4;
use crate::tables::StageTables;
use crate::{Frame, vip};

/// Answers an IPv4 request.
///
/// # Errors
/// Why there is no answer; the frame is as it came then, unless the packet is dropped.
#[inline(always)]
pub(super) fn answer_v4<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ip: &Ipv4,
    upper: &Upper,
) -> Result<(), Reason> {
    let _mac = held(tables, client_v4(u32::from_le_bytes(ip.destination)), Reason::Icmp)?;
    let directory = tables.directory().ok_or(Reason::Icmp)?;
    let address = vip::find_address_v4(directory, u32::from_le_bytes(ip.destination));
    let address = address.ok_or(Reason::Icmp)?;
    wants_answers(address)?;
    may_answer_v4(directory, ip.source)?;
    if has_source_route(frame, offset, upper)? {
        return Err(Reason::SourceRoute);
    }
    spend(tables, directory, Bucket::Echo)?;
    turn_v4(frame, offset)?;
    become_reply_v4(frame, upper.start)
}

/// Answers an IPv6 request.
///
/// # Errors
/// Why there is no answer; the frame is as it came then, unless the packet is dropped.
#[inline(always)]
pub(super) fn answer_v6<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    offset: usize,
    ip: &Ipv6,
    upper: &Upper,
) -> Result<(), Reason> {
    let _mac = held(tables, words_v6(ip.destination), Reason::Icmp)?;
    let directory = tables.directory().ok_or(Reason::Icmp)?;
    let address = vip::find_address_v6(directory, words_v6(ip.destination)).ok_or(Reason::Icmp)?;
    wants_answers(address)?;
    may_answer_v6(directory, ip.source)?;
    spend(tables, directory, Bucket::Echo)?;
    turn_v6(frame, offset)?;
    become_reply_v6(frame, upper.start)
}

/// An address that takes nothing but its vips' packets takes no requests either, although the kernel may have it.
#[inline(always)]
fn wants_answers(address: &Target) -> Result<(), Reason> {
    if address.has(Target::ANSWER_ECHO) {
        return Ok(());
    }
    Err(if address.has(Target::UNKNOWN_DROP) { Reason::ClosedPort } else { Reason::Icmp })
}

/// Sends the packet whose IPv4 header starts at `offset` back, whatever it carries.
///
/// # Errors
/// When the frame was sent to or by a group.
#[inline(always)]
pub(super) fn turn_v4<F: Frame>(frame: &mut F, offset: usize) -> Result<(), Reason> {
    swap_macs(frame)?;
    let ip: &mut Ipv4 = frame.at_mut(offset).ok_or(Reason::Truncated)?;
    (ip.source, ip.destination) = (ip.destination, ip.source);
    let tos = ip.tos & !ECN;
    let old = u32::from(u16::from_ne_bytes([ip.version_ihl, ip.tos]));
    let checksum = u16::from_ne_bytes(ip.checksum);
    let checksum = checksum::update(checksum, old as u16, u16::from_ne_bytes([ip.version_ihl, tos]));
    let old = u16::from_ne_bytes([ip.ttl, ip.protocol]);
    let checksum = checksum::update(checksum, old, u16::from_ne_bytes([TTL, ip.protocol]));
    ip.tos = tos;
    ip.ttl = TTL;
    ip.checksum = checksum.to_ne_bytes();
    Ok(())
}

/// Makes the request whose ICMP header is at `at` a reply.
#[inline(always)]
pub(super) fn become_reply_v4<F: Frame>(frame: &mut F, at: usize) -> Result<(), Reason> {
    let icmp: &mut Icmp = frame.at_mut(at).ok_or(Reason::Truncated)?;
    icmp.checksum = reply_checksum_v4(icmp).to_ne_bytes();
    icmp.kind = Icmp::ECHO_REPLY;
    Ok(())
}

/// The same as [`turn_v4`] for IPv6.
///
/// # Errors
/// As there.
#[inline(always)]
pub(super) fn turn_v6<F: Frame>(frame: &mut F, offset: usize) -> Result<(), Reason> {
    swap_macs(frame)?;
    let ip: &mut Ipv6 = frame.at_mut(offset).ok_or(Reason::Truncated)?;
    (ip.source, ip.destination) = (ip.destination, ip.source);
    // ECN is the lower half of the traffic class, which lies across both bytes.
    ip.version_class_label[1] &= !(ECN << 4);
    ip.hop_limit = TTL;
    Ok(())
}

/// Makes the request whose ICMP header is at `at` a reply.
#[inline(always)]
pub(super) fn become_reply_v6<F: Frame>(frame: &mut F, at: usize) -> Result<(), Reason> {
    let icmp: &mut Icmp = frame.at_mut(at).ok_or(Reason::Truncated)?;
    icmp.checksum = reply_checksum_v6(icmp).to_ne_bytes();
    icmp.kind = Icmp::V6_ECHO_REPLY;
    Ok(())
}

/// The checksum of the reply to an IPv4 request. What was all zeros but for the kind sums up to a zero that only 0xffff
/// completes; for any other message that comes to zero here, 0xffff is as good: both are zero in ones' complement.
#[inline(always)]
fn reply_checksum_v4(request: &Icmp) -> u16 {
    let word = |kind| u16::from_ne_bytes([kind, request.code]);
    let checksum = u16::from_ne_bytes(request.checksum);
    match checksum::update(checksum, word(request.kind), word(Icmp::ECHO_REPLY)) {
        0 => u16::MAX,
        sum => sum,
    }
}

/// The checksum of the reply to an IPv6 request; the pseudo header is never all zeros.
#[inline(always)]
fn reply_checksum_v6(request: &Icmp) -> u16 {
    let word = |kind| u16::from_ne_bytes([kind, request.code]);
    let checksum = u16::from_ne_bytes(request.checksum);
    checksum::update(checksum, word(request.kind), word(Icmp::V6_ECHO_REPLY))
}

/// Whether there is a loose or strict source route among the IPv4 options (RFC 791, section 3.1).
///
/// # Errors
/// When the options are malformed.
#[inline(always)]
fn has_source_route<F: Frame>(frame: &F, offset: usize, upper: &Upper) -> Result<bool, Reason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    /// Most bytes of options.
    const MOST: usize = 40;
    let options = offset + size_of::<Ipv4>();
    let len = upper.start.saturating_sub(options);
    // Where the next option begins. It is compared only: as an offset it would have one more value in each round, and the
    // verifier would follow all of them.
    let mut next = 0;
    for at in 0..MOST {
        if at >= len {
            break;
        }
        // ICMP follows: two bytes are always there.
        let [kind, option_len] = *frame.at::<[u8; 2]>(options + at).ok_or(Reason::Truncated)?;
        if at < next {
            continue;
        }
        match kind {
            END => break,
            NO_OPERATION => next = at + 1,
            LOOSE | STRICT => return Ok(true),
            _ if option_len < 2 => return Err(Reason::IcmpMalformed),
            _ => next = at + usize::from(option_len),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(words: &[u16]) -> u16 {
        checksum::fold(words.iter().map(|word| u32::from(*word)).sum())
    }

    fn be(number: u16) -> u16 {
        u16::from_ne_bytes(number.to_be_bytes())
    }

    /// For every sum that identifier, sequence number and data can have together, in both of its zeros.
    #[test]
    fn every_reply_has_a_checksum_that_receivers_accept() {
        for code in [0, 1, 0xff] {
            for rest in 0..=u16::MAX {
                let first = u16::from_ne_bytes([Icmp::ECHO_REQUEST, code]);
                let request = Icmp {
                    kind: Icmp::ECHO_REQUEST,
                    code,
                    checksum: (!sum(&[first, rest])).to_ne_bytes(),
                    rest: [0; 4],
                };
                let reply = reply_checksum_v4(&request);
                let first = u16::from_ne_bytes([Icmp::ECHO_REPLY, code]);
                assert_eq!(sum(&[first, rest, reply]), 0xffff, "data that sums up to {rest:#x}");
                let anew = !sum(&[first, rest]);
                assert!(reply == anew || (reply, anew) == (0xffff, 0), "{reply:#x} for {anew:#x}");
            }
        }
    }

    #[test]
    fn every_reply_over_ipv6_has_the_checksum_of_a_full_computation() {
        // Never zero: addresses, length and next header are in it.
        for rest in 1..=u16::MAX {
            let first = u16::from_ne_bytes([Icmp::V6_ECHO_REQUEST, 0]);
            let checksum = (!sum(&[first, rest])).to_ne_bytes();
            let request = Icmp { kind: Icmp::V6_ECHO_REQUEST, code: 0, checksum, rest: [0; 4] };
            let first = u16::from_ne_bytes([Icmp::V6_ECHO_REPLY, 0]);
            assert_eq!(reply_checksum_v6(&request), !sum(&[first, rest]), "data that sums up to {rest:#x}");
        }
    }

    #[test]
    fn a_broken_request_gives_a_broken_reply() {
        for checksum in 0..=u16::MAX {
            let request = Icmp {
                kind: Icmp::ECHO_REQUEST,
                code: 0,
                checksum: checksum.to_ne_bytes(),
                rest: [0, 1, 0, 2],
            };
            let is_right = sum(&[be(0x0800), be(1), be(2), checksum]) == 0xffff;
            let reply = reply_checksum_v4(&request);
            assert_eq!(sum(&[0, be(1), be(2), reply]) == 0xffff, is_right, "{checksum:#x}");
        }
    }
}
