//! A backend that drops what clients send it while its check passes: it comes to be suspected, is asked at once, and goes on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::net::SocketAddr;
use std::time::Duration;

use lb_user::api::types::{HealthState, HealthStatus};
use tests::lab::{Daemon, DaemonConfig, Network, Shape, VIP4, http_get, privileged, wait_until};

const LONG: Duration = Duration::from_secs(40);
/// The backends' own addresses are asked, once and then as good as never again.
const CHECK: &str = "\
[[check]]
name = \"own\"
type = \"tcp\"
interval = \"1h\"
fast_interval = \"200ms\"";

fn of(daemon: &Daemon, name: &str) -> anyhow::Result<HealthStatus> {
    let all: Vec<HealthStatus> = serde_json::from_str(&daemon.cli(["health", "web", "-o", "json"])?)?;
    all.into_iter().find(|one| one.backend == name).ok_or_else(|| anyhow::anyhow!("{name} is not checked"))
}

/// So many clients at once, each with a connection that it wants to be answered on soon; how many were.
fn clients(network: &Network, count: usize) -> usize {
    let all = network.client.inside(move || {
        let ask = || http_get(SocketAddr::from((VIP4, 80)), Duration::from_millis(700)).is_ok();
        let threads: Vec<_> = (0..count).map(|_| std::thread::spawn(ask)).collect();
        Ok(threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|answered| *answered).count())
    });
    all.unwrap()
}

#[test]
fn a_backend_that_answers_no_client_is_suspected_and_asked_at_once() {
    if !privileged() {
        return;
    }
    let network = Network::new(Shape { balancers: 1, backends: 2 }).unwrap();
    let mut config = DaemonConfig::default().general_line(CHECK);
    for backend in &network.backends {
        config = config.backend(&backend.name, backend.address4);
    }
    let config = config.vip("web", VIP4, 80, "tcp", &["web-1", "web-2"]).vip_line("check = \"own\"");
    let daemon = Daemon::start(&network.lab, &network.balancers[0], "test", &config, &[]).unwrap();
    wait_until("both are healthy", LONG, || {
        for name in ["web-1", "web-2"] {
            let one = of(&daemon, name)?;
            anyhow::ensure!(
                one.state == HealthState::Healthy && one.suspicion.is_none(),
                "{one:?}\n{}",
                daemon.log()
            );
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(clients(&network, 40), 40);
    let before = of(&daemon, "web-2").unwrap().passes;

    let silent = &network.backends[1].namespace;
    silent.ip(&format!("addr del {VIP4}/32 dev lo\n")).unwrap();
    wait_until("web-2 is suspected", LONG, || {
        let answered = clients(&network, 60);
        let one = of(&daemon, "web-2")?;
        anyhow::ensure!(one.suspicion.is_some(), "{answered} of 60 were answered; {one:?}\n{}", daemon.log());
        Ok(())
    })
    .unwrap();
    wait_until("web-2 is asked", LONG, || {
        let one = of(&daemon, "web-2")?;
        anyhow::ensure!(one.passes > before, "{one:?}");
        Ok(())
    })
    .unwrap();
    let one = of(&daemon, "web-2").unwrap();
    assert_eq!((one.state, one.used), (HealthState::Healthy, true), "it is no verdict: {one:?}");
    assert_eq!(of(&daemon, "web-1").unwrap().suspicion, None, "it answers");
    let shown = daemon.cli(["health"]).unwrap();
    assert!(shown.contains("it seems to answer nobody since"), "{shown}");
    let metrics = daemon.cli(["metrics"]).unwrap();
    let counted = "ferrolev_backend_suspicions_total{vip=\"web\",backend=\"web-2\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert!(daemon.log().contains("seems to answer nobody"), "{}", daemon.log());

    silent.ip(&format!("addr add {VIP4}/32 dev lo\n")).unwrap();
    wait_until("web-2 is not suspected any more", LONG, || {
        clients(&network, 40);
        let one = of(&daemon, "web-2")?;
        anyhow::ensure!(one.suspicion.is_none(), "{one:?}");
        Ok(())
    })
    .unwrap();
}
