//! What everybody else holds of the controller: commands by message, each with its own way back.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use tokio::sync::{mpsc, oneshot};

use super::engine::Refused;
use super::follow::{Changes, Copied, Rings};
use super::metrics_view::MetricsSnapshot;
use super::vrrp_view;
use crate::api::flow_dump::FlowDump;
use crate::api::types::{
    AccessOptions, AccessPrefix, AddressStatus, ChangeResult, ConfigShow, ExplainReply, Fitness, FlowCount,
    FlowImport, FlowOptions, HealthStatus, JournalEntry, PeersReport, Stats, Status, VipStatus, VrrpDone,
    VrrpOrder, VrrpStatus,
};
use crate::dataplane::{Flow, FlowRecord, Remembered, Told};
use crate::state::{Change, Healths};
use crate::vrrp::Order;

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User name, or uid when it has none.
    pub user: String,
    pub pid: Option<i32>,
}

type Reply<T> = oneshot::Sender<T>;

#[derive(Debug)]
pub(super) enum Command {
    Status(Reply<Status>),
    Vip(String, Reply<Result<VipStatus, Refused>>),
    Access(AccessOptions, Reply<Result<Vec<AccessPrefix>, Refused>>),
    Stats(Reply<Result<Stats, Refused>>),
    Config(Reply<ConfigShow>),
    Journal(Reply<Result<Vec<JournalEntry>, Refused>>),
    Flows(FlowOptions, Range<u32>, Reply<Result<FlowDump, Refused>>),
    FlowCounts(FlowOptions, Reply<Result<Vec<FlowCount>, Refused>>),
    ImportFlows(FlowDump, Reply<Result<FlowImport, Refused>>),
    Addresses(Reply<Vec<AddressStatus>>),
    Health(Option<String>, Reply<Result<Vec<HealthStatus>, Refused>>),
    Metrics(Reply<MetricsSnapshot>),
    Vrrp(Option<String>, Reply<Result<VrrpStatus, Refused>>),
    Fitness(Reply<Fitness>),
    Peers(Reply<PeersReport>),
    VrrpOrder { order: Order, caller: Caller, reply: Reply<Result<VrrpDone, Refused>> },
    Explain(Flow, Reply<Result<ExplainReply, Refused>>),
    Change { change: Change, caller: Caller, dry_run: bool, reply: Reply<Result<ChangeResult, Refused>> },
    Reload { dry_run: bool, reply: Reply<Result<ChangeResult, Refused>> },
    Copied(Reply<Copied>),
    Changes { told: Told, of: BTreeSet<IpAddr>, most: usize, most_opened: usize, reply: ChangesReply },
    FollowRings(Rings, Reply<()>),
    FollowFlows(Vec<FlowRecord>, Reply<Result<Remembered, Refused>>),
    FollowHealth(Healths, Reply<()>),
    Own(BTreeSet<IpAddr>, Reply<()>),
    ForgetCopies(Reply<()>),
    Stop,
}

type ChangesReply = Reply<Result<(Told, Changes), Refused>>;

impl Command {
    /// It has to wait while something else changes.
    pub(super) const fn changes(&self) -> bool {
        matches!(self, Self::Change { .. } | Self::Reload { .. } | Self::Stop)
    }
}

/// Sends commands to the controller task.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    commands: mpsc::Sender<Command>,
}

