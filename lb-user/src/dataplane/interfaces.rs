//! What the program has to know of the interfaces it answers on: their MAC addresses, read anew at every change. An
//! interface that is none of Ethernet's has none, and nothing is answered there.

use lb_common::abi::{Interface, LOOPBACK_IFINDEX};

use crate::net::link;

/// Entries of `INTERFACES` for these interfaces. `test_runs`: also for what enters by `BPF_PROG_TEST_RUN`.
pub(super) fn facts<'n>(
    names: impl IntoIterator<Item = &'n str>,
    test_runs: bool,
) -> impl Iterator<Item = (u32, Interface)> {
    let attached = names.into_iter().filter_map(|name| match (link::ifindex(name), link::mac(name)) {
        (Ok(ifindex), Ok(mac)) => Some((ifindex, Interface { mac, ..Interface::default() })),
        (_, Err(error)) | (Err(error), _) => {
            tracing::debug!(interface = name, %error, "nothing is answered on it");
            None
        }
    });
    attached.chain(test_runs.then_some((LOOPBACK_IFINDEX, Interface::OF_TEST_RUNS)))
}
