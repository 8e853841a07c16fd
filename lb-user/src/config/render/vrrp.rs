//! Virtual routers, and what belongs to them, as a file would say it.

use lb_vrrp::announce::Schedule;
use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::{Authentication, Interval, Version};

use super::check::{Text, number, text, texts_of};
use super::{duration, line, quoted};
use crate::config::{Config, DEFAULT_PRIORITY, words};
use crate::vrrp::{Address, External, Router, Subject, Tracker, Wanted};

/// How often a script runs when nobody says otherwise.
const DEFAULT_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

impl Config {
    pub(super) fn vrrp(&self, out: &mut String) {
        let limit = self.vrrp.gate_limit;
        self.section(out, "vrrp", |config, out| {
            let text = quoted(&duration(limit));
            config.some(out, &["vrrp", "start_limit"], text, limit != Wanted::GATE_LIMIT);
        });
        for (kind, name, texts) in vrrp_texts(&self.vrrp) {
            out.push_str(&format!("\n[[vrrp.{kind}]]\n"));
            line(out, "name", quoted(name));
            for text in texts {
                self.some(out, &["vrrp", kind, name, text.key], text.toml, text.differs);
            }
        }
    }
}

/// Every block by its kind and name, in the order of the reference.
pub(in crate::config) fn vrrp_texts(wanted: &Wanted) -> Vec<(&'static str, &str, Vec<Text>)> {
    let routers = wanted.routers.iter().map(|(name, router)| ("router", name.as_str(), of_router(router)));
    let groups = wanted
        .groups
        .iter()
        .map(|(name, members)| ("group", name.as_str(), vec![texts_of("routers", members.clone(), true)]));
    let trackers =
        wanted.trackers.iter().map(|(name, tracker)| ("tracker", name.as_str(), of_tracker(tracker)));
    let external =
        wanted.external.iter().map(|(name, external)| ("external", name.as_str(), of_external(external)));
    routers.chain(groups).chain(trackers).chain(external).collect()
}

fn of_router(router: &Router) -> Vec<Text> {
    let Router {
        interface,
        vrid,
        version,
        priority,
        interval,
        addresses,
        more_addresses,
        preempt,
        authentication,
        peers,
        source,
        check_hop_limit,
        sum,
        virtual_mac,
        fencing,
        accept,
        announce,
        track,
    } = router;
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let delay = match preempt {
        Preempt::After(delay) => duration(*delay),
        Preempt::Now | Preempt::Never => String::new(),
    };
    let password = password(authentication);
    let mut texts = vec![
        text("interface", interface, true),
        number("router_id", vrid.to_string(), true),
        texts_of("addresses", shown(addresses), true),
        texts_of("more_addresses", shown(more_addresses), !more_addresses.is_empty()),
        number("version", version.number().to_string(), *version != Version::V3),
        number("priority", priority.to_string(), *priority != DEFAULT_PRIORITY),
        text("interval", &duration(interval.duration()), *interval != Interval::DEFAULT),
        text("preempt", words::preempt(*preempt), *preempt != Preempt::Now),
        text("preempt_delay", &delay, !delay.is_empty()),
        texts_of("peers", peers.clone(), !peers.is_empty()),
        optional("source", source.map(|source| source.to_string())),
        number("check_hop_limit", check_hop_limit.to_string(), !check_hop_limit),
        optional("password", password),
        text("checksum", words::checksum(*sum), *sum != Default::default()),
        number("virtual_mac", virtual_mac.to_string(), *virtual_mac),
        number("fencing", fencing.to_string(), !fencing),
        number("accept", accept.to_string(), !accept),
    ];
    texts.extend(of_schedule(announce));
    texts.push(of_tracks(track));
    texts
}

fn of_schedule(schedule: &Schedule) -> [Text; 5] {
    let Schedule { repeat, delay, refresh, refresh_repeat, lower_priority_repeat } = schedule;
    let default = Schedule::default();
    let rounds = |key, rounds: u8, usual: u8| number(key, rounds.to_string(), rounds != usual);
    [
        rounds("announce_repeat", *repeat, default.repeat),
        text("announce_delay", &duration(*delay), *delay != default.delay),
        text("announce_refresh", &duration(*refresh), *refresh != default.refresh),
        rounds("announce_refresh_repeat", *refresh_repeat, default.refresh_repeat),
        rounds("announce_lower_priority_repeat", *lower_priority_repeat, default.lower_priority_repeat),
    ]
}

fn of_tracks(tracks: &[(Subject, i16)]) -> Text {
    let one = |(subject, weight): &(Subject, i16)| {
        let (key, plain, toml) = match subject {
            Subject::Interface(name) => ("interface", name.clone(), quoted(name)),
            Subject::Tracker(name) => ("tracker", name.clone(), quoted(name)),
            Subject::Vip(name) => ("vip", name.clone(), quoted(name)),
            Subject::Fitness => ("fitness", String::new(), "true".to_owned()),
        };
        let plain = [key, &plain].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        (
            format!("{plain} {weight}"),
            match weight {
                0 => format!("{{ {key} = {toml} }}"),
                weight => format!("{{ {key} = {toml}, weight = {weight} }}"),
            },
        )
    };
    let (plain, toml): (Vec<_>, Vec<_>) = tracks.iter().map(one).unzip();
    Text {
        key: "track",
        plain: plain.join(", "),
        toml: format!("[{}]", toml.join(", ")),
        differs: !tracks.is_empty(),
    }
}

fn of_tracker(tracker: &Tracker) -> Vec<Text> {
    match tracker {
        Tracker::Script { command, interval, timeout, rise, fall } => vec![
            texts_of("command", command.clone(), true),
            text("interval", &duration(*interval), *interval != DEFAULT_INTERVAL),
            text("timeout", &duration(*timeout), timeout != interval),
            number("rise", rise.to_string(), *rise != 1),
            number("fall", fall.to_string(), *fall != 1),
        ],
        Tracker::File { path } => vec![text("file", &path.display().to_string(), true)],
    }
}

fn of_external(external: &External) -> Vec<Text> {
    let addresses = external.addresses.iter().map(|address| address.address.to_string()).collect();
    let follows = external.follows.map(|follows| follows.to_string());
    vec![
        texts_of("addresses", addresses, true),
        optional("follows", follows),
        text("lease", &duration(external.lease), external.lease != External::LEASE),
    ]
}

fn optional(key: &'static str, value: Option<String>) -> Text {
    text(key, value.as_deref().unwrap_or_default(), value.is_some())
}

/// A prefix that holds one address goes without saying.
fn shown(addresses: &[Address]) -> Vec<String> {
    let one = |address: &Address| {
        let Address { address, prefix_len, .. } = address;
        match (address.is_ipv4(), prefix_len) {
            (true, 32) | (false, 128) => address.to_string(),
            _ => format!("{address}/{prefix_len}"),
        }
    };
    addresses.iter().map(one).collect()
}

fn password(authentication: &Authentication) -> Option<String> {
    match authentication {
        Authentication::None => None,
        Authentication::Password(bytes) => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
        }
    }
}
