//! Flows whose slot of the ring has changed hands: a packet goes to the slot's owner, to its previous dest, or where its
//! flow's record says. The rules are those of [`lb_common::flow`]; here they meet the tables.

use core::hint::{black_box, cold_path};

use lb_common::abi::{
    Dest, EMPTY_SLOT, Found, IN_TRANSITION, ORPHANED_SLOT, PastHead, Place, RING_PAGE_SLOTS, Reason, Seat,
    Target, ring_pages,
};
use lb_common::flow::{self as rules, Decision, FlowState, Record, Recorded, Says, SlotSays, Way, Whose};
use lb_common::hash;
use lb_common::headers::{Ipv4, Ipv6, TcpStart, words_v6};

use crate::encap::{Fit, encapsulate};
use crate::forward::{Flow, leave};
use crate::parse::{self, Packet, TCP};
use crate::tables::{FlowEvent, FlowRecords, StageTables};
use crate::{Frame, Verdict, ether_type};

/// Notes where a packet's flow is in the tables, for [`decide`], with what the ring says of its slot, and has its bucket fetched meanwhile. What it takes of the
/// packet is read anew: kept from before, it would cost the registers of all packets.
///
/// # Errors
/// When the packet is not what it was.
#[inline(always)]
pub(crate) fn note_seat<F: Frame, T: StageTables, const V6: bool>(
    frame: &F,
    tables: &T,
    flow: &Flow<'_>,
    offset: usize,
    local: u16,
) -> Result<(), Reason> {
    cold_path();
    let offset = black_box(offset);
    let directory = tables.directory().ok_or(Reason::NotVip)?;
    let seed = directory.control.seed;
    let (key, packet) = if V6 {
        let ip: &Ipv6 = frame.at(offset).ok_or(Reason::Malformed)?;
        let packet = parse::ipv6(frame, ip, offset)?;
        let ends = (words_v6(ip.source), words_v6(ip.destination));
        (hash::flow_key_v6(ends.0, ends.1, packet.ports(), packet.protocol as u8, seed), packet)
    } else {
        let ip: &Ipv4 = frame.at(offset).ok_or(Reason::Malformed)?;
        let packet = parse::ipv4(frame, ip, offset)?;
        let ends = (u32::from_le_bytes(ip.source), u32::from_le_bytes(ip.destination));
        (hash::flow_key_v4(ends.0, ends.1, packet.ports(), packet.protocol as u8, seed), packet)
    };
    fetch(tables, key);
    let says = says(frame, &packet)?;
    tables.set_seat(&seat(tables, flow, key, says, local));
    Ok(())
}

/// Has the flow's bucket, which is seldom near, fetched while the packet goes on.
#[inline(always)]
fn fetch<T: StageTables>(tables: &T, key: u64) {
    let records = tables
        .directory()
        .and_then(|directory| tables.flows(hash::flow_bucket(key, directory.control.tracking.buckets)));
    if let Some(records) = records {
        let _nobody_waits_for_it = records.load(0);
    }
}

/// Where a flow is in the tables.
#[inline(always)]
pub(crate) fn seat<T: StageTables>(tables: &T, flow: &Flow<'_>, key: u64, says: Says, local: u16) -> Seat {
    let Place { ring_page, dest_base } = tables.place(flow.target);
    Seat {
        key,
        hash: flow.hash,
        vip: flow.target.vip,
        slot: hash::ring_slot(flow.hash, flow.target.ring_size),
        ring_page,
        dest_base,
        past_pages: pages_before_past(flow.target),
        says: says as u32,
        local: local.into(),
    }
}

/// Pages from a ring's first one to its past.
#[inline(always)]
pub(crate) fn pages_before_past(target: &Target) -> u32 {
    ring_pages(target.ring_size) + target.server_id_pages()
}

/// Sends one packet whose flow was found in the tables to the dest that it belongs to.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`].
#[inline(always)]
pub fn decide<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let seat = tables.seat().ok_or(Reason::FlowSeated)?;
    let (index, dest) = settle(tables, &seat)?;
    let fits = match parse::link(frame)? {
        (ether_type::IPV6, at) => encapsulate::<F, true>(frame, at, dest, seat.hash, Fit::Dest),
        (_, at) => encapsulate::<F, false>(frame, at, dest, seat.hash, Fit::Dest),
    };
    let Seat { hash, vip, slot, .. } = seat;
    let opens_flow = seat.says == Says::Opens as u32;
    match fits {
        Ok(bytes) => {
            let leave = leave(dest, ingress);
            Ok(Verdict { leave, vip, slot, dest: index, bytes, opens_flow })
        }
        Err(reason) => {
            if reason == Reason::TooBig {
                tables.set_found(&Found { dest: index, vip, slot, hash, opens_flow: opens_flow.into() });
            }
            Err(reason)
        }
    }
}

