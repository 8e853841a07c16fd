//! Vips with access lists, limits or routes: the whole way again, with everything that they ask.

use lb_common::abi::Reason;

use crate::gate::PolicyGate;
use crate::tables::StageTables;
use crate::{Frame, Verdict, walk};

/// Balances one packet of such a vip.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`].
#[inline(always)]
pub fn policy<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    walk::<F, T, PolicyGate>(frame, tables, ingress)
}
