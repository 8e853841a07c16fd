use std::net::IpAddr;

use super::*;
use crate::wire::LEAVING;

mod fencing;
mod handing_over;
mod options;
mod rivals;
mod table;

const SECOND: Interval = Interval::from_centiseconds(100).unwrap();
const OWN: u8 = 100;

fn node(last: u8) -> IpAddr {
    IpAddr::from([10, 9, 0, last])
}

fn options() -> Options {
    Options {
        version: Version::V3,
        interval: SECOND,
        preempt: Preempt::Now,
        fencing: false,
        virtual_mac: false,
        announce: Schedule {
            delay: Duration::ZERO,
            repeat: 1,
            lower_priority_repeat: 2,
            ..Schedule::default()
        },
    }
}

fn standing(priority: u8) -> Standing {
    Standing { priority, fault: false, gate: Pass::Open, primary: node(12) }
}

fn heard(last: u8, priority: u8) -> Heard {
    Heard { from: node(last), priority, interval: SECOND }
}

/// A machine with a clock that starts at 0.
struct Run {
    machine: Machine,
    now: Moment,
}

impl Run {
    fn new(options: Options, standing: Standing) -> Self {
        Self { machine: Machine::new(options, standing), now: Moment::default() }
    }

    /// A backup of priority 100 since 0 ms.
    fn backup(options: Options) -> Self {
        let mut run = Self::new(options, standing(OWN));
        run.input(Input::Start);
        run
    }

    /// A master of priority 100 since 3609 ms.
    fn master(options: Options) -> Self {
        let mut run = Self::backup(options);
        run.to(3_609);
        assert_eq!(run.to(3_610).len(), 3 + usize::from(options.announce.repeat > 0));
        assert_eq!(run.role(), Role::Master);
        run
    }

    fn role(&self) -> Role {
        self.machine.role()
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        self.machine.on_input(input, self.now)
    }

    fn heard(&mut self, last: u8, priority: u8) -> Vec<Action> {
        self.input(Input::Heard(heard(last, priority)))
    }

    /// Ticks when due until so many milliseconds after the start.
    fn to(&mut self, milliseconds: u64) -> Vec<Action> {
        self.timed_to(milliseconds).into_iter().map(|(_, action)| action).collect()
    }

    /// The same, each with its millisecond.
    fn timed_to(&mut self, milliseconds: u64) -> Vec<(u64, Action)> {
        let end = Moment::from_nanos(milliseconds * 1_000_000);
        let mut done = Vec::new();
        while let Some(due) = self.machine.due().filter(|due| *due <= end) {
            assert!(due >= self.now, "a timer that never ends");
            self.now = due;
            let at = due.as_nanos() / 1_000_000;
            done.extend(self.input(Input::Tick).into_iter().map(|action| (at, action)));
        }
        self.now = end;
        done
    }
}

fn roles(actions: &[Action]) -> Vec<(Role, Role, Why)> {
    let roles = actions.iter().filter_map(|action| match action {
        Action::Report(Event::Role { from, to, why }) => Some((*from, *to, *why)),
        _ => None,
    });
    roles.collect()
}

fn role_change(from: Role, to: Role, why: Why) -> Action {
    Action::Report(Event::Role { from, to, why })
}
