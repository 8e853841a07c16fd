//! The sink: counts what arrives for the backends, in which order and how late, and drops it.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{Arrived, LATENCY_BUCKETS, Offer, SINK_BACKENDS, STREAMS, StreamOrder, latency_bucket};
use lb_ebpf::offered::{self, Arrival, NoArrival};

use crate::generator::OFFER;
use crate::xdp::XdpFrame;

#[map]
static ARRIVED: PerCpuArray<Arrived> = PerCpuArray::with_max_entries(SINK_BACKENDS, 0);
/// Packets that are no offered ones, though they should be.
#[map]
static BROKEN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// Written by whichever core a packet arrives on: exact as long as a stream keeps to one.
#[map(name = "STREAMS")]
static ORDERS: Array<StreamOrder> = Array::with_max_entries(STREAMS, 0);
#[map]
static LATENCIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(LATENCY_BUCKETS, 0);

#[xdp(frags)]
fn sink(ctx: XdpContext) -> u32 {
    let Some(offer) = OFFER.get(0) else { return XDP_PASS };
    match offered::read(&XdpFrame::<false>(&ctx), offer) {
        Ok(arrival) => take(offer, &arrival),
        Err(NoArrival::Broken) => add(BROKEN.get_ptr_mut(0), 1),
        Err(NoArrival::Other) => return XDP_PASS,
    }
    XDP_DROP
}

#[inline(always)]
fn take(offer: &Offer, arrival: &Arrival) {
    count(offer, arrival);
    if let Some(order) = ORDERS.get_ptr_mut(arrival.stream.into()) {
        // SAFETY: a map's value outlives the program. What other cores may write at once is a count that may be wrong then.
        note(unsafe { &mut *order }, arrival.sequence.into());
    }
}

/// For which backend it has arrived, and how late.
#[inline(always)]
pub(crate) fn count(offer: &Offer, arrival: &Arrival) {
    if let Some(arrived) = ARRIVED.get_ptr_mut(arrival.backend.into()) {
        // SAFETY: the value is this CPU's, and the program does not interrupt itself there.
        let arrived = unsafe { &mut *arrived };
        arrived.packets += 1;
        arrived.bytes += u64::from(arrival.bytes);
    }
    if offer.is_timed != 0 {
        // SAFETY: takes nothing and touches nothing.
        let now = unsafe { bpf_ktime_get_ns() };
        add(LATENCIES.get_ptr_mut(latency_bucket(now.saturating_sub(arrival.time_ns))), 1);
    }
}

#[inline(always)]
fn note(order: &mut StreamOrder, sequence: u64) {
    if sequence < order.next {
        order.late += 1;
    } else {
        order.skipped += sequence - order.next;
        order.next = sequence + 1;
    }
}

#[inline(always)]
fn add(counter: Option<*mut u64>, amount: u64) {
    if let Some(counter) = counter {
        // SAFETY: the value is this CPU's, and the program does not interrupt itself there.
        unsafe { *counter += amount };
    }
}
