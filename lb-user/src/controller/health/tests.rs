//! What a vip makes of its backends' health, and the whole way from a result to the kernel's rings.

use std::path::Path;

use super::*;
use crate::api::types::BackendState;
use crate::controller::tests::harness::{FILE, start_with};
use crate::health::{Standing, Start};
use crate::state::{DesiredMember, Overlay, merge};

const CHECK: &str = "\n[[check]]\nname = \"c\"\ntype = \"tcp\"\n";

/// The played configuration with a check of all backends of `web`, and `more` lines for that vip.
fn file(more: &str) -> String {
    let web = "ring_size = 251\nbackends = [\"web-1\", \"web-2\", \"web-3\"]\n";
    assert!(FILE.contains(web));
    FILE.replacen(web, &format!("{web}check = \"c\"\n{more}\n"), 1) + CHECK
}

fn web() -> VipKey {
    "203.0.113.10:80/tcp".parse().unwrap()
}

fn of(host: u8, port: u16) -> Target {
    Target { check: "c".to_owned(), address: [10, 0, 0, host].into(), port, way: None }
}

fn is(state: State) -> Verdict {
    Verdict { state, passes: state == State::Healthy, weight: None, reason: None }
}

fn played_mind(desired: &mut Desired, config: &Config, verdicts: &Verdicts) {
    mind(desired, config, verdicts, &mut Pools::default(), |_| true, SystemTime::UNIX_EPOCH);
}

/// What is desired of `text` when the backends with these last bytes are unhealthy, and all others of `web` healthy.
fn minded(text: &str, down: &[u8]) -> Desired {
    let config = Config::parse(Path::new("f.toml"), text).unwrap();
    let mut desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
    let state = |host| if down.contains(&host) { State::Unhealthy } else { State::Healthy };
    let verdicts = [11, 12, 13].map(|host| (of(host, 80), is(state(host)))).into();
    played_mind(&mut desired, &config, &verdicts);
    desired
}

/// The weights that count in the ring of a vip, and the backends that are given up there.
fn outcome(desired: &Desired, vip: VipKey) -> (Vec<u32>, Vec<IpAddr>) {
    let vip = &desired.vips[&vip];
    let weights = vip.members.values().map(DesiredMember::effective_weight).collect();
    (weights, vip.given_up.iter().copied().collect())
}

#[test]
fn an_unhealthy_backend_gets_no_slots_and_its_flows_are_reset_or_go_on() {
    let gone: IpAddr = [10, 0, 0, 12].into();
    assert_eq!(outcome(&minded(&file(""), &[]), web()), (vec![100, 100, 100], vec![]));
    assert_eq!(outcome(&minded(&file(""), &[12]), web()), (vec![100, 0, 100], vec![gone]));
    let drains = file("on_unhealthy = \"drain\"");
    assert_eq!(outcome(&minded(&drains, &[12]), web()), (vec![100, 0, 100], vec![]));
}

#[test]
fn without_any_healthy_backend_all_are_used_or_none_is() {
    let all = [11, 12, 13];
    assert_eq!(outcome(&minded(&file(""), &all), web()), (vec![100; 3], vec![]));
    let (weights, given_up) = outcome(&minded(&file("fail_open = \"none\""), &all), web());
    assert_eq!((weights, given_up.len()), (vec![0; 3], 3));
}

#[test]
fn a_healthy_backend_that_cannot_serve_keeps_no_vip_from_failing_open() {
    let text = file("").replacen("address = \"10.0.0.13\"", "address = \"10.0.0.13\"\nweight = 0", 1);
    assert_eq!(outcome(&minded(&text, &[11, 12]), web()).0, [100, 100, 0], "the healthy one has no weight");
    assert_eq!(outcome(&minded(&text, &[11]), web()).0, [0, 100, 0]);
}

#[test]
fn each_ring_of_a_vip_fails_open_by_itself_and_only_who_serves_nowhere_is_given_up() {
    let text = file("[[vip.route]]\nname = \"r\"\nsources = [\"192.0.2.0/24\"]\nbackends = [\"web-2\"]");
    let desired = minded(&text, &[12, 13]);
    let vip = &desired.vips[&web()];
    assert_eq!(outcome(&desired, web()), (vec![100, 0, 0], vec![[10, 0, 0, 13].into()]));
    assert_eq!(vip.routes[0].members["web-2"].effective_weight(), 100);
}

