//! Which backends of a vip serve, from what checks say of each: what happens when many fail, when they come and go, and when
//! only one may serve.
//!
//! ```text
//! seen -> flap damping -> guard against mass failure -> role, or: quorum -> backups -> panic -> fail open
//! ```
//!
//! A decision marks members of [`Desired`], whose place and weight stay known. Pure: times come in with [`Pools::follow`], and what
//! has to be remembered from one to the next is [`Pools`]. How backends are checked is not known here.

mod memory;
mod policy;
mod ring;
mod role;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

pub use memory::{Alarm, AlarmKind};
pub use policy::{FailOpen, Flapping, Guard, PoolPolicy, RoleConflict};

use super::{Desired, DesiredMember, DesiredVip, OnUnhealthy, VipKey};
use memory::Pool;

/// What checks say of a backend of a vip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It is taken for healthy.
    pub up: bool,
    /// Its last probe passed.
    pub passes: bool,
    /// It is `up` itself, and down for another vip of the group.
    pub down_in_group: bool,
    /// So long it takes until each of two backends was asked again.
    pub round: Duration,
}

/// By vip and backend; those that are not checked are not there.
pub type AllSeen = BTreeMap<(VipKey, IpAddr), Seen>;

/// Why a backend gets no slots of a ring for its health, or for that of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    Unhealthy,
    /// It is healthy here, and unhealthy for another vip of the group.
    UnhealthyInGroup,
    /// Its state changes too often; it has to be stable until then.
    Flapping {
        until: SystemTime,
    },
    /// A backup that is not needed.
    Idle,
    /// Backups serve in its place.
    BelowQuorum,
    /// Another backend is the active one, or none is.
    Inactive,
    /// The ring is frozen, and it was not in it.
    Frozen,
}

impl Out {
    /// Whether flows that it has are of no use there.
    const fn ends_flows(self) -> bool {
        matches!(self, Self::Unhealthy | Self::UnhealthyInGroup | Self::Inactive)
    }
}

/// Why a backend gets slots of a ring though its check alone would not have it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    NoneHealthy,
    TooFewHealthy,
    Frozen,
    /// It answers as the active one, or was the last to do so.
    Active,
    /// It flaps, and no other is healthy.
    Flapping,
}

/// What the decisions for all vips remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pools {
    pools: BTreeMap<VipKey, Pool>,
    /// The time of the last [`Self::follow`].
    now: Option<SystemTime>,
}

impl Pools {
    /// Marks in `desired`, fresh from file and runtime changes, who serves at the time `now`. `is_reachable`: whether a backend has
    /// a next hop.
    pub fn follow<'a>(
        &mut self,
        desired: &mut Desired,
        policy: impl Fn(VipKey) -> Option<&'a PoolPolicy>,
        seen: &AllSeen,
        is_reachable: impl Fn(IpAddr) -> bool,
        now: SystemTime,
    ) {
        self.now = Some(now);
        self.pools.retain(|key, _| desired.vips.contains_key(key));
        for (key, vip) in &mut desired.vips {
            let Some(policy) = policy(*key) else { continue };
            let of_vip = |address: IpAddr| seen.get(&(*key, address)).copied();
            let pool = self.pools.entry(*key).or_default();
            pool.remember(vip, policy, &of_vip, now);
            pool.decide(vip, policy, &of_vip, &is_reachable, now);
            if policy.on_unhealthy == OnUnhealthy::Reset {
                give_up(vip);
            }
        }
        self.withdraw(desired, seen);
    }

    /// When [`Self::follow`] decides otherwise though nothing else has changed.
    #[must_use]
    pub fn next_due(&self) -> Option<SystemTime> {
        self.pools.values().flat_map(Pool::dues).filter(|due| Some(*due) > self.now).min()
    }

    /// What is out of the ordinary in a vip.
    #[must_use]
    pub fn alarms(&self, vip: VipKey) -> &[Alarm] {
        self.pools.get(&vip).map_or(&[], |pool| pool.alarms.as_slice())
    }

    /// Addresses that are announced only while a vip has a healthy backend.
    fn withdraw(&mut self, desired: &mut Desired, seen: &AllSeen) {
        for (address, of_address) in &mut desired.addresses {
            let vips = || desired.vips.iter().filter(|(key, _)| key.address == *address);
            let is_down = |(key, vip): (&VipKey, &DesiredVip)| {
                !vip.all_members().values().any(|member| {
                    let up = seen.get(&(*key, member.address)).is_none_or(|seen| seen.up || seen.passes);
                    up && !member.drained && member.asked_weight() > 0
                })
            };
            if of_address.withdraw_when_down && vips().all(is_down) {
                of_address.announce = super::Announce::None;
                for (key, _) in vips() {
                    let pool = self.pools.entry(*key).or_default();
                    pool.alarms.push(Alarm::withdrawn(*address));
                }
            }
        }
    }
}

fn all_of(vip: &mut DesiredVip) -> impl Iterator<Item = &mut DesiredMember> {
    let routes = vip.routes.iter_mut().flat_map(|route| route.members.values_mut());
    routes.chain(vip.members.values_mut())
}

/// Lets go of the flows on backends that serve no ring of the vip and are of no use to their clients.
fn give_up(vip: &mut DesiredVip) {
    let members = || vip.routes.iter().flat_map(|route| route.members.values()).chain(vip.members.values());
    let ends = |member: &&DesiredMember| member.out.is_some_and(Out::ends_flows);
    let serves = |address: IpAddr| members().any(|member| member.address == address && member.out.is_none());
    let gone: Vec<IpAddr> =
        members().filter(ends).map(|member| member.address).filter(|address| !serves(*address)).collect();
    vip.given_up.extend(gone);
}

#[cfg(test)]
mod tests;
