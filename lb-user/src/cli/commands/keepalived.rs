//! What keepalived says by `notify` and `vrrp_notify_fifo`, passed on to the daemon.
//!
//! ```text
//! INSTANCE "VI_1" MASTER 100
//! GROUP "G" BACKUP 100
//! ```
//!
//! The FIFO is followed by level, not by edge: what was said last is compared with what the daemon shows, so that a daemon
//! that has started anew is told again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::api::client::Client;
use crate::api::types::{VrrpDone, VrrpOrder, VrrpStatus};
use crate::cli::error::CliError;

/// How often the daemon is compared with what was said, and a FIFO that is not there is looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// From SIGTERM to the end.
const LAST_WORDS: Duration = Duration::from_millis(700);
/// For each call.
const CALL_TIME: Duration = Duration::from_secs(3);
/// Lines that wait.
const LINES: usize = 64;

/// What a notification says: the name, and whether it is master. `None` for states that change nothing, such as a priority.
fn said(kind: &str, name: &str, state: &str) -> Option<(String, bool)> {
    if !matches!(kind, "INSTANCE" | "GROUP") {
        return None;
    }
    let owned = match state {
        "MASTER" => true,
        "BACKUP" | "FAULT" | "STOP" | "DELETED" => false,
        _ => return None,
    };
    Some((name.to_owned(), owned))
}

