//! What is wrong with a configuration: all of it at once, each with its place in the file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

/// Why a configuration is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}; name another file", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// One line a problem.
    #[error("{}", lines(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

impl ConfigError {
    /// What is wrong inside the file, in the order of its lines; empty when it could not be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }
}

fn lines(path: &std::path::Path, problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect();
    lines.join("\n")
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Counted from 1.
    pub line: u32,
    /// Names the object and the way out.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.text)
    }
}

/// Problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, line: u32, text: impl Into<String>) {
        self.0.push(Problem { line, text: text.into() });
    }

    /// The problems in the order of the file, or `value` when there are none.
    pub(super) fn or<T>(mut self, path: &std::path::Path, value: Option<T>) -> Result<T, ConfigError> {
        // Stable: problems of one line stay in the order in which they were found.
        self.0.sort_by_key(|problem| problem.line);
        let mut seen = BTreeSet::new();
        self.0.retain(|problem| seen.insert(problem.clone()));
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(ConfigError::Invalid { path: path.to_owned(), problems: self.0 }),
        }
    }
}

/// The candidate that `word` most likely meant, when one is close enough.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean 'x'?`, or nothing.
pub(super) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|word| format!("; did you mean '{word}'?")).unwrap_or_default()
}
