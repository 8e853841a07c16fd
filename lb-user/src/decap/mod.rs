//! The decapsulation agent on a backend: takes tunnel headers off in XDP, before the kernel sees the packet.
//!
//! It lives as long as its process: the attachment is not pinned, and ends with it. Tunnels end at every address of this
//! host, as addresses come and go.

pub mod options;
mod program;
mod run;

pub use run::run;
