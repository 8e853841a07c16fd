use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::Method;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::harness::{FILE, FakeDataplane, FakeNet, played_announcer, played_facts, send_to};
use crate::announce::Announcer;
use crate::config::ConfigError;
use crate::controller::SocketError;
use crate::controller::daemon::{Edges, Order, daemon};
use crate::controller::options::RunOptions;
use crate::dataplane::Dataplane;
use crate::vrrp::Vrrp;

struct Daemon {
    dataplane: FakeDataplane,
    announcer: Announcer,
    detached: Arc<AtomicBool>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<anyhow::Result<()>>,
}

fn options(directory: &Path) -> RunOptions {
    RunOptions {
        config: directory.join("ferrolev.toml"),
        instance: "test".parse().unwrap(),
        bpffs: "/nowhere".into(),
        state_dir: directory.join("state"),
        socket: directory.join("run/api.sock"),
        xdp_mode: None,
        detach_on_exit: false,
    }
}

fn start(options: RunOptions) -> Daemon {
    let (orders, receiver) = mpsc::channel(1);
    let dataplane = FakeDataplane::default();
    let detached = Arc::new(AtomicBool::new(false));
    let announcer = played_announcer();
    let announces = announcer.clone();
    let (mut opened, taken_off) = (dataplane.clone(), Arc::clone(&detached));
    let task = tokio::spawn(async move {
        let edges = Edges {
            resolver: || Ok(FakeNet::start().1),
            facts: || Ok(played_facts()),
            announcer: |_| Ok(announces),
            elections: |_: &Path, _| Ok((Vrrp::idle(), None)),
            open: |options: &_, forwarding: &_| opened.reopen(options, forwarding).map(|_| opened),
            detach: |_| {
                taken_off.store(true, Ordering::Relaxed);
                Ok(())
            },
        };
        daemon(&options, edges, receiver).await
    });
    Daemon { dataplane, announcer, detached, orders, task }
}

impl Daemon {
    async fn ready(&self, socket: &Path) {
        while tokio::net::UnixStream::connect(socket).await.is_err() {
            assert!(!self.task.is_finished(), "it ended early");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn announced(announcer: &Announcer) -> Vec<String> {
    let wanted = announcer.wanted.borrow();
    wanted.as_ref().unwrap().addresses.keys().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_ring_already_knows_the_next_hops() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ferrolev.toml"), FILE).unwrap();
    let options = options(directory.path());
    let running = start(options.clone());
    running.ready(&options.socket).await;
    {
        let kernel = running.dataplane.kernel();
        assert_eq!(kernel.applies, 1);
        let forwarding = kernel.forwarding.as_ref().unwrap();
        assert!(forwarding.vips.values().all(|vip| vip.shares().iter().all(|slots| *slots > 0)));
    }
    running.orders.send(Order::End).await.unwrap();
    running.task.await.unwrap().unwrap();
    assert!(!running.detached.load(Ordering::Relaxed), "the kernel forwards on");
    assert_eq!(announced(&running.announcer), ["203.0.113.10"], "addresses stay");
    assert!(!options.socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_detaches_only_when_told_to() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ferrolev.toml"), FILE).unwrap();
    let options = RunOptions { detach_on_exit: true, ..options(directory.path()) };
    let running = start(options.clone());
    running.ready(&options.socket).await;
    running.orders.send(Order::End).await.unwrap();
    running.task.await.unwrap().unwrap();
    assert!(running.detached.load(Ordering::Relaxed));
    assert_eq!(announced(&running.announcer), Vec::<String>::new(), "addresses are taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_of_an_instance_is_refused_and_the_first_stays_reachable() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ferrolev.toml"), FILE).unwrap();
    let options = options(directory.path());
    let first = start(options.clone());
    first.ready(&options.socket).await;
    let error = start(options.clone()).task.await.unwrap().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(SocketError::Taken(_))), "{error:#}");
    let elsewhere = RunOptions { socket: directory.path().join("other.sock"), ..options.clone() };
    let error = start(elsewhere).task.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another ferrolev runs this instance"), "{error:#}");
    let (status, _) = send_to(&options.socket, Method::GET, "/v1/status", "").await;
    assert_eq!(status, 200);
    first.orders.send(Order::End).await.unwrap();
    first.task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_reload_reads_the_file_anew() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ferrolev.toml");
    std::fs::write(&file, FILE).unwrap();
    let options = options(directory.path());
    let running = start(options.clone());
    running.ready(&options.socket).await;
    std::fs::write(&file, FILE.replace("\"web-2\", \"web-3\"", "\"web-3\"")).unwrap();
    running.orders.send(Order::Reload).await.unwrap();
    // The queue holds one order, so this one is sent when the reload has been taken up.
    running.orders.send(Order::End).await.unwrap();
    running.task.await.unwrap().unwrap();
    let kernel = running.dataplane.kernel();
    let web = &kernel.forwarding.as_ref().unwrap().vips[&"203.0.113.10:80/tcp".parse().unwrap()];
    assert_eq!(web.dests.keys().collect::<Vec<_>>(), ["web-1", "web-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_file_is_told_apart_and_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ferrolev.toml"), "nonsense").unwrap();
    let running = start(options(directory.path()));
    let error = running.task.await.unwrap().unwrap_err();
    assert!(error.downcast_ref::<ConfigError>().is_some(), "{error:#}");
    assert_eq!(running.dataplane.kernel().applies, 0);
}
