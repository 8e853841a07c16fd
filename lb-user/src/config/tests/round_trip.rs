//! Any text ends in a configuration or in problems, and a configuration written out reads back the same.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::state::{SourcePrefix, VipKey};

fn unicast4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..127, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
}

fn unicast6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(0x2001_0db8 << 96 | bits >> 32))
}

fn unicast() -> impl Strategy<Value = IpAddr> {
    prop_oneof![unicast4().prop_map(IpAddr::V4), unicast6().prop_map(IpAddr::V6)]
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9._/-]{0,20}"
}

fn ring_size() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![251, 4093, 65_537])
}

prop_compose! {
    fn backends()(
        names in prop::collection::btree_set(name(), 0..6),
        addresses in prop::collection::btree_set(unicast(), 6),
        weights in prop::collection::vec(prop_oneof![Just(100u32), 0..=65_535u32], 6),
    ) -> BTreeMap<String, BackendConfig> {
        let rest = addresses.into_iter().zip(weights);
        names.into_iter().zip(rest).map(|(name, (address, weight))| (name, BackendConfig { address, weight, mode: None, server_id: None })).collect()
    }
}

prop_compose! {
    fn vip(backends: Vec<String>)(
        key in (unicast(), any::<u16>(), prop::sample::select(vec![Protocol::Tcp, Protocol::Udp])),
        name in prop::option::of(name()),
        ring_size in ring_size(),
        affinity in prop::sample::select(vec![Affinity::FiveTuple, Affinity::Source]),
        members in prop::sample::subsequence(backends.clone(), 0..=backends.len()),
        weight in prop::option::of(0..=65_535u32),
    ) -> (VipKey, VipConfig) {
        let (address, port, protocol) = key;
        let key = VipKey { address, port, protocol };
        (key, VipConfig {
            name: name.unwrap_or_else(|| key.to_string()),
            mode: Mode::Ipip,
            ring_size,
            affinity,
            options: VipOptions::default(),
            routes: Vec::new(),
            backends: members.into_iter().map(|name| (name, weight)).collect(),
        })
    }
}

fn pinged(vips: &BTreeMap<VipKey, VipConfig>) -> BTreeMap<IpAddr, DesiredAddress> {
    let address = DesiredAddress { ping: true, ..DesiredAddress::default() };
    vips.keys().map(|key| (key.address, address.clone())).collect()
}

fn config() -> impl Strategy<Value = Config> {
    let settings = (
        prop::collection::btree_set("[a-km-z][a-z][a-z0-9.\"'#=-]{0,13}", 1..4),
        prop::sample::select(vec![XdpMode::Native, XdpMode::Generic, XdpMode::Offload]),
        any::<u64>(),
        prop::option::of((any::<IpAddr>(), 1..=u16::MAX)),
        (any::<bool>(), any::<bool>(), 1..=u8::MAX, prop::option::of(0u8..64)),
        (100..=1u32 << 20, 20_000u64..=(4 << 20)),
    );
    let objects = backends().prop_flat_map(|backends| {
        let names: Vec<_> = backends.keys().cloned().collect();
        (Just(backends), prop::collection::vec(vip(names), 0..5))
    });
    (settings, objects).prop_map(
        |((interfaces, xdp_mode, hash_seed, metrics, tunnel, limits), (backends, vips))| {
            let (source4, source6, ttl, dscp) = tunnel;
            let taken: BTreeSet<_> = backends.values().map(|backend| backend.address).collect();
            let mut names = BTreeSet::new();
            let vips: BTreeMap<_, _> = vips
                .into_iter()
                .filter(|(key, vip)| !taken.contains(&key.address) && names.insert(vip.name.clone()))
                .collect();
            Config {
                path: PathBuf::from("f.toml"),
                interfaces: interfaces.into_iter().collect(),
                xdp_mode,
                hash_seed,
                metrics_listen: metrics.map(SocketAddr::from),
                limits: Limits { dests: limits.0, ring_memory: limits.1 << 10 },
                tunnel: Tunnel {
                    source4: source4
                        .then_some(SourcePrefix { address: Ipv4Addr::new(172, 16, 0, 0), prefix_len: 30 }),
                    source6: source6.then_some(SourcePrefix {
                        address: "2001:db9::1".parse().expect("address"),
                        prefix_len: 128,
                    }),
                    ttl,
                    dscp: dscp.map_or(Dscp::Copy, Dscp::Fixed),
                    ..Tunnel::default()
                },
                answers: Answers::default(),
                access: AccessRules::default(),
                addresses: pinged(&vips),
                backends,
                vips,
                provenance: Provenance::default(),
            }
        },
    )
}

proptest! {
    #[test]
    fn a_written_configuration_reads_back_equal(config in config()) {
        let text = config.to_toml();
        let read = match parse(&text) {
            Ok(read) => read,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
        };
        let without_provenance = Config { provenance: Provenance::default(), ..read.clone() };
        prop_assert_eq!(&without_provenance, &config, "{}", text);
        prop_assert_eq!(parse(&read.to_toml()).expect("valid again"), read);
    }

    #[test]
    fn any_text_ends_in_a_configuration_or_in_problems(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems().is_empty());
        }
    }

    /// Lines that nearly make sense reach deeper than random text.
    #[test]
    fn lines_in_any_order_end_in_a_configuration_or_in_problems(
        lines in prop::collection::vec(prop::sample::select(LINES.to_vec()), 0..30)
    ) {
        let text = lines.join("\n");
        match parse(&text) {
            Ok(config) => prop_assert_eq!(parse(&config.to_toml()).expect("valid again"), config),
            Err(error) => {
                let last = 1 + text.matches('\n').count() as u32;
                prop_assert!(!error.problems().is_empty());
                prop_assert!(error.problems().iter().all(|problem| (1..=last).contains(&problem.line)));
            }
        }
    }

    #[test]
    fn a_file_with_damage_anywhere_ends_in_a_configuration_or_in_problems(
        at in 0..GOOD.len(), length in 0usize..9, scrap in ".{0,6}"
    ) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &scrap);
        if let Err(error) = parse(&text) {
            prop_assert!(!error.problems().is_empty());
        }
    }
}

const LINES: &[&str] = &[
    "interfaces = [\"eth0\"]",
    "interfaces = []",
    "xdp_mode = \"generic\"",
    "hash_seed = 9",
    "hash_seed = \"x\"",
    "[tunnel]",
    "source4 = \"10.0.0.0/8\"",
    "source6 = \"::/0\"",
    "source4 = \"0.0.0.0/0\"",
    "ttl = 0",
    "dscp = \"copy\"",
    "[limits]",
    "dests = 1",
    "ring_memory = \"1B\"",
    "[[backend]]",
    "name = \"a\"",
    "name = \"b\"",
    "address = \"10.0.0.1\"",
    "address = \"10.0.0.2\"",
    "address = \"::\"",
    "weight = 3",
    "weight = 99999",
    "[[vip]]",
    "port = 80",
    "port = 0",
    "protocol = \"tcp\"",
    "protocol = \"udp\"",
    "ring_size = 251",
    "ring_size = 0",
    "backends = [\"a\", \"b\"]",
    "backends = [{ name = \"a\", weight = 1 }]",
    "backends = [[]]",
    "[vip]",
    "[backend.x]",
    "vip = 1",
    "x.y.z = 1",
    "= 1",
];
