//! `changes`: the journal of runtime changes.

use crate::api::types::{Change, ChangeMark, JournalEntry};
use crate::cli::args::ClientArgs;
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Table, left};

pub(in crate::cli) async fn run(client: &ClientArgs) -> Result<(), CliError> {
    let reply = client.client().get("/v1/changes").await?;
    client.show(&reply, |entries: &Vec<JournalEntry>, style| text(entries, style))
}

fn text(entries: &[JournalEntry], style: Style) -> String {
    let mut table = Table::new([left("TIME"), left("BY"), left("CHANGE")]);
    for entry in entries {
        table.row([
            entry.mark.at.as_str().into(),
            entry.mark.by.as_str().into(),
            change(&entry.change).into(),
        ]);
    }
    table.render(style)
}

/// Who and when.
pub(super) fn mark(mark: &ChangeMark) -> String {
    format!("{}, {}", mark.by, mark.at)
}

/// A change as the command that makes it.
fn change(change: &Change) -> String {
    let of = |vip: &Option<String>| vip.as_ref().map(|vip| format!(" --vip {vip}")).unwrap_or_default();
    let within =
        |timeout: Option<u64>| timeout.map(|seconds| format!(" --timeout {seconds}s")).unwrap_or_default();
    let by_force = |force| if force { " --force" } else { "" };
    match change {
        Change::Add { vip, backend, address, weight } => {
            let address = address.map(|address| format!(" --address {address}")).unwrap_or_default();
            let weight = weight.map(|weight| format!(" --weight {weight}")).unwrap_or_default();
            format!("add {backend} --vip {vip}{address}{weight}")
        }
        Change::Remove { backend, vip, force } => format!("remove {backend}{}{}", of(vip), by_force(*force)),
        Change::Drain { backend, vip, timeout_seconds, force } => {
            format!("drain {backend}{}{}{}", of(vip), within(*timeout_seconds), by_force(*force))
        }
        Change::Disable { backend, vip } => format!("disable {backend}{}", of(vip)),
        Change::Maintenance { backend, vip, timeout_seconds, force } => {
            format!("maintenance {backend}{}{}{}", of(vip), within(*timeout_seconds), by_force(*force))
        }
        Change::Enable { backend, vip } => format!("enable {backend}{}", of(vip)),
        Change::Undrain { backend, vip } => format!("undrain {backend}{}", of(vip)),
        Change::Weight { backend, vip, weight } => format!("weight {backend} {weight}{}", of(vip)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_journal_reads_like_the_commands_that_wrote_it() {
        let vip = Some("web".to_owned());
        let backend = || "web-3".to_owned();
        let changes = [
            Change::Add {
                vip: "web".to_owned(),
                backend: backend(),
                address: Some("10.0.0.13".parse().expect("address")),
                weight: Some(5),
            },
            Change::Drain { backend: backend(), vip: vip.clone(), timeout_seconds: None, force: false },
            Change::Drain { backend: backend(), vip: None, timeout_seconds: Some(300), force: true },
            Change::Undrain { backend: backend(), vip: None },
            Change::Disable { backend: backend(), vip: vip.clone() },
            Change::Maintenance { backend: backend(), vip: None, timeout_seconds: Some(9), force: true },
            Change::Enable { backend: backend(), vip: None },
            Change::Weight { backend: backend(), vip, weight: 7 },
            Change::Remove { backend: backend(), vip: None, force: false },
            Change::Remove { backend: backend(), vip: None, force: true },
        ];
        let entries = changes.map(|change| JournalEntry { mark: samples::mark(), change });
        assert_eq!(
            text(&entries, Style::PLAIN),
            "\
TIME                  BY    CHANGE
2026-01-02T03:04:07Z  root  add web-3 --vip web --address 10.0.0.13 --weight 5
2026-01-02T03:04:07Z  root  drain web-3 --vip web
2026-01-02T03:04:07Z  root  drain web-3 --timeout 300s --force
2026-01-02T03:04:07Z  root  undrain web-3
2026-01-02T03:04:07Z  root  disable web-3 --vip web
2026-01-02T03:04:07Z  root  maintenance web-3 --timeout 9s --force
2026-01-02T03:04:07Z  root  enable web-3
2026-01-02T03:04:07Z  root  weight web-3 7 --vip web
2026-01-02T03:04:07Z  root  remove web-3
2026-01-02T03:04:07Z  root  remove web-3 --force
"
        );
    }
}
