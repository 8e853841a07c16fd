//! VRRP: which of several nodes has a virtual router's addresses. Everything here is pure: packets, time, and what is
//! known of this host come in as values; what is to be done goes out as values.
//!
//! ```text
//! packet ─> wire: bytes -> Advert ─> filter: is it for this virtual router? ─┐
//! tracking ─> track: priority, fault ─> group: all members alike ────────────┼─> machine ─> actions:
//! tables, checks ─> gate: may it be master yet? ─────────────────────────────┤     send, own until, release,
//! commands, time ────────────────────────────────────────────────────────────┘     announce, report
//! ```
//!
//! No sockets, no clock, no files, no kernel: the caller owns them, and tests simulate them. The words are those of
//! RFC 9568 and keepalived.
#![forbid(unsafe_code)]

pub mod announce;
pub mod filter;
pub mod gate;
pub mod group;
pub mod lease;
pub mod machine;
pub mod moment;
pub mod seen;
pub mod timers;
pub mod track;
pub mod wire;

pub use moment::Moment;
