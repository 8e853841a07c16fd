//! The `ferrolev` binary.
#![forbid(unsafe_code)]

fn main() {}
