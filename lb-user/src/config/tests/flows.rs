//! The settings of remembered flows, and slow start.

use std::time::Duration;

use super::*;
use crate::state::{FlowTimes, TrackingMode};

fn flows(lines: &str) -> String {
    with("[[backend]]", &format!("[flows]\n{lines}\n[[backend]]"))
}

#[track_caller]
fn problem(line: &str, expected: &str) {
    assert_eq!(problems(&flows(line)), [format!("f.toml:4: [flows]: {expected}")], "{line}");
}

#[test]
fn every_time_of_a_flow_is_read() {
    let lines = [
        "tcp_idle = \"1h\"",
        "udp_idle = \"2s\"",
        "opened = \"3s\"",
        "closing = \"4s\"",
        "transition = \"14h\"",
        "quiet = \"14h\"",
        "udp_learning = \"0s\"",
    ];
    let config = parse(&flows(&lines.join("\n"))).expect("valid");
    let seconds = Duration::from_secs;
    let expected = FlowTimes {
        tcp_idle: seconds(3600),
        udp_idle: seconds(2),
        opened: seconds(3),
        closing: seconds(4),
        transition: seconds(14 * 3600),
        quiet: seconds(14 * 3600),
        udp_learning: seconds(0),
    };
    assert_eq!(config.flows, expected);
}

#[test]
fn times_of_flows_stay_within_what_the_kernel_can_count() {
    problem("tcp_idle = \"15h\"", "tcp_idle: '15h' is out of range; write 1s to 14h");
    problem("opened = \"0s\"", "opened: '0s' is out of range; write 1s to 14h");
    problem("udp_learning = \"2h\"", "udp_learning: '2h' is out of range; write 0s to 1h");
    assert!(lb_common::flow::ticks_in(14 * 3600) < lb_common::flow::MAX_TICKS);
}

#[test]
fn a_transition_that_is_quiet_ends_within_the_transition() {
    problem(
        "quiet = \"301s\"",
        "quiet: 5m 1s is longer than transition = \"5m\", by which all is over; write 5m or less, or a longer transition",
    );
    let config = parse(&flows("transition = \"20s\"")).expect("a shorter transition alone is valid");
    assert_eq!(config.flows.quiet, Duration::from_secs(20));
}

#[test]
fn room_for_flows_comes_in_whole_buckets() {
    let limits = |flows: u32| with("[[backend]]", &format!("[limits]\nflows = {flows}\n[[backend]]"));
    assert_eq!(parse(&limits(1 << 26)).expect("the most").limits.flows, 1 << 26);
    assert_eq!(
        problems(&limits(2001)),
        ["f.toml:4: [limits]: flows: 2001 is no multiple of 8; write 2000 or 2008"]
    );
    assert_eq!(
        problems(&limits(1016)),
        ["f.toml:4: [limits]: flows: 1016 is out of range; write a whole number from 1024 to 67108864"]
    );
}

#[test]
fn a_vip_says_which_flows_are_remembered() {
    let vip = |line: &str| format!("{GOOD}{line}\n");
    for (word, mode) in
        [("adaptive", TrackingMode::Adaptive), ("full", TrackingMode::Full), ("none", TrackingMode::None)]
    {
        let config = parse(&vip(&format!("tracking = \"{word}\""))).expect(word);
        assert_eq!(config.vips.values().next().expect("a vip").options.tracking, mode);
    }
    assert_eq!(
        problems(&vip("tracking = \"ful\"")),
        [
            "f.toml:18: vip 192.0.2.1:80/tcp: tracking: 'ful' is not known; write \"adaptive\" or \"full\" or \"none\"; did you mean 'full'?"
        ]
    );
}

#[test]
fn a_backends_own_slow_start_stands_beside_the_vips() {
    let text = with("weight = 50", "slow_start = \"5s\"") + "slow_start = \"1m 30s\"\n";
    let config = parse(&text).expect("valid");
    assert_eq!(config.backends["web-1"].slow_start, None);
    assert_eq!(config.backends["web-2"].slow_start, Some(Duration::from_secs(5)));
    assert_eq!(config.vips.values().next().expect("a vip").slow_start, Duration::from_secs(90));
    assert_eq!(
        problems(&with("weight = 50", "slow_start = \"61min\"")),
        ["f.toml:10: backend web-2: slow_start: '61min' is out of range; write 0s to 1h"]
    );
}
