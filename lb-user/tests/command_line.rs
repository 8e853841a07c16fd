//! The `ferrolev` binary as scripts see it: which request each command makes, what it prints, and its exit code.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use http_body_util::BodyExt;

type Log = Arc<Mutex<Vec<String>>>;

/// Answers every request in the same way and writes it down.
struct Daemon {
    dir: tempfile::TempDir,
    requests: Log,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    fn start(status: u16, answer: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let requests = Log::default();
        let status = StatusCode::from_u16(status).expect("status");
        let reply = async move |State(log): State<Log>, request: Request| {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("body").to_bytes();
            let line = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
            log.lock().expect("log").push(line.trim_end().to_owned());
            (status, answer)
        };
        let router = Router::new().fallback(reply).with_state(Arc::clone(&requests));
        let listener = tokio::net::UnixListener::bind(dir.path().join("s")).expect("bound");
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { dir, requests, task }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    fn call(&self, line: &str) -> Output {
        ferrolev(line, &self.socket())
    }

    fn last_request(&self) -> String {
        self.requests.lock().expect("log").last().cloned().unwrap_or_default()
    }
}

/// Runs `ferrolev` with the words of `line`; the socket is named in the environment.
fn ferrolev(line: &str, socket: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrolev"))
        .args(line.split_whitespace())
        .env("FERROLEV_SOCKET", socket)
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_makes_the_request_it_stands_for() {
    let daemon = Daemon::start(200, "{}");
    for (line, request) in [
        ("status", "GET /v1/status"),
        ("vip list", "GET /v1/vips"),
        ("vip show [2001:db8::1]:443/udp", "GET /v1/vips/%5B2001%3Adb8%3A%3A1%5D%3A443%2Fudp"),
        ("backend list", "GET /v1/backends"),
        (
            "backend add b --vip v --address 10.0.0.1 --weight 7",
            r#"POST /v1/changes?dry_run=false {"action":"add","vip":"v","backend":"b","address":"10.0.0.1","weight":7}"#,
        ),
        (
            "backend add b --vip v --dry-run",
            r#"POST /v1/changes?dry_run=true {"action":"add","vip":"v","backend":"b","address":null,"weight":null}"#,
        ),
        (
            "backend remove b",
            r#"POST /v1/changes?dry_run=false {"action":"remove","backend":"b","vip":null}"#,
        ),
        (
            "backend drain b --vip v",
            r#"POST /v1/changes?dry_run=false {"action":"drain","backend":"b","vip":"v"}"#,
        ),
        (
            "backend drain b --timeout 1500ms --force",
            r#"POST /v1/changes?dry_run=false {"action":"drain","backend":"b","vip":null,"timeout_seconds":2,"force":true}"#,
        ),
        (
            "backend remove b --force",
            r#"POST /v1/changes?dry_run=false {"action":"remove","backend":"b","vip":null,"force":true}"#,
        ),
        (
            "backend undrain b --dry-run",
            r#"POST /v1/changes?dry_run=true {"action":"undrain","backend":"b","vip":null}"#,
        ),
        (
            "backend weight b 0 --vip v",
            r#"POST /v1/changes?dry_run=false {"action":"weight","backend":"b","vip":"v","weight":0}"#,
        ),
        ("flows list", "GET /v1/flows?limit=100"),
        ("flows list --vip v --backend b --top 3", "GET /v1/flows?limit=3&vip=v&backend=b"),
        ("flows count --backend b", "GET /v1/flows/count?backend=b"),
        ("addresses", "GET /v1/addresses"),
        ("health", "GET /v1/health"),
        ("health 192.0.2.1:80/tcp", "GET /v1/health?vip=192.0.2.1%3A80%2Ftcp"),
        ("reload", "POST /v1/reload?dry_run=false"),
        ("reload --dry-run", "POST /v1/reload?dry_run=true"),
        ("config show", "GET /v1/config"),
        ("changes", "GET /v1/changes"),
        (
            "explain 198.51.100.7:40000 [2001:db8::1]:80 tcp",
            r#"POST /v1/explain {"source":"198.51.100.7:40000","destination":"[2001:db8::1]:80","protocol":"tcp"}"#,
        ),
        ("stats", "GET /v1/stats"),
    ] {
        let output = daemon.call(&format!("{line} -o json"));
        assert_eq!(daemon.last_request(), request, "{line}");
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "{}\n"), "{line}");
    }
    daemon.call("metrics");
    assert_eq!(daemon.last_request(), "GET /metrics");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_printed_as_the_daemon_wrote_it_and_tables_are_made_of_it() {
    let body = r#"[ {"mark":{"by":"root","pid":1,"at":"T"}, "change":{"action":"drain","backend":"b","vip":null}} ]"#;
    let daemon = Daemon::start(200, body);
    assert_eq!(stdout(&daemon.call("changes -o json")), format!("{body}\n"));
    assert_eq!(stdout(&daemon.call("changes")), "TIME  BY    CHANGE\nT     root  drain b\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_exit_code_1_in_the_daemons_words() {
    let daemon = Daemon::start(409, r#"{"error":"no backend is called 'b'"}"#);
    let output = daemon.call("backend drain b");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "ferrolev: no backend is called 'b'\n");
    assert_eq!(stdout(&output), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_reload_is_exit_code_4_with_the_lines_of_the_file() {
    let daemon = Daemon::start(422, r#"{"error":"f.toml:1: wrong\nf.toml:2: wrong, too"}"#);
    let output = daemon.call("reload");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(stderr(&output), "f.toml:1: wrong\nf.toml:2: wrong, too\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_there_is_exit_code_3() {
    let output = ferrolev("status", Path::new("/nowhere/api.sock"));
    assert_eq!(output.status.code(), Some(3));
    let expected = "ferrolev: cannot reach the daemon at /nowhere/api.sock: ";
    assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_exit_code_2() {
    let output = ferrolev("backend weight b heavy", Path::new("/nowhere"));
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_run_refuse_an_invalid_file_in_the_same_words_with_exit_code_4() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("f.toml");
    std::fs::write(&file, "interfaces = [\"none0\"]\n[[vip]]\nringsize = 3\n").expect("written");
    let shown = file.display();
    let check = ferrolev(&format!("check {shown}"), Path::new("/nowhere"));
    assert_eq!(check.status.code(), Some(4));
    let expected = format!("{shown}:3: unknown key 'ringsize' in [[vip]]; did you mean 'ring_size'?\n");
    assert!(stderr(&check).ends_with(&expected), "{}", stderr(&check));
    let state = dir.path().display();
    let run = format!("run --config {shown} --state-dir {state} --instance t{}", std::process::id());
    let run = ferrolev(&run, &dir.path().join("s"));
    assert_eq!((run.status.code(), stderr(&run)), (Some(4), stderr(&check)));
}
