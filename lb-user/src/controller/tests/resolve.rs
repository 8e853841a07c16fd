use hyper::{Method, StatusCode};

use super::harness::{FILE, start};
use crate::api::types::BackendState;

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_next_hop_leaves_the_ring_and_says_why() {
    let running = start().await;
    running.net.break_route("10.0.0.12");
    running.until(|status| status.vips[1].backends[1].state == BackendState::Unresolved).await;
    assert_eq!(running.web_slots()["web-2"], 0);
    let (_, vip) = running.get("/v1/vips/web").await;
    assert_eq!(vip["backends"][1]["state"], "unresolved");
    assert_eq!(vip["backends"][1]["reason"], "no route to 10.0.0.12; add a route");
    assert_eq!(vip["backends"][1]["next_hop"], serde_json::Value::Null);
    assert_eq!(vip["backends"][1]["slots"], 0);

    running.net.mend_routes();
    running.until(|status| status.vips[1].backends[1].state == BackendState::Healthy).await;
    assert!(running.web_slots()["web-2"] > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_added_without_a_route_is_accepted_with_a_note() {
    let running = start().await;
    running.net.break_route("10.0.0.50");
    let body = r#"{"action":"add","backend":"lost","vip":"web","address":"10.0.0.50"}"#;
    let (status, reply) = running.post("/v1/changes", body).await;
    assert_eq!(status, hyper::StatusCode::OK);
    assert!(reply["notes"][0].as_str().unwrap().contains("no route to 10.0.0.50"), "{reply}");
    assert_eq!(running.web_slots()["lost"], 0);
    running.net.mend_routes();
    running.until(|status| status.vips[1].backends[0].slots > 0).await;
    assert!(running.web_slots()["lost"] > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_background_is_shown_and_tried_again() {
    let running = start().await;
    let before = running.forwarding();
    running.dataplane.kernel().refusal = Some("busy".to_owned());
    running.net.break_route("10.0.0.11");
    running.until(|status| status.dataplane_error.as_deref() == Some("busy")).await;
    assert_eq!(running.forwarding(), before);
    running.dataplane.kernel().refusal = None;
    running.until(|status| status.dataplane_error.is_none()).await;
    assert_eq!(running.web_slots()["web-1"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_a_route_alone_gets_a_next_hop_too() {
    let running = start().await;
    let backend = "[[backend]]\nname = \"lab\"\naddress = \"10.0.0.77\"\n";
    let route = "[[vip.route]]\nname = \"r\"\nsources = [\"10.0.0.0/8\"]\nbackends = [\"lab\"]\n";
    running.write_file(&format!("{FILE}{route}{backend}"));
    let (status, reply) = running.post("/v1/reload", "").await;
    assert_eq!(status, hyper::StatusCode::OK, "{reply}");
    let forwarding = running.forwarding();
    let route = forwarding.routes.values().next().expect("a route");
    assert!(route.dests["lab"].next_hop.is_ok(), "{:?}", route.dests["lab"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backends_of_routes_are_shown_with_their_own_rings() {
    let running = start().await;
    let route = "\n[[vip.route]]\nname = \"eu\"\nsources = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n\
                 backends = [\"web-3\", { name = \"web-1\", weight = 300 }]\n";
    // Below the last vip, which has not got web-3 itself.
    running.write_file(&format!("{FILE}{route}"));
    assert_eq!(running.post("/v1/reload", "").await.0, StatusCode::OK);
    running.count("203.0.113.10:53/udp", "10.0.0.13", 70);
    let (_, vip) = running.get("/v1/vips/dns").await;
    let [eu] = vip["routes"].as_array().unwrap().as_slice() else { panic!("{vip}") };
    assert_eq!((&eu["name"], &eu["sources"]), (&"eu".into(), &2.into()));
    let dests = eu["backends"].as_array().unwrap();
    let slots: Vec<_> = dests.iter().map(|dest| dest["slots"].as_u64().unwrap()).collect();
    assert_eq!(slots.iter().sum::<u64>(), 251);
    assert!(slots[0] > 2 * slots[1], "{slots:?}");
    assert_eq!((&dests[1]["name"], &dests[1]["counters"]["packets"]), (&"web-3".into(), &70.into()));
    assert_eq!(dests[1]["route"], "eu");
    let (_, all) = running.get("/v1/backends").await;
    let places: Vec<_> = all.as_array().unwrap().iter().filter(|dest| dest["name"] == "web-3").collect();
    assert_eq!(places.len(), 2, "once in the vip web, once in the route: {places:#?}");
    running.net.break_route("10.0.0.13");
    running
        .until(|status| {
            let dns = status.vips.iter().find(|vip| vip.name == "dns").unwrap();
            dns.routes[0].backends[1].reason.as_deref() == Some("no route to 10.0.0.13; add a route")
        })
        .await;
    let (_, metrics) = running.send_text(Method::GET, "/metrics", "").await;
    assert!(metrics.contains(r#"ferrolev_backend_packets_total{vip="dns",backend="web-3""#), "{metrics}");
}
