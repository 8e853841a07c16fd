//! Any valid configuration, for property tests.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::check_any::any_check;
use super::hook_any::{any_hook, restrict};
use super::vrrp_any::vrrp;
use super::*;
use crate::config::access::{common, sorted, united};
use crate::state::{
    Announce, FailOpen, Flapping, FlowLimits, FlowTimes, Fragments, Guard, GueVariant, OnUnhealthy, Oversize,
    Prefix, QuicRouting, SourcePrefix, TrackingMode, UnknownPorts, VipKey,
};
use crate::tunnel_probes::DEFAULT_PREFIXES;

/// The files that a configuration from [`config`] may name.
pub(super) fn list(path: &Path) -> std::io::Result<Vec<u8>> {
    let text = match path.to_str() {
        Some("allowed.txt") => "198.51.100.0/24 # a test network\n\n2001:db8:a::/48\n",
        Some("denied.txt") => "203.0.113.0/24\r\n203.0.113.7\r\n",
        _ => return Err(std::io::ErrorKind::NotFound.into()),
    };
    Ok(text.as_bytes().to_vec())
}

fn prefixes(texts: &[&str]) -> Prefixes {
    sorted(texts.iter().map(|text| crate::config::prefix::parse(text).expect("prefix")).collect())
}

fn unicast4() -> impl Strategy<Value = Ipv4Addr> {
    (1u8..127, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| Ipv4Addr::new(a, b, c, d))
}

fn unicast6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from(0x2001_0db8 << 96 | bits >> 32))
}

fn unicast() -> impl Strategy<Value = IpAddr> {
    prop_oneof![unicast4().prop_map(IpAddr::V4), unicast6().prop_map(IpAddr::V6)]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    use crate::config::decode::Family;
    (unicast(), 0u8..=128).prop_map(|(address, len)| match address {
        IpAddr::V4(v4) => Prefix { address: v4.network(len.min(32)).into(), len: len.min(32) },
        IpAddr::V6(v6) => Prefix { address: v6.network(len).into(), len },
    })
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z][A-Za-z0-9._/-]{0,20}"
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

prop_compose! {
    /// Backends, and the length of their server ids when they have any.
    fn backends()(
        names in prop::collection::btree_set(name(), 0..6),
        addresses in prop::collection::btree_set(unicast(), 6),
        weights in prop::collection::vec(prop_oneof![Just(100u32), 0..=65_535u32], 6),
        modes in prop::collection::vec(prop::option::of(one_of(&[Mode::Ipip, Mode::Gue, Mode::L2])), 6),
        ids in prop::collection::btree_set(1u8..=255, 6),
        slow_start in prop::option::of(0..=3600u64),
        len in prop::option::of(1u8..=8),
    ) -> (BTreeMap<String, BackendConfig>, Option<u8>) {
        let rest = addresses.into_iter().zip(weights).zip(modes).zip(ids);
        let backends = names.into_iter().zip(rest).map(|(name, (((address, weight), mode), id))| {
            let server_id = len.map(|len| ServerId { bytes: [id, 0, 0, 0, 0, 0, 0, 0], len });
            let slow_start = slow_start.map(Duration::from_secs);
            (name, BackendConfig { address, weight, mode, server_id, slow_start, check: None, agent: None })
        });
        (backends.collect(), len)
    }
}

prop_compose! {
    fn access()(
        allow in prop::collection::vec(prefix(), 0..3),
        deny in prop::collection::vec(prefix(), 0..3),
        files in any::<(bool, bool)>(),
    ) -> (AccessRules, AccessSource) {
        let (allow, deny) = (sorted(allow), sorted(deny));
        let both: Vec<_> = common(&allow, &deny).collect();
        let deny = deny.iter().copied().filter(|prefix| !both.contains(prefix)).collect();
        let source = AccessSource {
            allow,
            deny,
            allow_file: files.0.then(|| "allowed.txt".to_owned()),
            deny_file: files.1.then(|| "denied.txt".to_owned()),
        };
        let allowed = if files.0 { prefixes(&["198.51.100.0/24", "2001:db8:a::/48"]) } else { [].into() };
        let denied = if files.1 { prefixes(&["203.0.113.0/24", "203.0.113.7"]) } else { [].into() };
        let rules = AccessRules {
            allow: united(source.allow.clone(), allowed),
            deny: united(source.deny.clone(), denied),
        };
        (rules, source)
    }
}

