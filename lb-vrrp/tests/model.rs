//! Every course that a small configuration can take, step by step of a quarter interval: at each step each node runs,
//! stands still, dies, or comes back, in either order, and what it sends arrives in the same step, in the next one, or never.
//! States that are reached twice are followed once. A violated rule is printed with the choices that lead to it.
//!
//! The priorities 192, 128 and 64 make skews of one, two and three steps in version 3, so all timers end with a step.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use lb_vrrp::Moment;
use lb_vrrp::announce::Schedule;
use lb_vrrp::gate::Pass;
use lb_vrrp::machine::{Action, Heard, Input, Machine, Options, Preempt, Role, Standing};
use lb_vrrp::wire::{Interval, Version};

const INTERVAL: Interval = Interval::from_centiseconds(100).unwrap();
const STEP: Duration = Duration::from_millis(250);
/// Steps that an advert takes at most.
const DELAY: u32 = 1;
/// An advert is heeded for three intervals.
const LEASE: u32 = 12;
/// By then the first master is found.
const FIRST: u32 = LEASE + 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    machine: Option<Machine>,
    answers_until: Option<Moment>,
    /// With the step in which it arrives.
    inbox: Vec<(u32, Heard)>,
    /// The step in which it became master last.
    took_over: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    nodes: Vec<Node>,
    /// So often may a node still die, and a step's adverts be lost.
    deaths: u8,
    losses: u8,
    /// So many steps in a row have two kernels answered.
    together: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Runs, and what it sends arrives at once, a step later, or not at all.
    Run,
    RunSlow,
    RunLost,
    StandStill,
    Die,
    ComeBack,
}

struct Trace {
    choices: Vec<Choice>,
    backwards: bool,
    before: Option<Rc<Trace>>,
}

#[derive(Clone, Copy)]
struct Configuration {
    priorities: &'static [u8],
    preempt: Preempt,
    /// Whether adverts may take a step.
    slow: bool,
    deaths: u8,
    losses: u8,
    steps: u32,
}

fn at(step: u32) -> Moment {
    Moment::default() + STEP * step
}

fn address(node: usize) -> IpAddr {
    IpAddr::from([10, 9, 0, 11 + node as u8])
}

impl Configuration {
    fn machine(&self, node: usize) -> Machine {
        let options = Options {
            version: Version::V3,
            interval: INTERVAL,
            preempt: self.preempt,
            fencing: true,
            virtual_mac: false,
            // Without announcements there are fewer states, and the same elections.
            announce: Schedule { delay: Duration::ZERO, ..Schedule::default() },
        };
        let primary = address(node);
        let standing = Standing { priority: self.priorities[node], fault: false, gate: Pass::Open, primary };
        Machine::new(options, standing)
    }

    /// All have started and run until one is master: nothing can go wrong before that.
    fn initial(&self) -> State {
        let node = |number| Node {
            machine: Some(self.machine(number)),
            answers_until: None,
            inbox: Vec::new(),
            took_over: 0,
        };
        let nodes = (0..self.priorities.len()).map(node).collect();
        let mut state = State { nodes, deaths: self.deaths, losses: self.losses, together: 0 };
        for node in 0..self.priorities.len() {
            state.input(node, Input::Start, 0, Some(0));
        }
        for step in 1..=FIRST {
            state.step(self, &vec![Choice::Run; self.priorities.len()], false, step);
        }
        assert_eq!(state.masters().len(), 1);
        state
    }

    /// Follows all courses and hands each state to `check`, which says what is wrong with it. The number of states, or the
    /// way to the first wrong one.
    fn explore(&self, check: impl Fn(&State, u32) -> Result<(), String>) -> Result<usize, String> {
        let mut layer: HashMap<State, Option<Rc<Trace>>> = HashMap::from([(self.initial(), None)]);
        let mut states = 0;
        for step in FIRST + 1..=FIRST + self.steps {
            let mut next: HashMap<State, Option<Rc<Trace>>> = HashMap::new();
            for (state, before) in layer {
                for choices in state.choices(self.slow) {
                    // Who stands still does not care about the order.
                    let moving = choices.iter().filter(|choice| **choice != Choice::StandStill).count();
                    for backwards in [false, true].into_iter().take(moving.clamp(1, 2)) {
                        let mut after = state.clone();
                        after.step(self, &choices, backwards, step);
                        if next.contains_key(&after) {
                            continue;
                        }
                        let trace = Trace { choices: choices.clone(), backwards, before: before.clone() };
                        if let Err(wrong) = check(&after, step) {
                            return Err(format!("step {step}: {wrong}\n{}", trace.tell()));
                        }
                        next.insert(after, Some(Rc::new(trace)));
                    }
                }
            }
            states += next.len();
            layer = next;
        }
        Ok(states)
    }
}

