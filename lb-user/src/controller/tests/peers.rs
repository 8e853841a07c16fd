use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_common::flow::FlowState;
use tokio::sync::watch;

use super::harness::{FILE, Running, start, start_with};
use crate::dataplane::FlowRecord;
use crate::peers::{self, Fingerprint, Identity, Peers, PeersStatus};
use crate::state::VipKey;

const VIP: &str = "203.0.113.10";

/// A controller that holds copies.
struct Node {
    text: String,
    running: Running,
    mine: watch::Sender<BTreeSet<IpAddr>>,
    peers: Peers,
    listen: SocketAddr,
    fingerprint: Fingerprint,
}

impl Node {
    async fn start(text: &str, mine: &[&str]) -> Self {
        let mut running = start_with(text).await;
        let file = peers::identity_file(running.directory.path(), "test");
        let fingerprint = Identity::load_or_make(&file).unwrap().fingerprint();
        let mine = mine.iter().map(|address| address.parse().unwrap()).collect();
        let (mine, receiver) = watch::channel(mine);
        running.copying.take().unwrap().spawn(file, running.controller.clone(), receiver);
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (listen, peers) = (free.local_addr().unwrap(), running.peers.clone());
        Self { text: text.to_owned(), running, mine, peers, listen, fingerprint }
    }

    async fn meet(&self, other: &Self) {
        self.meet_as(other, other.fingerprint).await;
    }

    async fn meet_as(&self, other: &Self, fingerprint: Fingerprint) {
        let Self { text, listen, .. } = self;
        let address = other.listen;
        let peer =
            format!("[[peer]]\nname = \"other\"\naddress = \"{address}\"\nfingerprint = \"{fingerprint}\"\n");
        self.running.write_file(&format!("peer_listen = \"{listen}\"\n{text}\n{peer}"));
        self.running.controller.reload(false).await.unwrap();
    }

    async fn until(&self, ready: impl Fn(&PeersStatus) -> bool) {
        let mut status = self.peers.status.clone();
        let ready =
            tokio::time::timeout(Duration::from_secs(20), status.wait_for(|status| ready(status))).await;
        assert!(matches!(ready, Ok(Ok(_))), "never happened: {:#?}", self.peers.status.borrow());
    }

    /// Of each slot of `web`: the backend, the one of its older flows, and whether flows may have records.
    fn slots(&self) -> Vec<(Option<IpAddr>, Option<IpAddr>, bool)> {
        let web = self.running.forwarding().vips[&web()].clone();
        let past = web.past.as_ref().unwrap();
        let address = |number: Option<u16>| number.map(|number| past.dests[usize::from(number)].address);
        let slots = past.ring.slots().iter();
        slots.map(|slot| (address(slot.owner), address(slot.previous), slot.is_looked_up)).collect()
    }

    /// Slots of `web` whose flows may be elsewhere.
    fn in_transition(&self) -> usize {
        self.running.forwarding().vips[&web()].in_transition()
    }
}

fn web() -> VipKey {
    "203.0.113.10:80/tcp".parse().unwrap()
}

fn flow(tag: u32) -> FlowRecord {
    let backend = "10.0.0.12".parse().unwrap();
    FlowRecord { vip: web(), route: 0, backend, state: FlowState::Confirmed, age: 3, bucket: 7, tag }
}

fn flows_taken(status: &PeersStatus) -> u64 {
    status.peers.get("other").map_or(0, |peer| peer.follower.flows)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_vips_and_flows_as_they_are_where_packets_come_to() {
    let (a, b) = (Node::start(FILE, &[VIP]).await, Node::start(FILE, &[]).await);
    a.meet(&b).await;
    b.meet(&a).await;
    b.until(|status| status.flows(Instant::now()) == lb_vrrp::gate::Flows::InStep).await;
    assert_eq!((a.in_transition(), b.in_transition()), (0, 0));

    let drain = r#"{"action":"drain","backend":"web-1","vip":"web"}"#;
    a.running.post("/v1/changes", drain).await;
    a.running.dataplane.kernel().flow_changes = vec![flow(1), flow(2)];
    b.until(|status| flows_taken(status) == 2).await;
    assert!(a.in_transition() > 50);
    assert_eq!(b.in_transition(), a.in_transition(), "flows of these slots may have records");
    assert_eq!(b.running.web_slots()["web-1"], 84, "nobody drained it here");
    b.running.post("/v1/changes", drain).await;
    assert_eq!(b.slots(), a.slots());
    assert_eq!(b.running.dataplane.kernel().flow_records.records, [flow(1), flow(2)]);

    // Packets come to the other node now, which goes on from there.
    let before = b.running.forwarding();
    a.mine.send_replace(BTreeSet::new());
    b.mine.send_replace(BTreeSet::from([VIP.parse().unwrap()]));
    b.running.dataplane.kernel().flow_changes = vec![flow(3)];
    a.until(|status| flows_taken(status) == 1).await;
    assert_eq!(b.running.forwarding(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_taken_out_of_the_file_is_told_nothing_more() {
    let (a, b) = (Node::start(FILE, &[VIP]).await, Node::start(FILE, &[]).await);
    a.meet(&b).await;
    b.meet(&a).await;
    let connected = |status: &PeersStatus| {
        status.peers.get("other").is_some_and(|peer| peer.follower.connected && peer.follower.vips > 0)
    };
    b.until(connected).await;
    a.running.write_file(FILE);
    a.running.controller.reload(false).await.unwrap();
    b.until(|status| !connected(status)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_known_hears_nothing() {
    let (a, b) = (Node::start(FILE, &[VIP]).await, Node::start(FILE, &[]).await);
    a.meet(&b).await;
    b.meet_as(&a, b.fingerprint).await;
    let refused =
        |status: &PeersStatus| status.peers.get("other").is_some_and(|peer| peer.follower.trouble.is_some());
    b.until(refused).await;
    a.meet_as(&b, a.fingerprint).await;
    b.meet(&a).await;
    b.until(refused).await;
    let status = b.peers.status.borrow().clone();
    assert_eq!(status.peers["other"].follower.connections, 0, "{status:#?}");
    assert_eq!(status.flows(Instant::now()), lb_vrrp::gate::Flows::Behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_flows_have_other_places_say_so() {
    let other = format!("hash_seed = 7\n{FILE}");
    let (a, b) = (Node::start(FILE, &[VIP]).await, Node::start(&other, &[]).await);
    a.meet(&b).await;
    b.meet(&a).await;
    let says = |status: &PeersStatus| {
        let trouble = status.peers.get("other").and_then(|peer| peer.follower.trouble.clone());
        trouble.is_some_and(|trouble| {
            trouble.contains("the peer has hash_seed = ") && trouble.contains("this node has 7")
        })
    };
    b.until(says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_peers_nothing_is_copied() {
    let mut running = start().await;
    let (_, mine) = watch::channel(BTreeSet::new());
    let file = running.directory.path().join("x.pem");
    running.copying.take().unwrap().spawn(file.clone(), running.controller.clone(), mine);
    running.controller.reload(false).await.unwrap();
    assert_eq!(running.peers.status.borrow().flows(Instant::now()), lb_vrrp::gate::Flows::NotCopied);
    assert!(!file.exists(), "no key without need");
}
