//! The record of a fragment's datagram: made, added to, and held against what a first fragment says. What fits together,
//! `record.rs` says.

use lb_common::abi::{Aim, FragmentRecord, Piece, Reason, STRETCHES, Stretch};

use super::early;
use super::record::{self, Misfit};
use super::scene::Scene;
use crate::tables::StageTables;

/// The record of a fragment's datagram.
pub(super) struct Known<'r> {
    pub(super) record: &'r mut FragmentRecord,
    /// There is an entry, if only of a datagram that is over.
    pub(super) is_there: bool,
    pub(super) is_under_way: bool,
}

impl<'r> Known<'r> {
    #[inline(always)]
    pub(super) fn look_up<T: StageTables>(scene: &Scene<'_, T>, record: &'r mut FragmentRecord) -> Self {
        let is_there = scene.tables.read_fragment(&scene.piece.key, record);
        Self { is_under_way: is_there && scene.is_under_way(record), record, is_there }
    }

    /// Makes the record of a datagram that begins with this fragment, or follows who was faster.
    #[inline(always)]
    pub(super) fn begin<T: StageTables>(&mut self, scene: &Scene<'_, T>, aim: &Aim) -> Result<(), Reason> {
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
        let FragmentRecord { hash, ports, state, protocol, .. } =
            scene.tables.fragment(key).ok_or(Reason::FragmentFlood)?;
        (self.record.hash, self.record.ports) = (hash, ports);
        (self.record.state, self.record.protocol) = (state, protocol);
        Ok(())
    }

    /// Adds a fragment to the record of its datagram.
    #[inline(always)]
    pub(super) fn join<T: StageTables>(&mut self, scene: &Scene<'_, T>) -> Result<(), Reason> {
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
    pub(super) fn agrees<T: StageTables>(&mut self, scene: &Scene<'_, T>, aim: &Aim) -> Result<(), Reason> {
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
