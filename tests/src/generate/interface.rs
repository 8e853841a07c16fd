//! What must be known of a real interface before packets leave by it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_user::net::link;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::lab::interrupted;

/// Ethernet's header, which no MTU counts.
const ETHERNET: u32 = 14;

/// An interface of the network namespace that the calling thread is in.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    pub mac: [u8; 6],
    /// Bytes of IP packet.
    mtu: u32,
}

impl Interface {
    /// # Errors
    /// When there is none of the name, or it is no Ethernet one.
    pub fn find(name: &str) -> Result<Self> {
        let (ifindex, mac, mtu) = (link::ifindex(name)?, link::mac(name)?, link::mtu(name)?);
        Ok(Self { name: name.to_owned(), ifindex, mac, mtu })
    }

    /// For messages.
    #[must_use]
    pub fn driver(&self) -> String {
        link::driver(&self.name)
    }

    /// Demands that frames of this length fit.
    ///
    /// # Errors
    /// Says how long they may be.
    pub fn takes(&self, longest: u32) -> Result<()> {
        let (name, mtu, most) = (&self.name, self.mtu, self.mtu + ETHERNET);
        ensure!(
            longest <= most,
            "{name}: frames of {longest} bytes do not fit its MTU of {mtu}; --size goes up to {most}, or `ip link set {name} mtu`"
        );
        Ok(())
    }

    /// Waits until it is up and has a carrier, which an attached program may have taken away for a while.
    ///
    /// # Errors
    /// When it has none for long.
    pub fn wait_for_carrier(&self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (name, until) = (&self.name, Instant::now() + PATIENCE);
        loop {
            let flags = self.flags()?;
            ensure!(flags.contains(InterfaceFlags::IFF_UP), "{name} is down; `ip link set {name} up`");
            if flags.contains(InterfaceFlags::IFF_RUNNING) {
                return Ok(());
            }
            ensure!(!interrupted(), "interrupted");
            ensure!(Instant::now() < until, "{name} has no carrier: is its cable in, and the other end up?");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn flags(&self) -> Result<InterfaceFlags> {
        let mut all = getifaddrs().context("cannot list interfaces")?;
        let found = all.find(|one| one.interface_name == self.name);
        Ok(found.with_context(|| format!("interface {} is gone", self.name))?.flags)
    }
}
