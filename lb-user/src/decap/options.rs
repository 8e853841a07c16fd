//! What `ferrolev decap` is told on the command line.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::dataplane::XdpMode;

/// How the decapsulation agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecapOptions {
    pub interface: String,
    /// Tunnel sources that are accepted; empty: all.
    pub sources: Vec<IpPrefix>,
    /// UDP port on which GUE is taken in; 0: none.
    pub gue_port: u16,
    pub xdp_mode: XdpMode,
}

/// An address range such as `192.0.2.0/24`; host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    pub address: IpAddr,
    /// Bits that count, of 32 or 128.
    pub prefix_len: u8,
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// Why a text is no prefix.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IpPrefixError {
    #[error("'{0}' is no address or prefix; write 192.0.2.10, 192.0.2.0/24 or 2001:db8::/64")]
    Form(String),
    #[error("'{text}': the prefix length goes up to {max}")]
    Length { text: String, max: u8 },
    #[error("'{text}' has host bits set; write {fixed}")]
    HostBits { text: String, fixed: IpPrefix },
}

impl FromStr for IpPrefix {
    type Err = IpPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || IpPrefixError::Form(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len: u8 = match length {
            Some(length) => length.parse().map_err(|_| form())?,
            None => max,
        };
        if prefix_len > max {
            return Err(IpPrefixError::Length { text: text.to_owned(), max });
        }
        let fixed = Self { address: network(address, prefix_len), prefix_len };
        if fixed.address != address {
            return Err(IpPrefixError::HostBits { text: text.to_owned(), fixed });
        }
        Ok(fixed)
    }
}

/// `address` with all but its first `prefix_len` bits cleared.
fn network(address: IpAddr, prefix_len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_an_address_or_a_range_without_host_bits() {
        for (text, shown) in [
            ("192.0.2.10", "192.0.2.10/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<IpPrefix>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn a_wrong_prefix_says_how_to_write_it() {
        let refuse = |text: &str| text.parse::<IpPrefix>().expect_err(text).to_string();
        assert_eq!(refuse("192.0.2.10/24"), "'192.0.2.10/24' has host bits set; write 192.0.2.0/24");
        assert_eq!(refuse("192.0.2.0/33"), "'192.0.2.0/33': the prefix length goes up to 32");
        for bad in ["", "web", "192.0.2.0/", "192.0.2/24", "::/-1"] {
            assert!(refuse(bad).contains("is no address or prefix"), "{bad}");
        }
    }
}
