//! `peer`: copies of other nodes' flows, and who this node is for them.

use crate::api::types::{PeerCopy, PeerReport, PeersReport};
use crate::cli::args::{ClientArgs, PeerArgs, PeerCommand};
use crate::cli::error::CliError;
use crate::cli::output::{Style, print};
use crate::cli::table::{Cell, Table, Tone, left, right};
use crate::cli::units::count;
use crate::peers::{Identity, identity_file};

pub(in crate::cli) async fn run(args: &PeerArgs) -> Result<(), CliError> {
    match &args.command {
        None => show(&args.client).await,
        Some(PeerCommand::Show { client }) => show(client).await,
        Some(PeerCommand::Fingerprint { state_dir, instance }) => {
            let what = "cannot say who this node is for its peers";
            std::fs::create_dir_all(state_dir).map_err(CliError::operation(what))?;
            let file = identity_file(state_dir, instance.as_str());
            let identity = Identity::load_or_make(&file).map_err(CliError::operation(what))?;
            print(&format!("{}\n", identity.fingerprint()))
        }
    }
}

async fn show(client: &ClientArgs) -> Result<(), CliError> {
    let reply = client.client().get("/v1/peers").await?;
    client.show(&reply, list)
}

fn list(report: &PeersReport, style: Style) -> String {
    if report.peers.is_empty() {
        return "no peers are configured; see [[peer]] in docs/CONFIGURATION.md\n".to_owned();
    }
    let mut table = Table::new([
        left("PEER"),
        left("ADDRESS"),
        left("COPY"),
        right("BEHIND"),
        right("VIPS"),
        right("FLOWS"),
        right("LEFT OUT"),
        left("HOLDS OURS"),
        right("TOLD"),
    ]);
    for PeerReport { name, address, copy, told } in &report.peers {
        let holds =
            if told.connected { Cell::new("yes", Tone::Good) } else { Cell::new("no", Tone::Waiting) };
        table.row([
            name.as_str().into(),
            address.to_string().into(),
            state(copy),
            copy.lag_ms.map_or_else(String::new, |lag| format!("{lag} ms")).into(),
            copy.vips.to_string().into(),
            count(copy.flows).into(),
            count(copy.flows_left_out).into(),
            holds,
            count(told.flows).into(),
        ]);
    }
    let mut text = table.render(style);
    let troubles = report.peers.iter().filter_map(|peer| {
        let trouble = peer.copy.trouble.as_ref().filter(|_| !peer.copy.connected)?;
        Some(format!("{}: {trouble}\n", peer.name))
    });
    for trouble in report.trouble.iter().map(|trouble| format!("{trouble}\n")).chain(troubles) {
        text.push_str(&trouble);
    }
    text
}

fn state(copy: &PeerCopy) -> Cell {
    match (copy.connected, copy.in_step) {
        (true, true) => Cell::new("in step", Tone::Good),
        (true, false) => Cell::new("behind", Tone::Waiting),
        (false, _) => Cell::new("no connection", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::PeerTold;

    fn report() -> PeersReport {
        let copy = PeerCopy {
            connected: true,
            in_step: true,
            lag_ms: Some(104),
            vips: 2,
            flows: 12_345,
            flows_left_out: 1,
            connections: 1,
            trouble: None,
        };
        let told = PeerTold { connected: false, flows: 0, batches_open: 0, trouble: None };
        let peer = |name: &str, copy| PeerReport {
            name: name.to_owned(),
            address: "10.0.0.2:7946".parse().expect("address"),
            copy,
            told: told.clone(),
        };
        let trouble = Some("10.0.0.2:7946: Connection refused (os error 111)".to_owned());
        let lost = PeerCopy { connected: false, in_step: false, lag_ms: None, trouble, ..copy.clone() };
        PeersReport { peers: vec![peer("edge-b", copy), peer("edge-c", lost)], ..PeersReport::default() }
    }

    #[test]
    fn peers_are_listed_with_how_far_their_copies_are_behind() {
        assert_eq!(
            list(&report(), Style::PLAIN),
            "\
PEER    ADDRESS        COPY           BEHIND  VIPS  FLOWS  LEFT OUT  HOLDS OURS  TOLD
edge-b  10.0.0.2:7946  in step        104 ms     2  12.3k         1  no             0
edge-c  10.0.0.2:7946  no connection             2  12.3k         1  no             0
edge-c: 10.0.0.2:7946: Connection refused (os error 111)
"
        );
        assert!(list(&PeersReport::default(), Style::PLAIN).starts_with("no peers are configured"));
    }
}
