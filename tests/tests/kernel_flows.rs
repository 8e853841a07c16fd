//! Records of flows as user space reads them from the kernel's table and writes them there.

use std::net::IpAddr;

use lb_common::flow::FlowState;
use lb_user::dataplane::{Dataplane, FlowCounts, FlowRecord, Remembered, Wins};
use lb_user::state::{TrackingMode, VipKey};
use tests::kernel::{Kernel, is_root};
use tests::world::World;

const WEB: &str = "198.51.100.1:80/tcp";
const DNS: &str = "198.51.100.2:53/udp";
/// Ten minutes on the kernel's clock.
const NOW: u64 = 600_000_000_000;

fn world() -> World {
    let backends = ["10.0.0.1", "10.0.0.2"];
    World::default()
        .vip(WEB, &backends)
        .vip(DNS, &backends)
        .with(WEB, |vip| vip.options.tracking = TrackingMode::Full)
}

fn record(vip: &str, backend: &str, bucket: u32, tag: u32) -> FlowRecord {
    let (vip, backend) =
        (vip.parse::<VipKey>().expect("a vip"), backend.parse::<IpAddr>().expect("an address"));
    FlowRecord { vip, route: 0, backend, state: FlowState::Confirmed, age: 3, bucket, tag }
}

#[test]
fn flows_of_one_balancer_are_remembered_by_another() {
    if !is_root() {
        return;
    }
    let forwarding = world().forwarding();
    let mut kernel = Kernel::open(&forwarding).expect("loaded");
    let dataplane = kernel.dataplane().expect("a dataplane");
    let buckets = dataplane.flow_records(&forwarding, 0..u32::MAX, NOW).expect("readable").buckets;
    let good = [
        record(WEB, "10.0.0.1", 0, 1),
        record(WEB, "10.0.0.2", 0, 2),
        record(DNS, "10.0.0.2", buckets - 1, 0x0fff_ffff),
    ];
    let foreign = [
        record(WEB, "10.0.0.9", 1, 1),
        record("198.51.100.9:80/tcp", "10.0.0.1", 1, 1),
        record(WEB, "10.0.0.1", buckets, 1),
        FlowRecord { route: 1, ..good[0] },
    ];
    let quiet = FlowRecord { age: 100, tag: 7, ..good[2] };
    let all: Vec<_> = good.into_iter().chain(foreign).chain([quiet, good[0]]).collect();
    let given = lb_user::dataplane::FlowRecords { buckets, records: all };
    let done = dataplane.remember(&forwarding, &given, Wins::Here, NOW).expect("written");
    assert_eq!(done, Remembered { taken: 3, known: 1, foreign: 4, over: 1, full: 0 });

    let found = dataplane.flow_records(&forwarding, 0..u32::MAX, NOW).expect("readable");
    let mut records = found.records;
    records.sort_by_key(|flow| (flow.bucket, flow.tag));
    assert_eq!(records, good);
    let some = dataplane.flow_records(&forwarding, 1..buckets, NOW).expect("readable");
    assert_eq!(some.records, good[2..]);
    let counts = dataplane.flows(&forwarding, NOW).expect("readable");
    let one = FlowCounts { opened: 0, live: 1, closing: 0 };
    assert_eq!(counts.of(good[0].vip, good[0].backend), one);
    let later = dataplane.flow_records(&forwarding, 0..u32::MAX, NOW + 30_000_000_000).expect("readable");
    assert_eq!(later.records.iter().map(|flow| flow.age).max(), Some(3 + 28), "30 s are 28 ticks");
}

#[test]
fn a_full_bucket_takes_no_flow_that_is_worth_less() {
    if !is_root() {
        return;
    }
    let forwarding = world().forwarding();
    let mut kernel = Kernel::open(&forwarding).expect("loaded");
    let dataplane = kernel.dataplane().expect("a dataplane");
    let buckets = dataplane.flow_records(&forwarding, 0..u32::MAX, NOW).expect("readable").buckets;
    let mut records: Vec<_> = (0..8).map(|tag| record(WEB, "10.0.0.1", 5, tag)).collect();
    records[3].state = FlowState::Opened;
    let mut take = |records: Vec<FlowRecord>| {
        let given = lb_user::dataplane::FlowRecords { buckets, records };
        dataplane.remember(&forwarding, &given, Wins::Here, NOW).expect("written")
    };
    assert_eq!(take(records.clone()).taken, 8);
    let more = |tag, state| vec![FlowRecord { tag, state, ..records[0] }];
    assert_eq!(take(more(8, FlowState::Opened)).full, 1, "an opened flow does not replace another");
    assert_eq!(take(more(9, FlowState::Confirmed)).taken, 1, "in place of the opened one");
    assert_eq!(take(more(10, FlowState::Confirmed)).full, 1);
}
