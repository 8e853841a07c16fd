//! Empties one hook's queue, one call at a time and in order; a receiver that does not take a message is tried again after a
//! while that doubles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::event::{Event, Place};
use super::line::Line;
use super::queue::Next;
use super::{Call, email, exec, webhook};

const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);

/// Why a call did not do what it should. Never contains what is in files of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) why: String,
    /// It may go well the next time.
    pub(super) again: bool,
}

impl Failed {
    pub(super) fn for_now(why: impl ToString) -> Self {
        Self { why: why.to_string(), again: true }
    }

    pub(super) fn for_good(why: impl ToString) -> Self {
        Self { why: why.to_string(), again: false }
    }
}

pub(super) async fn run(line: Arc<Line>, place: Arc<Place>, idle: Arc<Notify>) {
    loop {
        match line.next(Instant::now()) {
            Next::Call(event) => deliver(&line, &event, &place).await,
            Next::Wait(due) => {
                tokio::select! {
                    () = sleep_until(due.into()) => {}
                    () = line.news.notified() => {}
                }
            }
            Next::Nothing => {
                idle.notify_waiters();
                line.news.notified().await;
            }
        }
    }
}

/// Calls until that has gone well, or it is of no use any more.
async fn deliver(line: &Line, event: &Event, place: &Place) {
    let (name, mut pause) = (line.name.as_str(), PAUSE_FIRST);
    for count in 1.. {
        let hook = line.hook();
        let failed = match timeout(hook.timeout, call(&hook.call, event, place)).await {
            Ok(Ok(())) => {
                debug!(hook = name, event = event.kind.word(), "told");
                line.was_sent();
                return;
            }
            Ok(Err(failed)) => failed,
            Err(_) => {
                let span = humantime::format_duration(hook.timeout);
                Failed::for_now(format!("it took longer than {span}"))
            }
        };
        let given_up = !failed.again || count >= hook.tries || matches!(hook.call, Call::Exec(_));
        line.has_failed(&failed.why, given_up);
        if given_up {
            warn!(hook = name, event = event.kind.word(), tries = count, reason = failed.why, "hook failed");
            return;
        }
        debug!(hook = name, event = event.kind.word(), reason = failed.why, "hook failed; it is tried again");
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LAST);
    }
}

async fn call(call: &Call, event: &Event, place: &Place) -> Result<(), Failed> {
    match call {
        Call::Exec(exec) => exec::run(exec, event, place).await,
        Call::Webhook(webhook) => webhook::post(webhook, event, place).await,
        Call::Email(email) => email::send(email, event, place).await,
    }
}
