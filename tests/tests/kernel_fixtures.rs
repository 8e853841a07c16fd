//! Every fixture through the program in the kernel, by `BPF_PROG_TEST_RUN`, beside the host's build.

use std::collections::BTreeMap;

use lb_common::abi::Reason;
use tests::fixture::{End, Fixture, all, is_writing};
use tests::fuzz::Pair;
use tests::kernel::is_root;

#[test]
fn fixtures_hold_in_the_kernel() {
    if !is_root() || is_writing() {
        return;
    }
    let fixtures = all().unwrap_or_else(|error| panic!("{error:#}"));
    // Loading takes longest: fixtures of one step, which leave nothing that matters, share what their world loads.
    let mut groups: BTreeMap<(&str, &str), Vec<&Fixture>> = BTreeMap::new();
    for fixture in &fixtures {
        let own = if fixture.steps.len() > 1 { fixture.name.as_str() } else { "" };
        groups.entry((fixture.world.name, own)).or_default().push(fixture);
    }
    let wrong: Vec<String> = groups.values().flat_map(|group| run(group)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs fixtures of one world; what is wrong.
fn run(fixtures: &[&Fixture]) -> Vec<String> {
    let mut pair = match Pair::open(&fixtures[0].world.build()) {
        Ok(pair) => pair,
        Err(error) => return vec![format!("world {}: {error:#}", fixtures[0].world.name)],
    };
    let mut wrong = Vec::new();
    for fixture in fixtures {
        for (number, step) in (1..).zip(&fixture.steps) {
            if let Err(error) = pair.set_clock(step.at.as_nanos() as u64) {
                wrong.push(format!("{}: {error:#}", fixture.path.display()));
            }
            let seen = pair.run_and_see(&step.input).map_err(|difference| difference.to_string());
            let checked = seen.and_then(|seen| step.check(&seen).map_err(|error| format!("{error:#}")));
            if let Err(error) = checked {
                wrong.push(format!("{}, step {number}: {error}", fixture.path.display()));
            }
        }
    }
    if let Err(error) = pair.counters_agree() {
        wrong.push(format!("world {}: {error:#}", fixtures[0].world.name));
    }
    wrong
}

#[test]
fn a_fixture_that_expects_something_else_fails() {
    if !is_root() || is_writing() {
        return;
    }
    let mut fixture = all().expect("fixtures").into_iter().next().expect("a fixture");
    let expected = fixture.steps[0].expected.as_mut().expect("an end");
    expected.end = match expected.end {
        End::Forward => End::Stopped(Reason::NotIp),
        End::Stopped(_) => End::Forward,
    };
    assert_eq!(run(&[&fixture]).len(), 1);
}
