use axum::extract::{Path as UrlPath, RawQuery};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::*;

/// A server on a socket in a directory of its own; both end with the value.
struct Server {
    dir: tempfile::TempDir,
    task: tokio::task::JoinHandle<io::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    fn start(router: Router) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let listener = tokio::net::UnixListener::bind(dir.path().join("api.sock")).expect("bound");
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { dir, task }
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("api.sock"))
    }
}

#[tokio::test]
async fn a_reply_is_kept_as_the_daemon_wrote_it_and_can_be_parsed() {
    let server = Server::start(Router::new().route("/v1/numbers", get(async || "[1, 2,  3]")));
    let reply = server.client().get("/v1/numbers").await.expect("answered");
    assert_eq!(reply.body, "[1, 2,  3]");
    assert_eq!(reply.parse::<Vec<u8>>().expect("numbers"), [1, 2, 3]);
}

#[tokio::test]
async fn a_body_is_sent_as_json_with_the_query() {
    let echo = async |RawQuery(query): RawQuery, Json(body): Json<Vec<u8>>| format!("{query:?} {body:?}");
    let server = Server::start(Router::new().route("/v1/changes", post(echo)));
    let reply = server.client().post("/v1/changes?dry_run=true", &[7, 8]).await.expect("answered");
    assert_eq!(reply.body, "Some(\"dry_run=true\") [7, 8]");
}

#[tokio::test]
async fn a_vip_key_survives_as_a_path_segment() {
    let echo = async |UrlPath(name): UrlPath<String>| name;
    let server = Server::start(Router::new().route("/v1/vips/{name}", get(echo)));
    for name in ["[2001:db8::1]:443/udp", "web", "ä %2F?#"] {
        let path = format!("/v1/vips/{}", path_segment(name));
        assert_eq!(server.client().get(&path).await.expect("answered").body, name);
    }
}

#[tokio::test]
async fn a_refusal_speaks_the_daemons_words() {
    let refuse = async || {
        let error = "no vip is called 'wbe'; did you mean 'web'?".to_owned();
        (StatusCode::NOT_FOUND, Json(ApiError { error }))
    };
    let server = Server::start(Router::new().route("/v1/vips/wbe", get(refuse)));
    let error = server.client().get("/v1/vips/wbe").await.expect_err("refused");
    assert!(matches!(error, ClientError::Refused { status: 404, .. }));
    assert_eq!(error.to_string(), "no vip is called 'wbe'; did you mean 'web'?");
}

#[tokio::test]
async fn an_answer_of_another_kind_is_called_strange() {
    let server = Server::start(Router::new().route("/v1/status", get(async || "hello")));
    let error = server.client().get("/v1/nothing").await.expect_err("no such path");
    assert!(error.to_string().contains("HTTP status 404 Not Found; is it of the same version"), "{error}");
    let reply = server.client().get("/v1/status").await.expect("answered");
    let error = reply.parse::<Vec<u8>>().expect_err("no numbers");
    assert!(error.to_string().contains("expected value at line 1 column 1"), "{error}");
}

#[tokio::test]
async fn without_a_daemon_the_message_names_socket_and_way_out() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let socket = dir.path().join("api.sock");
    let error = Client::new(socket.clone()).get("/v1/status").await.expect_err("nobody there");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot reach the daemon at {}: No such file or directory (os error 2); is 'ferrolev run' active? name another socket with --socket",
            socket.display()
        )
    );
}

#[tokio::test]
async fn a_daemon_that_never_answers_is_given_up() {
    let server = Server::start(Router::new().route("/v1/status", get(std::future::pending::<String>)));
    let client = server.client().with_timeout(Duration::from_millis(50));
    let error = client.get("/v1/status").await.expect_err("no answer");
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("did not answer within 0.05 s"), "{error}");
}

#[tokio::test]
async fn a_socket_whose_peer_hangs_up_is_no_daemon() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let socket = dir.path().join("api.sock");
    let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
    let hang_up = tokio::spawn(async move { listener.accept().await.map(drop) });
    let error = Client::new(socket).get("/v1/status").await.expect_err("no answer");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    hang_up.await.expect("joined").expect("accepted");
}
