//! nftables as a balancer: a hash of the client's address and port picks the backend, and connection tracking keeps to it.

use std::fmt::Write;

use anyhow::{Context, Result};

use super::contenders::Running;
use super::loads::BULK_PORT;
use crate::lab::{Network, run};

/// Of each backend, by its number: what comes there goes back through the balancer, to be translated again.
fn address(backend: usize) -> String {
    format!("10.1.0.{}", 60 + backend)
}

/// Starts it on this balancer.
///
/// # Errors
/// When the kernel lacks something.
pub(super) fn begin(network: &Network, number: u8) -> Result<Running> {
    network.without_xdp(number)?;
    let balancer = &network.balancers[usize::from(number) - 1];
    // Its only link is where packets come from and where they go to: nobody is to be told of a shorter way.
    balancer.sysctls(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/eth0/send_redirects", "0"),
    ])?;
    let via = format!("10.1.0.{}", 100 + number);
    for (place, backend) in network.backends.iter().enumerate() {
        let own = address(place);
        backend.namespace.ip(&format!(
            "addr add {own}/24 dev eth0\n\
             rule add from {own} lookup 100\n\
             route add default via {via} table 100\n"
        ))?;
    }
    let (vip, _) = Network::vips(number);
    run(balancer.command("nft").context("no nft")?.arg(rules(&vip.to_string(), network.backends.len())))?;
    Ok(Running::on(number, Vec::new(), None))
}

fn rules(vip: &str, backends: usize) -> String {
    let mut map = String::new();
    for place in 0..backends {
        // Writing to a String cannot fail.
        let _ = write!(map, "{}{place} : {}", if place == 0 { "" } else { ", " }, address(place));
    }
    let to = format!("dnat to jhash ip saddr . tcp sport mod {backends} map {{ {map} }}");
    format!(
        "add table ip bench\n\
         add chain ip bench before {{ type nat hook prerouting priority dstnat; }}\n\
         add rule ip bench before ip daddr {vip} tcp dport 80 {to}\n\
         add rule ip bench before ip daddr {vip} tcp dport {BULK_PORT} dnat to {}\n",
        address(0)
    )
}
