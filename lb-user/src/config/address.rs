//! Which addresses can be a vip, a backend or a tunnel source, and why the others cannot.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why no packet can be sent to `address` as to one host, with the way out; nothing for usable addresses.
pub(crate) fn why_unusable(address: IpAddr) -> Option<String> {
    match address {
        IpAddr::V4(v4) => why_unusable_v4(v4).map(str::to_owned),
        IpAddr::V6(v6) => why_unusable_v6(v6),
    }
}

fn why_unusable_v4(v4: Ipv4Addr) -> Option<&'static str> {
    if v4.is_unspecified() {
        Some("is the unspecified address; write the real one")
    } else if v4.octets()[0] == 0 {
        Some("lies in 0.0.0.0/8, which no host can have (RFC 1122)")
    } else if v4.is_loopback() {
        Some("is a loopback address and never leaves its host")
    } else if v4.is_broadcast() {
        Some("is the broadcast address; write the address of one host")
    } else if v4.is_multicast() {
        Some("is a multicast address; write the address of one host")
    } else if v4.octets()[0] >= 240 {
        Some("lies in 240.0.0.0/4, which is reserved (RFC 1112)")
    } else {
        None
    }
}

fn why_unusable_v6(v6: Ipv6Addr) -> Option<String> {
    if v6.is_unspecified() {
        Some("is the unspecified address; write the real one".to_owned())
    } else if v6.is_loopback() {
        Some("is the loopback address and never leaves its host".to_owned())
    } else if v6.is_multicast() {
        Some("is a multicast address; write the address of one host".to_owned())
    } else if v6.is_unicast_link_local() {
        Some("is a link-local address, which is no address beyond its link; write a global or unique local one".to_owned())
    } else {
        v6.to_ipv4_mapped().map(|v4| format!("is an IPv4 address in IPv6 clothes; write {v4}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_single_hosts_are_usable() {
        for good in [
            "192.0.2.1",
            "10.0.0.255",
            "169.254.1.1",
            "223.255.255.255",
            "2001:db8::1",
            "fd00::1",
            "64:ff9b::1",
        ] {
            assert_eq!(why_unusable(good.parse().expect(good)), None, "{good}");
        }
    }

    #[test]
    fn every_other_kind_of_address_is_refused_with_its_reason() {
        for (bad, reason) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "0.0.0.0/8"),
            ("127.9.9.9", "loopback"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("ff02::1", "multicast"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("::ffff:192.0.2.1", "write 192.0.2.1"),
        ] {
            let why = why_unusable(bad.parse().expect(bad)).expect(bad);
            assert!(why.contains(reason), "{bad}: {why}");
        }
    }
}
