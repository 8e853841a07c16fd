//! The dataplane in the kernel: the same picks as user space predicts, changes under way, counters that never go back.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::hash;
use lb_common::headers::words_v6;
use lb_user::dataplane::{Dataplane, DataplaneError, ExplainOutcome, Flow};
use lb_user::state::{Affinity, Forwarding, Protocol, VipKey};
use tests::kernel::{Action, Kernel, is_root};
use tests::packets::{Kind, Packet};
use tests::world::World;

const V4: &str = "198.51.100.1:80/tcp";
const V6: &str = "[2001:db8::1]:443/udp";
const ALL: &str = "198.51.100.2:0/udp";

fn fleet() -> World {
    let v4: Vec<String> = (1..=20).map(|n| format!("10.0.0.{n}")).collect();
    let v6: Vec<String> = (1..=7).map(|n| format!("2001:db8:b::{n}")).collect();
    let names = |all: &[String]| all.iter().map(|name| name.clone().leak() as &str).collect::<Vec<_>>();
    World::default()
        .vip(V4, &names(&v4))
        .vip(V6, &names(&v6))
        .vip(ALL, &names(&v4[..5]))
        .with(ALL, |vip| vip.affinity = Affinity::Source)
        .with(V4, |vip| vip.ring_size = 65_537)
}

/// Where user space sends a flow, by the ring alone.
fn predict(forwarding: &Forwarding, flow: &Flow) -> (VipKey, u32, IpAddr) {
    let exact =
        VipKey { address: flow.destination.ip(), port: flow.destination.port(), protocol: flow.protocol };
    let all = VipKey { port: 0, ..exact };
    let (key, vip) = [exact, all]
        .iter()
        .find_map(|key| forwarding.vips.get_key_value(key))
        .expect("the flow is for a vip");
    let ports = hash::ports_word(flow.source.port().to_be_bytes(), flow.destination.port().to_be_bytes());
    let ports = if vip.affinity == Affinity::Source { 0 } else { ports };
    let hash = match flow.source.ip() {
        IpAddr::V4(v4) => hash::flow_hash_v4(u32::from_le_bytes(v4.octets()), ports, forwarding.hash_seed),
        IpAddr::V6(v6) => hash::flow_hash_v6(words_v6(v6.octets()), ports, forwarding.hash_seed),
    };
    let slot = hash::ring_slot(hash, vip.ring_size);
    (*key, slot, vip.owner(slot).expect("an owner").1.address)
}

/// A reproducible stream of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn flow(&mut self) -> Flow {
        let number = self.next();
        let port = (number >> 32) as u16;
        let v4 = IpAddr::from((number as u32).to_be_bytes());
        match number >> 62 {
            0 => {
                let mut source = [0u8; 16];
                source[..8].copy_from_slice(&self.next().to_be_bytes());
                source[8..].copy_from_slice(&self.next().to_be_bytes());
                let destination = "[2001:db8::1]:443".parse().expect("an address");
                Flow { source: SocketAddr::new(source.into(), port), destination, protocol: Protocol::Udp }
            }
            1 => {
                let destination = SocketAddr::new([198, 51, 100, 2].into(), (number >> 16) as u16);
                Flow { source: SocketAddr::new(v4, port), destination, protocol: Protocol::Udp }
            }
            _ => {
                let destination = "198.51.100.1:80".parse().expect("an address");
                Flow { source: SocketAddr::new(v4, port), destination, protocol: Protocol::Tcp }
            }
        }
    }
}

#[test]
fn kernel_and_user_space_pick_the_same_backend_for_100_000_flows() {
    if !is_root() {
        return;
    }
    let forwarding = fleet().forwarding();
    let mut kernel = Kernel::open(&forwarding).expect("a kernel that takes the program");
    let dataplane = kernel.dataplane().expect("a dataplane");
    let before = dataplane.counters().expect("counters");
    let mut random = Random(42);
    for _ in 0..100_000 {
        let flow = random.flow();
        let (vip, slot, backend) = predict(&forwarding, &flow);
        let explained = dataplane.explain(&flow).expect("a test run");
        assert_eq!(explained.outcome, ExplainOutcome::Forwarded { vip, route: 0, backend }, "{flow:?}");
        assert_eq!(explained.slot, Some(slot), "{flow:?}");
    }
    assert_eq!(dataplane.counters().expect("counters"), before, "explaining must change nothing");
}

#[test]
fn what_is_not_forwarded_is_explained_too() {
    if !is_root() {
        return;
    }
    let mut kernel = Kernel::open(&fleet().forwarding()).expect("a kernel that takes the program");
    let explain = |kernel: &mut Kernel, destination: &str| {
        let flow = Flow {
            source: "203.0.113.9:40000".parse().expect("an address"),
            destination: destination.parse().expect("an address"),
            protocol: Protocol::Tcp,
        };
        kernel.dataplane().expect("a dataplane").explain(&flow).expect("a test run").outcome
    };
    use lb_common::abi::Reason::{NoService, NotVip};
    assert_eq!(explain(&mut kernel, "198.51.100.1:81"), ExplainOutcome::Stopped(NoService as u32));
    assert_eq!(explain(&mut kernel, "192.0.2.77:80"), ExplainOutcome::Stopped(NotVip as u32));
}

