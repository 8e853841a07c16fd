//! What few packets need. Each stage is a program of its own in the kernel and reads the packet anew; which one a packet
//! goes to says [`Reason::stage`].

mod arp;
mod closed;
mod echo;
pub(crate) mod flow;
mod fragment;
mod icmp;
mod icmp_error;
pub(crate) mod limit;
mod neighbour;
mod policy;
mod receiver;
mod reply;
mod reset;
mod too_big;
mod upper;

use lb_common::abi::{Reason, Stage};

use crate::tables::StageTables;
use crate::{Frame, Verdict};

pub use arp::arp;
pub use closed::closed;
pub use flow::decide;
pub use fragment::{aim, datagram, fragment, send};
pub use icmp::icmp;
pub use policy::policy;
pub use too_big::too_big;

/// The whole way of a packet, through as many stages as it takes: what the kernel does by tail calls.
///
/// # Errors
/// Why the packet is not forwarded, as in [`crate::balance`]; an answer is in the frame then.
pub fn run<F: Frame, T: StageTables>(frame: &mut F, tables: &T, ingress: u32) -> Result<Verdict, Reason> {
    let mut result = crate::balance(frame, tables, ingress);
    let mut last = None;
    while let Err(reason) = result
        && let Some(stage) = next(reason, last)
    {
        result = match stage {
            Stage::Policy => policy(frame, tables, ingress),
            Stage::Arp => arp(frame, tables, ingress),
            Stage::Icmp => icmp(frame, tables, ingress),
            Stage::Fragment => fragment(frame, tables, ingress),
            Stage::Aim => aim(frame, tables, ingress),
            Stage::Datagram => datagram(frame, tables, ingress),
            Stage::Send => send(frame, tables, ingress),
            Stage::Closed => closed(frame, tables, ingress),
            Stage::Decide => decide(frame, tables, ingress),
            Stage::TooBig => too_big(frame, tables, ingress),
        };
        last = Some(stage);
    }
    result
}

/// The stage that a packet goes to which left `last` (or the balancer) with `reason`.
#[must_use]
#[inline(always)]
pub fn next(reason: Reason, last: Option<Stage>) -> Option<Stage> {
    match (reason.stage(), last) {
        (Some(stage), Some(last)) if stage as u32 <= last as u32 => None,
        (stage, _) => stage,
    }
}
