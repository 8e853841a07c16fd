//! This host's own addresses, followed live.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;

use super::netlink::Netlink;
use super::snapshot::{Event, Snapshot};
use super::{NetError, decode};

/// Pause before a lost netlink connection is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// Starts a task that follows the addresses of all interfaces in the network namespace of the calling thread. It ends
/// when the receiver is dropped.
///
/// # Errors
/// When the kernel refuses a netlink socket or the first list.
pub async fn watch_addresses() -> Result<watch::Receiver<BTreeSet<IpAddr>>, NetError> {
    let mut netlink = Netlink::open()?;
    let (sender, receiver) = watch::channel(addresses(&netlink.snapshot().await?));
    tokio::spawn(async move {
        let mut connection = Some(netlink);
        loop {
            let followed = async { follow(connection.take().map_or_else(Netlink::open, Ok)?, &sender).await };
            tokio::select! {
                () = sender.closed() => return,
                Err(error) = followed => {
                    tracing::warn!(%error, "addresses stay as they were until netlink works again");
                }
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        }
    });
    Ok(receiver)
}

/// Publishes the addresses whenever they change. Ends only with an error.
async fn follow(mut netlink: Netlink, sender: &watch::Sender<BTreeSet<IpAddr>>) -> Result<(), NetError> {
    loop {
        let now = addresses(&netlink.snapshot().await?);
        sender.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        loop {
            match decode::event(&netlink.event().await?) {
                Some(Event::Address(_) | Event::AddressGone(_) | Event::LinkGone(_)) => break,
                Some(Event::Overrun) => {
                    netlink = Netlink::open()?;
                    break;
                }
                _ => {}
            }
        }
    }
}

fn addresses(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    snapshot.addresses.iter().map(|entry| entry.address).collect()
}