impl Trace {
    fn tell(&self) -> String {
        let before = self.before.as_ref().map(|before| before.tell()).unwrap_or_default();
        format!("{before}{:?}{}\n", self.choices, if self.backwards { ", the last one first" } else { "" })
    }
}

impl State {
    /// All combinations of what each node can do.
    fn choices(&self, slow: bool) -> Vec<Vec<Choice>> {
        let mut all = vec![Vec::new()];
        for node in &self.nodes {
            let mut own = vec![Choice::StandStill];
            if node.machine.is_none() {
                own.push(Choice::ComeBack);
            } else {
                own.push(Choice::Run);
                if slow {
                    own.push(Choice::RunSlow);
                }
                if self.losses > 0 {
                    own.push(Choice::RunLost);
                }
                if self.deaths > 0 {
                    own.push(Choice::Die);
                }
            }
            all = all
                .iter()
                .flat_map(|before| own.iter().map(|one| [before.as_slice(), &[*one]].concat()))
                .collect();
        }
        all
    }

    fn step(&mut self, configuration: &Configuration, choices: &[Choice], backwards: bool, step: u32) {
        let mut order: Vec<usize> = (0..choices.len()).collect();
        if backwards {
            order.reverse();
        }
        for node in order {
            match choices[node] {
                Choice::StandStill => {}
                Choice::Run => self.run(node, step, Some(0)),
                Choice::RunSlow => self.run(node, step, Some(1)),
                Choice::RunLost if self.losses > 0 => {
                    self.losses -= 1;
                    self.run(node, step, None);
                }
                Choice::Die if self.deaths > 0 => {
                    self.deaths -= 1;
                    self.nodes[node].machine = None;
                    self.nodes[node].inbox.clear();
                }
                Choice::RunLost | Choice::Die => {}
                Choice::ComeBack => {
                    self.nodes[node].machine = Some(configuration.machine(node));
                    self.nodes[node].answers_until = None;
                    self.input(node, Input::Start, step, Some(0));
                }
            }
        }
        let two = self.answering(step).len() > 1;
        self.together = if two { self.together + 1 } else { 0 };
    }

    fn run(&mut self, node: usize, step: u32, delay: Option<u32>) {
        let (arrived, later) =
            std::mem::take(&mut self.nodes[node].inbox).into_iter().partition(|(at, _)| *at <= step);
        self.nodes[node].inbox = later;
        let arrived: Vec<(u32, Heard)> = arrived;
        for (_, heard) in arrived {
            self.input(node, Input::Heard(heard), step, delay);
        }
        let due = self.nodes[node].machine.as_ref().and_then(Machine::due);
        if due.is_some_and(|due| due <= at(step)) {
            self.input(node, Input::Tick, step, delay);
        }
    }

    fn input(&mut self, node: usize, input: Input, step: u32, delay: Option<u32>) {
        let Some(machine) = &mut self.nodes[node].machine else { return };
        let before = machine.role();
        let actions = machine.on_input(input, at(step));
        let after = machine.role();
        if before != Role::Master && after == Role::Master {
            self.nodes[node].took_over = step;
        }
        for action in actions {
            match action {
                Action::Send { priority } => {
                    let heard = Heard { from: address(node), priority, interval: INTERVAL };
                    let others = self.nodes.iter_mut().enumerate().filter(|(other, _)| *other != node);
                    for (_, other) in others.filter(|(_, other)| other.machine.is_some()) {
                        other.inbox.extend(delay.map(|delay| (step + delay, heard)));
                    }
                }
                Action::Own { until } => self.nodes[node].answers_until = until,
                Action::Release => self.nodes[node].answers_until = None,
                Action::Announce { .. } | Action::Report(_) => {}
            }
        }
    }

    /// From this step to the next one.
    fn answering(&self, step: u32) -> Vec<usize> {
        let answers = |node: &Node| node.answers_until.is_some_and(|until| at(step) < until);
        (0..self.nodes.len()).filter(|node| answers(&self.nodes[*node])).collect()
    }

