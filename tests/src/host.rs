//! The packet story on the host: a frame in a vector, and the tables as the layout's writes leave them.

use bytemuck::{Pod, Zeroable};
use lb_common::abi::{
    Dest, Directory, LOOPBACK_IFINDEX, Place, RING_PAGE_SLOTS, Reason, RingPage, Target, VIP_SLOTS,
};
use lb_ebpf::{Frame, Tables, Verdict};
use lb_user::dataplane::layout::{Capacity, Layout, Write};
use lb_user::state::Forwarding;

/// Room in front of a frame, as drivers leave it (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;

/// A frame with room in front.
#[derive(Clone, Debug)]
pub struct HostFrame {
    bytes: Vec<u8>,
    start: usize,
}

impl HostFrame {
    #[must_use]
    pub fn new(frame: &[u8]) -> Self {
        Self { bytes: [&[0; HEADROOM], frame].concat(), start: HEADROOM }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Frame for HostFrame {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn at<T: Pod>(&self, offset: usize) -> Option<&T> {
        let bytes = self.bytes().get(offset..)?.get(..size_of::<T>())?;
        Some(bytemuck::from_bytes(bytes))
    }

    fn at_mut<T: Pod>(&mut self, offset: usize) -> Option<&mut T> {
        let bytes = self.bytes[self.start..].get_mut(offset..)?.get_mut(..size_of::<T>())?;
        Some(bytemuck::from_bytes_mut(bytes))
    }

    fn extend_front(&mut self, bytes: i32) -> Option<()> {
        let start = i64::try_from(self.start).ok()? - i64::from(bytes);
        let start = usize::try_from(start).ok().filter(|start| *start <= self.bytes.len())?;
        self.start = start;
        Some(())
    }
}

/// The tables as ordinary vectors.
#[derive(Debug)]
pub struct HostTables {
    directory: Box<Directory>,
    rings: Vec<RingPage>,
    dests: Vec<Dest>,
}

impl HostTables {
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        Self {
            directory: bytemuck::zeroed_box(),
            rings: vec![RingPage::zeroed(); capacity.ring_pages as usize],
            dests: vec![Dest::zeroed(); capacity.dests as usize],
        }
    }

    /// Tables for `forwarding`, and the layout behind them.
    ///
    /// # Panics
    /// When they are too small.
    #[must_use]
    pub fn filled(capacity: Capacity, forwarding: &Forwarding) -> (Self, Layout) {
        let (layout, writes) = Layout::new(capacity).stage(forwarding).expect("room in the tables");
        let mut tables = Self::new(capacity);
        writes.iter().for_each(|write| tables.write(write));
        (tables, layout)
    }

    /// Carries out one step of a change.
    pub fn write(&mut self, write: &Write) {
        match write {
            Write::Device { .. } => {}
            Write::Settle(retired) => {
                retired.iter().for_each(|dest| self.dests[dest.index as usize] = Dest::zeroed());
            }
            Write::Dest { index, dest } => self.dests[*index as usize] = **dest,
            Write::Ring { page, slots } => {
                for (page, part) in (*page as usize..).zip(slots.chunks(RING_PAGE_SLOTS as usize)) {
                    self.rings[page].slots[..part.len()].copy_from_slice(part);
                }
            }
            Write::Seed(seed) => self.directory.control.seed = *seed,
            Write::Place { is_v6: true, index, place } => {
                self.directory.vip6[*index as usize].target.place = place.to_word();
            }
            Write::Place { index, place, .. } => {
                self.directory.vip4[*index as usize].target.place = place.to_word()
            }
            Write::Bank { number, bank } => {
                let slots = (number * VIP_SLOTS) as usize..((number + 1) * VIP_SLOTS) as usize;
                self.directory.vip4[slots.clone()].copy_from_slice(&bank.vip4);
                self.directory.vip6[slots].copy_from_slice(&bank.vip6);
                self.directory.control.salt[*number as usize] = bank.salt;
            }
            Write::Filter(words) => self.directory.control.filter = **words,
            Write::Switch { bank } => self.directory.control.bank = *bank,
        }
    }

    /// Balances one frame that comes in where a test run does.
    pub fn run(&self, frame: &[u8]) -> (Result<Verdict, Reason>, Vec<u8>) {
        let mut frame = HostFrame::new(frame);
        let verdict = lb_ebpf::balance(&mut frame, self, LOOPBACK_IFINDEX);
        (verdict, frame.bytes().to_vec())
    }
}

impl Tables for HostTables {
    fn directory(&self) -> Option<&Directory> {
        Some(&self.directory)
    }

    fn place(&self, target: &Target) -> Place {
        Place::from_word(target.place)
    }

    fn ring_page(&self, page: u32) -> Option<&RingPage> {
        self.rings.get(page as usize)
    }

    fn dest(&self, index: u32) -> Option<&Dest> {
        self.dests.get(index as usize)
    }
}
