use super::*;

fn script(command: &[&str], timeout: Duration) -> Tracker {
    let command = command.iter().map(ToString::to_string).collect();
    Tracker::Script { command, interval: Duration::from_millis(20), timeout, rise: 1, fall: 1 }
}

async fn first(tracker: Tracker) -> Reading {
    let (mut trackers, mut results) = Trackers::new(Handle::current());
    trackers.set(&BTreeMap::from([("it".to_owned(), tracker)]));
    results.recv().await.expect("a result").1
}

#[tokio::test]
async fn a_script_is_up_when_it_ends_with_0_and_down_otherwise() {
    let limit = Duration::from_secs(10);
    assert_eq!(first(script(&["/bin/true"], limit)).await, Reading::Up);
    assert_eq!(first(script(&["/bin/false"], limit)).await, Reading::Down);
    assert_eq!(first(script(&["/nonexistent/script"], limit)).await, Reading::Down);
    assert_eq!(first(script(&[], limit)).await, Reading::Down);
}

#[tokio::test]
async fn a_script_that_hangs_is_down_and_ends_with_all_that_it_has_begun() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let line = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
    assert_eq!(first(script(&["/bin/sh", "-c", &line], Duration::from_millis(500))).await, Reading::Down);
    let pid = std::fs::read_to_string(&pid_file).expect("the script has begun").trim().to_owned();
    for _ in 0..100 {
        // Gone, or a zombie that nobody has waited for.
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if status.is_empty() || status.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} goes on");
}

#[tokio::test]
async fn a_file_is_its_number_and_none_is_zero() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("priority");
    let (mut trackers, mut results) = Trackers::new(Handle::current());
    trackers.set(&BTreeMap::from([("it".to_owned(), Tracker::File { path: path.clone() })]));
    assert_eq!(results.recv().await.unwrap().1, Reading::Number(0));
    for (text, reading) in
        [("-20\n", Reading::Number(-20)), ("many", Reading::Down), (" 7 ", Reading::Number(7))]
    {
        let new = directory.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_eq!(results.recv().await.unwrap().1, reading, "{text}");
    }
}

#[tokio::test]
async fn what_has_not_changed_goes_on_and_what_has_is_named() {
    let limit = Duration::from_secs(10);
    let (mut trackers, mut results) = Trackers::new(Handle::current());
    let wanted = BTreeMap::from([("it".to_owned(), script(&["/bin/true"], limit))]);
    assert!(trackers.set(&wanted).is_empty());
    assert_eq!(results.recv().await.unwrap().1, Reading::Up);
    assert!(trackers.set(&wanted).is_empty());
    let changed = BTreeMap::from([("it".to_owned(), script(&["/bin/false"], limit))]);
    assert_eq!(trackers.set(&changed), ["it"]);
    assert_eq!(results.recv().await.unwrap().1, Reading::Down);
    assert_eq!(trackers.set(&BTreeMap::new()), ["it"]);
}
