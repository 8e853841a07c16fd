//! `access show`: prefixes of access lists and routes, by how many packets they decided about.

use crate::api::client::path_segment;
use crate::api::types::AccessPrefix;
use crate::cli::args::{AccessArgs, AccessCommand};
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Cell, Table, Tone, left, right};
use crate::cli::units::count;

pub(in crate::cli) async fn run(command: &AccessCommand) -> Result<(), CliError> {
    let AccessCommand::Show(AccessArgs { vip, top, client }) = command;
    let of = vip.as_ref().map(|vip| format!("&vip={}", path_segment(vip))).unwrap_or_default();
    let reply = client.client().get(&format!("/v1/access?top={top}{of}")).await?;
    client.show(&reply, |prefixes: &Vec<AccessPrefix>, style| list(prefixes, style))
}

fn list(prefixes: &[AccessPrefix], style: Style) -> String {
    let mut table = Table::new([left("PREFIX"), left("VERDICT"), left("VIP"), right("HITS")]);
    for AccessPrefix { vip, prefix, verdict, hits } in prefixes {
        let tone = if verdict == "deny" { Tone::Bad } else { Tone::Good };
        table.row([
            prefix.as_str().into(),
            Cell::new(verdict.as_str(), tone),
            vip.as_deref().unwrap_or("all").into(),
            count(*hits).into(),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_shows_whose_it_is_and_how_often_it_decided() {
        let prefix = |vip: Option<&str>, prefix: &str, verdict: &str, hits| AccessPrefix {
            vip: vip.map(str::to_owned),
            prefix: prefix.to_owned(),
            verdict: verdict.to_owned(),
            hits,
        };
        let shown = list(
            &[
                prefix(None, "192.0.2.0/24", "deny", 1200),
                prefix(Some("web"), "10.0.0.0/8", "route inner", 7),
            ],
            Style::PLAIN,
        );
        assert_eq!(
            shown,
            "\
PREFIX        VERDICT      VIP  HITS
192.0.2.0/24  deny         all  1.2k
10.0.0.0/8    route inner  web     7
"
        );
    }
}