/// Every call fails with [`Refused::Stopped`] when the controller has ended.
#[expect(clippy::missing_errors_doc, reason = "said once above")]
impl ControllerHandle {
    pub(super) const fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }

    pub async fn status(&self) -> Result<Status, Refused> {
        self.ask(Command::Status).await
    }

    /// The vip of this name, or `ADDRESS:PORT/PROTOCOL`.
    pub async fn vip(&self, name: String) -> Result<VipStatus, Refused> {
        self.ask(|reply| Command::Vip(name, reply)).await?
    }

    pub async fn stats(&self) -> Result<Stats, Refused> {
        self.ask(Command::Stats).await?
    }

    /// Prefixes of access lists and routes, most hits first.
    pub async fn access(&self, options: AccessOptions) -> Result<Vec<AccessPrefix>, Refused> {
        self.ask(|reply| Command::Access(options, reply)).await?
    }

    /// Remembered flows of some buckets.
    pub async fn flows(&self, options: FlowOptions, buckets: Range<u32>) -> Result<FlowDump, Refused> {
        self.ask(|reply| Command::Flows(options, buckets, reply)).await?
    }

    /// Remembered flows by vip and backend.
    pub async fn flow_counts(&self, options: FlowOptions) -> Result<Vec<FlowCount>, Refused> {
        self.ask(|reply| Command::FlowCounts(options, reply)).await?
    }

    /// Remembers another balancer's flows.
    pub async fn import_flows(&self, dump: FlowDump) -> Result<FlowImport, Refused> {
        self.ask(|reply| Command::ImportFlows(dump, reply)).await?
    }

    pub async fn config(&self) -> Result<ConfigShow, Refused> {
        self.ask(Command::Config).await
    }

    pub async fn journal(&self) -> Result<Vec<JournalEntry>, Refused> {
        self.ask(Command::Journal).await?
    }

    /// Where the vips' addresses are announced.
    pub async fn addresses(&self) -> Result<Vec<AddressStatus>, Refused> {
        self.ask(Command::Addresses).await
    }

    /// What checks say of the backends of a vip, or of all.
    pub async fn health(&self, vip: Option<String>) -> Result<Vec<HealthStatus>, Refused> {
        self.ask(|reply| Command::Health(vip, reply)).await?
    }

    /// Virtual routers: one, those of a group, or all.
    pub async fn vrrp(&self, name: Option<String>) -> Result<VrrpStatus, Refused> {
        self.ask(|reply| Command::Vrrp(name, reply)).await?
    }

    /// Whether this host can forward.
    pub async fn fitness(&self) -> Result<Fitness, Refused> {
        self.ask(Command::Fitness).await
    }

    /// Copies of other nodes' flows, and of this one's.
    pub async fn peers(&self) -> Result<PeersReport, Refused> {
        self.ask(Command::Peers).await
    }

    /// Tells virtual routers what to do.
    pub async fn vrrp_order(&self, order: VrrpOrder, caller: Caller) -> Result<VrrpDone, Refused> {
        let order = vrrp_view::order(order);
        self.ask(|reply| Command::VrrpOrder { order, caller, reply }).await?
    }

    pub async fn metrics(&self) -> Result<MetricsSnapshot, Refused> {
        self.ask(Command::Metrics).await
    }

    pub async fn explain(&self, flow: Flow) -> Result<ExplainReply, Refused> {
        self.ask(|reply| Command::Explain(flow, reply)).await?
    }

    /// A runtime change; durable and in the kernel on return.
    pub async fn change(
        &self,
        change: Change,
        caller: Caller,
        dry_run: bool,
    ) -> Result<ChangeResult, Refused> {
        self.ask(|reply| Command::Change { change, caller, dry_run, reply }).await?
    }

    /// Reads the configuration file anew.
    pub async fn reload(&self, dry_run: bool) -> Result<ChangeResult, Refused> {
        self.ask(|reply| Command::Reload { dry_run, reply }).await?
    }

    /// What peers may have copies of.
    pub(crate) async fn copied(&self) -> Result<Copied, Refused> {
        self.ask(Command::Copied).await
    }

    /// What peers may have copies of, with the next flows of vips at some addresses of which `told` knows nothing yet: `most`
    /// at most, of which `most_opened` at most have only been opened.
    pub(crate) async fn changes(
        &self,
        told: Told,
        of: BTreeSet<IpAddr>,
        most: usize,
        most_opened: usize,
    ) -> Result<(Told, Changes), Refused> {
        self.ask(|reply| Command::Changes { told, of, most, most_opened, reply }).await?
    }

    /// Keeps vips as they are at another node.
    pub(crate) async fn follow_rings(&self, rings: Rings) -> Result<(), Refused> {
        self.ask(|reply| Command::FollowRings(rings, reply)).await
    }

    /// Remembers another node's flows.
    pub(crate) async fn follow_flows(&self, records: Vec<FlowRecord>) -> Result<Remembered, Refused> {
        self.ask(|reply| Command::FollowFlows(records, reply)).await?
    }

    /// Takes over what another node knows of backends of which nothing is known here yet.
    pub(crate) async fn follow_health(&self, healths: Healths) -> Result<(), Refused> {
        self.ask(|reply| Command::FollowHealth(healths, reply)).await
    }

    /// Says of which addresses packets come here.
    pub(crate) async fn own(&self, mine: BTreeSet<IpAddr>) -> Result<(), Refused> {
        self.ask(|reply| Command::Own(mine, reply)).await
    }

    /// Follows nobody any more.
    pub(crate) async fn forget_copies(&self) -> Result<(), Refused> {
        self.ask(Command::ForgetCopies).await
    }

    /// Ends the controller after the commands that were sent before.
    pub async fn stop(&self) {
        // A failure means that it has ended already.
        let _ = self.commands.send(Command::Stop).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Refused::Stopped)?;
        answer.await.map_err(|_| Refused::Stopped)
    }
}
