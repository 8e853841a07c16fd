//! Checks, and what vips say about health.

use std::time::Duration;

use super::*;
use crate::health::Start;
use crate::health::probe::{ExecProbe, HttpProbe, HttpVersion, Origin, StatusSet, TcpProbe, UdpProbe};
use crate::state::{FailOpen, OnUnhealthy};

/// [`GOOD`] with a check in front of the backends; its first line is line 3.
fn check(lines: &str) -> String {
    with("[[backend]]", &format!("[[check]]\n{lines}\n[[backend]]"))
}

fn one(lines: &str) -> CheckConfig {
    let config = parse(&check(&format!("name = \"c\"\n{lines}"))).expect("valid");
    config.checks["c"].clone()
}

#[track_caller]
fn problem(lines: &str, expected: &str) {
    assert_eq!(problems(&check(lines)), [format!("f.toml:{expected}")], "{lines}");
}

#[test]
fn a_short_check_takes_defaults_for_all_that_it_leaves_out() {
    let found = one("type = \"tcp\"");
    assert_eq!(found.probe, Probe::Tcp(TcpProbe::default()));
    assert_eq!((found.port, found.timeout), (None, Duration::from_secs(1)));
    let seconds = Duration::from_secs(2);
    let Rhythm { interval, fast_interval, down_interval, rise, fall, start } = found.rhythm;
    assert_eq!([interval, fast_interval, down_interval], [seconds; 3]);
    assert_eq!((rise, fall, start), (2, 3, Start::Up));
    assert_eq!(one("type = \"http\"").probe, Probe::Http(HttpProbe::default()));
    let config = parse(GOOD).expect("valid");
    let vip = config.vips.values().next().expect("a vip");
    assert_eq!(vip.health, HealthPolicy::default());
}

#[test]
fn every_setting_of_a_check_is_read() {
    let found = one(r#"type = "http"
port = 8080
via = "tunnel"
interval = "10s"
fast_interval = "1s"
down_interval = "1min"
timeout = "500ms"
rise = 1
fall = 100
start = "down"
method = "HEAD"
path = "/health?x=1"
host = "www.example.org"
headers = ["X-Token: a:b", "Accept:*/*"]
http_version = "1.0"
status = ["204", "300-302", "4xx"]
body_contains = "OK""#);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let http = HttpProbe {
        method: "HEAD".to_owned(),
        path: "/health?x=1".to_owned(),
        host: Some("www.example.org".to_owned()),
        headers: vec![pair("X-Token", "a:b"), pair("Accept", "*/*")],
        version: HttpVersion::Http10,
        status: StatusSet(vec![(204, 204), (300, 302), (400, 499)]),
        body_contains: Some("OK".to_owned()),
        ..HttpProbe::default()
    };
    let rhythm = Rhythm {
        interval: Duration::from_secs(10),
        fast_interval: Duration::from_secs(1),
        down_interval: Duration::from_secs(60),
        rise: 1,
        fall: 100,
        start: Start::Down,
    };
    let timeout = Duration::from_millis(500);
    let (probe, origin) = (Probe::Http(http), Origin::default());
    assert_eq!(found, CheckConfig { probe, origin, port: Some(8080), via: Via::Tunnel, rhythm, timeout });
    let udp = UdpProbe { send: "ping\r\n".to_owned(), expect: Some("pong".to_owned()) };
    assert_eq!(one("type = \"udp\"\nsend = \"ping\\r\\n\"\nexpect = \"pong\"").probe, Probe::Udp(udp));
    let exec = ExecProbe { command: vec!["/bin/x".to_owned(), "-y".to_owned()], dynamic_weight: true };
    let lines = "type = \"exec\"\ncommand = [\"/bin/x\", \"-y\"]\ndynamic_weight = true";
    assert_eq!(one(lines).probe, Probe::Exec(exec));
}

#[test]
fn vips_and_backends_name_checks() {
    let text = check("name = \"c\"\ntype = \"tcp\"").replace("weight = 50", "check = \"c\"")
        + "check = \"c\"\non_unhealthy = \"drain\"\nfail_open = \"none\"\n";
    let config = parse(&text).expect("valid");
    let name = Some("c".to_owned());
    assert_eq!((&config.backends["web-1"].check, &config.backends["web-2"].check), (&None, &name));
    let vip = config.vips.values().next().expect("a vip");
    let pool =
        PoolPolicy { on_unhealthy: OnUnhealthy::Drain, fail_open: FailOpen::None, ..PoolPolicy::default() };
    assert_eq!(vip.health, HealthPolicy { check: name, agent: None, pool });
    let gone = text.replace("name = \"c\"", "name = \"cc\"");
    assert_eq!(
        problems(&gone),
        [
            "f.toml:13: backend web-2: check: no check is called 'c'; did you mean 'cc'?",
            "f.toml:21: vip 192.0.2.1:80/tcp: check: no check is called 'c'; did you mean 'cc'?"
        ]
    );
}

#[test]
fn a_check_of_a_vip_for_all_ports_needs_one() {
    let text = |check: &str, port: u16| {
        with("[[backend]]", &format!("[[check]]\nname = \"c\"\n{check}\n[[backend]]"))
            .replace("port = 80", &format!("port = {port}"))
            + "check = \"c\"\n"
    };
    assert_eq!(
        problems(&text("type = \"tcp\"", 0)),
        [
            "f.toml:15: vip 192.0.2.1:0/tcp: the vip takes all ports, and check c does not say which to ask of web-1; give the check a port"
        ]
    );
    parse(&text("type = \"tcp\"", 80)).expect("the vip's port");
    parse(&text("type = \"tcp\"\nport = 9", 0)).expect("the check's port");
    parse(&text("type = \"exec\"\ncommand = [\"/bin/true\"]", 0)).expect("a command needs none");
}

