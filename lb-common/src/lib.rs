//! What Ferrolev's kernel side and user side must agree on, byte for byte.
//!
//! `abi` lays out the map values, `hash` turns packets into slots, `maglev` builds rings, `checksum` does
//! ones' complement sums, `flow` and `transition` say what becomes of flows whose slot has changed hands, and `headers`
//! views packet bytes. Nothing here touches a kernel interface, so every part
//! runs in an ordinary test on the host.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(not(target_arch = "bpf"))]
extern crate alloc;

pub mod abi;
pub mod checksum;
pub mod flow;
pub mod hash;
pub mod headers;
#[cfg(not(target_arch = "bpf"))]
pub mod maglev;
#[cfg(not(target_arch = "bpf"))]
pub mod transition;
