//! Commands.

use std::path::Path;

use super::*;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Appends a line to a file: what the shell's script makes of its arguments and variables.
fn script(path: &Path, line: &str) -> Call {
    command(&["/bin/sh", "-c", &format!("echo {line} >> {}", path.display()), "hook", "{backends}", "{text}"])
}

#[tokio::test]
async fn a_command_gets_the_event_in_its_arguments_and_variables_without_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let line = "\"$1|$2|$FERROLEV_EVENT|$FERROLEV_VIPS|$FERROLEV_HOST|$FERROLEV_ROUTER\"";
    let hooks = running(&[("h", hook(script(&out, line)))]);
    let event = down("web-1; rm -rf /");
    hooks.tell(Event { text: "$(id) `id`".to_owned(), ..event });
    until(&hooks, "h", |report| report.sent == 1).await;
    assert_eq!(text(&out), "web-1; rm -rf /|$(id) `id`|backend_down|web|lb1.example.com|\n");
}

#[tokio::test]
async fn calls_are_in_order_and_one_that_hangs_delays_no_other_hook() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let hanging = Hook { timeout: Duration::from_secs(60), ..hook(command(&["/bin/sleep", "1000"])) };
    let hooks = running(&[("hangs", hanging), ("works", hook(script(&out, "$1")))]);
    (1..=20).for_each(|number| hooks.tell(down(&number.to_string())));
    until(&hooks, "works", |report| report.sent == 20).await;
    let expected: String = (1..=20).map(|number| format!("{number}\n")).collect();
    assert_eq!(text(&out), expected);
    let report = report(&hooks, "hangs");
    assert_eq!((report.sent, report.failed, report.waiting), (0, 0, 20));
}

#[tokio::test]
async fn a_command_that_takes_too_long_ends_with_all_that_it_has_begun() {
    let directory = tempfile::tempdir().unwrap();
    let pid = directory.path().join("pid");
    let begins_another = format!("sleep 1000 & echo $! > {}; wait", pid.display());
    let call = command(&["/bin/sh", "-c", &begins_another]);
    let slow = Hook { timeout: Duration::from_millis(400), tries: 3, ..hook(call) };
    let hooks = running(&[("h", slow)]);
    hooks.tell(down("web-1"));
    let report = until(&hooks, "h", |report| report.failed == 1).await;
    assert_eq!(report.last_failure.unwrap().1, "it took longer than 400ms");
    assert_eq!(report.tries_failed, 1, "commands are not run again");
    let other = text(&pid).trim().to_owned();
    assert!(!other.is_empty());
    let status = || std::fs::read_to_string(format!("/proc/{other}/stat")).unwrap_or_default();
    for _ in 0..200 {
        if status().is_empty() || status().contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{other} is still there: {}", status());
}

#[tokio::test]
async fn failures_are_counted_with_the_reason() {
    let hooks =
        running(&[("exits", hook(command(&["/bin/false"]))), ("none", hook(command(&["/nowhere/x"])))]);
    hooks.tell(down("web-1"));
    let exits = until(&hooks, "exits", |report| report.failed == 1).await;
    assert_eq!(exits.last_failure.unwrap().1, "/bin/false: exit status: 1");
    let none = until(&hooks, "none", |report| report.failed == 1).await;
    assert!(none.last_failure.unwrap().1.starts_with("/nowhere/x: No such file"));
}

#[tokio::test]
async fn a_flood_takes_bounded_room_and_the_last_call_says_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let (out, gate) = (directory.path().join("out"), directory.path().join("gate"));
    let wait =
        format!("while [ ! -e {} ]; do sleep 0.02; done; echo \"$2\" >> {}", gate.display(), out.display());
    let call = command(&["/bin/sh", "-c", &wait, "hook", "{backends}", "{text}"]);
    let limits = Limits { per_minute: 0, burst: 1, waiting: 5 };
    let hooks = running(&[("h", Hook { limits, ..hook(call) })]);
    hooks.tell(Event { text: "first".to_owned(), ..down("0") });
    until(&hooks, "h", |report| report.waiting == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    (1..=1000).for_each(|number| hooks.tell(Event { text: number.to_string(), ..down("x") }));
    assert!(began.elapsed() < Duration::from_secs(2), "telling waits for nobody");
    let report = report(&hooks, "h");
    assert_eq!((report.waiting, report.dropped), (6, 995));
    std::fs::write(&gate, "").unwrap();
    until(&hooks, "h", |report| report.sent == 7).await;
    assert_eq!(text(&out), "first\n995 events left out, at last: 995\n996\n997\n998\n999\n1000\n");
}

#[tokio::test]
async fn beyond_the_rate_one_call_sums_up() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let limits = Limits { per_minute: 60, burst: 2, waiting: 100 };
    let hooks = running(&[("h", Hook { limits, ..hook(script(&out, "\"$2\"")) })]);
    (1..=50).for_each(|number| hooks.tell(Event { text: number.to_string(), ..down("x") }));
    let report = until(&hooks, "h", |report| report.sent == 3).await;
    assert_eq!((report.limited, report.dropped), (48, 0));
    assert_eq!(text(&out), "1\n2\n48 events left out, at last: 50\n");
}

#[tokio::test]
async fn a_reload_keeps_what_is_to_be_told_and_the_counts() {
    let directory = tempfile::tempdir().unwrap();
    let (out, gate) = (directory.path().join("out"), directory.path().join("gate"));
    let wait =
        format!("while [ ! -e {} ]; do sleep 0.02; done; echo \"$1\" >> {}", gate.display(), out.display());
    let slow = hook(command(&["/bin/sh", "-c", &wait, "hook", "{backends}"]));
    let hooks = running(&[("h", slow.clone()), ("gone", slow.clone())]);
    (1..=3).for_each(|number| hooks.tell(down(&number.to_string())));
    until(&hooks, "h", |report| report.waiting == 3).await;
    let changed = Hook { timeout: Duration::from_secs(4), ..hook(script(&out, "changed $1")) };
    hooks.follow(&[("h".to_owned(), slow)].into());
    assert_eq!(hooks.reports().len(), 1);
    std::fs::write(&gate, "").unwrap();
    until(&hooks, "h", |report| report.sent == 3).await;
    hooks.follow(&[("h".to_owned(), changed)].into());
    hooks.tell(down("4"));
    until(&hooks, "h", |report| report.sent == 4).await;
    assert_eq!(text(&out), "1\n2\n3\nchanged 4\n", "the hook that is gone has told nothing");
}

#[tokio::test]
async fn the_daemon_ends_when_all_is_told_or_its_patience_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let hooks = running(&[("h", hook(script(&out, "$1")))]);
    (1..=3).for_each(|number| hooks.tell(down(&number.to_string())));
    hooks.stop(Duration::from_secs(10)).await;
    assert_eq!(text(&out), "1\n2\n3\n");
    let hooks = running(&[("h", hook(command(&["/bin/sleep", "1000"])))]);
    hooks.tell(down("1"));
    let began = Instant::now();
    hooks.stop(Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(3));
}
