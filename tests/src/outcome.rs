//! What became of a frame, said the same way of the host's build and of the kernel's.

use std::fmt;

use lb_common::abi::{Reason, Trace};
use lb_ebpf::{Leave, Verdict};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// What a packet's way was, without what only counters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vip's number, the slot of its ring, the index into `DESTS`.
    Forwarded {
        vip: u32,
        slot: u32,
        dest: u32,
    },
    Stopped(Reason),
}

impl Outcome {
    /// What the host's build says.
    #[must_use]
    pub const fn of_host(verdict: &Result<Verdict, Reason>) -> Self {
        match verdict {
            Ok(verdict) => Self::Forwarded { vip: verdict.vip, slot: verdict.slot, dest: verdict.dest },
            Err(reason) => Self::Stopped(*reason),
        }
    }

    /// What the kernel's build has answered; `None` when it named no reason that there is.
    #[must_use]
    pub fn of_trace(trace: &Trace) -> Option<Self> {
        match trace.reason {
            u32::MAX => Some(Self::Forwarded { vip: trace.vip, slot: trace.slot, dest: trace.dest }),
            reason => Reason::from_index(reason).map(Self::Stopped),
        }
    }

    /// Whether the kernel gets the frame as it came.
    #[must_use]
    pub const fn is_pass(&self) -> bool {
        matches!(self, Self::Stopped(reason) if !reason.is_drop() && !reason.is_answer())
    }

    /// `forward`, or such as `pass not_vip`.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Forwarded { .. } => "forward".to_owned(),
            Self::Stopped(reason) => format!("{} {}", reason.kind(), reason.label()),
        }
    }

    /// Whether the frame's bytes mean anything afterwards.
    #[must_use]
    pub const fn leaves_bytes(&self) -> bool {
        !matches!(self, Self::Stopped(reason) if reason.is_drop())
    }
}

/// The action that the kernel's build must return when the host's says this.
#[must_use]
pub fn action_of(verdict: &Result<Verdict, Reason>) -> u32 {
    match verdict {
        Ok(Verdict { leave: Leave::Transmit, .. }) => XDP_TX,
        Ok(Verdict { leave: Leave::Redirect { .. }, .. }) => XDP_REDIRECT,
        Ok(Verdict { leave: Leave::Kernel, .. }) => XDP_PASS,
        Err(reason) if reason.is_answer() => XDP_TX,
        Err(reason) if reason.is_drop() => XDP_DROP,
        Err(_) => XDP_PASS,
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded { vip, slot, dest } => {
                write!(f, "forward (vip {vip}, slot {slot}, dest {dest})")
            }
            Self::Stopped(_) => f.write_str(&self.kind()),
        }
    }
}
