//! Where a frame came in, for answers that only some of a host's interfaces give.

use lb_common::abi::{Interface, InterfaceKey};

use crate::tables::StageTables;
use crate::{Frame, parse};

/// The interface, and the places that it stands for in the VLAN of the frame. A VLAN that no address is confined to is none of
/// them. `None`: nothing is answered there.
#[inline(always)]
pub(super) fn receiver<F: Frame, T: StageTables>(frame: &F, tables: &T, ifindex: u32) -> Option<Interface> {
    let vlans = parse::vlans(frame)?;
    if vlans != 0
        && let Some(known) = tables.interface(&InterfaceKey { ifindex, vlans })
    {
        return Some(known);
    }
    let interface = tables.interface(&InterfaceKey { ifindex, vlans: 0 })?;
    Some(if vlans == 0 { interface } else { Interface { places: 0, ..interface } })
}