#[test]
fn mistakes_in_checks_are_named_with_the_way_out() {
    problem("name = \"c\"", "3: check c: 'type' is missing; add type = …");
    problem("type = \"tcp\"", "3: [[check]]: 'name' is missing; add name = …");
    problem("name = \"c\"\ntype = \"udp\"", "3: check c: 'send' is missing; add send = …");
    problem("name = \"c\"\ntype = \"exec\"", "3: check c: 'command' is missing; add command = …");
    problem(
        "name = \"c\"\ntype = \"tcp\"\npath = \"/\"",
        "6: check c: path: it belongs to checks with type = \"http\" or \"https\", and this one is \"tcp\"; take it out",
    );
    problem(
        "name = \"c\"\ntype = \"http\"\nsend = \"x\"",
        "6: check c: send: it belongs to checks with type = \"tcp\" or \"udp\" or \"agent\", and this one is \"http\"; take it out",
    );
    problem(
        "name = \"c\"\ntype = \"http\"\nstatus = [\"20x\"]",
        "6: check c: status: '20x' is no status code; write for example \"200\", \"200-204\" or \"2xx\"",
    );
    problem(
        "name = \"c\"\ntype = \"http\"\nstatus = []",
        "6: check c: status: no answer would do; name some, such as [\"2xx\"]",
    );
    problem(
        "name = \"c\"\ntype = \"http\"\nheaders = [\"X-Token\"]",
        "6: check c: headers: 'X-Token' has no ':'; write \"Name: value\"",
    );
    problem("name = \"c\"\ntype = \"http\"\npath = \"x\"", "6: check c: path: it does not begin with '/'");
    problem(
        "name = \"c\"\ntype = \"exec\"\ncommand = [\"true\"]",
        "6: check c: command: it does not begin with the path of a program; write for example [\"/usr/local/bin/probe\", \"--fast\"]",
    );
    problem(
        "name = \"c\"\ntype = \"tcp\"\nfast_interval = \"3s\"",
        "6: check c: fast_interval: it is longer than interval; write no more than that",
    );
    problem(
        "name = \"c\"\ntype = \"tcp\"\ndown_interval = \"1s\"",
        "6: check c: down_interval: it is shorter than interval; write no less than that",
    );
    problem(
        "name = \"c\"\ntype = \"tcp\"\ntimeout = \"2min\"",
        "6: check c: timeout: '2min' is out of range; write 10ms to 1m",
    );
    problem(
        "name = \"c\"\ntype = \"tcp\"\n[[check]]\nname = \"c\"\ntype = \"tcp\"",
        "7: check c: the name is taken by the check in line 4; choose another or remove one",
    );
}

#[test]
fn what_a_tunnel_does_not_carry_is_not_sent_through_it() {
    let types = "\"tcp\" or \"tls\" or \"http\" or \"https\" or \"grpc\" or \"udp\" or \"dns\" or \"agent\" or \"exec\"";
    for (kind, more) in [("ping", ""), ("file", "file = \"/run/up\"\n")] {
        let lines = format!("name = \"c\"\ntype = \"{kind}\"\n{more}via = \"tunnel\"");
        let line = 6 + more.lines().count();
        let expected = format!(
            "{line}: check c: via: it belongs to checks with type = {types}, and this one is \"{kind}\"; take it out"
        );
        problem(&lines, &expected);
    }
    let way_out = "packets leave as the route to the backend says; take it out, or ask with via = \"direct\"";
    for line in ["source = [\"10.0.0.1\"]", "interface = \"eth1\""] {
        let key = line.split(' ').next().expect("a key");
        problem(
            &format!("name = \"c\"\ntype = \"tcp\"\nvia = \"tunnel\"\n{line}"),
            &format!("7: check c: {key}: with via = \"tunnel\" {way_out}"),
        );
        assert_eq!(one(&format!("type = \"tcp\"\nvia = \"direct\"\n{line}")).via, Via::Direct);
    }
}

#[test]
fn an_agent_is_a_check_of_its_own_that_knows_its_port() {
    let check = |lines: &str| format!("\n[[check]]\nname = \"c\"\n{lines}\n");
    let agent = "type = \"agent\"\nport = 9000";
    let file = |lines: &str, more: &str| format!("{GOOD}agent = \"c\"\n{more}{}", check(lines));
    let vip = parse(&file(agent, "")).expect("valid").vips.into_values().next().expect("a vip");
    assert_eq!(vip.health.agent.as_deref(), Some("c"));
    let of = "vip 192.0.2.1:80/tcp: agent";
    for (text, problem) in [
        (
            file("type = \"tcp\"\nport = 9000", ""),
            "check 'c' does not ask an agent; name one with type = \"agent\"",
        ),
        (file("type = \"agent\"", ""), "check 'c' does not say where agents listen; give it a port"),
        (
            file(agent, "check = \"c\"\n"),
            "'c' is the check of vip 192.0.2.1:80/tcp, too; add a second [[check]] for one of them",
        ),
        (format!("{GOOD}agent = \"d\"\n{}", check(agent)), "no check is called 'd'; did you mean 'c'?"),
    ] {
        assert_eq!(problems(&text), [format!("f.toml:18: {of}: {problem}")], "{text}");
    }
    let backend = with("name = \"web-2\"", "name = \"web-2\"\nagent = \"c\"") + &check(agent);
    assert_eq!(parse(&backend).expect("valid").backends["web-2"].agent.as_deref(), Some("c"));
}
