//! Address prefixes as people write them: `192.0.2.0/24`, or an address alone.

use std::net::IpAddr;

use super::decode::Family;
use super::reader::printable;
use crate::state::Prefix;

const EXAMPLE: &str = "\"192.0.2.0/24\", \"2001:db8::/32\" or an address";

/// The prefix that `text` stands for; the error says what to write instead.
pub(super) fn parse(text: &str) -> Result<Prefix, String> {
    let (front, length) = text.split_once('/').map_or((text, None), |(front, length)| (front, Some(length)));
    let Ok(address) = front.parse::<IpAddr>() else {
        return Err(format!("'{}' is neither prefix nor address; write {EXAMPLE}", printable(text)));
    };
    let len = match length {
        None => bits(address),
        Some(length) => prefix_len(length, address).ok_or_else(|| wrong_length(text, address, length))?,
    };
    let network = network(address, len);
    if let Some(v4) = mapped(network, len) {
        return Err(format!("'{text}' is IPv4 in IPv6 clothes; write \"{v4}\""));
    }
    if network != address {
        let right = Prefix { address: network, len };
        return Err(format!(
            "'{text}' has host bits set; write \"{right}\", or \"{address}\" for one address"
        ));
    }
    Ok(Prefix { address, len })
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn prefix_len(text: &str, address: IpAddr) -> Option<u8> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|len| digits && *len <= bits(address))
}

fn network(address: IpAddr, len: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => v4.network(len).into(),
        IpAddr::V6(v6) => v6.network(len).into(),
    }
}

/// What a prefix of IPv4-mapped addresses (RFC 4291, 2.5.5.2) should have been.
fn mapped(network: IpAddr, len: u8) -> Option<Prefix> {
    let IpAddr::V6(v6) = network else { return None };
    let address = v6.to_ipv4_mapped()?;
    Some(Prefix { address: address.into(), len: len.checked_sub(96)? })
}

fn wrong_length(text: &str, address: IpAddr, length: &str) -> String {
    let shown = printable(text);
    let of_mask = length.parse::<std::net::Ipv4Addr>().ok().filter(|_| address.is_ipv4()).and_then(|mask| {
        let mask = u32::from(mask);
        let contiguous = mask.leading_ones() + mask.trailing_zeros() == 32 || mask == u32::MAX;
        contiguous.then_some(mask.leading_ones() as u8)
    });
    if let Some(len) = of_mask {
        let right = Prefix { address: network(address, len), len };
        return format!("'{shown}' has a mask instead of a length; write \"{right}\"");
    }
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!("'{shown}': the length of an {family} prefix goes from /0 to /{}", bits(address))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefixes_and_addresses_are_read() {
        for (text, shown) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_prefix_is_told_apart_with_the_way_out() {
        let example = "write \"192.0.2.0/24\", \"2001:db8::/32\" or an address";
        for (text, error) in [
            ("", format!("'' is neither prefix nor address; {example}")),
            ("office", format!("'office' is neither prefix nor address; {example}")),
            ("10.0.0/8", format!("'10.0.0/8' is neither prefix nor address; {example}")),
            (
                "10.0.0.1/8",
                "'10.0.0.1/8' has host bits set; write \"10.0.0.0/8\", or \"10.0.0.1\" for one address"
                    .to_owned(),
            ),
            ("10.0.0.0/33", "'10.0.0.0/33': the length of an IPv4 prefix goes from /0 to /32".to_owned()),
            ("10.0.0.0/+8", "'10.0.0.0/+8': the length of an IPv4 prefix goes from /0 to /32".to_owned()),
            (
                "2001:db8::/129",
                "'2001:db8::/129': the length of an IPv6 prefix goes from /0 to /128".to_owned(),
            ),
            (
                "10.0.0.0/255.255.0.0",
                "'10.0.0.0/255.255.0.0' has a mask instead of a length; write \"10.0.0.0/16\"".to_owned(),
            ),
            (
                "10.0.0.0/255.0.255.0",
                "'10.0.0.0/255.0.255.0': the length of an IPv4 prefix goes from /0 to /32".to_owned(),
            ),
            (
                "::ffff:192.0.2.0/120",
                "'::ffff:192.0.2.0/120' is IPv4 in IPv6 clothes; write \"192.0.2.0/24\"".to_owned(),
            ),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_prefix_reads_back_from_what_it_shows(address in any::<IpAddr>(), len in 0u8..=128) {
            let len = len.min(bits(address));
            let address = network(address, len);
            prop_assume!(mapped(address, len).is_none());
            let prefix = Prefix { address, len };
            prop_assert_eq!(parse(&prefix.to_string()), Ok(prefix));
        }

        #[test]
        fn any_text_is_a_prefix_without_host_bits_or_an_error(text in "[0-9a-f.:/ ]{0,24}|.{0,24}") {
            match parse(&text) {
                Ok(prefix) => prop_assert_eq!(network(prefix.address, prefix.len), prefix.address),
                Err(error) => prop_assert!(!error.is_empty()),
            }
        }
    }
}
