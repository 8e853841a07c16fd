//! All virtual routers of this host: what is wanted of them, what is known of the host, and their machines. Every method takes
//! an event in and carries out what follows from it at once; none waits.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lb_vrrp::Moment;
use lb_vrrp::gate::{Gate, Pass};
use lb_vrrp::group::Group;
use lb_vrrp::machine::{Input, Machine, Role, Standing};
use lb_vrrp::wire::Rejects;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::external::External;
use super::member::Member;
use super::place::place;
use super::sockets::Sockets;
use super::tracked::{Readings, evaluation};
use super::{Fence, Host, Notice, Router, Status, Wanted, clock};
use crate::announce::elected::{News, Order as HandOrder};
use crate::net::HostFacts;

pub(super) struct Node {
    pub(super) wanted: Wanted,
    /// All that elections are about.
    pub(super) elected: BTreeSet<IpAddr>,
    /// Those of them that are answered for here.
    pub(super) leased: BTreeSet<IpAddr>,
    pub(super) host: Host,
    pub(super) facts: HostFacts,
    pub(super) readings: Readings,
    gate: Option<Gate>,
    pass: Pass,
    /// By name: sync groups, and routers that are in none.
    pub(super) groups: BTreeMap<String, Running>,
    pub(super) external: BTreeMap<String, External>,
    /// Groups and routers under maintenance.
    pub(super) maintenance: BTreeSet<String>,
    pub(super) sockets: Sockets,
    pub(super) fence: Box<dyn Fence>,
    pub(super) hands: mpsc::UnboundedSender<HandOrder>,
    pub(super) tell: Box<dyn Fn(Notice) + Send>,
    pub(super) strays: Rejects,
    /// What an earlier daemon left is taken back.
    started: bool,
    pub(super) news: Change,
}

/// Whether there is something to show that was not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    #[default]
    Nothing,
    /// Counters, times.
    Detail,
    /// Roles.
    Important,
}

/// A sync group, or a router that is in none.
#[derive(Debug)]
pub(super) struct Running {
    /// The name of the sync group.
    pub(super) group: Option<String>,
    pub(super) members: Vec<Member>,
    pub(super) machines: Group,
}

impl Node {
    pub(super) fn new(
        facts: HostFacts,
        host: Host,
        fence: Box<dyn Fence>,
        hands: mpsc::UnboundedSender<HandOrder>,
        tell: Box<dyn Fn(Notice) + Send>,
    ) -> Self {
        Self {
            wanted: Wanted::default(),
            elected: BTreeSet::new(),
            leased: BTreeSet::new(),
            host,
            facts,
            readings: Readings::new(),
            gate: None,
            pass: Pass::Closed,
            groups: BTreeMap::new(),
            external: BTreeMap::new(),
            maintenance: BTreeSet::new(),
            sockets: Sockets::default(),
            fence,
            hands,
            tell,
            strays: Rejects::default(),
            started: false,
            news: Change::Nothing,
        }
    }

    /// When [`Self::tick`] is due.
    pub(super) fn due(&self, now: Moment) -> Option<Moment> {
        let machines = self.groups.values().filter_map(|running| running.machines.due());
        let gate = self.gate.as_ref().and_then(|gate| gate.due(now));
        let external = self.external.values().filter_map(External::due);
        machines.chain(gate).chain(external).min()
    }

    /// `now` was read before all that has been received was taken in.
    pub(super) fn tick(&mut self, now: Moment) {
        if !self.started {
            return;
        }
        if self.ask_gate(now) {
            self.restand();
        }
        let due = |running: &&Running| running.machines.due().is_some_and(|due| due <= now);
        let names: Vec<String> =
            self.groups.iter().filter(|(_, running)| due(running)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.on_all(&name, Input::Tick, now);
        }
        self.tick_external(now);
    }

