//! Sync groups: virtual routers that have one role, always. Decides how what happens to one of them moves the others.
//!
//! - A fault, a closed gate or maintenance of one is all members'.
//! - When one becomes master, all do.
//! - When one steps down, all do. Two nodes may each have lost another member to the other one; whoever lost the first
//!   member waits its skew longer, and listens to the other one.
//!
//! Members should have one priority, so that no two of them want different nodes. A group of one member is that member.

use crate::Moment;
use crate::gate::Pass;
use crate::machine::{Action, Input, Machine, Order, Role, Standing};

/// Members in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    members: Vec<Machine>,
    /// What is known of each by itself.
    standings: Vec<Standing>,
}

impl Group {
    #[must_use]
    pub fn new(members: Vec<Machine>) -> Self {
        let standings = members.iter().map(|member| *member.standing()).collect();
        Self { members, standings }
    }

    #[must_use]
    pub fn members(&self) -> &[Machine] {
        &self.members
    }

    /// When a tick is due.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.members.iter().filter_map(Machine::due).min()
    }

    /// What concerns one member: adverts, standings, options, claims, and adverts that could not be sent. All else is for all
    /// of them. Each action comes with its member.
    pub fn on_input(&mut self, member: usize, input: Input, now: Moment) -> Vec<(usize, Action)> {
        let mut actions = Vec::new();
        match input {
            _ if member >= self.members.len() => return actions,
            Input::Standing(standing) => {
                self.standings[member] = standing;
                self.stand(now, &mut actions);
            }
            Input::Heard(_) | Input::Claimed | Input::NotSent | Input::Options(_) => {
                self.step(member, input, now, &mut actions);
            }
            _ => return self.on_all(input, now),
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Commands, start, stop, and time.
    pub fn on_all(&mut self, input: Input, now: Moment) -> Vec<(usize, Action)> {
        let mut actions = Vec::new();
        for member in 0..self.members.len() {
            self.step(member, input, now, &mut actions);
        }
        self.settle(now, &mut actions);
        actions
    }

    /// What holds for one holds for all, but priority and address.
    fn stand(&mut self, now: Moment, actions: &mut Vec<(usize, Action)>) {
        let fault = self.standings.iter().any(|standing| standing.fault);
        let gate = self.standings.iter().map(|standing| standing.gate).min().unwrap_or(Pass::Closed);
        for member in 0..self.members.len() {
            let standing = Standing { fault, gate, ..self.standings[member] };
            if *self.members[member].standing() != standing {
                self.step(member, Input::Standing(standing), now, actions);
            }
        }
    }

    fn step(&mut self, member: usize, input: Input, now: Moment, actions: &mut Vec<(usize, Action)>) {
        let before = self.members[member].role();
        let done = self.members[member].on_input(input, now);
        let after = self.members[member].role();
        actions.extend(done.into_iter().map(|action| (member, action)));
        let order = match (before, after) {
            (Role::Init | Role::Backup | Role::Fault, Role::Master) => Order::Lead,
            (Role::Master, Role::Backup) => Order::Follow { longer: member == 0 && self.members.len() > 1 },
            _ => return,
        };
        for other in 0..self.members.len() {
            self.order(other, order, now, actions);
        }
    }

    /// Members that were not ready when the first one became master: what all are told comes to one after the other.
    fn settle(&mut self, now: Moment, actions: &mut Vec<(usize, Action)>) {
        if self.members.iter().any(|member| member.role() == Role::Master) {
            for member in 0..self.members.len() {
                self.order(member, Order::Lead, now, actions);
            }
        }
    }

    fn order(&mut self, member: usize, order: Order, now: Moment, actions: &mut Vec<(usize, Action)>) {
        let done = self.members[member].on_input(Input::Group(order), now);
        actions.extend(done.into_iter().map(|action| (member, action)));
    }
}

#[cfg(test)]
mod tests;
