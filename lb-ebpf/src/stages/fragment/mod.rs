//! Fragments (RFC 791, section 3.2; RFC 8200, section 4.5): all of a datagram go to one backend, its flow's. Nothing is put
//! together here, and no fragment is kept: a record remembers which hash a datagram goes by and which parts of it have come.
//!
//! ```text
//! first fragment    ports -> vip -> hash; recorded -> the way of the flow's whole packets
//! later ones        record -> the same hash -> the same slot
//! none but later    taken for a flow (`early.rs`), recorded -> the first follows them
//! ```
//!
//! Two CPUs may have fragments of one datagram at once. The hash is written once, by whoever makes the record; a CPU that
//! was slower follows it. The stretches may lose one of two concurrent fragments: an overlap with it is not seen, and the
//! datagram is never known to be complete. Only when a record is made in the place of one that is over may two CPUs send
//! parts of one datagram different ways; the datagram is lost then, as by any loss on its way.

mod early;
mod echo;
mod piece;
mod record;

use lb_common::abi::{
    Aim, Bucket, Directory, Found, FragmentRecord, Piece, Place, Reason, STRETCHES, Stretch, Target,
};
use lb_common::hash;
use lb_common::headers::words_v6;

use self::record::Misfit;
use super::limit;
use crate::encap::encapsulate;
use crate::forward::{leave, owner};
use crate::gate::{self, Asks, VipAddress, Visit, client_v4};
use crate::parse::{self, ICMP, ICMPV6, Packet, TCP, UDP};
use crate::tables::StageTables;
use crate::{Frame, Verdict, ether_type, vip};

/// Reads one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Always: [`Reason::FragmentRead`] with the fragment noted for [`aim`], or why it goes no further.
#[inline(always)]
pub fn fragment<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    _ingress: u32,
) -> Result<Verdict, Reason> {
    let piece = match parse::link(frame)? {
        (ether_type::IPV4, offset) => piece::read_v4(frame, offset)?,
        (ether_type::IPV6, offset) => piece::read_v6(frame, offset)?,
        _ => return Err(Reason::Fragment),
    };
    tables.set_piece(&piece);
    Err(Reason::FragmentRead)
}

/// Finds the vip of the fragment that [`fragment`] has read. This and the next two are programs of their own because the
/// kernel's verifier follows each of the many ways of one to the end of the program.
///
/// # Errors
/// Always: [`Reason::FragmentAimed`] with the vip noted for [`datagram`], or why it goes no further.
#[inline(always)]
pub fn aim<F: Frame, T: StageTables>(_frame: &mut F, tables: &T, _ingress: u32) -> Result<Verdict, Reason> {
    let piece = tables.piece().ok_or(Reason::FragmentRead)?;
    let scene = Scene::new(tables, &piece)?;
    let mut aim = if piece.is_first() {
        scene.first()?
    } else {
        match tables.fragment(&piece.key) {
            Some(record) if scene.is_under_way(&record) => {
                let FragmentRecord { protocol, ports, state, .. } = record;
                Aim { protocol: protocol as u8, ports, state, ..Aim::default() }
            }
            _ => early::guess(&scene)?,
        }
    };
    aim.is_tracked = u8::from(!piece.is_whole());
    if aim.state & (FragmentRecord::ECHO | FragmentRecord::NO_SERVICE) == 0 {
        scene.find(&mut aim)?;
    }
    tables.set_aim(&aim);
    Err(Reason::FragmentAimed)
}