/// The dest of a packet whose slot is in transition; what there is to remember of its flow, is remembered.
///
/// # Errors
/// When nobody is there to serve it.
#[inline(always)]
pub(crate) fn settle<'t, T: StageTables>(tables: &'t T, seat: &Seat) -> Result<(u32, &'t Dest), Reason> {
    let (index, known) = choose(tables, seat)?;
    count(tables, known.decision.whose);
    let dest = tables.dest(index).ok_or(Reason::NoDest)?;
    remember(tables, &known, dest);
    Ok((index, dest))
}

/// What a packet says about its flow.
#[inline(always)]
fn says<F: Frame>(frame: &F, packet: &Packet) -> Result<Says, Reason> {
    if packet.protocol != u64::from(TCP) {
        return Ok(Says::Nothing);
    }
    if packet.opens_flow != 0 {
        return Ok(Says::Opens);
    }
    let tcp = frame.at::<TcpStart>(packet.layer4()).ok_or(Reason::Truncated)?;
    Ok(if tcp.flags & (TcpStart::FIN | TcpStart::RST) != 0 { Says::Ends } else { Says::Continues })
}

/// What the flow cache knows of a flow, and what was decided.
struct Known<R> {
    decision: Decision,
    tag: u32,
    records: R,
    way: Way,
    now: rules::Tick,
}

/// Chooses the dest of a flow whose slot is in transition: an index into `DESTS`.
///
/// # Errors
/// When nobody is there to serve it.
#[inline(always)]
fn choose<T: StageTables>(tables: &T, seat: &Seat) -> Result<(u32, Known<T::Flows>), Reason> {
    let Seat { key, dest_base, local, .. } = *seat;
    let now_ns = tables.now_ns();
    let past = Past::of(tables, seat).ok_or(Reason::NoBackend)?;
    let says_slot = SlotSays {
        has_previous: past.previous != EMPTY_SLOT,
        is_learning: now_ns < past.head.learning_until_ns,
        tracks_all: past.head.flags & PastHead::TRACKS_ALL != 0,
    };
    let directory = tables.directory().ok_or(Reason::NoBackend)?;
    let tracking = &directory.control.tracking;
    let (now, tag, bucket) =
        (rules::tick(now_ns), hash::flow_tag(key), hash::flow_bucket(key, tracking.buckets));
    let records = tables.flows(bucket).ok_or(Reason::NoBackend)?;
    let way = rules::way(|index| records.load(index), tag, now, tracking);
    let (recorded, recorded_dest) = match Record::from_word(way.word) {
        Some(record) if way.is_found => match tables.owner(record.owner) {
            Some(dest) => (Recorded::Yes(record.state), dest),
            None => (Recorded::Dead, 0),
        },
        _ => (Recorded::No, 0),
    };
    let decision = rules::decide(Says::from_number(seat.says), says_slot, recorded);
    let dest = match decision.whose {
        Whose::Recorded => recorded_dest,
        Whose::Previous => dest_base.wrapping_add(u32::from(past.previous)),
        Whose::Owner if local == u32::from(ORPHANED_SLOT) => return Err(Reason::NoBackend),
        Whose::Owner => dest_base.wrapping_add(local & !u32::from(IN_TRANSITION)),
    };
    Ok((dest, Known { decision, tag, records, way, now }))
}

/// What is left of a slot's past.
struct Past {
    head: PastHead,
    /// A local number, or [`EMPTY_SLOT`].
    previous: u16,
}

impl Past {
    #[inline(always)]
    fn of<T: StageTables>(tables: &T, seat: &Seat) -> Option<Self> {
        let first = seat.ring_page.wrapping_add(seat.past_pages);
        let head = PastHead::of(tables.ring_page(first)?);
        let previous = local_at(tables, first, PastHead::SLOTS + seat.slot)?;
        Some(Self { head, previous })
    }
}

/// The entry of a run of ring pages.
#[inline(always)]
fn local_at<T: StageTables>(tables: &T, first_page: u32, slot: u32) -> Option<u16> {
    let page = tables.ring_page(first_page.wrapping_add(slot / RING_PAGE_SLOTS))?;
    Some(page.slots[(slot % RING_PAGE_SLOTS) as usize])
}

/// Writes what the decision says into the flow's record, where that changes anything.
#[inline(always)]
fn remember<T: StageTables>(tables: &T, known: &Known<T::Flows>, dest: &Dest) {
    let Some(state) = known.decision.remember else { return };
    if dest.owner == 0 {
        return;
    }
    let Known { tag, way, now, .. } = *known;
    let word = Record { tag, state, seen: now, owner: dest.owner }.to_word();
    if word == way.word {
        return;
    }
    let is_written = known.records.replace(way.index, way.word, word);
    if !way.is_found || state == FlowState::Opened {
        tables.count_flow(if is_written { FlowEvent::Recorded } else { FlowEvent::Lost });
    }
    if is_written && way.evicts {
        tables.count_flow(FlowEvent::Evicted);
    }
}

#[inline(always)]
fn count<T: StageTables>(tables: &T, whose: Whose) {
    tables.count_flow(match whose {
        Whose::Owner => FlowEvent::ToOwner,
        Whose::Previous => FlowEvent::ToPrevious,
        Whose::Recorded => FlowEvent::Followed,
    });
}
