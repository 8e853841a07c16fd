//! `cargo xtask generate`: the benchmark's packets out of a real interface, and what of them arrives at another one, of this
//! host or of a backend. What it may do is decided in [`Arguments::plan`]; packets are made and counted by
//! [`crate::bench::generator::Card`].

mod arguments;
pub mod interface;
mod run;
mod text;
mod values;

pub use arguments::{Arguments, Collecting, Plan, Sending};
pub use run::run;
