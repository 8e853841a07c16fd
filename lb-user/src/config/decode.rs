//! From single TOML values to what they mean. Errors are texts that say what to write instead.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::error::{did_you_mean, nearest};
use super::reader::printable;
use crate::config::prefix;
use crate::state::{Dscp, Prefix, ServerId, SourcePrefix};

type Decoded<T> = Result<T, String>;

pub(super) fn text(value: &DeValue<'_>) -> Decoded<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("a text in quotes", value))
}

pub(super) fn truth(value: &DeValue<'_>) -> Decoded<bool> {
    value.as_bool().ok_or_else(|| expected("true or false", value))
}

/// A whole number within `range`.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&DeValue<'_>) -> Decoded<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |value| {
        let wanted = || format!("a whole number from {} to {}", range.start(), range.end());
        let integer = value.as_integer().ok_or_else(|| expected(&wanted(), value))?;
        i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|wide| T::try_from(wide).ok())
            .filter(|narrow| range.contains(narrow))
            .ok_or_else(|| format!("{integer} is out of range; write {}", wanted()))
    }
}

/// A rate a second, not 0.
pub(super) fn rate(value: &DeValue<'_>) -> Decoded<u32> {
    number(1..=100_000_000)(value)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&DeValue<'_>) -> Decoded<T> {
    move |value| {
        let known = || {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            words.join(" or ")
        };
        let text = value.as_str().ok_or_else(|| expected(&known(), value))?;
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let hint = nearest(text, words.iter().map(|(word, _)| *word));
            format!("'{}' is not known; write {}{}", printable(text), known(), did_you_mean(hint))
        })
    }
}

pub(super) fn address(value: &DeValue<'_>) -> Decoded<IpAddr> {
    address_text(value.as_str().ok_or_else(|| expected("an address in quotes", value))?)
}

pub(super) fn address_text(text: &str) -> Decoded<IpAddr> {
    text.parse().map_err(|_| {
        let shown = printable(text);
        let way_out = if let Ok(socket) = SocketAddr::from_str(text) {
            format!("write \"{}\" without the port", socket.ip())
        } else if let Some((Ok(address), _)) =
            text.split_once('/').map(|(a, rest)| (IpAddr::from_str(a), rest))
        {
            format!("write \"{address}\" without the prefix length")
        } else if let Some((Ok(address), _)) =
            text.split_once('%').map(|(a, rest)| (IpAddr::from_str(a), rest))
        {
            format!("write \"{address}\" without the zone")
        } else if let Some(Ok(address)) =
            text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(Ipv6Addr::from_str)
        {
            format!("write \"{address}\" without the brackets")
        } else {
            "write an IPv4 or IPv6 address; host names are not looked up".to_owned()
        };
        format!("'{shown}' is not an address; {way_out}")
    })
}

/// An address with or without the length of its prefix, whose host bits are those of a host.
pub(super) fn host_address(text: &str) -> Decoded<(IpAddr, Option<u8>)> {
    let Some((front, length)) = text.split_once('/') else {
        return Ok((address_text(text)?, None));
    };
    let address = address_text(front)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.parse::<u8>().ok().filter(|length| (1..=most).contains(length));
    let wrong = || format!("'{}': the prefix length goes from /1 to /{most}", printable(text));
    Ok((address, Some(length.ok_or_else(wrong)?)))
}

pub(super) fn socket_address(value: &DeValue<'_>) -> Decoded<SocketAddr> {
    let text = value.as_str().ok_or_else(|| expected("ADDRESS:PORT in quotes", value))?;
    let refuse = |example: String| {
        format!("'{}' is not ADDRESS:PORT; write for example \"{example}\"", printable(text))
    };
    let socket: SocketAddr = text.parse().map_err(|_| {
        if let Ok(address) = text.parse::<IpAddr>() {
            return refuse(SocketAddr::new(address, 9464).to_string());
        }
        let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
        let port: u16 = port.parse().ok().filter(|port| *port > 0).unwrap_or(9464);
        let host = if text.starts_with(':') { "0.0.0.0" } else { "127.0.0.1" };
        refuse(format!("{host}:{port}"))
    })?;
    if socket.port() == 0 {
        return Err(refuse(SocketAddr::new(socket.ip(), 9464).to_string()));
    }
    Ok(socket)
}

/// Addresses of one family as prefixes.
pub(super) trait Family: Copy + FromStr + Display {
    const BITS: u8;
    /// The shortest prefix whose host bits all fit the 32 bits of entropy and that is no class of its own.
    const SHORTEST: u8;
    const NAME: &str;
    const EXAMPLE: &str;
    /// The address with all but the first `prefix_len` bits cleared.
    fn network(self, prefix_len: u8) -> Self;
    fn wide(self) -> IpAddr;
}

impl Family for Ipv4Addr {
    const BITS: u8 = 32;
    const SHORTEST: u8 = 8;
    const NAME: &str = "IPv4";
    const EXAMPLE: &str = "\"192.0.2.10\" or \"172.16.0.0/16\"";

    fn network(self, prefix_len: u8) -> Self {
        let mask = u32::MAX.checked_shl(u32::from(32 - prefix_len)).unwrap_or(0);
        (u32::from(self) & mask).into()
    }

    fn wide(self) -> IpAddr {
        self.into()
    }
}

impl Family for Ipv6Addr {
    const BITS: u8 = 128;
    const SHORTEST: u8 = 96;
    const NAME: &str = "IPv6";
    const EXAMPLE: &str = "\"2001:db8::10\" or \"2001:db8:0:1::/96\"";

