//! What two nodes say to each other. Each message is a frame: four bytes of length, most significant first, then the message
//! in postcard's form. Pure.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use lb_common::flow::FlowState;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::image::RingImage;
use crate::dataplane::FlowRecord;
use crate::state::{Asked, Healths, Protocol, VipKey};

/// Raised when a message changes.
pub(super) const VERSION: u32 = 1;
/// A ring of the largest size, all of it in transition, is about a third of that.
pub(super) const MAX_LEN: usize = 16 << 20;
/// Bytes before each message.
pub(super) const HEAD_LEN: usize = 4;

/// From the node that holds a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// First of all. `had`: what it has from an earlier connection: the session, and the number of the last batch.
    Hello { version: u32, had: Option<(u64, u64)> },
    /// Everything up to this batch of flows is in the kernel.
    Done(u64),
}

/// From the node that packets come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Tell {
    /// First of all. Flows have the same places in both tables only with the same seed and as many buckets.
    Hello { version: u32, session: u64, hash_seed: u64, buckets: u32 },
    /// The rings of vips that packets come here for, since the last time; `None`: they do not any more.
    Rings(Vec<(VipImage, u8, Option<RingImage>)>),
    /// Which checks pass here.
    Health(Vec<HealthImage>),
    /// Records that are new or have changed.
    Flows(Batch),
    /// All that there is has been told up to now; repeated as long as nothing else is.
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct VipImage(IpAddr, u16, bool);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HealthImage {
    pub(super) check: String,
    pub(super) socket: SocketAddr,
    pub(super) way: Option<(IpAddr, String)>,
    pub(super) healthy: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// One more than that of the batch before.
    pub(super) number: u64,
    /// Vip, number of the route, backend.
    pub(super) dests: Vec<(VipImage, u8, IpAddr)>,
    pub(super) flows: Vec<FlowImage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FlowImage {
    /// Position in the batch's dests.
    dest: u16,
    state: u8,
    age: u16,
    bucket: u32,
    tag: u32,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    #[error("a message of {0} bytes, of which {MAX_LEN} are allowed")]
    Long(usize),
    #[error("not a message of this version: {0}")]
    Form(String),
    #[error("a flow names dest {0}, of which there is none")]
    Dest(u16),
    #[error("a flow has the state {0}")]
    State(u8),
}

/// The frame around a message.
///
/// # Errors
/// When it is too long.
pub(super) fn frame(message: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    let body = postcard::to_allocvec(message).map_err(|error| MessageError::Form(error.to_string()))?;
    if body.len() > MAX_LEN {
        return Err(MessageError::Long(body.len()));
    }
    let mut frame = Vec::with_capacity(HEAD_LEN + body.len());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    Ok(frame)
}

/// The length of the message after a frame's head.
///
/// # Errors
/// When it is too long.
pub(super) const fn body_len(head: [u8; HEAD_LEN]) -> Result<usize, MessageError> {
    let len = u32::from_be_bytes(head) as usize;
    if len > MAX_LEN { Err(MessageError::Long(len)) } else { Ok(len) }
}

/// The message that a frame is around.
///
/// # Errors
/// When it is none, or more than one.
pub(super) fn message<T: DeserializeOwned>(body: &[u8]) -> Result<T, MessageError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(MessageError::Form(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(MessageError::Form(error.to_string())),
    }
}

impl From<VipKey> for VipImage {
    fn from(vip: VipKey) -> Self {
        Self(vip.address, vip.port, vip.protocol == Protocol::Tcp)
    }
}

impl From<VipImage> for VipKey {
    fn from(VipImage(address, port, is_tcp): VipImage) -> Self {
        Self { address, port, protocol: if is_tcp { Protocol::Tcp } else { Protocol::Udp } }
    }
}

impl Batch {
    #[must_use]
    pub(super) fn of(number: u64, records: &[FlowRecord]) -> Self {
        let mut batch = Self { number, ..Self::default() };
        let mut numbers = std::collections::BTreeMap::new();
        for record in records {
            let dest = (VipImage::from(record.vip), record.route, record.backend);
            let dest = *numbers.entry(dest).or_insert_with(|| {
                batch.dests.push(dest);
                (batch.dests.len() - 1) as u16
            });
            let FlowRecord { state, age, bucket, tag, .. } = *record;
            batch.flows.push(FlowImage { dest, state: state as u8, age, bucket, tag });
        }
        batch
    }

    /// # Errors
    /// When a flow names what is not there.
    pub(super) fn records(&self) -> Result<Vec<FlowRecord>, MessageError> {
        let record = |flow: &FlowImage| {
            let dest = self.dests.get(usize::from(flow.dest)).ok_or(MessageError::Dest(flow.dest))?;
            let states = [FlowState::Closing, FlowState::Opened, FlowState::Seen, FlowState::Confirmed];
            let state = states.into_iter().find(|state| *state as u8 == flow.state);
            Ok(FlowRecord {
                vip: dest.0.into(),
                route: dest.1,
                backend: dest.2,
                state: state.ok_or(MessageError::State(flow.state))?,
                age: flow.age,
                bucket: flow.bucket,
                tag: flow.tag & 0x0fff_ffff,
            })
        };
        self.flows.iter().map(record).collect()
    }
}

/// What checks say, as it is sent.
pub(super) fn health_images(healths: &Healths) -> Vec<HealthImage> {
    let images = healths.iter().map(|((check, asked), healthy)| HealthImage {
        check: check.clone(),
        socket: asked.socket,
        way: asked.way.clone(),
        healthy: *healthy,
    });
    images.collect()
}

/// The same the other way round.
pub(super) fn healths(images: Vec<HealthImage>) -> Healths {
    let one =
        |image: HealthImage| ((image.check, Asked { socket: image.socket, way: image.way }), image.healthy);
    images.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(vip: &str, backend: u8, tag: u32) -> FlowRecord {
        FlowRecord {
            vip: vip.parse().unwrap(),
            route: 0,
            backend: IpAddr::from([10, 0, 0, backend]),
            state: FlowState::Confirmed,
            age: 17,
            bucket: 131_071,
            tag,
        }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let records: Vec<_> = (0..100)
            .map(|tag| {
                record(
                    if tag % 3 == 0 { "192.0.2.1:80/tcp" } else { "[2001:db8::1]:53/udp" },
                    tag as u8 % 5,
                    tag,
                )
            })
            .collect();
        let tell = Tell::Flows(Batch::of(9, &records));
        let frame = frame(&tell).unwrap();
        let (head, body) = frame.split_first_chunk().unwrap();
        assert_eq!(body_len(*head), Ok(body.len()));
        let Tell::Flows(batch) = message(body).unwrap() else { panic!("flows") };
        assert_eq!((batch.number, batch.dests.len(), batch.records().unwrap()), (9, 10, records));
        assert!(body.len() < 100 * 12 + 10 * 24, "{} bytes", body.len());
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let flow = FlowImage { dest: 1, state: 4, age: 0, bucket: 0, tag: 0 };
        let batch = |flow| Batch { flows: vec![flow], ..Batch::of(1, &[record("192.0.2.1:80/tcp", 1, 1)]) };
        assert_eq!(batch(flow).records(), Err(MessageError::Dest(1)));
        assert_eq!(batch(FlowImage { dest: 0, state: 9, ..flow }).records(), Err(MessageError::State(9)));
        assert_eq!(body_len([0xff; 4]), Err(MessageError::Long(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Tell::Flows(batch)) = message::<Tell>(&bytes) {
                let _ = batch.records();
            }
            if let Ok(Tell::Rings(rings)) = message::<Tell>(&bytes) {
                for (_, _, ring) in rings {
                    let _ = ring.filter(|ring| ring.size < 1000).map(|ring| ring.history(1));
                }
            }
            let _ = message::<Ask>(&bytes);
        }
    }
}