prop_compose! {
    fn flow_limits()(
        vip_per_second in prop::option::of(1..=100_000_000u32),
        source_per_second in prop::option::of(1..=100_000_000u32),
        source_prefix4 in 8..=32u8,
        source_prefix6 in 16..=128u8,
    ) -> FlowLimits {
        let limits = FlowLimits { vip_per_second, source_per_second, ..FlowLimits::default() };
        match source_per_second {
            Some(_) => FlowLimits { source_prefix4, source_prefix6, ..limits },
            None => limits,
        }
    }
}

/// Routes to some of `backends`, with prefixes of their own.
fn routes(backends: Vec<String>) -> impl Strategy<Value = Vec<RouteConfig>> {
    let most = if backends.is_empty() { 0 } else { 3 };
    let members = prop::sample::subsequence(backends.clone(), 1.min(backends.len())..=backends.len());
    let route = (members, prop::option::of(0..=65_535u32));
    let names = prop::collection::btree_set(name(), 0..=most);
    (names, prop::collection::vec(route, 3), prop::collection::btree_set(prefix(), 6)).prop_map(
        |(names, routes, sources)| {
            let sources = Vec::from_iter(sources);
            let routes = names.into_iter().zip(routes).zip(sources.chunks(2));
            let route = |((name, (members, weight)), sources): ((_, (Vec<String>, _)), &[Prefix])| {
                let backends = members.into_iter().map(|name| (name, weight)).collect();
                RouteConfig { name, sources: sources.into(), backends }
            };
            routes.map(route).collect()
        },
    )
}

prop_compose! {
    fn vip(backends: Vec<String>, id_len: Option<u8>)(
        key in (unicast(), any::<u16>(), one_of(&[Protocol::Tcp, Protocol::Udp])),
        name in prop::option::of(name()),
        ring_size in one_of(&[251, 4093, 65_537]),
        (mode, affinity) in (
            one_of(&[Mode::Ipip, Mode::Gue, Mode::L2]),
            one_of(&[Affinity::FiveTuple, Affinity::Source, Affinity::SourceAndPort]),
        ),
        members in prop::sample::subsequence(backends.clone(), 0..=backends.len()),
        weight in prop::option::of(0..=65_535u32),
        (tracking, slow_start) in (tracking(), prop_oneof![Just(0), 0..=3_600_000u64]),
        fragments in one_of(&[Fragments::Track, Fragments::Hash, Fragments::Drop]),
        (access, access_source) in access(),
        limits in flow_limits(),
        (grouped, quic, health) in (
            any::<bool>(),
            prop::option::of(0..=6u8),
            (pool(), any::<prop::sample::Index>()),
        ),
        routes in routes(backends),
    ) -> (VipKey, VipConfig) {
        let (address, port, protocol) = key;
        let key = VipKey { address, port, protocol };
        let name = name.unwrap_or_else(|| key.to_string());
        let quic = quic.zip(id_len).filter(|_| protocol == Protocol::Udp);
        let quic = quic.map(|(config_id, server_id_len)| QuicRouting { server_id_len, config_id });
        let group = (grouped && affinity == Affinity::Source).then(|| name.clone());
        let backends = members.into_iter().map(|name| (name, weight)).collect();
        let options = VipOptions { group, fragments, access, limits, quic, tracking };
        let slow_start = Duration::from_millis(slow_start);
        let health = HealthPolicy { check: None, agent: None, pool: with_backup(health.0, &health.1, &backends) };
        (key, VipConfig { name, mode, ring_size, affinity, options, slow_start, health, access_source, routes, backends })
    }
}

prop_compose! {
    /// Without roles, which need a check, and with no backup yet.
    fn pool()(
        on_unhealthy in one_of(&[OnUnhealthy::Reset, OnUnhealthy::Drain]),
        fail_open in one_of(&[FailOpen::All, FailOpen::None]),
        panic_percent in 0..=100u8,
        guard in prop::option::of((1..=99u8, 1..=86_400u64, 1..=86_400u64)),
        flapping in prop::option::of((1..=100u32, 1..=86_400u64, 1..=86_400u64)),
    ) -> PoolPolicy {
        let seconds = Duration::from_secs;
        PoolPolicy {
            on_unhealthy,
            fail_open,
            panic_percent,
            guard: guard.map(|(percent, window, hold)| Guard { percent, window: seconds(window), hold: seconds(hold) }),
            flapping: flapping.map(|(changes, window, hold)| {
                Flapping { changes, window: seconds(window), hold: seconds(hold) }
            }),
            ..PoolPolicy::default()
        }
    }
}

