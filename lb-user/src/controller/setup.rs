//! What an engine starts with, and what follows from that alone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::engine::addresses;
use crate::config::Config;
use crate::dataplane::{OpenOptions, XdpMode};
use crate::hooks::Hooks;
use crate::net::Links;
use crate::state::{Found, Overlay, Store, StoreError, merge};

/// Reads the configuration file anew; the error is ready to be shown.
pub type LoadConfig = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What an engine starts with.
pub struct Setup {
    pub instance: String,
    pub pin_dir: PathBuf,
    /// Wins over the file's mode.
    pub xdp_mode: Option<XdpMode>,
    pub load: LoadConfig,
    pub config: Config,
    pub store: Store,
    /// What an earlier daemon has left in the kernel.
    pub found: Found,
    /// This host's links, as far as they are known.
    pub links: Links,
    /// Whom to tell what has happened.
    pub hooks: Hooks,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Setup {
    /// The stored runtime changes. What the file has caught up with is forgotten in the store too, so that a later
    /// change of the file counts.
    pub(super) fn overlay(&self) -> Result<Overlay, StoreError> {
        let stored = self.store.overlay()?;
        let settled = stored.settled(&self.config);
        if settled != stored {
            let _kept = self.store.commit(&stored, &settled, None)?;
        }
        Ok(settled)
    }

    pub(super) fn open_options(&self, config: &Config) -> OpenOptions {
        OpenOptions {
            pin_dir: self.pin_dir.clone(),
            interfaces: config.interfaces.clone(),
            mode: self.xdp_mode.unwrap_or(config.xdp_mode),
            limits: config.limits,
            links: self.links.clone(),
            pinned_clock: false,
        }
    }

    /// The addresses whose next hops are needed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn wanted(&self) -> Result<BTreeSet<IpAddr>, StoreError> {
        let found = self.found.rings.values().flat_map(|history| &history.dests).map(|dest| dest.address);
        let merged = merge(&self.config, &self.store.overlay()?, SystemTime::now());
        Ok(addresses(&merged.desired).into_iter().chain(found).collect())
    }
}
