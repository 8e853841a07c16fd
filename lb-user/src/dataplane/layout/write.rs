//! The steps of a change.

use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::{Answering, Dest, FILTER_WORDS, Place, Policy, Tracking, Tunnels};

use super::{List, RetiredList};
use crate::dataplane::vip_table::Bank;
use crate::state::VipKey;

/// One step of a change, in the order in which they must be carried out.
#[derive(Clone, Debug)]
pub enum Write {
    /// Wait for packets under way, then clear away what they may have read until now.
    Settle(Retired),
    /// Loads a prefix list under its number, which no other list ever has.
    List(Arc<List>),
    Policy {
        index: u32,
        policy: Box<Policy>,
    },
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
    /// Where flows of an owner go; `None`: nowhere any more.
    Owner {
        owner: u16,
        dest: Option<u32>,
    },
    Tracking(Tracking),
    Answering(Answering),
    Tunnels(Box<Tunnels>),
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

/// What nothing leads to any more.
#[derive(Clone, Debug, Default)]
pub struct Retired {
    /// Their counts are kept.
    pub dests: Vec<RetiredDest>,
    /// Numbers of vips and routes that are gone; the vips' counts are kept.
    pub numbers: Vec<(u32, VipKey)>,
    pub lists: Vec<RetiredList>,
    /// Owners of flows whose records are to be removed.
    pub owners: Vec<u16>,
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
    pub flow_buckets: u32,
}
