//! IP in IP: an outer IPv4 or IPv6 header and nothing else.

use lb_common::abi::{Dest, Reason};
use lb_common::checksum;

use super::{Fit, Inner, V4, V6, give_back, make_room, put, put_link, spend_hop, take};
use crate::Frame;

/// `L2` bytes of Ethernet, then IPv4 (RFC 2003, RFC 4213), then the inner header: `ALL` bytes together.
#[inline(always)]
pub(super) fn outer_v4<F: Frame, const L2: usize, const ALL: usize, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    let all: &mut [u8; ALL] = make_room(frame, L2 + V4, offset)?;
    let inner = Inner::read::<ALL, INNER_V6>(all, L2 + V4);
    if fit.is_missed(inner.len, dest) {
        return give_back(frame, L2 + V4, offset);
    }
    spend_hop::<ALL, INNER_V6>(all, L2 + V4)?;
    put_link::<L2, ALL>(all, dest);
    header_v4(&mut all[L2..], &dest.head[L2..], dest, &inner, inner.len + V4 as u32, entropy);
    Ok(inner.len)
}

/// Writes an outer IPv4 header for a packet of `len` bytes in all to the start of `to`, from its template.
#[inline(always)]
pub(super) fn header_v4(to: &mut [u8], template: &[u8], dest: &Dest, inner: &Inner, len: u32, entropy: u32) {
    let [_, _, len_0, len_1] = len.to_be_bytes();
    let first = u32::from_ne_bytes([0x45, inner.outer_tos(dest), len_0, len_1]);
    // Both addresses as one word.
    let addresses = u64::from_le_bytes(take(template, 12)) | u64::from((entropy & dest.source_mask).to_le());
    let source = u64::from((addresses as u32).to_le());
    let [ttl, protocol] = take(template, 8);
    let sum = u64::from(dest.checksum) + u64::from(first) + u64::from(inner.id_flags) + source;
    let [sum_0, sum_1] = (!checksum::fold64(sum)).to_ne_bytes();
    put(to, 0, first.to_ne_bytes());
    put(to, 4, inner.id_flags.to_ne_bytes());
    put(to, 8, [ttl, protocol, sum_0, sum_1]);
    put(to, 12, addresses.to_le_bytes());
}

/// `L2` bytes of Ethernet, then IPv6 (RFC 2473), then the inner header: `ALL` bytes together. The flow label carries
/// entropy (RFC 6438).
#[inline(always)]
pub(super) fn outer_v6<F: Frame, const L2: usize, const ALL: usize, const INNER_V6: bool>(
    frame: &mut F,
    offset: usize,
    dest: &Dest,
    entropy: u32,
    fit: Fit,
) -> Result<u32, Reason> {
    let all: &mut [u8; ALL] = make_room(frame, L2 + V6, offset)?;
    let inner = Inner::read::<ALL, INNER_V6>(all, L2 + V6);
    if fit.is_missed(inner.len, dest) {
        return give_back(frame, L2 + V6, offset);
    }
    spend_hop::<ALL, INNER_V6>(all, L2 + V6)?;
    put_link::<L2, ALL>(all, dest);
    header_v6(&mut all[L2..], &dest.head[L2..], dest, &inner, inner.len, entropy);
    Ok(inner.len)
}

/// Writes an outer IPv6 header for `payload` bytes to the start of `to`, from its template.
#[inline(always)]
pub(super) fn header_v6(
    to: &mut [u8],
    template: &[u8],
    dest: &Dest,
    inner: &Inner,
    payload: u32,
    entropy: u32,
) {
    let first = 6 << 28 | u32::from(inner.outer_tos(dest)) << 20 | entropy & 0x000f_ffff;
    let [_, _, len_0, len_1] = payload.to_be_bytes();
    let [next_header, hop_limit] = take(template, 6);
    let source = u32::from_ne_bytes(take(template, 20)) | entropy & dest.source_mask;
    put(to, 0, first.to_be_bytes());
    put(to, 4, [len_0, len_1, next_header, hop_limit]);
    put(to, 8, take::<8>(template, 8));
    put(to, 16, take::<4>(template, 16));
    put(to, 20, source.to_ne_bytes());
    put(to, 24, take::<8>(template, 24));
    put(to, 32, take::<8>(template, 32));
}
