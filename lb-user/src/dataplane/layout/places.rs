//! Which bit stands for which interface that addresses are confined to (`announce_on`). An interface keeps its bit for as
//! long as an address names it, so that what packets read fits together at any moment of a change.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::Target;

use crate::dataplane::DataplaneError;
use crate::state::DesiredAddress;

/// All bits together would mean [`Target::EVERYWHERE`].
const MAX_NAMES: u8 = 63;

/// The bits by interface name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, u8>);

impl Places {
    /// Gives bits to the interfaces that are named now. A bit that has just become free is the last to be given away.
    ///
    /// # Errors
    /// When there are too many.
    pub(in crate::dataplane) fn follow(
        &mut self,
        addresses: &BTreeMap<IpAddr, DesiredAddress>,
    ) -> Result<(), DataplaneError> {
        let named: BTreeSet<&String> = addresses.values().flat_map(|address| &address.announce_on).collect();
        let before: BTreeSet<u8> = self.0.values().copied().collect();
        self.0.retain(|name, _| named.contains(name));
        for name in named {
            if !self.0.contains_key(name) {
                let free = |bit: &u8| !self.0.values().any(|taken| taken == bit);
                let fresh = (0..MAX_NAMES).filter(|bit| !before.contains(bit)).find(free);
                let bit = fresh.or_else(|| (0..MAX_NAMES).find(free)).ok_or_else(|| {
                    let what = format!(
                        "addresses are confined to more than {MAX_NAMES} interfaces; name fewer in announce_on ="
                    );
                    DataplaneError::Other(what)
                })?;
                self.0.insert(name.clone(), bit);
            }
        }
        Ok(())
    }

    /// The bit of an interface; none when no address names it.
    pub(in crate::dataplane) fn of(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |bit| 1 << bit)
    }

    /// Where neighbours are answered for an address.
    pub(super) fn of_address(&self, address: &DesiredAddress) -> u64 {
        if address.announce_on.is_empty() {
            return Target::EVERYWHERE;
        }
        address.announce_on.iter().fold(0, |bits, name| bits | self.of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(names: &[String]) -> BTreeMap<IpAddr, DesiredAddress> {
        let confined = DesiredAddress { announce_on: names.to_vec(), ..DesiredAddress::default() };
        BTreeMap::from([("192.0.2.1".parse().unwrap(), confined)])
    }

    fn names(numbers: std::ops::Range<u8>) -> Vec<String> {
        numbers.map(|number| format!("eth{number}")).collect()
    }

    #[test]
    fn an_interface_keeps_its_bit_and_a_new_one_gets_none_that_was_in_use() {
        let mut places = Places::default();
        places.follow(&addresses(&names(0..3))).unwrap();
        let (first, third) = (places.of("eth0"), places.of("eth2"));
        places.follow(&addresses(&["eth2".to_owned(), "eth9".to_owned()])).unwrap();
        assert_eq!((places.of("eth0"), places.of("eth2")), (0, third));
        assert!(places.of("eth9") != 0 && places.of("eth9") != first);
    }

    #[test]
    fn bits_run_out_with_a_way_out() {
        let mut places = Places::default();
        places.follow(&addresses(&names(0..63))).unwrap();
        assert_ne!(places.of_address(&addresses(&names(0..63)).into_values().next().unwrap()), u64::MAX);
        places.follow(&addresses(&names(63..126))).unwrap();
        let text = places.follow(&addresses(&names(0..64))).unwrap_err().to_string();
        assert!(text.contains("announce_on"), "{text}");
    }

    #[test]
    fn an_address_without_names_is_answered_everywhere() {
        assert_eq!(Places::default().of_address(&DesiredAddress::default()), Target::EVERYWHERE);
    }
}
