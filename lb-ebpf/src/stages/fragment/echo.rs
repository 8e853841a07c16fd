//! Echo requests in fragments, so that pings of all sizes are answered. The first fragment becomes the reply's first one,
//! the others are turned round as they are; none without the first, which is where it is asked whether to answer. Requests
//! with IPv4 options or IPv6 extension headers are not answered.

use lb_common::abi::{Bucket, Piece, Reason, Target};
use lb_common::headers::{Ipv4, Ipv6, Ipv6Fragment};

use super::scene::Scene;
use crate::stages::echo::{become_reply_v4, become_reply_v6, turn_v4, turn_v6};
use crate::stages::reply::{may_answer_v4, may_answer_v6, spend};
use crate::tables::StageTables;
use crate::{Frame, Verdict};

/// Whether the datagram that a first fragment begins is an echo request that is answered.
///
/// # Errors
/// Why not.
#[inline(always)]
pub(super) fn check<T: StageTables>(scene: &Scene<'_, T>) -> Result<(), Reason> {
    // ICMPv6's other messages are never fragmented (RFC 4443, section 2.4; RFC 6980), errors of either never.
    if scene.piece.asks_echo == 0 || !scene.address.has(Target::ANSWER_ECHO) {
        return Err(Reason::Fragment);
    }
    let source = scene.piece.key.source;
    if scene.piece.is_v6 != 0 {
        may_answer_v6(scene.directory, source)?;
    } else {
        may_answer_v4(scene.directory, [source[12], source[13], source[14], source[15]])?;
    }
    spend(scene.tables, scene.directory, Bucket::Echo)
}

/// Sends a fragment back.
///
/// # Errors
/// Always: [`Reason::EchoReply`] with the answer in the frame, or why there is none.
#[inline(always)]
pub(super) fn turn<F: Frame>(frame: &mut F, piece: &Piece, offset: usize) -> Result<Verdict, Reason> {
    if piece.is_v6 != 0 {
        turn_v6(frame, offset)?;
        if piece.is_first() {
            become_reply_v6(frame, offset + size_of::<Ipv6>() + size_of::<Ipv6Fragment>())?;
        }
    } else {
        turn_v4(frame, offset)?;
        if piece.is_first() {
            become_reply_v4(frame, offset + size_of::<Ipv4>())?;
        }
    }
    Err(Reason::EchoReply)
}
