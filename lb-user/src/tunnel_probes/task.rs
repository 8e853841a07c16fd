//! Keeps devices, programs and ways as checks need them.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use lb_common::abi::ProbeWay;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::device::{Devices, remove};
use super::plan::Numbers;
use super::program::Programs;
use super::{Prefixes, ProbeError, Wanted, refused};
use crate::dataplane::{ProbeSpec, probe_way};
use crate::health::{NoWay, Way, Ways};

/// After something has failed it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The ends of the task that others hold.
#[derive(Debug)]
pub struct TunnelProbes {
    pub wanted: watch::Sender<Wanted>,
    /// Probe addresses, or why there is none.
    pub ways: watch::Receiver<Ways>,
    task: JoinHandle<()>,
}

impl TunnelProbes {
    /// Removes everything; comes back when it is gone.
    pub async fn stop(self) {
        drop(self.wanted);
        // A task that broke down has nothing left to say.
        let _ = self.task.await;
    }
}

/// Starts the task, within a tokio runtime. What an earlier process of the instance has left is removed first.
#[must_use]
pub fn spawn(instance: String) -> TunnelProbes {
    let (wanted, asked) = watch::channel(Wanted::default());
    let (sender, ways) = watch::channel(Ways::new());
    let task = tokio::spawn(run(instance, asked, sender));
    TunnelProbes { wanted, ways, task }
}

async fn run(instance: String, mut wanted: watch::Receiver<Wanted>, ways: watch::Sender<Ways>) {
    if let Err(error) = remove(&instance, &[]).await {
        warn!(%error, "devices for checks that an earlier process has left stay behind");
    }
    let mut running = None;
    let mut said = String::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        let (found, error) = follow(&mut running, &instance, &now).await;
        ways.send_if_modified(|ways| {
            let changed = *ways != found;
            *ways = found;
            changed
        });
        let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
        if text != said && !text.is_empty() {
            warn!(error = text, "checks through tunnels do not all work");
        }
        said = text;
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(RETRY), if error.is_some() => {}
        }
    }
    stop(&mut running).await;
}

/// Devices and programs that are there.
#[derive(Debug)]
struct Running {
    programs: Programs,
    devices: Devices,
    prefixes: Prefixes,
    numbers: Numbers,
    /// Probe addresses that have routes of their own, with their sources.
    routes: BTreeMap<IpAddr, IpAddr>,
}

async fn follow(
    running: &mut Option<Running>,
    instance: &str,
    wanted: &Wanted,
) -> (Ways, Option<ProbeError>) {
    if wanted.ways.is_empty() || running.as_ref().is_some_and(|there| there.prefixes != wanted.prefixes) {
        stop(running).await;
    }
    if wanted.ways.is_empty() {
        return (Ways::new(), None);
    }
    let there = match running {
        Some(there) => there,
        None => match Running::start(instance, wanted.prefixes).await {
            Ok(started) => running.insert(started),
            Err(error) => return (refused(wanted, &error.to_string()), Some(error)),
        },
    };
    there.follow(wanted).await
}

async fn stop(running: &mut Option<Running>) {
    let Some(Running { programs, devices, .. }) = running.take() else { return };
    drop(programs);
    let name = devices.name.clone();
    match devices.remove().await {
        Ok(()) => info!(device = name, "checks through tunnels have ended"),
        Err(error) => warn!(%error, "the devices of checks stay behind"),
    }
}

impl Running {
    async fn start(instance: &str, prefixes: Prefixes) -> Result<Self, ProbeError> {
        let devices = Devices::create(instance, &prefixes).await?;
        let programs = match Programs::start(&devices, prefixes.room()) {
            Ok(programs) => programs,
            Err(error) => {
                devices.remove().await?;
                return Err(error);
            }
        };
        info!(device = devices.name, "checks go through tunnels");
        Ok(Self { programs, devices, prefixes, numbers: Numbers::default(), routes: BTreeMap::new() })
    }

    async fn follow(&mut self, wanted: &Wanted) -> (Ways, Option<ProbeError>) {
        let mut error = self.programs.listen(wanted.interfaces.iter()).err();
        self.numbers.follow(&wanted.ways.keys().collect(), self.prefixes.room());
        let mut ways = Ways::new();
        let mut entries: BTreeMap<u32, ProbeWay> = BTreeMap::new();
        let mut routes = BTreeMap::new();
        for (way, spec) in &wanted.ways {
            let found = match self.place(way, spec, wanted) {
                Ok((number, probe, source, entry)) => {
                    entries.insert(number, entry);
                    routes.insert(probe, source);
                    Ok(probe)
                }
                Err(reason) => Err(reason),
            };
            ways.insert(way.clone(), found);
        }
        if let Err(failed) = self.programs.set(entries) {
            return (refused(wanted, &failed.to_string()), Some(failed));
        }
        for (probe, failed) in self.set_routes(routes).await {
            let text = failed.to_string();
            for found in ways.values_mut().filter(|found| **found == Ok(probe)) {
                *found = Err(NoWay::Here(text.clone()));
            }
            error = Some(failed);
        }
        (ways, error)
    }

