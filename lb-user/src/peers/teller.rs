//! Tells one peer what packets have made of this node's vips.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::connection::{BEGIN, Ended, SILENCE, read, write};
use super::message::{Ask, Batch, Tell, VERSION, health_images};
use super::{Mine, RingImage, TellerStatus};
use crate::controller::{Changes, ControllerHandle, Copied, clock};
use crate::dataplane::Told;
use crate::state::{ForwardVip, Healths, VipKey};

/// Between two looks at what has changed.
const PAUSE: Duration = Duration::from_millis(100);
/// Records in one message, about 50 KB.
const BATCH: usize = 4096;
/// Flows in one message of which only one packet was seen: a flood must not be in the way of what goes on.
const BATCH_OPENED: usize = 1024;
/// Batches on their way. More wait until the other side has one of them in its kernel.
const WINDOW: u64 = 32;

/// What a peer was told, kept for its next connection.
#[derive(Debug, Default)]
pub(super) struct Memory {
    session: u64,
    told: Told,
    /// Number of the last batch.
    last: u64,
    /// Where the records of each batch are that is not confirmed.
    open: VecDeque<(u64, Vec<u32>)>,
}

impl Memory {
    fn confirm(&mut self, number: u64) {
        while self.open.front().is_some_and(|(open, _)| *open <= number) {
            self.open.pop_front();
        }
    }

    /// The peer has all batches up to the one that it names, if it names one of this session.
    fn resume(&mut self, had: Option<(u64, u64)>) {
        match had.filter(|(session, number)| *session == self.session && *number <= self.last) {
            Some((_, number)) => {
                self.confirm(number);
                for (_, places) in self.open.drain(..) {
                    self.told.forget(&places);
                }
            }
            // Sessions only have to differ from one another.
            None => *self = Self { session: clock::monotonic_ns() | 1, ..Self::default() },
        }
    }
}

