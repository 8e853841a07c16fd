//! A whole controller with its API on a real unix socket; only kernel and netlink are played.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use lb_common::abi::{Counters, Reason};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::elections::FakeElections;
use crate::announce::{self, AddressReport, Announcer, PlaceReport, PlaceState};
use crate::api::serve_socket;
use crate::config::Config;
use crate::controller::{ControllerHandle, Engine, OtherNodes, Setup, SocketLock, spawn};
use crate::dataplane::{
    Applied, Attachment, ChangesWanted, Dataplane, DataplaneError, ExplainOutcome, Explanation, Flow,
    FlowChanges, FlowRecord, FlowRecords, FlowTable, HitsJob, ListUse, LoadJob, OpenOptions, Remembered,
    RingMemory, Told, Totals, Wins, XdpMode,
};
use crate::health::{Checker, Standings, Wanted};
use crate::hooks::Hooks;
use crate::net::{HostFacts, LinkFact, Links, Resolver};
use crate::peers::{self, Peers};
use crate::state::{Forwarding, MacAddress, NextHop, NextHops, Store, Unresolved, predict};

pub(crate) const FILE: &str = r#"
interfaces = ["eth0"]

[[backend]]
name = "web-1"
address = "10.0.0.11"

[[backend]]
name = "web-2"
address = "10.0.0.12"

[[backend]]
name = "web-3"
address = "10.0.0.13"

[[vip]]
name = "web"
address = "203.0.113.10"
port = 80
protocol = "tcp"
ring_size = 251
backends = ["web-1", "web-2", "web-3"]

[[vip]]
name = "dns"
address = "203.0.113.10"
port = 53
protocol = "udp"
ring_size = 251
backends = ["web-1", { name = "web-2", weight = 50 }]
"#;

/// What the played kernel was told, and what it answers.
#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) options: Vec<OpenOptions>,
    pub(crate) applies: usize,
    pub(crate) refusal: Option<String>,
    pub(crate) totals: Totals,
    pub(crate) flows: FlowTable,
    pub(crate) flow_records: FlowRecords,
    /// What the next look finds to have changed.
    pub(crate) flow_changes: Vec<FlowRecord>,
    pub(crate) links: Links,
    /// What the next change has to do before it is applied.
    pub(crate) slow_lists: Option<LoadJob>,
    pub(crate) abandoned: usize,
}

#[derive(Clone, Default)]
pub(crate) struct FakeDataplane(Arc<Mutex<Kernel>>);

impl FakeDataplane {
    pub(crate) fn kernel(&self) -> MutexGuard<'_, Kernel> {
        self.0.lock().unwrap()
    }

    fn take_in(
        &self,
        options: Option<&OpenOptions>,
        forwarding: &Forwarding,
    ) -> Result<Applied, DataplaneError> {
        let mut kernel = self.kernel();
        kernel.applies += 1;
        if let Some(refusal) = &kernel.refusal {
            return Err(DataplaneError::Other(refusal.clone()));
        }
        kernel.options.extend(options.cloned());
        kernel.forwarding = Some(forwarding.clone());
        Ok(Applied::default())
    }
}

impl Dataplane for FakeDataplane {
    fn apply(&mut self, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        self.take_in(None, forwarding)
    }

    fn reopen(&mut self, options: &OpenOptions, forwarding: &Forwarding) -> Result<Applied, DataplaneError> {
        self.take_in(Some(options), forwarding)
    }

    fn follow_links(&mut self, links: &Links) -> Result<(), DataplaneError> {
        self.kernel().links = links.clone();
        Ok(())
    }

    fn counters(&mut self) -> Result<Totals, DataplaneError> {
        Ok(self.kernel().totals.clone())
    }

    fn flows(&mut self, _forwarding: &Forwarding, _now_ns: u64) -> Result<FlowTable, DataplaneError> {
        Ok(self.kernel().flows.clone())
    }

