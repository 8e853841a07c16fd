//! What an earlier daemon has left in the kernel about flows: rings with their past, and who is who in flow records. A daemon
//! that starts goes on from there, so that a restart between any two changes is like none.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use lb_common::abi::{
    Control, Dest, DestKind, Directory, EMPTY_SLOT, IN_TRANSITION, ORPHANED_SLOT, PastHead, RingPage, Target,
    VIP_SLOTS, Vip4, Vip6, ring_pages,
};
use lb_common::headers::Be16;
use lb_common::transition::Slot;

use super::RINGS;
use super::layout::EntryKey;
use super::memory::MappedArray;
use super::owned::Owned;
use super::pins::{PinDir, map};
use crate::state::{ForwardDest, Found, History, Mode, Protocol, Unresolved, VipKey};

/// What the instance pinned at `pin_dir` has in the kernel; nothing when there is none, or of another version.
#[must_use]
pub fn found(pin_dir: &Path) -> Found {
    let dir = PinDir::open(pin_dir);
    if !dir.is_of_this_version() {
        return Found::default();
    }
    read(&dir).unwrap_or_default()
}

/// The numbers by which flow records of the instance name dests.
pub(super) fn owners(dir: &PinDir) -> BTreeMap<(EntryKey, IpAddr), u16> {
    let owned = owned(dir);
    owned.into_iter().map(|(number, (entry, backend))| ((entry, backend), number)).collect()
}

/// The same the other way round.
pub(super) fn owned(dir: &PinDir) -> BTreeMap<u16, (EntryKey, IpAddr)> {
    if !dir.is_of_this_version() {
        return BTreeMap::new();
    }
    let owned = map(&dir.maps(), "OWNED").and_then(|data| Owned::adopt(data).ok());
    owned.map(|owned| owned.dests().clone()).unwrap_or_default()
}

fn read(dir: &PinDir) -> Option<Found> {
    let maps = dir.maps();
    let directory: MappedArray<Directory> = MappedArray::new(&map(&maps, "DIRECTORY")?).ok()?;
    let tables = Tables {
        rings: MappedArray::new(&map(&maps, RINGS)?).ok()?,
        dests: MappedArray::new(&map(&maps, "DESTS")?).ok()?,
        owned: owned(dir),
    };
    let hash_seed = directory.read_at::<Control>(0).seed;
    let rings = entries(&directory)
        .into_iter()
        .filter_map(|(EntryKey { vip, route }, target)| Some(((vip, route), tables.history(&target)?)));
    Some(Found { hash_seed, rings: rings.collect() })
}

struct Tables {
    rings: MappedArray<RingPage>,
    dests: MappedArray<Dest>,
    owned: BTreeMap<u16, (EntryKey, IpAddr)>,
}

impl Tables {
    fn history(&self, target: &Target) -> Option<History> {
        let place = lb_common::abi::Place::from_word(target.place);
        let owners = self.run(place.ring_page, target.ring_size)?;
        let has_past = owners.iter().any(|slot| slot & IN_TRANSITION != 0 && *slot != EMPTY_SLOT);
        let behind = place.ring_page + ring_pages(target.ring_size) + target.server_id_pages();
        let (head, previous) = if has_past {
            let run = self.run(behind, PastHead::SLOTS + target.ring_size)?;
            let head = PastHead::of(&self.rings.read(behind));
            (head, run[PastHead::SLOTS as usize..].to_vec())
        } else {
            (PastHead::default(), vec![EMPTY_SLOT; owners.len()])
        };
        let mut dests =
            Dests { of: self, base: place.dest_base, numbers: BTreeMap::new(), dests: Vec::new() };
        let slots = owners
            .iter()
            .zip(&previous)
            .map(|(owner, previous)| {
                let is_looked_up = owner & IN_TRANSITION != 0 && *owner != EMPTY_SLOT;
                let owner = match *owner {
                    EMPTY_SLOT | ORPHANED_SLOT => None,
                    local => dests.number(local & !IN_TRANSITION),
                };
                let previous = if *previous == EMPTY_SLOT { None } else { dests.number(*previous) };
                Slot { owner, previous, is_looked_up }
            })
            .collect();
        Some(History::found(dests.dests, slots, head.since_ns, head.learning_until_ns))
    }

    /// So many slots from the beginning of a page on.
    fn run(&self, page: u32, slots: u32) -> Option<Vec<u16>> {
        if page.checked_add(ring_pages(slots))? > self.rings.len() {
            return None;
        }
        let pages = (page..page + ring_pages(slots)).map(|page| self.rings.read(page).slots);
        let mut run: Vec<u16> = pages.flatten().collect();
        run.truncate(slots as usize);
        Some(run)
    }
}