    /// Number, probe address, source and entry of a way.
    fn place(
        &self,
        way: &Way,
        spec: &Result<ProbeSpec, NoWay>,
        wanted: &Wanted,
    ) -> Result<(u32, IpAddr, IpAddr, ProbeWay), NoWay> {
        let spec = spec.as_ref().map_err(Clone::clone)?;
        let number = self.numbers.get(way).ok_or_else(|| {
            let room = self.prefixes.room() - 1;
            NoWay::Here(format!(
                "there are no more than {room} probe addresses; set tunnel.probe4 and tunnel.probe6 to shorter prefixes"
            ))
        })?;
        let source = source(spec, &wanted.vips).map_err(NoWay::Here)?;
        let probe = self.prefixes.address(number, way.to.is_ipv6());
        Ok((number, probe, source, probe_way(probe, spec, &wanted.tunnel)))
    }

    /// Makes these the routes; gives back those that cannot be.
    async fn set_routes(&mut self, wanted: BTreeMap<IpAddr, IpAddr>) -> Vec<(IpAddr, ProbeError)> {
        let gone: Vec<_> = self
            .routes
            .iter()
            .filter(|(probe, _)| !wanted.contains_key(probe))
            .map(|(p, s)| (*p, *s))
            .collect();
        for (probe, source) in gone {
            self.devices.forget(probe, source).await;
            self.routes.remove(&probe);
        }
        let mut failed = Vec::new();
        for (probe, source) in wanted {
            if self.routes.get(&probe) == Some(&source) {
                continue;
            }
            match self.devices.route_from(probe, source).await {
                Ok(()) => _ = self.routes.insert(probe, source),
                Err(error) => failed.push((probe, error)),
            }
        }
        failed
    }
}

/// The address of this host that the backend answers to: the one that the way to it prefers, or if that is of the other family,
/// the one that the way to anybody prefers.
fn source(spec: &ProbeSpec, vips: &BTreeSet<IpAddr>) -> Result<IpAddr, String> {
    let is_v6 = spec.vip.is_ipv6();
    let usable = |address: &IpAddr| {
        address.is_ipv6() == is_v6
            && !address.is_unspecified()
            && !address.is_loopback()
            && !vips.contains(address)
    };
    let preferred = spec.hop.preferred_source.filter(usable);
    preferred.or_else(|| towards_anybody(is_v6).filter(usable)).ok_or_else(|| {
        let family = if is_v6 { "IPv6" } else { "IPv4" };
        format!("this host has no {family} address of its own that {} could answer to; give it one, or use via = \"direct\"", spec.backend)
    })
}

/// By the route that clients elsewhere would be answered on; nothing is sent.
fn towards_anybody(is_v6: bool) -> Option<IpAddr> {
    // RFC 5737 and RFC 3849: nobody's.
    let (any, elsewhere): (IpAddr, IpAddr) = if is_v6 {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(203, 0, 113, 1).into())
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(elsewhere, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{MacAddress, Mode, NextHop};

    fn spec(vip: &str, preferred: &str) -> ProbeSpec {
        let ip = |text: &str| text.parse().unwrap();
        let hop = NextHop {
            ifindex: 2,
            interface: "eth0".into(),
            source_mac: MacAddress([2; 6]),
            destination_mac: MacAddress([4; 6]),
            gateway: None,
            vlan: None,
            preferred_source: Some(ip(preferred)),
            mtu: 1500,
        };
        ProbeSpec { vip: ip(vip), backend: ip("10.0.0.1"), mode: Mode::Ipip, hop }
    }

    #[test]
    fn the_source_is_what_the_way_prefers_and_never_a_vip() {
        let source_of = |spec, vips: &[&str]| {
            source(spec, &vips.iter().map(|vip| vip.parse().unwrap()).collect::<BTreeSet<IpAddr>>())
        };
        let plain = spec("198.51.100.1", "192.0.2.10");
        assert_eq!(source_of(&plain, &["198.51.100.1"]), Ok("192.0.2.10".parse().unwrap()));
        let taken = source_of(&plain, &["192.0.2.10"]);
        assert_ne!(taken, Ok("192.0.2.10".parse().unwrap()));
        let other = source_of(&spec("2001:db8::1", "192.0.2.10"), &[]);
        assert!(
            other
                .as_ref()
                .map_or_else(|text| text.contains("no IPv6 address of its own"), |found| found.is_ipv6()),
            "{other:?}"
        );
    }
}
