//! Slow start: a backend that begins to serve gets its share of the ring in steps, so that it can fill its caches and is not
//! met by all of its new flows at once.
//!
//! ```text
//! away --begins to serve, others serve--> warming (10 %, 20 %, …) --slow start is over--> warm
//!   ^                                        |                                             |
//!   +------- drained, removed, no next hop --+---------------------------------------------+
//! ```
//!
//! Backends that serve when a vip begins are warm. Time comes in with [`SlowStart::follow`], nothing here reads a clock; what
//! is to survive the daemon is [`SlowStart::began`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Desired, DesiredMember, DesiredVip, VipKey};

/// Steps of a slow start at most; none is shorter than a second.
const STEPS: u64 = 9;
/// A whole share.
const WHOLE: u32 = 100;

/// Which backends have not their whole share yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowStart {
    began: BTreeMap<(VipKey, IpAddr), SystemTime>,
    /// The backends of each vip that have served so far.
    serving: BTreeMap<VipKey, BTreeSet<IpAddr>>,
    /// The time of the last [`Self::follow`].
    now: SystemTime,
}

/// A slow start that would begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warming {
    pub vip: VipKey,
    pub backend: String,
    pub takes: Duration,
    /// Changes of the ring after the first.
    pub steps: u32,
}

impl SlowStart {
    /// With the slow starts that were under way when an earlier daemon ended.
    #[must_use]
    pub fn resumed(began: impl IntoIterator<Item = ((VipKey, IpAddr), SystemTime)>) -> Self {
        Self { began: began.into_iter().collect(), serving: BTreeMap::new(), now: SystemTime::UNIX_EPOCH }
    }

    /// When each began.
    #[must_use]
    pub const fn began(&self) -> &BTreeMap<(VipKey, IpAddr), SystemTime> {
        &self.began
    }

    /// Takes in what is asked for at the time `now`, and gives `desired` the weights that hold then. `is_reachable`: whether a
    /// backend has a next hop.
    pub fn follow(&mut self, desired: &mut Desired, is_reachable: impl Fn(IpAddr) -> bool, now: SystemTime) {
        self.now = now;
        let mut serving = BTreeMap::new();
        for (key, vip) in &mut desired.vips {
            let members = serving_members(vip, &is_reachable);
            for (address, takes) in &members {
                let others = self.serving.get(key);
                let is_new = others.is_some_and(|others| !others.is_empty() && !others.contains(address));
                if is_new && !takes.is_zero() {
                    self.began.insert((*key, *address), now);
                }
            }
            let percents = self.percents(*key, &members);
            let rings = vip.routes.iter_mut().map(|route| &mut route.members);
            for ring in rings.chain([&mut vip.members]) {
                weigh(ring, &percents);
            }
            serving.insert(*key, members.into_keys().collect());
        }
        self.serving = serving;
        self.began.retain(|(key, address), began| {
            let vip = desired.vips.get(key);
            let serves = self.serving.get(key).is_some_and(|serving| serving.contains(address));
            serves
                && vip
                    .and_then(|vip| takes(vip, *address))
                    .is_some_and(|takes| step(*began, takes, now).is_some())
        });
    }

    /// When the next step is due.
    #[must_use]
    pub fn next_step(&self, desired: &Desired) -> Option<SystemTime> {
        let next = |((key, address), began): (&(VipKey, IpAddr), &SystemTime)| {
            let takes = takes(desired.vips.get(key)?, *address)?;
            Some(step(*began, takes, self.now)?.until)
        };
        self.began.iter().filter_map(next).min()
    }

    /// The slow starts that have begun since `before`.
    #[must_use]
    pub fn begun_since(&self, before: &Self, desired: &Desired) -> Vec<Warming> {
        let new = self.began.keys().filter(|place| !before.began.contains_key(*place));
        let warming = new.filter_map(|(key, address)| {
            let members = desired.vips.get(key)?.all_members();
            let (name, member) = members.into_iter().find(|(_, member)| member.address == *address)?;
            let steps = steps(member.slow_start) as u32;
            Some(Warming { vip: *key, backend: name.to_owned(), takes: member.slow_start, steps })
        });
        warming.collect()
    }

