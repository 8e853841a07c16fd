//! What a run of the benchmarks has found, in one form for all sections: figures in rows of tables, told to a [`Sink`] as soon as
//! they are known, printed at once, kept for JSON and HTML, and held against an earlier run. It measures nothing itself.

mod compare;
pub mod html;
mod machine;
mod model;
mod sink;
mod text;

pub use compare::{Change, Comparison, Place, Verdict};
pub use machine::Machine;
pub use model::{Better, Cell, Column, Figure, Report, Row, Section, Table, VERSION};
pub use sink::Sink;

/// How long a section may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Meant to end within three minutes for all sections together, on a machine that does nothing else.
    Quick,
    Full,
}

impl Effort {
    #[must_use]
    pub const fn is_quick(self) -> bool {
        matches!(self, Self::Quick)
    }

    /// One of two, by how long it may take.
    #[must_use]
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}
