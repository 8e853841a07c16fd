//! The thread's place in the scheduler's order.
//!
//! A host whose CPUs are all busy lets an ordinary thread wait for tens of milliseconds: longer than three adverts of 10 ms. The
//! thread sleeps nearly always and does little at a time, so it is put in front of all ordinary ones (`SCHED_RR`, as
//! keepalived's `vrrp_rt_priority` does), at the lowest real-time priority, in front of no real-time thread of others. What
//! it would start begins as an ordinary process.

use std::io;

const LOWEST: i32 = 1;

/// Puts the calling thread in front of ordinary ones.
///
/// # Errors
/// When the daemon may not: without `CAP_SYS_NICE` and with no `RLIMIT_RTPRIO`, or in a control group without real-time.
pub(super) fn raise() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: LOWEST };
    // SAFETY: the parameters outlive the call; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
