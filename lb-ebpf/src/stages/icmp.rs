//! ICMP and ICMPv6 for a vip's address: errors go to the backend of the flow they are about, echo requests and neighbour solicitations are answered.

use lb_common::abi::Reason;

use crate::tables::StageTables;
use crate::{Frame, Verdict};

/// Decides about one packet that the balancer left with a reason of this stage.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
#[inline(always)]
pub fn icmp<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let _ = (frame, tables, ingress);
    Err(Reason::Icmp)
}