    fn flow_records(
        &mut self,
        _forwarding: &Forwarding,
        buckets: std::ops::Range<u32>,
        _now_ns: u64,
    ) -> Result<FlowRecords, DataplaneError> {
        let mut found = self.kernel().flow_records.clone();
        found.records.retain(|flow| buckets.contains(&flow.bucket));
        Ok(found)
    }

    fn remember(
        &mut self,
        _forwarding: &Forwarding,
        records: &FlowRecords,
        _wins: Wins,
        _now_ns: u64,
    ) -> Result<Remembered, DataplaneError> {
        let mut kernel = self.kernel();
        let taken = records.records.len() as u64;
        kernel.flow_records.records.extend(&records.records);
        Ok(Remembered { taken, ..Remembered::default() })
    }

    fn flow_changes(
        &mut self,
        _forwarding: &Forwarding,
        _told: &mut Told,
        wanted: ChangesWanted<'_>,
        _now_ns: u64,
    ) -> Result<FlowChanges, DataplaneError> {
        let mut records = std::mem::take(&mut self.kernel().flow_changes);
        records.retain(|flow| wanted.addresses.contains(&flow.vip.address));
        let places = records.iter().map(|flow| flow.bucket * 8).collect();
        Ok(FlowChanges { buckets: 1, records, places, round_done: true })
    }

    fn explain(&self, flow: &Flow) -> Result<Explanation, DataplaneError> {
        let kernel = self.kernel();
        let forwarding = kernel.forwarding.as_ref().unwrap();
        let found = predict(forwarding, flow.source, flow.destination, flow.protocol);
        let outcome = match found.as_ref().map(|found| (found.vip, found.backend)) {
            Some((vip, Some((_, dest)))) => {
                ExplainOutcome::Forwarded { vip, route: 0, backend: dest.address }
            }
            _ => ExplainOutcome::Stopped(Reason::NotVip as u32),
        };
        Ok(Explanation { outcome, slot: found.and_then(|found| found.slot), frame: vec![0xab, 0xcd] })
    }

    fn prepare_lists(&mut self, _forwarding: &Forwarding) -> Result<Option<LoadJob>, DataplaneError> {
        Ok(self.kernel().slow_lists.take())
    }

    fn abandon_lists(&mut self) {
        self.kernel().abandoned += 1;
    }

    fn prefix_hits(&self, _of: ListUse) -> HitsJob {
        Box::new(|| Ok(Vec::new()))
    }

    fn attachments(&self) -> Vec<Attachment> {
        let (interface, driver) = ("eth0".to_owned(), "veth".to_owned());
        vec![Attachment { interface, ifindex: 7, mode: XdpMode::Native, driver }]
    }

    fn ring_memory(&self) -> RingMemory {
        RingMemory { used: 2048, allocated: 8192 }
    }
}

/// Answers for every address that is asked for, unless it is in `broken`.
#[derive(Debug)]
pub(crate) struct FakeNet {
    broken: watch::Sender<BTreeSet<IpAddr>>,
}

impl FakeNet {
    pub(crate) fn start() -> (Self, Resolver) {
        let (wanted, mut asked) = watch::channel(BTreeSet::<IpAddr>::new());
        let (answers, hops) = watch::channel(NextHops::new());
        let (broken, mut breaks) = watch::channel(BTreeSet::<IpAddr>::new());
        tokio::spawn(async move {
            loop {
                let now: NextHops = {
                    let (asked, broken) = (asked.borrow_and_update(), breaks.borrow_and_update());
                    asked.iter().map(|address| (*address, hop(*address, &broken))).collect()
                };
                answers.send_replace(now);
                tokio::select! {
                    changed = asked.changed() => if changed.is_err() { return },
                    // Nobody breaks anything any more: it goes on as it is.
                    Ok(()) = breaks.changed() => {}
                }
            }
        });
        (Self { broken }, Resolver { wanted, hops })
    }

    pub(crate) fn break_route(&self, address: &str) {
        self.broken.send_modify(|broken| {
            broken.insert(address.parse().unwrap());
        });
    }

    pub(crate) fn mend_routes(&self) {
        self.broken.send_modify(BTreeSet::clear);
    }
}

