//! Three hosts on a switch: `lb` announces, `host` watches, `rival` may have the same address.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_user::announce::{Announcer, PlaceReport, PlaceState, Wanted};
use lb_user::net::link;
use lb_user::state::{Announce, DesiredAddress, MacAddress};
use tests::lab::{Lab, Namespace, run};

pub(crate) const VIP4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10));
pub(crate) const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12ab, 0xcdef));
/// Where nobody is.
pub(crate) const WRONG_MAC: &str = "02:00:00:00:ba:d0";
const PATIENCE: Duration = Duration::from_secs(10);

/// Addresses 192.0.2.N/24 and 2001:db8::N/64 on `eth0`. The lab comes last, so that it is dropped last.
pub(crate) struct World {
    pub(crate) lb: Namespace,
    pub(crate) host: Namespace,
    pub(crate) rival: Namespace,
    _switch: Namespace,
    pub(crate) lab: Lab,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let switch = lab.namespace("switch")?;
        switch.ip("link add br0 type bridge mcast_snooping 0\nlink set br0 up\n")?;
        let plug_in = |role: &str, number: u8| -> Result<Namespace> {
            let namespace = lab.namespace(role)?;
            switch.ip(&format!(
                "link add {role} type veth peer name eth0 netns {}\nlink set {role} master br0 up\n",
                namespace.name()
            ))?;
            namespace.ip(&format!(
                "link set eth0 up\n\
                 addr add 192.0.2.{number}/24 dev eth0\n\
                 addr add 2001:db8::{number}/64 dev eth0 nodad\n"
            ))?;
            Ok(namespace)
        };
        let (lb, host, rival) = (plug_in("lb", 1)?, plug_in("host", 2)?, plug_in("rival", 3)?);
        Ok(Self { lb, host, rival, _switch: switch, lab })
    }

    /// Runs an announcer inside `lb`, and `steps` beside it; then it ends as in a crash: everything stays.
    pub(crate) fn announce<F: Future<Output = Result<()>>>(
        &self,
        steps: impl FnOnce(Announcer) -> F + Send + 'static,
    ) -> Result<()> {
        self.lb.inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let facts = lb_user::net::watch_facts()?;
                steps(lb_user::announce::spawn(facts)?).await
            })
        })
    }
}

/// Both vips in one mode, on whichever interface fits.
pub(crate) fn both(mode: Announce) -> Wanted {
    wanted(&[VIP4, VIP6], mode, &[])
}

pub(crate) fn wanted(addresses: &[IpAddr], mode: Announce, announce_on: &[&str]) -> Wanted {
    let desired = DesiredAddress {
        announce: mode,
        announce_on: announce_on.iter().map(|name| (*name).to_owned()).collect(),
        ..DesiredAddress::default()
    };
    Wanted {
        addresses: addresses.iter().map(|address| (*address, desired.clone())).collect(),
        attached: vec!["eth0".to_owned()],
        ..Wanted::default()
    }
}

/// The state of each place of `address`, once `ready` holds for all.
pub(crate) async fn until(
    announcer: &mut Announcer,
    address: IpAddr,
    ready: impl Fn(&PlaceReport) -> bool,
) -> Result<Vec<PlaceReport>> {
    let mut reports = announcer.reports.clone();
    let places = |reports: &Vec<lb_user::announce::AddressReport>| {
        let report = reports.iter().find(|report| report.address == address)?;
        let done = !report.places.is_empty() && report.places.iter().all(&ready);
        done.then(|| report.places.clone())
    };
    let waited = tokio::time::timeout(PATIENCE, reports.wait_for(|reports| places(reports).is_some())).await;
    match waited {
        Ok(found) => places(&*found.context("the announcer ended")?).context("just seen"),
        Err(_) => bail!("{address}: not in time: {:#?}", *announcer.reports.borrow()),
    }
}

pub(crate) async fn until_owned(announcer: &mut Announcer, address: IpAddr) -> Result<Vec<PlaceReport>> {
    until(announcer, address, |place| place.state == PlaceState::Owned).await
}

/// What `ip` prints inside.
pub(crate) fn ip(namespace: &Namespace, words: &str) -> Result<String> {
    run(namespace.command("ip")?.args(words.split_whitespace()))
}

/// Makes a host believe that the vips are where nobody is.
pub(crate) fn mislead(host: &Namespace) -> Result<()> {
    let lines =
        [VIP4, VIP6].map(|vip| format!("neigh replace {vip} lladdr {WRONG_MAC} dev eth0 nud stale\n"));
    host.ip(&lines.concat())
}

/// Waits until `host` believes that `vip` is at `mac`, without asking for it.
pub(crate) async fn until_believed(host: &Namespace, vip: IpAddr, mac: MacAddress) -> Result<()> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let believed = ip(host, &format!("neigh show {vip} dev eth0"))?;
        if believed.contains(&format!("lladdr {mac}")) {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            bail!("{vip} should be at {mac}, but the host believes: {believed}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn mac(namespace: &Namespace, interface: &'static str) -> Result<MacAddress> {
    namespace.inside(move || Ok(MacAddress(link::mac(interface)?)))
}
