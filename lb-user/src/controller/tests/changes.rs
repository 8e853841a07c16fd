use crate::state::Forwarding;
use hyper::StatusCode;

use super::harness::{FILE, flow, start, start_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_backend_stays_drained_after_a_crash() {
    let running = start().await;
    let (status, reply) =
        running.post("/v1/changes", r#"{"action":"drain","backend":"web-1","vip":"web"}"#).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(running.web_slots()["web-1"], 0);
    let moved = reply["vips"][0]["slots_moved"].as_u64().unwrap();
    assert!((80..200).contains(&moved), "{reply}");
    let (_, vip) = running.get("/v1/vips/web").await;
    assert_eq!(vip["backends"][0]["state"], "draining");
    assert_eq!(vip["slots_in_transition"], moved);

    let running = start_in(running.crash().await).await;
    assert_eq!(running.web_slots()["web-1"], 0);
    let (_, vip) = running.get("/v1/vips/web").await;
    assert_eq!(vip["backends"][0]["state"], "drained", "the played kernel has forgotten all flows");
    assert_eq!(vip["backends"][0]["changed"]["by"], "root");
    assert_eq!(vip["backends"][0]["changed"]["pid"], std::process::id());
    let (_, journal) = running.get("/v1/changes").await;
    assert_eq!(journal[0]["change"]["action"], "drain");
    assert_eq!(journal.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undrained_backend_gets_the_same_slots_back() {
    let running = start().await;
    let before = running.forwarding();
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-2"}"#).await;
    let rings = |forwarding: &Forwarding| -> Vec<_> {
        forwarding.vips.values().map(|vip| vip.ring.clone()).collect()
    };
    assert!(rings(&running.forwarding()) != rings(&before));
    let (status, _) = running.post("/v1/changes", r#"{"action":"undrain","backend":"web-2"}"#).await;
    assert_eq!(status, StatusCode::OK);
    assert!(rings(&running.forwarding()) == rings(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_dataplane_leaves_everything_as_it_was() {
    let running = start().await;
    let before = (running.forwarding(), running.get("/v1/config").await, running.get("/v1/vips").await);
    running.dataplane.kernel().refusal = Some("no room".to_owned());
    let (status, reply) = running.post("/v1/changes", r#"{"action":"remove","backend":"web-1"}"#).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(reply["error"], "the dataplane refuses: no room");
    running.dataplane.kernel().refusal = None;
    let after = (running.forwarding(), running.get("/v1/config").await, running.get("/v1/vips").await);
    assert_eq!(before, after);
    assert_eq!(running.get("/v1/changes").await.1, serde_json::json!([]));

    let running = start_in(running.crash().await).await;
    assert_eq!(running.forwarding(), before.0, "the refused change was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_the_change_then_does_and_changes_nothing() {
    let running = start().await;
    let before = running.forwarding();
    for body in [
        r#"{"action":"weight","backend":"web-3","weight":10}"#,
        r#"{"action":"add","backend":"web-9","vip":"web","address":"10.0.0.19"}"#,
        r#"{"action":"remove","backend":"web-1","vip":"dns"}"#,
    ] {
        let (status, dry) = running.post("/v1/changes?dry_run=true", body).await;
        assert_eq!(status, StatusCode::OK, "{dry}");
        assert_eq!(dry["dry_run"], true);
        assert_eq!(running.forwarding(), before);
        assert_eq!(running.get("/v1/changes").await.1, serde_json::json!([]));
        assert_eq!(running.dataplane.kernel().applies, 1);
        assert!(dry["vips"][0]["slots_moved"].as_u64().unwrap() > 0, "{dry}");
    }
    let body = r#"{"action":"add","backend":"web-9","vip":"web","address":"10.0.0.19"}"#;
    let (_, dry) = running.post("/v1/changes?dry_run=true", body).await;
    let (_, done) = running.post("/v1/changes", body).await;
    assert_eq!(dry["vips"], done["vips"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_all_count() {
    let running = start().await;
    let running = &running;
    let added = (0..20).map(|n| async move {
        let body = format!(r#"{{"action":"add","backend":"extra-{n}","vip":"web","address":"10.0.1.{n}"}}"#);
        running.post("/v1/changes", &body).await.0
    });
    let results = futures_util::future::join_all(added).await;
    assert!(results.iter().all(|status| *status == StatusCode::OK), "{results:?}");
    let slots = running.web_slots();
    assert_eq!(slots.len(), 23);
    assert!(slots.values().all(|count| *count > 0), "{slots:?}");
    assert_eq!(running.get("/v1/changes").await.1.as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_show_says_where_each_value_comes_from() {
    let running = start().await;
    running.post("/v1/changes", r#"{"action":"weight","backend":"web-1","vip":"web","weight":7}"#).await;
    running
        .post("/v1/changes", r#"{"action":"add","backend":"new","vip":"web","address":"10.0.0.99"}"#)
        .await;
    running.post("/v1/changes", r#"{"action":"remove","backend":"web-2","vip":"dns"}"#).await;
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-3"}"#).await;
    let (_, shown) = running.get("/v1/config").await;
    let value = |path: &str| {
        let values = shown["values"].as_array().unwrap();
        let found = values.iter().find(|value| value["path"] == path);
        let found = found.unwrap_or_else(|| panic!("{path} in {values:#?}"));
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    let (weight, origin) = value("vip.web.backends.web-1.weight");
    assert_eq!(weight, "7");
    assert!(origin.starts_with("runtime: root, 20"), "{origin}");
    assert!(value("vip.web.backends").0.contains("new"));
    assert!(value("vip.web.backends").1.starts_with("runtime: root"));
    assert_eq!(value("vip.dns.backends").0, "web-1");
    assert!(value("backend.new.address").1.starts_with("runtime: root"));
    assert!(value("vip.web.backends.web-3.drained").1.starts_with("runtime: root"));
    assert_eq!(value("vip.web.ring_size").1, "file");
    assert_eq!(value("tunnel.ttl").1, "default");
    assert_eq!(value("vip.web.backends.web-2.weight"), ("100".to_owned(), "default".to_owned()));

    let toml = shown["toml"].as_str().unwrap();
    assert!(toml.starts_with("# drained at run time: web-3 in web\n"), "{toml}");
    running.write_file(toml);
    let (status, reloaded) = running.post("/v1/reload?dry_run=true", "").await;
    assert_eq!(status, StatusCode::OK, "{reloaded}");
    assert_eq!(reloaded["vips"], serde_json::json!([]), "the shown file says what runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_names_slot_and_backend_and_agrees_with_the_prediction() {
    let running = start().await;
    let (status, reply) = running.post("/v1/explain", &flow("198.51.100.7:40000", "203.0.113.10:80")).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_eq!(reply["verdict"], "forward");
    assert_eq!(reply["vip"], "web");
    assert_eq!(reply["slot"], reply["predicted_slot"]);
    assert_eq!(reply["backend"], reply["predicted_backend"]);
    assert_eq!(reply["frame"], "abcd");
    let (_, reply) = running.post("/v1/explain", &flow("198.51.100.7:40000", "203.0.113.99:80")).await;
    assert_eq!(reply["verdict"], "pass");
    assert_eq!(reply["vip"], serde_json::Value::Null);
    let (status, _) = running.post("/v1/explain", &flow("198.51.100.7:40000", "[2001:db8::1]:80")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_file_has_caught_up_with_is_forgotten_for_good() {
    let running = start().await;
    running.post("/v1/changes", r#"{"action":"weight","backend":"web-1","vip":"web","weight":50}"#).await;
    let with_weight =
        |weight: u32| FILE.replacen("\"web-1\",", &format!("{{ name = \"web-1\", weight = {weight} }},"), 1);
    let directory = running.crash().await;
    std::fs::write(directory.path().join("ferrolev.toml"), with_weight(50)).unwrap();
    let directory = start_in(directory).await.crash().await;
    std::fs::write(directory.path().join("ferrolev.toml"), with_weight(70)).unwrap();
    let running = start_in(directory).await;
    let (_, vip) = running.get("/v1/vips/web").await;
    assert_eq!(vip["backends"][0]["weight"], 70);
}
