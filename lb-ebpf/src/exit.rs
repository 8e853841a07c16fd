//! Exits from the packet story, kept off the fast way.
//!
//! A reason that the compiler knows would be put into a register in front of every test that may lead to it, on the way of
//! all the packets that pass the test. So it forgets which reason it is: the exit makes it, and nothing before. That these ways
//! are cold keeps their values out of the registers of the others.

use core::hint::{black_box, cold_path};

use lb_common::abi::Reason;

/// The packet leaves for `reason`.
#[inline(always)]
pub(crate) fn exit<T>(reason: Reason) -> Result<T, Reason> {
    cold_path();
    Err(black_box(reason))
}

/// What is there, or an exit.
pub(crate) trait OrExit<T> {
    /// Like [`Option::ok_or`], by way of [`exit`].
    fn or_exit(self, reason: Reason) -> Result<T, Reason>;
}

impl<T> OrExit<T> for Option<T> {
    #[inline(always)]
    fn or_exit(self, reason: Reason) -> Result<T, Reason> {
        match self {
            Some(value) => Ok(value),
            None => exit(reason),
        }
    }
}
