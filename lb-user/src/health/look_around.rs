//! Asks a backend in other ways while its check fails, so that it can be said where the fault is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::diagnosis::Around;
use super::lanes::Lanes;
use super::probe::{Failure, Kept, Origin, Peer, Probe, TcpProbe};
use super::{NoWay, Spec, Target, Way, Ways};

/// Most of it is the kernel's verifier.
const WAY_WAIT: Duration = Duration::from_secs(30);

/// The address at which a target is asked; of the vip, through the tunnel, or the backend's own.
pub(super) fn address(target: &Target, ways: &watch::Receiver<Ways>) -> Result<IpAddr, Failure> {
    let Some(way) = &target.way else { return Ok(target.address) };
    match ways.borrow().get(way) {
        Some(Ok(probe)) => Ok(*probe),
        Some(Err(NoWay::Backend(reason))) => Err(Failure::Unreachable(reason.clone())),
        Some(Err(NoWay::Here(reason))) => Err(Failure::Local(reason.clone())),
        None => Err(Failure::Local("the way through the tunnel is not there yet".to_owned())),
    }
}

/// Waits, within bounds, until it is known whether there is a way: that is no fault of the backend.
pub(super) async fn way_is_known(target: &Target, ways: &mut watch::Receiver<Ways>) {
    let Some(way) = &target.way else { return };
    // Whoever could tell may be gone; the check says so then.
    let _ = timeout(WAY_WAIT, ways.wait_for(|ways| ways.contains_key(way))).await;
}

/// Looks how the backend itself is, and whether its tunnel takes anything; `None` when the check asks the backend itself, or while
/// all places are taken: a look around must not delay checks, nor be waited for.
pub(super) async fn look_around(
    target: &Target,
    spec: &Spec,
    ways: &watch::Receiver<Ways>,
    lanes: &Lanes,
) -> Option<Around> {
    let way = target.way.as_ref()?;
    let _places = (lanes.try_enter(spec.probe.is_command())?, lanes.try_enter(false)?);
    let own = way.to_backend();
    let probe = own.as_ref().and_then(|own| ways.borrow().get(own).cloned()).and_then(Result::ok);
    let peer = Peer { at: SocketAddr::new(target.address, target.port), origin: &spec.origin };
    let mut kept = Kept::default();
    let (direct, delivered) = tokio::join!(
        spec.probe.run(peer, &mut kept, spec.timeout),
        delivered(probe, target.port, spec.timeout),
    );
    Some(Around { direct: direct.result.map(drop), delivered, has_tunnel: way.has_tunnel() })
}

/// Whether anything comes back, be it a refusal.
async fn delivered(probe: Option<IpAddr>, port: u16, limit: Duration) -> Option<bool> {
    let (origin, mut kept) = (Origin::default(), Kept::default());
    let peer = Peer { at: SocketAddr::new(probe?, port), origin: &origin };
    let report = Probe::Tcp(TcpProbe::default()).run(peer, &mut kept, limit).await;
    match report.result {
        Ok(_) | Err(Failure::Refused) => Some(true),
        Err(Failure::Local(_) | Failure::Setup(_)) => None,
        Err(_) => Some(false),
    }
}

impl Way {
    /// The way to the backend's own address through the same tunnel, where there is one.
    #[must_use]
    pub fn to_backend(&self) -> Option<Self> {
        let is_possible = self.has_tunnel() && self.to.is_ipv4() == self.backend.is_ipv4();
        is_possible.then(|| Self { to: self.backend, ..self.clone() })
    }

    /// Whether there are headers to be taken off.
    #[must_use]
    pub fn has_tunnel(&self) -> bool {
        self.mode != "l2"
    }
}
