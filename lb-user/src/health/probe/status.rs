//! Which status codes are good.

use std::fmt;

/// Status codes as ranges, both ends in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusSet(pub Vec<(u16, u16)>);

impl Default for StatusSet {
    /// What says that the request was understood: 2xx and 3xx.
    fn default() -> Self {
        Self(vec![(200, 299), (300, 399)])
    }
}

impl StatusSet {
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// A code (`204`), a range (`200-204`) or a class (`2xx`).
    #[must_use]
    pub fn parse_one(text: &str) -> Option<(u16, u16)> {
        let code = |text: &str| {
            let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|code| plain && (100..=599).contains(code))
        };
        if let Some(class) = text.strip_suffix("xx") {
            let from = code(&format!("{class}00"))?;
            return Some((from, from + 99));
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some((code(from)?, code(to)?)).filter(|(from, to)| from <= to)
    }

    /// Each part as [`Self::parse_one`] reads it.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let text = |(from, to): &(u16, u16)| match (from % 100, to - from) {
            (0, 99) => format!("{}xx", from / 100),
            (_, 0) => from.to_string(),
            _ => format!("{from}-{to}"),
        };
        self.0.iter().map(text).collect()
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}