/// Finds the dest of the fragment that [`aim`] has found the vip of, among the others of its datagram.
///
/// # Errors
/// Always: [`Reason::FragmentFound`] with the dest noted for [`send`], or why it goes no further; an answer is in the frame
/// then.
#[inline(always)]
pub fn datagram<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    _ingress: u32,
) -> Result<Verdict, Reason> {
    let piece = tables.piece().ok_or(Reason::FragmentRead)?;
    let aim = tables.aim().ok_or(Reason::FragmentAimed)?;
    let scene = Scene::new(tables, &piece)?;
    let mut own = FragmentRecord::default();
    let record = tables.scratch(&mut own).ok_or(Reason::FragmentAimed)?;
    let (mut state, mut hash) = (aim.state, aim.hash);
    if aim.is_tracked != 0 {
        let mut known = Known::look_up(&scene, record);
        if known.is_under_way {
            known.join(&scene)?;
        } else {
            known.begin(&scene, &aim)?;
        }
        if piece.is_first() && aim.ring_size != 0 {
            known.agrees(&scene, &aim)?;
        }
        (state, hash) = (known.record.state, known.record.hash);
    }
    if state & FragmentRecord::ECHO != 0 {
        return echo::turn(frame, &piece, usize::from(piece.offset) & MOST_OFFSET);
    }
    if aim.ring_size == 0 {
        return Err(Reason::Fragment);
    }
    let slot = hash::ring_slot(hash, aim.ring_size);
    let Aim { ring_page, dest_base, target: vip, opens_flow, .. } = aim;
    let dest = owner(tables, Place { ring_page, dest_base }, slot)?;
    tables.set_found(&Found { dest, vip, slot, hash, opens_flow: u32::from(opens_flow) });
    Err(Reason::FragmentFound)
}

/// Ones, so many that an IP header's offset, with two tags, is below.
const MOST_OFFSET: usize = 0x1f;

/// Sends the fragment that [`datagram`] has found the dest of.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`].
#[inline(always)]
pub fn send<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let found = tables.found().ok_or(Reason::FragmentFound)?;
    let dest = tables.dest(found.dest).ok_or(Reason::NoDest)?;
    let bytes = match parse::link(frame)? {
        (ether_type::IPV6, at) => encapsulate::<F, true>(frame, at, dest, found.hash, dest.max_len)?,
        (_, at) => encapsulate::<F, false>(frame, at, dest, found.hash, dest.max_len)?,
    };
    let Found { dest: index, vip, slot, opens_flow, .. } = found;
    let leave = leave(dest, ingress);
    Ok(Verdict { leave, vip, slot, dest: index, bytes, opens_flow: opens_flow != 0 })
}

/// A fragment among what is known.
struct Scene<'a, T> {
    tables: &'a T,
    directory: &'a Directory,
    /// The options of its destination.
    address: Target,
    piece: &'a Piece,
    now_ns: u64,
}

/// The record of a fragment's datagram.
struct Known<'r> {
    record: &'r mut FragmentRecord,
    /// There is an entry, if only of a datagram that is over.
    is_there: bool,
    is_under_way: bool,
}

impl<'r> Known<'r> {
    #[inline(always)]
    fn look_up<T: StageTables>(scene: &Scene<'_, T>, record: &'r mut FragmentRecord) -> Self {
        let found = scene.tables.fragment(&scene.piece.key);
        let is_there = found.is_some();
        *record = found.unwrap_or_default();
        Self { is_under_way: is_there && scene.is_under_way(record), record, is_there }
    }

    /// Makes the record of a datagram that begins with this fragment, or follows who was faster.
    #[inline(always)]
    fn begin<T: StageTables>(&mut self, scene: &Scene<'_, T>, aim: &Aim) -> Result<(), Reason> {
        let Piece { ref key, stretch, is_last, .. } = *scene.piece;
        scene.spend()?;
        *self.record = FragmentRecord {
            seen_ns: scene.now_ns,
            hash: aim.hash,
            ports: aim.ports,
            state: aim.state,
            end: if is_last != 0 { stretch.end } else { 0 },
            protocol: u16::from(aim.protocol),
            seen: [Stretch::default(); STRETCHES],
        };
        self.record.seen[0] = stretch;
        if scene.tables.set_fragment(key, self.record, !self.is_there) {
            return Ok(());
        }
        // Another CPU was faster. Its stretches are followed from the next fragment on.
        *self.record = scene.tables.fragment(key).ok_or(Reason::FragmentFlood)?;
        Ok(())
    }

