use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::api::serve_metrics;
use crate::controller::tests::elections::{played, with_vrrp};
use crate::controller::tests::harness::{FILE, Running, start, start_telling, start_with};
use crate::health::{Standing, State};
use crate::hooks::{Hooks, Place};
use crate::peers::{FollowerStatus, PeerStatus, PeersStatus};

async fn scrape(running: &Running) -> String {
    let (status, text) = running.send_text(Method::GET, "/metrics", "").await;
    assert_eq!(status, StatusCode::OK);
    text
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in\n{text}")).parse().unwrap()
}

/// Name of each family as it stands in queries, with its type.
fn families(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{suffix}"), kind.to_owned())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_and_back() {
    let more = "\n[[check]]\nname = \"c\"\ntype = \"tcp\"\n[[hook]]\nname = \"h\"\ntype = \"exec\"\ncommand = [\"/x\"]\n";
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let text = FILE.replacen("port = 80\n", "port = 80\ncheck = \"c\"\n", 1) + more;
    let text = format!("peer_listen = \"10.0.0.1:7946\"\n{}", with_vrrp(&text)) + &peer();
    std::fs::write(directory.path().join("ferrolev.toml"), text).unwrap();
    let running = start_telling(directory, Hooks::start(Place::default()).unwrap()).await;
    running.elections.status.send_replace(played());
    running.copying.as_ref().unwrap().play(played_peers());
    let target =
        running.checks.clone().wait_for(|wanted| wanted.len() == 3).await.unwrap().keys().next().cloned();
    running
        .standings
        .send_modify(|all| all.extend(target.map(|of| (of, Standing::played(State::Healthy, "")))));
    let exported: BTreeSet<String> = families(&scrape(&running).await).into_keys().collect();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `ferrolev_"));
    let documented: BTreeSet<String> =
        rows.filter_map(|row| row.split('`').next()).map(|name| format!("ferrolev_{name}")).collect();
    assert_eq!(exported, documented);
}

fn peer() -> String {
    let fingerprint = "a5".repeat(32);
    format!("\n[[peer]]\nname = \"b\"\naddress = \"10.0.0.2:7946\"\nfingerprint = \"{fingerprint}\"\n")
}

fn played_peers() -> PeersStatus {
    let follower =
        FollowerStatus { in_step_at: Some(std::time::Instant::now()), ..FollowerStatus::default() };
    let peer = PeerStatus { follower, ..PeerStatus::default() };
    PeersStatus { peers: BTreeMap::from([("b".to_owned(), peer)]), ..PeersStatus::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_routers_have_their_role_and_their_counts() {
    let running = start_with(&with_vrrp(FILE)).await;
    running.elections.status.send_replace(played());
    let text = scrape(&running).await;
    let of = "router=\"edge4\"";
    assert_eq!(value(&text, &format!("ferrolev_vrrp_role{{{of},role=\"master\"}}")), 1.0);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_role{{{of},role=\"backup\"}}")), 0.0);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_priority{{{of}}}")), 80.0);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_lease_left_seconds{{{of}}}")), 0.25);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_transitions_total{{{of}}}")), 2.0);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_adverts_sent_total{{{of},kind=\"advert\"}}")), 7.0);
    assert_eq!(
        value(&text, &format!("ferrolev_vrrp_adverts_rejected_total{{{of},reason=\"checksum\"}}")),
        0.0
    );
    assert_eq!(value(&text, "ferrolev_vrrp_adverts_stray_total{reason=\"checksum\"}"), 3.0);
    assert_eq!(value(&text, &format!("ferrolev_vrrp_dual_master_seconds_total{{{of}}}")), 0.0);
    assert_eq!(value(&text, "ferrolev_vrrp_external_owned{external=\"kd\"}"), 1.0);
    assert_eq!(value(&text, "ferrolev_vrrp_fit"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vip_counts_what_its_former_backends_carried() {
    let running = start().await;
    running.count("203.0.113.10:80/tcp", "10.0.0.11", 1000);
    running.count("203.0.113.10:80/tcp", "10.0.0.12", 200);
    running.count("203.0.113.10:53/udp", "10.0.0.11", 7);
    let before = scrape(&running).await;
    assert_eq!(value(&before, r#"ferrolev_vip_packets_total{vip="web"}"#), 1200.0);
    assert_eq!(value(&before, r#"ferrolev_backend_new_flows_total{vip="web",backend="web-1"}"#), 100.0);
    running.post("/v1/changes", r#"{"action":"remove","backend":"web-1","vip":"web"}"#).await;
    let after = scrape(&running).await;
    assert_eq!(value(&after, r#"ferrolev_vip_packets_total{vip="web"}"#), 1200.0);
    assert_eq!(value(&after, r#"ferrolev_vip_bytes_total{vip="web"}"#), 72_000.0);
    assert!(!after.contains(r#"ferrolev_backend_packets_total{vip="web",backend="web-1"}"#));
    assert_eq!(value(&after, r#"ferrolev_vip_packets_total{vip="dns"}"#), 7.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_reloads_and_refusals_are_counted() {
    let running = start().await;
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-1","vip":"web"}"#).await;
    running.post("/v1/reload", "").await;
    running.write_file("nonsense");
    running.post("/v1/reload", "").await;
    running.dataplane.kernel().refusal = Some("full".to_owned());
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-2"}"#).await;
    let text = scrape(&running).await;
    for (series, expected) in [
        (r#"ferrolev_backend_state{vip="web",backend="web-1",state="draining"}"#, 1.0),
        (r#"ferrolev_backend_state{vip="web",backend="web-1",state="healthy"}"#, 0.0),
        (r#"ferrolev_backend_slots{vip="web",backend="web-1"}"#, 0.0),
        (r#"ferrolev_reloads_total{result="success"}"#, 1.0),
        (r#"ferrolev_reloads_total{result="failure"}"#, 1.0),
        ("ferrolev_last_reload_successful", 0.0),
        ("ferrolev_apply_errors_total", 1.0),
        ("ferrolev_dataplane_in_sync", 1.0),
        ("ferrolev_dests", 20.0),
        ("ferrolev_dests_capacity", 8192.0),
        (r#"ferrolev_vips{family="ipv4"}"#, 2.0),
        (r#"ferrolev_overrides{effect="active"}"#, 1.0),
        (r#"ferrolev_address_state{address="203.0.113.10",interface="eth0",state="conflict"}"#, 1.0),
        (r#"ferrolev_address_state{address="203.0.113.10",interface="eth0",state="owned"}"#, 0.0),
        (r#"ferrolev_announcements_total{address="203.0.113.10",interface="eth0"}"#, 5.0),
        (r#"ferrolev_address_conflicts_total{address="203.0.113.10",interface="eth0"}"#, 2.0),
        ("ferrolev_ring_memory_bytes", 2048.0),
        ("ferrolev_ring_memory_allocated_bytes", 8192.0),
    ] {
        assert_eq!(value(&text, series), expected, "{series}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tcp_listener_serves_metrics_and_nothing_else() {
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    let running = start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve_metrics(listener, running.controller.clone(), std::future::pending()));
    for (path, expected) in [("/metrics", 200), ("/v1/status", 404), ("/v1/changes", 404)] {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = hyper::Request::get(path).header("host", "x").body(Empty::<Bytes>::new()).unwrap();
        let reply = sender.send_request(request).await.unwrap();
        assert_eq!(reply.status().as_u16(), expected, "{path}");
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.starts_with(b"# HELP"), expected == 200);
        connection.abort();
    }
    server.abort();
}