#[test]
fn a_backend_is_healthy_in_all_vips_of_a_group_or_in_none() {
    let group = "affinity = \"source\"\ngroup = \"g\"\n";
    let members = "backends = [\"web-1\", { name = \"web-2\", weight = 50 }]\n";
    let text = file(group)
        .replacen("backends = [\"web-1\", \"web-2\", \"web-3\"]", "backends = [\"web-1\", \"web-2\"]", 1)
        .replacen(members, &format!("backends = [\"web-1\", \"web-2\"]\n{group}"), 1);
    let desired = minded(&text, &[12]);
    let dns = "203.0.113.10:53/udp".parse().unwrap();
    assert_eq!(outcome(&desired, web()).0, [100, 0]);
    assert_eq!(outcome(&desired, dns).0, [100, 0], "though nothing checks it there");
}

#[test]
fn a_weight_that_a_check_asks_for_counts_in_place_of_the_own() {
    let config = Config::parse(Path::new("f.toml"), &file("")).unwrap();
    let mut desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
    let asks = Verdict { weight: Some(Weight::Of(7)), ..is(State::Healthy) };
    played_mind(&mut desired, &config, &[(of(11, 80), asks)].into());
    assert_eq!(outcome(&desired, web()).0, [7, 100, 100]);
    assert_eq!(desired.vips[&web()].members["web-1"].weight, 100, "what was asked for by people stays known");
    for (percent, weight) in [(0, 0), (1, 1), (50, 50), (256, 256), (100_000, MAX_WEIGHT)] {
        let asks = Verdict { weight: Some(Weight::Percent(percent)), ..is(State::Healthy) };
        played_mind(&mut desired, &config, &[(of(11, 80), asks)].into());
        assert_eq!(outcome(&desired, web()).0, [weight, 100, 100], "{percent} %");
    }
}

#[test]
fn a_check_begins_as_its_settings_say() {
    let text = file("fail_open = \"none\"");
    let weights = |text: &str| {
        let config = Config::parse(Path::new("f.toml"), text).unwrap();
        let mut desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
        played_mind(&mut desired, &config, &Verdicts::new());
        outcome(&desired, web()).0
    };
    assert_eq!(weights(&text), [100; 3]);
    assert_eq!(weights(&(text + "start = \"down\"\n")), [0; 3]);
}

