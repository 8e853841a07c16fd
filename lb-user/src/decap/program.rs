//! The program in the kernel, and its maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray};
use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{DECAP_LOCALS, DECAP_SOURCES, DecapOutcome};

use super::options::{DecapOptions, IpPrefix};
use crate::dataplane::{Attachment, DataplaneError, OBJECT, attach_unpinned};
use crate::net::link;
use crate::state::identity;

/// The attached program; dropping it takes it off.
pub(super) struct Decap {
    locals: HashMap<MapData, [u8; 16], u32>,
    outcomes: PerCpuArray<MapData, u64>,
    known: BTreeSet<IpAddr>,
    attachment: Attachment,
    _link: FdLink,
    _ebpf: Ebpf,
}

impl Decap {
    /// Loads the program, fills its maps and attaches it.
    ///
    /// # Errors
    /// When the kernel or the interface refuses, or there are too many sources or addresses.
    pub(super) fn start(
        options: &DecapOptions,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Self, DataplaneError> {
        let attachment = Attachment {
            interface: options.interface.clone(),
            ifindex: link::ifindex(&options.interface)
                .map_err(|_| DataplaneError::NoInterface(options.interface.clone()))?,
            mode: options.xdp_mode,
            driver: link::driver(&options.interface),
        };
        let mut ebpf = load(options)?;
        set_sources(take(&mut ebpf, "DECAP_SOURCES")?, &options.sources)?;
        let mut locals = take(&mut ebpf, "DECAP_LOCALS")?;
        set_addresses(&mut locals, &BTreeSet::new(), addresses)?;
        let outcomes = take(&mut ebpf, "DECAP_OUTCOMES")?;
        let link = attach_unpinned(program(&mut ebpf)?, &attachment)?;
        Ok(Self { locals, outcomes, known: addresses.clone(), attachment, _link: link, _ebpf: ebpf })
    }

    pub(super) const fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Lets tunnels end at exactly these addresses.
    ///
    /// # Errors
    /// When there are too many; those from before stay in force.
    pub(super) fn follow(&mut self, addresses: &BTreeSet<IpAddr>) -> Result<(), DataplaneError> {
        set_addresses(&mut self.locals, &self.known, addresses)?;
        self.known = addresses.clone();
        Ok(())
    }

    /// Packets by what became of them.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub(super) fn outcomes(&self) -> Result<BTreeMap<&'static str, u64>, DataplaneError> {
        let count = |outcome: &DecapOutcome| {
            let values = self.outcomes.get(&(*outcome as u32), 0).map_err(failed("DECAP_OUTCOMES"))?;
            Ok((outcome.label(), values.iter().sum()))
        };
        DecapOutcome::ALL.iter().map(count).collect()
    }
}

/// The object without the balancer: its maps are made as small as they can be.
fn load(options: &DecapOptions) -> Result<Ebpf, DataplaneError> {
    let mut ebpf = EbpfLoader::new()
        .override_global("DECAP_CHECK_SOURCES", &u32::from(!options.sources.is_empty()), true)
        .override_global("DECAP_GUE_PORT", &u32::from(options.gue_port), true)
        .load(OBJECT)
        .map_err(failed("the eBPF object cannot be loaded"))?;
    program(&mut ebpf)?.load().map_err(failed("the kernel refuses the program"))?;
    Ok(ebpf)
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let program = ebpf.program_mut("decap").ok_or_else(|| failed("object")("has no program decap"))?;
    program.try_into().map_err(failed("decap"))
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, DataplaneError> {
    let map = ebpf.take_map(name).ok_or_else(|| failed(name)("is not in the object"))?;
    M::try_from(map).map_err(failed(name))
}

fn set_sources(
    mut trie: LpmTrie<MapData, [u8; 16], u32>,
    sources: &[IpPrefix],
) -> Result<(), DataplaneError> {
    if sources.len() > DECAP_SOURCES as usize {
        let what =
            format!("{} tunnel sources are given, {DECAP_SOURCES} fit; use shorter prefixes", sources.len());
        return Err(DataplaneError::Other(what));
    }
    for source in sources {
        let mapped = if source.address.is_ipv4() { 96 } else { 0 };
        let key = Key::new(mapped + u32::from(source.prefix_len), identity(source.address));
        trie.insert(&key, 1, 0).map_err(failed("DECAP_SOURCES"))?;
    }
    Ok(())
}

fn set_addresses(
    map: &mut HashMap<MapData, [u8; 16], u32>,
    before: &BTreeSet<IpAddr>,
    after: &BTreeSet<IpAddr>,
) -> Result<(), DataplaneError> {
    if after.len() > DECAP_LOCALS as usize {
        let what =
            format!("this host has {} addresses, tunnels can end at {DECAP_LOCALS} of them", after.len());
        return Err(DataplaneError::Other(what));
    }
    for gone in before.difference(after) {
        match map.remove(&identity(*gone)) {
            Ok(()) | Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(failed("DECAP_LOCALS")(error)),
        }
    }
    for new in after.difference(before) {
        map.insert(identity(*new), 1, 0).map_err(failed("DECAP_LOCALS"))?;
    }
    Ok(())
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> DataplaneError {
    move |error| DataplaneError::Other(format!("{what}: {error}"))
}
