//! Fragments. They are not followed yet: the kernel gets them, with a reason of their own.

use lb_common::abi::Reason;

use crate::tables::StageTables;
use crate::{Frame, Verdict};

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn fragment<F: Frame, T: StageTables>(
    frame: &mut F,
    tables: &T,
    ingress: u32,
) -> Result<Verdict, Reason> {
    let _ = (frame, tables, ingress);
    Err(Reason::Fragment)
}
