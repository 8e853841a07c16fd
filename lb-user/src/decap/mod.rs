//! The decapsulation agent on a backend.

pub mod options;
