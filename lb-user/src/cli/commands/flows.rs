//! `flows`: what is remembered of flows; shown, counted, and carried to another balancer.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::api::client::{Client, ClientError, path_segment};
use crate::api::types::{FlowCount, FlowEntry, FlowEntryState, FlowImport};
use crate::cli::args::{ClientArgs, FlowFilter, FlowsCommand};
use crate::cli::error::CliError;
use crate::cli::output::{Style, lines, print};
use crate::cli::table::{Cell, Table, Tone, left, right};
use crate::cli::units::count;

/// A full table takes a while.
const PATIENCE: Duration = Duration::from_secs(600);
/// Flows that are sent in one request.
const CHUNK: usize = 100_000;

pub(in crate::cli) async fn run(command: &FlowsCommand) -> Result<(), CliError> {
    match command {
        FlowsCommand::List { filter, top, client } => {
            let path = format!("/v1/flows?limit={top}{}", query(filter));
            let reply = client.client().with_timeout(PATIENCE).get(&path).await?;
            client.show(&reply, |flows: &Vec<FlowEntry>, style| list(flows, style))
        }
        FlowsCommand::Count { filter, client } => {
            let path = format!("/v1/flows/count?{}", query(filter).trim_start_matches('&'));
            let reply = client.client().with_timeout(PATIENCE).get(&path).await?;
            client.show(&reply, |counts: &Vec<FlowCount>, style| counted(counts, style))
        }
        FlowsCommand::Export { filter, file, daemon } => {
            let path = format!("/v1/flows/export?{}", query(filter).trim_start_matches('&'));
            let client = Client::new(daemon.socket.clone());
            export(&client, &path, file.as_deref()).await
        }
        FlowsCommand::Import { file, client } => import(file.as_deref(), client).await,
    }
}

async fn export(client: &Client, path: &str, file: Option<&Path>) -> Result<(), CliError> {
    let mut to: Box<dyn Write> = match file {
        None => Box::new(std::io::stdout()),
        Some(file) => Box::new(
            File::create(file).map_err(CliError::operation(format!("cannot write {}", file.display())))?,
        ),
    };
    let copied = client.copy(path, |bytes| to.write_all(bytes).and_then(|()| to.flush())).await;
    match copied {
        // A reader that has seen enough (`| head`) is no error.
        Err(ClientError::Sink { source }) if file.is_none() && source.kind() == ErrorKind::BrokenPipe => {
            Ok(())
        }
        other => Ok(other?),
    }
}

fn query(filter: &FlowFilter) -> String {
    let part = |key: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("&{key}={}", path_segment(value))).unwrap_or_default()
    };
    part("vip", &filter.vip) + &part("backend", &filter.backend)
}

async fn import(file: Option<&Path>, client: &ClientArgs) -> Result<(), CliError> {
    let from: Box<dyn Read> = match file {
        None => Box::new(std::io::stdin()),
        Some(file) => Box::new(
            File::open(file).map_err(CliError::operation(format!("cannot read {}", file.display())))?,
        ),
    };
    let unreadable = || CliError::operation("cannot read the dump");
    let mut rest = BufReader::new(from).lines();
    let head = rest.next().transpose().map_err(unreadable())?.unwrap_or_default();
    let mut sum = FlowImport::default();
    let daemon = client.client().with_timeout(PATIENCE);
    loop {
        let mut body = head.clone();
        let mut flows = 0;
        for line in rest.by_ref().take(CHUNK) {
            body.push('\n');
            body.push_str(&line.map_err(unreadable())?);
            flows += 1;
        }
        sum = total(sum, daemon.post_text("/v1/flows/import", body).await?.parse()?);
        if flows < CHUNK {
            break;
        }
    }
    match client.output {
        crate::cli::args::Format::Json => print(&lines(&serde_json::to_string(&sum).unwrap_or_default())),
        crate::cli::args::Format::Table => print(&imported(sum)),
    }
}

const fn total(a: FlowImport, b: FlowImport) -> FlowImport {
    FlowImport {
        taken: a.taken + b.taken,
        known: a.known + b.known,
        foreign: a.foreign + b.foreign,
        over: a.over + b.over,
        full: a.full + b.full,
    }
}

