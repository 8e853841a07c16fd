//! What routers say of the packets that this host sends to backends: how large one may be on the whole way. Pure.
//!
//! The kernel learns such sizes for packets of its own; those that XDP sends it has never seen, so that it does not
//! believe what is said of them. Without this, a link behind the first router that is narrower than the route says would
//! swallow large packets in silence (RFC 2003, section 5.1).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How long a size holds; then larger packets are tried again (RFC 1191 6.3, RFC 8201 4).
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Smaller sizes are not believed, as Linux does not (`net.ipv4.route.min_pmtu`); an attacker who could set them would cut
/// everything into crumbs.
const MIN_V4: u32 = 552;
/// RFC 8200, section 5.
const MIN_V6: u32 = 1280;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Of ICMP and ICMPv6, in front of the quoted packet.
const ICMP_LEN: usize = 8;
/// Protocols of the packets that go to backends: IPv4 and IPv6 in IP, UDP.
const TUNNELS: [u8; 3] = [4, 41, 17];

/// A packet to this address was too large for a link on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) destination: IpAddr,
    /// Bytes of IP packet that would have fitted.
    pub(super) mtu: u32,
}

/// What an IPv4 packet with "fragmentation needed" says (RFC 1191, section 4). The quoted packet must be one that the
/// receiver sends: from its own address, a tunnel's, and larger than what is said to fit.
pub(super) fn read_v4(packet: &[u8]) -> Option<Report> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let own = packet.get(16..IPV4_LEN)?;
    let message = packet.get(header_len.max(IPV4_LEN)..)?;
    let quoted = message.get(ICMP_LEN..ICMP_LEN + IPV4_LEN)?;
    if message[..2] != [3, 4] || quoted[0] >> 4 != 4 || &quoted[12..16] != own {
        return None;
    }
    let mtu = u32::from(u16::from_be_bytes([message[6], message[7]]));
    let destination = Ipv4Addr::from(*quoted.last_chunk::<4>()?).into();
    report(destination, quoted[9], u32::from(u16::from_be_bytes([quoted[2], quoted[3]])), mtu, MIN_V4)
}

/// What an ICMPv6 message "packet too big" says (RFC 4443, section 3.2). Sockets get it without its IPv6 header, so that
/// `is_own` has to say which addresses are this host's.
pub(super) fn read_v6(message: &[u8], is_own: impl Fn(Ipv6Addr) -> bool) -> Option<Report> {
    let quoted = message.get(ICMP_LEN..ICMP_LEN + IPV6_LEN)?;
    let source = Ipv6Addr::from(*quoted.get(8..)?.first_chunk::<16>()?);
    if message[0] != 2 || quoted[0] >> 4 != 6 || !is_own(source) {
        return None;
    }
    let mtu = u32::from_be_bytes(*message.get(4..)?.first_chunk()?);
    let destination = Ipv6Addr::from(*quoted.last_chunk::<16>()?).into();
    let len = IPV6_LEN as u32 + u32::from(u16::from_be_bytes([quoted[4], quoted[5]]));
    report(destination, quoted[6], len, mtu, MIN_V6)
}

fn report(destination: IpAddr, protocol: u8, len: u32, mtu: u32, min: u32) -> Option<Report> {
    // Routers older than RFC 1191 say 0.
    let plausible = TUNNELS.contains(&protocol) && mtu != 0 && mtu < len;
    plausible.then_some(Report { destination, mtu: mtu.max(min) })
}

/// The sizes that have been heard of.
#[derive(Debug, Default)]
pub(super) struct PathMtus(BTreeMap<IpAddr, Learned>);

#[derive(Clone, Copy, Debug)]
struct Learned {
    mtu: u32,
    until: Instant,
}

impl PathMtus {
    /// Takes a report about one of the addresses that matter, and says whether it is news. A larger size than the one that
    /// holds is that of another link, about a packet that was under way already.
    pub(super) fn learn(&mut self, report: Report, now: Instant) -> bool {
        let before =
            self.0.get(&report.destination).filter(|learned| now < learned.until).map(|learned| learned.mtu);
        if before.is_some_and(|before| before < report.mtu) {
            return false;
        }
        self.0.insert(report.destination, Learned { mtu: report.mtu, until: now + LIFETIME });
        before != Some(report.mtu)
    }

    /// Forgets what is too old or concerns nobody any more, and says whether anything was.
    pub(super) fn forget(&mut self, now: Instant, concerns: impl Fn(&IpAddr) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|address, learned| now < learned.until && concerns(address));
        self.0.len() != before
    }

    /// What fits on the way to an address whose route says `mtu`.
    pub(super) fn limit(&self, address: IpAddr, mtu: u32) -> u32 {
        self.0.get(&address).map_or(mtu, |learned| learned.mtu.min(mtu))
    }
}

#[cfg(test)]
mod tests;
