//! Nodes on a link with a clock: processes that die and stand still, kernels that go on without them, and a network that
//! loses, delays, repeats and separates.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use lb_vrrp::Moment;
use lb_vrrp::gate::Pass;
use lb_vrrp::machine::{Action, Event, Heard, Input, Machine, Options, Role, Standing};

#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeOptions {
    pub(crate) options: Options,
    pub(crate) priority: u8,
}

/// What may go wrong, or is done, with a node number each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incident {
    /// kill -9: the kernel keeps what it has.
    Kill(usize),
    /// SIGTERM.
    Terminate(usize),
    Restart(usize),
    /// SIGSTOP for so many percent of an interval.
    Stall(usize, u16),
    Priority(usize, u8),
    Fault(usize, bool),
    Gate(usize, Pass),
    HandOver(usize),
    Maintenance(usize, bool),
    /// Nodes whose bits are set are on one side, the others on the other.
    Partition(u8),
    /// So many percent of the adverts are lost.
    Loss(u8),
    /// Adverts cannot be sent, and the socket says so.
    Mute(usize, bool),
}

#[derive(Debug)]
struct Node {
    setup: NodeOptions,
    /// Nothing while the process does not run.
    machine: Option<Machine>,
    stalled_until: Option<Moment>,
    muted: bool,
    maintenance: bool,
    standing: Standing,
    received: VecDeque<Heard>,
    /// What the kernel was told: until when it answers.
    answers_until: Option<Moment>,
}

/// A stretch of time in which the same kernels answered, more than one.
#[derive(Clone, Debug)]
pub(crate) struct Overlap {
    pub(crate) from: Moment,
    pub(crate) to: Moment,
    pub(crate) nodes: Vec<usize>,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    interval: Duration,
    delay: Duration,
    nodes: Vec<Node>,
    random: u64,
    loss_percent: u8,
    side: u8,
    /// By time of arrival and a number that keeps them apart.
    under_way: BTreeMap<(Moment, u64), (usize, Heard)>,
    messages: u64,
    pub(crate) overlaps: Vec<Overlap>,
    pub(crate) events: Vec<(Moment, usize, Event)>,
}

pub(crate) fn address(node: usize) -> IpAddr {
    IpAddr::from([10, 9, 0, 11 + node as u8])
}

impl World {
    /// All start at once. An advert takes up to one part in `delay_parts` of an interval, and may be overtaken by others.
    pub(crate) fn new(setups: &[NodeOptions], seed: u64, delay_parts: u32) -> Self {
        let nodes = setups.iter().enumerate().map(|(number, setup)| Node {
            setup: *setup,
            machine: None,
            stalled_until: None,
            muted: false,
            maintenance: false,
            standing: Standing {
                priority: setup.priority,
                fault: false,
                gate: Pass::Open,
                primary: address(number),
            },
            received: VecDeque::new(),
            answers_until: None,
        });
        let mut world = Self {
            now: Moment::from_nanos(1_000_000_000),
            interval: setups[0].options.interval.duration(),
            delay: setups[0].options.interval.duration() / delay_parts,
            nodes: nodes.collect(),
            random: seed | 1,
            loss_percent: 0,
            side: 0,
            under_way: BTreeMap::new(),
            messages: 0,
            overlaps: Vec::new(),
            events: Vec::new(),
        };
        for node in 0..setups.len() {
            world.start(node);
        }
        world
    }

