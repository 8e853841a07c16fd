//! The service as it is packaged, under a real systemd.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::time::Duration;

use lb_user::api::types::BackendState;
use tests::lab::{
    Connections, DaemonConfig, Load, Network, Shape, Systemd, VIP4, VIP6, privileged, wait_until,
};

const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];
const SERVICE: &str = "ferrolev";
const PATIENCE: Duration = Duration::from_secs(90);

fn config(network: &Network) -> DaemonConfig {
    let mut config = DaemonConfig::default();
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    config.vip("web", VIP4, 80, "tcp", &NAMES).vip("web6", VIP6, 80, "tcp", &NAMES)
}

fn wait_for(systemd: &Systemd, healthy: usize) {
    wait_until("backends in the ring", PATIENCE, || {
        let status = systemd.status()?;
        let dests = status.vips.iter().flat_map(|vip| &vip.backends);
        let found = dests.filter(|dest| dest.state == BackendState::Healthy).count();
        anyhow::ensure!(found == healthy, "{found} of {healthy} are healthy");
        Ok(())
    })
    .unwrap();
}

#[test]
fn restarts_reloads_and_a_crash_of_the_packaged_service_lose_nothing() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 3 }).unwrap();
    let config = config(&network);
    let systemd = Systemd::start(&network.lab, &network.balancers[0], &config).unwrap();
    systemd.must(["start", SERVICE]).unwrap();
    wait_for(&systemd, 6);
    let mut open = Connections::open(&network.client, SocketAddr::from((VIP4, 80)), 60).unwrap();
    let load = Load::start(&network.client, &[(VIP4, 80).into(), (VIP6, 80).into()], 2).unwrap();

    // In the middle of a transition, too.
    systemd.cli(["backend", "drain", "web-2"]).unwrap();
    systemd.must(["restart", SERVICE]).unwrap();
    wait_for(&systemd, 4);
    open.ask().unwrap();

    systemd.must(["kill", "--signal=KILL", "--kill-whom=main", SERVICE]).unwrap();
    open.ask().unwrap();
    wait_until("the service after its crash", PATIENCE, || {
        let state = systemd.ctl(["is-active", SERVICE])?.stdout;
        anyhow::ensure!(state.trim() == "active", "{state}");
        Ok(())
    })
    .unwrap();
    wait_for(&systemd, 4);
    open.ask().unwrap();

    systemd.cli(["backend", "undrain", "web-2"]).unwrap();
    systemd.must(["reload", SERVICE]).unwrap();
    systemd.write_config(&config.text().replace("tcp", "tpc")).unwrap();
    let refused = systemd.ctl(["reload", SERVICE]).unwrap();
    assert_ne!(refused.code, 0, "an invalid file must make the reload fail");
    assert!(systemd.log().contains("tpc"), "{}", systemd.log());
    open.ask().unwrap();

    systemd.must(["stop", SERVICE]).unwrap();
    open.ask().unwrap();
    let report = load.stop().unwrap();
    assert!(report.failures().is_empty(), "{:?}", report.failures());
}