/// With one of several backends as a backup of the others, and any quorum of these.
fn with_backup(
    policy: PoolPolicy,
    which: &prop::sample::Index,
    backends: &BTreeMap<String, Option<u32>>,
) -> PoolPolicy {
    if backends.len() < 2 {
        return policy;
    }
    let index = which.index(backends.len());
    let (backup, others) = (backends.keys().nth(index).cloned(), backends.len() as u32 - 1);
    let quorum_up = 1 + index as u32 % others;
    let quorum_down = 1 + (index as u32 / 2) % quorum_up;
    PoolPolicy { backup: backup.into_iter().collect(), quorum_up, quorum_down, ..policy }
}

prop_compose! {
    fn address()(
        announce in one_of(&[Announce::None, Announce::Arp, Announce::Address]),
        announce_on in prop::collection::btree_set("[a-km-z][a-z0-9.]{0,14}", 0..3),
        unknown_ports in one_of(&[UnknownPorts::Pass, UnknownPorts::Drop, UnknownPorts::Reject]),
        (ping, withdraws) in any::<(bool, bool)>(),
    ) -> DesiredAddress {
        let announce_on = match announce {
            Announce::None => Vec::new(),
            Announce::Arp | Announce::Address => Vec::from_iter(announce_on),
        };
        let withdraw_when_down = withdraws && announce != Announce::None;
        DesiredAddress { announce, announce_on, unknown_ports, ping, withdraw_when_down }
    }
}

prop_compose! {
    fn tunnel()(
        (source4, source6) in any::<(bool, bool)>(),
        ttl in 1..=u8::MAX,
        dscp in prop::option::of(0u8..64),
        gue_port in 1..=u16::MAX,
        gue_variant in one_of(&[GueVariant::Header, GueVariant::Direct]),
        oversize in one_of(&[Oversize::Kernel, Oversize::Drop]),
    ) -> Tunnel {
        let v6 = "2001:db9::1".parse().expect("address");
        Tunnel {
            source4: source4
                .then_some(SourcePrefix { address: Ipv4Addr::new(172, 16, 0, 0), prefix_len: 30 }),
            source6: source6.then_some(SourcePrefix { address: v6, prefix_len: 128 }),
            ttl,
            dscp: dscp.map_or(Dscp::Copy, Dscp::Fixed),
            gue_port,
            gue_variant,
            oversize,
        }
    }
}

prop_compose! {
    fn answers()(
        replies_per_second in 0..=1_000_000u32,
        fragments_per_second in 0..=10_000_000u32,
        millis in 100..=600_000u64,
    ) -> Answers {
        Answers { replies_per_second, fragments_per_second, fragment_timeout: Duration::from_millis(millis) }
    }
}

prop_compose! {
    fn limits()(
        dests in 400..=1u32 << 20,
        pages in 20_000u64..=(4 << 20),
        fragments in 1..=1u32 << 20,
        buckets in 128..=1u32 << 23,
    ) -> Limits {
        Limits { dests, ring_memory: pages << 10, fragments, flows: 8 * buckets }
    }
}

fn tracking() -> impl Strategy<Value = TrackingMode> {
    one_of(&[TrackingMode::Adaptive, TrackingMode::Full, TrackingMode::None])
}

prop_compose! {
    fn flow_times()(
        times in prop::array::uniform6(1_000..=50_400_000u64),
        udp_learning in 0..=3_600_000u64,
        usual_quiet in any::<bool>(),
    ) -> FlowTimes {
        let [tcp_idle, udp_idle, opened, closing, transition, quiet] = times.map(Duration::from_millis);
        let quiet = if usual_quiet { FlowTimes::usual_quiet(transition) } else { quiet.min(transition) };
        let udp_learning = Duration::from_millis(udp_learning);
        FlowTimes { tcp_idle, udp_idle, opened, closing, transition, quiet, udp_learning }
    }
}

/// Settings without objects.
fn settings() -> impl Strategy<Value = Config> {
    let interfaces = prop::collection::btree_set("[a-km-z][a-z][a-z0-9.\"'#=-]{0,13}", 1..4);
    let mode = one_of(&[XdpMode::Native, XdpMode::Generic, XdpMode::Offload]);
    let metrics = prop::option::of((any::<IpAddr>(), 1..=u16::MAX));
    (interfaces, mode, any::<u64>(), metrics, limits(), tunnel(), (answers(), flow_times()), access())
        .prop_map(
            |(
                interfaces,
                xdp_mode,
                hash_seed,
                metrics,
                limits,
                tunnel,
                (answers, flows),
                (access, access_source),
            )| {
                let other = ["10.9.0.0/16", "fd09::/64"].map(|text| prefix::parse(text).expect("a prefix"));
                let probes = match hash_seed % 2 {
                    0 => DEFAULT_PREFIXES,
                    _ => ProbePrefixes { v4: other[0], v6: other[1] },
                };
                Config {
                    path: PathBuf::from("f.toml"),
                    interfaces: interfaces.into_iter().collect(),
                    xdp_mode,
                    hash_seed,
                    metrics_listen: metrics.map(SocketAddr::from),
                    limits,
                    tunnel,
                    answers,
                    flows,
                    access,
                    access_source,
                    addresses: BTreeMap::new(),
                    checks: BTreeMap::new(),
                    probes,
                    backends: BTreeMap::new(),
                    vips: BTreeMap::new(),
                    vrrp: crate::vrrp::Wanted::default(),
                    peers: any_peers(hash_seed),
                    hooks: BTreeMap::new(),
                    provenance: Provenance::default(),
                }
            },
        )
}

