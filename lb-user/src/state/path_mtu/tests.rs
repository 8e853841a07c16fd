use super::*;
use crate::state::{
    Affinity, Desired, DesiredMember, DesiredVip, MacAddress, NextHop, NextHops, SourcePrefix, VipOptions,
};

const V4: &str = "192.0.2.1:80/tcp";
const V6: &str = "[2001:db8::1]:80/tcp";

/// One vip; its backends with the MTU of the way to each.
fn forwarding(vip: &str, mode: Mode, backends: &[(&str, u32)]) -> Forwarding {
    let key: VipKey = vip.parse().expect("a vip");
    let mut hops = NextHops::new();
    let mut members = BTreeMap::new();
    for (backend, mtu) in backends {
        let address: IpAddr = backend.parse().expect("an address");
        let hop = NextHop {
            ifindex: 2,
            interface: "eth1".into(),
            source_mac: MacAddress([2, 0, 0, 0, 0, 1]),
            destination_mac: MacAddress([2, 0, 0, 0, 0, 2]),
            gateway: None,
            vlan: None,
            preferred_source: Some(
                if address.is_ipv4() { "10.0.0.254" } else { "fd00::254" }.parse().unwrap(),
            ),
            mtu: *mtu,
        };
        hops.insert(address, Ok(hop));
        members.insert(format!("web-{backend}"), DesiredMember { mode, ..DesiredMember::new(address, 100) });
    }
    let vip = DesiredVip {
        name: "web".to_owned(),
        mode,
        ring_size: 251,
        affinity: Affinity::FiveTuple,
        options: VipOptions::default(),
        members,
        routes: Vec::new(),
        given_up: std::collections::BTreeSet::new(),
    };
    let desired = Desired { vips: [(key, vip)].into(), ..Desired::default() };
    Forwarding::build(&desired, &hops, None)
}

fn ingress(mtu: u32) -> Ingress {
    let sysctls = Some(IngressSysctls { forwarding: true, accept_local: true, rp_filter: 0 });
    Ingress { interface: "eth0".to_owned(), mtu, sysctls }
}

fn said(forwarding: &Forwarding, ingresses: &[Ingress]) -> Vec<String> {
    warnings(forwarding, ingresses, |_| "web".to_owned())
}

#[test]
fn a_way_that_takes_what_comes_in_is_nothing_to_say() {
    for (vip, mode, backend, mtu) in [
        (V4, Mode::Ipip, "10.0.0.1", 1520),
        (V4, Mode::Ipip, "fd00::1", 1540),
        (V6, Mode::Gue, "10.0.0.1", 1528),
        (V4, Mode::L2, "10.0.0.1", 1500),
        (V4, Mode::Ipip, "10.0.0.1", 0),
    ] {
        assert_eq!(said(&forwarding(vip, mode, &[(backend, mtu)]), &[ingress(1500)]), [""; 0], "{mode:?}");
        let one_less = forwarding(vip, mode, &[(backend, mtu.max(1) - 1)]);
        let expected = usize::from(mtu > 0);
        assert_eq!(said(&one_less, &[ingress(1500)]).len(), expected, "{mode:?} to {backend}");
    }
}

#[test]
fn an_interface_with_room_for_outer_headers_brings_no_larger_packets_of_clients() {
    assert_eq!(said(&forwarding(V4, Mode::Ipip, &[("10.0.0.1", 1540)]), &[ingress(1540)]), [""; 0]);
    assert_eq!(said(&forwarding(V4, Mode::Ipip, &[("10.0.0.1", 1400)]), &[ingress(1380)]), [""; 0]);
}

#[test]
fn a_tight_way_is_named_with_both_sizes_and_both_ways_out() {
    let tight = forwarding(V4, Mode::Ipip, &[("10.0.0.1", 1500), ("10.0.0.2", 1500), ("10.0.0.3", 9000)]);
    let [text] = &said(&tight, &[ingress(1500)])[..] else { panic!("one warning") };
    assert_eq!(
        *text,
        "vip web: packets of 1500 bytes come in on eth0, the way to backend web-10.0.0.1 (10.0.0.1) and 1 more takes \
         only 1480: clients are told so with each one, and larger packets are lost where ICMP is filtered; raise the \
         MTU of the way to 1520, or set `advmss 1440` on the backends' default route"
    );
    let tight = forwarding(V6, Mode::Gue, &[("fd00::1", 1500)]);
    let [text] = &said(&tight, &[ingress(1400), ingress(1500)])[..] else { panic!("one warning") };
    assert!(
        text.contains("only 1452:") && text.contains("to 1548,") && text.contains("`advmss 1392`"),
        "{text}"
    );
}

#[test]
fn ipv6_below_1280_bytes_cannot_work() {
    let tight = forwarding(V6, Mode::Ipip, &[("fd00::1", 1300)]);
    let [text] = &said(&tight, &[ingress(1500)])[..] else { panic!("one warning") };
    assert!(text.contains("packets of 1260 bytes") && text.ends_with("to 1320 at least"), "{text}");
}

#[test]
fn settings_that_make_the_kernel_drop_are_named_as_commands() {
    let strict = IngressSysctls { forwarding: false, accept_local: false, rp_filter: 1 };
    let strict = Ingress { sysctls: Some(strict), ..ingress(1500) };
    let tight = forwarding(V4, Mode::Ipip, &[("10.0.0.1", 1500)]);
    let [_, text] = &said(&tight, std::slice::from_ref(&strict))[..] else { panic!("two warnings") };
    assert_eq!(
        text,
        "eth0: IPv4 packets that are too large and may be fragmented go to the kernel, which drops them; `sysctl -w \
         net.ipv4.conf.eth0.forwarding=1 net.ipv4.conf.eth0.accept_local=1 net.ipv4.conf.all.rp_filter=0 \
         net.ipv4.conf.eth0.rp_filter=0`, or set tunnel.oversize = \"drop\""
    );

    let mut spread = tight.clone();
    spread.tunnel.source4 = Some(SourcePrefix { address: [172, 16, 0, 0].into(), prefix_len: 16 });
    let [_, text] = &said(&spread, std::slice::from_ref(&strict))[..] else { panic!("two warnings") };
    assert!(!text.contains("accept_local"), "{text}");

    let mut dropped = tight;
    dropped.tunnel.oversize = Oversize::Drop;
    assert_eq!(said(&dropped, std::slice::from_ref(&strict)).len(), 1);
    for (vip, mode, backend) in
        [(V6, Mode::Ipip, "10.0.0.1"), (V4, Mode::Ipip, "fd00::1"), (V4, Mode::L2, "10.0.0.1")]
    {
        let other = forwarding(vip, mode, &[(backend, 1400)]);
        assert_eq!(said(&other, std::slice::from_ref(&strict)).len(), 1, "{vip} to {backend}");
    }
}

#[test]
fn what_cannot_be_read_is_not_complained_about() {
    let tight = forwarding(V4, Mode::Ipip, &[("10.0.0.1", 1500)]);
    assert_eq!(said(&tight, &[]), [""; 0]);
    assert_eq!(said(&tight, &[Ingress { sysctls: None, ..ingress(1500) }]).len(), 1);
}
