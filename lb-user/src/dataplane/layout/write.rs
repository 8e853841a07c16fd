//! The steps of a change.

use std::net::IpAddr;

use lb_common::abi::{Answering, Dest, FILTER_WORDS, Place};

use crate::dataplane::vip_table::Bank;
use crate::state::VipKey;

/// One step of a change, in the order in which they must be carried out.
#[derive(Clone, Debug)]
pub enum Write {
    /// Wait for packets under way, then fold and clear the counters of these dests.
    Settle(Vec<RetiredDest>),
    Device {
        slot: u32,
        ifindex: u32,
    },
    Dest {
        index: u32,
        dest: Box<Dest>,
    },
    Ring {
        page: u32,
        slots: Vec<u16>,
    },
    Seed(u64),
    Answering(Answering),
    /// Moves a vip: `index` counts over both banks.
    Place {
        is_v6: bool,
        index: u32,
        place: Place,
    },
    Bank {
        number: u32,
        bank: Box<Bank>,
    },
    Filter(Box<[u64; FILTER_WORDS]>),
    Switch {
        bank: u32,
    },
}

/// A dest entry whose counters belong to a vip and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetiredDest {
    pub index: u32,
    pub vip: VipKey,
    pub backend: IpAddr,
}

/// Sizes of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub ring_pages: u32,
    pub dests: u32,
}
