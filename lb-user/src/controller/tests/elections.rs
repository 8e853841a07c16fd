use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use lb_vrrp::gate::{Pass, Readiness};
use lb_vrrp::machine::Role;
use lb_vrrp::track::{Evaluation, Kind};
use lb_vrrp::wire::Interval;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::harness::{FILE, Running, start, start_with};
use crate::api::types::{Fitness, VrrpGate, VrrpRole, VrrpStatus};
use crate::health::{Standing, State};
use crate::vrrp::{ExternalStatus, Host, Order, Refused, RouterStatus, Status, Transition, Vrrp, Wanted};

/// What virtual routers are told, and what they are played to answer.
pub(crate) struct FakeElections {
    pub(crate) wanted: watch::Receiver<Option<Wanted>>,
    pub(crate) host: watch::Receiver<Host>,
    pub(crate) status: watch::Sender<Status>,
    orders: Arc<Mutex<Vec<Order>>>,
    refusal: Arc<Mutex<Option<Refused>>>,
}

impl FakeElections {
    pub(crate) fn start() -> (Self, Vrrp) {
        let (wanted, wanted_now) = watch::channel(None);
        let (host, host_now) = watch::channel(Host::default());
        let (sender, status) = watch::channel(Status::default());
        let (orders, mut ordered) = mpsc::channel(1);
        let (heard, refusal) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        let fake = Self {
            wanted: wanted_now,
            host: host_now,
            status: sender,
            orders: Arc::clone(&heard),
            refusal: Arc::clone(&refusal),
        };
        tokio::spawn(async move {
            let mut unanswered: Vec<oneshot::Sender<Result<(), Refused>>> = Vec::new();
            while let Some((order, reply)) = ordered.recv().await {
                heard.lock().unwrap().push(order);
                match refusal.lock().unwrap().clone() {
                    // One that hangs.
                    Some(Refused::Late) => unanswered.push(reply),
                    Some(refusal) => drop(reply.send(Err(refusal))),
                    None => drop(reply.send(Ok(()))),
                }
            }
        });
        (fake, Vrrp { wanted, host, orders, status })
    }
}

const VRRP: &str = r#"
[[vrrp.router]]
name = "edge4"
interface = "eth0"
router_id = 51
addresses = ["203.0.113.10"]
interval = "100ms"
track = [{ vip = "web", weight = -20 }]

[[vrrp.external]]
name = "kd"
addresses = ["203.0.113.11"]

[[vip]]
name = "other"
address = "203.0.113.11"
port = 80
protocol = "tcp"
ring_size = 251
backends = ["web-1"]
announce = "arp"
"#;

fn file() -> String {
    format!("{FILE}{VRRP}")
}

async fn host(running: &Running, ready: impl FnMut(&Host) -> bool) -> Host {
    let mut host = running.elections.host.clone();
    let found = timeout(Duration::from_secs(10), host.wait_for(ready)).await;
    found.expect("in time").unwrap().clone()
}

