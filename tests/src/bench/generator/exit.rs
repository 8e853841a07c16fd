//! Where packets leave: an interface, and the network namespace that it is in.

use anyhow::Result;

use crate::lab::Namespace;

/// A network namespace.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One of the lab's.
    Lab(Namespace),
    /// That of this process.
    Here,
}

/// An interface.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) place: Place,
    pub(super) interface: String,
    pub(super) ifindex: u32,
}

impl Place {
    /// Calls a function inside, and waits for it.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match self {
            Self::Lab(namespace) => namespace.inside(work),
            Self::Here => work(),
        }
    }
}
