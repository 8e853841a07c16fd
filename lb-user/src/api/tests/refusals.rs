use hyper::{Method, StatusCode};

use crate::controller::tests::harness::start;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_not_understood_gets_an_error_body_with_a_fitting_status() {
    let running = start().await;
    let change = "/v1/changes";
    for (method, path, body, status, part) in [
        (Method::POST, change, "{", 400, "EOF"),
        (Method::POST, change, "", 400, "EOF"),
        (Method::POST, change, r#"{"action":"explode","backend":"web-1"}"#, 400, "explode"),
        (Method::POST, change, r#"{"action":"drain","backend":"web-1","vipp":"web"}"#, 400, "vipp"),
        (Method::POST, change, r#"{"action":"drain"}"#, 400, "backend"),
        (Method::POST, "/v1/changes?dryrun=true", r#"{"action":"drain","backend":"web-1"}"#, 400, "dryrun"),
        (
            Method::POST,
            "/v1/changes?dry_run=perhaps",
            r#"{"action":"drain","backend":"web-1"}"#,
            400,
            "dry_run",
        ),
        (Method::POST, "/v1/explain", r#"{"source":"10.0.0.1:1"}"#, 400, "destination"),
        (Method::POST, change, r#"{"action":"drain","backend":"web-11"}"#, 404, "did you mean 'web-1'?"),
        (
            Method::POST,
            change,
            r#"{"action":"drain","backend":"web-1","vip":"webb"}"#,
            404,
            "did you mean 'web'?",
        ),
        (Method::GET, "/v1/vips/nonsense", "", 404, "nonsense"),
        (Method::GET, "/v2/status", "", 404, "/v2/status"),
        (Method::GET, "/", "", 404, "/v1/openapi.json"),
        (Method::DELETE, "/v1/vips", "", 405, "DELETE"),
        (Method::GET, "/v1/reload", "", 405, "GET"),
        (Method::POST, change, r#"{"action":"add","backend":"web-1","vip":"web"}"#, 409, "already has"),
        (Method::POST, change, r#"{"action":"weight","backend":"web-1","weight":65536}"#, 409, "65535"),
    ] {
        let (found, reply) = running.send(method.clone(), path, body).await;
        assert_eq!(found.as_u16(), status, "{method} {path} {body}: {reply}");
        let error = reply["error"].as_str().unwrap_or_else(|| panic!("{method} {path}: {reply}"));
        assert!(error.contains(part), "{method} {path} {body}: {error}");
    }
    assert_eq!(running.dataplane.kernel().applies, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_long_is_refused_unread() {
    let running = start().await;
    let long = format!(r#"{{"action":"drain","backend":"{}"}}"#, "x".repeat(100_000));
    let (status, reply) = running.post("/v1/changes", &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(reply["error"].is_string(), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vip_is_found_by_name_and_by_key_encoded_or_not() {
    let running = start().await;
    let by_name = running.get("/v1/vips/web").await;
    assert_eq!(by_name.0, StatusCode::OK);
    for path in ["/v1/vips/203.0.113.10:80/tcp", "/v1/vips/203.0.113.10%3A80%2Ftcp"] {
        assert_eq!(running.get(path).await, by_name, "{path}");
    }
}
