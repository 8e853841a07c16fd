//! A master: what it sends when, whom it gives way to, and what it makes of other masters (RFC 9568 6.4.3).

use std::net::IpAddr;
use std::time::Duration;

use crate::announce::Announcing;
use crate::lease;
use crate::wire::{Interval, LEAVING};
use crate::{Moment, timers};

use super::backup::{Backup, Wait};
use super::{Action, Event, Heard, Machine, Options, Role, State, Why};

/// Between two announcements against a host that is no VRRP router (RFC 5227 2.4, `DEFEND_INTERVAL`).
const DEFEND_PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Master {
    since: Moment,
    /// The last advert, sent or tried.
    sent: Moment,
    advert_due: Moment,
    /// With fencing: the end of the lease, and what it was before the last advert.
    lease: Option<Moment>,
    lease_before: Option<Moment>,
    /// A hand-over waits for another master until then.
    hand_over_until: Option<Moment>,
    predecessor: Predecessor,
    /// Rarely more than one.
    rivals: Vec<Rival>,
    announcing: Announcing,
    announced: Moment,
    /// When a claim of a stranger is answered if it still matters; when one was answered last.
    defence_due: Option<Moment>,
    defended: Option<Moment>,
}

/// Whose adverts may still be under way when this node becomes master, without there being two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Predecessor {
    None,
    Node(IpAddr),
    /// An owner starts without having listened.
    Anybody,
}

/// Another master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rival {
    address: IpAddr,
    first: Moment,
    last: Moment,
    gone_at: Moment,
}

impl Master {
    pub(super) const fn lease(&self) -> Option<Moment> {
        self.lease
    }

    pub(super) const fn handing_over(&self) -> bool {
        self.hand_over_until.is_some()
    }

    pub(super) fn due(&self) -> Option<Moment> {
        let advert = self.hand_over_until.unwrap_or(self.advert_due);
        let rivals = self.rivals.iter().map(|rival| rival.gone_at);
        let others = [self.lease, self.announcing.due(), self.defence_due];
        others.into_iter().flatten().chain(rivals).chain([advert]).min()
    }

    pub(super) const fn not_sent(&mut self) {
        self.lease = self.lease_before;
    }

    /// A stranger's claim may be the next master's first announcement, whose advert is about to come.
    pub(super) fn claimed(&mut self, options: &Options, now: Moment) {
        let lately = self.defended.is_some_and(|before| now < before + DEFEND_PAUSE);
        if !lately && self.defence_due.is_none() {
            self.defence_due = Some(now + options.interval.duration());
        }
    }

    pub(super) fn follow_options(
        &mut self,
        before: &Options,
        options: &Options,
        priority: u8,
        now: Moment,
    ) -> Vec<Action> {
        if before.announce != options.announce {
            self.announcing = self.announcing.follow(&options.announce, now);
        }
        if before.interval == options.interval && before.fencing == options.fencing {
            return Vec::new();
        }
        let ended = (before.fencing && !options.fencing).then_some(Action::Own { until: None });
        if !options.fencing {
            self.lease = None;
        }
        if self.handing_over() {
            // Whoever takes over has been asked to: it hears nothing more of this node.
            return ended.into_iter().collect();
        }
        // A first lease that cannot be sent is over at once.
        self.lease = options.fencing.then(|| self.lease.unwrap_or(now));
        send(self, options, priority, now).into_iter().chain(ended).collect()
    }

    fn sending(&mut self, options: &Options, now: Moment) {
        self.sent = now;
        self.advert_due = now + options.interval.duration();
        if options.fencing {
            self.lease_before = self.lease;
            self.lease = Some(now + lease::length(options.interval));
        }
    }

    fn announce(&mut self, rounds: u8, now: Moment) -> Option<Action> {
        self.announced = now;
        (rounds > 0).then_some(Action::Announce { rounds })
    }

