//! A balancer's and a peer's network namespace with a veth pair between them, and a resolver inside the balancer's.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_user::net::Resolver;
use lb_user::state::{MacAddress, NextHop, NextHops, Unresolved};

/// How long a test waits for what must come before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says whether namespace tests can run. Skipping is a failure in CI.
pub(crate) fn can_run() -> bool {
    // SAFETY: takes nothing and cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "namespace tests need root, and CI must run them"
        );
        eprintln!("skipped: network namespaces need root");
    }
    root
}

/// A network namespace that goes away with its value.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    fn new(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("fl{}-{number}-{role}", std::process::id());
        command(&["ip", "netns", "add", &name]);
        let namespace = Self { name };
        namespace.set("ipv6/conf/all/accept_dad", "0");
        namespace.set("ipv6/conf/default/accept_dad", "0");
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `ip` with these words inside.
    pub(crate) fn ip(&self, words: &str) -> String {
        let mut line = vec!["ip", "-n", &self.name];
        line.extend(words.split_whitespace());
        command(&line)
    }

    /// Like [`Self::ip`], for what a kernel may lack.
    pub(crate) fn try_ip(&self, words: &str) -> bool {
        Command::new("ip")
            .args(["-n", &self.name])
            .args(words.split_whitespace())
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Writes a setting under `/proc/sys/net`.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.inside(move || {
            std::fs::write(format!("/proc/sys/net/{key}"), value).expect("write the setting")
        });
    }

    /// The MAC address of an interface inside.
    pub(crate) fn mac(&self, interface: &str) -> MacAddress {
        let text = self.ip(&format!("-j link show dev {interface}"));
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip speaks JSON");
        parse_mac(links[0]["address"].as_str().expect("an address"))
    }

    /// The IPv6 link-local address of an interface inside.
    pub(crate) fn link_local(&self, interface: &str) -> IpAddr {
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let text = self.ip(&format!("-j -6 addr show dev {interface} scope link"));
            let links: serde_json::Value = serde_json::from_str(&text).expect("ip speaks JSON");
            // Entries of other scopes are there as empty objects.
            let entries = links[0]["addr_info"].as_array().into_iter().flatten();
            if let Some(local) = entries.filter_map(|entry| entry["local"].as_str()).next() {
                return local.parse().expect("an address");
            }
            // The kernel gives it a moment after the link is up.
            assert!(std::time::Instant::now() < end, "{interface} has no link-local address");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `work` on a thread that lives inside.
    pub(crate) fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        inside(&self.name, work)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "del", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the network namespace {}", self.name);
        }
    }
}

/// `lb0` (192.0.2.1/24, 2001:db8::1/64) in `balancer`, `peer0` (192.0.2.2/24, 2001:db8::2/64) in `peer`.
pub(crate) struct World {
    pub(crate) balancer: Namespace,
    pub(crate) peer: Namespace,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { balancer: Namespace::new("lb"), peer: Namespace::new("peer") };
        let Self { balancer, peer } = &world;
        balancer.ip(&format!("link add lb0 type veth peer name peer0 netns {}", peer.name));
        for (namespace, interface, host) in [(balancer, "lb0", 1), (peer, "peer0", 2)] {
            // Quick neighbour discovery: three questions, 50 ms apart; changes of address are believed at once.
            for family in ["ipv4", "ipv6"] {
                let settings = format!("{family}/neigh/{interface}");
                namespace.set(&format!("{settings}/retrans_time_ms"), "50");
                namespace.set(&format!("{settings}/locktime"), "0");
            }
            namespace.ip(&format!("addr add 192.0.2.{host}/24 dev {interface}"));
            namespace.ip(&format!("addr add 2001:db8::{host}/64 dev {interface} nodad"));
            namespace.ip(&format!("link set {interface} up"));
        }
        world
    }

    /// Runs a resolver for `wanted` inside the balancer's namespace, and `steps` beside it.
    pub(crate) fn resolve(
        self,
        wanted: &[&str],
        steps: impl AsyncFnOnce(&Self, &mut Watched) + Send + 'static,
    ) {
        let wanted: BTreeSet<IpAddr> = wanted.iter().map(|address| ip(address)).collect();
        let namespace = self.balancer.name.clone();
        inside(&namespace, move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let resolver = lb_user::net::spawn().expect("a resolver");
                resolver.wanted.send_replace(wanted);
                steps(&self, &mut Watched { resolver }).await;
            });
        });
    }
}

/// A running resolver.
pub(crate) struct Watched {
    resolver: Resolver,
}

impl Watched {
    /// Replaces the wanted addresses.
    pub(crate) fn want(&self, wanted: &[&str]) {
        self.resolver.wanted.send_replace(wanted.iter().map(|address| ip(address)).collect());
    }

    /// Waits until the next hop of `address` is one that `expected` says yes to.
    pub(crate) async fn until_found(
        &mut self,
        address: &str,
        expected: impl Fn(&NextHop) -> bool,
    ) -> NextHop {
        let hops = self.until(|hops| matches!(hops.get(&ip(address)), Some(Ok(hop)) if expected(hop))).await;
        hops[&ip(address)].clone().expect("just checked")
    }

    /// Waits until there is no next hop for `address`, for exactly this reason.
    pub(crate) async fn until_missing(&mut self, address: &str, reason: Unresolved) {
        self.until(|hops| hops.get(&ip(address)) == Some(&Err(reason.clone()))).await;
    }

    /// Waits until `expected` says yes to what is published.
    pub(crate) async fn until(&mut self, expected: impl Fn(&NextHops) -> bool) -> NextHops {
        let found = {
            let wait = self.resolver.hops.wait_for(|hops| expected(hops));
            tokio::time::timeout(PATIENCE, wait).await.map(|hops| hops.expect("the resolver lives").clone())
        };
        found.unwrap_or_else(|_| panic!("not in time; the resolver says {:#?}", *self.resolver.hops.borrow()))
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn inside<T: Send + 'static>(namespace: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).expect("open the namespace");
    let thread = std::thread::spawn(move || {
        // SAFETY: the descriptor is open and names a network namespace; only this thread moves.
        let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        work()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn parse_mac(text: &str) -> MacAddress {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    MacAddress(bytes.try_into().expect("six bytes"))
}

fn command(line: &[&str]) -> String {
    let output = Command::new(line[0]).args(&line[1..]).output().expect("start the command");
    assert!(output.status.success(), "{}: {}", line.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
