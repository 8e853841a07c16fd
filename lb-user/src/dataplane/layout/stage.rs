//! A change as a row of steps: all at once where there is room for it, or in portions.

use std::sync::Arc;

use super::{Entries, EntryKey, Layout, Write, entries, fixed};
use crate::dataplane::DataplaneError;
use crate::state::{ForwardVip, Forwarding, Tunnel};

impl Layout {
    /// The layout after a change to `forwarding`, and the steps that lead there.
    ///
    /// # Errors
    /// When a table is too small; nothing is written then.
    pub fn stage(&self, forwarding: &Forwarding) -> Result<(Self, Vec<Write>), DataplaneError> {
        match at_once(self.clone(), Vec::new(), forwarding) {
            Err(error) if is_full(&error) => {}
            other => return other,
        }
        if self.has_retired() {
            let (settled, writes) = self.settled();
            match at_once(settled, writes, forwarding) {
                Err(error) if is_full(&error) => {}
                other => return other,
            }
        }
        self.in_portions(forwarding)
    }

    /// For want of room, vips and routes that only get another place move one after the other, each into what those before it
    /// have left. No vip depends on another's ring.
    fn in_portions(&self, forwarding: &Forwarding) -> Result<(Self, Vec<Write>), DataplaneError> {
        let (mut next, mut writes) = self.settled();
        for (key, vip) in entries(forwarding) {
            if next.is_placed(&key, vip, &forwarding.tunnel) || !next.only_moves(&key, vip) {
                continue;
            }
            let moved = match next.moved(key, vip, &forwarding.tunnel) {
                Err(error) if is_full(&error) && next.has_retired() => {
                    let (settled, settling) = next.settled();
                    writes.extend(settling);
                    settled.moved(key, vip, &forwarding.tunnel)
                }
                other => other,
            };
            let (after, steps) = moved?;
            next = after;
            writes.extend(steps);
        }
        let (settled, settling) = next.settled();
        writes.extend(settling);
        at_once(settled, writes, forwarding)
    }

    /// The layout with everything free that was retired.
    fn settled(&self) -> (Self, Vec<Write>) {
        let mut next = self.clone();
        let writes = vec![next.settle()];
        (next, writes)
    }

    /// Whether what is new about an entry is all in its ring and its dests.
    fn only_moves(&self, key: &EntryKey, vip: &ForwardVip) -> bool {
        self.entries.get(key).is_some_and(|placed| fixed(&placed.vip) == fixed(vip))
    }

    /// The layout with one entry where it is to be, and the steps that lead there.
    fn moved(
        &self,
        key: EntryKey,
        vip: &Arc<ForwardVip>,
        tunnel: &Tunnel,
    ) -> Result<(Self, Vec<Write>), DataplaneError> {
        let (mut next, mut writes) = (self.clone(), Vec::new());
        next.devices_for(&Entries::from([(key, vip)]), &mut writes)?;
        if next.place_entry(&key, vip, tunnel, &mut writes)? {
            writes.push(next.place_of(key));
        }
        Ok((next, writes))
    }
}

/// All that changes, beside what is there.
fn at_once(
    mut next: Layout,
    mut writes: Vec<Write>,
    forwarding: &Forwarding,
) -> Result<(Layout, Vec<Write>), DataplaneError> {
    next.change(forwarding, &mut writes)?;
    Ok((next, writes))
}

/// Whether more room would help.
const fn is_full(error: &DataplaneError) -> bool {
    matches!(error, DataplaneError::Full { .. } | DataplaneError::TooManyPrefixes { .. })
}