    /// Ends it with those that are `over`.
    fn end_rivalry(&mut self, over: impl Fn(&Rival) -> bool, options: &Options, now: Moment) -> Vec<Action> {
        let at_most = now.since(self.since);
        let ended = self.rivals.extract_if(.., |rival| over(rival)).map(|rival| {
            let lasted = rival.last.since(rival.first);
            Action::Report(Event::DualMasterEnded { peer: rival.address, lasted, at_most })
        });
        let mut actions: Vec<Action> = ended.collect();
        if !actions.is_empty() {
            // Their announcements may have been the last ones on the link.
            actions.extend(self.announce(options.announce.lower_priority_repeat, now));
        }
        actions
    }
}

impl Machine {
    pub(super) fn become_master(&mut self, why: Why, now: Moment) -> Vec<Action> {
        let from = self.role();
        let predecessor = match (&self.state, why) {
            (_, Why::Owner) => Predecessor::Anybody,
            (State::Backup(backup), Why::Group) => predecessor(backup.ignored.or(backup.master)),
            (State::Backup(backup), _) => predecessor(backup.ignored),
            _ => Predecessor::None,
        };
        self.handed_over = false;
        let mut master = Master {
            since: now,
            sent: now,
            advert_due: now,
            lease: self.options.fencing.then_some(now),
            lease_before: None,
            hand_over_until: None,
            predecessor,
            rivals: Vec::new(),
            announcing: Announcing::begin(&self.options.announce, now),
            announced: now,
            defence_due: None,
            defended: None,
        };
        master.sending(&self.options, now);
        let mut actions =
            vec![Action::Send { priority: self.standing.priority }, Action::Own { until: master.lease }];
        actions.extend(master.announce(self.options.announce.repeat, now));
        actions.push(Action::Report(Event::Role { from, to: Role::Master, why }));
        self.state = State::Master(master);
        actions
    }

    pub(super) fn tick_as_master(&mut self, now: Moment) -> Vec<Action> {
        let priority = self.standing.priority;
        let maintenance = self.maintenance;
        let State::Master(master) = &mut self.state else { return Vec::new() };
        let mut actions = Vec::new();
        if master.hand_over_until.is_some_and(|until| until <= now) {
            master.hand_over_until = None;
            master.advert_due = now;
            actions.push(Action::Report(Event::NobodyTookOver));
            if maintenance {
                let mut backup = Backup::new(self.options.interval, Wait::MasterDown, now);
                backup.overdue = true;
                actions.extend(self.step_down(backup, Why::Maintenance));
                return actions;
            }
        }
        if !master.handing_over() && master.advert_due <= now {
            actions.extend(send(master, &self.options, priority, now));
        }
        actions.extend(master.end_rivalry(|rival| rival.gone_at <= now, &self.options, now));
        if master.announcing.due().is_some_and(|due| due <= now) {
            let rounds = master.announcing.tick(&self.options.announce, now);
            actions.extend(master.announce(rounds, now));
        }
        if master.defence_due.is_some_and(|due| due <= now) {
            master.defence_due = None;
            master.defended = Some(now);
            actions.extend(master.announce(1, now));
            actions.push(Action::Report(Event::Claimed));
        }
        actions
    }

    pub(super) fn heard_as_master(&mut self, heard: Heard, now: Moment) -> Vec<Action> {
        let (own, primary) = (self.standing.priority, self.standing.primary);
        let State::Master(master) = &mut self.state else { return Vec::new() };
        if master.handing_over() {
            return if heard.priority == LEAVING { Vec::new() } else { self.handed_over_to(heard, now) };
        }
        if heard.priority == LEAVING {
            // Whoever says so has been a master, known here or not.
            let mut actions = send(master, &self.options, own, now);
            let rivalry = master.end_rivalry(|rival| rival.address == heard.from, &self.options, now);
            if rivalry.is_empty() {
                actions.extend(announce_again(master, &self.options, now));
            }
            actions.extend(rivalry);
            return actions;
        }
        if heard.priority > own {
            return self.give_way(heard, Why::HigherPriority(heard), now);
        }
        if heard.priority == own && heard.from > primary {
            return self.give_way(heard, Why::HigherAddress(heard), now);
        }
        assert_mastership(master, &self.options, heard, own, now)
    }

