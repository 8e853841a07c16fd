//! Tells others what has happened: commands, HTTP requests and mails, for changes of health and of virtual routers.
//!
//! ```text
//! controller ─┐                ┌> queue ─> caller: one call at a time ─> exec
//!             ├> Hooks::tell ──┼> queue ─> caller ─> webhook
//! VRRP ───────┘                └> queue ─> caller ─> email
//! ```
//!
//! Telling never waits: each hook has a bounded queue (`queue`: what is left out when, purely), and a task that empties it in
//! order, on a thread of their own. A receiver that hangs delays its own hook only. Nothing here decides anything: a hook
//! that fails is counted, logged and shown.
#![forbid(unsafe_code)]

mod caller;
mod email;
mod event;
mod exec;
mod line;
mod notice;
mod queue;
mod secret;
mod settings;
mod webhook;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

pub(crate) use email::is_mailbox;
pub use event::{Class, Event, Field, Kind, Place, Value};
pub(crate) use exec::names_in;
pub use line::Report;
pub use notice::events as events_of;
pub use queue::Limits;
pub use settings::{
    Address, Arguments, Call, DEFAULT_TIMEOUT, DEFAULT_TRIES, Email, Exec, Filter, Hook, On, Security,
    Webhook, default_port,
};
pub(crate) use webhook::{header, is_secret, why_no_url};

use line::Line;

/// All hooks by name.
pub type Wanted = BTreeMap<String, Hook>;

/// What everybody who has something to tell holds.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    place: Arc<Place>,
    lines: Mutex<BTreeMap<String, Running>>,
    runtime: Handle,
    /// The thread ends when this is set.
    end: watch::Sender<bool>,
    /// A caller has nothing left to do.
    idle: Arc<Notify>,
    #[cfg(test)]
    heard: Option<tokio::sync::mpsc::UnboundedSender<Event>>,
}

/// A hook's task, which ends with it.
#[derive(Debug)]
struct Running {
    line: Arc<Line>,
    task: tokio::task::AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hooks {
    /// Nobody is told anything.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Starts the thread that calls, without any hook yet. `place`: whose events these are.
    ///
    /// # Errors
    /// When this host has no thread or no timers for it.
    pub fn start(place: Place) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, mut ended) = watch::channel(false);
        std::thread::Builder::new().name("hooks".to_owned()).spawn(move || {
            runtime.block_on(async {
                // A dropped sender means the same.
                let _ = ended.wait_for(|end| *end).await;
            });
            // A name server or a file system that does not answer holds nobody up.
            runtime.shutdown_background();
        })?;
        Ok(Self(Some(Arc::new(Inner {
            place: Arc::new(place),
            lines: Mutex::default(),
            runtime: handle,
            end,
            idle: Arc::new(Notify::new()),
            #[cfg(test)]
            heard: None,
        }))))
    }

    /// From now on these are the hooks. One that was there before keeps what it still has to tell, and its counts.
    pub fn follow(&self, wanted: &Wanted) {
        let Some(inner) = &self.0 else { return };
        let mut lines = inner.lines();
        lines.retain(|name, _| wanted.contains_key(name));
        for (name, hook) in wanted {
            if let Some(running) = lines.get(name) {
                running.line.settle(hook.clone(), Instant::now());
                continue;
            }
            let line = Arc::new(Line::new(name.clone(), hook.clone(), Instant::now()));
            let caller = caller::run(line.clone(), inner.place.clone(), inner.idle.clone());
            let task = inner.runtime.spawn(caller).abort_handle();
            lines.insert(name.clone(), Running { line, task });
        }
    }

    /// Tells each hook that wants to know. Never waits.
    pub fn tell(&self, event: Event) {
        let Some(inner) = &self.0 else { return };
        #[cfg(test)]
        if let Some(heard) = &inner.heard {
            let _ = heard.send(event.clone());
        }
        let (event, now) = (Arc::new(event), Instant::now());
        for running in inner.lines().values() {
            running.line.tell(&event, now);
        }
    }

    /// How each hook fares.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let Some(inner) = &self.0 else { return Vec::new() };
        inner.lines().values().map(|running| running.line.report()).collect()
    }

    /// Ends all hooks once they have told what there is, after `limit` in any case.
    pub async fn stop(&self, limit: Duration) {
        let Some(inner) = &self.0 else { return };
        let all_told = async {
            loop {
                let idle = inner.idle.notified();
                if inner.lines().values().all(|running| running.line.is_idle()) {
                    return;
                }
                idle.await;
            }
        };
        let _ = tokio::time::timeout(limit, all_told).await;
        for running in inner.lines().values().filter(|running| !running.line.is_idle()) {
            let report = running.line.report();
            tracing::warn!(
                hook = report.name,
                waiting = report.waiting,
                "the daemon ends before all was told"
            );
        }
        inner.lines().clear();
        inner.end.send_replace(true);
    }

    /// Hooks that only say here what they were told.
    #[cfg(test)]
    pub(crate) fn heard() -> (Self, tokio::sync::mpsc::UnboundedReceiver<Event>) {
        let (heard, events) = tokio::sync::mpsc::unbounded_channel();
        let inner = Inner {
            place: Arc::new(Place::default()),
            lines: Mutex::default(),
            runtime: Handle::current(),
            end: watch::channel(false).0,
            idle: Arc::new(Notify::new()),
            heard: Some(heard),
        };
        (Self(Some(Arc::new(inner))), events)
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
