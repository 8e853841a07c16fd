//! Differential fuzzing of the packet story: the host's build and the kernel's get the same packets, and must say and
//! write the same.
//!
//! ```text
//! Campaign: worlds over threads
//!   Generator (valid packets) -> mutate (half of them) -> Pair: host, traced in the kernel, plain in the kernel -> equal?
//!   no: shrink -> Failure, printed so that it becomes a fixture
//! ```
//!
//! Everything follows from a seed. Nothing here knows what is right; `tests/fixtures` and the property tests do.

mod campaign;
pub mod generate;
mod mutants;
pub mod mutate;
mod pair;
pub mod random;
mod shrink;

pub use campaign::{Campaign, Failure, Report};
pub use mutants::{Crash, mutants};
pub use pair::{Difference, Pair};
pub use shrink::shrink;
