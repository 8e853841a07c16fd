//! Where a packet's upper layer begins and ends, whatever lies before it. The balancer has its own, faster way of asking
//! (`parse.rs`) and has refused what is malformed; stages ask again, since they read the packet anew.

use lb_common::abi::Reason;
use lb_common::headers::{Ipv4, Ipv6};

use crate::{Frame, parse};

/// The payload of a whole IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upper {
    pub(crate) protocol: u8,
    pub(crate) start: usize,
    /// Behind the packet's last byte; the frame holds it, perhaps in a further buffer.
    pub(crate) end: usize,
}

impl Upper {
    #[inline(always)]
    pub(crate) const fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// The payload of the IPv4 packet at `offset`.
///
/// # Errors
/// For fragments, and impossible lengths.
#[inline(always)]
pub(crate) fn upper_v4<F: Frame>(frame: &F, ip: &Ipv4, offset: usize) -> Result<Upper, Reason> {
    let header_len = usize::from(ip.version_ihl & 0x0f) * 4;
    let len = usize::from(ip.total_len.get());
    let sound = ip.version_ihl >> 4 == 4 && header_len >= size_of::<Ipv4>() && len >= header_len;
    if !sound || !parse::holds(frame, offset + len) {
        return Err(Reason::Truncated);
    }
    if ip.flags_offset.get() & Ipv4::FRAGMENT != 0 {
        return Err(Reason::Fragment);
    }
    Ok(Upper { protocol: ip.protocol, start: offset + header_len, end: offset + len })
}

/// The payload of the IPv6 packet at `offset`, behind extension headers.
///
/// # Errors
/// For fragments, impossible lengths, and extension headers that [`parse::extensions`] does not walk.
#[inline(always)]
pub(crate) fn upper_v6<F: Frame>(frame: &F, ip: &Ipv6, offset: usize) -> Result<Upper, Reason> {
    let start = offset + size_of::<Ipv6>();
    let end = start + usize::from(ip.payload_len.get());
    if ip.version_class_label[0] >> 4 != 6 || !parse::holds(frame, end) {
        return Err(Reason::Truncated);
    }
    let (protocol, start) = parse::extensions(frame, ip.next_header, start)?;
    Ok(Upper { protocol, start, end })
}
