//! One virtual router in full.

use super::{externals, master, role, subject, why_priority, word};
use crate::api::types::{VrrpCounters, VrrpRouter, VrrpStatus};
use crate::cli::output::Style;
use crate::cli::table::{Table, left, right};
use crate::config;

pub(super) fn all(status: &VrrpStatus, style: Style) -> String {
    let mut parts: Vec<String> = status.routers.iter().map(|router| one(router, style)).collect();
    if !status.external.is_empty() {
        parts.push(externals(&status.external, style));
    }
    parts.join("\n")
}

fn one(router: &VrrpRouter, style: Style) -> String {
    let mut text = String::new();
    let group = router.group.as_ref().map(|group| format!(", group {group}")).unwrap_or_default();
    text.push_str(&format!(
        "virtual router {} (id {}, version {}) on {}{group}\n",
        router.name, router.router_id, router.version, router.interface
    ));
    for (what, value) in lines(router) {
        text.push_str(&format!("  {what:<10} {value}\n"));
    }
    for table in [peers(router, style), transitions(router, style)].into_iter().flatten() {
        text.push('\n');
        text.push_str(&table);
    }
    text
}

fn lines(router: &VrrpRouter) -> Vec<(&'static str, String)> {
    let since = router.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
    let mut lines = vec![
        ("role", format!("{}{since}", word(router.role))),
        ("master", master(router)),
        ("priority", format!("{}: {}", router.priority, why_priority(router))),
    ];
    let faults: Vec<String> = router.faults.iter().map(|fault| subject(&fault.kind, &fault.name)).collect();
    lines.extend((!faults.is_empty()).then(|| ("in fault", faults.join(", "))));
    lines.extend(router.trouble.clone().map(|trouble| ("trouble", trouble)));
    lines.extend(
        router.maintenance.then(|| ("note", "in maintenance: not master until it is off".to_owned())),
    );
    lines.extend(
        router
            .handing_over
            .then(|| ("note", "hands over: keeps the addresses until another host takes them".to_owned())),
    );
    let from = router.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let next = router.due_in_ms.map(|due| format!("; next step in {due} ms")).unwrap_or_default();
    lines.push(("adverts", format!("every {} ms{from}{next}", router.interval_ms)));
    lines.extend(router.lease_left_ms.map(|left| ("lease", format!("ends in {left} ms unless renewed"))));
    let addresses: Vec<String> = router
        .addresses
        .iter()
        .map(|address| {
            let more = if address.advertised { "" } else { ", not advertised" };
            format!("{} ({}{more})", address.address, config::announce_word(address.announce))
        })
        .collect();
    lines.push(("addresses", addresses.join(", ")));
    lines.push(("counted", counted(&router.counters)));
    let rejects: Vec<String> =
        router.rejects.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    lines.extend((!rejects.is_empty()).then(|| ("rejected", rejects.join(", "))));
    lines
}

fn counted(counters: &VrrpCounters) -> String {
    let VrrpCounters {
        transitions,
        became_master,
        adverts_sent,
        adverts_received,
        farewells_sent,
        farewells_received,
        dual_masters,
        dual_master_seconds,
        claims,
    } = counters;
    let mut text = format!(
        "{adverts_sent} adverts sent, {adverts_received} received; {farewells_sent} farewells sent, {farewells_received} received; {transitions} changes of the role, {became_master} times master"
    );
    if *dual_masters > 0 {
        text.push_str(&format!("; {dual_masters} times beside another master, {dual_master_seconds:.3} s"));
    }
    if *claims > 0 {
        text.push_str(&format!("; {claims} claims of other hosts"));
    }
    text
}

fn peers(router: &VrrpRouter, style: Style) -> Option<String> {
    let mut table = Table::new([
        left("PEER"),
        right("VERSION"),
        right("PRIORITY"),
        right("HEARD"),
        right("HEEDED"),
        right("REJECTED"),
        left("LAST REJECT"),
    ]);
    for peer in &router.peers {
        table.row([
            peer.address.to_string().into(),
            peer.version.to_string().into(),
            peer.priority.to_string().into(),
            peer.heard_ago_ms.map_or_else(|| "-".to_owned(), ago).into(),
            peer.heeded.to_string().into(),
            peer.rejected.to_string().into(),
            peer.last_reject.as_deref().unwrap_or_default().into(),
        ]);
    }
    (!router.peers.is_empty()).then(|| table.render(style))
}

fn ago(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{millis} ms ago"),
        _ => format!("{} s ago", millis / 1000),
    }
}

fn transitions(router: &VrrpRouter, style: Style) -> Option<String> {
    let mut table = Table::new([left("CHANGED"), left("FROM"), left("TO"), left("WHY")]);
    for transition in &router.transitions {
        table.row([
            transition.at.as_str().into(),
            word(transition.from).into(),
            role(transition.to),
            transition.why.as_str().into(),
        ]);
    }
    (!router.transitions.is_empty()).then(|| table.render(style))
}
