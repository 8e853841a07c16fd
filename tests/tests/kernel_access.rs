//! Large prefix lists in the kernel: a million prefixes load, and are exchanged at once while packets flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use aya::maps::{LpmTrie, Map, MapData};
use lb_common::abi::AccessRule;
use lb_user::dataplane::{Dataplane, ListUse};
use lb_user::state::{AccessRules, Prefix, Prefixes};
use tests::kernel::{Kernel, is_root};
use tests::packets::{Kind, Packet};
use tests::test_run::TestRun;
use tests::world::{World, prefixes};

const V4: &str = "198.51.100.1:80/tcp";
const MILLION: u32 = 1_000_000;
const XDP_DROP: u32 = 1;
const XDP_TX: u32 = 3;

/// A million different prefixes, 3 of 4 IPv4; `salt` makes another million.
fn million(salt: u32) -> Prefixes {
    let mut all: Vec<_> = (0..MILLION)
        .map(|n| {
            // Odd multipliers: no two n give the same network.
            let bits = (n + salt * MILLION).wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
            if n % 4 == 0 {
                let network = 0x2001_0db8_0000_0000_0000_0000_0000_0000 | u128::from(bits) << 72;
                Prefix::of(IpAddr::from(Ipv6Addr::from(network)), 56)
            } else {
                Prefix::of(IpAddr::from(Ipv4Addr::from(bits << 8)), 24)
            }
        })
        .collect();
    all.sort();
    all.dedup();
    all.into()
}

fn denying(deny: &Prefixes) -> World {
    World::default()
        .vip(V4, &["10.0.0.1"])
        .with(V4, |vip| vip.options.access = AccessRules { allow: prefixes(&[]), deny: deny.clone() })
}

fn packet(source: IpAddr) -> Vec<u8> {
    Packet::new(Kind::Ack, &format!("{source}:40000"), "198.51.100.1:80").frame()
}

/// Addresses that only `of` holds.
fn only_in(of: &Prefixes, other: &Prefixes) -> Vec<IpAddr> {
    let v4 = of.iter().filter(|prefix| prefix.address.is_ipv4() && other.binary_search(prefix).is_err());
    v4.step_by(1000).map(|prefix| prefix.address).take(50).collect()
}

#[test]
fn a_million_prefixes_are_exchanged_at_once_while_packets_flow() {
    if !is_root() {
        return;
    }
    let (first, second) = (million(0), million(1));
    assert!(first.len() > 990_000, "{}", first.len());
    let mut kernel = Kernel::open(&denying(&prefixes(&[])).forwarding()).expect("a kernel");
    let begin = Instant::now();
    kernel.apply(&denying(&first).forwarding()).expect("room for a million prefixes");
    println!("loaded {} prefixes in {:?}", first.len(), begin.elapsed());
    let (leaving, coming) = (only_in(&first, &second), only_in(&second, &first));
    let mut runner = TestRun::new(kernel.program()).expect("a runner");
    let mut action = |source: IpAddr| runner.plain(&packet(source)).expect("a run").action;
    assert!(leaving.iter().all(|source| action(*source) == XDP_DROP));
    assert!(coming.iter().all(|source| action(*source) == XDP_TX));

    let done = AtomicBool::new(false);
    let (leaving, coming) = (&leaving, &coming);
    std::thread::scope(|scope| {
        let mut runner = TestRun::new(kernel.program()).expect("a runner");
        let done = &done;
        let sender = scope.spawn(move || {
            let mut action = |source: IpAddr| runner.plain(&packet(source)).expect("a run").action;
            let mut switched = 0u64;
            let mut rounds = 0u64;
            while !done.load(Ordering::Relaxed) {
                for (old, new) in leaving.iter().zip(coming) {
                    rounds += 1;
                    // In this order: once the new list counts, the old one never does again.
                    let is_new = action(*new) == XDP_DROP;
                    let is_old = action(*old) == XDP_DROP;
                    assert!(!(is_new && is_old), "both lists at once for {old} and {new}");
                    assert!(switched == 0 || is_new, "back at the old list");
                    switched += u64::from(is_new);
                }
            }
            (rounds, switched)
        });
        let begin = Instant::now();
        kernel.apply(&denying(&second).forwarding()).expect("room for two millions");
        println!("exchanged in {:?}", begin.elapsed());
        kernel.dataplane().expect("a dataplane").wait_for_lists();
        println!("and the old one removed in {:?}", begin.elapsed());
        done.store(true, Ordering::Relaxed);
        let (rounds, switched) = sender.join().expect("a sender that saw only whole lists");
        println!("{rounds} rounds, {switched} of them with the new list");
        assert!(rounds > switched);
    });
    let mut runner = TestRun::new(kernel.program()).expect("a runner");
    let mut action = |source: IpAddr| runner.plain(&packet(source)).expect("a run").action;
    assert!(leaving.iter().all(|source| action(*source) == XDP_TX));
    assert!(coming.iter().all(|source| action(*source) == XDP_DROP));

    let begin = Instant::now();
    let of_vip = ListUse::Access(V4.parse().expect("a vip"));
    let hits = kernel.dataplane().expect("a dataplane").prefix_hits(of_vip)().expect("hits");
    println!("read the hits in {:?}", begin.elapsed());
    assert_eq!(hits.len(), second.len());
    assert!(hits.iter().all(|hit| hit.verdict == AccessRule::DENY));
    for source in coming {
        let hit = hits.iter().find(|hit| hit.prefix.holds(*source)).expect("the prefix");
        assert!(hit.hits > 0, "{}", hit.prefix);
    }
    let begin = Instant::now();
    kernel.apply(&denying(&prefixes(&[])).forwarding()).expect("nothing to load");
    kernel.dataplane().expect("a dataplane").wait_for_lists();
    println!("removed in {:?}", begin.elapsed());
}