    fn network(self, prefix_len: u8) -> Self {
        let mask = u128::MAX.checked_shl(u32::from(128 - prefix_len)).unwrap_or(0);
        (u128::from(self) & mask).into()
    }

    fn wide(self) -> IpAddr {
        self.into()
    }
}

/// A tunnel source: an address or a prefix of family `A`.
pub(super) fn source_prefix<A: Family>(value: &DeValue<'_>) -> Decoded<SourcePrefix<A>> {
    let text = value.as_str().ok_or_else(|| expected(&format!("{} in quotes", A::EXAMPLE), value))?;
    let shown = printable(text);
    let (front, length) = text.split_once('/').map_or((text, None), |(front, length)| (front, Some(length)));
    let address: A = front.parse().map_err(|_| match front.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => format!("'{shown}' is of family IPv4; write it as source4"),
        Ok(IpAddr::V6(_)) => format!("'{shown}' is of family IPv6; write it as source6"),
        Err(_) => format!("'{shown}' is neither address nor prefix; write {}", A::EXAMPLE),
    })?;
    let prefix_len = match length {
        None => A::BITS,
        Some(length) => {
            length.parse::<u8>().ok().filter(|length| (A::SHORTEST..=A::BITS).contains(length)).ok_or_else(
                || {
                    format!(
                        "'{shown}': the prefix length of an {} source goes from /{} to /{}",
                        A::NAME,
                        A::SHORTEST,
                        A::BITS
                    )
                },
            )?
        }
    };
    let network = address.network(prefix_len);
    if network.wide() != address.wide() {
        return Err(format!(
            "'{shown}' has host bits set, but those carry flow entropy; write \"{network}/{prefix_len}\", or \"{address}\" for one address"
        ));
    }
    Ok(SourcePrefix { address, prefix_len })
}

/// A prefix of this family that addresses of checks are taken from.
pub(super) fn probe_prefix(is_v6: bool) -> impl Fn(&DeValue<'_>) -> Decoded<Prefix> {
    move |value| {
        let (lengths, example) =
            if is_v6 { (64..=126, "\"fd00:1:2:3::/112\"") } else { (8..=30, "\"198.19.240.0/20\"") };
        let text = value.as_str().ok_or_else(|| expected(&format!("a prefix such as {example}"), value))?;
        let prefix = prefix::parse(text)?;
        if prefix.address.is_ipv6() != is_v6 || !lengths.contains(&prefix.len) {
            let (from, to) = (lengths.start(), lengths.end());
            return Err(format!(
                "'{}' is none from /{from} to /{to}; write for example {example}",
                printable(text)
            ));
        }
        Ok(prefix)
    }
}

pub(super) fn dscp(value: &DeValue<'_>) -> Decoded<Dscp> {
    match value {
        DeValue::String(text) if text == "copy" => Ok(Dscp::Copy),
        DeValue::Integer(_) => number(0..=63u8)(value).map(Dscp::Fixed),
        _ => Err(expected("\"copy\" or a whole number from 0 to 63", value)),
    }
}

/// The most that `ring_memory` may be.
const RING_MEMORY_MAX: u64 = 4 << 30;

/// Bytes, as a number or with a binary unit.
pub(super) fn bytes(value: &DeValue<'_>) -> Decoded<u64> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    let Some(text) = value.as_str() else {
        return number(1..=RING_MEMORY_MAX)(value);
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    factor
        .or((unit.is_empty()).then_some(1))
        .zip(count.parse::<u64>().ok())
        .and_then(|(factor, count)| count.checked_mul(factor))
        .filter(|bytes| (1..=RING_MEMORY_MAX).contains(bytes))
        .ok_or_else(|| {
            format!(
                "'{}' is not an amount of memory; write bytes or for example \"64MiB\" (KiB, MiB or GiB, up to 4GiB)",
                printable(text)
            )
        })
}

/// A span of time from `range`, such as `15s`.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Decoded<Duration> {
    move |value| {
        let wanted = "a text such as \"15s\" or \"500ms\"";
        let text = value.as_str().ok_or_else(|| expected(wanted, value))?;
        let shown = printable(text);
        let span = humantime::parse_duration(text)
            .map_err(|_| format!("'{shown}' is not a span of time; write {wanted}"))?;
        if range.contains(&span) {
            return Ok(span);
        }
        let [from, to] = [range.start(), range.end()].map(|end| humantime::format_duration(*end));
        Err(format!("'{shown}' is out of range; write {from} to {to}"))
    }
}

/// The hexadecimal digits of a server id, two a byte.
pub(super) fn server_id(value: &DeValue<'_>) -> Decoded<ServerId> {
    let wanted = "2 to 16 hexadecimal digits in quotes, two a byte, such as \"c0ffee01\"";
    let text = value.as_str().ok_or_else(|| expected(wanted, value))?;
    let refused = || format!("'{}' is no server id; write {wanted}", printable(text));
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) || text.len() % 2 == 1 || text.len() > 16 {
        return Err(refused());
    }
    let (number, len) = (u64::from_str_radix(text, 16).map_err(|_| refused())?, text.len() / 2);
    Ok(ServerId { bytes: (number << (64 - 8 * len)).to_be_bytes(), len: len as u8 })
}

/// `expected …, found …`.
pub(super) fn expected(wanted: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(text) => format!("the text '{}'", printable(text)),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    format!("found {found}; write {wanted}")
}