/// None, or two.
fn any_peers(seed: u64) -> crate::peers::Wanted {
    if !seed.is_multiple_of(3) {
        return crate::peers::Wanted::default();
    }
    let peer = |digit: &str, port| crate::peers::Peer {
        address: SocketAddr::from(([192, 0, 2, 7], port)),
        fingerprint: digit.repeat(64).parse().expect("a fingerprint"),
    };
    crate::peers::Wanted {
        listen: Some(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 7946))),
        peers: BTreeMap::from([("b".to_owned(), peer("0", 1)), ("c-d".to_owned(), peer("f", 65535))]),
    }
}

/// Any valid configuration; its lists are those of [`list`].
pub(super) fn config() -> impl Strategy<Value = Config> {
    without_vrrp().prop_flat_map(|config| {
        let vips = config.vips.values().map(|vip| vip.name.clone()).collect();
        let announced = config.addresses.iter().filter(|(_, desired)| {
            desired.announce != Announce::None && !desired.withdraw_when_down && desired.announce_on.len() < 2
        });
        let elected = announced.map(|(address, desired)| crate::vrrp::Address {
            address: *address,
            prefix_len: if address.is_ipv4() { 32 } else { 128 },
            announce: desired.announce,
            is_vip: true,
            on: desired.announce_on.first().cloned(),
        });
        let elected = elected.collect();
        vrrp(vips, elected).prop_map(move |vrrp| {
            let mut hooks = config.hooks.clone();
            for hook in hooks.values_mut() {
                hook.filter.routers.extend(vrrp.routers.keys().chain(vrrp.groups.keys()).next().cloned());
            }
            Config { vrrp, hooks, ..config.clone() }
        })
    })
}

fn without_vrrp() -> impl Strategy<Value = Config> {
    let objects = backends().prop_flat_map(|(backends, id_len)| {
        let names: Vec<_> = backends.keys().cloned().collect();
        (Just(backends), prop::collection::vec(vip(names, id_len), 0..5))
    });
    let addresses = prop::collection::vec(address(), 5);
    let checks = prop::collection::btree_map(name(), any_check(), 0..4);
    let hooks = prop::collection::btree_map(name(), any_hook(), 0..3);
    (settings(), objects, addresses, checks, hooks).prop_map(
        |(settings, (mut backends, mut vips), addresses, checks, mut hooks)| {
            // A check with a port is of use everywhere.
            let mut with_port =
                checks.iter().filter(|(_, check)| check.port.is_some()).map(|(name, _)| name.clone());
            let (first, second) = (with_port.next(), with_port.next());
            let is_agent =
                |check: &CheckConfig| matches!(check.probe, Probe::Agent(_)) && check.port.is_some();
            let agent = checks.iter().filter(|(_, check)| is_agent(check)).map(|(name, _)| name.clone());
            let agent = agent.filter(|name| ![&first, &second].contains(&&Some(name.clone()))).last();
            vips.iter_mut().skip(1).for_each(|(_, vip)| vip.health.agent.clone_from(&agent));
            backends.values_mut().skip(1).for_each(|backend| backend.agent.clone_from(&agent));
            vips.iter_mut().step_by(2).for_each(|(_, vip)| vip.health.check.clone_from(&first));
            backends.values_mut().step_by(2).for_each(|backend| backend.check.clone_from(&second));
            let taken: BTreeSet<_> = backends.values().map(|backend| backend.address).collect();
            let mut names = BTreeSet::new();
            let vips: BTreeMap<_, _> = vips
                .into_iter()
                .filter(|(key, vip)| !taken.contains(&key.address) && names.insert(vip.name.clone()))
                .collect();
            let addresses = vips.keys().map(|key| key.address).zip(addresses).collect();
            restrict(&mut hooks, &vips, &backends);
            Config { addresses, checks, backends, vips, hooks, ..settings }
        },
    )
}
