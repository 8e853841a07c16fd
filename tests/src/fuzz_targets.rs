//! An entry for every decoder that takes bytes from outside: it must neither panic nor break its own promises, whatever
//! the bytes are. `cargo xtask fuzz --target NAME` runs one of them; a new decoder adds a function and a line here.
//!
//! They are plain functions of bytes, as libFuzzer and AFL want them too.

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::Path;

use lb_common::abi::DecapOutcome;
use lb_user::api::flow_dump::FlowDump;
use lb_user::api::types::{Change, ChangeResult, ExplainReply, ExplainRequest, Stats, Status};
use lb_user::config::Config;
use lb_user::decap::options::IpPrefix;
use lb_vrrp::wire::{
    Advert, Authentication, Envelope, GROUP_V4, GROUP_V6, HOP_LIMIT, Interval, Ipv4Sum, Version, build,
    ipv4_packet, ipv6_packet, parse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decap::{Tables, on_host};
use crate::fuzz::generate::Generator;
use crate::fuzz::random::Random;
use crate::host::HostTables;
use crate::named_worlds::{WORLDS, named};
use crate::outcome::Outcome;
use crate::world::CAPACITY;

/// A decoder under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub what: &'static str,
    pub run: fn(&[u8]),
    /// What mutation starts from.
    pub corpus: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", what: "the packet story", run: packet, corpus: packets },
    Target { name: "decap", what: "decapsulation on a backend", run: decap, corpus: tunnels },
    Target { name: "config", what: "the text of a configuration file", run: config, corpus: configs },
    Target { name: "api", what: "JSON bodies of the API", run: api, corpus: bodies },
    Target { name: "flows", what: "a dump of remembered flows", run: flows, corpus: dumps },
    Target {
        name: "vrrp",
        what: "VRRP adverts, with and without their IP header",
        run: vrrp,
        corpus: adverts,
    },
];

/// The first byte chooses the world, the rest is a frame.
///
/// # Panics
/// When a packet that passes was touched, or one that leaves became shorter than it came.
pub fn packet(data: &[u8]) {
    thread_local! {
        static TABLES: RefCell<Vec<HostTables>> = RefCell::new(
            WORLDS.iter().map(|world| HostTables::filled(CAPACITY, &world.build().forwarding()).0).collect()
        );
    }
    let Some((world, frame)) = data.split_first() else { return };
    TABLES.with_borrow_mut(|tables| {
        let number = usize::from(*world) % tables.len();
        let (verdict, output) = tables[number].run(frame);
        let outcome = Outcome::of_host(&verdict);
        if outcome.is_pass() {
            assert_eq!(output, frame, "{outcome}: a passed packet must stay untouched");
        }
    });
}

/// A frame for a backend that takes tunnels in at one address of each family, from some sources.
///
/// # Panics
/// When a packet that is no tunnel's was touched, or a tunnel's did not become shorter by a header.
pub fn decap(data: &[u8]) {
    let tables = Tables {
        locals: ["10.0.0.1", "2001:db8:b::1"].map(|local| local.parse().expect("an address")).into(),
        sources: vec![
            IpPrefix { address: "192.0.2.0".parse().expect("an address"), prefix_len: 24 },
            IpPrefix { address: "2001:db8:ff::".parse().expect("an address"), prefix_len: 64 },
        ],
        gue_port: 6080,
    };
    let (outcome, output) = on_host(&tables, data);
    match outcome {
        DecapOutcome::Decapsulated => assert!(output.len() + 20 <= data.len(), "{outcome:?}"),
        outcome if outcome.is_drop() => {}
        outcome => assert_eq!(output, data, "{outcome:?}: a passed packet must stay untouched"),
    }
}

/// The text of a file: problems, or a configuration that reads back the same when written out.
///
/// # Panics
/// When it does not.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let path = Path::new("fuzz.toml");
    match Config::parse(path, &text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(first) => {
            let written = first.to_toml();
            let again = Config::parse(path, &written)
                .unwrap_or_else(|error| panic!("what was written does not read back: {error}\n{written}"));
            assert_eq!(again.to_toml(), written, "written out twice, it differs");
            assert_eq!(
                (again.vips, again.backends, again.addresses),
                (first.vips, first.backends, first.addresses)
            );
        }
    }
}

/// A body that the API, or its client, reads: refused, or the same when written and read again.
///
/// # Panics
/// When it is not.
pub fn api(data: &[u8]) {
    round_trip::<Change>(data);
    round_trip::<ExplainRequest>(data);
    round_trip::<ExplainReply>(data);
    round_trip::<ChangeResult>(data);
    round_trip::<Stats>(data);
    round_trip::<Status>(data);
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) {
    let Ok(first) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&first).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, first);
}

/// The first byte says how the packet came: 0 from an IPv4 router, 1 from an IPv6 router, else with its header in front.
///
/// # Panics
/// When an advert that is understood cannot be said again.
pub fn vrrp(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let opened = match kind {
        0 | 1 => Ok((link(*kind == 1), bytes)),
        2 => ipv4_packet(bytes),
        _ => ipv6_packet(bytes),
    };
    let Ok((envelope, message)) = opened else { return };
    match parse(message, &envelope) {
        Err(reject) => assert!(!reject.to_string().is_empty() && !reject.reason().is_empty()),
        Ok(first) => {
            let written = build(&first.advert, first.sum, &envelope).expect("what was read can be written");
            let again = parse(&written, &envelope).expect("what was written can be read");
            assert_eq!(again.advert, first.advert);
        }
    }
}

fn link(ipv6: bool) -> Envelope {
    let (source, destination) = if ipv6 {
        ("fe80::11".parse().expect("an address"), GROUP_V6.into())
    } else {
        ("10.9.0.11".parse().expect("an address"), GROUP_V4.into())
    };
    Envelope { source, destination, hop_limit: HOP_LIMIT }
}

