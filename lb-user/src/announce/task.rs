//! The task: keeps plan and machines in step with what is wanted and with this host, does what they ask for, and reports.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::claim::{Action, Event, Presence};
use super::ears::{self, Ears};
use super::groups::{self, Groups};
use super::holding::{Holding, Situation};
use super::kernel::{self, KernelAddresses};
use super::plan::{self, Place, Plan, Port};
use super::socket::FrameSender;
use super::wire::{self, Heard, Says};
use super::{AddressReport, AnnounceError, Announcer, Wanted};
use crate::net::HostFacts;
use crate::state::Announce;

/// Starts the task that announces addresses, in the network namespace of the calling thread and inside a tokio runtime.
///
/// # Errors
/// When the kernel refuses a netlink socket.
pub fn spawn(facts: watch::Receiver<HostFacts>) -> Result<Announcer, AnnounceError> {
    let (wanted, wanted_receiver) = watch::channel(None);
    let (reports_sender, reports) = watch::channel(Vec::new());
    let task = Task {
        inputs: Inputs { facts, wanted: wanted_receiver },
        wanted: None,
        facts: HostFacts::default(),
        plan: Plan::new(),
        holdings: BTreeMap::new(),
        sender: None,
        kernel: KernelAddresses::open().map_err(AnnounceError::Netlink)?,
        ears: Ears::new(),
        groups: Groups::default(),
        reports: reports_sender,
    };
    tokio::spawn(task.run());
    Ok(Announcer { wanted, reports })
}

struct Inputs {
    facts: watch::Receiver<HostFacts>,
    wanted: watch::Receiver<Option<Wanted>>,
}

struct Task {
    inputs: Inputs,
    /// `None` until it is known what is wanted, and on which host.
    wanted: Option<Wanted>,
    facts: HostFacts,
    plan: Plan,
    holdings: BTreeMap<Place, Holding>,
    /// Opened when the first address is to be announced: who has none needs no right to do so.
    sender: Option<FrameSender>,
    kernel: KernelAddresses,
    ears: Ears,
    groups: Groups,
    reports: watch::Sender<Vec<AddressReport>>,
}

impl Task {
    /// Ends when nobody can want anything any more.
    async fn run(mut self) {
        let mut facts_live = true;
        loop {
            let due = self.holdings.values().filter_map(Holding::due).min();
            tokio::select! {
                changed = self.inputs.wanted.changed() => match changed {
                    Ok(()) => self.replan().await,
                    Err(_) => return,
                },
                changed = self.inputs.facts.changed(), if facts_live => match changed {
                    Ok(()) => self.replan().await,
                    Err(_) => facts_live = false,
                },
                // Most of what is said on a link is about other addresses.
                (ifindex, heard) = self.ears.hear() => if !self.hear(ifindex, heard).await { continue },
                () = until(due) => self.tick().await,
            }
            self.settle();
        }
    }

    /// Follows what is wanted, and this host.
    async fn replan(&mut self) {
        let wanted = self.inputs.wanted.borrow_and_update().clone();
        let facts = self.inputs.facts.borrow_and_update().clone();
        // Loopback is always there: no links means not looked at yet.
        let Some(wanted) = wanted.filter(|_| !facts.links.is_empty()) else { return };
        self.facts = facts;
        let next = plan::plan(&wanted, &self.facts);
        if self.wanted.replace(wanted).is_none() {
            self.sweep(&next).await;
        }
        let change = plan::compare(&self.plan, &next);
        self.plan = next;
        for place in change.withdrawn {
            self.withdraw(&place).await;
        }
        for place in change.announced {
            self.holdings.insert(place.clone(), Holding::new(place.mode));
        }
        self.open_sender();
        let places: Vec<Place> = self.holdings.keys().cloned().collect();
        for place in places {
            self.follow(&place).await;
        }
    }

    /// Removes what a daemon before this one gave to the kernel and nobody wants any more.
    async fn sweep(&mut self, plan: &Plan) {
        let Some(wanted) = &self.wanted else { return };
        let interfaces = plan::concerned(wanted, &self.facts);
        for (ifindex, address) in kernel::leftovers(&self.facts, &interfaces, plan, &wanted.elected) {
            let removed = self.kernel.remove(ifindex, address, &self.facts).await;
            told_of_removal(address, &self.name(ifindex), removed);
        }
    }

    async fn withdraw(&mut self, place: &Place) {
        self.holdings.remove(place);
        info!(address = %place.address, interface = place.interface, "address not announced any more");
        if place.mode == Announce::Address {
            self.remove(place).await;
        }
    }

    /// Tells a holding what is new for it.
    async fn follow(&mut self, place: &Place) {
        let port = plan::port(&place.interface, &self.facts).map_err(|reason| reason.to_string());
        let situation = Situation {
            kernel: port
                .as_ref()
                .map_or(Presence::Absent, |port| kernel::presence(port.ifindex, place.address, &self.facts)),
            port: match &self.sender {
                Some(_) => port,
                None => Err("packet sockets are not allowed; the daemon needs CAP_NET_RAW".to_owned()),
            },
        };
        let Some(holding) = self.holdings.get_mut(place) else { return };
        for event in holding.update(situation) {
            self.step(place, event).await;
        }
    }