    /// Adds a fragment to the record of its datagram.
    #[inline(always)]
    fn join<T: StageTables>(&mut self, scene: &Scene<'_, T>) -> Result<(), Reason> {
        let Piece { ref key, stretch, is_last, .. } = *scene.piece;
        if self.record.state & FragmentRecord::POISONED != 0 {
            return Err(Reason::FragmentOverlap);
        }
        let added = record::add(self.record, stretch, is_last != 0);
        match added {
            Err(Misfit::Repeats) => return Err(Reason::FragmentOverlap),
            Err(Misfit::Scattered) => return Err(Reason::FragmentFlood),
            Err(Misfit::Overlaps) => self.record.state |= FragmentRecord::POISONED,
            Ok(()) => {}
        }
        self.record.seen_ns = scene.now_ns;
        scene.tables.set_fragment(key, self.record, false);
        added.map_err(|_| Reason::FragmentOverlap)
    }

    /// Whether a first fragment is for the vip that those before it were taken to be for.
    #[inline(always)]
    fn agrees<T: StageTables>(&mut self, scene: &Scene<'_, T>, aim: &Aim) -> Result<(), Reason> {
        if aim.is_learned != 0 {
            early::learn(scene, aim.ports);
        }
        if self.record.ports == aim.ports {
            return Ok(());
        }
        match scene.vip(self.record.protocol as u8, self.record.ports) {
            Some(taken_for) if taken_for.vip == aim.vip => Ok(()),
            _ => {
                self.record.state |= FragmentRecord::POISONED;
                scene.tables.set_fragment(&scene.piece.key, self.record, false);
                Err(Reason::FragmentEarly)
            }
        }
    }
}

impl<'a, T: StageTables> Scene<'a, T> {
    /// # Errors
    /// When its destination is not an address of a vip.
    #[inline(always)]
    fn new(tables: &'a T, piece: &'a Piece) -> Result<Self, Reason> {
        let directory = tables.directory().ok_or(Reason::NotVip)?;
        let address = *find_address(directory, piece).ok_or(Reason::NotVip)?;
        Ok(Self { tables, directory, address, piece, now_ns: tables.now_ns() })
    }

    /// What a first fragment says it is.
    #[inline(always)]
    fn first(&self) -> Result<Aim, Reason> {
        let Piece { protocol, ports, opens_flow, .. } = *self.piece;
        match protocol {
            TCP | UDP => {
                Ok(Aim { protocol, ports, state: FragmentRecord::PORTS, opens_flow, ..Aim::default() })
            }
            ICMP | ICMPV6 => {
                echo::check(self)?;
                Ok(Aim { protocol, state: FragmentRecord::ECHO, ..Aim::default() })
            }
            _ => Err(Reason::Fragment),
        }
    }

    /// Finds the vip.
    #[inline(always)]
    fn find(&self, aim: &mut Aim) -> Result<(), Reason> {
        let Some(vip) = self.vip(aim.protocol, aim.ports) else {
            if !self.kernel_serves(aim.protocol) {
                return Err(self.no_service());
            }
            aim.state = FragmentRecord::NO_SERVICE;
            return Ok(());
        };
        aim.vip = vip.vip;
        aim.is_learned = u8::from(aim.protocol == UDP && early::is_learned(self, vip));
        let by_addresses = aim.is_tracked != 0 && self.goes_by_addresses(vip, aim.protocol);
        if by_addresses {
            aim.is_tracked = 0;
        }
        let target = self.admit(vip, aim)?;
        aim.hash = self.hash(if by_addresses { 0 } else { aim.ports & target.ports_mask });
        aim.target = target.vip;
        aim.ring_size = target.ring_size;
        let Place { ring_page, dest_base } = self.tables.place(target);
        (aim.ring_page, aim.dest_base) = (ring_page, dest_base);
        Ok(())
    }