async fn fitness(running: &Running) -> Fitness {
    serde_json::from_value(running.get("/v1/fitness").await.1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_routers_are_told_what_the_file_wants_and_again_only_when_that_changes() {
    let running = start_with(&file()).await;
    let mut wanted = running.elections.wanted.clone();
    let first = wanted.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(first.routers["edge4"].vrid, 51);
    assert_eq!(first.elected().len(), 2);
    wanted.mark_unchanged();
    running.write_file(&file().replace("web-3\"]", "web-2\"]").replacen(
        "\"web-2\", \"web-2\"",
        "\"web-2\"",
        1,
    ));
    let (status, reply) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    running.get("/v1/status").await;
    assert!(!wanted.has_changed().unwrap(), "a reload of other things leaves them alone");
    running.write_file(&file().replace("router_id = 51", "router_id = 52"));
    running.post("/v1/reload", "").await;
    let changed = wanted.wait_for(|wanted| wanted.as_ref().unwrap().routers["edge4"].vrid == 52);
    timeout(Duration::from_secs(5), changed).await.expect("told").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_ready_when_every_check_has_had_a_result() {
    let check = "\n[[check]]\nname = \"c\"\ntype = \"tcp\"\n[vrrp]\nstart_limit = \"1h\"\n";
    let running = start_with(&(FILE.replacen("port = 80\n", "port = 80\ncheck = \"c\"\n", 1) + check)).await;
    let mut checks = running.checks.clone();
    let targets: Vec<_> =
        checks.wait_for(|wanted| wanted.len() == 3).await.unwrap().keys().cloned().collect();
    let not_yet = host(&running, |host| host.readiness.tables_loaded).await;
    assert_eq!(not_yet.readiness, Readiness { tables_loaded: true, ..Readiness::default() });
    let waiting = fitness(&running).await;
    assert!(!waiting.fit && waiting.reasons[0].contains("no result yet"), "{waiting:?}");
    let mut result = Standing::played(State::Unhealthy, "refused");
    result.last = Some(crate::health::Last {
        at: SystemTime::now(),
        took: Duration::ZERO,
        failure: Some("refused".to_owned()),
        diagnosis: None,
    });
    running
        .standings
        .send_modify(|all| all.extend(targets[1..].iter().map(|of| (of.clone(), result.clone()))));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!running.elections.host.borrow().readiness.first_round_done, "one has had none");
    running.standings.send_modify(|all| all.extend(targets.iter().map(|of| (of.clone(), result.clone()))));
    host(&running, |host| host.readiness.first_round_done).await;
    assert_eq!(fitness(&running).await, Fitness { fit: true, reasons: Vec::new() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_attached_or_has_no_way_to_its_backends_is_not_fit() {
    let running = start().await;
    assert!(fitness(&running).await.fit);
    for address in ["10.0.0.11", "10.0.0.12"] {
        running.net.break_route(address);
    }
    running.until(|status| status.vips[1].backends[1].next_hop.is_none()).await;
    assert!(fitness(&running).await.fit, "one backend is left");
    running.net.break_route("10.0.0.13");
    let unfit = host(&running, |host| !host.unfit.is_empty()).await.unfit;
    assert_eq!(unfit.len(), 1);
    assert!(unfit[0].starts_with("no backend can be reached; 10.0.0.11: "), "{unfit:?}");
    assert_eq!(fitness(&running).await.reasons, unfit);
    running.net.mend_routes();
    host(&running, |host| host.unfit.is_empty()).await;
    running.write_file(&FILE.replace("\"eth0\"", "\"eth0\", \"eth1\""));
    running.post("/v1/reload", "").await;
    let unfit = host(&running, |host| !host.unfit.is_empty()).await.unfit;
    assert_eq!(unfit, ["the program is not attached to eth1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_refuses_makes_a_host_unfit_until_it_accepts_again() {
    let running = start().await;
    running.dataplane.kernel().refusal = Some("no room".to_owned());
    running.net.break_route("10.0.0.11");
    let unfit = host(&running, |host| !host.unfit.is_empty()).await.unfit;
    assert_eq!(unfit, ["the kernel does not forward as it should: no room"]);
    running.dataplane.kernel().refusal = None;
    host(&running, |host| host.unfit.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracked_vip_is_dead_while_no_backend_can_serve() {
    let running = start_with(&file()).await;
    host(&running, |host| host.readiness.tables_loaded && host.dead_vips.is_empty()).await;
    for address in ["10.0.0.11", "10.0.0.12", "10.0.0.13"] {
        running.net.break_route(address);
    }
    let dead = host(&running, |host| !host.dead_vips.is_empty()).await.dead_vips;
    assert_eq!(Vec::from_iter(dead), ["web"], "others are not tracked");
    running.net.mend_routes();
    host(&running, |host| host.dead_vips.is_empty()).await;
    for backend in ["web-1", "web-2", "web-3"] {
        let drain = format!(r#"{{"action":"drain","backend":"{backend}","vip":"web"}}"#);
        running.post("/v1/changes", &drain).await;
    }
    host(&running, |host| host.dead_vips.contains("web")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_what_is_configured_and_what_has_become_of_it() {
    let running = start_with(&file()).await;
    let show = |path: &'static str| {
        let running = &running;
        async move { serde_json::from_value::<VrrpStatus>(running.get(path).await.1).unwrap() }
    };
    let before = show("/v1/vrrp").await;
    let router = &before.routers[0];
    assert_eq!((router.role, router.since.as_deref(), router.priority), (VrrpRole::Init, None, 100));
    assert_eq!((router.interval_ms, router.addresses.len()), (100, 1));
    assert_eq!((before.external[0].owned, before.gate), (false, VrrpGate::Closed));
    running.elections.status.send_replace(played());
    let now = show("/v1/vrrp").await;
    let router = &now.routers[0];
    assert_eq!((router.role, router.priority, router.lease_left_ms), (VrrpRole::Master, 80, Some(250)));
    assert_eq!((router.parts[0].kind.as_str(), router.parts[0].adds), ("backends", -20));
    assert_eq!(router.transitions[0].to, VrrpRole::Master);
    assert_eq!(router.counters.adverts_sent, 7);
    assert_eq!((now.gate, now.external[0].owned), (VrrpGate::Open, true));
    assert_eq!(now.strays["checksum"], 3);
    let one = show("/v1/vrrp?name=edge4").await;
    assert_eq!((one.routers.len(), one.external.len()), (1, 0));
    let (status, error) = running.get("/v1/vrrp?name=nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(error["error"].as_str().unwrap().contains("nobody"), "{error}");
}

/// A master whose vip has no backend.
pub(crate) fn played() -> Status {
    let at = SystemTime::UNIX_EPOCH;
    let router = RouterStatus {
        role: Role::Master,
        since: at,
        group: None,
        evaluation: Evaluation {
            priority: 80,
            parts: vec![(Kind::Backends, "web".to_owned(), -20)],
            faults: Vec::new(),
        },
        maintenance: false,
        handing_over: false,
        source: None,
        trouble: None,
        master: None,
        interval: Interval::from_centiseconds(10).unwrap(),
        due_in: Some(Duration::from_millis(30)),
        lease_left: Some(Duration::from_millis(250)),
        transitions: vec![Transition { at, from: Role::Backup, to: Role::Master, why: "alone".to_owned() }],
        seen: lb_vrrp::seen::Seen {
            adverts_sent: 7,
            role_changes: 2,
            became_master: 1,
            ..Default::default()
        },
        heard_ago: [].into(),
    };
    let external = ExternalStatus { owned: true, since: at, why: "a command said so".to_owned() };
    Status {
        routers: [("edge4".to_owned(), router)].into(),
        external: [("kd".to_owned(), external)].into(),
        readiness: Readiness::default(),
        gate: Pass::Open,
        strays: [("checksum", 3)].into(),
    }
}

pub(crate) fn with_vrrp(text: &str) -> String {
    format!("{text}{VRRP}")
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_passed_on_and_refusals_come_back_with_their_status() {
    let running = start_with(&file()).await;
    let order = |body: &'static str| running.post("/v1/vrrp", body);
    for (body, expected) in [
        (r#"{"order":"failover"}"#, Order::HandOver(None)),
        (r#"{"order":"failover","name":"edge4"}"#, Order::HandOver(Some("edge4".to_owned()))),
        (
            r#"{"order":"maintenance","name":"edge4","on":true}"#,
            Order::Maintenance(Some("edge4".to_owned()), true),
        ),
        (r#"{"order":"own","name":"kd"}"#, Order::Own("kd".to_owned(), true)),
        (r#"{"order":"release","name":"kd"}"#, Order::Own("kd".to_owned(), false)),
    ] {
        let (status, reply) = order(body).await;
        assert_eq!(status, StatusCode::OK, "{reply}");
        assert_eq!(running.elections.orders.lock().unwrap().last(), Some(&expected));
    }
    for (refusal, expected) in [
        (Refused::Unknown("x".to_owned()), StatusCode::NOT_FOUND),
        (Refused::NotExternal("x".to_owned()), StatusCode::NOT_FOUND),
        (Refused::NotMaster("x".to_owned(), Role::Backup), StatusCode::CONFLICT),
        (Refused::Ended, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        *running.elections.refusal.lock().unwrap() = Some(refusal.clone());
        let (status, reply) = order(r#"{"order":"failover"}"#).await;
        assert_eq!((status, reply["error"].as_str().unwrap()), (expected, refusal.to_string().as_str()));
    }
    let (status, _) = order(r#"{"order":"dance"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_routers_that_hang_delay_nobody_else_and_their_orders_end() {
    let running = start_with(&file()).await;
    *running.elections.refusal.lock().unwrap() = Some(Refused::Late);
    let slow = running.post("/v1/vrrp", r#"{"order":"failover"}"#);
    let quick = async {
        for _ in 0..20 {
            timeout(Duration::from_secs(1), running.get("/v1/vrrp")).await.expect("at once");
        }
    };
    let ((status, reply), ()) = tokio::join!(slow, quick);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply["error"].as_str().unwrap().contains("do not answer"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_about_addresses_that_follow_another_says_that_it_does_not_count() {
    let follows = "addresses = [\"203.0.113.11\"]\nfollows = \"203.0.113.9\"";
    let running = start_with(&file().replace("addresses = [\"203.0.113.11\"]", follows)).await;
    let (_, reply) = running.post("/v1/vrrp", r#"{"order":"own","name":"kd"}"#).await;
    assert!(reply["notes"][0].as_str().unwrap().contains("203.0.113.9"), "{reply}");
}
