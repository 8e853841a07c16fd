//! The thread: waits for whatever comes first, and lets the node take it in. What has been received comes before timers.
#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use lb_vrrp::Moment;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{timeout, timeout_at};
use tracing::{error, info, warn};

use super::node::{Change, Node, STATUS_PAUSE};
use super::trackers::Trackers;
use super::{Fence, Host, Notice, Order, Refused, Status, Vrrp, Wanted, clock, priority};
use crate::announce::elected::{self, Hands};
use crate::net::{HostFacts, watch_facts};

/// Orders that wait.
const ORDERS: usize = 16;
/// How long letting go of all addresses may take at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The thread's end of it; whoever has it can wait for the thread to leave.
#[derive(Debug)]
pub struct Leaving {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Leaving {
    /// Adverts of priority 0, and all addresses released; returns when that is done.
    pub async fn leave(self) {
        self.stop.send_replace(true);
        // A thread that broke down has nothing to wait for.
        if timeout(LAST_WORDS + Duration::from_secs(1), self.ended).await.is_err() {
            error!(
                "virtual routers do not let go of their addresses; `ip address` shows those of the kernel"
            );
        }
    }
}

/// Starts the thread in the network namespace of the calling one. Scripts and files are observed on the caller's runtime; `tell`
/// hears of every event, on the thread, and must not wait.
///
/// # Errors
/// When this host has no thread, timers or netlink for it.
pub fn spawn(fence: Box<dyn Fence>, tell: Box<dyn Fn(Notice) + Send>) -> io::Result<(Vrrp, Leaving)> {
    let (wanted, wanted_now) = watch::channel(None);
    let (host, host_now) = watch::channel(Host::default());
    let (orders, ordered) = mpsc::channel(ORDERS);
    let (shown, status) = watch::channel(Status::default());
    let (stop, stopped) = watch::channel(false);
    let (ending, ended) = oneshot::channel();
    let trackers = Handle::current();
    let inputs = Inputs { wanted: wanted_now, host: host_now, orders: ordered, stopped };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("vrrp".to_owned()).spawn(move || {
        runtime.block_on(run(inputs, shown, fence, tell, trackers));
        // Nobody waits any more when the daemon has broken down.
        let _ = ending.send(());
    })?;
    Ok((Vrrp { wanted, host, orders, status }, Leaving { stop, ended }))
}

struct Inputs {
    wanted: watch::Receiver<Option<Wanted>>,
    host: watch::Receiver<Host>,
    orders: mpsc::Receiver<(Order, oneshot::Sender<Result<(), Refused>>)>,
    stopped: watch::Receiver<bool>,
}

/// Nothing is opened or raised before there are virtual routers: a host without them has a thread that sleeps.
async fn run(
    mut inputs: Inputs,
    shown: watch::Sender<Status>,
    fence: Box<dyn Fence>,
    tell: Box<dyn Fn(Notice) + Send>,
    runtime: Handle,
) {
    let Some(first) = first_wanted(&mut inputs).await else { return };
    if let Err(error) = priority::raise() {
        info!(%error, "the elections' thread has no real-time priority; a busy host may be late (CAP_SYS_NICE)");
    }
    let (facts, hands) = match open().await {
        Ok(opened) => opened,
        Err(error) => return error!(%error, "there are no virtual routers"),
    };
    let (trackers, results) = Trackers::new(runtime);
    let host = inputs.host.borrow_and_update().clone();
    let node = Node::new(facts.borrow().clone(), host, fence, hands.orders, tell);
    let mut thread =
        Thread { inputs, facts, news: hands.news, trackers, results, node, shown, shown_at: clock::now() };
    thread.want(first);
    thread.follow().await;
    thread.end().await;
}

/// Waits for virtual routers.
async fn first_wanted(inputs: &mut Inputs) -> Option<Wanted> {
    loop {
        let now = inputs.wanted.borrow_and_update().clone();
        if let Some(wanted) = now.filter(|wanted| !wanted.routers.is_empty() || !wanted.external.is_empty()) {
            return Some(wanted);
        }
        tokio::select! {
            changed = inputs.wanted.changed() => changed.ok()?,
            _ = inputs.stopped.changed() => return None,
            Some((order, answer)) = inputs.orders.recv() => {
                let refused = match order {
                    Order::HandOver(name) | Order::Maintenance(name, _) => Refused::Unknown(name.unwrap_or_default()),
                    Order::Own(name, _) => Refused::NotExternal(name),
                };
                let _ = answer.send(Err(refused));
            }
        }
    }
}

async fn open() -> anyhow::Result<(watch::Receiver<HostFacts>, Hands)> {
    let mut facts = watch_facts()?;
    // Loopback is always there: no links means not looked at yet.
    facts.wait_for(|facts| !facts.links.is_empty()).await?;
    let hands = elected::spawn(facts.clone())?;
    Ok((facts, hands))
}

struct Thread {
    inputs: Inputs,
    facts: watch::Receiver<HostFacts>,
    news: mpsc::UnboundedReceiver<elected::News>,
    trackers: Trackers,
    results: mpsc::UnboundedReceiver<super::trackers::Result>,
    node: Node,
    shown: watch::Sender<Status>,
    shown_at: Moment,
}

impl Thread {
    /// Until the daemon ends.
    async fn follow(&mut self) {
        loop {
            // Before what has been received is taken in: a standstill after that makes no timer due.
            let now = clock::now();
            let more = self.node.receive();
            self.node.tick(now);
            self.show();
            let due = [self.node.due(now), self.show_due()].into_iter().flatten().min();
            tokio::select! {
                changed = self.inputs.wanted.changed() => match changed {
                    Ok(()) => {
                        let wanted = self.inputs.wanted.borrow_and_update().clone();
                        self.want(wanted.unwrap_or_default());
                    }
                    Err(_) => return,
                },
                // Said, or nobody is left to say it.
                _ = self.inputs.stopped.changed() => return,
                Ok(()) = self.inputs.host.changed() => {
                    let host = self.inputs.host.borrow_and_update().clone();
                    self.node.set_host(host);
                }
                Ok(()) = self.facts.changed() => {
                    let facts = self.facts.borrow_and_update().clone();
                    self.node.set_facts(facts);
                }
                Some((order, answer)) = self.inputs.orders.recv() => {
                    let outcome = self.node.on_order(order);
                    // Shown before whoever asked can look.
                    self.show();
                    let _ = answer.send(outcome);
                }
                Some((name, reading)) = self.results.recv() => self.node.set_reading(name, reading),
                Some(news) = self.news.recv() => self.node.on_news(news),
                readable = self.node.sockets.readable() => {
                    if let Err(error) = readable {
                        warn!(%error, "cannot wait for adverts");
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                // A flood keeps nobody else waiting.
                () = yield_now(), if more => {}
                () = clock::until(due) => {}
            }
        }
    }

    fn want(&mut self, wanted: Wanted) {
        for name in self.trackers.set(&wanted.trackers) {
            self.node.readings.remove(&name);
        }
        self.node.set_wanted(wanted);
    }

    /// The status is shown when roles change, else at most every 100 ms.
    fn show(&mut self) {
        let now = clock::now();
        let is_due = match self.node.news {
            Change::Nothing => false,
            Change::Detail => now >= self.shown_at + STATUS_PAUSE,
            Change::Important => true,
        };
        if is_due {
            self.node.news = Change::Nothing;
            self.shown_at = now;
            self.shown.send_replace(self.node.status(now));
        }
    }

    fn show_due(&self) -> Option<Moment> {
        (self.node.news != Change::Nothing).then(|| self.shown_at + STATUS_PAUSE)
    }

    /// Leaves, and waits until the hands are empty.
    async fn end(mut self) {
        self.node.stop();
        self.shown.send_replace(self.node.status(clock::now()));
        let Self { mut node, mut news, .. } = self;
        // The last order; when it is carried out, the hands let go of their end.
        node.hands = mpsc::unbounded_channel().0;
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        let all = async {
            while let Some(news) = news.recv().await {
                node.on_news(news);
            }
        };
        if timeout_at(deadline, all).await.is_err() {
            warn!("the kernel takes its time to let go of virtual routers' addresses");
        }
    }
}