    /// Asks others to take over. Their skews are shorter than an interval.
    pub(super) fn hand_over(&mut self, now: Moment) -> Vec<Action> {
        let State::Master(master) = &mut self.state else { return Vec::new() };
        if master.handing_over() {
            return Vec::new();
        }
        master.hand_over_until = Some(now + self.options.interval.duration() * 3 / 2);
        vec![Action::Send { priority: LEAVING }, Action::Report(Event::HandingOver)]
    }

    fn handed_over_to(&mut self, heard: Heard, now: Moment) -> Vec<Action> {
        self.handed_over = !self.maintenance;
        self.step_down(Backup::under(heard, &self.options, now), Why::HandedOver(heard))
    }

    fn give_way(&mut self, heard: Heard, why: Why, now: Moment) -> Vec<Action> {
        let State::Master(master) = &self.state else { return Vec::new() };
        let at_most = now.since(master.since);
        let rival = master.rivals.iter().find(|rival| rival.address == heard.from);
        let since_heard = rival.map(|rival| now.since(rival.first));
        // A healthy backup of equal priority does not take over, nor does one become master unheard beside a living one.
        let dual = since_heard.is_some() || matches!(why, Why::HigherAddress(_));
        let mut actions = self.step_down(Backup::under(heard, &self.options, now), why);
        if !self.options.virtual_mac {
            actions.insert(1, Action::Send { priority: self.standing.priority });
        }
        if dual {
            if since_heard.is_none() {
                actions.push(Action::Report(Event::DualMaster { peer: heard }));
            }
            let lasted = since_heard.unwrap_or_default();
            actions.push(Action::Report(Event::DualMasterEnded { peer: heard.from, lasted, at_most }));
        }
        actions
    }

    /// Ends the mastership of a node that stood still for longer than its lease.
    pub(super) fn lapse(&mut self, now: Moment) -> Vec<Action> {
        match self.lease() {
            Some(lease) if lease <= now => {
                let backup = Backup::new(self.options.interval, Wait::Listening, now);
                self.step_down(backup, Why::LeaseLapsed)
            }
            _ => Vec::new(),
        }
    }
}

fn predecessor(heard: Option<Heard>) -> Predecessor {
    heard.map_or(Predecessor::None, |heard| Predecessor::Node(heard.from))
}

fn send(master: &mut Master, options: &Options, priority: u8, now: Moment) -> Vec<Action> {
    master.sending(options, now);
    let own = options.fencing.then_some(Action::Own { until: master.lease });
    [Action::Send { priority }].into_iter().chain(own).collect()
}

/// Another master is heard that has to give way: it is told so at once (RFC 9568 6.4.3), and the link too. Not faster than
/// eight times an interval, since two nodes that each take themselves for the better one would send without end.
fn assert_mastership(
    master: &mut Master,
    options: &Options,
    heard: Heard,
    own: u8,
    now: Moment,
) -> Vec<Action> {
    let mut actions = Vec::new();
    if now >= master.sent + options.interval.duration() / 8 {
        actions.extend(send(master, options, own, now));
    }
    let fresh = now < master.since + options.interval.duration();
    let expected = match master.predecessor {
        Predecessor::None => false,
        Predecessor::Node(address) => address == heard.from,
        Predecessor::Anybody => true,
    };
    let known = master.rivals.iter_mut().find(|rival| rival.address == heard.from);
    if fresh && expected && known.is_none() {
        return actions;
    }
    let interval: Interval = heard.interval.max(options.interval);
    let gone_at = now + timers::master_down(options.version, interval, 1);
    match known {
        Some(rival) => {
            (rival.last, rival.gone_at) = (now, gone_at);
            actions.extend(announce_again(master, options, now));
        }
        None => {
            master.rivals.push(Rival { address: heard.from, first: now, last: now, gone_at });
            actions.extend(master.announce(options.announce.lower_priority_repeat, now));
            actions.push(Action::Report(Event::DualMaster { peer: heard }));
        }
    }
    actions
}

/// At most once an interval.
fn announce_again(master: &mut Master, options: &Options, now: Moment) -> Option<Action> {
    let lately = now < master.announced + options.interval.duration();
    if lately { None } else { master.announce(options.announce.lower_priority_repeat, now) }
}
