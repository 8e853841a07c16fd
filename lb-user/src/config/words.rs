//! The words of the configuration file for things of which there are a few.

use lb_vrrp::machine::Preempt;
use lb_vrrp::wire::Ipv4Sum;

use crate::dataplane::XdpMode;
use crate::health::probe::{HttpVersion, Probe, Transport};
use crate::health::{Start, Via};
use crate::hooks::{Arguments, Security};
use crate::state::{
    Affinity, Announce, FailOpen, Fragments, Mode, OnUnhealthy, Oversize, Protocol, RoleConflict,
    TrackingMode, UnknownPorts,
};

/// Whether a virtual router takes over from a living master of lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreemptWord {
    Now,
    Never,
    After,
}

/// What kind of probe a check makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckType {
    Tcp,
    Tls,
    Http,
    Https,
    Grpc,
    Udp,
    Dns,
    Ping,
    Agent,
    File,
    Exec,
}

impl CheckType {
    pub(super) fn of(probe: &Probe) -> Self {
        match probe {
            Probe::Tcp(_) => Self::Tcp,
            Probe::Tls(_) => Self::Tls,
            Probe::Http(probe) if probe.tls.is_some() => Self::Https,
            Probe::Http(_) => Self::Http,
            Probe::Grpc(_) => Self::Grpc,
            Probe::Udp(_) => Self::Udp,
            Probe::Dns(_) => Self::Dns,
            Probe::Ping(_) => Self::Ping,
            Probe::Agent(_) => Self::Agent,
            Probe::File(_) => Self::File,
            Probe::Exec(_) => Self::Exec,
        }
    }
}

/// How a hook tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HookType {
    Exec,
    Webhook,
    Email,
}

pub(super) const XDP_MODES: &[(&str, XdpMode)] =
    &[("native", XdpMode::Native), ("generic", XdpMode::Generic), ("offload", XdpMode::Offload)];
pub(super) const OVERSIZES: &[(&str, Oversize)] = &[("kernel", Oversize::Kernel), ("drop", Oversize::Drop)];
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
pub(super) const MODES: &[(&str, Mode)] = &[("ipip", Mode::Ipip), ("gue", Mode::Gue), ("l2", Mode::L2)];
pub(super) const AFFINITIES: &[(&str, Affinity)] = &[
    ("five-tuple", Affinity::FiveTuple),
    ("source", Affinity::Source),
    ("source-and-port", Affinity::SourceAndPort),
];
pub(super) const FRAGMENTS: &[(&str, Fragments)] =
    &[("track", Fragments::Track), ("hash", Fragments::Hash), ("drop", Fragments::Drop)];
pub(super) const TRACKINGS: &[(&str, TrackingMode)] =
    &[("adaptive", TrackingMode::Adaptive), ("full", TrackingMode::Full), ("none", TrackingMode::None)];
pub(super) const ANNOUNCES: &[(&str, Announce)] =
    &[("none", Announce::None), ("arp", Announce::Arp), ("address", Announce::Address)];
pub(super) const UNKNOWN_PORTS: &[(&str, UnknownPorts)] =
    &[("pass", UnknownPorts::Pass), ("drop", UnknownPorts::Drop), ("reject", UnknownPorts::Reject)];

pub(super) const CHECK_TYPES: &[(&str, CheckType)] = &[
    ("tcp", CheckType::Tcp),
    ("tls", CheckType::Tls),
    ("http", CheckType::Http),
    ("https", CheckType::Https),
    ("grpc", CheckType::Grpc),
    ("udp", CheckType::Udp),
    ("dns", CheckType::Dns),
    ("ping", CheckType::Ping),
    ("agent", CheckType::Agent),
    ("file", CheckType::File),
    ("exec", CheckType::Exec),
];
pub(super) const HTTP_VERSIONS: &[(&str, HttpVersion)] =
    &[("1.0", HttpVersion::Http10), ("1.1", HttpVersion::Http11), ("2", HttpVersion::Http2)];
pub(super) const TRANSPORTS: &[(&str, Transport)] = &[("udp", Transport::Udp), ("tcp", Transport::Tcp)];
pub(super) const STARTS: &[(&str, Start)] = &[("up", Start::Up), ("down", Start::Down)];
pub(super) const VIAS: &[(&str, Via)] = &[("direct", Via::Direct), ("tunnel", Via::Tunnel)];
pub(super) const ON_UNHEALTHY: &[(&str, OnUnhealthy)] =
    &[("reset", OnUnhealthy::Reset), ("drain", OnUnhealthy::Drain)];
