//! What commands that go on showing have in common.

use std::io::IsTerminal;

use super::args::{ClientArgs, Format};
use super::error::CliError;
use super::output::print;

/// The terminal's second screen; the first one comes back when this is dropped.
pub(super) struct Screen(());

impl Screen {
    /// Nothing when the output is no terminal, or no table.
    pub(super) fn open(client: &ClientArgs, waiting: &str) -> Option<Self> {
        if client.output != Format::Table || !std::io::stdout().is_terminal() {
            return None;
        }
        // A terminal that is gone is noticed when the first table is printed.
        let _ = print(&format!("\u{1b}[?1049h\u{1b}[?25l\u{1b}[H{waiting}"));
        Some(Self(()))
    }

    pub(super) fn show(&self, text: &str) -> Result<(), CliError> {
        let text = text.replace('\n', "\u{1b}[K\n");
        print(&format!("\u{1b}[H{text}Ctrl-C ends this\u{1b}[K\u{1b}[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = print("\u{1b}[?25h\u{1b}[?1049l");
    }
}

/// JSON without line breaks: outside texts they are white space, inside they are escaped.
pub(super) fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_readings_take_one_line_each() {
        assert_eq!(one_line("{\n  \"a\": \"x\\ny\"\n}\n"), "{  \"a\": \"x\\ny\"}");
    }
}
