//! Events for the log: one line each, within the span of the virtual router.
#![forbid(unsafe_code)]

use lb_vrrp::machine::{Event, Role, Why};
use tracing::{debug, info, info_span, warn};

use super::member::Member;

pub(super) fn tell(member: &Member, group: Option<&str>, event: &Event) {
    let router = &member.router;
    let span = info_span!("vrrp", router = member.name, vrid = router.vrid, interface = router.interface);
    let _entered = span.enter();
    let priority = member.evaluation.priority;
    match event {
        Event::Role { from, to: Role::Fault, why } => {
            warn!(%from, to = %Role::Fault, why = self::why(member, *why, Role::Fault), group, "role");
        }
        Event::Role { from, to, why } => {
            info!(%from, %to, why = self::why(member, *why, *to), priority, group, "role");
        }
        Event::NewMaster(heard) => {
            info!(master = %heard.from, its_priority = heard.priority, priority, "another master");
        }
        Event::LowerIgnored(heard) => {
            debug!(master = %heard.from, its_priority = heard.priority, priority, "master of lower priority");
        }
        Event::Held => {
            warn!("no master is heard, but this node may not be it yet (gate or maintenance)");
        }
        Event::HandingOver => info!("hands over"),
        Event::NobodyTookOver => warn!("nobody took over"),
        Event::DualMaster { peer } => {
            warn!(peer = %peer.from, its_priority = peer.priority, priority, "two masters: addresses are announced anew");
        }
        Event::DualMasterEnded { peer, lasted, at_most } => warn!(
            %peer,
            lasted_ms = lasted.as_millis(),
            at_most_ms = at_most.as_millis(),
            "one master again"
        ),
        Event::Claimed => warn!("a host that is no VRRP router claims an address; it is announced again"),
    }
}

/// Why, in words; of a fault with what is in fault.
pub(super) fn why(member: &Member, why: Why, to: Role) -> String {
    if (why, to) != (Why::Fault, Role::Fault) {
        return if why == Why::Fault { "nothing is in fault any more".to_owned() } else { why.to_string() };
    }
    let faults = member.evaluation.faults.iter().map(|(kind, name)| format!("{} {name}", kind.word()));
    let all: Vec<String> = faults.chain(member.trouble.clone()).collect();
    if all.is_empty() { "another member of the group is in fault".to_owned() } else { all.join(", ") }
}