/// Tells until the connection breaks.
pub(super) async fn tell(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    memory: &mut Memory,
    controller: &ControllerHandle,
    mine: &Mine,
    status: impl Fn(&dyn Fn(&mut TellerStatus)) + Send + Sync,
) -> Ended {
    let (mut from, mut to) = split(stream);
    let greeting = timeout(BEGIN, read::<Ask>(&mut from)).await.unwrap_or(Err(Ended::Silent));
    match greeting {
        Ok(Ask::Hello { version: VERSION, had }) => memory.resume(had),
        Ok(Ask::Hello { version, .. }) => return other_version(version),
        Ok(Ask::Done(_)) => return Ended::Differs("the peer does not greet".to_owned()),
        Err(ended) => return ended,
    }
    let (confirm, confirmed) = watch::channel(0);
    let listening = async move {
        loop {
            match read::<Ask>(&mut from).await {
                Ok(Ask::Done(number)) => _ = confirm.send_replace(number),
                Ok(Ask::Hello { .. }) => return Ended::Differs("the peer greets twice".to_owned()),
                Err(ended) => return ended,
            }
        }
    };
    let mut teller =
        Teller { memory, controller, mine, confirmed, rings: BTreeMap::new(), health: Arc::default() };
    status(&|status| {
        *status = TellerStatus { connected: true, flows: status.flows, ..TellerStatus::default() };
    });
    let telling = async {
        if let Err(ended) = teller.greet(&mut to).await {
            return ended;
        }
        loop {
            if let Err(ended) = teller.round(&mut to, &status).await {
                return ended;
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        ended = listening => ended,
        ended = telling => ended,
    }
}

pub(super) fn other_version(version: u32) -> Ended {
    Ended::Differs(format!(
        "the peer speaks version {version}, this node version {VERSION}; run the same version of ferrolev on both"
    ))
}

struct Teller<'a> {
    memory: &'a mut Memory,
    controller: &'a ControllerHandle,
    mine: &'a Mine,
    confirmed: watch::Receiver<u64>,
    /// As they were told last.
    rings: BTreeMap<(VipKey, u8), Arc<ForwardVip>>,
    health: Arc<Healths>,
}

impl Teller<'_> {
    async fn greet(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), Ended> {
        let Copied { hash_seed, buckets, .. } = self.controller.copied().await?;
        write(to, &Tell::Hello { version: VERSION, session: self.memory.session, hash_seed, buckets }).await
    }

    /// Everything that is new.
    async fn round(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        status: &(impl Fn(&dyn Fn(&mut TellerStatus)) + Sync),
    ) -> Result<(), Ended> {
        loop {
            let told = std::mem::take(&mut self.memory.told);
            let mine = self.mine.borrow().clone();
            let (told, changes) = self.controller.changes(told, mine.clone(), BATCH, BATCH_OPENED).await?;
            self.memory.told = told;
            let Changes { copied, flows } = changes;
            self.tell_rings(to, copied.rings, &mine).await?;
            self.tell_health(to, &copied.health).await?;
            if !flows.records.is_empty() {
                self.memory.last += 1;
                let batch = Batch::of(self.memory.last, &flows.records);
                self.memory.open.push_back((self.memory.last, flows.places));
                write(to, &Tell::Flows(batch)).await?;
            }
            let open = self.wait_for_room().await?;
            let told = flows.records.len() as u64;
            status(&|status| {
                status.flows += told;
                status.batches_open = open;
            });
            if flows.round_done {
                return write(to, &Tell::Mark).await;
            }
        }
    }

    async fn tell_health(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        health: &Arc<Healths>,
    ) -> Result<(), Ended> {
        if !Arc::ptr_eq(&self.health, health) {
            write(to, &Tell::Health(health_images(health))).await?;
            self.health = health.clone();
        }
        Ok(())
    }

    async fn tell_rings(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        mut rings: BTreeMap<(VipKey, u8), Arc<ForwardVip>>,
        mine: &BTreeSet<IpAddr>,
    ) -> Result<(), Ended> {
        rings.retain(|(vip, _), _| mine.contains(&vip.address));
        let now_ns = clock::monotonic_ns();
        let gone = self.rings.keys().filter(|key| !rings.contains_key(key)).map(|key| (*key, None));
        let is_known = |key: &(VipKey, u8), ring: &Arc<ForwardVip>| {
            self.rings.get(key).is_some_and(|known| Arc::ptr_eq(known, ring) || known == ring)
        };
        let new = rings.iter().filter(|(key, ring)| !is_known(key, ring));
        let new = new.map(|(key, ring)| (*key, Some(RingImage::of(ring, now_ns))));
        for ((vip, route), image) in gone.chain(new) {
            write(to, &Tell::Rings(vec![(vip.into(), route, image)])).await?;
        }
        self.rings = rings;
        Ok(())
    }

    /// Waits until the peer has confirmed enough; says how many batches are still open.
    async fn wait_for_room(&mut self) -> Result<u64, Ended> {
        loop {
            let number = *self.confirmed.borrow_and_update();
            self.memory.confirm(number);
            let open = self.memory.open.len() as u64;
            if open < WINDOW {
                return Ok(open);
            }
            let changed = timeout(SILENCE, self.confirmed.changed()).await;
            changed.map_err(|_| Ended::Silent)?.map_err(|_| Ended::Silent)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_goes_on_where_it_was_and_hears_again_what_it_did_not_confirm() {
        let mut memory = Memory::default();
        memory.resume(None);
        let session = memory.session;
        memory.last = 3;
        memory.open = (1..=3).map(|number| (number, vec![number as u32])).collect();
        memory.resume(Some((session, 2)));
        assert_eq!((memory.session, memory.last, memory.open.len()), (session, 3, 0));
        memory.resume(Some((session, 4)));
        assert_ne!((memory.session, memory.last), (session, 3), "it never had a fourth batch");
    }
}
