//! A short run of the fuzzer, and that it finds what it is there for.

use lb_common::abi::Reason;
use tests::fuzz::generate::Generator;
use tests::fuzz::random::Random;
use tests::fuzz::{Campaign, Pair};
use tests::kernel::is_root;
use tests::named_worlds::{WORLDS, named};
use tests::world::World;

/// Reasons that no packet of the fuzzer comes to. A feature takes its own out of here.
const UNREACHED: &[Reason] = &[
    // It takes a defect of the tables, or a frame that no test run takes.
    Reason::NoDest,
    Reason::NoHeadroom,
    // A stage without the next one.
    Reason::FragmentRead,
    Reason::FragmentAimed,
    Reason::FragmentFound,
    Reason::FlowSeated,
    // No world asks for what leads there.
    Reason::Oversize,
    Reason::Policy,
    Reason::AnswerLimit,
    Reason::ArpReply,
    Reason::NeighbourReply,
];

#[test]
fn host_and_kernel_agree_about_50_000_packets() {
    if !is_root() {
        return;
    }
    let report = Campaign { seed: 1, worlds: WORLDS.iter().collect(), packets: 50_000, threads: 2 }
        .run()
        .unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.packets >= 50_000, "{report:?}");
    for reason in Reason::ALL {
        let outcome = format!("{} {}", reason.kind(), reason.label());
        let reached = report.outcomes.contains_key(&outcome);
        assert!(reached || UNREACHED.contains(reason), "no packet came to {outcome}: {report:?}");
    }
    let forwarded = report.outcomes.get("forward").copied().unwrap_or(0);
    assert!(forwarded * 5 > report.packets, "too few are forwarded: {report:?}");
}

fn one(backend: &str) -> World {
    World::default().vip("198.51.100.1:80/tcp", &[backend])
}

#[test]
fn a_difference_is_found_and_shrunk_to_what_matters() {
    if !is_root() {
        return;
    }
    let open = || Pair::of_two(&one("10.0.0.1"), &one("10.0.0.2"));
    let mut pair = open().expect("a kernel that takes the program");
    let mut frames = Generator::new(&one("10.0.0.1"), Random::new(1));
    let frame = (0..10_000)
        .map(|_| frames.frame())
        .find(|frame| pair.run(frame).is_err())
        .expect("backends differ, so some packet must");
    let shrunk = Campaign::shrink(open, &frame).expect("a pair").expect("one packet is enough");
    assert!(shrunk.len() <= frame.len());
    let difference = pair.run(&shrunk).expect_err("it still fails");
    assert!(difference.to_string().contains("with other bytes"), "{difference}");
    // Ethernet, IPv4 and TCP up to its flags, if no tag or option was there; zeros wherever nothing is read.
    assert_eq!(shrunk[..12], [0; 12], "{shrunk:02x?}");
}

#[test]
fn a_packet_that_counts_differently_is_found() {
    if !is_root() {
        return;
    }
    let world = named("4in4").expect("a world").build();
    let mut pair = Pair::open(&world).expect("a kernel that takes the program");
    let mut frames = Generator::new(&world, Random::new(1));
    for _ in 0..100 {
        pair.run(&frames.frame()).unwrap_or_else(|difference| panic!("{difference}"));
    }
    pair.counters_agree().expect("equal counters");
    pair.forget_counts();
    pair.counters_agree().expect_err("counts of the host are gone, those of the kernel are not");
}

#[test]
fn the_same_seed_makes_the_same_frames() {
    let world = named("fleet").expect("a world").build();
    let frames = |seed| {
        let mut generator = Generator::new(&world, Random::new(seed));
        (0..1000).map(|_| generator.frame()).collect::<Vec<_>>()
    };
    assert_eq!(frames(1), frames(1));
    assert_ne!(frames(1), frames(2));
}
