//! A small fleet to forward to, built through the same code as the daemon's.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::LOOPBACK_IFINDEX;
use lb_common::maglev;
use lb_user::dataplane::layout::Capacity;
use lb_user::net::{LinkFact, Links};
use lb_user::state::{
    AccessRules, Affinity, Desired, DesiredAddress, DesiredMember, DesiredRoute, DesiredVip, Forwarding,
    MacAddress, Mode, NextHop, NextHops, Prefix, Prefixes, Previous, SourcePrefix, VipKey, VipOptions,
};

/// Tables that are large enough for [`World`].
pub const CAPACITY: Capacity = Capacity { ring_pages: 4096, dests: 4096, flow_buckets: 1024 };

/// MAC address of every next hop in a [`World`].
pub const NEXT_HOP: MacAddress = MacAddress([0x02, 0, 0, 0, 0xbb, 1]);
/// MAC address of the balancer.
pub const BALANCER: MacAddress = MacAddress([0x02, 0, 0, 0, 0xaa, 1]);
/// Outer sources, when not changed by a test.
pub const SOURCE4: &str = "192.0.2.10";
pub const SOURCE6: &str = "2001:db8:ff::10";

/// Name of the interface at which test runs enter.
pub const TEST_LINK: &str = "test0";

/// An interface of the host that forwards.
#[must_use]
pub fn link(name: &str) -> LinkFact {
    LinkFact {
        name: name.to_owned(),
        mac: Some(BALANCER),
        ethernet: true,
        up: true,
        vlan_parent: None,
        vlan_id: None,
        master: None,
    }
}

/// The links of the host that forwards: [`TEST_LINK`], its VLAN 5, and VLAN 6 in that one.
#[must_use]
pub fn links() -> Links {
    let vlan =
        |name: &str, parent, id| LinkFact { vlan_parent: Some(parent), vlan_id: Some(id), ..link(name) };
    Links::from([
        (LOOPBACK_IFINDEX, link(TEST_LINK)),
        (LOOPBACK_IFINDEX + 1, vlan("test0.5", LOOPBACK_IFINDEX, 5)),
        (LOOPBACK_IFINDEX + 2, vlan("test0.5.6", LOOPBACK_IFINDEX + 1, 6)),
    ])
}

/// What to forward, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    pub desired: Desired,
    pub hops: NextHops,
    /// What was forwarded before.
    pub before: Option<Box<World>>,
}

impl Default for World {
    fn default() -> Self {
        Self { desired: Desired { hash_seed: 7, ..Desired::default() }, hops: NextHops::new(), before: None }
    }
}

/// A list of prefixes, such as `10.0.0.0/8` or `2001:db8::1`.
///
/// # Panics
/// When one is none.
#[must_use]
pub fn prefixes(texts: &[&str]) -> Prefixes {
    let prefix = |text: &&str| {
        let (address, len) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().expect("an address");
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Prefix::of(address, len.parse().unwrap_or(bits))
    };
    let mut all: Vec<_> = texts.iter().map(prefix).collect();
    all.sort();
    all.dedup();
    all.into()
}

/// Access rules out of two lists.
#[must_use]
pub fn rules(allow: &[&str], deny: &[&str]) -> AccessRules {
    AccessRules { allow: prefixes(allow), deny: prefixes(deny) }
}

impl World {
    /// Adds a vip with backends of equal weight.
    #[must_use]
    pub fn vip(mut self, key: &str, backends: &[&str]) -> Self {
        let key: VipKey = key.parse().expect("a vip");
        let vip = DesiredVip {
            name: key.to_string(),
            mode: Mode::Ipip,
            ring_size: 4093,
            affinity: Affinity::FiveTuple,
            options: VipOptions::default(),
            members: BTreeMap::new(),
            routes: Vec::new(),
            given_up: std::collections::BTreeSet::new(),
        };
        self.desired.vips.insert(key, vip);
        self.desired.addresses.entry(key.address).or_default();
        backends.iter().for_each(|backend| self.add(key, backend, 100));
        self
    }

