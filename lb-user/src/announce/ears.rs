//! Tasks that listen on interfaces while addresses are being asked for, or owned, there.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::plan::Port;
use super::socket::{Family, FrameReceiver};
use super::wire::{self, Heard};

/// Longer than any frame that says something.
const FRAME_LEN: usize = 256;
/// What may wait to be looked at; while it is full, the sockets' own buffers fill.
const QUEUE_LEN: usize = 256;

/// Interface number and protocol.
pub(super) type Ear = (u32, Family);

#[derive(Debug)]
pub(super) struct Ears {
    open: BTreeMap<Ear, JoinSet<()>>,
    sender: mpsc::Sender<(u32, Heard)>,
    heard: mpsc::Receiver<(u32, Heard)>,
}

/// The ear that hears of an address on an interface.
pub(super) const fn ear(port: Port, address: IpAddr) -> Ear {
    let family = if address.is_ipv4() { Family::Arp } else { Family::NeighbourDiscovery };
    (port.ifindex, family)
}

impl Ears {
    pub(super) fn new() -> Self {
        let (sender, heard) = mpsc::channel(QUEUE_LEN);
        Self { open: BTreeMap::new(), sender, heard }
    }

    /// Listens from now on; what arrives later is heard.
    pub(super) fn open(&mut self, port: Port, address: IpAddr) -> std::io::Result<()> {
        let ear = ear(port, address);
        if self.open.contains_key(&ear) {
            return Ok(());
        }
        let receiver = FrameReceiver::open(port, ear.1)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(receiver, ear, self.sender.clone()));
        self.open.insert(ear, tasks);
        Ok(())
    }

    pub(super) fn close_all_but(&mut self, needed: impl Fn(&Ear) -> bool) {
        self.open.retain(|ear, _| needed(ear));
    }

    /// What was said, and on which interface. Cancel safe.
    pub(super) async fn hear(&mut self) -> (u32, Heard) {
        match self.heard.recv().await {
            Some(heard) => heard,
            // Cannot be: a sender is kept here.
            None => std::future::pending().await,
        }
    }
}

async fn listen(receiver: FrameReceiver, (ifindex, family): Ear, sender: mpsc::Sender<(u32, Heard)>) {
    let mut buffer = [0; FRAME_LEN];
    loop {
        match receiver.receive(&mut buffer).await {
            Ok(len) => {
                if let Some(heard) = wire::hear(&buffer[..len])
                    && sender.send((ifindex, heard)).await.is_err()
                {
                    return;
                }
            }
            // The link went down: it is told once, and the socket goes on.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) => {
                tracing::warn!(ifindex, ?family, %error, "cannot hear whether other hosts have an address");
                return;
            }
        }
    }
}
