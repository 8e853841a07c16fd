//! A packet's bytes, as the story sees them.

use bytemuck::Pod;

/// Bytes from the Ethernet header on. All offsets count from the current first byte.
pub trait Frame {
    /// Bytes in the frame that can be looked at. A jumbo frame may have more, in further buffers.
    fn len(&self) -> usize;

    /// Bytes in the frame, all buffers together. Costs a call.
    fn whole_len(&self) -> usize;

    /// A view of the bytes at `offset`, or `None` when the frame is too short. `T` must have alignment 1.
    fn at<T: Pod>(&self, offset: usize) -> Option<&T>;

    /// Like [`Self::at`], for writing.
    fn at_mut<T: Pod>(&mut self, offset: usize) -> Option<&mut T>;

    /// Adds `bytes` undefined bytes in front of the first one, or takes `-bytes` away there. `None`, and nothing changed,
    /// when there is no room.
    fn extend_front(&mut self, bytes: i32) -> Option<()>;

    /// Cuts the frame's end off, so that `len` bytes are left. `None`, and nothing changed, when that cannot be.
    fn truncate(&mut self, len: usize) -> Option<()>;

    /// Whether there is no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
