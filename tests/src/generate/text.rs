//! What is said of a run. Every figure has its unit and every line begins with a word, for people and for scripts.

use std::fmt::Write;

use super::arguments::Sending;
use crate::bench::generator::{Counts, Source};

/// Before the first packet.
pub(super) fn begin(plan: &Sending, source: Source) -> String {
    let offered = &plan.offered;
    let by = match source {
        Source::Live => "as live frames",
        Source::Socket => "by a socket",
    };
    let cores: Vec<String> = plan.cores.iter().map(usize::to_string).collect();
    format!(
        "sending to {} out of {}, {by}: {} of {} flows, on core {}, for {} s",
        offered.vip_key(),
        plan.interface,
        format!("{:?}", offered.traffic).to_lowercase(),
        offered.flows,
        cores.join(","),
        plan.lasting.as_secs()
    )
}

/// A second of sending.
pub(super) fn sending(seconds: u32, last: &Counts, now: &Counts, has_sink: bool) -> String {
    let packets = taken(now).saturating_sub(taken(last));
    let bytes = now.made_bytes().saturating_sub(last.made_bytes());
    let mut line = format!(
        "{seconds:>4} s  sent {:.3} Mpps, {:.1} Mbit/s, {} packets",
        packets as f64 / 1e6,
        bytes as f64 * 8.0 / 1e6,
        taken(now)
    );
    if now.xmit_errors > 0 {
        let _ = write!(line, ", {} refused", now.xmit_errors);
    }
    if has_sink {
        let _ = write!(line, "; arrived {}, {} reordered", now.arrived_packets(), now.late);
    }
    line
}

/// At the end of sending.
pub(super) fn sent(counts: &Counts, interface: &str, sink: Option<&str>) -> String {
    let rate = counts.offered_rate() * taken(counts) as f64 / counts.made_packets().max(1) as f64;
    // Those that were refused were not longer than others.
    let bytes = counts.made_bytes() as f64 * taken(counts) as f64 / counts.made_packets().max(1) as f64;
    let mut text = format!("sent      {} packets, {bytes:.0} bytes, {:.3} Mpps\n", taken(counts), rate / 1e6);
    let _ = writeln!(text, "refused   {} packets by {interface}", counts.xmit_errors);
    let Some(sink) = sink else { return text };
    let lost = taken(counts).saturating_sub(counts.arrived_packets());
    let part = lost as f64 / taken(counts).max(1) as f64;
    text += &arrived(counts, sink);
    let _ = writeln!(text, "lost      {lost} packets, {:.4} %", part * 100.0);
    text += &order(counts);
    if counts.latencies.packets() > 0 {
        let at = |part| counts.latencies.quantile(part) as f64 / 1e3;
        let _ = writeln!(
            text,
            "latency   p50 {:.1} us, p90 {:.1} us, p99 {:.1} us, p99.9 {:.1} us, most {:.1} us",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    text
}

/// A second of a sink.
pub(super) fn collecting(seconds: u32, last: &Counts, now: &Counts) -> String {
    let packets = now.arrived_packets() - last.arrived_packets();
    format!(
        "{seconds:>4} s  arrived {:.3} Mpps, {} packets, {} reordered",
        packets as f64 / 1e6,
        now.arrived_packets(),
        now.late
    )
}

/// At the end of a sink.
pub(super) fn collected(counts: &Counts, interface: &str) -> String {
    let mut text = arrived(counts, interface);
    let _ =
        writeln!(text, "missing   {} packets, by their numbers: lost, or at other backends", counts.skipped);
    text += &order(counts);
    if counts.arrived_packets() == 0 {
        text += "none of the generator's packets came: give both the same --destination, --protocol, --kind and --sources";
    }
    text
}

fn arrived(counts: &Counts, interface: &str) -> String {
    let mut text = format!(
        "arrived   {} packets, {} bytes of IP at {interface}\n",
        counts.arrived_packets(),
        counts.arrived_bytes()
    );
    if counts.arrived.len() > 1 {
        let of =
            |(backend, arrived): (&u8, &lb_common::abi::Arrived)| format!("{backend}: {}", arrived.packets);
        let all: Vec<String> = counts.arrived.iter().map(of).collect();
        let _ = writeln!(text, "backends  by the last byte of their address, {}", all.join(", "));
    }
    text
}

/// RFC 4737: behind one with a higher number, within a stream and a queue.
fn order(counts: &Counts) -> String {
    format!("reordered {} packets\n", counts.late)
}

/// What the driver, or the socket, took.
fn taken(counts: &Counts) -> u64 {
    counts.made_packets().saturating_sub(counts.xmit_errors)
}
