//! The sockets that the virtual routers need: one for an interface and family, however many of them share it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;

use futures_util::future::select_all;
use tracing::warn;

use super::Router;
use super::socket::AdvertSocket;
use crate::announce::FrameSender;
use crate::net::HostFacts;

/// An interface, and whether it is about IPv6.
pub(super) type Side = (String, bool);

#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<Side, AdvertSocket>,
    /// Why those cannot be opened that are not.
    broken: BTreeMap<Side, String>,
    /// For frames from virtual MAC addresses.
    frames: Option<FrameSender>,
}

impl Sockets {
    /// Opens and closes sockets. Gives those that cannot be opened, and why.
    pub(super) fn follow(&mut self, routers: &[&Router], facts: &HostFacts) -> BTreeMap<Side, String> {
        let sides = routers.iter().map(|router| (router.interface.clone(), router.is_ipv6()));
        let needed: BTreeMap<Side, u32> = sides
            .filter_map(|side| {
                let (ifindex, _) = facts.link(&side.0)?;
                Some((side, ifindex))
            })
            .collect();
        self.open.retain(|side, socket| needed.get(side) == Some(&socket.ifindex()));
        let mut broken = BTreeMap::new();
        for (side, ifindex) in needed {
            if self.open.contains_key(&side) {
                continue;
            }
            match AdvertSocket::open(&side.0, ifindex, side.1) {
                Ok(socket) => drop(self.open.insert(side, socket)),
                Err(error) => drop(broken.insert(side, format!("cannot open a raw socket: {error}"))),
            }
        }
        self.broken = broken;
        if self.frames.is_none() && routers.iter().any(|router| router.virtual_mac) {
            self.frames = FrameSender::open()
                .inspect_err(
                    |error| warn!(%error, "cannot send from virtual MAC addresses without a packet socket"),
                )
                .ok();
        }
        self.broken.clone()
    }

    pub(super) fn get(&self, side: &Side) -> Option<&AdvertSocket> {
        self.open.get(side)
    }

    pub(super) const fn frames(&self) -> Option<&FrameSender> {
        self.frames.as_ref()
    }

    pub(super) fn sides(&self) -> Vec<Side> {
        self.open.keys().cloned().collect()
    }

    /// A socket that has failed is opened anew.
    pub(super) fn close(&mut self, side: &Side) {
        self.open.remove(side);
    }

    /// Waits until something may be there to be received. Cancel safe.
    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.open.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.open.values().map(|socket| Box::pin(socket.readable()))).await.0
    }
}