/// One of each kind, and one of many addresses.
fn adverts() -> Vec<Vec<u8>> {
    let v4 = |count: u8| (0..count).map(|last| [10, 9, 0, last].into()).collect::<Vec<_>>();
    let v6: Vec<IpAddr> =
        vec!["fe80::50".parse().expect("an address"), "fd09::50".parse().expect("an address")];
    let password = Authentication::password("s3cr3t12");
    [
        (Version::V2, v4(1), Authentication::None, Ipv4Sum::Pseudo),
        (Version::V2, v4(3), password, Ipv4Sum::Pseudo),
        (Version::V3, v4(1), Authentication::None, Ipv4Sum::Pseudo),
        (Version::V3, v4(255), Authentication::None, Ipv4Sum::Plain),
        (Version::V3, v6, Authentication::None, Ipv4Sum::Pseudo),
    ]
    .into_iter()
    .map(|(version, addresses, authentication, sum)| {
        let ipv6 = addresses[0].is_ipv6();
        let interval = Interval::DEFAULT;
        let advert = Advert { version, vrid: 51, priority: 150, interval, addresses, authentication };
        let message = build(&advert, sum, &link(ipv6)).expect("an advert");
        [&[u8::from(ipv6)], message.as_slice()].concat()
    })
    .collect()
}

/// Some of what the differential fuzzer sends, of every world.
fn packets() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for (number, world) in (0..).zip(WORLDS) {
        let mut generator = Generator::new(&world.build(), Random::new(number.into()));
        corpus.extend((0..50).map(|_| [&[number], generator.frame().as_slice()].concat()));
    }
    corpus
}

/// What the balancer itself sends to the backends that [`decap`] stands for.
fn tunnels() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for (number, name) in (0..).zip(["4in4", "4in6", "6in4", "6in6"]) {
        let world = named(name).expect("a world").build();
        let (mut tables, _) = HostTables::filled(CAPACITY, &world.forwarding());
        let mut generator = Generator::new(&world, Random::new(number));
        corpus.extend((0..200).filter_map(|_| {
            let (verdict, output) = run(&mut tables, &generator.frame());
            verdict.then_some(output)
        }));
    }
    corpus
}

/// Whether a frame was forwarded, and what it became.
fn run(tables: &mut HostTables, frame: &[u8]) -> (bool, Vec<u8>) {
    let (verdict, output) = tables.run(frame);
    (verdict.is_ok(), output)
}

fn configs() -> Vec<Vec<u8>> {
    let examples = [
        include_str!("../../examples/dual-stack.toml"),
        include_str!("../../examples/gue.toml"),
        include_str!("../../examples/l2-dsr.toml"),
        include_str!("../../examples/one-interface.toml"),
        include_str!("../../examples/quic.toml"),
        include_str!("../../examples/two-interfaces.toml"),
        include_str!("../../docs/CONFIGURATION.md"),
    ];
    examples.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A dump of flows.
///
/// # Panics
/// When a dump that was taken does not read back as it was written.
pub fn flows(data: &[u8]) {
    match FlowDump::parse(&String::from_utf8_lossy(data)) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(dump) => assert_eq!(FlowDump::parse(&dump.to_text()), Ok(dump)),
    }
}

fn dumps() -> Vec<Vec<u8>> {
    let head =
        r#"{"format":"ferrolev-flows","version":1,"at":"2026-01-01T00:00:00Z","hash_seed":7,"buckets":128}"#;
    let flow = r#"{"vip":"192.0.2.1:80/tcp","route":0,"address":"10.0.0.1","backend":"web-1","state":"confirmed","age_ticks":7,"bucket":9,"tag":"00c0ffe"}"#;
    vec![head.into(), format!("{head}\n{flow}\n{flow}\n").into()]
}

fn bodies() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"action":"add","vip":"web","backend":"web-3","address":"10.0.0.9","weight":100}"#,
        r#"{"action":"remove","backend":"web-3","vip":null}"#,
        r#"{"action":"drain","backend":"web-3","vip":"198.51.100.1:80/tcp"}"#,
        r#"{"action":"weight","backend":"web-3","vip":"web","weight":7}"#,
        r#"{"source":"203.0.113.9:40000","destination":"[2001:db8::1]:80","protocol":"tcp"}"#,
        r#"{"dry_run":true,"vips":[{"vip":"web","kind":"changed","ring_size":251,"slots_moved":3,"notes":[]}],"notes":[]}"#,
        r#"{"at":"2026-01-01T00:00:00Z","vips":[],"reasons":[{"reason":"not_vip","kind":"pass","meaning":"","packets":1}]}"#,
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_bears_its_corpus_and_a_thousand_mutants() {
        for target in TARGETS {
            let corpus = (target.corpus)();
            assert!(!corpus.is_empty(), "{}", target.name);
            corpus.iter().for_each(|bytes| (target.run)(bytes));
            crate::fuzz::mutants(target, 1, 1000).unwrap_or_else(|failure| panic!("{failure}"));
        }
    }

    #[test]
    fn a_corpus_holds_what_its_decoder_takes() {
        let config = configs().into_iter().next().expect("an example");
        let text = String::from_utf8(config).expect("UTF-8");
        assert!(Config::parse(Path::new("example.toml"), &text).is_ok());
        assert!(bodies().iter().any(|body| serde_json::from_slice::<Change>(body).is_ok()));
        assert!(bodies().iter().any(|body| serde_json::from_slice::<ExplainRequest>(body).is_ok()));
        assert!(tunnels().len() > 100);
        assert!(adverts().iter().all(|bytes| parse(&bytes[1..], &link(bytes[0] == 1)).is_ok()));
    }
}