    /// Replaces all that is wanted. What did not change goes on as it is.
    pub(super) fn set_wanted(&mut self, wanted: Wanted) {
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.elected = self.wanted.elected();
        self.leased = self.wanted.leased();
        let first = self.gate.is_none();
        let limit = self.wanted.gate_limit;
        self.gate.get_or_insert_with(|| Gate::new(limit, clock::now()));
        let groups = groups(&self.wanted);
        let gone: Vec<String> = self
            .groups
            .iter()
            .filter(|(name, running)| !running.goes_on(groups.get(*name)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.on_all(&name, Input::Stop, clock::now());
            self.groups.remove(&name);
            info!(name, "virtual routers end, or begin anew");
        }
        for (name, new) in groups {
            if self.groups.contains_key(&name) {
                self.update(&name, new);
            } else {
                self.add(name, new);
            }
        }
        self.set_external();
        if first {
            self.take_back();
            return;
        }
        for address in before.leased().difference(&self.leased.clone()) {
            if !self.is_taken(*address) {
                self.fence_off(*address, |fence, address| fence.forget(address));
            }
        }
        self.restand();
    }

    pub(super) fn set_host(&mut self, host: Host) {
        self.host = host;
        self.restand();
    }

    pub(super) fn set_facts(&mut self, facts: HostFacts) {
        self.facts = facts;
        self.restand();
        self.follow_external();
    }

    pub(super) fn set_reading(&mut self, name: String, reading: lb_vrrp::track::Reading) {
        self.readings.insert(name, reading);
        self.restand();
    }

    /// What the hands have done or heard.
    pub(super) fn on_news(&mut self, news: News) {
        match news {
            News::TakenBack { kept } => {
                for address in self.fence.addresses().union(&self.leased).copied().collect::<Vec<_>>() {
                    self.after_release(address, kept.contains(&address));
                }
                self.start();
            }
            News::Released { addresses, kept } => {
                for address in addresses {
                    self.after_release(address, kept.contains(&address));
                }
            }
            News::Claimed { address, by } => self.claimed(address, by),
        }
    }

    /// Leaves, with adverts of priority 0, and lets go of all addresses.
    pub(super) fn stop(&mut self) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            self.on_all(&name, Input::Stop, clock::now());
        }
        self.release_external();
    }

    pub(super) fn status(&self, now: Moment) -> Status {
        let members = self.groups.values().flat_map(|running| {
            let machines = running.machines.members();
            running.members.iter().zip(machines).map(move |(member, machine)| (running, member, machine))
        });
        Status {
            routers: members
                .map(|(running, member, machine)| {
                    (member.name.clone(), member.status(machine, running.group.as_deref(), now))
                })
                .collect(),
            external: self.external.iter().map(|(name, one)| (name.clone(), one.status())).collect(),
            readiness: self.host.readiness,
            gate: self.pass,
            strays: self.strays.iter().filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// What an earlier daemon left is not this one's before it is elected. Until the kernel has let go, nothing is answered.
    fn take_back(&mut self) {
        let all: BTreeSet<IpAddr> = self.fence.addresses().union(&self.leased).copied().collect();
        for address in &all {
            self.fence_off(*address, |fence, address| fence.lapse(address));
        }
        self.order(HandOrder::TakeBack(all));
    }

    fn start(&mut self) {
        self.started = true;
        self.restand();
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            self.on_all(&name, Input::Start, clock::now());
        }
        self.follow_external();
    }

    fn add(&mut self, name: String, new: Wanting) {
        let members: Vec<Member> = new
            .routers
            .into_iter()
            .map(|(name, router)| {
                let evaluation = evaluation(&router, &self.wanted, &self.host, &self.facts, &self.readings);
                Member::new(name, router, evaluation)
            })
            .collect();
        let machine =
            |member: &Member| Machine::new(Member::options(&member.router), member.standing(Pass::Closed));
        let machines = Group::new(members.iter().map(machine).collect());
        let group = new.is_group.then(|| name.clone());
        self.groups.insert(name.clone(), Running { group, members, machines });
        if self.maintenance.contains(&name) {
            self.on_all(&name, Input::Maintenance(true), clock::now());
        }
        if self.started {
            self.restand();
            self.on_all(&name, Input::Start, clock::now());
        }
    }

    /// Changes with which the machines go on.
    fn update(&mut self, name: &str, new: Wanting) {
        let Some(mut running) = self.groups.remove(name) else { return };
        let mut options = Vec::new();
        for (number, (_, router)) in new.routers.into_iter().enumerate() {
            let member = &mut running.members[number];
            if member.router == router {
                continue;
            }
            let before = member.elected();
            if Member::options(&member.router) != Member::options(&router) {
                options.push((number, Member::options(&router)));
            }
            member.follow(router);
            let after = member.elected();
            if !member.taken || before == after {
                continue;
            }
            let gone = before.iter().filter(|one| !after.contains(one)).map(|one| one.address);
            self.release(gone.collect());
            let machine = &running.machines.members()[number];
            let until = machine.options().fencing.then(|| machine.lease()).flatten();
            self.own(&running.members[number], until);
            self.take(&running.members[number]);
            let rounds = running.members[number].router.announce.repeat;
            self.announce(&running.members[number], rounds);
        }
        self.groups.insert(name.to_owned(), running);
        for (number, options) in options {
            self.on_input(name, number, Input::Options(options), clock::now());
        }
    }

    /// Follows what is known of this host: where adverts come from, tracking, the gate.
    pub(super) fn restand(&mut self) {
        let routers = self.groups.values().flat_map(|running| &running.members).map(|member| &member.router);
        let routers: Vec<&Router> = routers.collect();
        let broken = self.sockets.follow(&routers, &self.facts);
        self.ask_gate(clock::now());
        let pass = self.pass;
        let mut news: Vec<(String, usize, Standing)> = Vec::new();
        for (name, running) in &mut self.groups {
            for (number, member) in running.members.iter_mut().enumerate() {
                let router = &member.router;
                member.evaluation = evaluation(router, &self.wanted, &self.host, &self.facts, &self.readings);
                let socket = (router.interface.clone(), router.is_ipv6());
                let place = match broken.get(&socket) {
                    Some(error) => Err(error.clone()),
                    None => place(router, &self.elected, &self.facts).map_err(|reason| reason.to_string()),
                };
                let trouble = member.trouble.clone();
                member.settle(place, &self.facts);
                if let Some(reason) =
                    member.trouble.as_ref().filter(|reason| trouble.as_ref() != Some(*reason))
                {
                    warn!(router = member.name, reason, "virtual router cannot take part");
                }
                let standing = member.standing(pass);
                if member.stands.replace(standing) != Some(standing) {
                    news.push((name.clone(), number, standing));
                }
            }
        }
        for (name, number, standing) in news {
            self.on_input(&name, number, Input::Standing(standing), clock::now());
            self.changed(Change::Detail);
        }
    }

    /// Whether the gate's answer is another one than before.
    fn ask_gate(&mut self, now: Moment) -> bool {
        let pass = self.gate.as_mut().map_or(Pass::Closed, |gate| gate.pass(self.host.readiness, now));
        std::mem::replace(&mut self.pass, pass) != pass
    }

    pub(super) fn is_taken(&self, address: IpAddr) -> bool {
        let of_routers =
            self.groups.values().flat_map(|running| &running.members).filter(|member| member.taken);
        of_routers.flat_map(Member::owned).any(|owned| owned == address)
            || self.external.values().any(|external| external.owns(address))
    }

    pub(super) const fn is_started(&self) -> bool {
        self.started
    }

    pub(super) const fn changed(&mut self, change: Change) {
        if (change as u8) > (self.news as u8) {
            self.news = change;
        }
    }
}

