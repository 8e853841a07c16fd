//! What stands between a vip and a packet for it: nothing on the fast way, access lists, limits and routes in stages.
//!
//! ```text
//! global list -> vip's list -> (new flows) vip's and source's limit -> route -> the target whose ring decides
//! ```

use lb_common::abi::{AccessKey, AccessRule, Directory, Policy, Reason, SourceKey, Target};

use crate::exit::{OrExit, exit};
use crate::parse::Packet;
use crate::stages::limit;
use crate::tables::{PolicyEvent, StageTables};
use crate::{Frame, Tables, quic, vip};

/// Lets packets in, or not, and says whose backends they go to.
pub(crate) trait Gate<T: Tables> {
    /// The target that `visit` goes on to.
    fn open<'d, F: Frame>(frame: &F, tables: &T, visit: &Visit<'d, '_>) -> Result<&'d Target, Reason>;
}

/// A packet that has found its vip.
pub(crate) struct Visit<'d, 'p> {
    pub(crate) directory: &'d Directory,
    pub(crate) target: &'d Target,
    pub(crate) address: VipAddress,
    pub(crate) packet: &'p Packet,
    /// The client's address, see [`client_v4`] and [`lb_common::headers::words_v6`].
    pub(crate) client: [u64; 2],
}

impl Visit<'_, '_> {
    #[inline(always)]
    const fn access_key(&self, list: u32) -> AccessKey {
        AccessKey::of(list, matches!(self.address, VipAddress::V4(_)), self.client)
    }
}

/// A vip's address as its keys hold it.
#[derive(Clone, Copy)]
pub(crate) enum VipAddress {
    V4(u32),
    V6([u64; 2]),
}

/// What of a policy counts for a packet.
#[derive(Clone, Copy)]
pub(crate) struct Asks {
    /// The access lists.
    pub(crate) access: bool,
    /// The limits: the packet opens a flow.
    pub(crate) limits: bool,
}

/// The balancer's gate: vips that ask for more are for the policy stage.
pub(crate) struct OpenGate;

impl<T: Tables> Gate<T> for OpenGate {
    #[inline(always)]
    fn open<'d, F: Frame>(_frame: &F, _tables: &T, visit: &Visit<'d, '_>) -> Result<&'d Target, Reason> {
        if visit.target.has(Target::POLICY) { exit(Reason::Policy) } else { Ok(visit.target) }
    }
}

/// The policy stage's gate.
pub(crate) struct PolicyGate;

impl<T: StageTables> Gate<T> for PolicyGate {
    #[inline(always)]
    fn open<'d, F: Frame>(frame: &F, tables: &T, visit: &Visit<'d, '_>) -> Result<&'d Target, Reason> {
        let limits = visit.packet.opens_flow != 0 || quic::opens_flow(frame, visit.packet);
        admit(tables, visit, Asks { access: true, limits })
    }
}

/// The target that a packet for a vip goes on to: the vip itself, or one of its routes. Vips without a policy let
/// everything in.
///
/// # Errors
/// Why it may not.
#[inline(always)]
pub(crate) fn admit<'d, T: StageTables>(
    tables: &T,
    visit: &Visit<'d, '_>,
    asks: Asks,
) -> Result<&'d Target, Reason> {
    if !visit.target.has(Target::POLICY) {
        return Ok(visit.target);
    }
    let policy = tables.policy(visit.target.policy()).or_exit(Reason::Policy)?;
    if asks.access
        && !(allowed(tables, policy, visit, Policy::GLOBAL) && allowed(tables, policy, visit, Policy::VIP))
    {
        tables.count_policy(visit.target.vip, PolicyEvent::Denied);
        return exit(Reason::AccessDenied);
    }
    if asks.limits {
        limits(tables, policy, visit)?;
    }
    route(tables, policy, visit)
}

/// Whether one of the two lists lets the client in.
#[inline(always)]
fn allowed<T: StageTables>(tables: &T, policy: &Policy, visit: &Visit<'_, '_>, which: u32) -> bool {
    let list = if which == Policy::GLOBAL { policy.global_access } else { policy.access };
    if list == 0 {
        return true;
    }
    match tables.access(&visit.access_key(list)) {
        Some(rule) => rule.verdict == AccessRule::ALLOW,
        None => policy.deny_unlisted & which == 0,
    }
}

