//! What the machines want done: adverts, leases, orders to the hands, and reports, in this order and at once.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use lb_common::abi::Lease;
use lb_vrrp::Moment;
use lb_vrrp::machine::{Action, Event, Input};
use lb_vrrp::wire::LEAVING;
use tracing::{error, info, warn};

use super::member::Member;
use super::node::{Change, Node, Running};
use super::{Fence, FenceError, Notice, clock, told};
use crate::announce::Port;
use crate::announce::elected::{Elected, Order as HandOrder};
use crate::state::MacAddress;

impl Node {
    /// What concerns one member of a group.
    pub(super) fn on_input(&mut self, name: &str, member: usize, input: Input, now: Moment) {
        self.with_group(name, |node, running| {
            let actions = running.machines.on_input(member, input, now);
            node.carry_out(running, actions);
        });
    }

    /// What concerns a group.
    pub(super) fn on_all(&mut self, name: &str, input: Input, now: Moment) {
        self.with_group(name, |node, running| {
            let actions = running.machines.on_all(input, now);
            node.carry_out(running, actions);
        });
    }

    fn with_group(&mut self, name: &str, change: impl FnOnce(&mut Self, &mut Running)) {
        if let Some(mut running) = self.groups.remove(name) {
            change(self, &mut running);
            self.groups.insert(name.to_owned(), running);
        }
    }

    /// In order. When an advert could not be sent, what comes with it is not done, and its machine is told at the end.
    fn carry_out(&mut self, running: &mut Running, mut actions: Vec<(usize, Action)>) {
        // A machine that is told so steps down at most once.
        for _ in 0..=running.members.len() {
            let unsent = self.do_all(running, &actions);
            actions = unsent
                .into_iter()
                .flat_map(|member| running.machines.on_input(member, Input::NotSent, clock::now()))
                .collect();
            if actions.is_empty() {
                return;
            }
        }
    }

    fn do_all(&mut self, running: &mut Running, actions: &[(usize, Action)]) -> Vec<usize> {
        let mut unsent = Vec::new();
        for (number, (index, action)) in actions.iter().enumerate() {
            let member = &mut running.members[*index];
            let fences = member.router.fencing;
            let is_unsent = unsent.contains(index) && fences;
            match action {
                Action::Send { priority } => {
                    if !self.send(member, *priority) {
                        if *priority != LEAVING && !unsent.contains(index) {
                            unsent.push(*index);
                        }
                        continue;
                    }
                }
                Action::Own { .. } | Action::Announce { .. } if is_unsent => continue,
                Action::Own { until } => {
                    self.own(member, *until);
                    if !std::mem::replace(&mut member.taken, true) {
                        self.take(member);
                    }
                }
                Action::Release => {
                    member.taken = false;
                    self.release(member.owned());
                }
                Action::Announce { rounds } => self.announce(member, *rounds),
                Action::Report(event) => {
                    let is_last =
                        |(_, later): &(usize, Action)| !matches!(later, Action::Report(Event::Role { .. }));
                    let last = actions[number + 1..].iter().all(is_last);
                    self.report(running, *index, *event, last);
                }
            }
            running.members[*index].seen.done(&[*action]);
            self.changed(Change::Detail);
        }
        unsent
    }

    /// Whether at least one went out.
    fn send(&mut self, member: &mut Member, priority: u8) -> bool {
        let sent = self.try_send(member, priority);
        match (&sent, &member.mute) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                info!(router = member.name, "adverts are sent again");
                member.mute = None;
            }
            (Err(why), mute) => {
                if mute.as_ref() != Some(why) && member.place.is_some() {
                    warn!(router = member.name, why, "advert not sent");
                }
                member.mute = Some(why.clone());
            }
        }
        sent.is_ok()
    }

    fn try_send(&self, member: &mut Member, priority: u8) -> Result<(), String> {
        let place = member.place.ok_or("there is no place to send from")?;
        let side = (member.router.interface.clone(), member.router.is_ipv6());
        let mut result = Err("no peers".to_owned());
        for destination in member.destinations() {
            let frame = member.frame(place, priority, destination)?;
            let sent = if member.router.virtual_mac && destination.is_multicast() {
                let frames = self.sockets.frames().ok_or("no packet socket")?;
                frames.send(Port { ifindex: place.ifindex, mac: MacAddress([0; 6]) }, &frame)
            } else {
                let socket = self.sockets.get(&side).ok_or("no raw socket")?;
                socket.send(&frame[ETHERNET_LEN..], destination)
            };
            match sent {
                Ok(()) => result = Ok(()),
                Err(error) if result.is_err() => result = Err(format!("to {destination}: {error}")),
                Err(_) => {}
            }
        }
        result
    }

    pub(super) fn own(&mut self, member: &Member, until: Option<Moment>) {
        let until_ns = until.map_or(Lease::FOR_EVER, Moment::as_nanos);
        for Elected { address, mac, .. } in member.elected() {
            self.fence_off(address, |fence, address| fence.own(address, until_ns, mac));
        }
    }

    pub(super) fn take(&mut self, member: &Member) {
        self.order(HandOrder::Take(member.elected()));
    }

    pub(super) fn release(&mut self, addresses: Vec<IpAddr>) {
        for address in &addresses {
            self.fence_off(*address, |fence, address| fence.lapse(address));
        }
        self.order(HandOrder::Release(addresses));
    }

    pub(super) fn announce(&mut self, member: &Member, rounds: u8) {
        self.order(HandOrder::Announce { addresses: member.owned(), rounds });
    }

    /// The kernel has let go of an address, or never had it. `kept`: others gave it to the kernel, which must not answer for it.
    pub(super) fn after_release(&mut self, address: IpAddr, kept: bool) {
        if self.is_taken(address) {
            return;
        }
        if !self.leased.contains(&address) {
            self.fence_off(address, |fence, address| fence.forget(address));
        } else if !kept {
            self.fence_off(address, |fence, address| fence.leave(address));
        }
    }

    pub(super) fn fence_off(
        &mut self,
        address: IpAddr,
        say: impl FnOnce(&mut dyn Fence, IpAddr) -> Result<(), FenceError>,
    ) {
        if let Err(error) = say(self.fence.as_mut(), address) {
            error!(%address, %error, "the kernel is not told whose a virtual router's address is");
        }
    }

    pub(super) fn order(&self, order: HandOrder) {
        // They end after this one only.
        let _ = self.hands.send(order);
    }

    /// Another host answers for an address that is taken here.
    pub(super) fn claimed(&mut self, address: IpAddr, by: MacAddress) {
        let found = self.groups.iter().find_map(|(name, running)| {
            let member = running.members.iter().position(|member| member.owned().contains(&address))?;
            Some((name.clone(), member))
        });
        if let Some((name, member)) = found {
            tracing::debug!(%address, other_mac = %by, "another host claims a virtual router's address");
            self.on_input(&name, member, Input::Claimed, clock::now());
        }
    }

    fn report(&mut self, running: &mut Running, index: usize, event: Event, last_role: bool) {
        let group = running.group.clone();
        let machines = running.machines.members();
        let member = &mut running.members[index];
        told::tell(member, group.as_deref(), &event);
        let mut whole_group = false;
        if let Event::Role { from, to, why } = event {
            let why = told::why(member, why, to);
            member.note(from, to, why);
            whole_group = group.is_some() && last_role && machines.iter().all(|machine| machine.role() == to);
            self.changed(Change::Important);
        }
        let priority = member.evaluation.priority;
        (self.tell)(Notice { router: member.name.clone(), group, whole_group, priority, event });
    }
}

const ETHERNET_LEN: usize = 14;
