//! The decapsulation story on the host and in the kernel, with the same tables.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, PerCpuArray};
use aya::programs::{TestRunOptions, Xdp};
use aya::{EbpfLoader, TestRun};
use lb_common::abi::DecapOutcome;
use lb_ebpf::{DecapTables, decapsulate};
use lb_user::dataplane::OBJECT;
use lb_user::decap::options::IpPrefix;
use lb_user::state::identity;

use crate::host::HostFrame;

/// What the story is told.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub locals: BTreeSet<IpAddr>,
    /// Empty: all sources.
    pub sources: Vec<IpPrefix>,
    /// 0: GUE is not taken in.
    pub gue_port: u16,
}

impl DecapTables for Tables {
    fn is_local(&self, address: &[u8; 16]) -> bool {
        self.locals.iter().any(|local| identity(*local) == *address)
    }

    fn accepts(&self, source: &[u8; 16]) -> bool {
        let contains = |prefix: &IpPrefix| {
            let bits = if prefix.address.is_ipv4() { 96 } else { 0 } + u32::from(prefix.prefix_len);
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let number = u128::from_be_bytes;
            number(*source) & mask == number(identity(prefix.address)) & mask
        };
        self.sources.is_empty() || self.sources.iter().any(contains)
    }

    fn gue_port(&self) -> u16 {
        self.gue_port
    }
}

/// Runs a frame on the host.
#[must_use]
pub fn on_host(tables: &Tables, frame: &[u8]) -> (DecapOutcome, Vec<u8>) {
    let mut frame = HostFrame::new(frame);
    let outcome = decapsulate(&mut frame, tables);
    (outcome, frame.bytes().to_vec())
}

/// Runs a frame in the kernel; the outcome is the counter that moved.
///
/// # Errors
/// When the kernel refuses, or no counter moved.
pub fn in_kernel(tables: &Tables, frame: &[u8]) -> Result<(DecapOutcome, Vec<u8>)> {
    let mut ebpf = EbpfLoader::new()
        .override_global("DECAP_CHECK_SOURCES", &u32::from(!tables.sources.is_empty()), true)
        .override_global("DECAP_GUE_PORT", &u32::from(tables.gue_port), true)
        .load(OBJECT)?;
    let mut locals: HashMap<_, [u8; 16], u32> =
        ebpf.take_map("DECAP_LOCALS").context("locals")?.try_into()?;
    for local in &tables.locals {
        locals.insert(identity(*local), 1, 0)?;
    }
    let mut sources: LpmTrie<_, [u8; 16], u32> =
        ebpf.take_map("DECAP_SOURCES").context("sources")?.try_into()?;
    for source in &tables.sources {
        let mapped = if source.address.is_ipv4() { 96 } else { 0 };
        sources.insert(&Key::new(mapped + u32::from(source.prefix_len), identity(source.address)), 1, 0)?;
    }
    let outcomes: PerCpuArray<_, u64> = ebpf.take_map("DECAP_OUTCOMES").context("outcomes")?.try_into()?;
    let program: &mut Xdp = ebpf.program_mut("decap").context("decap")?.try_into()?;
    program.load()?;
    let mut output = vec![0; frame.len() + 64];
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.data_out = Some(&mut output);
    let result = program.test_run(options)?;
    output.truncate(result.data_size_out as usize);
    for outcome in DecapOutcome::ALL {
        if outcomes.get(&(*outcome as u32), 0)?.iter().sum::<u64>() == 1 {
            let action = if outcome.is_drop() { 1 } else { 2 };
            anyhow::ensure!(result.return_value == action, "{outcome:?} with action {}", result.return_value);
            return Ok((*outcome, output));
        }
    }
    anyhow::bail!("no outcome was counted")
}
