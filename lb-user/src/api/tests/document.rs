use std::collections::BTreeSet;

use hyper::Method;

use crate::api::openapi_document;
use crate::api::server::routes;
use crate::controller::tests::harness::start;

fn documented() -> BTreeSet<(String, String)> {
    let document = serde_json::to_value(openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap().clone();
    let methods = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().clone();
        methods.into_iter().map(move |(method, _)| (method.to_uppercase(), path.clone()))
    });
    methods.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_method_is_documented_and_back() {
    let running = start().await;
    let mut served = BTreeSet::new();
    for (path, _) in routes() {
        let path = path.replace("{*", "{");
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let (status, _) = running.send_text(method.clone(), &path.replace("{name}", "web"), "").await;
            if status != hyper::StatusCode::METHOD_NOT_ALLOWED {
                served.insert((method.to_string(), path.clone()));
            }
        }
    }
    assert_eq!(served, documented());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_document_has_every_type_that_it_refers_to() {
    let running = start().await;
    let (_, document) = running.get("/v1/openapi.json").await;
    let text = document.to_string();
    let refers = text.split("#/components/schemas/").skip(1);
    let names: BTreeSet<&str> = refers.filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.contains("Status") && names.contains("ApiError") && names.contains("Change"), "{names:?}");
    for name in names {
        assert!(document["components"]["schemas"][name].is_object(), "{name} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replies_have_the_documented_shape() {
    use crate::api::types::{
        AddressPlaceState, AddressStatus, ConfigShow, DestStatus, JournalEntry, Stats, Status, VipStatus,
    };
    let running = start().await;
    running.post("/v1/changes", r#"{"action":"drain","backend":"web-1"}"#).await;
    let reply = |path: &'static str| {
        let running = &running;
        async move { running.get(path).await.1 }
    };
    let status: Status = serde_json::from_value(reply("/v1/status").await).unwrap();
    assert_eq!(status.instance, "test");
    assert_eq!(status.interfaces[0].driver, "veth");
    let vips: Vec<VipStatus> = serde_json::from_value(reply("/v1/vips").await).unwrap();
    assert_eq!(vips.len(), 2);
    let backends: Vec<DestStatus> = serde_json::from_value(reply("/v1/backends").await).unwrap();
    assert_eq!(backends.len(), 5);
    let share: f64 =
        backends.iter().filter(|backend| backend.vip == "web").map(|backend| backend.share).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    let addresses: Vec<AddressStatus> = serde_json::from_value(reply("/v1/addresses").await).unwrap();
    let [address] = &addresses[..] else { panic!("both vips have one address: {addresses:?}") };
    assert_eq!(address.address.to_string(), "203.0.113.10");
    let place = &address.interfaces[0];
    assert_eq!((place.interface.as_str(), place.state), ("eth0", AddressPlaceState::Conflict));
    assert_eq!(place.other_mac.as_deref(), Some("02:00:00:00:00:09"));
    assert_eq!(place.last_announced.as_deref(), Some("1970-01-01T00:00:00Z"));
    let stats: Stats = serde_json::from_value(reply("/v1/stats").await).unwrap();
    assert!(stats.reasons.iter().any(|reason| reason.reason == "not_vip"));
    let _: ConfigShow = serde_json::from_value(reply("/v1/config").await).unwrap();
    let journal: Vec<JournalEntry> = serde_json::from_value(reply("/v1/changes").await).unwrap();
    assert_eq!(journal.len(), 1);
}
