//! Addresses that the kernel owns: adds them, removes them, and tells those that this program added from others.
//!
//! The mark is `IFA_PROTO` ([`PROTOCOL`]), which Linux keeps since 5.18 and `ip -d address` shows; for IPv4 also the label
//! `INTERFACE:flv`, which every kernel keeps, where the name leaves room for it. So a daemon finds what one before it
//! added, however that one ended, and never takes away what an operator put there. An IPv6 address on an older kernel
//! bears no mark: only the process that added it removes it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use tokio::task::JoinSet;

use super::claim::Presence;
use super::plan::{Plan, concerned};
use super::{AnnounceError, Wanted};
use crate::net::{AddressFact, AddressState, HostFacts, io_error, watch_facts};
use crate::state::Announce;

/// `IFA_PROTO` of addresses that ferrolev added. The kernel's own are 1 to 3; no other program is known to use it.
pub const PROTOCOL: u8 = 0xf7;
const LABEL_SUFFIX: &str = ":flv";
/// The longest label, without the closing zero (`IFNAMSIZ`).
const MAX_LABEL_LEN: usize = 15;

/// A connection to the kernel's address lists, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct KernelAddresses {
    handle: Handle,
    /// What this process added, and the lengths of their prefixes; where the kernel keeps no mark, there is nothing else to know
    /// it by.
    added: BTreeMap<(u32, IpAddr), u8>,
    _connection: JoinSet<()>,
}

