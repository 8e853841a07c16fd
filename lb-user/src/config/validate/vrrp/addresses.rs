//! Addresses whose owner is elected: each once, and with what its vips say of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Around;
use crate::config::address::why_unusable;
use crate::config::file::Addresses;
use crate::config::reader::Located;
use crate::config::validate::Check;
use crate::state::{Announce, DesiredAddress};
use crate::vrrp::Address;

/// The addresses so far, with who has them in which line.
#[derive(Default)]
pub(super) struct Taken(BTreeMap<IpAddr, (String, u32)>);

impl Taken {
    /// Of a virtual router on `interface`.
    pub(super) fn router(
        &mut self,
        check: &mut Check<'_>,
        around: &Around<'_>,
        (object, key): (&str, &str),
        found: &Addresses,
        interface: &str,
    ) -> Vec<Address> {
        let mut addresses = Vec::new();
        for found in &found.value {
            let (address, prefix_len) = found.value;
            let say = |text: String| format!("{object}: {key}: {address} {text}");
            // The first address of a virtual router of IPv6 is a link-local one.
            let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if let Some(why) = why_unusable(address).filter(|_| !link_local) {
                check.problems.add(found.line, say(why));
                continue;
            }
            if !self.take(check, object, key, found) {
                continue;
            }
            let backends = &around.objects.backends;
            if let Some((name, _)) = backends.iter().find(|(_, backend)| backend.address == address) {
                let text = say(format!("is the address of backend {name}; a backend is another host"));
                check.problems.add(found.line, text);
            }
            let vip = around.addresses.get(&address);
            if let Some(desired) = vip {
                of_vip(check, around, address, desired, found.line, &say);
            }
            addresses.push(Address {
                address,
                prefix_len: prefix_len.unwrap_or_else(|| whole(address)),
                announce: vip.map_or(Announce::Address, |desired| desired.announce),
                is_vip: vip.is_some(),
                on: vip
                    .and_then(|desired| desired.announce_on.first().cloned())
                    .filter(|name| name != interface),
            });
        }
        addresses
    }

    /// Of another program's election.
    pub(super) fn external(
        &mut self,
        check: &mut Check<'_>,
        around: &Around<'_>,
        object: &str,
        found: &Addresses,
    ) -> Vec<Address> {
        let mut addresses = Vec::new();
        if found.value.is_empty() {
            let text = format!("{object}: addresses: the list is empty; name addresses of vips");
            check.problems.add(found.line, text);
        }
        for found in &found.value {
            let (address, prefix_len) = found.value;
            let say = |text: String| format!("{object}: addresses: {address} {text}");
            if !self.take(check, object, "addresses", found) {
                continue;
            }
            if let Some(len) = prefix_len {
                let text =
                    say(format!("has a prefix length, /{len}, that is of no use here; write \"{address}\""));
                check.problems.add(found.line, text);
            }
            let Some(desired) = around.addresses.get(&address) else {
                check
                    .problems
                    .add(found.line, say("is no vip's address; add a [[vip]], or take it out".to_owned()));
                continue;
            };
            if desired.announce == Announce::None {
                let text = "is announced by nobody here, so that there is nothing to own; write announce = \"arp\" in its vip, or take it out";
                check.problems.add(found.line, say(text.to_owned()));
            }
            of_vip(check, around, address, desired, found.line, &say);
            let on = desired.announce_on.first().cloned();
            addresses.push(Address {
                address,
                prefix_len: whole(address),
                announce: desired.announce,
                is_vip: true,
                on,
            });
        }
        addresses
    }

    fn take(
        &mut self,
        check: &mut Check<'_>,
        object: &str,
        key: &str,
        found: &Located<(IpAddr, Option<u8>)>,
    ) -> bool {
        let address = found.value.0;
        if let Some((other, line)) = self.0.get(&address) {
            let text = format!(
                "{object}: {key}: {address} is in {other} in line {line} already; it can have one owner only: remove one"
            );
            check.problems.add(found.line, text);
            return false;
        }
        self.0.insert(address, (object.to_owned(), found.line));
        true
    }
}

/// The length of a prefix that holds one address.
pub(super) const fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// What vips may not say of an address that an election moves.
fn of_vip(
    check: &mut Check<'_>,
    around: &Around<'_>,
    address: IpAddr,
    desired: &DesiredAddress,
    line: u32,
    say: &dyn Fn(String) -> String,
) {
    if desired.announce != Announce::None && desired.announce_on.len() > 1 {
        let text = format!(
            "is announced on {}; an elected address is on one interface: name one in announce_on",
            desired.announce_on.join(", ")
        );
        check.problems.add(line, say(text));
    }
    if desired.withdraw_when_down {
        let vip = around.objects.vips.iter().find(|(key, _)| key.address == address);
        let name = vip.map_or_else(String::new, |(_, vip)| vip.name.clone());
        let text = format!(
            "has withdraw_when_down = true in its vip, but an election says who has it; take that out, and let the priority depend on backends: track = [{{ vip = \"{name}\", weight = -50 }}]"
        );
        check.problems.add(line, say(text));
    }
}