    /// Those that answer have become master within the time of an advert.
    fn took_over_together(&self, step: u32) -> bool {
        let takeovers: Vec<u32> =
            self.answering(step).into_iter().map(|node| self.nodes[node].took_over).collect();
        takeovers.iter().max().unwrap() - takeovers.iter().min().unwrap() <= DELAY
    }

    /// What becomes of it when everything is well from now on.
    fn settles(&self, configuration: &Configuration, step: u32) -> Result<(), String> {
        let mut state = self.clone();
        let well: Vec<Choice> = vec![Choice::Run; state.nodes.len()];
        let back: Vec<Choice> = state
            .nodes
            .iter()
            .map(|node| if node.machine.is_some() { Choice::Run } else { Choice::ComeBack })
            .collect();
        state.step(configuration, &back, false, step + 1);
        // A whole mastership to be found dead, and another to be preempted.
        for later in 2..=2 * (LEASE + 4) {
            state.step(configuration, &well, false, step + later);
        }
        for later in 0..8 {
            let step = step + 2 * (LEASE + 4) + 1 + later;
            state.step(configuration, &well, false, step);
            let masters = state.masters();
            if masters.len() != 1 || state.answering(step) != masters {
                return Err(format!(
                    "it does not settle: masters {masters:?}, answering {:?}",
                    state.answering(step)
                ));
            }
        }
        Ok(())
    }

    fn masters(&self) -> Vec<usize> {
        let leads = |node: &usize| {
            self.nodes[*node].machine.as_ref().is_some_and(|machine| machine.role() == Role::Master)
        };
        (0..self.nodes.len()).filter(leads).collect()
    }
}

/// Whoever takes over only from the dead: at no moment do two kernels answer, unless two took over in the same moment; then
/// for no longer than a lease.
fn fenced(state: &State, step: u32) -> Result<(), String> {
    if state.together == 0 || state.took_over_together(step) && state.together <= LEASE {
        Ok(())
    } else {
        Err(format!("{:?} answer", state.answering(step)))
    }
}

/// Every state of a search passes, and there were many.
fn holds(configuration: &Configuration, check: impl Fn(&State, u32) -> Result<(), String>) {
    match configuration.explore(check) {
        Ok(states) => assert!(states > 2_000, "only {states} states"),
        Err(way) => panic!("{way}"),
    }
}

#[test]
fn no_death_or_standstill_makes_two_of_two_nodes_answer() {
    for priorities in [&[192, 128], &[128, 192], &[128, 128]] {
        holds(
            &Configuration {
                priorities,
                preempt: Preempt::Never,
                slow: true,
                deaths: 1,
                losses: 0,
                steps: 20,
            },
            fenced,
        );
    }
}

#[test]
fn no_death_or_standstill_makes_two_of_three_nodes_answer() {
    let priorities = &[192, 128, 64];
    holds(
        &Configuration { priorities, preempt: Preempt::Never, slow: false, deaths: 0, losses: 0, steps: 15 },
        fenced,
    );
}

/// Who takes over from the living, or has not heard the master, can answer beside it for as long as that one's lease.
#[test]
fn with_preemption_and_lost_adverts_two_answer_for_no_longer_than_a_lease() {
    let priorities = &[128, 192];
    let configuration =
        Configuration { priorities, preempt: Preempt::Now, slow: true, deaths: 1, losses: 1, steps: 15 };
    holds(&configuration, |state, _| {
        let bounded = state.together <= LEASE + DELAY;
        if bounded { Ok(()) } else { Err(format!("two answered for {} steps", state.together)) }
    });
}

#[test]
fn from_every_state_the_nodes_settle_on_one_master() {
    let priorities = &[192, 128];
    for preempt in [Preempt::Now, Preempt::Never] {
        let configuration =
            Configuration { priorities, preempt, slow: true, deaths: 1, losses: 1, steps: 12 };
        holds(&configuration, |state, step| state.settles(&configuration, step));
    }
}

/// The check of the check: kernels that answer without end are found out.
#[test]
fn without_leases_the_same_search_finds_two_that_answer() {
    let priorities = &[192, 128];
    let configuration =
        Configuration { priorities, preempt: Preempt::Never, slow: true, deaths: 1, losses: 0, steps: 18 };
    let way = configuration.explore(|state, _| {
        let endless = state.nodes.iter().filter(|node| node.answers_until.is_some());
        let together = state.nodes[0].took_over.abs_diff(state.nodes[1].took_over) <= DELAY;
        if endless.count() < 2 || together { Ok(()) } else { Err("two answer".to_owned()) }
    });
    assert!(way.is_err());
}
