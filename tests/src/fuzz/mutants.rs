//! Runs one fuzz target on damaged pieces of its corpus.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::mutate;
use super::random::Random;
use super::shrink::shrink;
use crate::fuzz_targets::Target;

/// Bytes at which a target panicked.
#[derive(Clone, Debug)]
pub struct Crash {
    pub target: &'static str,
    pub seed: u64,
    pub number: u64,
    /// As small as they still make it panic.
    pub bytes: Vec<u8>,
}

/// Runs a target `count` times.
///
/// # Errors
/// At the first panic.
pub fn mutants(target: &Target, seed: u64, count: u64) -> Result<(), Crash> {
    let mut random = Random::stream(seed, 0);
    let mut corpus = (target.corpus)();
    let survives = |bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_ok();
    for number in 0..count {
        let base = random.below(corpus.len());
        let other = random.below(corpus.len());
        let mutant = mutate::any(&mut random, &corpus[base], &corpus[other]);
        if !survives(&mutant) {
            let bytes = shrink(&mutant, 0, |candidate| !survives(candidate));
            return Err(Crash { target: target.name, seed, number, bytes });
        }
        // Damage adds up slowly: one in many mutants is mutated further, in the place of an earlier one.
        if random.one_in(64) {
            if corpus.len() < 4096 {
                corpus.push(mutant);
            } else {
                let at = random.below(corpus.len());
                corpus[at] = mutant;
            }
        }
    }
    Ok(())
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "target {}, seed {}, run {}: panics on", self.target, self.seed, self.number)?;
        writeln!(f, "{:?}", String::from_utf8_lossy(&self.bytes))?;
        write!(f, "{:02x?}", self.bytes)
    }
}

impl std::error::Error for Crash {}
