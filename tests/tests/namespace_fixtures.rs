//! Every fixture over a cable: the program attached natively to a veth, the frame sent and received on its peer.

use std::collections::BTreeMap;

use tests::fixture::{Fixture, LoadedWire, Wire, all, is_writing};
use tests::lab::privileged;

#[test]
fn fixtures_hold_on_a_cable() {
    if !privileged() || is_writing() {
        return;
    }
    let fixtures = all().unwrap_or_else(|error| panic!("{error:#}"));
    let mut groups: BTreeMap<(&str, &str), Vec<&Fixture>> = BTreeMap::new();
    for fixture in &fixtures {
        // As in `kernel_fixtures`: only those of several steps leave what could matter to others.
        let own = if fixture.steps.len() > 1 { fixture.name.as_str() } else { "" };
        groups.entry((fixture.world.name, own)).or_default().push(fixture);
    }
    let wire = Wire::new().unwrap_or_else(|error| panic!("{error:#}"));
    let mut wrong = Vec::new();
    for group in groups.values() {
        let world = group[0].world;
        let mut loaded =
            wire.load(world.build()).unwrap_or_else(|error| panic!("world {}: {error:#}", world.name));
        for fixture in group {
            run(&mut loaded, fixture, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run(wire: &mut LoadedWire<'_>, fixture: &Fixture, wrong: &mut Vec<String>) {
    for (number, step) in (1..).zip(&fixture.steps) {
        let expected = step.expected.as_ref().expect("an expectation; `fixtures` says so first");
        let seen = wire.run(step, expected);
        if let Err(error) = seen.and_then(|seen| step.check(&seen)) {
            wrong.push(format!("{}, step {number}: {error:#}", fixture.path.display()));
        }
    }
}