pub(crate) fn hop(address: IpAddr, broken: &BTreeSet<IpAddr>) -> Result<NextHop, Unresolved> {
    if broken.contains(&address) {
        return Err(Unresolved::NoRoute(address));
    }
    Ok(NextHop {
        ifindex: 7,
        interface: "eth0".to_owned(),
        source_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        gateway: None,
        vlan: None,
        preferred_source: Some(if address.is_ipv4() { "10.0.0.1" } else { "fd00::1" }.parse().unwrap()),
        mtu: 1500,
    })
}

/// Says of every wanted address that another host has it on the first interface.
pub(crate) fn played_announcer() -> Announcer {
    let (wanted, mut asked) = watch::channel(None::<announce::Wanted>);
    let (sender, reports) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while asked.changed().await.is_ok() {
            let Some(now) = asked.borrow_and_update().clone() else { continue };
            let played = now.addresses.iter().map(|(address, desired)| AddressReport {
                address: *address,
                mode: desired.announce,
                places: now.attached.iter().take(1).map(|interface| played_place(interface)).collect(),
            });
            sender.send_replace(played.collect());
        }
    });
    Announcer { wanted, reports }
}

/// What a host with one interface says of its links; `mac` is the last byte of the interface's MAC address.
pub(crate) fn played_links(mac: u8) -> Links {
    let link = LinkFact {
        name: "eth0".to_owned(),
        mac: Some(MacAddress([2, 0, 0, 0, 0, mac])),
        ethernet: true,
        up: true,
        vlan_parent: None,
        vlan_id: None,
        master: None,
    };
    Links::from([(7, link)])
}

pub(crate) fn played_facts() -> watch::Receiver<HostFacts> {
    let (sender, facts) = watch::channel(HostFacts { links: played_links(1), ..HostFacts::default() });
    tokio::spawn(async move { sender.closed().await });
    facts
}

fn played_place(interface: &str) -> PlaceReport {
    PlaceReport {
        interface: interface.to_owned(),
        state: PlaceState::Conflict { mac: Some(MacAddress([2, 0, 0, 0, 0, 9])) },
        last_announced: Some(std::time::SystemTime::UNIX_EPOCH),
        announcements: 5,
        conflicts: 2,
        claimed_by: None,
    }
}

/// A running controller.
pub(crate) struct Running {
    pub(crate) dataplane: FakeDataplane,
    pub(crate) net: FakeNet,
    pub(crate) elections: FakeElections,
    /// What is to be checked.
    pub(crate) checks: watch::Receiver<Wanted>,
    /// What checks are played to say.
    pub(crate) standings: watch::Sender<Standings>,
    pub(crate) controller: ControllerHandle,
    pub(crate) peers: Peers,
    pub(crate) copying: Option<peers::Start>,
    pub(crate) directory: Arc<tempfile::TempDir>,
    task: JoinHandle<Engine<FakeDataplane>>,
    server: JoinHandle<std::io::Result<()>>,
    lock: SocketLock,
    /// Targets that are to be asked at once.
    pub(crate) hurried: tokio::sync::mpsc::Receiver<crate::health::Target>,
}

pub(crate) async fn start() -> Running {
    start_with(FILE).await
}

pub(crate) async fn start_with(text: &str) -> Running {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("ferrolev.toml"), text).unwrap();
    start_in(directory).await
}

pub(crate) async fn start_in(directory: Arc<tempfile::TempDir>) -> Running {
    start_telling(directory, Hooks::none()).await
}