/// A line of the FIFO. Names may hold spaces; they have no quotes inside.
fn parse(line: &str) -> Option<(String, bool)> {
    let (kind, rest) = line.trim().split_once(' ')?;
    let (name, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    said(kind, name, rest.split_whitespace().next()?)
}

fn order((name, owned): (String, bool)) -> VrrpOrder {
    if owned { VrrpOrder::Own { name } } else { VrrpOrder::Release { name } }
}

/// One notification, with the arguments that keepalived adds.
pub(super) async fn notify(socket: &Path, kind: &str, name: &str, state: &str) -> Result<(), CliError> {
    let Some(said) = said(kind, name, state) else { return Ok(()) };
    let client = Client::new(socket.to_owned()).with_timeout(CALL_TIME);
    client.post("/v1/vrrp", &order(said)).await?.parse::<VrrpDone>()?;
    Ok(())
}

/// Follows the FIFO until the process is ended. keepalived ends its script first, and then writes what it has stopped: SIGTERM
/// is heeded a moment later.
pub(super) async fn follow(socket: &Path, fifo: &Path) -> Result<(), CliError> {
    let (sender, mut lines) = mpsc::channel(LINES);
    let path = fifo.to_owned();
    // Opening and reading a FIFO blocks; the thread ends with the process.
    std::thread::spawn(move || read(&path, &sender));
    let client = Client::new(socket.to_owned()).with_timeout(CALL_TIME);
    let mut said = BTreeMap::new();
    let mut trouble = String::new();
    let mut terminate =
        signal(SignalKind::terminate()).map_err(CliError::operation("cannot listen for signals"))?;
    let mut last_moment = None;
    loop {
        tokio::select! {
            line = lines.recv() => match line {
                Some(Line::Said(name, owned)) => _ = said.insert(name, owned),
                Some(Line::Failed(error)) => return Err(CliError::Operation(error)),
                None => {
                    let text = format!("cannot read {} any more", fifo.display());
                    return Err(CliError::Operation(text));
                }
            },
            Some(()) = terminate.recv() => last_moment = Some(Instant::now() + LAST_WORDS),
            () = sleep(if last_moment.is_some() { LAST_WORDS } else { PAUSE }) => {}
        }
        let now = match settle(&client, &said).await {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        if now != trouble {
            eprintln!("ferrolev: {}", if now.is_empty() { "the daemon is told again" } else { &now });
            trouble = now;
        }
        if last_moment.is_some_and(|last_moment| Instant::now() >= last_moment) {
            return Ok(());
        }
    }
}

/// Tells the daemon what it does not know yet.
async fn settle(client: &Client, said: &BTreeMap<String, bool>) -> Result<(), CliError> {
    if said.is_empty() {
        return Ok(());
    }
    let status: VrrpStatus = client.get("/v1/vrrp").await?.parse()?;
    for untold in untold(&status, said) {
        client.post("/v1/vrrp", &order(untold)).await?;
    }
    Ok(())
}

/// Names that nothing here has are other virtual routers of keepalived's, and those that follow an address need no word.
fn untold(status: &VrrpStatus, said: &BTreeMap<String, bool>) -> Vec<(String, bool)> {
    let external = status.external.iter().filter(|external| external.follows.is_none());
    let differs = external.filter_map(|external| {
        let owned = *said.get(&external.name)?;
        (owned != external.owned).then(|| (external.name.clone(), owned))
    });
    differs.collect()
}

enum Line {
    Said(String, bool),
    Failed(String),
}

/// Reads lines for as long as somebody takes them. keepalived removes its FIFO when it ends and makes a new one.
fn read(path: &PathBuf, lines: &mpsc::Sender<Line>) {
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound && !lines.is_closed() => {
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(error) => {
                let text =
                    format!("cannot open {}: {error}; name keepalived's vrrp_notify_fifo", path.display());
                // Without a listener nobody is left to tell.
                let _ = lines.blocking_send(Line::Failed(text));
                return;
            }
        };
        for line in BufReader::new(file).lines().map_while(Result::ok) {
            if let Some((name, owned)) = parse(&line)
                && lines.blocking_send(Line::Said(name, owned)).is_err()
            {
                return;
            }
        }
        if lines.is_closed() {
            return;
        }
        // Its writer has closed it; a plain file is read again from its begin.
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::api::types::{Fitness, VrrpExternal, VrrpGate};

    #[test]
    fn lines_of_keepalived_s_fifo_are_understood() {
        for (line, expected) in [
            ("INSTANCE \"VI_1\" MASTER 100", Some(("VI_1", true))),
            ("INSTANCE \"VI_1\" BACKUP 100\n", Some(("VI_1", false))),
            ("GROUP \"edge group\" FAULT 0", Some(("edge group", false))),
            ("INSTANCE \"VI_1\" STOP 100", Some(("VI_1", false))),
            ("INSTANCE \"VI_1\" DELETED 0", Some(("VI_1", false))),
            ("INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 100", None),
            ("INSTANCE \"VI_1\" MASTER_PRIORITY 90", None),
            ("VS [192.0.2.1]:tcp:80 UP", None),
            ("INSTANCE VI_1 MASTER", None),
            ("INSTANCE \"VI_1\"", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, owned)| (name.to_owned(), owned));
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn only_what_the_daemon_does_not_know_is_told() {
        let external = |name: &str, owned, follows: Option<&str>| VrrpExternal {
            name: name.to_owned(),
            addresses: Vec::new(),
            follows: follows.map(|address| address.parse().expect("address")),
            lease_ms: 3000,
            owned,
            since: None,
            why: String::new(),
        };
        let status = VrrpStatus {
            fitness: Fitness::default(),
            gate: VrrpGate::Open,
            routers: Vec::new(),
            external: vec![
                external("new", false, None),
                external("known", true, None),
                external("gone", true, None),
                external("follows", false, Some("192.0.2.9")),
                external("silent", false, None),
            ],
            strays: BTreeMap::new(),
        };
        let said = [("new", true), ("known", true), ("gone", false), ("follows", true), ("stranger", true)];
        let said = said.map(|(name, owned)| (name.to_owned(), owned)).into_iter().collect();
        let expected = [("new".to_owned(), true), ("gone".to_owned(), false)];
        assert_eq!(untold(&status, &said), expected);
    }

    #[test]
    fn a_fifo_that_is_made_anew_is_followed_on() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("fifo");
        let (sender, mut lines) = mpsc::channel(LINES);
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read(&path, &sender)
        });
        for (text, expected) in
            [("INSTANCE \"a\" MASTER 1\nnonsense\n", true), ("INSTANCE \"a\" BACKUP 1\n", false)]
        {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("FIFO");
            std::fs::write(&path, text).expect("written");
            match lines.blocking_recv() {
                Some(Line::Said(name, owned)) => assert_eq!((name.as_str(), owned), ("a", expected)),
                _ => panic!("no line"),
            }
            std::fs::remove_file(&path).expect("removed");
        }
        drop(lines);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("FIFO");
        // Does not wait for a reader, which may have ended already.
        let mut both = File::options().read(true).write(true).open(&path).expect("FIFO");
        both.write_all(b"INSTANCE \"a\" MASTER 1\n").expect("written");
        reader.join().expect("it ends when nobody listens");
    }
}
