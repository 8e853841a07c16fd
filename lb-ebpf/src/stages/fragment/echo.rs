//! Echo requests in fragments, so that pings of all sizes are answered. The first fragment becomes the reply's first one,
//! the others are turned round as they are; none without the first, which is where it is asked whether to answer.

use lb_common::abi::{Bucket, Reason, Target};
use lb_common::headers::{Icmp, Ipv4};

use super::Scene;
use super::piece::Piece;
use crate::stages::echo::{become_reply_v4, become_reply_v6, has_source_route, turn_v4, turn_v6};
use crate::stages::reply::{answers, may_answer_v4, may_answer_v6, spend};
use crate::stages::upper::Upper;
use crate::tables::StageTables;
use crate::{Frame, Verdict};

/// Whether the datagram that a first fragment begins is an echo request that is answered.
///
/// # Errors
/// Why not.
#[inline(always)]
pub(super) fn check<F: Frame, T: StageTables>(
    frame: &F,
    scene: &Scene<'_, T>,
    upper: &Upper,
) -> Result<(), Reason> {
    let icmp: &Icmp = frame.at(upper.start).ok_or(Reason::Truncated)?;
    let request = if scene.piece.is_v6 { Icmp::V6_ECHO_REQUEST } else { Icmp::ECHO_REQUEST };
    // ICMPv6's other messages are never fragmented (RFC 4443, section 2.4; RFC 6980), errors of either never.
    let is_request = icmp.kind == request && scene.piece.is_plain && scene.piece.upper.start == upper.start;
    if !is_request || !answers(scene.tables, scene.address, Target::ANSWER_ECHO) {
        return Err(Reason::Fragment);
    }
    let source = &scene.piece.key.source;
    if scene.piece.is_v6 {
        may_answer_v6(scene.directory, *source)?;
    } else {
        may_answer_v4(scene.directory, [source[12], source[13], source[14], source[15]])?;
        if upper.start != scene.piece.offset + size_of::<Ipv4>()
            && has_source_route(frame, scene.piece.offset, upper)?
        {
            return Err(Reason::SourceRoute);
        }
    }
    spend(scene.tables, scene.directory, Bucket::Echo)
}

/// Sends a fragment back.
///
/// # Errors
/// Always: [`Reason::EchoReply`] with the answer in the frame, or why there is none.
#[inline(always)]
pub(super) fn turn<F: Frame>(frame: &mut F, piece: &Piece, upper: &Upper) -> Result<Verdict, Reason> {
    if piece.is_v6 {
        turn_v6(frame, piece.offset)?;
    } else {
        turn_v4(frame, piece.offset)?;
    }
    match (piece.is_first(), piece.is_v6) {
        (true, true) => become_reply_v6(frame, upper)?,
        (true, false) => become_reply_v4(frame, upper)?,
        (false, _) => {}
    }
    Err(Reason::EchoReply)
}
