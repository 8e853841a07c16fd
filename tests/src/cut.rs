//! Cuts packets into fragments, as a sender or a router does, with headers of etherparse.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader};

const ETHERNET: usize = 14;
const IPV6: usize = 40;

/// The fragments of an untagged frame's packet: each carries `size` bytes, a multiple of 8, the last one the rest. The
/// fragment header of an IPv6 packet comes `unfragmentable` bytes behind the IPv6 header.
///
/// # Panics
/// When the frame carries no IP.
#[must_use]
pub fn cut_behind(frame: &[u8], id: u32, size: usize, unfragmentable: usize) -> Vec<Vec<u8>> {
    let (ethernet, packet) = frame.split_at(ETHERNET);
    match packet[0] >> 4 {
        4 => cut_v4(ethernet, packet, id, size),
        6 => cut_v6(ethernet, packet, id, size, IPV6 + unfragmentable),
        version => panic!("IP version {version}"),
    }
}

/// [`cut_behind`] without extension headers.
#[must_use]
pub fn cut(frame: &[u8], id: u32, size: usize) -> Vec<Vec<u8>> {
    cut_behind(frame, id, size, 0)
}

fn cut_v4(ethernet: &[u8], packet: &[u8], id: u32, size: usize) -> Vec<Vec<u8>> {
    let (mut header, payload) = Ipv4Header::from_slice(packet).expect("an IPv4 header");
    header.identification = id as u16;
    header.dont_fragment = false;
    pieces(payload, size)
        .map(|(offset, more, piece)| {
            header.fragment_offset = offset;
            header.more_fragments = more;
            header.total_len = (header.header_len() + piece.len()) as u16;
            header.header_checksum = header.calc_header_checksum();
            let mut frame = ethernet.to_vec();
            header.write(&mut frame).expect("a vector takes everything");
            [&frame, piece].concat()
        })
        .collect()
}

fn cut_v6(ethernet: &[u8], packet: &[u8], id: u32, size: usize, start: usize) -> Vec<Vec<u8>> {
    let (head, payload) = packet.split_at(start);
    let mut head = head.to_vec();
    // The next header is named in the IPv6 header, or in the one extension header behind it.
    let named_at = if start == IPV6 { 6 } else { IPV6 };
    let next = std::mem::replace(&mut head[named_at], IpNumber::IPV6_FRAGMENTATION_HEADER.0);
    pieces(payload, size)
        .map(|(offset, more, piece)| {
            let fragment = Ipv6FragmentHeader::new(IpNumber(next), offset, more, id).to_bytes();
            let len = (start - IPV6 + fragment.len() + piece.len()) as u16;
            head[4..6].copy_from_slice(&len.to_be_bytes());
            [ethernet, &head, &fragment, piece].concat()
        })
        .collect()
}

fn pieces(payload: &[u8], size: usize) -> impl Iterator<Item = (IpFragOffset, bool, &[u8])> {
    let count = payload.len().div_ceil(size);
    payload.chunks(size).enumerate().map(move |(number, piece)| {
        let offset = IpFragOffset::try_new((number * size / 8) as u16).expect("an offset");
        (offset, number + 1 < count, piece)
    })
}
