//! The packet generator of the benchmarks, and the sink behind what is measured.
//!
//! ```text
//!   namespace "edge"                          namespace of a lane
//!   generate --> CLIENT --> NAME  ====veth====  eth0   the balancer, or what it is compared with
//!   sink     <------------- NAME  ====veth====  eth0   sends back where it came from
//! ```
//!
//! A [`Bed`] owns the edge, a [`Lane`] is one link out of it. Packets are made in the kernel: live frames of
//! `BPF_PROG_TEST_RUN`, one thread for each core. A batch goes all the way to the sink on the core that made it, before
//! the next one is made, so that a lane that loses packets does so by itself. Where the kernel has no live frames, packets of
//! the same contents leave by an `AF_PACKET` socket ([`socket`]).
//!
//! A [`Card`] does the same on real interfaces, where other packets are as well: they pass.

mod bed;
mod card;
mod cores;
mod counts;
mod engine;
mod exit;
mod make;
pub mod object;
mod offered;
mod run;
pub mod socket;
mod zipf;

pub use bed::{Bed, Lane, Source, backend_mac, backend4, backend6};
pub use card::{Card, Glance};
pub use counts::{Counts, Latencies, Made};
pub use engine::Builtin;
pub use offered::{IMIX, Offered, Size, Spread, Traffic, VIP4, VIP6};
pub use run::Extent;

pub use crate::lab::Family;
