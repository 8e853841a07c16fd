//! The daemon from its first line to its last: what it takes hold of, in which order, and how it lets go.
//!
//! Everything that can fail without a trace comes before the dataplane is touched, and the dataplane is filled before
//! the API answers. When the daemon ends the kernel goes on forwarding, unless it was told to detach.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

use super::elections::OtherNodes;
use super::engine::Engine;
use super::handle::ControllerHandle;
use super::options::RunOptions;
use super::service::notify;
use super::setup::{LoadConfig, Setup};
use super::socket::SocketLock;
use super::task::{self, ANSWER_WAIT, all_answered};
use crate::announce::{self, Announcer};
use crate::api::{serve_metrics, serve_socket};
use crate::config::Config;
use crate::dataplane::bpf::{self, BpfDataplane};
use crate::dataplane::{Dataplane, DataplaneError, Leases, OpenOptions, found};
use crate::hooks::{Hooks, Place, events_of};
use crate::net::{HostFacts, Links, Resolver};
use crate::peers::{self, identity_file};
use crate::state::{Forwarding, NextHops, Store};
use crate::tunnel_probes;
use crate::vrrp::{self, Leaving, Notice, Vrrp};

/// How long hooks may take to tell what they still have to when the daemon ends.
const LAST_CALLS: Duration = Duration::from_secs(5);
/// How long requests under way may take to finish when the daemon ends.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; an invalid configuration is a [`crate::config::ConfigError`] in the chain.
pub fn run(options: RunOptions) -> anyhow::Result<()> {
    let kernel = Edges {
        resolver: || Ok(crate::net::spawn()?),
        facts: || Ok(crate::net::watch_facts()?),
        announcer: |facts| Ok(announce::spawn(facts)?),
        elections: |pins: &Path, tell| {
            let (vrrp, leaving) = vrrp::spawn(Box::new(Leases::open(pins)?), tell)
                .context("cannot start the thread of virtual routers")?;
            Ok((vrrp, Some(leaving)))
        },
        open: bpf::open,
        detach: BpfDataplane::detach,
    };
    run_with(&options, kernel)
}

/// Hears of what happens to virtual routers.
pub type Tell = Box<dyn Fn(Notice) + Send>;

/// The daemon's ways to the kernel; tests have their own.
#[derive(Debug)]
pub struct Edges<R, F, A, V, O, X> {
    /// Starts the resolver; called within the runtime.
    pub resolver: R,
    /// Starts what follows this host's links and addresses; called within the runtime.
    pub facts: F,
    /// Starts what announces addresses; called within the runtime.
    pub announcer: A,
    /// Starts the elections of virtual routers, for the instance pinned there; tells of what happens to them.
    pub elections: V,
    /// Opens the dataplane, filled.
    pub open: O,
    /// Takes the program off, for `--detach-on-exit`.
    pub detach: X,
}

/// As [`run`], with other ways to the kernel.
///
/// # Errors
/// As [`run`].
pub fn run_with<D, R, F, A, V, O, X>(
    options: &RunOptions,
    edges: Edges<R, F, A, V, O, X>,
) -> anyhow::Result<()>
where
    D: Dataplane + 'static,
    R: FnOnce() -> anyhow::Result<Resolver>,
    F: FnOnce() -> anyhow::Result<watch::Receiver<HostFacts>>,
    A: FnOnce(watch::Receiver<HostFacts>) -> anyhow::Result<Announcer>,
    V: FnOnce(&Path, Tell) -> anyhow::Result<(Vrrp, Option<Leaving>)>,
    O: FnOnce(&OpenOptions, &Forwarding) -> Result<D, DataplaneError>,
    X: FnOnce(D) -> Result<(), DataplaneError>,
{
    start_tracing();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async { daemon(options, edges, orders()?).await })
}