    /// Takes in what another host says, and says whether it concerns an address here.
    async fn hear(&mut self, ifindex: u32, heard: Heard) -> bool {
        let first = Place { address: heard.address, interface: String::new(), mode: Announce::default() };
        let of_address = self.holdings.range(first..).take_while(|(place, _)| place.address == heard.address);
        let concerned = of_address.filter(|(_, holding)| {
            let port = holding.port().filter(|port| port.ifindex == ifindex);
            port.is_some_and(|port| match heard.what {
                Says::Holds => true,
                // Of two that ask at the same time, the lower MAC address may have it; by RFC 5227 2.1.1 nobody
                // would, and two balancers would ask in step for ever.
                Says::Asks => holding.is_probing() && heard.mac < port.mac,
            })
        });
        let places: Vec<Place> = concerned.map(|(place, _)| place.clone()).collect();
        if places.is_empty() || self.facts.links.values().any(|link| link.mac == Some(heard.mac)) {
            return false;
        }
        for place in places {
            self.step(&place, Event::Heard(heard.mac)).await;
            let Some(holding) = self.holdings.get_mut(&place) else { continue };
            for action in holding.on_claim(&place, heard.mac, Instant::now()) {
                self.act(&place, action).await;
            }
        }
        true
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        let due = self.holdings.iter().filter(|(_, holding)| holding.due().is_some_and(|due| due <= now));
        let places: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        for place in places {
            self.step(&place, Event::Tick).await;
        }
    }

    /// One event, and what follows from it at once.
    async fn step(&mut self, place: &Place, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(holding) = self.holdings.get_mut(place) else { return };
            for action in holding.on_event(place, event, Instant::now()) {
                events.extend(self.act(place, action).await);
            }
        }
    }

    async fn act(&mut self, place: &Place, action: Action) -> Option<Event> {
        let port = self.holdings.get(place)?.port();
        match (action, port) {
            (Action::Remove, _) => {
                self.remove(place).await;
                None
            }
            (Action::Probe, Some(port)) => {
                self.listen(place, port);
                self.send(place, port, &wire::probe(place.address, port.mac));
                None
            }
            (Action::Announce | Action::Defend, Some(port)) => {
                self.listen(place, port);
                let frames = wire::announcements(place.address, port.mac);
                let sent = frames.iter().filter(|frame| self.send(place, port, frame)).count();
                if sent == frames.len() {
                    self.holdings.get_mut(place)?.announced(SystemTime::now());
                }
                None
            }
            (Action::Add, Some(port)) => self.add(place, port).await,
            (_, None) => None,
        }
    }

    fn listen(&mut self, place: &Place, port: Port) {
        if let Err(error) = self.ears.open(port, place.address) {
            warn!(address = %place.address, interface = place.interface, %error, "cannot hear whether other hosts have an address");
        }
    }

    fn send(&self, place: &Place, port: Port, frame: &[u8]) -> bool {
        let Some(sender) = &self.sender else { return false };
        let sent = sender.send(port, frame);
        if let Err(error) = &sent {
            debug!(address = %place.address, interface = place.interface, %error, "frame not sent");
        }
        sent.is_ok()
    }

    async fn add(&mut self, place: &Place, port: Port) -> Option<Event> {
        let prefix_len = if place.address.is_ipv4() { 32 } else { 128 };
        let result = self.kernel.add(port.ifindex, &place.interface, place.address, prefix_len, true);
        match result.await {
            // One that was there already is no news from netlink.
            Ok(()) => match self.holdings.get(place)?.kernel() {
                Presence::Absent => None,
                known => Some(Event::Kernel(known)),
            },
            Err(error) => Some(Event::Refused(format!("the kernel refuses the address: {error}"))),
        }
    }

    async fn remove(&mut self, place: &Place) {
        if let Some((ifindex, _)) = self.facts.link(&place.interface) {
            let removed = self.kernel.remove(ifindex, place.address, &self.facts).await;
            told_of_removal(place.address, &place.interface, removed);
        }
    }

    fn open_sender(&mut self) {
        if self.sender.is_none() && !self.holdings.is_empty() {
            self.sender = FrameSender::open()
                .inspect_err(|error| error!(%error, "cannot announce addresses without a packet socket"))
                .ok();
        }
    }

    fn name(&self, ifindex: u32) -> String {
        self.facts.links.get(&ifindex).map_or_else(|| format!("number {ifindex}"), |link| link.name.clone())
    }

    /// Ears, groups and reports follow the holdings.
    fn settle(&mut self) {
        let holdings = &self.holdings;
        self.ears.close_all_but(|ear| {
            let listening = holdings.iter().filter(|(_, holding)| holding.listens());
            listening
                .filter_map(|(place, holding)| Some(ears::ear(holding.port()?, place.address)))
                .any(|needed| needed == *ear)
        });
        let answered = holdings.iter().filter(|(place, _)| place.mode == Announce::Arp);
        let groups = answered.filter_map(|(place, holding)| match place.address {
            IpAddr::V6(address) => Some(groups::membership(&place.interface, holding.port()?, address)),
            IpAddr::V4(_) => None,
        });
        self.groups.set(groups.collect());
        let reports = self.report();
        self.reports.send_if_modified(|known| {
            let changed = *known != reports;
            *known = reports;
            changed
        });
    }

    fn report(&self) -> Vec<AddressReport> {
        let wanted = self.wanted.iter().flat_map(|wanted| &wanted.addresses);
        let mut reports: BTreeMap<IpAddr, AddressReport> = wanted
            .map(|(address, desired)| {
                let report = AddressReport { address: *address, mode: desired.announce, places: Vec::new() };
                (*address, report)
            })
            .collect();
        for (place, holding) in &self.holdings {
            if let Some(report) = reports.get_mut(&place.address) {
                report.places.push(holding.report(&place.interface));
            }
        }
        reports.into_values().collect()
    }
}

fn told_of_removal(address: IpAddr, interface: &str, removed: io::Result<bool>) {
    match removed {
        Ok(true) => info!(%address, interface, "address removed from the kernel"),
        Ok(false) => {}
        Err(error) => error!(
            %address, interface, %error,
            "the kernel keeps an address that is not wanted any more; remove it with `ip address del`"
        ),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
