//! Tracking: what is observed of this host becomes a priority or a fault, by keepalived's rules. Decides nothing about
//! how it is observed.
//!
//! | weight | up | down |
//! |---|---|---|
//! | 0 | | fault |
//! | above 0 | added | |
//! | below 0 | | subtracted |
//!
//! A number from a file is multiplied by the weight and added; with weight 0, any number but 0 is a fault, and so is a
//! product below -253. The sum is cut to 1 … 254. An owner's 255 is never changed, but it can be in fault.

use crate::wire::OWNER;

/// Products below this are a fault (keepalived's `track_file`).
const LEAST: i64 = -253;

/// What is tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Interface,
    Script,
    File,
    /// The balancer's own ability to forward.
    Fitness,
    /// The backends of a vip.
    Backends,
}

impl Kind {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Script => "script",
            Self::File => "file",
            Self::Fitness => "fitness",
            Self::Backends => "backends",
        }
    }
}

/// How it is at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    Up,
    Down,
    /// Of a file.
    Number(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracked {
    pub kind: Kind,
    pub name: String,
    /// -253 to 253.
    pub weight: i16,
    pub reading: Reading,
}

/// What tracking makes of a configured priority, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Evaluation {
    pub priority: u8,
    /// What adds or subtracts, and how much; also where the sum is cut, or an owner's.
    pub parts: Vec<(Kind, String, i64)>,
    pub faults: Vec<(Kind, String)>,
}

impl Evaluation {
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// The priority that counts, of a configured one of 1 to 255.
#[must_use]
pub fn evaluate(configured: u8, tracked: &[Tracked]) -> Evaluation {
    let mut evaluation = Evaluation { priority: configured, parts: Vec::new(), faults: Vec::new() };
    let mut sum = i64::from(configured);
    for one in tracked {
        match effect(one) {
            Effect::Nothing => {}
            Effect::Fault => evaluation.faults.push((one.kind, one.name.clone())),
            Effect::Add(part) => {
                sum = sum.saturating_add(part);
                evaluation.parts.push((one.kind, one.name.clone(), part));
            }
        }
    }
    if configured != OWNER {
        evaluation.priority = sum.clamp(1, i64::from(OWNER) - 1) as u8;
    }
    evaluation
}

enum Effect {
    Nothing,
    Add(i64),
    Fault,
}

fn effect(tracked: &Tracked) -> Effect {
    let weight = i64::from(tracked.weight);
    match (tracked.reading, weight) {
        (Reading::Down, 0) => Effect::Fault,
        (Reading::Up, 1..) | (Reading::Down, ..=-1) => Effect::Add(weight),
        (Reading::Up | Reading::Down, _) | (Reading::Number(0), _) => Effect::Nothing,
        (Reading::Number(_), 0) => Effect::Fault,
        (Reading::Number(number), weight) => match number.saturating_mul(weight) {
            ..LEAST => Effect::Fault,
            product => Effect::Add(product),
        },
    }
}

/// A script's results in a row: so many that differ change what it counts as (keepalived's `rise` and `fall`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hysteresis {
    rise: u32,
    fall: u32,
    up: bool,
    /// Results in a row that say otherwise.
    against: u32,
    /// The first result counts at once: before it, nothing is known.
    known: bool,
}

impl Hysteresis {
    /// Counts as failing until the first result, since nobody knows better. Zero is taken as one.
    #[must_use]
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, up: false, against: 0, known: false }
    }

    /// What the script counts as after this result.
    pub const fn on_result(&mut self, ok: bool) -> Reading {
        let needed = match (self.known, ok) {
            (false, _) => 1,
            (true, true) => self.rise,
            (true, false) => self.fall,
        };
        self.known = true;
        self.against = if ok == self.up { 0 } else { self.against + 1 };
        if self.against > 0 && self.against >= needed {
            self.up = ok;
            self.against = 0;
        }
        self.reading()
    }

    #[must_use]
    pub const fn reading(&self) -> Reading {
        if self.up { Reading::Up } else { Reading::Down }
    }

    /// Whether there was a result.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known
    }
}

#[cfg(test)]
mod tests;
