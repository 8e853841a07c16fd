//! What reaches the terminal, and whether it is coloured.

use std::io::{self, IsTerminal, Write};

use super::args::{ClientArgs, Format};
use super::error::CliError;
use super::table::Tone;
use crate::api::client::{Client, Reply};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    coloured: bool,
}

impl Style {
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { coloured: false };
    #[cfg(test)]
    pub(super) const COLOURED: Self = Self { coloured: true };

    /// Colours on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is dumb.
    pub(super) fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self { coloured: io::stdout().is_terminal() && set("NO_COLOR").is_none() && !dumb }
    }

    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Waiting => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        if self.coloured && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

impl ClientArgs {
    pub(super) fn client(&self) -> Client {
        Client::new(self.daemon.socket.clone())
    }

    /// Prints the reply as it came, or as `table` turns it into text.
    pub(super) fn show<T: serde::de::DeserializeOwned>(
        &self,
        reply: &Reply,
        table: impl FnOnce(&T, Style) -> String,
    ) -> Result<(), CliError> {
        match self.output {
            Format::Json => print(&lines(&reply.body)),
            Format::Table => print(&table(&reply.parse()?, Style::of_stdout())),
        }
    }
}

/// `text` with a line end.
pub(super) fn lines(text: &str) -> String {
    if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::operation("cannot write to standard output")(error))
        }
        _ => Ok(()),
    }
}
