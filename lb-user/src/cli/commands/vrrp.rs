//! `vrrp`: virtual routers at a glance, one of them in full, and what they are told to do.

mod show;

use super::keepalived;
use crate::api::client::path_segment;
use crate::api::types::{VrrpDone, VrrpExternal, VrrpOrder, VrrpRole, VrrpRouter, VrrpStatus};
use crate::cli::args::{ClientArgs, Switch, VrrpArgs, VrrpCommand};
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Cell, Table, Tone, left, right};

pub(in crate::cli) async fn run(args: &VrrpArgs) -> Result<(), CliError> {
    match &args.command {
        None => overview(&args.client, None).await,
        Some(VrrpCommand::Show { name, client }) => overview(client, name.as_deref()).await,
        Some(VrrpCommand::Failover { name, client }) => {
            let of = whose(name.as_deref());
            let say = format!("{of}: another host is asked to take over; see `ferrolev vrrp`");
            tell(client, &VrrpOrder::Failover { name: name.clone() }, &say).await
        }
        Some(VrrpCommand::Maintenance { state, name, client }) => {
            let on = *state == Switch::On;
            let say = format!(
                "{}: maintenance is {}",
                whose(name.as_deref()),
                if on { "on: this host is not master" } else { "off" }
            );
            tell(client, &VrrpOrder::Maintenance { name: name.clone(), on }, &say).await
        }
        Some(VrrpCommand::Own { name, client }) => {
            let say = format!("{name}: the addresses are this host's");
            tell(client, &VrrpOrder::Own { name: name.clone() }, &say).await
        }
        Some(VrrpCommand::Release { name, client }) => {
            let say = format!("{name}: the addresses are not this host's");
            tell(client, &VrrpOrder::Release { name: name.clone() }, &say).await
        }
        Some(VrrpCommand::Notify { kind, name, state, priority: _, daemon }) => {
            keepalived::notify(&daemon.socket, kind, name, state).await
        }
        Some(VrrpCommand::Follow { fifo, daemon }) => keepalived::follow(&daemon.socket, fifo).await,
    }
}

async fn overview(client: &ClientArgs, name: Option<&str>) -> Result<(), CliError> {
    let of = name.map(|name| format!("?name={}", path_segment(name))).unwrap_or_default();
    let reply = client.client().get(&format!("/v1/vrrp{of}")).await?;
    client.show(&reply, |status: &VrrpStatus, style| match name {
        None => list(status, style),
        Some(_) => show::all(status, style),
    })
}

fn whose(name: Option<&str>) -> &str {
    name.unwrap_or("all virtual routers")
}

async fn tell(client: &ClientArgs, order: &VrrpOrder, say: &str) -> Result<(), CliError> {
    let reply = client.client().post("/v1/vrrp", order).await?;
    client.show(&reply, |done: &VrrpDone, _| told(say, done))
}

/// A note says that something else than the order counts.
fn told(say: &str, done: &VrrpDone) -> String {
    if done.notes.is_empty() { format!("{say}\n") } else { done.notes.join("\n") + "\n" }
}

fn list(status: &VrrpStatus, style: Style) -> String {
    let mut parts = Vec::new();
    if !status.routers.is_empty() {
        parts.push(routers(&status.routers, style));
    }
    if !status.external.is_empty() {
        parts.push(externals(&status.external, style));
    }
    if parts.is_empty() {
        parts.push(
            "no virtual routers are configured; see [[vrrp.router]] in docs/CONFIGURATION.md\n".to_owned(),
        );
    }
    if !status.strays.is_empty() {
        let strays: Vec<String> =
            status.strays.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        parts.push(format!("adverts for no virtual router here: {}\n", strays.join(", ")));
    }
    parts.extend(status.fitness.reasons.iter().map(|reason| {
        format!("{}\n", style.paint(&format!("this host is not fit to be master: {reason}"), Tone::Bad))
    }));
    parts.join("\n")
}

fn routers(routers: &[VrrpRouter], style: Style) -> String {
    let mut table = Table::new([
        left("ROUTER"),
        left("GROUP"),
        left("INTERFACE"),
        right("ID"),
        left("ROLE"),
        left("SINCE"),
        right("PRIORITY"),
        left("MASTER"),
        left("NOTE"),
    ]);
    for router in routers {
        table.row([
            router.name.as_str().into(),
            router.group.as_deref().unwrap_or("-").into(),
            router.interface.as_str().into(),
            router.router_id.to_string().into(),
            role(router.role),
            router.since.as_deref().unwrap_or_default().into(),
            router.priority.to_string().into(),
            master(router).into(),
            note(router).into(),
        ]);
    }
    table.render(style)
}

fn master(router: &VrrpRouter) -> String {
    match (router.role, router.master) {
        (VrrpRole::Master, _) => "this host".to_owned(),
        (_, Some(master)) => master.to_string(),
        (_, None) => "-".to_owned(),
    }
}

fn externals(externals: &[VrrpExternal], style: Style) -> String {
    let mut table =
        Table::new([left("EXTERNAL"), left("ADDRESSES"), left("STATE"), left("SINCE"), left("WHY")]);
    for external in externals {
        let addresses: Vec<String> =
            external.addresses.iter().map(|address| address.address.to_string()).collect();
        let state = match external.owned {
            true => Cell::new("owned", Tone::Good),
            false => Cell::new("released", Tone::Faint),
        };
        table.row([
            external.name.as_str().into(),
            addresses.join(", ").into(),
            state,
            external.since.as_deref().unwrap_or_default().into(),
            external.why.as_str().into(),
        ]);
    }
    table.render(style)
}

fn role(role: VrrpRole) -> Cell {
    Cell::new(word(role), tone(role))
}

const fn word(role: VrrpRole) -> &'static str {
    match role {
        VrrpRole::Init => "init",
        VrrpRole::Backup => "backup",
        VrrpRole::Master => "master",
        VrrpRole::Fault => "fault",
    }
}

const fn tone(role: VrrpRole) -> Tone {
    match role {
        VrrpRole::Init => Tone::Waiting,
        VrrpRole::Backup => Tone::Plain,
        VrrpRole::Master => Tone::Good,
        VrrpRole::Fault => Tone::Bad,
    }
}

/// What is out of the ordinary.
fn note(router: &VrrpRouter) -> String {
    let mut parts: Vec<String> = router.trouble.iter().cloned().collect();
    parts.extend(
        router.faults.iter().map(|fault| format!("{} is in fault", subject(&fault.kind, &fault.name))),
    );
    parts.extend(router.maintenance.then(|| "in maintenance".to_owned()));
    parts.extend(router.handing_over.then(|| "hands over".to_owned()));
    if router.priority != router.configured_priority {
        parts.push(why_priority(router));
    }
    parts.join("; ")
}

/// `110 configured, -20 interface eth1`
fn why_priority(router: &VrrpRouter) -> String {
    let own = format!("{} configured", router.configured_priority);
    let tracked =
        router.parts.iter().map(|part| format!("{:+} {}", part.adds, subject(&part.kind, &part.name)));
    std::iter::once(own).chain(tracked).collect::<Vec<_>>().join(", ")
}

/// Some kinds have one subject, which needs no name.
fn subject(kind: &str, name: &str) -> String {
    if name.is_empty() || name == kind { kind.to_owned() } else { format!("{kind} {name}") }
}

#[cfg(test)]
mod tests;
