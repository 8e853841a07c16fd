//! The task: listens, keeps the snapshot in step, asks for routes and neighbours, and publishes what follows from it.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::netlink::Netlink;
use super::path_mtu::{PathMtus, Report};
use super::path_reports::PathReports;
use super::snapshot::{Event, Hop, Snapshot, Work};
use super::{NetError, Resolver, decode};
use crate::state::NextHops;

/// Events that come together are handled together.
const SETTLE: Duration = Duration::from_millis(4);
/// How often neighbours that do not answer, or were not confirmed for long, are asked again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How often everything is read anew, in case that an event was missed.
const RESYNC_INTERVAL: Duration = Duration::from_secs(60);
/// After the connection was lost.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Reading routes takes at most one part in so many of the task's time, however fast routes flap.
const IDLE_PARTS: u32 = 10;

/// Starts the task that looks after next hops, in the network namespace of the calling thread.
///
/// # Errors
/// Outside of a tokio runtime, and when the kernel refuses a netlink socket.
pub fn spawn() -> Result<Resolver, NetError> {
    tokio::runtime::Handle::try_current().map_err(|_| NetError::NoRuntime)?;
    let netlink = Netlink::open()?;
    let (wanted, wanted_receiver) = watch::channel(BTreeSet::new());
    let (hops_sender, hops) = watch::channel(NextHops::new());
    tokio::spawn(run(netlink, wanted_receiver, hops_sender));
    Ok(Resolver { wanted, hops })
}

/// Lives until nobody wants next hops any more; a lost connection is opened again.
async fn run(
    netlink: Netlink,
    mut wanted: watch::Receiver<BTreeSet<IpAddr>>,
    mut hops: watch::Sender<NextHops>,
) {
    let mut netlink = Some(netlink);
    let reports = PathReports::open();
    let mut path_mtus = PathMtus::default();
    loop {
        let outcome = match netlink.take().map_or_else(Netlink::open, Ok) {
            Ok(netlink) => {
                Session::new(netlink, &mut wanted, &mut hops, &mut path_mtus).serve(&reports).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "next hops stay as they were until netlink works again");
                tokio::time::sleep(REOPEN_INTERVAL).await;
            }
        }
    }
}

/// One connection's life.
struct Session<'a> {
    netlink: Netlink,
    wanted: &'a mut watch::Receiver<BTreeSet<IpAddr>>,
    hops: &'a mut watch::Sender<NextHops>,
    path_mtus: &'a mut PathMtus,
    snapshot: Snapshot,
    work: Work,
    /// When `work` is to be done.
    due: Instant,
    /// Routes are not read before.
    routes_not_before: Instant,
    /// Probes that the kernel refused; each is reported once.
    refused: BTreeSet<Hop>,
}

impl<'a> Session<'a> {
    fn new(
        netlink: Netlink,
        wanted: &'a mut watch::Receiver<BTreeSet<IpAddr>>,
        hops: &'a mut watch::Sender<NextHops>,
        path_mtus: &'a mut PathMtus,
    ) -> Self {
        let now = Instant::now();
        Self {
            netlink,
            wanted,
            hops,
            path_mtus,
            snapshot: Snapshot::default(),
            work: Work::Everything,
            due: now,
            routes_not_before: now,
            refused: BTreeSet::new(),
        }
    }

