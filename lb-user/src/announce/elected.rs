//! Addresses that an election decides about: given to the kernel, announced and taken back when the election says so, in the order
//! in which it does, and by no schedule of this module's own.
//!
//! ```text
//! the thread of the elections ── Order ──> task ──> kernel: addresses · groups: multicast · frames
//!                             <── News ───      <── ears: who else claims an address · facts: what is gone
//! ```
//!
//! The task belongs on the runtime of the elections, so that it waits for nobody else.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::AnnounceError;
use super::claim::Presence;
use super::ears::{self, Ears};
use super::groups::{self, Groups};
use super::kernel::{self, KernelAddresses};
use super::plan::{self, Port};
use super::socket::FrameSender;
use super::virtual_link;
use super::wire::{self, Says};
use crate::net::HostFacts;
use crate::state::{Announce, MacAddress};

/// When what the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// An address, and where the link is to find it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elected {
    pub address: IpAddr,
    /// With [`Announce::Address`], in the kernel.
    pub prefix_len: u8,
    /// [`Announce::Arp`] or [`Announce::Address`].
    pub announce: Announce,
    pub interface: String,
    /// Where it is, if not at the interface's own MAC address.
    pub mac: Option<MacAddress>,
}

/// What the election says. Orders are carried out one after the other.
#[derive(Clone, Debug)]
pub enum Order {
    /// Take from the kernel what an earlier daemon gave it of these.
    TakeBack(BTreeSet<IpAddr>),
    Take(Vec<Elected>),
    Release(Vec<IpAddr>),
    /// Those of these that are taken, so many times each.
    Announce {
        addresses: Vec<IpAddr>,
        rounds: u8,
    },
}

/// What the election hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// What an earlier daemon left is taken back, as far as the kernel lets go of it. With the addresses that this host has
    /// still, since others gave them to it.
    TakenBack { kept: BTreeSet<IpAddr> },
    /// The same of addresses that were released.
    Released { addresses: Vec<IpAddr>, kept: BTreeSet<IpAddr> },
    /// Another host answers for an address that is taken here.
    Claimed { address: IpAddr, by: MacAddress },
}

/// The task's two ends. The task ends when `orders` is dropped, after the last order, and then `news` is closed.
#[derive(Debug)]
pub struct Hands {
    pub orders: mpsc::UnboundedSender<Order>,
    pub news: mpsc::UnboundedReceiver<News>,
}

/// Starts the task, in the network namespace of the calling thread and inside its runtime.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn spawn(facts: watch::Receiver<HostFacts>) -> Result<Hands, AnnounceError> {
    let (orders, ordered) = mpsc::unbounded_channel();
    let (sender, news) = mpsc::unbounded_channel();
    let task = Task {
        facts,
        taken: BTreeMap::new(),
        links: BTreeSet::new(),
        retry: None,
        kernel: KernelAddresses::open().map_err(AnnounceError::Netlink)?,
        sender: None,
        ears: Ears::new(),
        groups: Groups::default(),
        news: sender,
    };
    tokio::spawn(task.run(ordered));
    Ok(Hands { orders, news })
}

