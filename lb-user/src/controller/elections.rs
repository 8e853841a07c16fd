//! The controller's side of virtual routers: says what is wanted and how this host is, shows what has become of it, and
//! passes orders on. Never waits for their thread.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::engine::{Engine, Refused};
use super::handle::Caller;
use super::{peers_view, vrrp_view};
use crate::api::types::{Fitness, PeersReport, VrrpDone, VrrpStatus};
use crate::dataplane::Dataplane;
use crate::health::Standings;
use crate::peers::Peers;
use crate::vrrp::{self, Host, Order, Vrrp};

/// How long an order waits for the thread.
const ORDER_TIME: Duration = Duration::from_secs(2);

/// What this node has to do with others.
#[derive(Clone, Debug)]
pub struct OtherNodes {
    /// Who has which addresses.
    pub vrrp: Vrrp,
    /// Who holds copies of whose flows.
    pub peers: Peers,
}

pub(super) struct Elections {
    vrrp: Vrrp,
    peers: Peers,
    started: Instant,
    /// The first round of checks was in; that counts once.
    first_round_done: bool,
    /// When the first round is not waited for any longer.
    limit: Instant,
}

impl Elections {
    pub(super) fn new(OtherNodes { vrrp, peers }: OtherNodes) -> Self {
        let started = Instant::now();
        Self { vrrp, peers, started, first_round_done: false, limit: started }
    }

    /// Says what is new. Virtual routers that did not change are told nothing.
    pub(super) fn tell<D: Dataplane>(&mut self, engine: &Engine<D>, standings: &Standings) {
        let wanted = &engine.setup.config.vrrp;
        self.limit = self.started + wanted.gate_limit;
        self.first_round_done = self.first_round_done || engine.first_round_done(standings);
        self.vrrp.wanted.send_if_modified(|before| {
            let modified = before.as_ref() != Some(wanted);
            if modified {
                *before = Some(wanted.clone());
            }
            modified
        });
        let peers = &engine.setup.config.peers;
        self.peers.wanted.send_if_modified(|before| {
            let modified = before != peers;
            if modified {
                before.clone_from(peers);
            }
            modified
        });
        let host = self.host(engine);
        self.vrrp.host.send_if_modified(|before| {
            let modified = *before != host;
            if modified && before.unfit != host.unfit {
                log_fitness(before, &host);
            }
            *before = host;
            modified
        });
    }

    fn host<D: Dataplane>(&self, engine: &Engine<D>) -> Host {
        engine.host(self.first_round_done, *self.peers.flows.borrow())
    }

    pub(super) fn peers<D: Dataplane>(&self, engine: &Engine<D>) -> PeersReport {
        let status = self.peers.status.borrow();
        peers_view::report(&engine.setup.config.peers, &status, std::time::Instant::now())
    }

    /// The end of the wait for the first round, when that is still to come.
    pub(super) async fn due(&self) {
        if self.first_round_done || self.limit <= Instant::now() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.limit).await;
    }

    pub(super) fn fitness<D: Dataplane>(&self, engine: &Engine<D>) -> Fitness {
        let mut reasons = self.host(engine).unfit;
        if !self.first_round_done && Instant::now() < self.limit {
            reasons.push("some checks have had no result yet since the daemon started".to_owned());
        }
        Fitness { fit: reasons.is_empty(), reasons }
    }

    pub(super) fn status<D: Dataplane>(&self, engine: &Engine<D>) -> VrrpStatus {
        vrrp_view::status(&engine.setup.config.vrrp, &self.vrrp.status.borrow(), self.fitness(engine))
    }

    /// What is called `name`, or all.
    pub(super) fn show<D: Dataplane>(
        &self,
        engine: &Engine<D>,
        name: Option<String>,
    ) -> Result<VrrpStatus, Refused> {
        let status = self.status(engine);
        match name {
            None => Ok(status),
            Some(name) => vrrp_view::only(status, &name).ok_or_else(|| vrrp::Refused::Unknown(name).into()),
        }
    }

    /// Passes an order on; the answer comes by itself.
    pub(super) fn order<D: Dataplane>(
        &self,
        engine: &Engine<D>,
        order: Order,
        caller: Caller,
        reply: oneshot::Sender<Result<VrrpDone, Refused>>,
    ) {
        let done = vrrp_view::done(&engine.setup.config.vrrp, &order);
        let orders = self.vrrp.orders.clone();
        tokio::spawn(async move {
            let result = timeout(ORDER_TIME, carry_out(orders, order.clone())).await;
            let result = result.unwrap_or(Err(vrrp::Refused::Late));
            match &result {
                Ok(()) => info!(user = caller.user, pid = caller.pid, ?order, "order"),
                Err(error) => warn!(user = caller.user, pid = caller.pid, ?order, %error, "order refused"),
            }
            // The one who asked may have gone; what was done stays done.
            let _ = reply.send(result.map(|()| done).map_err(Into::into));
        });
    }
}

async fn carry_out(
    orders: mpsc::Sender<(Order, oneshot::Sender<Result<(), vrrp::Refused>>)>,
    order: Order,
) -> Result<(), vrrp::Refused> {
    let (reply, answer) = oneshot::channel();
    orders.send((order, reply)).await.map_err(|_| vrrp::Refused::Ended)?;
    answer.await.map_err(|_| vrrp::Refused::Ended)?
}

fn log_fitness(before: &Host, now: &Host) {
    for reason in now.unfit.iter().filter(|reason| !before.unfit.contains(reason)) {
        warn!(reason, "this host is not fit to forward");
    }
    if now.unfit.is_empty() {
        info!("this host is fit to forward");
    }
}
