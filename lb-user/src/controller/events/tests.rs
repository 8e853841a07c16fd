//! What hooks hear of a controller whose checks are played.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::*;
use crate::controller::tests::harness::{FILE, Running, start_telling};
use crate::health::{Standing, Start};
use crate::hooks::{Hooks, Value};

const HOOK: &str = "\n[[hook]]\nname = \"h\"\ntype = \"exec\"\ncommand = [\"/bin/true\"]\n";

/// The played configuration with a check of all backends of `web`.
fn file() -> String {
    let web = "ring_size = 251\nbackends = [\"web-1\", \"web-2\", \"web-3\"]\n";
    FILE.replacen(web, &format!("{web}check = \"c\"\n"), 1) + "\n[[check]]\nname = \"c\"\ntype = \"tcp\"\n"
}

async fn started(hooks: Hooks) -> Running {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(directory.path().join("ferrolev.toml"), file()).unwrap();
    let running = start_telling(directory, hooks).await;
    running.checks.clone().wait_for(|wanted| wanted.len() == 3).await.unwrap();
    running
}

fn change(from: State, to: State, reason: &str, second: u64) -> Transition {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    Transition {
        at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
        from,
        to,
        took: Duration::ZERO,
        reason,
        diagnosis: None,
    }
}

fn of(host: u8) -> Target {
    Target { check: "c".to_owned(), address: [10, 0, 0, host].into(), port: 80, way: None }
}

fn standing(transitions: Vec<Transition>) -> Standing {
    let state = transitions.last().map_or(State::Initial(Start::Up), |last| last.to);
    let changes = transitions.len() as u64;
    let mut standing = Standing::played(state, "");
    (standing.transitions, standing.changes) = (transitions.into(), changes);
    standing
}

async fn heard(events: &mut UnboundedReceiver<Event>) -> Event {
    timeout(Duration::from_secs(10), events.recv()).await.expect("an event").expect("a teller")
}

const DOWN: (State, State) = (State::Healthy, State::Unhealthy);
const UP: (State, State) = (State::Unhealthy, State::Healthy);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_of_a_backend_is_told_once_and_then_what_follows_from_it() {
    let (hooks, mut events) = Hooks::heard();
    let running = started(hooks).await;
    let begins = vec![change(State::Initial(Start::Up), State::Healthy, "", 1)];
    let all = |of_11: Vec<Transition>, others: &Vec<Transition>| {
        [(of(11), standing(of_11)), (of(12), standing(others.clone())), (of(13), standing(others.clone()))]
    };
    running.standings.send_replace(all(begins.clone(), &begins).into());
    let mut flaps = begins.clone();
    flaps.extend([
        change(DOWN.0, DOWN.1, "connection refused", 5),
        change(UP.0, UP.1, "", 6),
        change(DOWN.0, DOWN.1, "no answer", 7),
    ]);
    running.standings.send_replace(all(flaps.clone(), &begins).into());
    let said: Vec<_> = [heard(&mut events).await, heard(&mut events).await, heard(&mut events).await].into();
    let texts: Vec<&str> = said.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "backend web-1 (10.0.0.11 port 80) is unhealthy: connection refused",
            "backend web-1 (10.0.0.11 port 80) is healthy",
            "backend web-1 (10.0.0.11 port 80) is unhealthy: no answer",
        ],
        "that they are healthy at the begin is no news"
    );
    assert_eq!(said[2].values[&Field::Vips], Value::List(vec!["web".to_owned()]));
    let mut fell = begins.clone();
    fell.push(change(DOWN.0, DOWN.1, "connection refused", 9));
    running.standings.send_replace(all(flaps, &fell).into());
    let kinds = [heard(&mut events).await, heard(&mut events).await, heard(&mut events).await]
        .map(|event| event.kind);
    assert_eq!(kinds, [Kind::BackendDown, Kind::BackendDown, Kind::Alarm]);
    let mut rose = fell.clone();
    rose.push(change(UP.0, UP.1, "", 12));
    running.standings.send_replace([(of(12), standing(rose)), (of(13), standing(fell))].into());
    assert_eq!(heard(&mut events).await.kind, Kind::BackendUp);
    let over = heard(&mut events).await;
    assert_eq!((over.kind, over.text.as_str()), (Kind::AlarmOver, "vip web: fail_open is over"));
    assert!(events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_brings_hooks_and_takes_them_away_and_the_status_shows_them() {
    let running = started(Hooks::start(crate::hooks::Place::default()).unwrap()).await;
    let hooks = async || running.controller.status().await.unwrap().hooks;
    assert!(hooks().await.is_empty());
    running.write_file(&(file() + HOOK));
    running.controller.reload(false).await.unwrap();
    let down = vec![change(DOWN.0, DOWN.1, "connection refused", 5)];
    running.standings.send_replace([(of(11), standing(down))].into());
    running.until(|status| status.hooks.first().is_some_and(|hook| hook.sent == 1)).await;
    let (status, metrics) = running.send_text(hyper::Method::GET, "/metrics", "").await;
    assert_eq!(status, 200);
    let line = "ferrolev_hook_calls_total{hook=\"h\",type=\"exec\",result=\"sent\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    running.write_file(&file());
    running.controller.reload(false).await.unwrap();
    assert!(hooks().await.is_empty());
}

#[test]
fn a_check_that_begins_anew_is_heard_from_its_begin() {
    let mut news = News::default();
    let down = || change(DOWN.0, DOWN.1, "refused", 1);
    let three = [(of(11), standing(vec![down(), down(), down()]))].into();
    assert_eq!((news.take(&three).len(), news.take(&three).len()), (3, 0));
    assert_eq!(news.take(&[(of(11), standing(vec![down()]))].into()).len(), 1);
    news.take(&Standings::new());
    assert_eq!(news.take(&three).len(), 3, "the target was gone meanwhile");
    let mut many = standing(vec![down(), down()]);
    many.changes = 20;
    assert_eq!(news.take(&[(of(11), many)].into()).len(), 2, "what is not kept any more is lost");
}
