use hyper::{Method, StatusCode};

use super::harness::{FILE, Running, start, start_in};
use crate::api::types::{BackendState, DestStatus, Status};
use crate::dataplane::{FlowCounts, FlowRecord, FlowRecords};

const ADD: &str = r#"{"action":"add","backend":"web-9","vip":"web","address":"10.0.0.19"}"#;

fn dest<'a>(status: &'a Status, vip: &str, name: &str) -> &'a DestStatus {
    let vip = status.vips.iter().find(|shown| shown.name == vip).unwrap();
    vip.backends.iter().find(|dest| dest.name == name).unwrap()
}

fn percent(status: &Status) -> Option<u32> {
    dest(status, "web", "web-9").slow_start_percent
}

/// A daemon whose vip `web` has a slow start.
async fn start_slowly(slow_start: &str) -> Running {
    let directory = start().await.crash().await;
    let file =
        FILE.replacen("ring_size = 251", &format!("ring_size = 251\nslow_start = \"{slow_start}\""), 1);
    std::fs::write(directory.path().join("ferrolev.toml"), file).unwrap();
    start_in(directory).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_shows_its_deadline_until_it_is_undone() {
    let running = start().await;
    let drain = r#"{"action":"drain","backend":"web-1","vip":"web","timeout_seconds":300}"#;
    let (status, reply) = running.post("/v1/changes", drain).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    let shown = running.controller.status().await.unwrap();
    let web1 = dest(&shown, "web", "web-1");
    let deadline = humantime::parse_rfc3339(web1.drain_deadline.as_ref().unwrap()).unwrap();
    let begun = web1.changed.as_ref().unwrap().time();
    assert_eq!(deadline.duration_since(begun).unwrap().as_secs(), 300);
    assert_eq!(dest(&shown, "dns", "web-1").drain_deadline, None, "another vip");
    running.post("/v1/changes", r#"{"action":"undrain","backend":"web-1"}"#).await;
    let shown = running.controller.status().await.unwrap();
    let web1 = dest(&shown, "web", "web-1");
    assert_eq!((web1.state, &web1.drain_deadline), (BackendState::Healthy, &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_backend_gets_its_share_in_steps_also_over_a_restart() {
    let running = start_slowly("3s").await;
    let (_, planned) = running.post("/v1/changes?dry_run=true", ADD).await;
    let plan = serde_json::json!([{"backend": "web-9", "takes_seconds": 3.0, "steps": 3}]);
    assert_eq!(planned["vips"][0]["slow_starts"], plan);
    let (_, done) = running.post("/v1/changes", ADD).await;
    assert_eq!(done["vips"], planned["vips"]);
    assert_eq!(percent(&running.controller.status().await.unwrap()), Some(25));
    let first = running.web_slots()["web-9"];
    assert!((15..=25).contains(&first), "a quarter of a quarter of 251 slots: {first}");
    running.until(|status| percent(status) == Some(50)).await;
    let running = start_in(running.crash().await).await;
    assert!(percent(&running.controller.status().await.unwrap()) >= Some(50), "it did not begin anew");
    running.until(|status| percent(status).is_none()).await;
    let slots = running.web_slots();
    assert!(slots.values().all(|slots| (60..=66).contains(slots)), "{slots:?}");
    let running = start_in(running.crash().await).await;
    assert_eq!(percent(&running.controller.status().await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_that_are_undrained_or_reachable_again_start_slowly_and_others_do_not() {
    let running = start_slowly("1h").await;
    let slow = |status: &Status, vip: &str, name: &str| dest(status, vip, name).slow_start_percent;
    let drain = |action: &str| format!(r#"{{"action":"{action}","backend":"web-1"}}"#);
    running.post("/v1/changes", &drain("drain")).await;
    running.post("/v1/changes", &drain("undrain")).await;
    let status = running.controller.status().await.unwrap();
    assert_eq!(slow(&status, "web", "web-1"), Some(10));
    assert_eq!(slow(&status, "dns", "web-1"), None, "a vip without a slow start");
    running.post("/v1/changes", r#"{"action":"remove","backend":"web-1"}"#).await;
    running.net.break_route("10.0.0.13");
    running.until(|status| dest(status, "web", "web-3").state == BackendState::Unresolved).await;
    running.net.mend_routes();
    running.until(|status| dest(status, "web", "web-3").state == BackendState::Healthy).await;
    let status = running.controller.status().await.unwrap();
    assert_eq!((slow(&status, "web", "web-2"), slow(&status, "web", "web-3")), (None, Some(10)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_says_how_many_slots_go_into_transition() {
    let running = start().await;
    let (_, drained) =
        running.post("/v1/changes", r#"{"action":"drain","backend":"web-1","vip":"web"}"#).await;
    let vip = &drained["vips"][0];
    assert_eq!(vip["transitions"], vip["slots_moved"], "all flows stay: {vip}");
    assert!(vip["transitions"].as_u64().unwrap() > 80);
    running.post("/v1/changes", r#"{"action":"undrain","backend":"web-1","vip":"web"}"#).await;
    let forced = r#"{"action":"remove","backend":"web-1","vip":"web","force":true}"#;
    let (_, removed) = running.post("/v1/changes?dry_run=true", forced).await;
    let vip = &removed["vips"][0];
    let (moved, kept) = (vip["slots_moved"].as_u64().unwrap(), vip["transitions"].as_u64().unwrap());
    assert!(kept < moved / 4, "only slots that others exchange: {vip}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_drained_when_its_flows_are_given_up() {
    let running = start().await;
    let drain = |rest: &str| format!(r#"{{"action":"drain","backend":"web-1"{rest}}}"#);
    running.post("/v1/changes", &drain("")).await;
    let state = |status: &Status| dest(status, "web", "web-1").state;
    assert_eq!(state(&running.controller.status().await.unwrap()), BackendState::Draining);
    running.post("/v1/changes", &drain(r#","timeout_seconds":2,"force":true"#)).await;
    assert_eq!(state(&running.controller.status().await.unwrap()), BackendState::Draining, "not yet");
    running.until(|status| state(status) == BackendState::Drained).await;
    running.post("/v1/changes", r#"{"action":"undrain","backend":"web-1"}"#).await;
    running.post("/v1/changes", &drain(r#","force":true"#)).await;
    assert_eq!(state(&running.controller.status().await.unwrap()), BackendState::Drained, "at once");
}

/// Remembered: 5 flows of `web` on web-1, one of them about to end.
fn five_flows() -> FlowCounts {
    FlowCounts { opened: 1, live: 3, closing: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn remembered_flows_keep_a_drained_backend_draining_and_are_part_of_every_plan() {
    let running = start().await;
    let key = ("203.0.113.10:80/tcp".parse().unwrap(), 0, "10.0.0.11".parse().unwrap());
    running.dataplane.kernel().flows.dests.insert(key, five_flows());
    let (_, counted) = running.get("/v1/flows/count?vip=web&backend=web-1").await;
    let counts = serde_json::json!([{"vip": "web", "backend": "web-1", "address": "10.0.0.11",
        "opened": 1, "live": 3, "closing": 1}]);
    assert_eq!(counted, counts);
    assert_eq!(running.get("/v1/flows/count?backend=web-2").await.1, serde_json::json!([]));
    assert_eq!(running.get("/v1/flows/count?backend=web-8").await.0, StatusCode::NOT_FOUND);
    for (body, kept, lost) in [
        (r#"{"action":"drain","backend":"web-1"}"#, 5, 0),
        (r#"{"action":"drain","backend":"web-1","force":true}"#, 0, 5),
        (r#"{"action":"remove","backend":"web-1"}"#, 5, 0),
        (r#"{"action":"remove","backend":"web-1","force":true}"#, 0, 5),
        (r#"{"action":"drain","backend":"web-2"}"#, 0, 0),
    ] {
        let (_, plan) = running.post("/v1/changes?dry_run=true", body).await;
        let web = plan["vips"].as_array().unwrap().iter().find(|vip| vip["vip"] == "web").unwrap();
        assert_eq!((&web["flows_kept"], &web["flows_lost"]), (&kept.into(), &lost.into()), "{body}");
    }
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-1"}"#).await;
    let shown = running.controller.status().await.unwrap();
    assert_eq!((dest(&shown, "web", "web-1").flows, dest(&shown, "web", "web-2").flows), (5, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_go_out_and_come_in_as_lines_of_json() {
    let running = start().await;
    let record = FlowRecord {
        vip: "203.0.113.10:80/tcp".parse().unwrap(),
        route: 0,
        backend: "10.0.0.11".parse().unwrap(),
        state: lb_common::flow::FlowState::Confirmed,
        age: 7,
        bucket: 99,
        tag: 0x00c_0ffe,
    };
    let buckets = (1 << 20) / 8;
    let other = FlowRecord { backend: "10.0.0.99".parse().unwrap(), ..record };
    running.dataplane.kernel().flow_records = FlowRecords { buckets, records: vec![record, other] };
    let (_, listed) = running.get("/v1/flows?limit=1").await;
    assert_eq!((&listed[0]["backend"], &listed[0]["tag"]), (&"web-1".into(), &"00c0ffe".into()));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let (status, dump) = running.send_text(Method::GET, "/v1/flows/export", "").await;
    assert_eq!((status, dump.lines().count()), (StatusCode::OK, 3));
    running.dataplane.kernel().flow_records.records.clear();
    let (status, done) = running.post("/v1/flows/import", &dump).await;
    assert_eq!((status, &done["taken"]), (StatusCode::OK, &2.into()), "{done}");
    assert_eq!(running.dataplane.kernel().flow_records.records, [record, other]);
    for (from, to, expected) in [
        ("\"hash_seed\":0", "\"hash_seed\":1", "hash_seed = 1"),
        ("\"buckets\":131072", "\"buckets\":128", "limits.flows = 1024"),
        ("00c0ffe", "ffffffff", "'ffffffff' is no tag"),
    ] {
        let (status, refused) = running.post("/v1/flows/import", &dump.replacen(from, to, 1)).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(refused["error"].as_str().unwrap().contains(expected), "{refused}");
    }
    let (status, refused) = running.post("/v1/flows/import", "nonsense").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
}