/// Books a new flow. A vip that is over its limit books nothing for the source, and a source over its own nothing for the
/// vip.
#[inline(always)]
fn limits<T: StageTables>(tables: &T, policy: &Policy, visit: &Visit<'_, '_>) -> Result<(), Reason> {
    let vip = visit.target.vip;
    tables.count_policy(vip, PolicyEvent::NewFlow);
    if policy.vip_interval_ns | policy.source_interval_ns == 0 {
        return Ok(());
    }
    let limited = |event, reason| {
        tables.count_policy(vip, event);
        Err(reason)
    };
    let now = tables.now_ns();
    if policy.vip_interval_ns != 0 && limit::is_spent(tables.flow_bucket(vip).as_ref(), now) {
        return limited(PolicyEvent::VipLimited, Reason::VipLimit);
    }
    if policy.source_interval_ns != 0 {
        let bucket = tables.source_bucket(&source_key(policy, visit));
        if !limit::conforms(bucket, now, policy.source_interval_ns) {
            return limited(PolicyEvent::SourceLimited, Reason::SourceLimit);
        }
    }
    if policy.vip_interval_ns != 0 && !limit::conforms(tables.flow_bucket(vip), now, policy.vip_interval_ns) {
        return limited(PolicyEvent::VipLimited, Reason::VipLimit);
    }
    Ok(())
}

/// The client's prefix.
#[inline(always)]
fn source_key(policy: &Policy, visit: &Visit<'_, '_>) -> SourceKey {
    let bits = match visit.address {
        VipAddress::V4(_) => 96 + (policy.source_prefix & 0xffff),
        VipAddress::V6(_) => policy.source_prefix >> 16,
    };
    let [high, low] = visit.client;
    let address =
        if bits <= 64 { [high & prefix_mask(bits), 0] } else { [high, low & prefix_mask(bits - 64)] };
    SourceKey { address, vip: visit.target.vip, reserved: 0 }
}

/// The first `bits` bits of a word that was loaded little-endian from a packet.
#[inline(always)]
const fn prefix_mask(bits: u32) -> u64 {
    if bits == 0 { 0 } else { (u64::MAX << ((64 - bits) & 63)).swap_bytes() }
}

#[inline(always)]
fn route<'d, T: StageTables>(
    tables: &T,
    policy: &Policy,
    visit: &Visit<'d, '_>,
) -> Result<&'d Target, Reason> {
    if policy.routes == 0 {
        return Ok(visit.target);
    }
    let Some(rule) = tables.access(&visit.access_key(policy.routes)) else {
        return Ok(visit.target);
    };
    let (Visit { directory, target, packet, .. }, route) = (visit, rule.verdict as u8);
    let target = match visit.address {
        VipAddress::V4(address) => vip::route_v4(directory, target, address, packet, route),
        VipAddress::V6(address) => vip::route_v6(directory, target, address, packet, route),
    };
    // A route and its list are published together, so there is one.
    target.or_exit(Reason::NoBackend)
}

/// An IPv4 client's address as `::ffff:a.b.c.d`, in two words loaded little-endian.
#[must_use]
#[inline(always)]
pub(crate) const fn client_v4(address: u32) -> [u64; 2] {
    [0, 0xffff_0000 | (address as u64) << 32]
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use lb_common::headers::words_v6;

    use super::*;

    #[test]
    fn an_ipv4_client_is_the_mapped_address() {
        let v4 = Ipv4Addr::new(203, 0, 113, 9);
        assert_eq!(client_v4(u32::from_le_bytes(v4.octets())), words_v6(v4.to_ipv6_mapped().octets()));
    }

    #[test]
    fn a_prefix_mask_keeps_the_first_bits_of_the_packet() {
        for bits in 0..=128u32 {
            let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
            let expected = words_v6(Ipv6Addr::from(mask).octets());
            let masks = if bits <= 64 { [prefix_mask(bits), 0] } else { [u64::MAX, prefix_mask(bits - 64)] };
            assert_eq!(masks, expected, "/{bits}");
        }
    }
}
