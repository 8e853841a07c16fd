//! Any valid check, for property tests.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::health::probe::{
    AgentProbe, DnsProbe, ExecProbe, FileProbe, GrpcProbe, HttpProbe, HttpVersion, Name, Origin, Pattern,
    PingProbe, Rcode, RecordType, StatusSet, TcpProbe, Tls, TlsProbe, Transport, UdpProbe,
};
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
        version in prop::sample::select(vec![HttpVersion::Http10, HttpVersion::Http11, HttpVersion::Http2]),
        status in prop_oneof![
            Just(StatusSet::default()),
            prop::collection::vec((100u16..300, 300u16..=599), 1..3).prop_map(StatusSet),
        ],
        body_contains in some_text(),
        pattern in prop::option::of("[a-z.*+\"']{0,3}[a-z]"),
        requests in 1..=1_000_000u32,
        tls in prop::option::of(tls()),
    ) -> HttpProbe {
        let body_matches = pattern.and_then(|text| Pattern::new(&text).ok());
        let method = method.to_owned();
        HttpProbe { method, path, host, headers, version, status, body_contains, body_matches, requests, tls }
    }
}

prop_compose! {
    fn tls()(
        server_name in prop::option::of("[a-z]{1,8}\\.[a-z]{2,4}"),
        ca in prop::option::of(prop::option::of("/[a-z/ \"]{1,9}")),
        client in prop::option::of(("/[a-z/]{1,9}", "/[a-z/]{1,9}")),
    ) -> Tls {
        Tls::new(server_name, ca.is_some(), ca.flatten(), client)
    }
}

prop_compose! {
    fn grpc()(
        service in "[a-zA-Z.]{0,12}",
        host in prop::option::of("[a-z][a-z0-9.]{0,12}"),
        tls in prop::option::of(tls()),
    ) -> GrpcProbe {
        GrpcProbe { service, host, tls }
    }
}

prop_compose! {
    fn dns()(
        query in prop_oneof![Just(".".to_owned()), "[a-z_]{1,9}(\\.[a-z0-9-]{1,9}){0,3}"],
        kind in any::<u16>(),
        rcodes in prop::collection::vec((0..=5u8).prop_map(Rcode), 1..3),
        answer in some_text(),
        transport in prop::sample::select(vec![Transport::Udp, Transport::Tcp]),
    ) -> DnsProbe {
        let query = Name::parse(&query).expect("a name");
        DnsProbe { query, kind: RecordType(kind), rcodes, answer, transport }
    }
}

prop_compose! {
    fn origin()(
        v4 in prop::option::of(Just([10, 0, 0, 1])),
        v6 in prop::option::of(1..=9u16),
        interface in prop::option::of("[a-z0-9.]{1,15}"),
    ) -> Origin {
        let v6 = v6.map(|last| std::net::IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
        Origin { source: v4.map(std::net::IpAddr::from).into_iter().chain(v6).collect(), interface }
    }
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        (some_text(), some_text()).prop_map(|(send, expect)| Probe::Tcp(TcpProbe { send, expect })),
        http().prop_map(|mut http| {
            if http.version == HttpVersion::Http2 {
                http.requests = 1;
            }
            Probe::Http(http)
        }),
        tls().prop_map(|tls| Probe::Tls(TlsProbe { tls })),
        grpc().prop_map(Probe::Grpc),
        dns().prop_map(Probe::Dns),
        (0..=1400u16).prop_map(|size| Probe::Ping(PingProbe { size })),
        some_text().prop_map(|send| Probe::Agent(AgentProbe { send })),
        ("/[ -~]{0,12}", some_text(), any::<bool>()).prop_map(|(path, expect, dynamic_weight)| {
            Probe::File(FileProbe { path, expect, dynamic_weight })
        }),
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
        origin in origin(),
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
        let via = if matches!(probe, Probe::Ping(_) | Probe::File(_)) { Via::Direct } else { via };
        let is_free = via == Via::Direct && !matches!(probe, Probe::File(_) | Probe::Exec(_));
        let origin = if is_free { origin } else { Origin::default() };
        let port = port.filter(|_| !matches!(probe, Probe::Ping(_)));
        CheckConfig { probe, origin, port, via, rhythm, timeout: Duration::from_millis(timeout) }
    }
}