/// Sends one packet of each of 300 flows and counts backends by the outer destination.
fn spread(kernel: &Kernel) -> BTreeMap<[u8; 4], u32> {
    let mut spread = BTreeMap::new();
    for port in 1..=300u16 {
        let packet = Packet::new(Kind::Ack, &format!("203.0.113.9:{port}"), "198.51.100.1:80");
        let (action, output) = kernel.run_raw(&packet.frame(), 1).expect("a test run");
        assert_eq!(action, 3, "XDP_TX");
        let backend = output[30..34].try_into().expect("four bytes");
        *spread.entry(backend).or_default() += 1;
    }
    spread
}

#[test]
fn hundreds_of_changes_reuse_the_tables_and_lose_no_count() {
    if !is_root() {
        return;
    }
    let mut world = fleet();
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    let vip: VipKey = V4.parse().expect("a vip");
    let mut sent = 0;
    // 8 MiB of rings hold 63 rings of this size: 300 changes must free what they leave behind.
    for step in 0..300u16 {
        let [_, host] = (step % 40 + 100).to_be_bytes();
        let name = format!("10.0.0.{host}");
        match step / 40 % 2 {
            0 => world.add(vip, &name, u32::from(step) + 1),
            _ => drop(world.desired.vips.get_mut(&vip).expect("the vip").members.remove(&name)),
        }
        kernel.apply(&world.forwarding()).expect("room for another change");
        if step % 30 == 0 {
            sent += u64::from(spread(&kernel).values().sum::<u32>());
        }
    }
    let totals = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    let counted: u64 = totals.dests.iter().filter(|((key, _), _)| *key == vip).map(|(_, c)| c.packets).sum();
    assert_eq!(counted, sent);
}

#[test]
fn vips_come_and_go_without_touching_others() {
    if !is_root() {
        return;
    }
    let world = fleet();
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    let before = spread(&kernel);
    for round in 0..20u8 {
        let key = format!("198.51.100.{}:443/tcp", round + 10);
        let more = world.clone().vip(&key, &["10.0.9.1"]);
        kernel.apply(&more.forwarding()).expect("room for one more vip");
        let packet = Packet::new(Kind::Syn, "203.0.113.9:1", &format!("198.51.100.{}:443", round + 10));
        let (action, output) = kernel.run(&packet.frame()).expect("a test run");
        assert_eq!((action, &output[30..34]), (Action::Transmit, &[10, 0, 9, 1][..]));
        assert_eq!(spread(&kernel), before);
    }
}

#[test]
fn a_restart_forwards_the_same_way_and_goes_on_counting() {
    if !is_root() {
        return;
    }
    let world = fleet();
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    let before = spread(&kernel);
    let not_ours = Packet::new(Kind::Ack, "203.0.113.9:1", "192.0.2.77:80").frame();
    kernel.run(&not_ours).expect("a test run");
    let counted = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    for _ in 0..3 {
        kernel.restart(&world.forwarding()).expect("the same again");
        assert_eq!(kernel.dataplane().expect("a dataplane").counters().expect("counters"), counted);
    }
    assert_eq!(spread(&kernel), before);
    let after = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    let sum = |totals: &lb_user::dataplane::Totals| totals.dests.values().map(|c| c.packets).sum::<u64>();
    assert_eq!(sum(&after), 2 * sum(&counted));
    assert_eq!(after.reasons, counted.reasons);
}

/// With so many vips more, each with a ring of its own.
fn with_rings(world: &World, count: u8) -> World {
    (0..count).fold(world.clone(), |world, host| {
        let key = format!("198.51.101.{host}:80/tcp");
        let mut world = world.vip(&key, &["10.0.0.1"]).with(&key, |vip| vip.ring_size = 65_537);
        world.add(key.parse().expect("a vip"), "10.0.0.2", 1 + u32::from(host));
        world
    })
}

#[test]
fn rings_that_outgrow_their_memory_get_more_of_it() {
    if !is_root() {
        return;
    }
    let world = fleet();
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    let before = spread(&kernel);
    let small = kernel.dataplane().expect("a dataplane").ring_memory();
    assert!(small.used < small.allocated && small.allocated == 4 << 20, "{small:?}");
    // 65 pages of 2 KiB each.
    let many = with_rings(&world, 40).forwarding();
    kernel.apply(&many).expect("twice as much is allowed");
    let large = kernel.dataplane().expect("a dataplane").ring_memory();
    assert_eq!((large.used - small.used, large.allocated), (40 * 65 * 2048, 8 << 20));
    let counted = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    assert_eq!(spread(&kernel), before);
    let packets = |totals: &lb_user::dataplane::Totals| totals.dests.values().map(|c| c.packets).sum::<u64>();
    let after = kernel.dataplane().expect("a dataplane").counters().expect("counters");
    assert_eq!(packets(&after), 2 * packets(&counted), "what was counted before counts");
}

#[test]
fn a_full_table_is_refused_and_forwarding_goes_on() {
    if !is_root() {
        return;
    }
    let world = fleet();
    let mut kernel = Kernel::open(&world.forwarding()).expect("a kernel that takes the program");
    let before = spread(&kernel);
    let too_much = with_rings(&world, 255);
    let error = kernel
        .dataplane()
        .expect("a dataplane")
        .apply(&too_much.forwarding())
        .expect_err("no room for 255 rings");
    assert!(matches!(error, DataplaneError::Full { table: "RINGS", .. }), "{error}");
    assert!(error.to_string().contains("limits.ring_memory"), "{error}");
    assert_eq!(spread(&kernel), before);
    kernel.apply(&world.forwarding()).expect("what fitted before");
}
