//! What one fragment meets: its address, its vip, the flow it belongs to. Nothing is remembered here.

use lb_common::abi::{Aim, Bucket, Directory, FragmentRecord, Piece, Place, Reason, Target};
use lb_common::hash;
use lb_common::headers::words_v6;

use super::{early, echo};
use crate::gate::{self, Asks, VipAddress, Visit, client_v4};
use crate::parse::{ICMP, ICMPV6, Packet, TCP, UDP};
use crate::stages::{flow, limit};
use crate::tables::StageTables;
use crate::vip;

/// A fragment among what is known.
pub(super) struct Scene<'a, T> {
    pub(super) tables: &'a T,
    pub(super) directory: &'a Directory,
    /// The options of its destination.
    pub(super) address: Target,
    pub(super) piece: &'a Piece,
    pub(super) now_ns: u64,
}

impl<'a, T: StageTables> Scene<'a, T> {
    /// # Errors
    /// When its destination is not an address of a vip.
    #[inline(always)]
    pub(super) fn new(tables: &'a T, piece: &'a Piece) -> Result<Self, Reason> {
        let directory = tables.directory().ok_or(Reason::NotVip)?;
        let address = *find_address(directory, piece).ok_or(Reason::NotVip)?;
        Ok(Self { tables, directory, address, piece, now_ns: tables.now_ns() })
    }

    /// What a first fragment says it is.
    #[inline(always)]
    pub(super) fn first(&self) -> Result<Aim, Reason> {
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
    pub(super) fn find(&self, aim: &mut Aim) -> Result<(), Reason> {
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
        aim.past_pages = flow::pages_before_past(target);
        Ok(())
    }

    /// Whether a record says something about this fragment. One that has not been touched for long does not, and a datagram
    /// that has come as a whole is over when another one begins.
    #[inline(always)]
    pub(super) fn is_under_way(&self, record: &FragmentRecord) -> bool {
        let is_over = record.state & FragmentRecord::COMPLETE != 0 && self.piece.is_first();
        let timeout_ns = self.directory.control.answering.fragment_timeout_ns;
        !is_over && self.now_ns.saturating_sub(record.seen_ns) <= timeout_ns
    }

    /// The target that a fragment for a vip goes on to: the one place where it is asked.
    #[inline(always)]
    pub(super) fn admit(&self, target: &'a Target, aim: &Aim) -> Result<&'a Target, Reason> {
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
    pub(super) fn goes_by_addresses(&self, target: &Target, protocol: u8) -> bool {
        target.has(Target::FRAGMENTS_HASH) && self.address.only_port(protocol == TCP).is_some()
    }

    /// Whether a datagram for no vip's port is the kernel's, and later fragments of it could be taken for a vip's.
    #[inline(always)]
    pub(super) fn kernel_serves(&self, protocol: u8) -> bool {
        const OTHERS: u32 = Target::UNKNOWN_DROP | Target::UNKNOWN_REJECT;
        !self.piece.is_whole() && !self.address.has(OTHERS) && self.address.has_vips(protocol == TCP)
    }

    /// What becomes of a fragment for no vip. Where whole packets are rejected, it is dropped.
    #[inline(always)]
    pub(super) fn no_service(&self) -> Reason {
        const CLOSED: u32 = Target::UNKNOWN_DROP | Target::UNKNOWN_REJECT;
        if self.address.has(CLOSED) { Reason::ClosedPort } else { Reason::Fragment }
    }

    /// Takes one datagram from those that may begin in this second.
    #[inline(always)]
    pub(super) fn spend(&self) -> Result<(), Reason> {
        let interval_ns = self.directory.control.answering.fragment_interval_ns;
        if limit::conforms(self.tables.bucket(Bucket::Fragments), self.now_ns, interval_ns) {
            Ok(())
        } else {
            Err(Reason::FragmentFlood)
        }
    }

    /// The vip of a flow to this address.
    #[inline(always)]
    pub(super) fn vip(&self, protocol: u8, ports: u32) -> Option<&'a Target> {
        let packet = Packet::of_flow(protocol, ports);
        if self.piece.is_v6 != 0 {
            vip::find_v6(self.directory, words_v6(self.piece.key.destination), &packet)
        } else {
            vip::find_v4(self.directory, self.piece.destination_v4(), &packet)
        }
    }

    /// The hash of a flow from this source.
    #[inline(always)]
    pub(super) fn hash(&self, ports: u32) -> u32 {
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
