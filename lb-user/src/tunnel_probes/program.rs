//! The programs in the kernel, and their maps. They end with this value.

use std::collections::BTreeMap;

use aya::maps::{Array, MapData, MapError};
use aya::programs::links::FdLink;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_detach_program};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, tc};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfLoader};
use bytemuck::Zeroable;
use lb_common::abi::{PROBE_FLOWS, ProbeWay};

use super::ProbeError;
use super::device::Devices;
use crate::dataplane::{Attachment, OBJECT, XdpMode, attach_unpinned};
use crate::net::link;

const FIND: &str = "probe_find";
/// Since this version programs are attached to interfaces by links, which end with their process.
const LINKS_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

pub(super) struct Programs {
    ways: Array<MapData, [u8; size_of::<ProbeWay>()]>,
    /// What is in `ways`.
    written: BTreeMap<u32, ProbeWay>,
    /// By number and name of the interface.
    found_at: BTreeMap<(u32, String), SchedClassifierLink>,
    _ends: [FdLink; 2],
    ebpf: Ebpf,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").field("ways", &self.written.len()).finish_non_exhaustive()
    }
}

impl Programs {
    /// Loads them, and attaches those of the devices. `room`: ways that can be, a power of two.
    pub(super) fn start(devices: &Devices, room: u32) -> Result<Self, ProbeError> {
        let mut ebpf = EbpfLoader::new()
            .override_global("PROBE_MASK", &(room - 1), true)
            .override_global("PROBE_PEER", &devices.peer, true)
            .map_max_entries("PROBE_WAYS", room)
            .map_max_entries("PROBE_FLOWS", PROBE_FLOWS)
            .load(OBJECT)
            .map_err(failed("the eBPF object cannot be loaded"))?;
        let ways = ebpf.take_map("PROBE_WAYS").ok_or_else(|| failed("PROBE_WAYS")("is not in the object"))?;
        let ways = Array::try_from(ways).map_err(failed("PROBE_WAYS"))?;
        // Sent in the stack, where every driver can send what is redirected to it; taken in the driver, since the stack runs no
        // program for packets that were redirected already.
        let ends = [
            attach_end(&mut ebpf, "probe_send", &devices.peer_name, devices.peer, XdpMode::Generic)?,
            attach_end(&mut ebpf, "probe_take", &devices.name, devices.inner, XdpMode::Native)?,
        ];
        finder(&mut ebpf)?.load().map_err(failed("the kernel refuses the program probe_find"))?;
        Ok(Self { ways, written: BTreeMap::new(), found_at: BTreeMap::new(), _ends: ends, ebpf })
    }

    /// Looks for answers on exactly these interfaces. An interface that refuses leaves the others alone.
    pub(super) fn listen<'n>(
        &mut self,
        interfaces: impl Iterator<Item = &'n String>,
    ) -> Result<(), ProbeError> {
        let wanted: BTreeMap<(u32, String), ()> =
            interfaces.filter_map(|name| Some(((link::ifindex(name).ok()?, name.clone()), ()))).collect();
        // Those of interfaces that are gone went with them.
        self.found_at.retain(|at, _| wanted.contains_key(at));
        let mut result = Ok(());
        for at in wanted.into_keys() {
            if self.found_at.contains_key(&at) {
                continue;
            }
            match attach_finder(finder(&mut self.ebpf)?, &at.1) {
                Ok(link) => _ = self.found_at.insert(at, link),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Makes these the ways, by number.
    pub(super) fn set(&mut self, ways: BTreeMap<u32, ProbeWay>) -> Result<(), ProbeError> {
        let gone: Vec<u32> =
            self.written.keys().filter(|number| !ways.contains_key(number)).copied().collect();
        for number in gone {
            self.write(number, &ProbeWay::zeroed())?;
            self.written.remove(&number);
        }
        for (number, way) in ways {
            if self.written.get(&number) != Some(&way) {
                self.write(number, &way)?;
                self.written.insert(number, way);
            }
        }
        Ok(())
    }

    fn write(&mut self, number: u32, way: &ProbeWay) -> Result<(), ProbeError> {
        let bytes: [u8; size_of::<ProbeWay>()] = bytemuck::cast(*way);
        self.ways.set(number, bytes, 0).map_err(|error: MapError| failed("PROBE_WAYS")(error))
    }
}

fn attach_end(
    ebpf: &mut Ebpf,
    name: &'static str,
    interface: &str,
    ifindex: u32,
    mode: XdpMode,
) -> Result<FdLink, ProbeError> {
    let program = ebpf.program_mut(name).ok_or_else(|| failed(name)("is not in the object"))?;
    let program: &mut Xdp = program.try_into().map_err(failed(name))?;
    program.load().map_err(failed("the kernel refuses a program of checks"))?;
    let to = Attachment { interface: interface.to_owned(), ifindex, mode, driver: "veth".to_owned() };
    Ok(attach_unpinned(program, &to)?)
}

fn finder(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, ProbeError> {
    let program = ebpf.program_mut(FIND).ok_or_else(|| failed(FIND)("is not in the object"))?;
    program.try_into().map_err(failed(FIND))
}

fn attach_finder(program: &mut SchedClassifier, interface: &str) -> Result<SchedClassifierLink, ProbeError> {
    let refused = |error: &dyn std::fmt::Display| {
        ProbeError::Other(format!("answers to checks cannot be found on {interface}: {error}"))
    };
    let options = if KernelVersion::current().is_ok_and(|current| current >= LINKS_SINCE) {
        TcAttachOptions::TcxOrder(LinkOrder::first())
    } else {
        prepare_qdisc(interface).map_err(|error| refused(&error))?;
        TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() })
    };
    let id = program
        .attach_with_options(interface, TcAttachType::Ingress, options)
        .map_err(|error| refused(&innermost(&error)))?;
    program.take_link(id).map_err(|error| refused(&error))
}

/// Older kernels attach programs by a queueing discipline, and keep them when their process is gone: those of an earlier one
/// are removed.
fn prepare_qdisc(interface: &str) -> Result<(), TcError> {
    // It may be there already.
    let _ = tc::qdisc_add_clsact(interface);
    remove_finder(interface)
}

/// Removes what a process that was killed has left, where the kernel keeps it.
pub(super) fn remove_finder(interface: &str) -> Result<(), TcError> {
    match qdisc_detach_program(interface, TcAttachType::Ingress, FIND) {
        Err(TcError::IoError(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut source = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    source.to_string()
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> ProbeError {
    move |error| ProbeError::Other(format!("{what}: {error}"))
}
