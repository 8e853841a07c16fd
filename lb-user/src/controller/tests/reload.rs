use std::sync::mpsc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::harness::{FILE, start};
use crate::api::types::BackendState;
use crate::controller::Caller;
use crate::dataplane::DataplaneError;
use crate::state::Change;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_its_error_stays_in_the_status() {
    let running = start().await;
    let before = running.forwarding();
    running.write_file(&FILE.replace("ring_size = 251", "ring_size = 250"));
    let (status, reply) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(reply["error"].as_str().unwrap().contains("ferrolev.toml:"), "{reply}");
    assert_eq!(running.forwarding(), before);
    assert_eq!(running.get("/v1/status").await.1["config_error"], reply["error"]);

    running.write_file(FILE);
    let (status, _) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(running.get("/v1/status").await.1["config_error"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_reload_of_a_bad_file_leaves_no_error_behind() {
    let running = start().await;
    running.write_file("nonsense");
    let (status, _) = running.post("/v1/reload?dry_run=true", "").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(running.get("/v1/status").await.1["config_error"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_runtime_changes_and_shows_those_without_effect() {
    let running = start().await;
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-1","vip":"web"}"#).await;
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-2","vip":"dns"}"#).await;
    let without = FILE.replace(", { name = \"web-2\", weight = 50 }", "");
    running.write_file(&without);
    let (status, reply) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["vips"][0]["vip"], "dns");
    assert!(reply["notes"][0].as_str().unwrap().contains("web-2"), "{reply}");
    assert_eq!(running.web_slots()["web-1"], 0);
    let (_, status) = running.get("/v1/status").await;
    assert_eq!(status["dormant_changes"][0]["backend"], "web-2");
    assert_eq!(status["dormant_changes"][0]["what"], "drained");

    running.write_file(FILE);
    running.post("/v1/reload", "").await;
    let (_, dns) = running.get("/v1/vips/dns").await;
    assert_eq!(dns["backends"][1]["state"], "draining");
    assert_eq!(running.get("/v1/status").await.1["dormant_changes"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_interfaces_open_the_dataplane_anew_and_a_refusal_changes_nothing() {
    let running = start().await;
    let other = FILE.replace("\"eth0\"", "\"eth0\", \"eth1\"").replace("10.0.0.13", "10.0.0.33");
    running.write_file(&other);
    let before = running.forwarding();
    running.dataplane.kernel().refusal = Some("no eth1".to_owned());
    let (status, _) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(running.forwarding(), before);
    let error = running.get("/v1/status").await.1["config_error"].clone();
    assert_eq!(error, "the dataplane refuses: no eth1");
    assert_eq!(running.dataplane.kernel().options.len(), 1);

    running.dataplane.kernel().refusal = None;
    let (status, _) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::OK);
    let options = running.dataplane.kernel().options.clone();
    assert_eq!(options[1].interfaces, ["eth0", "eth1"]);
    let slots = running.web_slots();
    assert!(slots.values().all(|count| *count > 0), "published before its next hop was known: {slots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reload_cannot_change_is_said() {
    let running = start().await;
    running.write_file(&format!("metrics_listen = \"127.0.0.1:9464\"\n{FILE}"));
    let (_, reply) = running.post("/v1/reload", "").await;
    assert!(reply["notes"][0].as_str().unwrap().starts_with("metrics_listen"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_announced_once_the_kernel_forwards_for_it() {
    let running = start().await;
    let announced = async || {
        let (_, addresses) = running.get("/v1/addresses").await;
        addresses.as_array().unwrap().iter().map(|entry| entry["address"].to_string()).collect::<Vec<_>>()
    };
    running.write_file(&FILE.replacen("203.0.113.10", "203.0.113.99", 1));
    running.dataplane.kernel().refusal = Some("full".to_owned());
    running.post("/v1/reload", "").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(announced().await, ["\"203.0.113.10\""]);
    running.dataplane.kernel().refusal = None;
    running.post("/v1/reload", "").await;
    let both = ["\"203.0.113.10\"", "\"203.0.113.99\""];
    for _ in 0..2000 {
        if announced().await == both {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{:?}", announced().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_change_in_place_and_table_sizes_by_opening_anew() {
    let running = start().await;
    let limits = |lines: &str| format!("{FILE}\n[limits]\n{lines}\n");
    running.write_file(&limits("replies_per_second = 7\nfragment_timeout = \"3s\""));
    assert_eq!(running.post("/v1/reload", "").await.0, StatusCode::OK);
    assert_eq!(running.dataplane.kernel().options.len(), 1);
    assert_eq!(running.forwarding().answers.replies_per_second, 7);
    assert_eq!(running.forwarding().answers.fragment_timeout, std::time::Duration::from_secs(3));

    running.write_file(&limits("fragments = 5"));
    assert_eq!(running.post("/v1/reload", "").await.0, StatusCode::OK);
    let options = running.dataplane.kernel().options.clone();
    assert_eq!((options.len(), options.last().unwrap().limits.fragments), (2, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_and_next_hops_followed_while_lists_are_loaded() {
    let running = start().await;
    let (begun, loads) = mpsc::channel::<()>();
    let (loaded, loading) = mpsc::channel::<()>();
    running.dataplane.kernel().slow_lists = Some(Box::new(move || {
        let _ = begun.send(());
        let _ = loading.recv();
        Ok(())
    }));
    running.write_file(&FILE.replace("weight = 50", "weight = 70"));
    let controller = running.controller.clone();
    let reload = tokio::spawn(async move { controller.reload(false).await });
    // The change must not come first.
    tokio::task::block_in_place(|| loads.recv()).unwrap();
    let controller = running.controller.clone();
    let change = tokio::spawn(async move {
        let drain =
            Change::Drain { backend: "web-1".to_owned(), vip: None, timeout_seconds: None, force: false };
        controller.change(drain, Caller { user: "test".to_owned(), pid: None }, false).await
    });
    // The status is asked for after both, and answered before both.
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.net.break_route("10.0.0.13");
    running.until(|status| status.vips[1].backends[2].state == BackendState::Unresolved).await;
    assert!(!reload.is_finished() && !change.is_finished());
    let weight = |vip: usize| {
        let status = running.controller.status();
        async move { status.await.unwrap().vips[vip].backends[1].weight }
    };
    assert_eq!(weight(0).await, 50, "not before its lists are there");
    assert_eq!(running.dataplane.kernel().abandoned, 0);
    loaded.send(()).unwrap();
    reload.await.unwrap().unwrap();
    change.await.unwrap().unwrap();
    assert_eq!(weight(0).await, 70);
    let status = running.controller.status().await.unwrap();
    assert_eq!(status.vips[0].backends[0].state, BackendState::Draining, "the change came after the reload");
    assert_eq!(running.dataplane.kernel().abandoned, 1, "what the reload did not need is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_whose_lists_the_kernel_refuses_changes_nothing() {
    let running = start().await;
    let before = running.forwarding();
    for refusal in ["no room", ""] {
        running.dataplane.kernel().slow_lists = Some(Box::new(move || {
            assert!(!refusal.is_empty(), "a job that breaks down");
            Err(DataplaneError::Other(refusal.to_owned()))
        }));
        running.write_file(&FILE.replace("weight = 50", "weight = 70"));
        let (status, reply) = running.post("/v1/reload", "").await;
        assert!(!status.is_success() && reply["error"].as_str().unwrap().contains(refusal), "{reply}");
        assert_eq!(running.forwarding(), before);
        assert_eq!(running.get("/v1/status").await.1["config_error"], reply["error"]);
    }
    assert_eq!(running.dataplane.kernel().abandoned, 2);
    let (status, _) = running.post("/v1/reload", "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_ends_after_the_reload_that_is_under_way() {
    let running = start().await;
    let (loaded, loading) = mpsc::channel::<()>();
    running.dataplane.kernel().slow_lists = Some(Box::new(move || {
        let _ = loading.recv();
        Ok(())
    }));
    let controller = running.controller.clone();
    let reload = tokio::spawn(async move { controller.reload(false).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.controller.stop().await;
    assert!(running.controller.status().await.is_ok(), "not yet");
    loaded.send(()).unwrap();
    reload.await.unwrap().unwrap();
    let ended = async { while running.controller.status().await.is_ok() {} };
    timeout(Duration::from_secs(5), ended).await.unwrap();
}
