//! Keeps connections with all peers: listens for those that hold copies, and asks each for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_vrrp::gate::Flows;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{info, warn};

use super::connection::{BEGIN, Ended};
use super::teller::{self, Memory};
use super::{
    Fingerprint, FollowerStatus, Identity, Mine, Peer, PeersStatus, TellerStatus, Wanted, follower, pin,
};
use crate::controller::ControllerHandle;

/// Between two attempts to reach a peer or to listen.
const RETRY: Duration = Duration::from_millis(500);
/// Between two looks at how the copies compare.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that have not shown yet whose they are.
const STRANGERS: usize = 16;

/// Handle of the task. It ends when all of them are gone.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Replaced as a whole; a change breaks all connections.
    pub wanted: watch::Sender<Wanted>,
    pub status: watch::Receiver<PeersStatus>,
    /// How the copies here compare with the originals.
    pub flows: watch::Receiver<Flows>,
}

/// What the task needs beside a controller, which has the handle.
#[derive(Debug)]
pub struct Start {
    asked: watch::Receiver<Wanted>,
    status: watch::Sender<PeersStatus>,
    flows: watch::Sender<Flows>,
}

/// The handle, and what the task is started with.
#[must_use]
pub fn prepare() -> (Peers, Start) {
    let (wanted, asked) = watch::channel(Wanted::default());
    let (told, status) = watch::channel(PeersStatus::default());
    let (compared, flows) = watch::channel(Flows::default());
    (Peers { wanted, status, flows }, Start { asked, status: told, flows: compared })
}

#[cfg(test)]
impl Start {
    /// Shows what never was.
    pub(crate) fn play(&self, status: PeersStatus) {
        self.status.send_replace(status);
    }
}

impl Start {
    /// Starts the task on the present runtime. `identity`: the file with this node's key; made when it is needed first.
    pub fn spawn(self, identity: PathBuf, controller: ControllerHandle, mine: Mine) {
        let Self { asked, status, flows } = self;
        let shared = Shared { controller, mine, status: Arc::new(status) };
        tokio::spawn(compare(shared.status.subscribe(), flows));
        tokio::spawn(keep(identity, asked, shared));
    }
}

/// Says how the copies here compare, until nobody wants to know.
async fn compare(mut status: watch::Receiver<PeersStatus>, flows: watch::Sender<Flows>) {
    loop {
        let now = status.borrow_and_update().flows(Instant::now());
        flows.send_if_modified(|before| std::mem::replace(before, now) != now);
        // Silence changes it, too.
        match timeout(RETRY, status.changed()).await {
            Ok(Err(_)) => return,
            Ok(Ok(())) | Err(_) => sleep(PAUSE).await,
        }
    }
}

#[derive(Clone)]
struct Shared {
    controller: ControllerHandle,
    mine: Mine,
    status: Arc<watch::Sender<PeersStatus>>,
}

impl Shared {
    fn follower(&self, peer: &str, change: &dyn Fn(&mut FollowerStatus)) {
        self.status
            .send_modify(|all| all.peers.get_mut(peer).into_iter().for_each(|one| change(&mut one.follower)));
    }

    fn teller(&self, peer: &str, change: &dyn Fn(&mut TellerStatus)) {
        self.status
            .send_modify(|all| all.peers.get_mut(peer).into_iter().for_each(|one| change(&mut one.teller)));
    }

    fn trouble(&self, trouble: Option<String>) {
        self.status.send_if_modified(|all| {
            let changed = all.trouble != trouble;
            if changed && let Some(trouble) = &trouble {
                warn!(trouble, "peers cannot hold copies of this node's flows");
            }
            all.trouble = trouble;
            changed
        });
    }
}

async fn keep(identity: PathBuf, mut asked: watch::Receiver<Wanted>, shared: Shared) {
    let mut mine = shared.mine.clone();
    let mut tasks = JoinSet::new();
    loop {
        let wanted = asked.borrow_and_update().clone();
        tasks.shutdown().await;
        shared.status.send_replace(PeersStatus::default());
        // Fails when the controller has ended, which ends this, too.
        let _ = shared.controller.forget_copies().await;
        if !wanted.peers.is_empty() {
            match Identity::load_or_make(&identity) {
                Ok(identity) => begin(&mut tasks, &wanted, &Arc::new(identity), &shared),
                Err(error) => shared.trouble(Some(error.to_string())),
            }
        }
        loop {
            let owned = mine.borrow_and_update().clone();
            let _ = shared.controller.own(owned).await;
            tokio::select! {
                changed = asked.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Ok(()) = mine.changed() => {}
            }
        }
    }
}

fn begin(tasks: &mut JoinSet<()>, wanted: &Wanted, identity: &Arc<Identity>, shared: &Shared) {
    shared.status.send_modify(|all| {
        all.fingerprint = Some(identity.fingerprint());
        all.peers = wanted.peers.keys().map(|name| (name.clone(), Default::default())).collect();
    });
    if let Some(listen) = wanted.listen {
        let names = wanted.peers.iter().map(|(name, peer)| (peer.fingerprint, name.clone())).collect();
        tasks.spawn(serve(listen, names, identity.clone(), shared.clone()));
    }
    for (name, peer) in &wanted.peers {
        tasks.spawn(ask(name.clone(), peer.clone(), identity.clone(), shared.clone()));
    }
}

