//! `vip list` and `vip show`.

use std::net::SocketAddr;

use crate::api::client::path_segment;
use crate::api::types::{BackendState, DestStatus, NextHopStatus, PolicyValues, RouteStatus, VipStatus};
use crate::cli::args::VipCommand;
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Cell, Table, Tone, left, right};
use crate::cli::units::{bytes, count, percent};
use crate::config;
use crate::state::{Announce, Fragments};

pub(in crate::cli) async fn run(command: &VipCommand) -> Result<(), CliError> {
    match command {
        VipCommand::List(client) => {
            let reply = client.client().get("/v1/vips").await?;
            client.show(&reply, |vips: &Vec<VipStatus>, style| list(vips, style))
        }
        VipCommand::Show { vip, client } => {
            let path = format!("/v1/vips/{}", path_segment(vip));
            let reply = client.client().get(&path).await?;
            client.show(&reply, show)
        }
    }
}

pub(super) fn list(vips: &[VipStatus], style: Style) -> String {
    let mut table = Table::new([
        left("VIP"),
        left("ADDRESS"),
        left("MODE"),
        right("RING SIZE"),
        left("AFFINITY"),
        right("BACKENDS"),
        right("PACKETS"),
        right("BYTES"),
        right("NEW FLOWS"),
    ]);
    for vip in vips {
        let healthy = vip.backends.iter().filter(|dest| dest.state == BackendState::Healthy).count();
        let tone = match healthy {
            0 => Tone::Bad,
            n if n < vip.backends.len() => Tone::Waiting,
            _ => Tone::Good,
        };
        table.row([
            vip.name.as_str().into(),
            key(vip).into(),
            config::mode_word(vip.mode).into(),
            vip.ring_size.to_string().into(),
            config::affinity_word(vip.affinity).into(),
            Cell::new(format!("{healthy}/{}", vip.backends.len()), tone),
            count(vip.counters.packets).into(),
            bytes(vip.counters.bytes).into(),
            count(vip.counters.new_flows).into(),
        ]);
    }
    table.render(style)
}

fn show(vip: &VipStatus, style: Style) -> String {
    let mut text = format!(
        "vip {}: {}, mode {}, affinity {}\n\
         {}\
         ring of {} slots, built in {} µs{}\n\
         {} packets, {}, {} new flows\n\n",
        vip.name,
        key(vip),
        config::mode_word(vip.mode),
        config::affinity_word(vip.affinity),
        options(vip),
        vip.ring_size,
        vip.ring_build_us,
        in_transition(vip),
        count(vip.counters.packets),
        bytes(vip.counters.bytes),
        count(vip.counters.new_flows),
    );
    let PolicyValues { new_flows, denied, vip_limited, source_limited } = vip.policy;
    if vip.policy != PolicyValues::default() {
        text.truncate(text.len() - 1);
        text.push_str(&format!(
            "{} flow attempts, {} packets denied, over the limit {} flows of the vip and {} of sources\n\n",
            count(new_flows),
            count(denied),
            count(vip_limited),
            count(source_limited),
        ));
    }
    text.push_str(&backends(&vip.backends, style));
    for RouteStatus { name, sources, backends: of_route } in &vip.routes {
        let prefixes = if *sources == 1 { "prefix" } else { "prefixes" };
        text.push_str(&format!("\nroute {name}: clients of {sources} {prefixes}\n"));
        text.push_str(&backends(of_route, style));
    }
    text
}

fn backends(dests: &[DestStatus], style: Style) -> String {
    let mut table = Table::new([
        left("BACKEND"),
        left("ADDRESS"),
        right("WEIGHT"),
        left("STATE"),
        right("SLOTS"),
        right("SHARE"),
        right("FLOWS"),
        right("PACKETS"),
        right("BYTES"),
        right("NEW FLOWS"),
        left("NEXT HOP"),
        left("NOTE"),
    ]);
    for dest in dests {
        table.row([
            dest.name.as_str().into(),
            dest.address.to_string().into(),
            dest.weight.to_string().into(),
            state(dest.state),
            dest.slots.to_string().into(),
            percent(dest.share).into(),
            count(dest.flows).into(),
            count(dest.counters.packets).into(),
            bytes(dest.counters.bytes).into(),
            count(dest.counters.new_flows).into(),
            dest.next_hop.as_ref().map(next_hop).unwrap_or_default().into(),
            note(dest).into(),
        ]);
    }
    table.render(style)
}

fn in_transition(vip: &VipStatus) -> String {
    match vip.slots_in_transition {
        0 => String::new(),
        slots => format!("; {slots} in transition"),
    }
}

/// A line with the options that are not as usual, or nothing.
fn options(vip: &VipStatus) -> String {
    let group = vip.group.as_ref().map(|group| format!("group {group}"));
    let fragments = vip.fragments != Fragments::default();
    let fragments = fragments.then(|| format!("fragments {}", config::fragments_word(vip.fragments)));
    let announce = vip.announce != Announce::default();
    let announce = announce.then(|| format!("announce {}", config::announce_word(vip.announce)));
    let options: Vec<_> = [group, fragments, announce].into_iter().flatten().collect();
    if options.is_empty() { String::new() } else { options.join(", ") + "\n" }
}