    /// Adds a backend to a vip, with a next hop on the loopback device, which every namespace has.
    ///
    /// # Panics
    /// When there is no such vip.
    pub fn add(&mut self, key: VipKey, backend: &str, weight: u32) {
        let member = self.member(backend, weight);
        self.desired.vips.get_mut(&key).expect("the vip").members.insert(backend.to_owned(), member);
    }

    /// Adds a route to a vip, with backends of equal weight.
    #[must_use]
    pub fn route(mut self, key: &str, sources: &[&str], backends: &[&str]) -> Self {
        let members =
            backends.iter().map(|backend| ((*backend).to_owned(), self.member(backend, 100))).collect();
        self.with(key, |vip| {
            let name = format!("route-{}", vip.routes.len() + 1);
            vip.routes.push(DesiredRoute { name, sources: prefixes(sources), members });
        })
    }

    /// A backend with a next hop.
    fn member(&mut self, backend: &str, weight: u32) -> DesiredMember {
        let address: IpAddr = backend.parse().expect("an address");
        let source = if address.is_ipv4() { SOURCE4 } else { SOURCE6 };
        let hop = NextHop {
            ifindex: LOOPBACK_IFINDEX,
            interface: "eth0".into(),
            source_mac: BALANCER,
            destination_mac: NEXT_HOP,
            gateway: None,
            vlan: None,
            preferred_source: source.parse().ok(),
            mtu: 1500,
        };
        self.hops.insert(address, Ok(hop));
        DesiredMember::new(address, weight)
    }

    /// Changes the last vip.
    #[must_use]
    pub fn with(mut self, key: &str, change: impl FnOnce(&mut DesiredVip)) -> Self {
        let key: VipKey = key.parse().expect("a vip");
        change(self.desired.vips.get_mut(&key).expect("the vip"));
        self
    }

    /// How packets reach all backends there are so far.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        for vip in self.desired.vips.values_mut() {
            vip.mode = mode;
            vip.members.values_mut().for_each(|member| member.mode = mode);
        }
        self
    }

    /// Says something of a vip's address.
    #[must_use]
    pub fn address(mut self, address: &str, of: DesiredAddress) -> Self {
        self.desired.addresses.insert(address.parse().expect("an address"), of);
        self
    }

    /// Routes a backend over a VLAN.
    #[must_use]
    pub fn vlan(mut self, backend: &str, id: u16) -> Self {
        let hop = self.hops.get_mut(&backend.parse().expect("an address")).expect("the backend");
        hop.as_mut().expect("a next hop").vlan = Some(id);
        self
    }

    /// Sets tunnel sources with entropy.
    #[must_use]
    pub fn entropy(mut self, source4: &str, prefix4: u8, source6: &str, prefix6: u8) -> Self {
        let tunnel = &mut self.desired.tunnel;
        tunnel.source4 = Some(SourcePrefix { address: source4.parse().expect("IPv4"), prefix_len: prefix4 });
        tunnel.source6 = Some(SourcePrefix { address: source6.parse().expect("IPv6"), prefix_len: prefix6 });
        self
    }

    /// The world in the moment after it took the place of another one.
    #[must_use]
    pub fn instead_of(mut self, before: Self) -> Self {
        self.before = Some(Box::new(before));
        self
    }

    /// Forwarding for this world after another one.
    #[must_use]
    pub fn after(&self, before: Previous<'_>, now_ns: u64) -> Forwarding {
        Forwarding::build_with(&self.desired, &self.hops, before, now_ns, |_, size, members| {
            maglev::build(size, members)
        })
    }

    #[must_use]
    pub fn forwarding(&self) -> Forwarding {
        let before = self.before.as_ref().map(|before| before.forwarding());
        self.after(before.as_ref().map_or(Previous::Nothing, Previous::Forwarding), 0)
    }
}
