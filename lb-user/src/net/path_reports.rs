//! Hears what routers say of packets that were too large, for as long as anybody wants to know.
#![forbid(unsafe_code)]

use std::io;
use std::net::Ipv6Addr;

use super::icmp_socket::IcmpReceiver;
use super::path_mtu::{Report, read_v4, read_v6};

/// Longer than all that is read of a report: IPv4 header with options, ICMP header, quoted header.
const BUFFER_LEN: usize = 160;

/// Both families' sockets; those that could not be opened are missing.
#[derive(Debug)]
pub(super) struct PathReports {
    v4: Option<IcmpReceiver>,
    v6: Option<IcmpReceiver>,
}

impl PathReports {
    /// Call it inside a tokio runtime.
    pub(super) fn open() -> Self {
        Self { v4: opened("IPv4", IcmpReceiver::v4()), v6: opened("IPv6", IcmpReceiver::v6()) }
    }

    /// The next report about a packet that this host may have sent. Cancel safe.
    pub(super) async fn next(&self, is_own: impl Fn(Ipv6Addr) -> bool) -> Report {
        let (mut v4, mut v6) = ([0; BUFFER_LEN], [0; BUFFER_LEN]);
        loop {
            let report = tokio::select! {
                len = receive(self.v4.as_ref(), &mut v4) => read_v4(&v4[..len]),
                len = receive(self.v6.as_ref(), &mut v6) => read_v6(&v6[..len], &is_own),
            };
            if let Some(report) = report {
                return report;
            }
        }
    }
}

fn opened(family: &str, socket: io::Result<IcmpReceiver>) -> Option<IcmpReceiver> {
    socket
        .inspect_err(|error| {
            tracing::warn!(
                family, %error,
                "links to backends that are narrower than the route says stay unnoticed; give the service CAP_NET_RAW, or the route an mtu"
            );
        })
        .ok()
}

/// How much arrived; never, without a socket or on one that is broken.
async fn receive(socket: Option<&IcmpReceiver>, buffer: &mut [u8]) -> usize {
    let Some(socket) = socket else { return std::future::pending().await };
    match socket.receive(buffer).await {
        Ok(len) => len,
        Err(error) => {
            tracing::warn!(%error, "cannot hear of packets that are too large");
            std::future::pending().await
        }
    }
}