    /// How much of its share each serving backend of a vip gets.
    fn percents(&self, vip: VipKey, members: &BTreeMap<IpAddr, Duration>) -> BTreeMap<IpAddr, u32> {
        let percent = |(address, takes): (&IpAddr, &Duration)| {
            let began = self.began.get(&(vip, *address));
            let step = began.and_then(|began| step(*began, *takes, self.now));
            (*address, step.map_or(WHOLE, |step| step.percent))
        };
        members.iter().map(percent).collect()
    }
}

impl Default for SlowStart {
    fn default() -> Self {
        Self::resumed([])
    }
}

impl DesiredMember {
    /// The part of its share that it has while it starts slowly, below 100.
    #[must_use]
    pub fn slow_percent(&self) -> Option<u32> {
        let percent = self.slow_weight?.checked_div(self.asked_weight())?;
        (percent < WHOLE).then_some(percent)
    }
}

/// The backends of a vip and its routes that take flows, with how long their slow starts take.
fn serving_members(vip: &DesiredVip, is_reachable: impl Fn(IpAddr) -> bool) -> BTreeMap<IpAddr, Duration> {
    let members = vip.all_members().into_values();
    let serves = |member: &&DesiredMember| {
        !member.drained && member.out.is_none() && member.asked_weight() > 0 && is_reachable(member.address)
    };
    members.filter(serves).map(|member| (member.address, member.slow_start)).collect()
}

fn takes(vip: &DesiredVip, address: IpAddr) -> Option<Duration> {
    let members = vip.all_members().into_values();
    members
        .map(|member| (member.address, member.slow_start))
        .find(|(of, _)| *of == address)
        .map(|(_, takes)| takes)
}

/// Gives the members of a ring the weights of their steps; their own weights while most of the ring's weight would be
/// starting slowly: nobody is there to take the rest.
fn weigh(ring: &mut BTreeMap<String, DesiredMember>, percents: &BTreeMap<IpAddr, u32>) {
    let percent = |member: &DesiredMember| percents.get(&member.address).copied();
    let weight_of = |wanted: fn(u32) -> bool| -> u64 {
        let members = ring.values().filter(|member| percent(member).is_some_and(wanted));
        members.map(|member| u64::from(if member.drained { 0 } else { member.asked_weight() })).sum()
    };
    let (warming, warm) = (weight_of(|percent| percent < WHOLE), weight_of(|percent| percent == WHOLE));
    let applies = warming > 0 && warm >= warming;
    for member in ring.values_mut() {
        let percent = percent(member).unwrap_or(WHOLE);
        member.slow_weight = applies.then(|| member.asked_weight().saturating_mul(percent));
    }
}

/// A step of a slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    percent: u32,
    until: SystemTime,
}

/// The step at the time `now` of a slow start that takes so long; `None` when it is over.
fn step(began: SystemTime, takes: Duration, now: SystemTime) -> Option<Step> {
    let steps = steps(takes);
    // A clock that was set back makes it begin anew.
    let elapsed = now.duration_since(began).unwrap_or_default().as_nanos();
    let done = (elapsed * u128::from(steps)).checked_div(takes.as_nanos())?;
    let done = u64::try_from(done).ok().filter(|done| *done < steps)?;
    let percent = u64::from(WHOLE) * (done + 1) / (steps + 1);
    let until = (takes.as_nanos() * u128::from(done + 1)).div_ceil(u128::from(steps));
    let until = began.checked_add(Duration::from_nanos(u64::try_from(until).ok()?))?;
    Some(Step { percent: percent as u32, until })
}

fn steps(takes: Duration) -> u64 {
    takes.as_secs().clamp(1, STEPS)
}

#[cfg(test)]
mod tests;
