//! Addresses in the tables: the entry beside a vip's own, and what limits the program's answers.

use lb_common::abi::{Answering, Target};

use crate::state::{Announce, Answers, DesiredAddress, Oversize, Tunnel, UnknownPorts};

const NANOS: u64 = 1_000_000_000;

/// The entry of an address.
pub(super) fn target(address: &DesiredAddress) -> Target {
    let flag = |on: bool, flag: u32| if on { flag } else { 0 };
    let flags = flag(address.announce == Announce::Arp, Target::ANSWER_NEIGHBOURS)
        | flag(address.ping, Target::ANSWER_ECHO)
        | match address.unknown_ports {
            UnknownPorts::Pass => 0,
            UnknownPorts::Drop => Target::UNKNOWN_DROP,
            UnknownPorts::Reject => Target::UNKNOWN_REJECT,
        };
    Target { place: u64::MAX, flags, ..Target::default() }
}

pub(super) fn answering(answers: &Answers, tunnel: &Tunnel) -> Answering {
    let interval = |per_second: u32| NANOS.checked_div(u64::from(per_second)).unwrap_or(0);
    Answering {
        reply_interval_ns: interval(answers.replies_per_second),
        fragment_interval_ns: interval(answers.fragments_per_second),
        fragment_timeout_ns: u64::try_from(answers.fragment_timeout.as_nanos()).unwrap_or(u64::MAX),
        oversize_to_kernel: u64::from(tunnel.oversize == Oversize::Kernel),
    }
}
