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
mod known;
mod piece;
mod record;
mod scene;

use lb_common::abi::{
    Aim, EMPTY_SLOT, Found, FragmentRecord, IN_TRANSITION as SLOT_IN_TRANSITION, Piece, Place, Reason, Seat,
};
use lb_common::flow::Says;
use lb_common::hash;
use lb_common::headers::words_v6;

use self::known::Known;
use self::scene::Scene;
use crate::encap::{Fit, encapsulate, outer};
use crate::forward::{leave, local};
use crate::parse::TCP;
use crate::stages::flow;
use crate::tables::StageTables;
use crate::{Frame, Verdict, ether_type, parse};

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
    let dest = match local(tables, Place { ring_page, dest_base }, slot)? {
        EMPTY_SLOT => return Err(Reason::NoBackend),
        local if local & SLOT_IN_TRANSITION != 0 => IN_TRANSITION,
        local => dest_base.wrapping_add(u32::from(local)),
    };
    tables.set_found(&Found { dest, vip, slot, hash, opens_flow: u32::from(opens_flow) });
    Err(Reason::FragmentFound)
}

/// Ones, so many that an IP header's offset, with two tags, is below.
const MOST_OFFSET: usize = 0x1f;

/// In the place of a dest: its slot has changed hands.
const IN_TRANSITION: u32 = u32::MAX;

/// Sends the fragment that [`datagram`] has found the dest of.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`].
#[inline(always)]
pub fn send<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let piece = tables.piece().ok_or(Reason::FragmentRead)?;
    let mut found = tables.found().ok_or(Reason::FragmentFound)?;
    if found.dest == IN_TRANSITION {
        found.dest = dest_of_flow(tables, &piece, &found)?;
    }
    let dest = tables.dest(found.dest).ok_or(Reason::NoDest)?;
    let bytes = match parse::link(frame)? {
        (ether_type::IPV6, at) => encapsulate::<F, true>(frame, at, dest, found.hash, Fit::Dest)?,
        (_, at) => encapsulate::<F, false>(frame, at, dest, found.hash, Fit::Dest)?,
    };
    outer::tell_apart(frame, dest, piece.stretch.start);
    let Found { dest: index, vip, slot, opens_flow, .. } = found;
    let leave = leave(dest, ingress);
    Ok(Verdict { leave, vip, slot, dest: index, bytes, opens_flow: opens_flow != 0 })
}

/// The dest of the fragment's flow, whose slot is in transition. All fragments of a datagram have the ports of its first one.
#[inline(always)]
fn dest_of_flow<T: StageTables>(tables: &T, piece: &Piece, found: &Found) -> Result<u32, Reason> {
    let Aim { ports, protocol, opens_flow, ring_page, dest_base, past_pages, .. } =
        tables.aim().ok_or(Reason::FragmentAimed)?;
    let seed = tables.directory().ok_or(Reason::NotVip)?.control.seed;
    let key = if piece.is_v6 != 0 {
        let (source, destination) = (words_v6(piece.key.source), words_v6(piece.key.destination));
        hash::flow_key_v6(source, destination, ports, protocol, seed)
    } else {
        hash::flow_key_v4(piece.source_v4(), piece.destination_v4(), ports, protocol, seed)
    };
    let says = match protocol {
        TCP if opens_flow != 0 => Says::Opens,
        TCP => Says::Continues,
        _ => Says::Nothing,
    };
    let Found { vip, slot, hash, .. } = *found;
    let local = local(tables, Place { ring_page, dest_base }, slot)?.into();
    let says = says as u32;
    let seat = Seat { key, hash, vip, slot, ring_page, dest_base, past_pages, says, local };
    Ok(flow::settle(tables, &seat)?.0)
}