/// Holds a peer's copy, over one connection after the other.
async fn ask(name: String, peer: Peer, identity: Arc<Identity>, shared: Shared) {
    let mut had = None;
    loop {
        let Err(ended) = ask_once(&name, &peer, &identity, &mut had, &shared).await;
        let text = format!("{}: {ended}", peer.address);
        shared.status.send_modify(|all| {
            let Some(status) = all.peers.get_mut(&name).map(|peer| &mut peer.follower) else { return };
            if status.connected || status.trouble.as_ref() != Some(&text) {
                warn!(peer = name, reason = text, "no copy of the peer's flows; it is tried again");
            }
            status.connected = false;
            status.trouble = Some(text);
        });
        sleep(RETRY).await;
    }
}

async fn ask_once(
    name: &str,
    peer: &Peer,
    identity: &Identity,
    had: &mut follower::Had,
    shared: &Shared,
) -> Result<std::convert::Infallible, Ended> {
    let config =
        pin::client(identity, peer.fingerprint).map_err(|error| Ended::Differs(error.to_string()))?;
    let connecting = async {
        let stream = TcpStream::connect(peer.address).await?;
        stream.set_nodelay(true)?;
        let server = pin::SERVER_NAME.try_into().map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(server, stream).await
    };
    let stream = timeout(BEGIN, connecting).await.map_err(|_| Ended::Silent)??;
    follower::follow(stream, had, &shared.controller, |change| {
        shared.follower(name, change);
    })
    .await
}

/// Tells peers that ask.
async fn serve(
    listen: SocketAddr,
    names: BTreeMap<Fingerprint, String>,
    identity: Arc<Identity>,
    shared: Shared,
) {
    let fingerprints: BTreeSet<Fingerprint> = names.keys().copied().collect();
    let acceptor = match pin::server(&identity, fingerprints) {
        Ok(config) => TlsAcceptor::from(Arc::new(config)),
        Err(error) => return shared.trouble(Some(error.to_string())),
    };
    let listener = loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => break listener,
            Err(error) => shared.trouble(Some(format!("cannot listen on {listen}: {error}"))),
        }
        sleep(RETRY).await;
    };
    shared.trouble(None);
    let desk = Arc::new(Desk {
        acceptor,
        memories: names.values().map(|name| (name.clone(), Mutex::default())).collect(),
        names,
        present: Mutex::default(),
        shared,
    });
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        let Ok(place) = strangers.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let desk = desk.clone();
                tasks.spawn(async move {
                    let Some(greeted) = desk.greet(stream, from).await else { return };
                    drop(place);
                    desk.tell(greeted).await;
                });
            }
            // Such as no free file descriptor: it passes.
            Err(_) => sleep(RETRY).await,
        }
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// What all connections of peers that ask have in common.
struct Desk {
    acceptor: TlsAcceptor,
    names: BTreeMap<Fingerprint, String>,
    memories: BTreeMap<String, Mutex<Memory>>,
    /// The connection of each peer; a new one ends the one before.
    present: Mutex<BTreeMap<String, oneshot::Sender<()>>>,
    shared: Shared,
}

impl Desk {
    async fn greet(&self, stream: TcpStream, from: SocketAddr) -> Option<(String, Stream)> {
        let _ = stream.set_nodelay(true);
        let stream = match timeout(BEGIN, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                info!(%from, %error, "refused a connection that is none of a peer");
                return None;
            }
            Err(_) => return None,
        };
        let certificate = stream.get_ref().1.peer_certificates()?.first()?;
        let name = self.names.get(&Fingerprint::of(certificate))?.clone();
        Some((name, stream))
    }

    /// Tells a peer until the connection breaks, or the peer has another one.
    async fn tell(&self, (name, stream): (String, Stream)) {
        let (present, replaced) = oneshot::channel();
        // Whoever waits for the one before hears that it is dropped.
        drop(self.present.lock().await.insert(name.clone(), present));
        tokio::select! {
            () = self.tell_until_it_breaks(&name, stream) => {}
            _ = replaced => {}
        }
    }

    async fn tell_until_it_breaks(&self, name: &str, stream: Stream) {
        let Some(memory) = self.memories.get(name) else { return };
        let mut memory = memory.lock().await;
        let Shared { controller, mine, .. } = &self.shared;
        info!(peer = name, "the peer holds a copy of this node's flows");
        let status = |change: &dyn Fn(&mut TellerStatus)| self.shared.teller(name, change);
        let ended = teller::tell(stream, &mut memory, controller, mine, status).await;
        warn!(peer = name, reason = %ended, "the peer holds no copy any more");
        let text = ended.to_string();
        self.shared.teller(name, &|status| {
            (status.connected, status.trouble) = (false, Some(text.clone()));
        });
    }
}