#[test]
fn a_check_that_vips_share_runs_once_and_the_backends_own_wins() {
    let text = file("").replacen("address = \"10.0.0.13\"", "address = \"10.0.0.13\"\ncheck = \"own\"", 1)
        + "port = 8080\n[[check]]\nname = \"own\"\ntype = \"tcp\"\n";
    let text =
        text.replacen("port = 53\nprotocol = \"udp\"", "port = 53\nprotocol = \"udp\"\ncheck = \"c\"", 1);
    let config = Config::parse(Path::new("f.toml"), &text).unwrap();
    let desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
    let found: Vec<Target> = wanted(&config, &desired).into_keys().collect();
    let own = Target { check: "own".to_owned(), ..of(13, 80) };
    assert_eq!(found, [of(11, 8080), of(12, 8080), own], "web-1 and web-2 serve both vips");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_checks_say_reaches_the_kernel_and_the_status() {
    let running = start_with(&file("")).await;
    let asked = running.checks.clone().wait_for(|wanted| wanted.len() == 3).await.unwrap().clone();
    let say = |down: &[u8]| {
        let standing = |target: &Target| match target.address {
            IpAddr::V4(v4) if down.contains(&v4.octets()[3]) => Standing::played(State::Unhealthy, "refused"),
            _ => Standing::played(State::Healthy, ""),
        };
        running.standings.send_replace(asked.keys().map(|key| (key.clone(), standing(key))).collect());
    };
    let state = |status: &crate::api::types::Status, name: &str| {
        let vip = status.vips.iter().find(|vip| vip.name == "web").unwrap();
        let dest = vip.backends.iter().find(|dest| dest.name == name).unwrap();
        (dest.state, dest.reason.clone())
    };
    let initial = (BackendState::Initial, Some("its check has no result yet".to_owned()));
    running.until(|status| state(status, "web-1") == initial).await;
    assert!(running.web_slots().values().all(|slots| *slots > 0), "they serve until proven otherwise");
    say(&[]);
    running.until(|status| state(status, "web-1") == (BackendState::Healthy, None)).await;
    say(&[12]);
    let refused = |more: &str| (BackendState::Unhealthy, Some(format!("refused{more}")));
    running.until(|status| state(status, "web-2") == refused("")).await;
    let slots = running.web_slots();
    assert_eq!((slots["web-2"], slots["web-1"] + slots["web-3"]), (0, 251));
    say(&[11, 12, 13]);
    let all = "; it is used, since no backend is healthy";
    running.until(|status| state(status, "web-1") == refused(all)).await;
    assert!(running.web_slots().values().all(|slots| *slots > 0));
    say(&[11]);
    running.until(|status| state(status, "web-2").0 == BackendState::Healthy).await;
    assert_eq!(running.web_slots()["web-1"], 0);
    let removed = running.post("/v1/changes", r#"{"action":"remove","backend":"web-3","vip":"web"}"#).await;
    assert_eq!(removed.0, 200, "{removed:?}");
    assert_eq!(running.web_slots()["web-1"], 0, "a change of something else keeps it out");
}

#[test]
fn a_verdict_is_what_the_last_transition_said() {
    let standings = [(of(11, 80), Standing::played(State::Unhealthy, "refused"))].into();
    let expected = Verdict { reason: Some("refused".to_owned()), ..is(State::Unhealthy) };
    assert_eq!(verdicts(&standings), [(of(11, 80), expected)].into());
    let unknown = [(of(11, 80), Standing::played(State::Initial(Start::Up), ""))].into();
    assert_eq!(verdicts(&unknown)[&of(11, 80)].reason, None);
}

#[test]
fn the_next_daemon_knows_who_was_healthy_by_the_way_that_was_asked() {
    let way = Way { to: [203, 0, 113, 10].into(), backend: [10, 0, 0, 11].into(), mode: "gue" };
    let verdicts: Verdicts = [
        (of(11, 80), is(State::Healthy)),
        (Target { way: Some(way), ..of(11, 80) }, is(State::Unhealthy)),
        (of(12, 80), is(State::Initial(Start::Up))),
    ]
    .into();
    let found: Vec<(Target, State)> =
        known(lasting(&verdicts)).into_iter().map(|(target, verdict)| (target, verdict.state)).collect();
    let expected: Vec<(Target, State)> = verdicts
        .into_iter()
        .filter(|(of, _)| of.address != IpAddr::from([10, 0, 0, 12]))
        .map(|(of, is)| (of, is.state))
        .collect();
    assert_eq!(found, expected);
}

/// The played configuration, where `web` has a check and agents.
fn with_agents(more: &str) -> String {
    let agent = "\n[[check]]\nname = \"a\"\ntype = \"agent\"\nport = 9000\n";
    file(&format!("agent = \"a\"\n{more}")) + agent
}

fn agent_of(host: u8) -> Target {
    Target { check: "a".to_owned(), address: [10, 0, 0, host].into(), port: 9000, way: None }
}

#[test]
fn a_backend_serves_when_neither_its_check_nor_its_agent_is_against_it() {
    let config = Config::parse(Path::new("f.toml"), &with_agents("fail_open = \"none\"")).unwrap();
    let up = || is(State::Healthy);
    let down = |why: &str| Verdict { reason: Some(why.to_owned()), ..is(State::Unhealthy) };
    let silent = || is(State::Initial(Start::Up));
    let table = [
        (up(), up(), State::Healthy, None),
        (up(), silent(), State::Healthy, None),
        (silent(), up(), State::Initial(Start::Up), None),
        (silent(), silent(), State::Initial(Start::Up), None),
        (down("refused"), up(), State::Unhealthy, Some("refused")),
        (down("refused"), silent(), State::Unhealthy, Some("refused")),
        (up(), down("the agent says maint"), State::Unhealthy, Some("the agent says maint")),
        (silent(), down("the agent says down"), State::Unhealthy, Some("the agent says down")),
        (down("refused"), down("the agent says down"), State::Unhealthy, Some("refused")),
        (up(), is(State::Initial(Start::Down)), State::Initial(Start::Down), None),
    ];
    for (check, agent, state, reason) in table {
        let mut desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
        let verdicts = [(of(11, 80), check.clone()), (agent_of(11), agent.clone())].into();
        played_mind(&mut desired, &config, &verdicts);
        let member = &desired.vips[&web()].members["web-1"];
        let found = verdict(&config, &verdicts, web(), "web-1", member).unwrap();
        assert_eq!((found.state, found.reason.as_deref()), (state, reason), "{check:?} {agent:?}");
        assert_eq!(found.passes, check.passes && agent.state.is_up(), "{check:?} {agent:?}");
        assert_eq!(member.effective_weight() > 0, state.is_up(), "{check:?} {agent:?}");
    }
}

#[test]
fn the_agents_weight_counts_before_that_of_the_check() {
    let config = Config::parse(Path::new("f.toml"), &with_agents("")).unwrap();
    let says = |weight| Verdict { weight, ..is(State::Healthy) };
    let weight = |check, agent| {
        let mut desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
        let verdicts = [(of(11, 80), says(check)), (agent_of(11), says(agent))].into();
        played_mind(&mut desired, &config, &verdicts);
        desired.vips[&web()].members["web-1"].effective_weight()
    };
    assert_eq!(weight(None, Some(Weight::Percent(30))), 30);
    assert_eq!(weight(Some(Weight::Of(7)), Some(Weight::Percent(30))), 30);
    assert_eq!(weight(Some(Weight::Of(7)), None), 7);
    assert_eq!(weight(None, Some(Weight::Percent(0))), 0, "it drains");
}

#[test]
fn an_agent_is_asked_beside_the_check_or_alone_and_the_backends_own_wins() {
    let text =
        with_agents("").replacen("address = \"10.0.0.13\"", "address = \"10.0.0.13\"\nagent = \"own\"", 1)
            + "[[check]]\nname = \"own\"\ntype = \"agent\"\nport = 9001\n";
    let all = |text: &str| {
        let config = Config::parse(Path::new("f.toml"), text).unwrap();
        let desired = merge(&config, &Overlay::default(), std::time::SystemTime::now()).desired;
        let all = wanted(&config, &desired).into_iter();
        all.map(|(target, spec)| (target.check, target.port, spec.beside)).collect::<Vec<_>>()
    };
    let agents = vec![("a".to_owned(), 9000, true), ("a".to_owned(), 9000, true)];
    let checks = vec![("c".to_owned(), 80, false); 3];
    let own = vec![("own".to_owned(), 9001, true)];
    assert_eq!(all(&text), [agents.clone(), checks, own.clone()].concat());
    let alone = text.replacen("check = \"c\"\n", "", 1);
    assert_eq!(all(&alone), [agents, own].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_has_a_line_of_its_own_and_takes_its_backend_out() {
    let running = start_with(&with_agents("")).await;
    running.checks.clone().wait_for(|wanted| wanted.len() == 6).await.unwrap();
    let says = [
        (of(11, 80), Standing::played(State::Healthy, "")),
        (agent_of(11), Standing::played(State::Unhealthy, "the agent says maint")),
    ];
    running.standings.send_replace(says.into());
    let reason = Some("the agent says maint".to_owned());
    running
        .until(|status| {
            let vip = status.vips.iter().find(|vip| vip.name == "web").unwrap();
            let dest = vip.backends.iter().find(|dest| dest.name == "web-1").unwrap();
            (dest.state, &dest.reason, dest.slots) == (BackendState::Unhealthy, &reason, 0)
        })
        .await;
    let (_, health) = running.get("/v1/health?vip=web").await;
    let lines: Vec<_> = health.as_array().unwrap().iter().filter(|line| line["backend"] == "web-1").collect();
    let shown: Vec<_> =
        lines.iter().map(|line| (&line["check"], &line["is_agent"], &line["state"])).collect();
    let json = |text: &str| serde_json::Value::from(text);
    assert_eq!(
        shown,
        [(&json("c"), &false.into(), &json("healthy")), (&json("a"), &true.into(), &json("unhealthy"))]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_answers_nobody_is_asked_at_once_and_goes_on() {
    let mut running = start_with(&file("")).await;
    running.checks.clone().wait_for(|wanted| wanted.len() == 3).await.unwrap();
    running.standings.send_replace([(of(11, 80), Standing::played(State::Healthy, ""))].into());
    let mut flows = 0;
    // The first look has nothing to compare with, and nobody knows when it is.
    while running.hurried.is_empty() {
        assert!(flows < 100_000, "two windows are over");
        flows += 20;
        let counters = lb_common::abi::Counters { packets: flows, bytes: 0, new_flows: flows };
        running.dataplane.kernel().totals.dests.insert((web(), [10, 0, 0, 11].into()), counters);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.hurried.recv().await, Some(of(11, 80)));
    let (_, health) = running.get("/v1/health?vip=web").await;
    let suspicion = health[0]["suspicion"].as_str().unwrap();
    assert!(suspicion.starts_with("it seems to answer nobody since "), "{suspicion}");
    assert_eq!((&health[0]["state"], &health[0]["used"]), (&"healthy".into(), &true.into()));
    assert!(running.web_slots()["web-1"] > 0);
    assert_eq!(health[1]["suspicion"], serde_json::Value::Null);
}
