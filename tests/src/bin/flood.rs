//! Floods an interface with UDP packets as a card would deliver them, and prints how many microseconds that took: the load of
//! `cargo xtask vm-test --bench`.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use clap::Parser;
use tests::lab::live_frames::Flood;

/// Sends UDP packets of 60 bytes as fast as one core makes and delivers them, and prints how many microseconds it took.
#[derive(Debug, Parser)]
struct Arguments {
    interface: String,
    /// Of whoever is to take the frames
    mac: String,
    destination: Ipv4Addr,
    port: u16,
    packets: u32,
    /// From so many ports, a power of two
    #[arg(long, default_value_t = 1024)]
    source_ports: u32,
    /// From so many addresses, a power of two
    #[arg(long, default_value_t = 1)]
    sources: u32,
}

fn main() -> Result<()> {
    let Arguments { interface, mac, destination, port, packets, source_ports, sources } = Arguments::parse();
    let bytes: Result<Vec<u8>, _> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let mac =
        bytes.ok().and_then(|bytes| bytes.try_into().ok()).with_context(|| format!("{mac} is no MAC"))?;
    let flood = Flood { interface, mac, destination, port, source_ports, sources, packets };
    println!("{}", flood.send()?.as_micros());
    Ok(())
}