/// With these hooks.
pub(crate) async fn start_telling(directory: Arc<tempfile::TempDir>, hooks: Hooks) -> Running {
    let file = directory.path().join("ferrolev.toml");
    let setup = Setup {
        instance: "test".to_owned(),
        pin_dir: PathBuf::from("/nowhere"),
        xdp_mode: None,
        config: Config::load(&file).unwrap(),
        load: Arc::new(move || Config::load(&file).map_err(|error| error.to_string())),
        store: Store::open(&directory.path().join("state/test.redb")).unwrap(),
        found: crate::state::Found::default(),
        links: played_links(1),
        hooks,
    };
    let (wanted, checks) = watch::channel(Wanted::new());
    let (standings, receiver) = watch::channel(Standings::new());
    let (hurry, hurried) = tokio::sync::mpsc::channel(100);
    let checker = Checker { wanted, standings: receiver, lateness: Default::default(), hurry };
    let (net, resolver) = FakeNet::start();
    let hops = setup
        .wanted()
        .unwrap()
        .into_iter()
        .map(|address| (address, hop(address, &BTreeSet::new())))
        .collect();
    let dataplane = FakeDataplane::default();
    let engine = Engine::start(setup, hops, |options, forwarding| {
        let mut dataplane = dataplane.clone();
        dataplane.reopen(options, forwarding)?;
        Ok(dataplane)
    });
    let (elections, vrrp) = FakeElections::start();
    let (peers, copying) = peers::prepare();
    let (tunnels, _) = watch::channel(crate::tunnel_probes::Wanted::default());
    let (controller, task) = spawn(
        engine.unwrap(),
        resolver,
        played_announcer(),
        played_facts(),
        checker,
        tunnels,
        OtherNodes { vrrp, peers: peers.clone() },
    );
    let mut lock = SocketLock::acquire(&directory.path().join("run/api.sock")).unwrap();
    let listener = lock.bind().unwrap();
    let server = tokio::spawn(serve_socket(listener, controller.clone(), std::future::pending()));
    Running {
        dataplane,
        net,
        elections,
        checks,
        standings,
        hurried,
        controller,
        peers,
        copying: Some(copying),
        directory,
        task,
        server,
        lock,
    }
}

impl Running {
    /// Ends without a farewell, as a kill would; the files stay.
    pub(crate) async fn crash(self) -> Arc<tempfile::TempDir> {
        self.server.abort();
        self.task.abort();
        let _ = (self.server.await, self.task.await);
        drop(self.lock);
        self.directory
    }

    pub(crate) fn write_file(&self, text: &str) {
        std::fs::write(self.directory.path().join("ferrolev.toml"), text).unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        self.send(Method::POST, path, body).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, text) = self.send_text(method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")))
    }

    pub(crate) async fn send_text(&self, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        send_to(&self.directory.path().join("run/api.sock"), method, path, body).await
    }

    pub(crate) fn forwarding(&self) -> Forwarding {
        self.dataplane.kernel().forwarding.clone().unwrap()
    }

    /// Slots of each backend of `web`, as the kernel has them.
    pub(crate) fn web_slots(&self) -> BTreeMap<String, u32> {
        let forwarding = self.forwarding();
        let web = &forwarding.vips[&"203.0.113.10:80/tcp".parse().unwrap()];
        web.dests.keys().cloned().zip(web.shares()).collect()
    }

    /// Waits until `ready` holds for the status.
    pub(crate) async fn until(&self, ready: impl Fn(&crate::api::types::Status) -> bool) {
        for _ in 0..2000 {
            if ready(&self.controller.status().await.unwrap()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("never happened: {:#?}", self.controller.status().await);
    }

    pub(crate) fn count(&self, vip: &str, backend: &str, packets: u64) {
        let counters = Counters { packets, bytes: packets * 60, new_flows: packets / 10 };
        let key = (vip.parse().unwrap(), backend.parse().unwrap());
        self.dataplane.kernel().totals.dests.insert(key, counters);
    }
}

/// One request on a connection of its own.
pub(crate) async fn send_to(socket: &Path, method: Method, path: &str, body: &str) -> (StatusCode, String) {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "ferrolev")
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let reply = sender.send_request(request).await.unwrap();
    let status = reply.status();
    let bytes = reply.into_body().collect().await.unwrap().to_bytes();
    connection.abort();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

pub(crate) fn flow(source: &str, destination: &str) -> String {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    format!(r#"{{"source":"{source}","destination":"{destination}","protocol":"tcp"}}"#)
}
