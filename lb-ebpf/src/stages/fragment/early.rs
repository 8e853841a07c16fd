//! Later fragments that come before the first one of their datagram, and so before its ports: some senders begin with the
//! last. What they are taken for is a guess; a datagram's record makes all of it go by the same guess.
//!
//! 1. The flow of the last first fragment from this source, when the source is known to send in such an order.
//! 2. The address's only UDP vip, or its UDP vip of all ports.
//! 3. Nothing: the fragment is dropped, and the source's next first fragment is remembered for 1.
//!
//! TCP sends again, in smaller segments or another order, so there is no guessing.

use lb_common::abi::{Aim, FragmentKey, FragmentRecord, Reason, STRETCHES, Stretch, Target};

use super::scene::Scene;
use crate::parse::{DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, ROUTING, TCP, UDP};
use crate::tables::StageTables;

/// What a fragment is taken for that nothing is known about.
///
/// # Errors
/// Why it is not forwarded.
#[inline(always)]
pub(super) fn guess<T: StageTables>(scene: &Scene<'_, T>) -> Result<Aim, Reason> {
    let protocol = scene.piece.protocol;
    match protocol {
        TCP | UDP => {}
        ICMP | ICMPV6 if (protocol == ICMPV6) == (scene.piece.is_v6 != 0) => {
            let answered = scene.address.has(Target::ANSWER_ECHO);
            return Err(if answered { Reason::FragmentEarly } else { Reason::Fragment });
        }
        // Only the first fragment says what lies behind these.
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT if scene.piece.is_v6 != 0 => {
            return Err(Reason::FragmentEarly);
        }
        _ => return Err(Reason::Fragment),
    }
    let is_tcp = protocol == TCP;
    if !scene.address.has_vips(is_tcp) {
        return Err(scene.no_service());
    }
    let only = scene.address.only_port(is_tcp).map(|port| u32::from(port) << 16);
    let target = scene.vip(protocol, only.unwrap_or(0));
    let aim = |ports| Ok(Aim { protocol, ports, ..Aim::default() });
    if let (Some(target), Some(ports)) = (target, only)
        && (scene.goes_by_addresses(target, protocol) || !is_tcp && target.ports_mask & SOURCE_PORT == 0)
    {
        // The source port changes nothing.
        return aim(ports);
    }
    if is_tcp {
        return Err(Reason::FragmentEarly);
    }
    let key = hint_key(scene);
    match scene.tables.fragment(&key) {
        Some(hint) if hint.state & FragmentRecord::PORTS != 0 => return aim(hint.ports),
        Some(_) => {}
        None => {
            scene.spend()?;
            scene.tables.set_fragment(&key, &hint(scene.now_ns, 0, 0), true);
        }
    }
    if target.is_some() { aim(only.unwrap_or(0)) } else { Err(Reason::FragmentEarly) }
}

/// The half of a vip's ports mask that is about the source.
const SOURCE_PORT: u32 = 0xffff;

/// Whether the ports of a first fragment are worth to be remembered.
#[inline(always)]
pub(super) fn is_learned<T: StageTables>(scene: &Scene<'_, T>, target: &Target) -> bool {
    target.ports_mask & SOURCE_PORT != 0 || scene.address.only_port(false).is_none()
}

/// Remembers the ports of a first fragment, for a source that was seen to send later ones before.
#[inline(always)]
pub(super) fn learn<T: StageTables>(scene: &Scene<'_, T>, ports: u32) {
    let key = hint_key(scene);
    if let Some(known) = scene.tables.fragment(&key)
        && (known.ports != ports || known.state & FragmentRecord::PORTS == 0)
    {
        scene.tables.set_fragment(&key, &hint(scene.now_ns, ports, FragmentRecord::PORTS), false);
    }
}

#[inline(always)]
const fn hint_key<T>(scene: &Scene<'_, T>) -> FragmentKey {
    FragmentKey {
        source: scene.piece.key.source,
        destination: scene.piece.key.destination,
        identification: 0,
        protocol: FragmentKey::HINT,
    }
}

#[inline(always)]
const fn hint(now_ns: u64, ports: u32, state: u32) -> FragmentRecord {
    let seen = [Stretch { start: 0, end: 0 }; STRETCHES];
    FragmentRecord { seen_ns: now_ns, hash: 0, ports, state, end: 0, protocol: UDP as u16, seen }
}