struct Task {
    facts: watch::Receiver<HostFacts>,
    taken: BTreeMap<IpAddr, Elected>,
    /// Interfaces that were made: by the number of the one below and their MAC address.
    links: BTreeSet<(u32, MacAddress)>,
    /// When the kernel is asked again for what it lacks.
    retry: Option<Instant>,
    kernel: KernelAddresses,
    /// Opened with the first address: who has none needs no right to do so.
    sender: Option<FrameSender>,
    ears: Ears,
    groups: Groups,
    news: mpsc::UnboundedSender<News>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let retry = self.retry;
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.carry_out(order).await,
                    None => return,
                },
                Ok(()) = self.facts.changed() => self.mend().await,
                () = until(retry) => self.mend().await,
                (ifindex, heard) = self.ears.hear() => self.hear(ifindex, heard),
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::TakeBack(addresses) => {
                for address in &addresses {
                    self.remove_everywhere(*address).await;
                }
                let links = virtual_link::leftovers(&self.facts.borrow());
                for link in links {
                    self.remove_link(&link).await;
                }
                self.tell(News::TakenBack { kept: self.kept(addresses.iter()) });
            }
            Order::Take(addresses) => {
                self.open_sender();
                for one in addresses {
                    self.taken.insert(one.address, one.clone());
                    self.give(&one).await;
                }
                self.settle();
            }
            Order::Release(addresses) => {
                for address in &addresses {
                    if let Some(one) = self.taken.remove(address)
                        && one.announce == Announce::Address
                    {
                        self.remove_everywhere(*address).await;
                    }
                }
                self.remove_links().await;
                self.settle();
                let kept = self.kept(addresses.iter());
                self.tell(News::Released { addresses, kept });
            }
            Order::Announce { addresses, rounds } => self.announce(&addresses, rounds).await,
        }
    }

    /// Gives an address to the kernel, if that is to have it.
    async fn give(&mut self, one: &Elected) {
        let Elected { address, prefix_len, interface, .. } = one;
        let ifindex = self.facts.borrow().link(interface).map(|(ifindex, _)| ifindex);
        // Without the interface there is nothing to be done, and nothing to be retried: it comes back as a new fact.
        let Some(mut ifindex) = ifindex else { return };
        if let Some(mac) = one.mac {
            self.links.insert((ifindex, mac));
            ifindex = match virtual_link::make(self.kernel.handle(), ifindex, interface, mac).await {
                Ok(ifindex) => ifindex,
                Err(error) => {
                    error!(%mac, interface, %error, "no interface at a virtual MAC address; it is tried again");
                    self.retry = Some(Instant::now() + RETRY);
                    return;
                }
            };
        }
        if one.announce != Announce::Address {
            return;
        }
        if let Err(error) = self.kernel.add(ifindex, interface, *address, *prefix_len, false).await {
            error!(%address, interface, %error, "the kernel does not take a virtual router's address; it is tried again");
            self.retry = Some(Instant::now() + RETRY);
        }
    }

    /// The kernel may have refused an address, or somebody taken it away, or the interface is another one.
    async fn mend(&mut self) {
        self.retry = None;
        let facts = self.facts.borrow_and_update().clone();
        let lacking = |one: &&Elected| {
            let Ok(port) = plan::port(&one.interface, &facts) else { return false };
            let link = match one.mac {
                Some(mac) => facts.link(&virtual_link::name(port.ifindex, mac)).map(|(ifindex, _)| ifindex),
                None => Some(port.ifindex),
            };
            let is_absent = |link| kernel::presence(link, one.address, &facts) == Presence::Absent;
            link.is_none_or(|link| one.announce == Announce::Address && is_absent(link))
        };
        let lacking: Vec<Elected> = self.taken.values().filter(lacking).cloned().collect();
        for one in lacking {
            self.give(&one).await;
        }
        self.settle();
    }

    /// Not to hold up what else runs on this thread, others have their turn after each address.
    async fn announce(&mut self, addresses: &[IpAddr], rounds: u8) {
        let frames: Vec<(String, Port, IpAddr, Vec<Vec<u8>>)> = {
            let facts = self.facts.borrow();
            let taken = addresses.iter().filter_map(|address| self.taken.get(address));
            let ports = taken.filter_map(|one| Some((one, plan::port(&one.interface, &facts).ok()?)));
            ports
                .map(|(one, port)| {
                    let frames = wire::announcements(one.address, one.mac.unwrap_or(port.mac));
                    (one.interface.clone(), port, one.address, frames)
                })
                .collect()
        };
        for _ in 0..rounds {
            for (interface, port, address, frames) in &frames {
                for frame in frames {
                    let Some(sender) = &self.sender else { return };
                    if let Err(error) = sender.send(*port, frame) {
                        debug!(%address, interface, %error, "announcement not sent");
                    }
                }
                yield_now().await;
            }
        }
    }

    fn hear(&self, ifindex: u32, heard: wire::Heard) {
        let facts = self.facts.borrow();
        let is_concerned = self.taken.get(&heard.address).is_some_and(|one| {
            one.mac != Some(heard.mac) && facts.link(&one.interface).is_some_and(|(own, _)| own == ifindex)
        });
        let is_own = facts.links.values().any(|link| link.mac == Some(heard.mac));
        if heard.what == Says::Holds && is_concerned && !is_own {
            self.tell(News::Claimed { address: heard.address, by: heard.mac });
        }
    }

    /// Interfaces at virtual MAC addresses that nothing is at any more.
    async fn remove_links(&mut self) {
        let facts = self.facts.borrow().clone();
        let virtual_ones = self.taken.values().filter_map(|one| Some((&one.interface, one.mac?)));
        let needed: BTreeSet<(u32, MacAddress)> = virtual_ones
            .filter_map(|(interface, mac)| facts.link(interface).map(|(parent, _)| (parent, mac)))
            .collect();
        let gone: Vec<(u32, MacAddress)> = self.links.difference(&needed).copied().collect();
        for (parent, mac) in gone {
            self.links.remove(&(parent, mac));
            self.remove_link(&virtual_link::name(parent, mac)).await;
        }
    }

    async fn remove_link(&self, name: &str) {
        if let Err(error) = virtual_link::remove(self.kernel.handle(), name).await {
            error!(interface = name, %error, "the interface at a virtual MAC address stays; remove it with `ip link del`");
        }
    }

    /// Takes from the kernel what is marked as ferrolev's.
    async fn remove_everywhere(&mut self, address: IpAddr) {
        let facts = self.facts.borrow().clone();
        for (ifindex, link) in &facts.links {
            match self.kernel.remove(*ifindex, address, &facts).await {
                Ok(true) => info!(%address, interface = link.name, "address removed from the kernel"),
                Ok(false) => {}
                Err(error) => error!(
                    %address, interface = link.name, %error,
                    "the kernel keeps an address that is another node's; remove it with `ip address del`"
                ),
            }
        }
    }

    /// Those that the host has although ferrolev did not give them to it.
    fn kept<'a>(&self, addresses: impl Iterator<Item = &'a IpAddr>) -> BTreeSet<IpAddr> {
        let facts = self.facts.borrow();
        let others = facts.addresses.values().filter(|fact| !kernel::is_ours(fact)).map(|fact| fact.address);
        let others: BTreeSet<IpAddr> = others.collect();
        addresses.filter(|address| others.contains(address)).copied().collect()
    }

    fn open_sender(&mut self) {
        if self.sender.is_none() {
            self.sender = FrameSender::open()
                .inspect_err(|error| error!(%error, "cannot announce addresses without a packet socket"))
                .ok();
        }
    }

    /// Ears and groups follow what is taken.
    fn settle(&mut self) {
        let facts = self.facts.borrow().clone();
        let ports: Vec<(&Elected, Port)> = self
            .taken
            .values()
            .filter_map(|one| Some((one, plan::port(&one.interface, &facts).ok()?)))
            .collect();
        let needed: BTreeSet<ears::Ear> =
            ports.iter().map(|(one, port)| ears::ear(*port, one.address)).collect();
        self.ears.close_all_but(|ear| needed.contains(ear));
        for (one, port) in &ports {
            if let Err(error) = self.ears.open(*port, one.address) {
                warn!(address = %one.address, interface = one.interface, %error, "cannot hear whether other hosts have an address");
            }
        }
        let answered = ports.iter().filter(|(one, _)| one.announce == Announce::Arp);
        let groups = answered.filter_map(|(one, port)| match one.address {
            IpAddr::V6(address) => Some(groups::membership(&one.interface, *port, address)),
            IpAddr::V4(_) => None,
        });
        self.groups.set(groups.collect());
    }

    fn tell(&self, news: News) {
        // Nobody listens any more: the elections are over.
        let _ = self.news.send(news);
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