pub(super) const FAIL_OPEN: &[(&str, FailOpen)] = &[("all", FailOpen::All), ("none", FailOpen::None)];
pub(super) const ROLE_CONFLICTS: &[(&str, RoleConflict)] =
    &[("keep", RoleConflict::Keep), ("newest", RoleConflict::Newest), ("lowest", RoleConflict::Lowest)];
pub(super) const PREEMPTS: &[(&str, PreemptWord)] =
    &[("now", PreemptWord::Now), ("never", PreemptWord::Never), ("after", PreemptWord::After)];
pub(super) const CHECKSUMS: &[(&str, Ipv4Sum)] =
    &[("pseudo-header", Ipv4Sum::Pseudo), ("rfc9568", Ipv4Sum::Plain)];

pub(super) const HOOK_TYPES: &[(&str, HookType)] =
    &[("exec", HookType::Exec), ("webhook", HookType::Webhook), ("email", HookType::Email)];
pub(super) const ARGUMENTS: &[(&str, Arguments)] =
    &[("none", Arguments::None), ("keepalived", Arguments::Keepalived)];
pub(super) const SECURITIES: &[(&str, Security)] =
    &[("none", Security::None), ("starttls", Security::Starttls), ("tls", Security::Tls)];

/// The word that the file has for `meaning`.
fn word<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

/// The word for a mode in the configuration file.
#[must_use]
pub fn xdp_mode(mode: XdpMode) -> &'static str {
    word(XDP_MODES, mode)
}

/// The word for a forwarding mode in the configuration file.
#[must_use]
pub fn mode(mode: Mode) -> &'static str {
    word(MODES, mode)
}

/// The mode's word, when `text` is one.
#[must_use]
pub fn known_mode(text: &str) -> Option<&'static str> {
    MODES.iter().map(|(word, _)| *word).find(|word| *word == text)
}

/// The word for an affinity in the configuration file.
#[must_use]
pub fn affinity(affinity: Affinity) -> &'static str {
    word(AFFINITIES, affinity)
}

/// The word for a treatment of fragments in the configuration file.
#[must_use]
pub fn fragments(fragments: Fragments) -> &'static str {
    word(FRAGMENTS, fragments)
}

/// The word for which flows are remembered in the configuration file.
#[must_use]
pub fn tracking(tracking: TrackingMode) -> &'static str {
    word(TRACKINGS, tracking)
}

/// The word for who announces an address in the configuration file.
#[must_use]
pub fn announce(announce: Announce) -> &'static str {
    word(ANNOUNCES, announce)
}

pub(super) fn unknown_ports(unknown_ports: UnknownPorts) -> &'static str {
    word(UNKNOWN_PORTS, unknown_ports)
}

pub(super) fn oversize(oversize: Oversize) -> &'static str {
    word(OVERSIZES, oversize)
}

pub(super) fn check_type(kind: CheckType) -> &'static str {
    word(CHECK_TYPES, kind)
}

pub(super) fn http_version(version: HttpVersion) -> &'static str {
    word(HTTP_VERSIONS, version)
}

pub(super) fn transport(transport: Transport) -> &'static str {
    word(TRANSPORTS, transport)
}

pub(super) fn start(start: Start) -> &'static str {
    word(STARTS, start)
}

pub(super) fn via(via: Via) -> &'static str {
    word(VIAS, via)
}

pub(super) fn on_unhealthy(on_unhealthy: OnUnhealthy) -> &'static str {
    word(ON_UNHEALTHY, on_unhealthy)
}

pub(super) fn fail_open(fail_open: FailOpen) -> &'static str {
    word(FAIL_OPEN, fail_open)
}

pub(super) fn role_conflict(conflict: RoleConflict) -> &'static str {
    word(ROLE_CONFLICTS, conflict)
}

pub(super) fn preempt(preempt: Preempt) -> &'static str {
    word(
        PREEMPTS,
        match preempt {
            Preempt::Now => PreemptWord::Now,
            Preempt::Never => PreemptWord::Never,
            Preempt::After(_) => PreemptWord::After,
        },
    )
}

pub(super) fn checksum(sum: Ipv4Sum) -> &'static str {
    word(CHECKSUMS, sum)
}

pub(super) fn hook_type(kind: HookType) -> &'static str {
    word(HOOK_TYPES, kind)
}

pub(super) fn arguments(arguments: Arguments) -> &'static str {
    word(ARGUMENTS, arguments)
}

pub(super) fn security(security: Security) -> &'static str {
    word(SECURITIES, security)
}
