//! Any valid check, for property tests.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::health::probe::{ExecProbe, HttpProbe, HttpVersion, StatusSet, TcpProbe, UdpProbe};
use crate::health::{Start, Via};

fn some_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-zA-Z0-9 \"\\\\'#\r\n]{0,12}")
}

prop_compose! {
    fn http()(
        method in prop::sample::select(vec!["GET", "HEAD", "OPTIONS"]),
        path in "/[a-z0-9/?=]{0,12}",
        host in prop::option::of("[a-z][a-z0-9.]{0,12}"),
        headers in prop::collection::vec(("x-[a-z]{1,8}", "[a-zA-Z0-9]{1,8}"), 0..3),
        version in prop::sample::select(vec![HttpVersion::Http10, HttpVersion::Http11]),
        status in prop_oneof![
            Just(StatusSet::default()),
            prop::collection::vec((100u16..300, 300u16..=599), 1..3).prop_map(StatusSet),
        ],
        body_contains in some_text(),
    ) -> HttpProbe {
        HttpProbe { method: method.to_owned(), path, host, headers, version, status, body_contains }
    }
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        (some_text(), some_text()).prop_map(|(send, expect)| Probe::Tcp(TcpProbe { send, expect })),
        http().prop_map(Probe::Http),
        ("[ -~]{0,12}", some_text()).prop_map(|(send, expect)| Probe::Udp(UdpProbe { send, expect })),
        (prop::collection::vec("[ -~]{0,9}", 0..3), any::<bool>()).prop_map(
            |(mut command, dynamic_weight)| {
                command.insert(0, "/bin/true".to_owned());
                Probe::Exec(ExecProbe { command, dynamic_weight })
            }
        ),
    ]
}

prop_compose! {
    pub(super) fn any_check()(
        probe in probe(),
        port in prop::option::of(1..=u16::MAX),
        via in prop::sample::select(vec![Via::Direct, Via::Tunnel]),
        interval in prop_oneof![Just(2000u64), 100..=3_600_000u64],
        fast in prop::option::of(100..=3_600_000u64),
        down in prop::option::of(100..=3_600_000u64),
        (rise, fall) in (1..=100u32, 1..=100u32),
        start in prop::sample::select(vec![Start::Up, Start::Down]),
        timeout in prop_oneof![Just(1000u64), 10..=60_000u64],
    ) -> CheckConfig {
        let fast_interval = Duration::from_millis(fast.unwrap_or(interval).min(interval));
        let down_interval = Duration::from_millis(down.unwrap_or(interval).max(interval));
        let interval = Duration::from_millis(interval);
        let rhythm = Rhythm { interval, fast_interval, down_interval, rise, fall, start };
        CheckConfig { probe, port, via, rhythm, timeout: Duration::from_millis(timeout) }
    }
}
