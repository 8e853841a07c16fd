//! The identity of a vip: address, port and protocol.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol that a vip can have.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// IANA protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = ParseVipKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(ParseVipKeyError::Protocol(text.to_owned())),
        }
    }
}

/// A vip's identity, written `192.0.2.1:80/tcp` or `[2001:db8::1]:443/udp`; port 0 stands for all ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
}

impl fmt::Display for VipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.protocol)
    }
}

/// Why a text is no vip.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseVipKeyError {
    #[error("'{0}' is not ADDRESS:PORT/PROTOCOL, such as 192.0.2.1:80/tcp or [2001:db8::1]:443/udp")]
    Form(String),
    #[error("'{0}' is not a protocol; use tcp or udp")]
    Protocol(String),
}

impl FromStr for VipKey {
    type Err = ParseVipKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseVipKeyError::Form(text.to_owned());
        let (socket, protocol) = text.rsplit_once('/').ok_or_else(form)?;
        let socket: SocketAddr = socket.parse().map_err(|_| form())?;
        Ok(Self { address: socket.ip(), port: socket.port(), protocol: protocol.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_vip_is_refused_with_an_example() {
        for text in [
            "",
            "192.0.2.1",
            "192.0.2.1:80",
            "192.0.2.1/tcp",
            "2001:db8::1:80/tcp",
            "a:80/tcp",
            "1.2.3.4:65536/udp",
        ] {
            let error = text.parse::<VipKey>().unwrap_err();
            assert_eq!(error, ParseVipKeyError::Form(text.to_owned()));
            assert!(error.to_string().contains("such as 192.0.2.1:80/tcp"));
        }
        let error = "192.0.2.1:80/sctp".parse::<VipKey>().unwrap_err();
        assert_eq!(error.to_string(), "'sctp' is not a protocol; use tcp or udp");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_written_vip_reads_back_equal(address in any::<IpAddr>(), port in any::<u16>(), udp in any::<bool>()) {
            let protocol = if udp { Protocol::Udp } else { Protocol::Tcp };
            let key = VipKey { address, port, protocol };
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
    }
}
