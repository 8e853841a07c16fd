//! Lists of prefixes in text files, one prefix a line: what `allow_file` and `deny_file` name.
//!
//! Lists may be long, so each file is read once for a configuration, whoever names it, and of its mistakes the first few
//! are told.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::prefix;
use crate::state::{Prefix, Prefixes};

/// Mistakes of one file that are told.
const MISTAKES_TOLD: usize = 5;

/// How files are read; the path is as the process sees it.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The lists that a configuration names.
pub(super) struct Lists<'a> {
    /// Where relative paths begin.
    directory: PathBuf,
    read: ReadFile<'a>,
    known: BTreeMap<PathBuf, Result<Prefixes, Vec<String>>>,
}

impl<'a> Lists<'a> {
    /// Lists beside the configuration file at `config`.
    pub(super) fn new(config: &Path, read: ReadFile<'a>) -> Self {
        let directory = config.parent().map(Path::to_owned).unwrap_or_default();
        Self { directory, read, known: BTreeMap::new() }
    }

    /// The prefixes in the file `name`, or what is wrong with it.
    pub(super) fn get(&mut self, name: &str) -> Result<Prefixes, Vec<String>> {
        if name.is_empty() {
            return Err(vec!["is empty; write the path of a text file, or leave it out".to_owned()]);
        }
        let path = self.directory.join(name);
        if let Some(known) = self.known.get(&path) {
            return known.clone();
        }
        let found = self.load(&path);
        self.known.insert(path, found.clone());
        found
    }

    fn load(&self, path: &Path) -> Result<Prefixes, Vec<String>> {
        let shown = path.display();
        let bytes = (self.read)(path).map_err(|error| {
            vec![format!(
                "cannot read {shown}: {error}; write the path of a text file with one prefix a line"
            )]
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let good = &bytes[..error.valid_up_to()];
            let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            vec![format!("{shown}:{line}: not UTF-8; save the file in that encoding")]
        })?;
        parse(text).map_err(|(mistakes, count)| {
            let mut told: Vec<_> =
                mistakes.into_iter().map(|(line, text)| format!("{shown}:{line}: {text}")).collect();
            if count > told.len() {
                told.push(format!("{shown}: {} more lines are wrong; mend these first", count - told.len()));
            }
            told
        })
    }
}

/// The prefixes of a list, or its first mistakes with their lines, and how many there are.
fn parse(text: &str) -> Result<Prefixes, (Vec<(usize, String)>, usize)> {
    let mut prefixes = Vec::new();
    let mut mistakes = Vec::new();
    let mut count = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim();
        if entry.is_empty() {
            continue;
        }
        match prefix::parse(entry) {
            Ok(prefix) => prefixes.push(prefix),
            Err(_) if mistakes.len() == MISTAKES_TOLD => count += 1,
            Err(text) => {
                mistakes.push((number, text));
                count += 1;
            }
        }
    }
    if count == 0 { Ok(sorted(prefixes)) } else { Err((mistakes, count)) }
}

/// In order, each once.
pub(super) fn sorted(mut prefixes: Vec<Prefix>) -> Prefixes {
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.into()
}

/// What is in either list.
pub(super) fn united(one: Prefixes, other: Prefixes) -> Prefixes {
    if one.is_empty() {
        other
    } else if other.is_empty() {
        one
    } else {
        sorted(one.iter().chain(other.iter()).copied().collect())
    }
}

/// What is in both lists.
pub(super) fn common<'a>(one: &'a [Prefix], other: &'a [Prefix]) -> impl Iterator<Item = Prefix> + 'a {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.iter().copied().filter(|prefix| long.binary_search(prefix).is_ok())
}
