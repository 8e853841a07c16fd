//! This host's links and addresses, followed live.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::facts::HostFacts;
use super::netlink::Netlink;
use super::snapshot::Event;
use super::{NetError, decode};

/// Pause before a lost netlink connection is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// Changes that come together are read together.
const SETTLE: Duration = Duration::from_millis(4);
/// Reading takes at most one part in so many of the task's time, however fast addresses come and go.
const IDLE_PARTS: u32 = 10;

/// Starts a task that follows the links and addresses in the network namespace of the calling thread. They are empty
/// until the first list is there. The task ends when the last receiver is dropped.
///
/// # Errors
/// Outside of a tokio runtime, and when the kernel refuses a netlink socket.
pub fn watch_facts() -> Result<watch::Receiver<HostFacts>, NetError> {
    tokio::runtime::Handle::try_current().map_err(|_| NetError::NoRuntime)?;
    let netlink = Netlink::open()?;
    let (sender, receiver) = watch::channel(HostFacts::default());
    tokio::spawn(run(netlink, sender, |facts| facts));
    Ok(receiver)
}

/// As [`watch_facts`], for the addresses alone and with the first list there.
///
/// # Errors
/// When the kernel refuses a netlink socket or the first list.
pub async fn watch_addresses() -> Result<watch::Receiver<BTreeSet<IpAddr>>, NetError> {
    let addresses = |facts: HostFacts| facts.addresses.into_keys().map(|(_, address, _)| address).collect();
    let mut netlink = Netlink::open()?;
    let (sender, receiver) = watch::channel(addresses(netlink.facts().await?));
    tokio::spawn(run(netlink, sender, addresses));
    Ok(receiver)
}

/// Publishes what `view` makes of the facts; a lost connection is opened again.
async fn run<T: PartialEq>(netlink: Netlink, sender: watch::Sender<T>, view: impl Fn(HostFacts) -> T) {
    let mut connection = Some(netlink);
    loop {
        let followed =
            async { follow(connection.take().map_or_else(Netlink::open, Ok)?, &sender, &view).await };
        tokio::select! {
            () = sender.closed() => return,
            Err(error) = followed => {
                tracing::warn!(%error, "links and addresses stay as they were until netlink works again");
            }
        }
        sleep(REOPEN_PAUSE).await;
    }
}

/// Publishes the facts whenever they change. Ends only with an error.
async fn follow<T: PartialEq>(
    mut netlink: Netlink,
    sender: &watch::Sender<T>,
    view: &impl Fn(HostFacts) -> T,
) -> Result<(), NetError> {
    loop {
        let begun = Instant::now();
        let now = view(netlink.facts().await?);
        let took = begun.elapsed();
        sender.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
        while !concerns(&mut netlink).await? {}
        let settled = Instant::now() + SETTLE.max(took * IDLE_PARTS);
        while let Ok(more) = timeout_at(settled, concerns(&mut netlink)).await {
            more?;
        }
    }
}

/// Waits for an event, and says whether it is about links or addresses. Cancel safe.
async fn concerns(netlink: &mut Netlink) -> Result<bool, NetError> {
    match decode::event(&netlink.event().await?) {
        Some(Event::Address(_) | Event::AddressGone(_) | Event::Link(..) | Event::LinkGone(_)) => Ok(true),
        Some(Event::Overrun) => {
            *netlink = Netlink::open()?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