    /// Ends well when `wanted` has no sender any more.
    async fn serve(mut self, reports: &PathReports) -> Result<(), NetError> {
        let mut probe = tokio::time::interval(PROBE_INTERVAL);
        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC_INTERVAL, RESYNC_INTERVAL);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.plan(Work::Routes, Duration::ZERO),
                    Err(_) => return Ok(()),
                },
                message = self.netlink.event() => {
                    if let Some(event) = decode::event(&message?) {
                        self.take_in(event)?;
                    }
                }
                () = tokio::time::sleep_until(self.due), if self.work > Work::None => self.catch_up().await?,
                report = reports.next(|address| self.snapshot.is_own(address.into())) => self.hear(report),
                _ = probe.tick() => self.probe().await,
                _ = resync.tick() => self.plan(Work::Everything, Duration::ZERO),
            }
        }
    }

    fn take_in(&mut self, event: Event) -> Result<(), NetError> {
        if event == Event::Overrun {
            self.netlink = Netlink::open()?;
        }
        let work = self.snapshot.apply(event);
        self.plan(work, SETTLE);
        Ok(())
    }

    /// Takes in what fits on the way to a backend.
    fn hear(&mut self, Report { destination, mtu }: Report) {
        let concerns = self.wanted.borrow().contains(&destination);
        if concerns && self.path_mtus.learn(Report { destination, mtu }, std::time::Instant::now()) {
            tracing::info!(backend = %destination, mtu, "a link on the way is narrower than the route says");
            self.plan(Work::Derive, Duration::ZERO);
        }
    }

    /// Notes that `work` is to be done within `delay`, unless reading routes has to pause longer.
    fn plan(&mut self, work: Work, delay: Duration) {
        if work == Work::None {
            return;
        }
        let soon = Instant::now() + delay;
        let due = if work >= Work::Routes { soon.max(self.routes_not_before) } else { soon };
        self.due = if self.work == Work::None { due } else { self.due.min(due) };
        self.work = self.work.max(work);
    }

    /// Does what was planned, publishes what came out, and looks for neighbours that are missing.
    async fn catch_up(&mut self) -> Result<(), NetError> {
        let now = Instant::now();
        let work = std::mem::take(&mut self.work);
        if work >= Work::Routes && now < self.routes_not_before {
            // A neighbour changed while routes have to wait.
            self.plan(work, Duration::ZERO);
        } else if work >= Work::Routes {
            if work == Work::Everything {
                self.reread().await?;
            }
            self.read_routes().await?;
            self.routes_not_before = Instant::now() + now.elapsed() * IDLE_PARTS;
        }
        self.publish();
        self.probe().await;
        Ok(())
    }

    async fn reread(&mut self) -> Result<(), NetError> {
        let fresh = self.netlink.snapshot().await?;
        self.snapshot.replace_facts(fresh);
        Ok(())
    }

    async fn read_routes(&mut self) -> Result<(), NetError> {
        let wanted = self.wanted.borrow_and_update().clone();
        self.snapshot.routes.retain(|address, _| wanted.contains(address));
        for address in wanted {
            let route = self.netlink.route(address).await?;
            self.snapshot.routes.insert(address, route);
        }
        Ok(())
    }

    fn publish(&mut self) {
        let mut fresh = self.snapshot.next_hops();
        self.path_mtus.forget(std::time::Instant::now(), |address| fresh.contains_key(address));
        for (address, hop) in &mut fresh {
            if let Ok(hop) = hop {
                hop.mtu = self.path_mtus.limit(*address, hop.mtu);
            }
        }
        self.hops.send_if_modified(|published| {
            for (address, hop) in &fresh {
                match (published.get(address), hop) {
                    (Some(before), after) if before == after => {}
                    (_, Ok(hop)) => tracing::info!(
                        backend = %address, interface = %hop.interface, mac = %hop.destination_mac, "next hop found"
                    ),
                    (_, Err(reason)) => tracing::info!(backend = %address, %reason, "no next hop"),
                }
            }
            let changed = *published != fresh;
            *published = fresh;
            changed
        });
    }

    /// Asks the kernel for neighbours that are missing or silent. XDP frames do not count as use of an entry, so without
    /// this it would go stale and a dead or moved neighbour would not be noticed.
    async fn probe(&mut self) {
        for hop in self.snapshot.hops_to_probe() {
            match self.netlink.probe(hop).await {
                Ok(()) => {
                    self.refused.remove(&hop);
                }
                Err(error) => {
                    if self.refused.insert(hop) {
                        tracing::warn!(neighbour = %hop.address, ifindex = hop.link, %error, "the kernel refuses to look for a neighbour");
                    }
                }
            }
        }
    }
}