pub(super) async fn daemon<D, R, F, A, V, O, X>(
    options: &RunOptions,
    edges: Edges<R, F, A, V, O, X>,
    mut orders: mpsc::Receiver<Order>,
) -> anyhow::Result<()>
where
    D: Dataplane + 'static,
    R: FnOnce() -> anyhow::Result<Resolver>,
    F: FnOnce() -> anyhow::Result<watch::Receiver<HostFacts>>,
    A: FnOnce(watch::Receiver<HostFacts>) -> anyhow::Result<Announcer>,
    V: FnOnce(&Path, Tell) -> anyhow::Result<(Vrrp, Option<Leaving>)>,
    O: FnOnce(&OpenOptions, &Forwarding) -> Result<D, DataplaneError>,
    X: FnOnce(D) -> Result<(), DataplaneError>,
{
    let mut lock = SocketLock::acquire(&options.socket)?;
    let config = Config::load(&options.config)?;
    let place = Place { host: host_name(), instance: options.instance.to_string() };
    let hooks = Hooks::start(place).context("cannot start the thread that calls hooks")?;
    let metrics_listen = config.metrics_listen;
    let mut setup = Setup {
        instance: options.instance.to_string(),
        pin_dir: options.pin_dir(),
        xdp_mode: options.xdp_mode,
        load: load_from(options),
        store: Store::open(&options.database())?,
        found: found(&options.pin_dir()),
        config,
        links: Links::new(),
        hooks: hooks.clone(),
    };
    let metrics_listener = match metrics_listen {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on metrics_listen = \"{address}\""))?,
        ),
        None => None,
    };
    let mut resolver = (edges.resolver)()?;
    let mut facts = (edges.facts)()?;
    let announcer = (edges.announcer)(facts.clone())?;
    setup.links = first_links(&mut facts).await;
    let wanted = setup.wanted()?;
    resolver.wanted.send_replace(wanted.clone());
    let hops = first_answers(&mut resolver, &wanted).await;
    let engine = block_in_place(|| Engine::start(setup, hops, edges.open))?;
    let listener = lock.bind()?;
    let tunnels = tunnel_probes::spawn(options.instance.to_string());
    let checker = crate::health::spawn(engine.known(), tunnels.ways.clone())
        .context("cannot start the thread that checks backends")?;
    let told = hooks.clone();
    let tell = Box::new(move |notice| events_of(&notice).for_each(|event| told.tell(event)));
    let (vrrp, elections) = (edges.elections)(&options.pin_dir(), tell)?;
    let (peers, copying) = peers::prepare();
    let mine = peers::mine(&vrrp, announcer.wanted.subscribe());
    let (controller, task) = task::spawn(
        engine,
        resolver,
        announcer.clone(),
        facts,
        checker,
        tunnels.wanted.clone(),
        OtherNodes { vrrp, peers },
    );
    let identity = identity_file(&options.state_dir, options.instance.as_str());
    copying.spawn(identity, controller.clone(), mine);
    let servers = Servers::start(listener, metrics_listener, &controller);
    info!(
        instance = options.instance.as_str(),
        socket = %options.socket.display(),
        "ready"
    );
    notify("READY=1");
    let ended = until_ended(&controller, &task, &mut orders).await;
    notify("STOPPING=1");
    // First of all: whoever takes over waits for nothing else.
    if let Some(elections) = elections {
        elections.leave().await;
    }
    servers.stop().await;
    controller.stop().await;
    let engine = task.await.context("the controller broke down; please report this")?;
    tunnels.stop().await;
    hooks.stop(LAST_CALLS).await;
    drop(lock);
    ended?;
    if options.detach_on_exit {
        announcer.withdraw().await;
        (edges.detach)(engine.into_dataplane()).context("cannot take the program off")?;
        info!("detached; nothing is forwarded any more");
    } else {
        info!("ends; the kernel goes on forwarding");
    }
    Ok(())
}

/// This host's name; empty when it has none.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name == "(none)" { String::new() } else { name.to_owned() }
}

fn load_from(options: &RunOptions) -> LoadConfig {
    let path = options.config.clone();
    Arc::new(move || Config::load(&path).map_err(|error| error.to_string()))
}

