//! Remembered flows on demand: listed, counted, and exchanged with other balancers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use lb_common::flow::FlowState;

use super::clock;
use super::engine::{Engine, Refused};
use crate::api::flow_dump::FlowDump;
use crate::api::types::{FlowCount, FlowDumpHead, FlowEntry, FlowEntryState, FlowImport, FlowOptions};
use crate::dataplane::{Dataplane, FlowCounts, FlowRecord, FlowRecords, Remembered, Wins};
use crate::state::{ChangeError, Desired, VipKey, find_vip};

impl<D: Dataplane> Engine<D> {
    /// The flows of some buckets.
    pub(super) fn flow_dump(
        &mut self,
        options: &FlowOptions,
        buckets: Range<u32>,
    ) -> Result<FlowDump, Refused> {
        let only = Only::new(&self.desired, options)?;
        let now_ns = clock::monotonic_ns();
        let found = self.dataplane.flow_records(&self.target, buckets, now_ns).map_err(Refused::Read)?;
        let names = names(&self.desired);
        let flows = found.records.iter().filter(|flow| only.wants(flow.vip, flow.backend));
        let flows = flows.map(|flow| FlowEntry {
            vip: flow.vip.to_string(),
            route: flow.route,
            address: flow.backend,
            backend: names.get(&(flow.vip, flow.backend)).cloned(),
            state: entry_state(flow.state),
            age_ticks: flow.age,
            bucket: flow.bucket,
            tag: format!("{:07x}", flow.tag),
        });
        let head = FlowDumpHead {
            format: FlowDumpHead::FORMAT.to_owned(),
            version: FlowDumpHead::VERSION,
            at: clock::now_text(),
            hash_seed: self.target.hash_seed,
            buckets: found.buckets,
        };
        Ok(FlowDump { head, flows: flows.collect() })
    }

    pub(super) fn flow_counts(&mut self, options: &FlowOptions) -> Result<Vec<FlowCount>, Refused> {
        let only = Only::new(&self.desired, options)?;
        self.flows = self.dataplane.flows(&self.target, clock::monotonic_ns()).map_err(Refused::Read)?;
        let mut counts: BTreeMap<(VipKey, IpAddr), FlowCounts> = BTreeMap::new();
        let wanted = self.flows.dests.keys().filter(|(vip, _, backend)| only.wants(*vip, *backend));
        for (vip, _, backend) in wanted {
            counts.entry((*vip, *backend)).or_insert_with(|| self.flows.of(*vip, *backend));
        }
        let names = names(&self.desired);
        let shown = counts.into_iter().map(|((vip, address), counts)| FlowCount {
            vip: self.desired.vips.get(&vip).map_or_else(|| vip.to_string(), |vip| vip.name.clone()),
            backend: names.get(&(vip, address)).cloned(),
            address,
            opened: counts.opened,
            live: counts.live,
            closing: counts.closing,
        });
        Ok(shown.collect())
    }

    pub(super) fn import_flows(&mut self, dump: &FlowDump) -> Result<FlowImport, Refused> {
        if dump.head.hash_seed != self.target.hash_seed {
            return Err(Refused::Flows(format!(
                "the dump is of a balancer with hash_seed = {}, this one has {}: its flows have other places here; give both the same",
                dump.head.hash_seed, self.target.hash_seed
            )));
        }
        let parsed: Result<Vec<_>, _> = dump.flows.iter().map(record).collect();
        let records = FlowRecords { buckets: dump.head.buckets, records: parsed.map_err(Refused::Flows)? };
        let here = self.setup.config.limits.flows / 8;
        if records.buckets != here {
            return Err(Refused::Flows(format!(
                "the dump is of a balancer with limits.flows = {}, this one has {}: its flows have other places here; give both the same",
                u64::from(records.buckets) * 8,
                self.setup.config.limits.flows
            )));
        }
        let now_ns = clock::monotonic_ns();
        let done = self
            .dataplane
            .remember(&self.target, &records, Wins::Here, now_ns)
            .map_err(Refused::Dataplane)?;
        self.flows = self.dataplane.flows(&self.target, now_ns).map_err(Refused::Read)?;
        let Remembered { taken, known, foreign, over, full } = done;
        Ok(FlowImport { taken, known, foreign, over, full })
    }
}

/// Which flows are asked for.
struct Only {
    vip: Option<VipKey>,
    /// Every address that the backend has somewhere.
    backend: Option<Vec<IpAddr>>,
}

impl Only {
    fn new(desired: &Desired, options: &FlowOptions) -> Result<Self, ChangeError> {
        let vip = options.vip.as_deref().map(|vip| find_vip(desired, vip)).transpose()?;
        let backend =
            options.backend.as_deref().map(|backend| addresses_of(desired, vip, backend)).transpose()?;
        Ok(Self { vip, backend })
    }

    fn wants(&self, vip: VipKey, backend: IpAddr) -> bool {
        self.vip.is_none_or(|only| only == vip)
            && self.backend.as_ref().is_none_or(|only| only.contains(&backend))
    }
}

/// The addresses of a backend by name, or the address that the text is: that of a backend that is gone, too.
fn addresses_of(desired: &Desired, vip: Option<VipKey>, text: &str) -> Result<Vec<IpAddr>, ChangeError> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let vips = desired.vips.iter().filter(|(key, _)| vip.is_none_or(|only| only == **key));
    let found = vips.filter_map(|(_, vip)| Some(vip.all_members().get(text)?.address));
    let found: Vec<IpAddr> = found.collect();
    if found.is_empty() {
        let vip = vip.and_then(|key| desired.vips.get(&key)).map(|vip| vip.name.clone());
        return Err(ChangeError::UnknownBackend { vip, backend: text.to_owned(), nearest: None });
    }
    Ok(found)
}

fn names(desired: &Desired) -> BTreeMap<(VipKey, IpAddr), String> {
    let members = desired.vips.iter().flat_map(|(key, vip)| {
        let members = vip.all_members().into_iter();
        members.map(|(name, member)| ((*key, member.address), name.to_owned()))
    });
    members.collect()
}

const fn entry_state(state: FlowState) -> FlowEntryState {
    match state {
        FlowState::Opened => FlowEntryState::Opened,
        FlowState::Seen => FlowEntryState::Seen,
        FlowState::Confirmed => FlowEntryState::Confirmed,
        FlowState::Closing => FlowEntryState::Closing,
    }
}

/// A line of a dump as a record; the error is ready to be shown.
fn record(entry: &FlowEntry) -> Result<FlowRecord, String> {
    let wrong = |what: &str, text: &str| format!("'{}' is no {what}", text.escape_debug());
    let tag = u32::from_str_radix(&entry.tag, 16).ok().filter(|tag| *tag < 1 << 28);
    Ok(FlowRecord {
        vip: entry.vip.parse().map_err(|_| wrong("ADDRESS:PORT/PROTOCOL", &entry.vip))?,
        route: entry.route,
        backend: entry.address,
        state: match entry.state {
            FlowEntryState::Opened => FlowState::Opened,
            FlowEntryState::Seen => FlowState::Seen,
            FlowEntryState::Confirmed => FlowState::Confirmed,
            FlowEntryState::Closing => FlowState::Closing,
        },
        age: entry.age_ticks,
        bucket: entry.bucket,
        tag: tag.ok_or_else(|| wrong("tag of 28 bits", &entry.tag))?,
    })
}
