//! Every fixture through the host's build of the packet story; and docs/PACKETS.md says of each what it shows.
//! With FERROLEV_WRITE_FIXTURES=1 both are written instead, for review.

use std::fs;

use tests::fixture::{Fixture, Seen, all, is_writing, page, page_path, rewrite};
use tests::host::HostTables;
use tests::world::CAPACITY;

fn seen(fixture: &Fixture) -> Vec<Seen> {
    let (mut tables, _) = HostTables::filled(CAPACITY, &fixture.world.build().forwarding());
    fixture
        .steps
        .iter()
        .map(|step| {
            tables.set_clock(step.at.as_nanos() as u64);
            let (verdict, output) = tables.run(&step.input);
            Seen::new(&verdict, &step.input, output)
        })
        .collect()
}

/// One test, so that the page is made of fixtures that are written already.
#[test]
fn fixtures_hold_on_the_host_and_the_page_lists_them() {
    let mut fixtures = all().unwrap_or_else(|error| panic!("{error:#}"));
    if is_writing() {
        for fixture in &fixtures {
            if rewrite(fixture, &seen(fixture)).expect("a file that can be written") {
                println!("written: {}", fixture.path.display());
            }
        }
        fixtures = all().unwrap_or_else(|error| panic!("{error:#}"));
    }
    assert!(fixtures.len() >= 40, "only {} fixtures", fixtures.len());
    let mut wrong = Vec::new();
    for fixture in &fixtures {
        for (number, (step, seen)) in (1..).zip(fixture.steps.iter().zip(seen(fixture))) {
            if let Err(error) = step.check(&seen).and_then(|()| step.check_soundness()) {
                wrong.push(format!("{}, step {number}: {error:#}", fixture.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let old = fs::read_to_string(page_path()).expect("docs/PACKETS.md");
    let new = page(&old, &fixtures).unwrap_or_else(|error| panic!("{error:#}"));
    if is_writing() {
        fs::write(page_path(), new).expect("docs/PACKETS.md can be written");
    } else {
        assert!(
            old == new,
            "docs/PACKETS.md is not what the fixtures say; FERROLEV_WRITE_FIXTURES=1 cargo test -p tests --test fixtures writes it"
        );
    }
}