#[test]
fn a_restart_keeps_what_the_lists_have_counted_for_the_vip() {
    if !is_root() {
        return;
    }
    let world = denying(&prefixes(&["203.0.113.0/24"]));
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel");
    let vip = V4.parse().expect("a vip");
    let denied = |kernel: &mut Kernel| {
        let totals = kernel.dataplane().expect("a dataplane").counters().expect("counters");
        totals.policies.get(&vip).map(|counters| counters.denied)
    };
    for _ in 0..3 {
        kernel.run(&packet("203.0.113.9".parse().expect("an address"))).expect("a run");
    }
    assert_eq!(denied(&mut kernel), Some(3));
    kernel.restart(&world.forwarding()).expect("the same again");
    assert_eq!(denied(&mut kernel), Some(3));
    kernel.apply(&World::default().forwarding()).expect("no vip");
    kernel.apply(&world.forwarding()).expect("the vip again");
    assert_eq!(denied(&mut kernel), Some(3), "a vip that comes back counts on");
}

#[test]
fn hits_of_prefixes_that_stay_go_on_when_a_list_is_exchanged() {
    if !is_root() {
        return;
    }
    let both = |deny: &[&str], allow: &[&str]| {
        denying(&prefixes(deny)).with(V4, |vip| vip.options.access.allow = prefixes(allow))
    };
    let vip = V4.parse().expect("a vip");
    let hits = |kernel: &mut Kernel| -> Vec<(String, u64)> {
        let dataplane = kernel.dataplane().expect("a dataplane");
        dataplane.wait_for_lists();
        let hits = dataplane.prefix_hits(ListUse::Access(vip))().expect("hits");
        hits.iter().map(|hit| (hit.prefix.to_string(), hit.hits)).collect()
    };
    let expected = |of: &[(&str, u64)]| -> Vec<(String, u64)> {
        of.iter().map(|(prefix, hits)| ((*prefix).to_owned(), *hits)).collect()
    };
    let send = |kernel: &mut Kernel, last: &[u8]| {
        for last in last {
            kernel.run(&packet(Ipv4Addr::new(203, 0, 113, *last).into())).expect("a run");
        }
    };
    let first = both(&["203.0.113.1", "203.0.113.2", "203.0.113.3"], &["0.0.0.0/0"]);
    let mut kernel = Kernel::open(&first.forwarding()).expect("a kernel");
    send(&mut kernel, &[1, 1, 2, 3, 9]);
    // One stays, one changes its verdict, one goes, one comes.
    let second = both(&["203.0.113.1", "203.0.113.4"], &["0.0.0.0/0", "203.0.113.2"]);
    kernel.apply(&second.forwarding()).expect("room");
    let carried = [("0.0.0.0/0", 1), ("203.0.113.2", 0), ("203.0.113.1", 2), ("203.0.113.4", 0)];
    assert_eq!(hits(&mut kernel), expected(&carried));
    send(&mut kernel, &[1, 2, 4, 9]);
    let third = both(&["203.0.113.1", "203.0.113.4", "203.0.113.5"], &["0.0.0.0/0", "203.0.113.2"]);
    kernel.apply(&third.forwarding()).expect("room");
    let carried =
        [("0.0.0.0/0", 2), ("203.0.113.2", 1), ("203.0.113.1", 3), ("203.0.113.4", 1), ("203.0.113.5", 0)];
    assert_eq!(hits(&mut kernel), expected(&carried), "over two exchanges");
}

