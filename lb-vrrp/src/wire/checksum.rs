//! The checksums of adverts, in memory order.

use std::net::IpAddr;

use lb_common::checksum;

use super::{Envelope, GROUP_V4, PROTOCOL, Version};

/// How an advert of version 3 over IPv4 is summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ipv4Sum {
    /// With a pseudo header, as keepalived and FRR want it.
    #[default]
    Pseudo,
    /// Without, as RFC 9568 5.2.8 wants it.
    Plain,
    /// With a pseudo header that names the multicast group whatever the destination is: keepalived's `old_unicast_checksum`.
    GroupPseudo,
}

/// What has to be in the checksum field for the bytes of `message`; 0 when the right one is in it already.
pub(super) fn checksum(version: Version, sum: Ipv4Sum, envelope: &Envelope, message: &[u8]) -> u16 {
    !checksum::fold(pseudo(version, sum, envelope, message.len()) + checksum::sum(message))
}

/// Which of the three ways `message` was summed up; nothing when its checksum is wrong.
pub(super) fn find(version: Version, envelope: &Envelope, message: &[u8]) -> Option<Ipv4Sum> {
    let ways: &[Ipv4Sum] = match (version, envelope.source) {
        (Version::V3, IpAddr::V4(_)) => &[Ipv4Sum::Pseudo, Ipv4Sum::Plain, Ipv4Sum::GroupPseudo],
        _ => &[Ipv4Sum::Pseudo],
    };
    ways.iter().copied().find(|way| checksum(version, *way, envelope, message) == 0)
}

fn pseudo(version: Version, sum: Ipv4Sum, envelope: &Envelope, len: usize) -> u32 {
    if version == Version::V2 {
        return 0;
    }
    match (envelope.source, envelope.destination, sum) {
        (IpAddr::V4(_), IpAddr::V4(_), Ipv4Sum::Plain) => 0,
        (IpAddr::V4(source), IpAddr::V4(destination), _) => {
            let destination = if sum == Ipv4Sum::GroupPseudo { GROUP_V4 } else { destination };
            let addresses = checksum::sum(&source.octets()) + checksum::sum(&destination.octets());
            addresses + protocol_and_len(len)
        }
        (source, destination, _) => {
            let [source, destination] = [source, destination].map(|address| match address {
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                IpAddr::V6(address) => address.octets(),
            });
            checksum::sum(&source) + checksum::sum(&destination) + protocol_and_len(len)
        }
    }
}

/// The rest of either pseudo header; adverts are shorter than 64 KiB.
fn protocol_and_len(len: usize) -> u32 {
    checksum::sum(&[0, PROTOCOL]) + checksum::sum(&(len as u16).to_be_bytes())
}
