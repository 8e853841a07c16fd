//! Takes a parsed TOML table apart, key by key, and notes everything that does not fit.

use toml::de::{DeTable, DeValue};

use super::error::{Problems, did_you_mean, nearest};
use super::settings::{self, Section};

/// A value and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: u32,
}

/// A file's text, to find lines by byte offset.
#[derive(Debug)]
pub(super) struct Source {
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { line_starts: std::iter::once(0).chain(breaks).collect() }
    }

    pub(super) fn line(&self, offset: usize) -> u32 {
        self.line_starts.partition_point(|start| *start <= offset) as u32
    }
}

/// One table of the file under the eyes of the reader.
pub(super) struct TableReader<'a, 'i> {
    pub(super) source: &'a Source,
    pub(super) table: &'a DeTable<'i>,
    pub(super) line: u32,
    /// How messages call the object; empty at the top level.
    pub(super) object: String,
}

impl<'a, 'i> TableReader<'a, 'i> {
    /// The value of `key`, decoded; nothing when it is missing or wrong, and the latter is noted.
    pub(super) fn optional<T>(
        &self,
        problems: &mut Problems,
        key: &str,
        decode: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let found = self.table.get(key)?;
        let line = self.source.line(found.span().start);
        match decode(found.get_ref()) {
            Ok(value) => Some(Located { value, line }),
            Err(text) => {
                problems.add(line, self.say(&format!("{key}: {text}")));
                None
            }
        }
    }

    /// As [`Self::optional`], but a missing key is noted too.
    pub(super) fn required<T>(
        &self,
        problems: &mut Problems,
        key: &str,
        decode: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<Located<T>> {
        self.refuse_missing(problems, key);
        self.optional(problems, key, decode)
    }

    pub(super) fn refuse_missing(&self, problems: &mut Problems, key: &str) {
        if !self.table.contains_key(key) {
            problems.add(self.line, self.say(&format!("'{key}' is missing; add {key} = …")));
        }
    }

    /// Notes the keys that `section` does not have.
    pub(super) fn refuse_unknown_keys(&self, problems: &mut Problems, section: &Section) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if section.keys().any(|known| known == name) {
                continue;
            }
            let text =
                format!("unknown key '{}' in {}{}", printable(name), section.title, way_out(name, section));
            problems.add(self.source.line(key.span().start), text);
        }
    }

    /// `text` with the object in front.
    pub(super) fn say(&self, text: &str) -> String {
        if self.object.is_empty() { text.to_owned() } else { format!("{}: {text}", self.object) }
    }
}

/// What an unknown key most likely should have been: one of this section, or one of another.
fn way_out(name: &str, section: &Section) -> String {
    if let Some(near) = nearest(name, section.keys()) {
        return match section.table(near) {
            Some(table) => format!("; did you mean {}?", table.title),
            None => did_you_mean(Some(near)),
        };
    }
    let has_it = |other: &&&Section| other.title != section.title && other.keys().any(|key| key == name);
    let homes: Vec<_> = settings::SECTIONS.iter().filter(has_it).map(|other| other.title).collect();
    if homes.contains(&settings::TOP.title) {
        return "; it belongs at the top of the file, before the first [section]".to_owned();
    }
    if !homes.is_empty() {
        return format!("; it belongs in {}", homes.join(" or "));
    }
    let keys: Vec<_> = section.keys().collect();
    format!("; known are {}", keys.join(", "))
}

/// A text from the file without control characters, and not too long for a line.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown.replace("\\'", "'").replace("\\\"", "\"")
}