    /// No advert takes longer than this.
    pub(crate) const fn delay(&self) -> Duration {
        self.delay
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn role(&self, node: usize) -> Option<Role> {
        self.nodes[node].machine.as_ref().map(Machine::role)
    }

    pub(crate) fn priority(&self, node: usize) -> u8 {
        self.nodes[node].standing.priority
    }

    /// Whether it could go on as master.
    pub(crate) fn may_stay(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.machine.is_some() && !node.standing.fault && !node.maintenance && !node.muted
    }

    /// Whether it could become master as far as it depends on itself.
    pub(crate) fn is_eligible(&self, node: usize) -> bool {
        self.may_stay(node) && self.nodes[node].standing.gate != Pass::Closed
    }

    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.count()).filter(|node| self.role(*node) == Some(Role::Master)).collect()
    }

    /// The kernels that answer for the address at this moment.
    pub(crate) fn answering(&self) -> Vec<usize> {
        let answers = |node: &Node| node.answers_until.is_some_and(|until| self.now < until);
        (0..self.count()).filter(|node| answers(&self.nodes[*node])).collect()
    }

    pub(crate) fn same_side(&self, one: usize, other: usize) -> bool {
        (self.side >> one ^ self.side >> other) & 1 == 0
    }

    /// What is done to everything before looking at how it settles.
    pub(crate) fn heal(&mut self) {
        (self.loss_percent, self.side) = (0, 0);
        for node in 0..self.count() {
            self.nodes[node].muted = false;
            if self.nodes[node].stalled_until.is_some() {
                self.nodes[node].stalled_until = Some(self.now);
            }
        }
    }

    pub(crate) fn happen(&mut self, incident: Incident) {
        match incident {
            Incident::Kill(node) => {
                self.nodes[node].machine = None;
                self.nodes[node].stalled_until = None;
                self.nodes[node].received.clear();
            }
            Incident::Terminate(node) if self.nodes[node].stalled_until.is_none() => {
                self.input(node, Input::Stop);
                self.nodes[node].machine = None;
            }
            Incident::Restart(node) => self.start(node),
            Incident::Stall(node, percent) if self.nodes[node].machine.is_some() => {
                self.nodes[node].stalled_until = Some(self.now + self.interval * u32::from(percent) / 100);
            }
            Incident::Priority(node, priority) => {
                self.stand(node, Standing { priority, ..self.nodes[node].standing });
            }
            Incident::Fault(node, fault) => self.stand(node, Standing { fault, ..self.nodes[node].standing }),
            Incident::Gate(node, gate) => self.stand(node, Standing { gate, ..self.nodes[node].standing }),
            Incident::HandOver(node) if self.nodes[node].stalled_until.is_none() => {
                self.input(node, Input::HandOver);
            }
            Incident::Maintenance(node, on) if self.nodes[node].stalled_until.is_none() => {
                if self.nodes[node].machine.is_some() {
                    self.nodes[node].maintenance = on;
                    self.input(node, Input::Maintenance(on));
                }
            }
            Incident::Partition(side) => self.side = side,
            Incident::Loss(percent) => self.loss_percent = percent,
            Incident::Mute(node, muted) => self.nodes[node].muted = muted,
            Incident::Terminate(_)
            | Incident::Stall(..)
            | Incident::HandOver(_)
            | Incident::Maintenance(..) => {}
        }
    }

    /// Runs to `end`; after every step, what must always hold is looked at.
    pub(crate) fn run_to(&mut self, end: Moment) {
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.pass_time(next.max(self.now));
            self.deliver();
            for node in 0..self.count() {
                self.wake(node);
            }
        }
        self.pass_time(end.max(self.now));
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].machine.is_some() {
            return;
        }
        // A daemon that starts takes back what its predecessor left in the kernel.
        self.nodes[node].answers_until = None;
        self.nodes[node].maintenance = false;
        let standing = self.nodes[node].standing;
        self.nodes[node].machine = Some(Machine::new(self.nodes[node].setup.options, standing));
        self.input(node, Input::Start);
    }

    fn stand(&mut self, node: usize, standing: Standing) {
        self.nodes[node].standing = standing;
        if self.nodes[node].machine.is_some() && self.nodes[node].stalled_until.is_none() {
            self.input(node, Input::Standing(standing));
        }
    }

    fn next(&self) -> Option<Moment> {
        let arrival = self.under_way.keys().next().map(|(at, _)| *at);
        let nodes = self.nodes.iter().filter_map(|node| match (&node.machine, node.stalled_until) {
            (Some(_), Some(until)) => Some(until),
            (Some(machine), None) => machine.due(),
            (None, _) => None,
        });
        // The ends of leases, for what is measured.
        let leases =
            self.nodes.iter().filter_map(|node| node.answers_until).filter(|until| *until > self.now);
        nodes.chain(arrival).chain(leases).min()
    }

    fn pass_time(&mut self, to: Moment) {
        let nodes = self.answering();
        if nodes.len() > 1 && to > self.now {
            let now = self.now;
            match self.overlaps.last_mut() {
                Some(last) if last.to == now && last.nodes == nodes => last.to = to,
                _ => self.overlaps.push(Overlap { from: now, to, nodes }),
            }
        }
        self.now = to;
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, heard) = entry.remove();
            if self.nodes[to].machine.is_some() {
                self.nodes[to].received.push_back(heard);
            }
        }
    }

    /// What has been received comes before what is due: after a standstill, both wait.
    fn wake(&mut self, node: usize) {
        match self.nodes[node].stalled_until {
            Some(until) if until > self.now => return,
            Some(_) => {
                self.nodes[node].stalled_until = None;
                let standing = self.nodes[node].standing;
                self.input(node, Input::Standing(standing));
            }
            None => {}
        }
        while let Some(heard) = self.nodes[node].received.pop_front() {
            self.input(node, Input::Heard(heard));
        }
        let due = self.nodes[node].machine.as_ref().and_then(Machine::due);
        if due.is_some_and(|due| due <= self.now) {
            self.input(node, Input::Tick);
            let next = self.nodes[node].machine.as_ref().and_then(Machine::due);
            assert!(next.is_none_or(|next| next > self.now), "node {node}: a tick that leaves something due");
        }
    }

    fn input(&mut self, node: usize, input: Input) {
        let Some(machine) = &mut self.nodes[node].machine else { return };
        let actions = machine.on_input(input, self.now);
        let mut sent = true;
        for action in actions {
            match action {
                Action::Send { priority } => {
                    sent = !self.nodes[node].muted;
                    if sent {
                        self.send(node, priority);
                    }
                }
                Action::Own { until } if sent => {
                    self.nodes[node].answers_until = Some(until.unwrap_or(Moment::from_nanos(u64::MAX)));
                }
                Action::Release => self.nodes[node].answers_until = None,
                Action::Report(event) => self.events.push((self.now, node, event)),
                Action::Own { .. } | Action::Announce { .. } => {}
            }
        }
        if !sent {
            self.input(node, Input::NotSent);
        }
        let role = self.role(node);
        let owns = self.nodes[node].answers_until.is_some();
        assert!(
            !owns || role == Some(Role::Master),
            "node {node} has the address as {role:?} at {:?}",
            self.now
        );
    }

    fn send(&mut self, from: usize, priority: u8) {
        let heard =
            Heard { from: address(from), priority, interval: self.nodes[from].setup.options.interval };
        for to in (0..self.count()).filter(|to| *to != from) {
            if !self.same_side(from, to) || self.random(100) < u64::from(self.loss_percent) {
                continue;
            }
            let twice = self.random(20) == 0;
            for _ in 0..=u8::from(twice) {
                let delay = Duration::from_nanos(self.random(self.delay().as_nanos() as u64));
                self.messages += 1;
                self.under_way.insert((self.now + delay, self.messages), (to, heard));
            }
        }
    }

    /// Below `below`; xorshift64.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }
}