impl Running {
    /// Whether its machines can go on with what is wanted of it now.
    fn goes_on(&self, wanted: Option<&Wanting>) -> bool {
        let same = |member: &Member, (name, router): &(String, Router)| {
            let before = &member.router;
            let identity = |router: &Router| {
                (router.interface.clone(), router.vrid, router.version, router.is_ipv6(), router.virtual_mac)
            };
            member.name == *name && identity(before) == identity(router)
        };
        wanted.is_some_and(|wanted| {
            self.group.is_some() == wanted.is_group
                && self.members.len() == wanted.routers.len()
                && self.members.iter().zip(&wanted.routers).all(|(member, router)| same(member, router))
        })
    }

    pub(super) fn role(&self) -> Role {
        self.machines.members().first().map(Machine::role).unwrap_or_default()
    }
}

/// What is wanted of a sync group, or of a router that is in none.
struct Wanting {
    is_group: bool,
    routers: Vec<(String, Router)>,
}

fn groups(wanted: &Wanted) -> BTreeMap<String, Wanting> {
    let router = |name: &String| Some((name.clone(), wanted.routers.get(name)?.clone()));
    let groups = wanted.groups.iter().map(|(name, members)| {
        let routers = members.iter().filter_map(router).collect();
        (name.clone(), Wanting { is_group: true, routers })
    });
    let grouped: BTreeSet<&String> = wanted.groups.values().flatten().collect();
    let alone = wanted.routers.iter().filter(|(name, _)| !grouped.contains(name)).map(|(name, router)| {
        (name.clone(), Wanting { is_group: false, routers: vec![(name.clone(), router.clone())] })
    });
    groups.chain(alone).collect()
}

/// How long the status may lag behind.
pub(super) const STATUS_PAUSE: Duration = Duration::from_millis(100);