    /// Whether a record says something about this fragment. One that has not been touched for long does not, and a datagram
    /// that has come as a whole is over when another one begins.
    #[inline(always)]
    fn is_under_way(&self, record: &FragmentRecord) -> bool {
        let is_over = record.state & FragmentRecord::COMPLETE != 0 && self.piece.is_first();
        let timeout_ns = self.directory.control.answering.fragment_timeout_ns;
        !is_over && self.now_ns.saturating_sub(record.seen_ns) <= timeout_ns
    }

    /// The target that a fragment for a vip goes on to: the one place where it is asked.
    #[inline(always)]
    fn admit(&self, target: &'a Target, aim: &Aim) -> Result<&'a Target, Reason> {
        if target.has(Target::FRAGMENTS_DROP) {
            return Err(Reason::FragmentRefused);
        }
        let mut packet = Packet::of_flow(aim.protocol, aim.ports);
        packet.opens_flow = u64::from(aim.opens_flow);
        let key = &self.piece.key;
        let (address, client) = if self.piece.is_v6 != 0 {
            (VipAddress::V6(words_v6(key.destination)), words_v6(key.source))
        } else {
            (VipAddress::V4(self.piece.destination_v4()), client_v4(self.piece.source_v4()))
        };
        let visit = Visit { directory: self.directory, target, address, packet: &packet, client };
        gate::admit(self.tables, &visit, Asks { access: true, limits: aim.opens_flow != 0 })
    }

    /// Whether fragments for this vip go by addresses and protocol alone: only where the vip is known without ports.
    #[inline(always)]
    fn goes_by_addresses(&self, target: &Target, protocol: u8) -> bool {
        target.has(Target::FRAGMENTS_HASH) && self.address.only_port(protocol == TCP).is_some()
    }

    /// Whether a datagram for no vip's port is the kernel's, and later fragments of it could be taken for a vip's.
    #[inline(always)]
    fn kernel_serves(&self, protocol: u8) -> bool {
        const OTHERS: u32 = Target::UNKNOWN_DROP | Target::UNKNOWN_REJECT;
        !self.piece.is_whole() && !self.address.has(OTHERS) && self.address.has_vips(protocol == TCP)
    }

    /// What becomes of a fragment for no vip. Where whole packets are rejected, it is dropped.
    #[inline(always)]
    fn no_service(&self) -> Reason {
        const CLOSED: u32 = Target::UNKNOWN_DROP | Target::UNKNOWN_REJECT;
        if self.address.has(CLOSED) { Reason::ClosedPort } else { Reason::Fragment }
    }

    /// Takes one datagram from those that may begin in this second.
    #[inline(always)]
    fn spend(&self) -> Result<(), Reason> {
        let interval_ns = self.directory.control.answering.fragment_interval_ns;
        if limit::conforms(self.tables.bucket(Bucket::Fragments), self.now_ns, interval_ns) {
            Ok(())
        } else {
            Err(Reason::FragmentFlood)
        }
    }

    /// The vip of a flow to this address.
    #[inline(always)]
    fn vip(&self, protocol: u8, ports: u32) -> Option<&'a Target> {
        let packet = Packet::of_flow(protocol, ports);
        if self.piece.is_v6 != 0 {
            vip::find_v6(self.directory, words_v6(self.piece.key.destination), &packet)
        } else {
            vip::find_v4(self.directory, self.piece.destination_v4(), &packet)
        }
    }

    /// The hash of a flow from this source.
    #[inline(always)]
    fn hash(&self, ports: u32) -> u32 {
        let seed = self.directory.control.seed;
        if self.piece.is_v6 != 0 {
            hash::flow_hash_v6(words_v6(self.piece.key.source), ports, seed)
        } else {
            hash::flow_hash_v4(self.piece.source_v4(), ports, seed)
        }
    }
}

#[inline(always)]
fn find_address<'d>(directory: &'d Directory, piece: &Piece) -> Option<&'d Target> {
    if piece.is_v6 != 0 {
        vip::find_address_v6(directory, words_v6(piece.key.destination))
    } else {
        vip::find_address_v4(directory, piece.destination_v4())
    }
}
