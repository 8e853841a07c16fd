//! Holds the copy of one peer.

use std::collections::BTreeSet;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::timeout;

use super::FollowerStatus;
use super::connection::{BEGIN, Ended, read, write};
use super::message::{Ask, Tell, VERSION, healths};
use super::teller::other_version;
use crate::controller::{ControllerHandle, clock};
use crate::state::VipKey;

/// What is there of the peer's, kept for the next connection: session, and number of the last batch.
pub(super) type Had = Option<(u64, u64)>;

/// Takes in what the peer tells until the connection breaks.
pub(super) async fn follow(
    stream: impl AsyncRead + AsyncWrite,
    had: &mut Had,
    controller: &ControllerHandle,
    status: impl Fn(&dyn Fn(&mut FollowerStatus)),
) -> Result<std::convert::Infallible, Ended> {
    let (mut from, mut to) = split(stream);
    write(&mut to, &Ask::Hello { version: VERSION, had: *had }).await?;
    let greeting = timeout(BEGIN, read::<Tell>(&mut from)).await.unwrap_or(Err(Ended::Silent))?;
    let Tell::Hello { version, session, hash_seed, buckets } = greeting else {
        return Err(Ended::Differs("the peer does not greet".to_owned()));
    };
    if version != VERSION {
        return Err(other_version(version));
    }
    let here = controller.copied().await?;
    if hash_seed != here.hash_seed {
        let text = format!(
            "the peer has hash_seed = {hash_seed}, this node has {}; give both the same",
            here.hash_seed
        );
        return Err(Ended::Differs(text));
    }
    if buckets != here.buckets {
        let flows = |buckets: u32| u64::from(buckets) * 8;
        let (there, here) = (flows(buckets), flows(here.buckets));
        let text = format!("the peer has limits.flows = {there}, this node has {here}; give both the same");
        return Err(Ended::Differs(text));
    }
    if had.is_none_or(|(known, _)| known != session) {
        *had = Some((session, 0));
    }
    status(&|status| {
        (status.connected, status.trouble) = (true, None);
        status.connections += 1;
    });
    let mut vips: BTreeSet<(VipKey, u8)> = BTreeSet::new();
    loop {
        match read::<Tell>(&mut from).await? {
            Tell::Hello { .. } => return Err(Ended::Differs("the peer greets twice".to_owned())),
            Tell::Rings(rings) => {
                let now_ns = clock::monotonic_ns();
                let mut found = Vec::new();
                for (vip, route, image) in rings {
                    let key = (VipKey::from(vip), route);
                    let history = image.map(|image| image.history(now_ns)).transpose();
                    let history =
                        history.map_err(|error| Ended::Differs(format!("vip {}: {error}", key.0)))?;
                    if history.is_some() {
                        vips.insert(key)
                    } else {
                        vips.remove(&key)
                    };
                    found.push((key, history));
                }
                controller.follow_rings(found).await?;
                status(&|status| status.vips = vips.iter().filter(|(_, route)| *route == 0).count());
            }
            Tell::Health(images) => controller.follow_health(healths(images)).await?,
            Tell::Flows(batch) => {
                let done = controller.follow_flows(batch.records()?).await?;
                *had = Some((session, batch.number));
                status(&|status| {
                    status.flows += done.taken + done.known;
                    status.flows_left_out += done.foreign + done.over + done.full;
                });
                write(&mut to, &Ask::Done(batch.number)).await?;
            }
            Tell::Mark => {
                status(&|status| status.in_step_at = Some(Instant::now()));
                write(&mut to, &Ask::Done(had.map_or(0, |(_, number)| number))).await?;
            }
        }
    }
}