fn key(vip: &VipStatus) -> String {
    format!("{}/{}", SocketAddr::new(vip.address, vip.port), vip.protocol)
}

/// A state in its colour.
pub(super) fn state(state: BackendState) -> Cell {
    match state {
        BackendState::Initial => Cell::new("initial", Tone::Waiting),
        BackendState::Healthy => Cell::new("healthy", Tone::Good),
        BackendState::Unhealthy => Cell::new("unhealthy", Tone::Bad),
        BackendState::Standby => Cell::new("standby", Tone::Faint),
        BackendState::Draining => Cell::new("draining", Tone::Waiting),
        BackendState::Drained => Cell::new("drained", Tone::Faint),
        BackendState::Unused => Cell::new("unused", Tone::Faint),
        BackendState::Unresolved => Cell::new("unresolved", Tone::Bad),
    }
}

fn next_hop(hop: &NextHopStatus) -> String {
    let mut text = match hop.gateway {
        Some(gateway) => format!("{} via {gateway} {}", hop.interface, hop.mac),
        None => format!("{} {}", hop.interface, hop.mac),
    };
    if let Some(vlan) = hop.vlan {
        text.push_str(&format!(" vlan {vlan}"));
    }
    text
}

/// Why the state is what it is, and who made it so.
pub(super) fn note(dest: &DestStatus) -> String {
    let changed = dest.changed.as_ref().map(|mark| format!("changed by {}", super::changes::mark(mark)));
    let slow = dest.slow_start_percent.map(|percent| format!("slow start {percent} %"));
    let is_draining = dest.state == BackendState::Draining;
    let deadline = dest.drain_deadline.as_ref().filter(|_| is_draining).map(|at| format!("until {at}"));
    let parts: Vec<_> = dest.reason.clone().into_iter().chain(slow).chain(deadline).chain(changed).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_vip_shows_its_backends_with_shares_and_next_hops() {
        assert_eq!(
            show(&samples::vip(), Style::PLAIN),
            "\
vip web: 192.0.2.1:80/tcp, mode ipip, affinity five-tuple
ring of 65537 slots, built in 850 µs; 21900 in transition
12.3k packets, 3.4 MB, 456 new flows

BACKEND  ADDRESS    WEIGHT  STATE       SLOTS    SHARE  FLOWS  PACKETS   BYTES  NEW FLOWS  NEXT HOP                                        NOTE
web-1    10.0.0.11     100  healthy     65537  100.0 %      0    12.3k  3.4 MB        456  eth0 via 192.0.2.254 02:00:00:00:00:01 vlan 42
web-2    10.0.0.12      50  draining        0    0.0 %     12        7   700 B          1  eth0 02:00:00:00:00:02                          until 2026-01-02T03:09:07Z; changed by root, 2026-01-02T03:04:07Z
web-3    10.0.0.13     100  unresolved      0    0.0 %      0        0     0 B          0                                                  no route to 10.0.0.13; add a route
"
        );
    }

    #[test]
    fn the_backends_of_routes_have_tables_of_their_own() {
        let mut vip = samples::vip();
        let own = DestStatus { route: Some("eu".to_owned()), ..vip.backends.remove(0) };
        let routes = vec![
            RouteStatus { name: "eu".to_owned(), sources: 3, backends: vec![own] },
            RouteStatus { name: "nobody".to_owned(), sources: 1, backends: Vec::new() },
        ];
        let shown = show(&VipStatus { routes, ..vip }, Style::PLAIN);
        let (_, routes) = shown.split_once("\nroute eu: clients of 3 prefixes\n").expect("the first route");
        assert!(routes.lines().nth(1).is_some_and(|line| line.starts_with("web-1    10.0.0.11")), "{shown}");
        assert!(routes.contains("\nroute nobody: clients of 1 prefix\nBACKEND"), "{shown}");
    }

    #[test]
    fn options_that_are_not_as_usual_have_a_line() {
        let vip = VipStatus {
            group: Some("shop".to_owned()),
            fragments: Fragments::Hash,
            announce: Announce::Arp,
            ..samples::vip()
        };
        let shown = show(&vip, Style::PLAIN);
        assert_eq!(shown.lines().nth(1), Some("group shop, fragments hash, announce arp"), "{shown}");
    }

    #[test]
    fn a_slow_start_is_noted() {
        let dest = DestStatus { slow_start_percent: Some(40), ..samples::vip().backends.remove(0) };
        assert_eq!(note(&dest), "slow start 40 %");
    }

    #[test]
    fn states_have_colours_on_a_terminal() {
        let shown = show(&samples::vip(), Style::COLOURED);
        for painted in ["\u{1b}[32mhealthy", "\u{1b}[33mdraining", "\u{1b}[31munresolved"] {
            assert!(shown.contains(painted), "{painted:?}");
        }
        let listed = list(&[samples::vip()], Style::COLOURED);
        assert!(listed.contains("\u{1b}[33m1/3\u{1b}[0m"), "{listed:?}");
    }
}
