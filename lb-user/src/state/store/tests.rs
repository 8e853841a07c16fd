use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::state::{Change, ChangeMark, Drain, DrainKind, MemberOverride, Override};

fn mark(n: u64) -> ChangeMark {
    ChangeMark { by: "alice".to_owned(), pid: Some(7), at: format!("2026-01-01T00:{:02}:00Z", n % 60) }
}

fn entry(n: u64) -> JournalEntry {
    JournalEntry {
        mark: mark(n),
        change: Change::Drain { backend: format!("web-{n}"), vip: None, timeout_seconds: None, force: false },
    }
}

fn overlay(n: u64) -> Overlay {
    let added = Override {
        member: Some(MemberOverride::Added {
            address: "10.0.0.1".parse().unwrap(),
            weight: n as u32,
            mark: mark(n),
        }),
        drained: n.is_multiple_of(2).then(|| Drain {
            mark: mark(n),
            timeout_seconds: Some(n),
            force: n > 2,
            kind: DrainKind::Drained,
        }),
        ..Override::default()
    };
    let vip = "[2001:db8::1]:443/udp".parse().unwrap();
    Overlay::from_parts([(vip, "steady".to_owned(), added.clone()), (vip, format!("web-{n}"), added)])
}

#[test]
fn what_was_committed_is_there_after_opening_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/for/it.redb");
    let store = Store::open(&path).unwrap();
    assert!(store.overlay().unwrap().is_empty());
    let _ = store.commit(&Overlay::default(), &overlay(1), Some(&entry(1))).unwrap();
    let _ = store.commit(&overlay(1), &overlay(2), Some(&entry(2))).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.overlay().unwrap(), overlay(2));
    assert_eq!(store.journal().unwrap(), [entry(1), entry(2)]);
}

#[test]
fn a_reverted_commit_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.redb");
    let store = Store::open(&path).unwrap();
    let _ = store.commit(&Overlay::default(), &overlay(1), Some(&entry(1))).unwrap();
    let undo = store.commit(&overlay(1), &overlay(2), Some(&entry(2))).unwrap();
    store.revert(undo).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.overlay().unwrap(), overlay(1));
    assert_eq!(store.journal().unwrap(), [entry(1)]);
}

#[test]
fn slow_starts_are_there_after_opening_anew_and_older_files_have_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.slow_starts().unwrap(), SlowStarts::new());
    let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    let place = |vip: &str, address: &str| (vip.parse().unwrap(), address.parse().unwrap());
    let two = SlowStarts::from([
        (place("[2001:db8::1]:443/udp", "2001:db8::9"), at(1_767_225_600_123)),
        (place("192.0.2.1:80/tcp", "10.0.0.9"), at(5)),
    ]);
    store.put_slow_starts(&two).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.slow_starts().unwrap(), two);
    store.put_slow_starts(&SlowStarts::new()).unwrap();
    assert!(store.slow_starts().unwrap().is_empty());
}

#[test]
fn who_was_healthy_is_there_after_opening_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.redb");
    let store = Store::open(&path).unwrap();
    assert_eq!(store.healths().unwrap(), Healths::new());
    let place = |check: &str, socket: &str| (check.to_owned(), socket.parse().unwrap());
    let four = Healths::from([
        (place("http", "10.0.0.9:80 192.0.2.1 ipip"), true),
        (place("http", "[2001:db8::9]:80"), true),
        (place("http", "10.0.0.9:80"), false),
        (place("tcp", "10.0.0.9:80"), true),
    ]);
    store.put_healths(&four).unwrap();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.healths().unwrap(), four);
    let other = Healths::from([(place("http", "10.0.0.9:80"), true), (place("x", "10.0.0.9:0"), false)]);
    store.put_healths(&other).unwrap();
    assert_eq!(store.healths().unwrap(), other);
}

