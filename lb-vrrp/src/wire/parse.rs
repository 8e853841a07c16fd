//! From bytes to an advert. Strict: what is not exactly an advert is rejected.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum;
use super::{Advert, Authentication, Envelope, Interval, Ipv4Sum, Reject, Version};

const HEADER_LEN: usize = 8;
const AUTHENTICATION_LEN: usize = 8;
const ADVERTISEMENT: u8 = 1;

/// An advert, and how its sender sums up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub advert: Advert,
    /// Only of interest in version 3 over IPv4.
    pub sum: Ipv4Sum,
}

/// The advert that `message`, the payload of an IP packet with this header, is.
///
/// # Errors
/// When it is none, or a damaged one (RFC 9568 7.1, RFC 3768 7.1).
pub fn parse(message: &[u8], envelope: &Envelope) -> Result<Parsed, Reject> {
    let (header, rest) = message.split_first_chunk::<HEADER_LEN>().ok_or(Reject::Length)?;
    let [version_and_type, vrid, priority, count, byte_4, byte_5, ..] = *header;
    let version = match version_and_type >> 4 {
        2 if envelope.source.is_ipv6() => return Err(Reject::Version2OverIpv6),
        2 => Version::V2,
        3 => Version::V3,
        other => return Err(Reject::UnknownVersion(other)),
    };
    if version_and_type & 0xf != ADVERTISEMENT {
        return Err(Reject::Type(version_and_type & 0xf));
    }
    let address_len = if envelope.source.is_ipv4() { 4 } else { 16 };
    let addresses_len = usize::from(count) * address_len;
    let authentication_len = if version == Version::V2 { AUTHENTICATION_LEN } else { 0 };
    if rest.len() != addresses_len + authentication_len {
        return Err(Reject::Length);
    }
    let sum = checksum::find(version, envelope, message).ok_or(Reject::Checksum)?;
    if vrid == 0 {
        return Err(Reject::VridZero);
    }
    if count == 0 {
        return Err(Reject::NoAddresses);
    }
    let (addresses, data) = rest.split_at(addresses_len);
    let (centiseconds, authentication) = match version {
        Version::V2 => (u16::from(byte_5) * 100, authentication(byte_4, data)?),
        // The four bits in front are reserved, to be ignored (RFC 9568 5.2.6).
        Version::V3 => (u16::from_be_bytes([byte_4 & 0xf, byte_5]), Authentication::None),
    };
    let interval = Interval::from_centiseconds(centiseconds).ok_or(Reject::IntervalZero)?;
    let addresses = addresses.chunks_exact(address_len).filter_map(address).collect();
    Ok(Parsed { advert: Advert { version, vrid, priority, interval, addresses, authentication }, sum })
}

/// With type 0, the data are to be ignored (RFC 3768 5.3.10). Type 2 was a header of its own in RFC 2338, which nobody
/// should use.
fn authentication(kind: u8, data: &[u8]) -> Result<Authentication, Reject> {
    match (kind, data.first_chunk()) {
        (0, _) => Ok(Authentication::None),
        (1, Some(password)) => Ok(Authentication::Password(*password)),
        (other, _) => Err(Reject::AuthenticationType(other)),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || bytes.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into());
    let v6 = || bytes.try_into().ok().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}
