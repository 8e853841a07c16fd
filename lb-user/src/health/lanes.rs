//! How many probes may be under way at once. Each takes files of the process, of which there are only so many.
//!
//! A target that let its last probe run into its timeout may take one of the places again for as long. Those targets share
//! half of all places, so that however many of them there are, they delay only each other.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the open files that the process may have, a quarter is left to everything else, but no more than these: connections of the
/// API, tables of the kernel, sockets for routes and addresses.
const RESERVED_MAX: u64 = 512;
/// Processes of commands that run at once, and what starting one takes.
const COMMANDS_MAX: u64 = 256;
const FILES_OF_COMMAND: u64 = 4;
const PLACES_MIN: u64 = 64;
/// More would not help: each holds buffers.
const PLACES_MAX: u64 = 32_768;

/// The places of all probes.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    all: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    commands: Arc<Semaphore>,
    slow_commands: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    places: usize,
    commands: usize,
    /// Connections that are kept between probes.
    connections: usize,
}

/// A probe's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place(
    #[expect(dead_code, reason = "given back when it is dropped")] [Option<OwnedSemaphorePermit>; 2],
);

/// A kept connection's place.
#[derive(Debug)]
pub(super) struct Keep(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Lanes {
    /// With as many places as the process's limit of open files allows, which is raised as far as it may be.
    pub(super) fn new() -> Self {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, hard)| {
            let wanted = hard.min(2 * PLACES_MAX).max(soft);
            match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
                Ok(()) => wanted,
                Err(_) => soft,
            }
        });
        Self::with(Counts::of(files))
    }

    fn with(counts: Counts) -> Self {
        let of = |count: usize| Arc::new(Semaphore::new(count));
        Self {
            all: of(counts.places),
            slow: of(counts.places / 2),
            commands: of(counts.commands),
            slow_commands: of(counts.commands / 2),
            connections: of(counts.connections),
        }
    }

    /// Waits for a place. `was_slow`: whether the target's last probe ran into its timeout.
    pub(super) async fn enter(&self, is_command: bool, was_slow: bool) -> Place {
        let (all, slow) =
            if is_command { (&self.commands, &self.slow_commands) } else { (&self.all, &self.slow) };
        // In this order: who waits among the slow holds no place of others.
        let slow = match was_slow {
            true => slow.clone().acquire_owned().await.ok(),
            false => None,
        };
        Place([slow, all.clone().acquire_owned().await.ok()])
    }

    /// A place among those of slow targets, while there is one: for what no target waits for.
    pub(super) fn try_enter(&self, is_command: bool) -> Option<Place> {
        let (all, slow) =
            if is_command { (&self.commands, &self.slow_commands) } else { (&self.all, &self.slow) };
        let [slow, all] = [slow, all].map(|places| places.clone().try_acquire_owned().ok());
        Some(Place([Some(slow?), Some(all?)]))
    }

    /// The right to keep a connection between probes, while there is one.
    pub(super) fn keep(&self) -> Option<Keep> {
        self.connections.clone().try_acquire_owned().ok().map(Keep)
    }
}

impl Counts {
    fn of(files: u64) -> Self {
        let reserved = (files / 4).min(RESERVED_MAX);
        let commands = (files / 16).clamp(4, COMMANDS_MAX);
        let rest = files.saturating_sub(reserved + commands * FILES_OF_COMMAND);
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            places: count((rest / 4 * 3).clamp(PLACES_MIN, PLACES_MAX)),
            commands: count(commands),
            connections: count((rest / 4).min(PLACES_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_limit_of_open_files_bounds_the_places() {
        let of = |files| {
            let Counts { places, commands, connections } = Counts::of(files);
            (places, commands, connections)
        };
        assert_eq!(of(20_000), (13_848, 256, 4616));
        assert_eq!(of(1024), (384, 64, 128));
        assert_eq!(of(0), (64, 4, 0));
        assert_eq!(of(u64::MAX), (32_768, 256, 32_768));
    }

    #[tokio::test]
    async fn slow_targets_wait_for_each_other_only() {
        let lanes = Lanes::with(Counts { places: 64, commands: 4, connections: 1 });
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push(lanes.enter(false, true).await);
        }
        let wait = |was_slow| tokio::time::timeout(Duration::from_millis(50), lanes.enter(false, was_slow));
        wait(true).await.expect_err("all places of slow ones are taken");
        for _ in 0..32 {
            held.push(wait(false).await.expect("a place for others"));
        }
        wait(false).await.expect_err("all are taken");
        lanes.enter(true, false).await;
        drop(held);
        wait(true).await.expect("free again");
    }

    #[test]
    fn what_nobody_waits_for_takes_places_of_slow_ones_and_never_waits() {
        let lanes = Lanes::with(Counts { places: 4, commands: 2, connections: 1 });
        let held = [lanes.try_enter(false), lanes.try_enter(false)];
        assert!(held.iter().all(Option::is_some) && lanes.try_enter(false).is_none());
        assert!(lanes.try_enter(true).is_some(), "commands have places of their own");
        drop(held);
        assert_eq!((lanes.all.available_permits(), lanes.slow.available_permits()), (4, 2));
        let rest = lanes.all.clone().try_acquire_many_owned(4);
        assert!(lanes.try_enter(false).is_none());
        drop(rest);
        assert_eq!(lanes.slow.available_permits(), 2, "what was not used is given back");
    }

    #[test]
    fn only_so_many_connections_are_kept() {
        let lanes = Lanes::with(Counts { places: 64, commands: 4, connections: 1 });
        let kept = lanes.keep();
        assert!(kept.is_some() && lanes.keep().is_none());
        drop(kept);
        assert!(lanes.keep().is_some());
    }
}