#[test]
fn what_an_older_version_stored_is_read() {
    let old = r#"{"member":null,"weight":null,"drained":{"by":"alice","pid":7,"at":"2026-01-01T00:00:00Z"}}"#;
    let read: Override = serde_json::from_str(old).unwrap();
    let kind = DrainKind::Drained;
    let drained = Some(Drain { mark: mark(0), timeout_seconds: None, force: false, kind });
    assert_eq!(read, Override { drained, ..Override::default() });
    let old = r#"{"mark":{"by":"alice","pid":7,"at":"2026-01-01T00:00:00Z"},"change":{"action":"remove","backend":"a","vip":null}}"#;
    let read: JournalEntry = serde_json::from_str(old).unwrap();
    assert_eq!(read.change, Change::Remove { backend: "a".to_owned(), vip: None, force: false });
}

#[test]
fn the_journal_keeps_the_newest_entries() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("a.redb")).unwrap();
    let all = JOURNAL_LEN + 5;
    store
        .write(|write| {
            for n in 0..all {
                append(write, &entry(n))?;
            }
            Ok(())
        })
        .unwrap();
    let journal = store.journal().unwrap();
    assert_eq!(journal.len() as u64, JOURNAL_LEN);
    assert_eq!((journal.first(), journal.last()), (Some(&entry(5)), Some(&entry(all - 1))));
}

#[test]
fn one_database_is_opened_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.redb");
    let _store = Store::open(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("a.redb"));
}

#[test]
fn a_newer_format_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.redb");
    let store = Store::open(&path).unwrap();
    store
        .write(|write| {
            write.open_table(META)?.insert(FORMAT_KEY, FORMAT + 1)?;
            Ok(())
        })
        .unwrap();
    drop(store);
    for _ in 0..2 {
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::NewerFormat { found: 2, .. }), "{error}");
        assert!(error.to_string().contains("a.redb"), "{error}");
    }
}

#[test]
fn a_damaged_file_is_named_and_never_changed() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.redb");
    let store = Store::open(&good).unwrap();
    let _ = store.commit(&Overlay::default(), &overlay(1), Some(&entry(1))).unwrap();
    drop(store);
    let good = std::fs::read(good).unwrap();
    let mut scratched = good.clone();
    scratched[..64].fill(0xff);
    let path = directory.path().join("bad.redb");
    for bytes in [b"hello, this is no database".to_vec(), vec![0; 8192], scratched, good[..4096].to_vec()] {
        std::fs::write(&path, &bytes).unwrap();
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(
            error.to_string().contains("bad.redb") && error.to_string().contains("move it away"),
            "{error}"
        );
        assert!(std::fs::read(&path).unwrap() == bytes, "{error}: the file was changed");
    }
}

#[test]
fn values_that_cannot_be_read_are_damage_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("a.redb")).unwrap();
    store
        .write(|write| {
            write
                .open_table(OVERRIDES)?
                .insert(("10.0.0.1:80/tcp", "web-1"), b"{\"surprise\":1}".as_slice())?;
            Ok(())
        })
        .unwrap();
    assert!(matches!(store.overlay(), Err(StoreError::Corrupt { .. })));
}

#[test]
fn an_unfinished_creation_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.redb.new"), "half").unwrap();
    Store::open(&directory.path().join("a.redb")).unwrap();
}

const VICTIM: &str = "FERROLEV_TEST_STORE_VICTIM";

/// Commits without end and says after each return which one it was; run by the test below in a process of its own.
#[test]
fn victim_of_the_kill_test() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let store = Store::open(path.as_ref()).unwrap();
    for n in 1.. {
        let _ = store.commit(&overlay(n - 1), &overlay(n), Some(&entry(n))).unwrap();
        println!("\ncommitted {n}");
    }
}

#[test]
fn a_killed_process_leaves_the_last_returned_state() {
    for round in 1..=5 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.redb");
        let store = Store::open(&path).unwrap();
        let _ = store.commit(&Overlay::default(), &overlay(0), None).unwrap();
        drop(store);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::store::tests::victim_of_the_kill_test", "--nocapture"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok());
        let enough = said.by_ref().find(|n| *n >= round * 7).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last = said.last().unwrap_or(enough);
        let store = Store::open(&path).unwrap();
        let found = store.overlay().unwrap();
        // The next one may have been committed without having been told.
        assert!(found == overlay(last) || found == overlay(last + 1), "{last}: {found:?}");
        assert_eq!(
            store.journal().unwrap().len() as u64,
            if found == overlay(last) { last } else { last + 1 }
        );
    }
}
