//! `backend`: list, and the runtime changes.

use std::time::Duration;

use super::vip::{note, state};
use crate::api::types::{Change, ChangeResult, DestStatus, SlowStartPlan, VipChange, VipChangeKind};
use crate::cli::args::{BackendArgs, BackendCommand, ChangeArgs, DrainArgs};
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
        BackendCommand::Remove { backend: BackendArgs { name, vip, change }, force } => {
            let remove = Change::Remove { backend: name.clone(), vip: vip.clone(), force: *force };
            (change, remove)
        }
        BackendCommand::Drain(args) => return drain(args).await,
        BackendCommand::Enable(BackendArgs { name, vip, change }) => {
            (change, Change::Enable { backend: name.clone(), vip: vip.clone() })
        }
        BackendCommand::Disable(BackendArgs { name, vip, change }) => {
            (change, Change::Disable { backend: name.clone(), vip: vip.clone() })
        }
        BackendCommand::Maintenance { backend: BackendArgs { name, vip, change }, timeout, force } => {
            let timeout_seconds = timeout.map(whole_seconds);
            let (backend, vip) = (name.clone(), vip.clone());
            (change, Change::Maintenance { backend, vip, timeout_seconds, force: *force })
        }
        BackendCommand::Undrain(BackendArgs { name, vip, change }) => {
            (change, Change::Undrain { backend: name.clone(), vip: vip.clone() })
        }
    };
    send(args, &change).await
}

async fn send(args: &ChangeArgs, change: &Change) -> Result<(), CliError> {
    let path = format!("/v1/changes?dry_run={}", args.dry_run);
    let reply = args.client.client().post(&path, change).await?;
    args.client.show(&reply, |result: &ChangeResult, _| changed(result))
}

async fn drain(args: &DrainArgs) -> Result<(), CliError> {
    let DrainArgs { backend: BackendArgs { name, vip, change }, timeout, force, wait } = args;
    let timeout_seconds = timeout.map(whole_seconds);
    let drain = Change::Drain { backend: name.clone(), vip: vip.clone(), timeout_seconds, force: *force };
    send(change, &drain).await?;
    if *wait {
        super::drain::wait(&change.client, name, vip.as_deref(), *force).await?;
    }
    Ok(())
}

fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_millis().div_ceil(1000) as u64
}

fn list(dests: &[DestStatus], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("BACKEND"),
        left("ADDRESS"),
        right("WEIGHT"),
        left("STATE"),
        right("SHARE"),
        right("FLOWS"),
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
            count(dest.flows).into(),
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
    let mut text = format!(
        "vip {} {kind}: {} of {} slots {} ({})\n",
        change.vip,
        change.slots_moved,
        change.ring_size,
        if dry_run { "would move" } else { "moved" },
        percent(part)
    );
    if change.transitions > 0 {
        text.push_str(&format!(
            "  {} in transition: flows that have begun stay where they are\n",
            change.transitions
        ));
    }
    if (change.flows_kept, change.flows_lost) != (0, 0) {
        let (kept, lost) = (count(change.flows_kept), count(change.flows_lost));
        text.push_str(&format!(
            "  of the flows that are remembered {kept} stay, {lost} go to other backends\n"
        ));
    }
    for SlowStartPlan { backend, takes_seconds, steps } in &change.slow_starts {
        text.push_str(&format!(
            "  {backend} starts slowly: it gets the rest of its share in {steps} steps within {takes_seconds} s\n"
        ));
    }
    text
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
VIP  BACKEND  ADDRESS    WEIGHT  STATE         SHARE  FLOWS  PACKETS   BYTES  NEW FLOWS  NOTE
web  web-1    10.0.0.11     100  healthy     100.0 %      0    12.3k  3.4 MB        456
web  web-2    10.0.0.12      50  draining      0.0 %     12        7   700 B          1  until 2026-01-02T03:09:07Z; changed by root, 2026-01-02T03:04:07Z
web  web-3    10.0.0.13     100  unresolved    0.0 %      0        0     0 B          0  no route to 10.0.0.13; add a route
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
            ..VipChange::default()
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
        result.vips.truncate(1);
        result.notes.clear();
        result.vips[0].transitions = 21_900;
        result.vips[0].flows_kept = 1200;
        result.vips[0].flows_lost = 3;
        result.vips[0].slow_starts =
            vec![SlowStartPlan { backend: "web-3".to_owned(), takes_seconds: 30.0, steps: 9 }];
        assert_eq!(
            changed(&result),
            "vip web would change: 21900 of 65537 slots would move (33.4 %)\n  \
             21900 in transition: flows that have begun stay where they are\n  \
             of the flows that are remembered 1.2k stay, 3 go to other backends\n  \
             web-3 starts slowly: it gets the rest of its share in 9 steps within 30 s\n"
        );
        result.vips.clear();
        assert_eq!(changed(&result), "nothing would change\n");
    }
}