impl KernelAddresses {
    /// Call it inside a tokio runtime.
    pub(super) fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        Ok(Self { handle, added: BTreeMap::new(), _connection: tasks })
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Adds `address`. One that is there already stays as it is.
    pub(super) async fn add(
        &mut self,
        ifindex: u32,
        interface: &str,
        address: IpAddr,
        prefix_len: u8,
        detect_duplicates: bool,
    ) -> io::Result<()> {
        let mut request = self.handle.address().add(ifindex, address, prefix_len);
        *request.message_mut() = message(ifindex, interface, (address, prefix_len), detect_duplicates);
        match request.execute().await.map_err(io_error) {
            Ok(()) => {
                self.added.insert((ifindex, address), prefix_len);
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes `address` if ferrolev added it. One that is gone already is fine.
    pub(super) async fn remove(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        facts: &HostFacts,
    ) -> io::Result<bool> {
        let marked =
            facts.address_on(ifindex, address).find(|fact| is_ours(fact)).map(|fact| fact.prefix_len);
        let Some(prefix_len) = self.added.remove(&(ifindex, address)).or(marked) else { return Ok(false) };
        let message = message(ifindex, "", (address, prefix_len), true);
        match self.handle.address().del(message).execute().await.map_err(io_error) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// What the kernel says of `address` on an interface.
pub(super) fn presence(ifindex: u32, address: IpAddr, facts: &HostFacts) -> Presence {
    match facts.address_on(ifindex, address).map(|fact| fact.state).next() {
        None => Presence::Absent,
        Some(AddressState::Usable) => Presence::Usable,
        Some(AddressState::Tentative) => Presence::Tentative,
        Some(AddressState::Duplicate) => Presence::Duplicate,
    }
}

/// Whether ferrolev added it: this process, or one before it.
pub(super) fn is_ours(fact: &AddressFact) -> bool {
    let alone = fact.prefix_len == full_len(fact.address);
    let by_label = fact.label.as_ref().is_some_and(|label| label.ends_with(LABEL_SUFFIX));
    fact.protocol == Some(PROTOCOL) || alone && by_label
}

/// Addresses on `interfaces` that ferrolev added and that `plan` does not have there. Those of elections are left alone.
pub(super) fn leftovers(
    facts: &HostFacts,
    interfaces: &BTreeSet<u32>,
    plan: &Plan,
    elected: &BTreeSet<IpAddr>,
) -> Vec<(u32, IpAddr)> {
    let ours = facts.addresses.values().filter(|fact| interfaces.contains(&fact.ifindex) && is_ours(fact));
    let unwanted = ours.filter(|fact| !elected.contains(&fact.address)).filter(|fact| {
        let link = facts.links.get(&fact.ifindex);
        !plan.get(&fact.address).is_some_and(|placement| {
            placement.mode == Announce::Address
                && link.is_some_and(|link| placement.interfaces.contains(&link.name))
        })
    });
    unwanted.map(|fact| (fact.ifindex, fact.address)).collect()
}

/// Removes all addresses that ferrolev added to what passes a program on `interfaces`: for detaching an instance whose
/// daemon does not run. Returns what was removed.
///
/// # Errors
/// When the kernel refuses a netlink socket, a list or a removal.
pub async fn remove_leftovers(interfaces: &[String]) -> Result<Vec<IpAddr>, AnnounceError> {
    let mut watched = watch_facts().map_err(|error| AnnounceError::List(io::Error::other(error)))?;
    let facts = watched
        .wait_for(|facts| !facts.links.is_empty())
        .await
        .map_err(|error| AnnounceError::List(io::Error::other(error)))?
        .clone();
    let wanted = Wanted { attached: interfaces.to_vec(), ..Wanted::default() };
    let mut kernel = KernelAddresses::open().map_err(AnnounceError::Netlink)?;
    let mut removed = Vec::new();
    for (ifindex, address) in leftovers(&facts, &concerned(&wanted, &facts), &Plan::new(), &wanted.elected) {
        if kernel.remove(ifindex, address, &facts).await.map_err(AnnounceError::Remove)? {
            removed.push(address);
        }
    }
    Ok(removed)
}

const fn full_len(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn message(
    ifindex: u32,
    interface: &str,
    (address, prefix_len): (IpAddr, u8),
    detect_duplicates: bool,
) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.index = ifindex;
    message.header.prefix_len = prefix_len;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    if interface.is_empty() {
        return message;
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    if address.is_ipv6() {
        // "Deprecated" from the start: answers, but no connection of this host's own begins with it (RFC 6724 5, rule 3).
        let mut lifetimes = CacheInfo::default();
        (lifetimes.ifa_preferred, lifetimes.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    let label = format!("{interface}{LABEL_SUFFIX}");
    if address.is_ipv4() && label.len() <= MAX_LABEL_LEN {
        message.attributes.push(AddressAttribute::Label(label));
    }
    if !detect_duplicates {
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(address: &str, prefix_len: u8, protocol: Option<u8>, label: Option<&str>) -> AddressFact {
        AddressFact {
            ifindex: 2,
            address: address.parse().unwrap(),
            prefix_len,
            state: AddressState::Usable,
            protocol,
            label: label.map(str::to_owned),
        }
    }

    #[test]
    fn only_what_bears_the_mark_is_ours() {
        assert!(is_ours(&fact("192.0.2.1", 32, Some(PROTOCOL), Some("eth0"))));
        assert!(is_ours(&fact("192.0.2.1", 32, None, Some("eth0:flv"))), "an old kernel");
        assert!(is_ours(&fact("2001:db8::1", 128, Some(PROTOCOL), None)));
        assert!(!is_ours(&fact("192.0.2.1", 32, Some(2), Some("eth0"))));
        assert!(is_ours(&fact("192.0.2.1", 24, Some(PROTOCOL), None)), "a virtual router's");
        assert!(!is_ours(&fact("192.0.2.1", 24, None, Some("eth0:flv"))), "a label says less");
        assert!(!is_ours(&fact("2001:db8::1", 128, None, None)));
    }

    #[test]
    fn presence_is_that_on_the_interface_itself() {
        let mut facts = HostFacts::default();
        let duplicate =
            AddressFact { state: AddressState::Duplicate, ..fact("2001:db8::1", 128, None, None) };
        facts.add_address(fact("192.0.2.1", 32, None, None));
        facts.add_address(duplicate);
        let ip = |text: &str| text.parse().unwrap();
        assert_eq!(presence(2, ip("192.0.2.1"), &facts), Presence::Usable);
        assert_eq!(presence(3, ip("192.0.2.1"), &facts), Presence::Absent);
        assert_eq!(presence(2, ip("2001:db8::1"), &facts), Presence::Duplicate);
    }

    #[test]
    fn a_label_is_left_out_where_the_name_leaves_no_room() {
        let labels = |interface: &str, address: &str| {
            let message = message(2, interface, (address.parse().unwrap(), 32), true);
            message.attributes.into_iter().filter(|one| matches!(one, AddressAttribute::Label(_))).count()
        };
        assert_eq!(labels("eleven-long", "192.0.2.1"), 1);
        assert_eq!(labels("twelve-chars", "192.0.2.1"), 0);
        assert_eq!(labels("eth0", "2001:db8::1"), 0);
    }
}
