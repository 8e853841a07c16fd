//! A DNS query and what of its answer matters, strictly read (RFC 1035 4). Pure; nothing that a server sends makes it go on
//! for long: names only ever point backwards, and every record takes its bytes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name as it is written, without the dot of the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// A type of records (RFC 1035 3.2.2 and others).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordType(pub u16);

/// How a server answers (RFC 1035 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rcode(pub u8);

const TYPES: [(&str, u16); 11] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("SVCB", 64),
    ("HTTPS", 65),
];
const RCODES: [(&str, u8); 6] =
    [("noerror", 0), ("formerr", 1), ("servfail", 2), ("nxdomain", 3), ("notimp", 4), ("refused", 5)];

const CLASS_IN: u16 = 1;
const HEADER_LEN: usize = 12;
/// With the dots, as people write them; the wire has two more.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
const RECURSION_DESIRED: u16 = 1 << 8;
const RESPONSE: u16 = 1 << 15;
const OPCODE: u16 = 0xf << 11;
const TRUNCATED: u16 = 1 << 9;

impl Name {
    /// Letters, digits, `-` and `_` in labels; `None` for what is no name. The root is `.`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=LABEL_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let is_name = text == "." || (name.len() <= NAME_MAX && name.split('.').all(label));
        is_name.then(|| Self(name.to_owned()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        for label in self.0.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
    }

    /// As DNS compares names.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other.strip_suffix('.').unwrap_or(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl RecordType {
    pub const A: Self = Self(1);

    /// Its name, or `TYPE` and a number (RFC 3597).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let number = || text.strip_prefix("TYPE")?.parse().ok();
        known.map(|(_, number)| *number).or_else(number).map(Self)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TYPES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl Rcode {
    pub const NOERROR: Self = Self(0);

    /// The codes that have a word.
    pub fn words() -> impl Iterator<Item = &'static str> {
        RCODES.iter().map(|(word, _)| *word)
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        RCODES.iter().find(|(name, _)| *name == text).map(|(_, number)| Self(*number))
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RCODES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "rcode {}", self.0),
        }
    }
}

/// A question with recursion desired.
pub(super) fn query(id: u16, name: &Name, kind: RecordType) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN + NAME_MAX + 6);
    for word in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    name.write(&mut out);
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out
}

/// An answer to [`query`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) rcode: Rcode,
    pub(super) is_truncated: bool,
    /// What the records of the type that was asked for say: addresses, names, texts; of other types, that there is one.
    pub(super) says: Vec<String>,
}

/// Why a message is not taken for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It may belong to something else; the answer may still come.
    Other,
    Malformed,
}

/// Reads a message as the answer to this question.
pub(super) fn answer(message: &[u8], id: u16, name: &Name, kind: RecordType) -> Result<Answer, NoAnswer> {
    let mut reader = Reader { message, at: 0 };
    let header: Option<Vec<u16>> = (0..6).map(|_| reader.word()).collect();
    let header = header.ok_or(NoAnswer::Malformed)?;
    let &[found, flags, questions, answers, ..] = header.as_slice() else { return Err(NoAnswer::Malformed) };
    if found != id || flags & RESPONSE == 0 {
        return Err(NoAnswer::Other);
    }
    let rcode = Rcode((flags & 0xf) as u8);
    let is_truncated = flags & TRUNCATED != 0;
    if flags & OPCODE != 0 || questions > 1 {
        return Err(NoAnswer::Malformed);
    }
    // A server that did not understand may leave the question out.
    if questions == 0 {
        return if rcode == Rcode::NOERROR || answers > 0 {
            Err(NoAnswer::Malformed)
        } else {
            Ok(Answer { rcode, is_truncated, says: Vec::new() })
        };
    }
    let asked = reader.name().ok_or(NoAnswer::Malformed)?;
    let of = (reader.word().ok_or(NoAnswer::Malformed)?, reader.word().ok_or(NoAnswer::Malformed)?);
    if !name.is(&asked) || of != (kind.0, CLASS_IN) {
        return Err(NoAnswer::Other);
    }
    let mut says = Vec::new();
    for _ in 0..answers {
        match reader.record(kind) {
            Some(said) => says.extend(said),
            // What does not fit is left out; whole records, as servers should, or not.
            None if is_truncated => break,
            None => return Err(NoAnswer::Malformed),
        }
    }
    Ok(Answer { rcode, is_truncated, says })
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let taken = self.message.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A name, of which a part may be somewhere before (RFC 1035 4.1.4).
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let (mut at, mut end, mut earliest) = (self.at, None, self.at);
        loop {
            let len = usize::from(*self.message.get(at)?);
            match len >> 6 {
                0 if len == 0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Some(name);
                }
                0 => {
                    let label = self.message.get(at + 1..at + 1 + len)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    name.extend(
                        label.iter().map(|byte| if byte.is_ascii_graphic() { *byte as char } else { '?' }),
                    );
                    if name.len() > NAME_MAX {
                        return None;
                    }
                    at += 1 + len;
                }
                3 => {
                    let low = *self.message.get(at + 1)?;
                    let target = (len & 0x3f) << 8 | usize::from(low);
                    // Each one further back than the last: there is no way round.
                    if target >= earliest || target < HEADER_LEN {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    (at, earliest) = (target, target);
                }
                _ => return None,
            }
        }
    }

    /// A record; what it says when it is of the type that was asked for.
    fn record(&mut self, wanted: RecordType) -> Option<Option<String>> {
        self.name()?;
        let (kind, class) = (self.word()?, self.word()?);
        let _time_to_live = self.take(4)?;
        let len = usize::from(self.word()?);
        let end = self.at.checked_add(len)?;
        if (kind, class) != (wanted.0, CLASS_IN) {
            self.take(len)?;
            return Some(None);
        }
        let said = match kind {
            1 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(self.take(len)?).ok()?)).to_string(),
            28 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(self.take(len)?).ok()?)).to_string(),
            2 | 5 | 12 => self.name()?,
            15 => {
                self.word()?;
                self.name()?
            }
            33 => {
                self.take(6)?;
                self.name()?
            }
            16 => strings(self.take(len)?)?,
            _ => {
                self.take(len)?;
                String::new()
            }
        };
        (self.at == end).then_some(Some(said))
    }
}

/// The strings of a TXT record, put together.
fn strings(mut data: &[u8]) -> Option<String> {
    let mut all = Vec::new();
    while let Some((&len, rest)) = data.split_first() {
        let (string, rest) = rest.split_at_checked(usize::from(len))?;
        all.extend_from_slice(string);
        data = rest;
    }
    Some(String::from_utf8_lossy(&all).into_owned())
}

#[cfg(test)]
mod tests;
