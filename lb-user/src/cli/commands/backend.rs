//! `backend`: list, and the runtime changes.

use super::vip::{note, state};
use crate::api::types::{Change, ChangeResult, DestStatus, VipChange, VipChangeKind};
use crate::cli::args::{BackendArgs, BackendCommand, ChangeArgs};
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Table, left, right};
use crate::cli::units::{bytes, count, percent};

pub(in crate::cli) async fn run(command: &BackendCommand) -> Result<(), CliError> {
    let (args, change) = match command {
        BackendCommand::List(client) => {
            let reply = client.client().get("/v1/backends").await?;
            return client.show(&reply, |dests: &Vec<DestStatus>, style| list(dests, style));
        }
        BackendCommand::Add { name, vip, address, weight, change } => {
            let add =
                Change::Add { vip: vip.clone(), backend: name.clone(), address: *address, weight: *weight };
            (change, add)
        }
        BackendCommand::Weight { name, weight, vip, change } => {
            let weigh = Change::Weight { backend: name.clone(), vip: vip.clone(), weight: *weight };
            (change, weigh)
        }
        BackendCommand::Remove(args) => simple(args, |backend, vip| Change::Remove { backend, vip }),
        BackendCommand::Drain(args) => simple(args, |backend, vip| Change::Drain { backend, vip }),
        BackendCommand::Undrain(args) => simple(args, |backend, vip| Change::Undrain { backend, vip }),
    };
    let path = format!("/v1/changes?dry_run={}", args.dry_run);
    let reply = args.client.client().post(&path, &change).await?;
    args.client.show(&reply, |result: &ChangeResult, _| changed(result))
}

fn simple(args: &BackendArgs, change: fn(String, Option<String>) -> Change) -> (&ChangeArgs, Change) {
    (&args.change, change(args.name.clone(), args.vip.clone()))
}

fn list(dests: &[DestStatus], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        left("ADDRESS"),
        right("WEIGHT"),
        left("STATE"),
        right("SHARE"),
        right("PACKETS"),
        right("BYTES"),
        right("NEW FLOWS"),
        left("NOTE"),
    ]);
    for dest in dests {
        table.row([
            place(dest).into(),
            dest.name.as_str().into(),
            dest.address.to_string().into(),
            dest.weight.to_string().into(),
            state(dest.state),
            percent(dest.share).into(),
            count(dest.counters.packets).into(),
            bytes(dest.counters.bytes).into(),
            count(dest.counters.new_flows).into(),
            note(dest).into(),
        ]);
    }
    table.render(style)
}

/// The vip, and the route in it.
fn place(DestStatus { vip, route, .. }: &DestStatus) -> String {
    route.as_ref().map_or_else(|| vip.clone(), |route| format!("{vip}, route {route}"))
}

/// What a change or a reload did to each vip.
pub(super) fn changed(result: &ChangeResult) -> String {
    let mut text = String::new();
    if result.vips.is_empty() {
        text.push_str(if result.dry_run { "nothing would change\n" } else { "nothing changes\n" });
    }
    for vip in &result.vips {
        text.push_str(&line(vip, result.dry_run));
    }
    for note in &result.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn line(change: &VipChange, dry_run: bool) -> String {
    let kind = match (change.kind, dry_run) {
        (VipChangeKind::Added, false) => "added",
        (VipChangeKind::Added, true) => "would be added",
        (VipChangeKind::Removed, false) => "removed",
        (VipChangeKind::Removed, true) => "would be removed",
        (VipChangeKind::Changed, false) => "changed",
        (VipChangeKind::Changed, true) => "would change",
    };
    let part = f64::from(change.slots_moved) / f64::from(change.ring_size.max(1));
    format!(
        "vip {} {kind}: {} of {} slots {} ({})\n",
        change.vip,
        change.slots_moved,
        change.ring_size,
        if dry_run { "would move" } else { "moved" },
        percent(part)
    )
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn backends_are_listed_by_vip() {
        assert_eq!(
            list(&samples::vip().backends, Style::PLAIN),
            "\
VIP  BACKEND  ADDRESS    WEIGHT  STATE         SHARE  PACKETS   BYTES  NEW FLOWS  NOTE
web  web-1    10.0.0.11     100  active      100.0 %    12.3k  3.4 MB        456
web  web-2    10.0.0.12      50  draining      0.0 %        7   700 B          1  changed by root, 2026-01-02T03:04:07Z
web  web-3    10.0.0.13     100  unresolved    0.0 %        0     0 B          0  no route to 10.0.0.13; add a route
"
        );
    }

    #[test]
    fn a_change_says_how_many_slots_move() {
        let vip = |name: &str, kind, slots_moved| VipChange {
            vip: name.to_owned(),
            kind,
            ring_size: 65_537,
            slots_moved,
        };
        let mut result = ChangeResult {
            dry_run: false,
            vips: vec![vip("web", VipChangeKind::Changed, 21_900), vip("dns", VipChangeKind::Added, 65_537)],
            notes: vec!["vip dns has no backend left".to_owned()],
        };
        assert_eq!(
            changed(&result),
            "vip web changed: 21900 of 65537 slots moved (33.4 %)\n\
             vip dns added: 65537 of 65537 slots moved (100.0 %)\n\
             note: vip dns has no backend left\n"
        );
        result.dry_run = true;
        assert!(
            changed(&result).starts_with("vip web would change: 21900 of 65537 slots would move (33.4 %)\n")
        );
        result.vips.clear();
        result.notes.clear();
        assert_eq!(changed(&result), "nothing would change\n");
    }
}
