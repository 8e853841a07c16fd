//! From an advert to bytes.

use std::net::IpAddr;

use super::checksum::{self, Ipv4Sum};
use super::{Advert, Authentication, Envelope, Version};

const CHECKSUM_AT: usize = 6;

/// Why an advert cannot be said in bytes. A checked configuration leads to none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error("an advert names 1 to 255 addresses, not {0}; split them over several virtual routers")]
    AddressCount(usize),
    #[error("an advert from {source_address} cannot name {address}, which is of the other family")]
    Family { source_address: IpAddr, address: IpAddr },
    #[error("VRRP version {version} cannot say an interval of {centiseconds} centiseconds")]
    Interval { version: u8, centiseconds: u16 },
    #[error("VRRP version 2 is for IPv4 only; use version 3")]
    Version2OverIpv6,
    #[error("VRRP version 3 has no authentication; remove the password, or use version 2")]
    Authentication,
    #[error("virtual router ids are 1 to 255")]
    Vrid,
}

/// The payload of the IP packet with this header that says `advert`. The header matters for the checksum.
///
/// # Errors
/// When its version cannot say it.
pub fn build(advert: &Advert, sum: Ipv4Sum, envelope: &Envelope) -> Result<Vec<u8>, BuildError> {
    check(advert, envelope)?;
    let count =
        u8::try_from(advert.addresses.len()).map_err(|_| BuildError::AddressCount(advert.addresses.len()))?;
    let mut message = vec![advert.version.number() << 4 | 1, advert.vrid, advert.priority, count];
    let password = match advert.authentication {
        Authentication::None => None,
        Authentication::Password(password) => Some(password),
    };
    match advert.version {
        Version::V2 => {
            let seconds = (advert.interval.centiseconds() / 100) as u8;
            message.extend([u8::from(password.is_some()), seconds]);
        }
        Version::V3 => message.extend(advert.interval.centiseconds().to_be_bytes()),
    }
    message.extend([0, 0]);
    for address in &advert.addresses {
        match address {
            IpAddr::V4(address) => message.extend(address.octets()),
            IpAddr::V6(address) => message.extend(address.octets()),
        }
    }
    if advert.version == Version::V2 {
        message.extend(password.unwrap_or_default());
    }
    let checksum = checksum::checksum(advert.version, sum, envelope, &message);
    message[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_ne_bytes());
    Ok(message)
}

fn check(advert: &Advert, envelope: &Envelope) -> Result<(), BuildError> {
    let ipv6 = envelope.source.is_ipv6();
    if advert.vrid == 0 {
        return Err(BuildError::Vrid);
    }
    if advert.addresses.is_empty() {
        return Err(BuildError::AddressCount(0));
    }
    if let Some(address) = advert.addresses.iter().find(|address| address.is_ipv6() != ipv6) {
        return Err(BuildError::Family { source_address: envelope.source, address: *address });
    }
    if advert.version == Version::V2 && ipv6 {
        return Err(BuildError::Version2OverIpv6);
    }
    if advert.version == Version::V3 && advert.authentication != Authentication::None {
        return Err(BuildError::Authentication);
    }
    if !advert.interval.fits(advert.version) {
        let version = advert.version.number();
        return Err(BuildError::Interval { version, centiseconds: advert.interval.centiseconds() });
    }
    Ok(())
}
