//! A dump of remembered flows as text: one JSON object a line, a head first.

use super::flow_types::{FlowDumpHead, FlowEntry};

/// A dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowDump {
    pub head: FlowDumpHead,
    pub flows: Vec<FlowEntry>,
}

/// Why a text is no dump.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlowDumpError {
    #[error("there is no line; a dump begins with a head, as `ferrolev flows export` writes it")]
    Empty,
    #[error("line {line}: {reason}; is it a dump of `ferrolev flows export`?")]
    Line { line: usize, reason: String },
    #[error(
        "it is a dump of version {found}, this ferrolev knows {known}; export it with a ferrolev of this version"
    )]
    Version { found: u32, known: u32 },
}

impl FlowDump {
    /// The text, with a line end after every line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        push(&mut text, &self.head);
        text + &self.flows_text()
    }

    /// The text without the head.
    #[must_use]
    pub fn flows_text(&self) -> String {
        let mut text = String::with_capacity(160 * self.flows.len());
        self.flows.iter().for_each(|flow| push(&mut text, flow));
        text
    }

    /// # Errors
    /// When the text is not a dump of a known version; names the line.
    pub fn parse(text: &str) -> Result<Self, FlowDumpError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (number, first) = lines.next().ok_or(FlowDumpError::Empty)?;
        let head: FlowDumpHead = object(number, first)?;
        if head.format != FlowDumpHead::FORMAT {
            let reason = format!("the format is '{}'", head.format.escape_debug());
            return Err(FlowDumpError::Line { line: number + 1, reason });
        }
        if head.version != FlowDumpHead::VERSION {
            return Err(FlowDumpError::Version { found: head.version, known: FlowDumpHead::VERSION });
        }
        let flows = lines.map(|(number, line)| object(number, line)).collect::<Result<_, _>>()?;
        Ok(Self { head, flows })
    }
}

fn push(text: &mut String, value: &impl serde::Serialize) {
    // Texts, numbers and addresses: nothing that JSON has no word for.
    if let Ok(line) = serde_json::to_string(value) {
        text.push_str(&line);
        text.push('\n');
    }
}

fn object<T: serde::de::DeserializeOwned>(number: usize, line: &str) -> Result<T, FlowDumpError> {
    serde_json::from_str(line)
        .map_err(|error| FlowDumpError::Line { line: number + 1, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::flow_types::FlowEntryState;

    fn head() -> FlowDumpHead {
        FlowDumpHead {
            format: FlowDumpHead::FORMAT.to_owned(),
            version: FlowDumpHead::VERSION,
            at: "2026-01-01T00:00:00Z".to_owned(),
            hash_seed: u64::MAX,
            buckets: 131_072,
        }
    }

    fn flow() -> FlowEntry {
        FlowEntry {
            vip: "192.0.2.1:80/tcp".to_owned(),
            route: 0,
            address: "10.0.0.1".parse().unwrap(),
            backend: None,
            state: FlowEntryState::Confirmed,
            age_ticks: 7,
            bucket: 9,
            tag: "00c0ffe".to_owned(),
        }
    }

    #[test]
    fn the_format_is_fixed() {
        let text = FlowDump { head: head(), flows: vec![flow()] }.to_text();
        assert_eq!(
            text,
            r#"{"format":"ferrolev-flows","version":1,"at":"2026-01-01T00:00:00Z","hash_seed":18446744073709551615,"buckets":131072}
{"vip":"192.0.2.1:80/tcp","route":0,"address":"10.0.0.1","state":"confirmed","age_ticks":7,"bucket":9,"tag":"00c0ffe"}
"#
        );
    }

    #[test]
    fn what_is_no_dump_is_refused_with_its_line() {
        assert_eq!(FlowDump::parse(" \n\n"), Err(FlowDumpError::Empty));
        let other = FlowDumpHead { version: 2, ..head() };
        assert_eq!(
            FlowDump::parse(&serde_json::to_string(&other).unwrap()),
            Err(FlowDumpError::Version { found: 2, known: 1 })
        );
        let other = FlowDumpHead { format: "x".to_owned(), ..head() };
        let refused = FlowDump::parse(&serde_json::to_string(&other).unwrap()).unwrap_err().to_string();
        assert!(refused.starts_with("line 1: the format is 'x'"), "{refused}");
        let text = format!("{}\n{{\"vip\":1}}\n", serde_json::to_string(&head()).unwrap());
        let refused = FlowDump::parse(&text).unwrap_err().to_string();
        assert!(refused.starts_with("line 2: invalid type"), "{refused}");
    }

    proptest! {
        #[test]
        fn a_written_dump_reads_back_equal(
            flows in prop::collection::vec((any::<u8>(), any::<u16>(), any::<u32>(), any::<u128>(), 0u32..1 << 28), 0..20)
        ) {
            let flows = flows.into_iter().map(|(route, age_ticks, bucket, address, tag)| FlowEntry {
                route, age_ticks, bucket,
                address: std::net::IpAddr::V6(address.into()),
                tag: format!("{tag:07x}"),
                backend: (tag % 2 == 0).then(|| "web \"1\"\n".to_owned()),
                ..flow()
            });
            let dump = FlowDump { head: head(), flows: flows.collect() };
            prop_assert_eq!(FlowDump::parse(&dump.to_text()).unwrap(), dump);
        }

        #[test]
        fn any_text_is_a_dump_or_refused(text in ".{0,200}", cut in 0usize..300) {
            let _ = FlowDump::parse(&text);
            let whole = FlowDump { head: head(), flows: vec![flow()] }.to_text();
            let _ = FlowDump::parse(&whole[..cut.min(whole.len())]);
        }
    }
}