fn imported(sum: FlowImport) -> String {
    let FlowImport { taken, known, foreign, over, full } = sum;
    let mut text = format!("{taken} flows taken in\n");
    for (number, why) in [
        (known, "known here before"),
        (foreign, "of vips or backends that are not here, or of vips with tracking = \"none\""),
        (over, "over by now"),
        (full, "without room; raise limits.flows"),
    ] {
        if number > 0 {
            text.push_str(&format!("{number} left out: {why}\n"));
        }
    }
    text
}

fn list(flows: &[FlowEntry], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        left("ADDRESS"),
        left("STATE"),
        right("AGE"),
        right("BUCKET"),
        left("TAG"),
    ]);
    for flow in flows {
        let (state, tone) = match flow.state {
            FlowEntryState::Opened => ("opened", Tone::Waiting),
            FlowEntryState::Seen => ("seen", Tone::Plain),
            FlowEntryState::Confirmed => ("confirmed", Tone::Good),
            FlowEntryState::Closing => ("closing", Tone::Faint),
        };
        table.row([
            flow.vip.as_str().into(),
            flow.backend.as_deref().unwrap_or_default().into(),
            flow.address.to_string().into(),
            Cell::new(state, tone),
            format!("{:.0} s", f64::from(flow.age_ticks) * TICK_SECONDS).into(),
            flow.bucket.to_string().into(),
            flow.tag.as_str().into(),
        ]);
    }
    table.render(style)
}

/// 2^30 nanoseconds.
const TICK_SECONDS: f64 = 1.073_741_824;

fn counted(counts: &[FlowCount], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        left("ADDRESS"),
        right("OPENED"),
        right("LIVE"),
        right("CLOSING"),
    ]);
    for of in counts {
        table.row([
            of.vip.as_str().into(),
            of.backend.as_deref().unwrap_or_default().into(),
            of.address.to_string().into(),
            count(of.opened).into(),
            count(of.live).into(),
            count(of.closing).into(),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_listed_by_what_is_remembered() {
        let flow = FlowEntry {
            vip: "192.0.2.1:80/tcp".to_owned(),
            route: 0,
            address: "10.0.0.11".parse().expect("address"),
            backend: Some("web-1".to_owned()),
            state: FlowEntryState::Confirmed,
            age_ticks: 28,
            bucket: 77,
            tag: "00c0ffe".to_owned(),
        };
        assert_eq!(
            list(&[flow], Style::PLAIN),
            "\
VIP               BACKEND  ADDRESS    STATE       AGE  BUCKET  TAG
192.0.2.1:80/tcp  web-1    10.0.0.11  confirmed  30 s      77  00c0ffe
"
        );
    }

    #[test]
    fn counts_name_the_backend_or_at_least_its_address() {
        let of = |backend: Option<&str>, live| FlowCount {
            vip: "web".to_owned(),
            backend: backend.map(str::to_owned),
            address: "10.0.0.11".parse().expect("address"),
            opened: 1,
            live,
            closing: 0,
        };
        assert_eq!(
            counted(&[of(Some("web-1"), 12_345), of(None, 7)], Style::PLAIN),
            "\
VIP  BACKEND  ADDRESS    OPENED   LIVE  CLOSING
web  web-1    10.0.0.11       1  12.3k        0
web           10.0.0.11       1      7        0
"
        );
    }

    #[test]
    fn an_import_says_what_was_left_out_and_why() {
        let half = FlowImport { taken: 10, known: 1, foreign: 0, over: 2, full: 0 };
        assert_eq!(
            imported(total(half, half)),
            "20 flows taken in\n2 left out: known here before\n4 left out: over by now\n"
        );
    }

    #[test]
    fn names_with_slashes_go_into_queries() {
        let filter = FlowFilter { vip: Some("192.0.2.1:80/tcp".to_owned()), backend: Some("a b".to_owned()) };
        assert_eq!(query(&filter), "&vip=192.0.2.1%3A80%2Ftcp&backend=a%20b");
    }
}
