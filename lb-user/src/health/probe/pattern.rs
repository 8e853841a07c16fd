//! A regular expression that equals another of the same text. Its time is linear in what it is held against.

use std::cmp::Ordering;

use regex_lite::{Regex, RegexBuilder};

/// What is looked for in an answer.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Of the compiled expression, in bytes.
const SIZE_MAX: usize = 64 << 10;

impl Pattern {
    /// # Errors
    /// Why the text is no expression that can be used.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(SIZE_MAX).build();
        built.map(Self).map_err(|error| error.to_string())
    }

    #[must_use]
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Bytes that are no UTF-8 count as a character that nothing else is.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(bytes))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text().cmp(other.text())
    }
}
