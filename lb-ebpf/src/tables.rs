//! What user space has decided, as the story reads it.

use lb_common::abi::{Dest, Directory, Place, RingPage, Target};

/// The tables behind a packet's way. Every lookup that finds nothing is a valid state, never a defect of the packet.
pub trait Tables {
    fn directory(&self) -> Option<&Directory>;

    /// The target's ring and dests, read at once: user space may move them at any moment.
    fn place(&self, target: &Target) -> Place;

    fn ring_page(&self, page: u32) -> Option<&RingPage>;

    fn dest(&self, index: u32) -> Option<&Dest>;
}