/// Waits, within bounds, until it is known what links there are, so that the program can answer from its first packet on.
async fn first_links(facts: &mut watch::Receiver<HostFacts>) -> Links {
    // Loopback is always there: no links means not looked at yet.
    let known = facts.wait_for(|facts| !facts.links.is_empty());
    match timeout(ANSWER_WAIT, known).await {
        Ok(Ok(facts)) => facts.links.clone(),
        Ok(Err(_)) | Err(_) => {
            warn!(
                "starting without knowing this host's interfaces; neighbours are answered when they are known"
            );
            Links::new()
        }
    }
}

/// Waits, within bounds, until all next hops are known, so that the first ring is not emptier than the one which the
/// kernel may still be using.
async fn first_answers(resolver: &mut Resolver, wanted: &BTreeSet<IpAddr>) -> NextHops {
    let deadline = Instant::now() + ANSWER_WAIT;
    loop {
        let hops = resolver.hops.borrow_and_update().clone();
        if all_answered(&hops, wanted) {
            return hops;
        }
        match timeout_at(deadline, resolver.hops.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                let open = wanted.iter().filter(|address| !hops.get(*address).is_some_and(Result::is_ok));
                let open: Vec<String> = open.map(ToString::to_string).collect();
                warn!(backends = open.join(" "), "starting without the next hops of some backends");
                return hops;
            }
        }
    }
}

/// Does what is ordered until that is to end, or the controller has broken down.
async fn until_ended<T>(
    controller: &ControllerHandle,
    task: &JoinHandle<T>,
    orders: &mut mpsc::Receiver<Order>,
) -> anyhow::Result<()> {
    let mut alive = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Reload) => {
                    notify(&reloading());
                    // The outcome is logged and shown in the status.
                    let _ = controller.reload(false).await;
                    notify("READY=1");
                }
                Some(Order::End) | None => return Ok(()),
            },
            _ = alive.tick() => anyhow::ensure!(!task.is_finished(), "the controller broke down; please report this"),
        }
    }
}

/// systemd wants to know since when, to tell this reload from an older one.
fn reloading() -> String {
    use nix::time::{ClockId, clock_gettime};
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(now) => {
            let since_boot = Duration::from(now);
            format!("RELOADING=1\nMONOTONIC_USEC={}", since_boot.as_micros())
        }
        Err(_) => "RELOADING=1".to_owned(),
    }
}

/// What signals ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Reload,
    End,
}

/// SIGHUP, SIGTERM and SIGINT as orders.
fn orders() -> anyhow::Result<mpsc::Receiver<Order>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut hangup = listen(SignalKind::hangup())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (sender, orders) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let order = tokio::select! {
                Some(()) = hangup.recv() => Order::Reload,
                Some(()) = terminate.recv() => Order::End,
                Some(()) = interrupt.recv() => Order::End,
                else => return,
            };
            if sender.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(orders)
}

struct Servers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Servers {
    fn start(
        socket: tokio::net::UnixListener,
        metrics: Option<TcpListener>,
        controller: &ControllerHandle,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let api = serve_socket(socket, controller.clone(), until_set(stopped.clone()));
        let mut tasks = vec![tokio::spawn(logged("API", api))];
        if let Some(listener) = metrics {
            let metrics = serve_metrics(listener, controller.clone(), until_set(stopped));
            tasks.push(tokio::spawn(logged("metrics", metrics)));
        }
        Self { stop, tasks }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        for mut task in self.tasks {
            if timeout(LAST_REQUESTS, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

async fn until_set(mut flag: watch::Receiver<bool>) {
    // A dropped sender means the same.
    let _ = flag.wait_for(|set| *set).await;
}

async fn logged(what: &'static str, server: impl Future<Output = std::io::Result<()>>) {
    if let Err(reason) = server.await {
        error!(what, error = %reason, "server ended");
    }
}

/// Logs to stderr; plain and without times when systemd's journal adds its own.
pub(crate) fn start_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Whoever has set a subscriber before keeps it.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        format.without_time().try_init()
    } else {
        format.try_init()
    };
}