/// The dests that slots name, numbered in the order in which they are met.
struct Dests<'t> {
    of: &'t Tables,
    base: u32,
    /// By local number.
    numbers: BTreeMap<u16, Option<u16>>,
    dests: Vec<ForwardDest>,
}

impl Dests<'_> {
    /// `None` for a dest of which nothing is known any more.
    fn number(&mut self, local: u16) -> Option<u16> {
        if let Some(number) = self.numbers.get(&local) {
            return *number;
        }
        let number = self.dest(local).map(|dest| {
            let known = self.dests.iter().position(|known| known.address == dest.address);
            known.unwrap_or_else(|| {
                self.dests.push(dest);
                self.dests.len() - 1
            }) as u16
        });
        self.numbers.insert(local, number);
        number
    }

    fn dest(&self, local: u16) -> Option<ForwardDest> {
        let index = self.base.checked_add(u32::from(local)).filter(|index| *index < self.of.dests.len())?;
        let dest = self.of.dests.read(index);
        let (_, address) = self.of.owned.get(&dest.owner)?;
        let next_hop = Err(Unresolved::Pending);
        Some(ForwardDest { address: *address, weight: 0, mode: mode(dest.kind)?, server_id: None, next_hop })
    }
}

fn mode(kind: u32) -> Option<Mode> {
    use DestKind::{
        GueIpv4, GueIpv4Vlan, GueIpv6, GueIpv6Vlan, Ipv4, Ipv4Vlan, Ipv6, Ipv6Vlan, L2, L2Vlan, UdpIpv4,
        UdpIpv4Vlan, UdpIpv6, UdpIpv6Vlan,
    };
    let is = |kinds: &[DestKind]| kinds.iter().any(|known| *known as u32 == kind);
    if is(&[Ipv4, Ipv4Vlan, Ipv6, Ipv6Vlan]) {
        Some(Mode::Ipip)
    } else if is(&[L2, L2Vlan]) {
        Some(Mode::L2)
    } else if is(&[UdpIpv4, UdpIpv4Vlan, UdpIpv6, UdpIpv6Vlan, GueIpv4, GueIpv4Vlan, GueIpv6, GueIpv6Vlan]) {
        Some(Mode::Gue)
    } else {
        None
    }
}

/// The backend of a dest behind a tunnel, out of its finished headers; that of others is not in there.
pub(super) fn outer_destination(dest: &Dest) -> Option<IpAddr> {
    const ETHERNET: usize = 14;
    const TAG: usize = 4;
    const VLAN: [u8; 2] = [0x81, 0];
    let mode = mode(dest.kind).filter(|mode| *mode != Mode::L2);
    let layer3 = if dest.head[12..14] == VLAN { ETHERNET + TAG } else { ETHERNET };
    let ip = &dest.head[layer3..];
    match ip[0] >> 4 {
        _ if mode.is_none() => None,
        4 => ip[16..].first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        _ => ip[24..].first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
    }
}

/// The vips and routes of the live bank.
pub(super) fn entries(directory: &MappedArray<Directory>) -> Vec<(EntryKey, Target)> {
    let bank = directory.read_at::<Control>(0).bank & 1;
    let slots = bank as usize * VIP_SLOTS as usize..(bank as usize + 1) * VIP_SLOTS as usize;
    let vip4 = |slot| -> Vip4 { directory.read_at(offset_of!(Directory, vip4) + slot * size_of::<Vip4>()) };
    let vip6 = |slot| -> Vip6 { directory.read_at(offset_of!(Directory, vip6) + slot * size_of::<Vip6>()) };
    let v4 = slots.clone().map(vip4).filter(|entry| entry.key != 0).filter_map(|entry| {
        let address = IpAddr::from(Ipv4Addr::from((entry.key as u32).to_le_bytes()));
        Some((entry_key(address, entry.key)?, entry.target))
    });
    let v6 = slots.map(vip6).filter(|entry| entry.service != 0).filter_map(|entry| {
        let words = u128::from(entry.address[0]) | u128::from(entry.address[1]) << 64;
        let address = IpAddr::from(Ipv6Addr::from(words.to_le_bytes()));
        Some((entry_key(address, entry.service)?, entry.target))
    });
    v4.chain(v6).collect()
}

/// Port, protocol and route out of a table's key; `None` for an address's own entry.
fn entry_key(address: IpAddr, word: u64) -> Option<EntryKey> {
    let [_, _, _, _, port_0, port_1, protocol, route] = word.to_le_bytes();
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.number() == protocol)?;
    let vip = VipKey { address, port: Be16([port_0, port_1]).get(), protocol };
    Some(EntryKey { vip, route })
}