#[test]
fn what_was_prepared_and_not_used_leaves_the_kernel() {
    if !is_root() {
        return;
    }
    let world = denying(&prefixes(&["203.0.113.0/24"]));
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel");
    let entries = |kernel: &mut Kernel| {
        kernel.dataplane().expect("a dataplane").wait_for_lists();
        let map = Map::LpmTrie(kernel.pinned_map("ACCESS").expect("the map"));
        let access: LpmTrie<MapData, [u8; 20], [u8; 16]> = map.try_into().expect("a prefix table");
        access.iter().count()
    };
    let other = denying(&prefixes(&["203.0.113.0/25", "203.0.113.128/25"]));
    for is_applied in [false, true] {
        let dataplane = kernel.dataplane().expect("a dataplane");
        let job = dataplane.prepare_lists(&other.forwarding()).expect("room").expect("something new");
        job().expect("room");
        assert_eq!(entries(&mut kernel), 3);
        let source = "203.0.113.9".parse().expect("an address");
        assert_eq!(kernel.run_raw(&packet(source), 1).expect("a run").0, XDP_DROP);
        if is_applied {
            kernel.apply(&other.forwarding()).expect("room");
        }
        kernel.dataplane().expect("a dataplane").abandon_lists();
        assert_eq!(entries(&mut kernel), if is_applied { 2 } else { 1 });
    }
    let dataplane = kernel.dataplane().expect("a dataplane");
    assert!(dataplane.prepare_lists(&other.forwarding()).expect("room").is_none(), "it is there");
}

/// The program counts in two halves, see `AccessRule::hits`.
#[test]
fn hits_go_on_beyond_32_bits() {
    if !is_root() {
        return;
    }
    let source = IpAddr::from(Ipv4Addr::new(203, 0, 113, 9));
    let list = Prefix::of(source, 24);
    let mut kernel = Kernel::open(&denying(&vec![list].into()).forwarding()).expect("a dataplane");
    let map = Map::LpmTrie(kernel.pinned_map("ACCESS").expect("the map"));
    let mut access: LpmTrie<MapData, [u8; 20], [u8; 16]> = map.try_into().expect("a prefix table");
    let (key, _) = access.iter().next().expect("an entry").expect("a readable one");
    for (before, after) in
        [(0u64, 3u64), (u64::from(u32::MAX) - 1, (1 << 32) + 1), ((7 << 32) - 2, (7 << 32) + 1)]
    {
        let rule = AccessRule { verdict: AccessRule::DENY, hits: before, ..AccessRule::default() };
        access.insert(&key, bytemuck::cast::<_, [u8; 16]>(rule), 0).expect("a new value");
        let (action, _) = kernel.run_raw(&packet(source), 3).expect("a test run");
        assert_eq!(action, XDP_DROP);
        let vip = V4.parse().expect("a vip");
        let hits = kernel.dataplane().expect("it").prefix_hits(ListUse::Access(vip))().expect("hits");
        assert_eq!(hits[0].hits, after);
    }
}
