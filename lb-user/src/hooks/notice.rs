//! What has happened to virtual routers, as events.

use std::time::SystemTime;

use lb_vrrp::machine::{Event as Happened, Heard, Role};

use super::event::{Event, Field, Kind};
use crate::vrrp::Notice;

/// What hooks are told: what has happened to the router, and to its sync group when that has changed as a whole.
pub fn events(notice: &Notice) -> impl Iterator<Item = Event> {
    let group = group_event(notice);
    std::iter::once(Event::from(notice)).chain(group)
}

fn group_event(notice: &Notice) -> Option<Event> {
    let Happened::Role { to, .. } = notice.event else { return None };
    let group = notice.group.as_ref().filter(|_| notice.whole_group)?;
    let text = format!("sync group {group} is {to}");
    let event = Event::new(Kind::GroupRole, SystemTime::now(), text);
    Some(event.with(Field::Group, group.clone()).with(Field::State, to.to_string()))
}

impl From<&Notice> for Event {
    fn from(notice: &Notice) -> Self {
        let Notice { router, group, priority, event, whole_group: _ } = notice;
        let (kind, what) = told(event);
        let text = format!("virtual router {router} {what}");
        let told = Self::new(kind, SystemTime::now(), text)
            .with(Field::Router, router.clone())
            .with_some(Field::Group, group.clone())
            .with(Field::Priority, u64::from(*priority));
        match event {
            Happened::Role { from, to, why } => told
                .with(Field::State, to.to_string())
                .with(Field::Before, from.to_string())
                .with(Field::Reason, why.to_string()),
            Happened::NewMaster(heard)
            | Happened::LowerIgnored(heard)
            | Happened::DualMaster { peer: heard } => told.with(Field::Peer, heard.from),
            Happened::DualMasterEnded { peer, .. } => told.with(Field::Peer, *peer),
            Happened::Held | Happened::HandingOver | Happened::NobodyTookOver | Happened::Claimed => told,
        }
    }
}

/// The kind of an event, and what it says of the router.
fn told(event: &Happened) -> (Kind, String) {
    let of = |Heard { from, priority, .. }: &Heard| format!("{from} (priority {priority})");
    match event {
        Happened::Role { from: Role::Init, to, why } => (Kind::Role, format!("is {to}: {why}")),
        Happened::Role { from, to, why } => (Kind::Role, format!("is {to}, was {from}: {why}")),
        Happened::NewMaster(heard) => (Kind::NewMaster, format!("has a new master: {}", of(heard))),
        Happened::LowerIgnored(heard) => (Kind::LowerIgnored, format!("does not wait for {}", of(heard))),
        Happened::Held => (Kind::Held, "would become master, but may not yet".to_owned()),
        Happened::HandingOver => (Kind::HandingOver, "asks others to take over".to_owned()),
        Happened::NobodyTookOver => {
            (Kind::NobodyTookOver, "goes on as master, since nobody took over".to_owned())
        }
        Happened::DualMaster { peer } => (Kind::DualMaster, format!("is master, and so is {}", of(peer))),
        Happened::DualMasterEnded { peer, lasted, .. } => {
            let lasted =
                humantime::format_duration(std::time::Duration::from_millis(lasted.as_millis() as u64));
            (
                Kind::DualMasterOver,
                format!("does not hear {peer} as a second master any more, after {lasted}"),
            )
        }
        Happened::Claimed => {
            (Kind::Claimed, "is master, and a host that is no VRRP router answers for an address".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_vrrp::machine::Why;

    fn notice(whole_group: bool, event: Happened) -> Notice {
        Notice {
            router: "edge4".to_owned(),
            group: Some("edge".to_owned()),
            whole_group,
            priority: 150,
            event,
        }
    }

    #[test]
    fn a_change_of_roles_is_told_of_the_router_and_of_the_whole_group_once() {
        let role = Happened::Role { from: Role::Backup, to: Role::Master, why: Why::MasterDown };
        let told: Vec<Event> = events(&notice(false, role)).collect();
        assert_eq!(told.len(), 1);
        let reason = "no master was heard for the master-down time";
        assert_eq!(told[0].text, format!("virtual router edge4 is master, was backup: {reason}"));
        assert_eq!(
            [Field::Router, Field::State, Field::Before, Field::Priority].map(|field| told[0].text_of(field)),
            ["edge4", "master", "backup", "150"]
        );
        let told: Vec<Event> = events(&notice(true, role)).collect();
        assert_eq!((told[1].kind, told[1].text.as_str()), (Kind::GroupRole, "sync group edge is master"));
        assert!(told[1].names(Field::Router).is_empty() && told[1].names(Field::Group).contains("edge"));
    }

    #[test]
    fn other_events_have_their_kind_and_the_peer() {
        let peer = [192, 0, 2, 9].into();
        let interval = lb_vrrp::wire::Interval::from_centiseconds(100).expect("an interval");
        let heard = Heard { from: peer, priority: 200, interval };
        let told = Event::from(&notice(true, Happened::DualMaster { peer: heard }));
        assert_eq!((told.kind, told.text_of(Field::Peer).as_str()), (Kind::DualMaster, "192.0.2.9"));
        assert_eq!(told.text, "virtual router edge4 is master, and so is 192.0.2.9 (priority 200)");
        assert_eq!(
            events(&notice(true, Happened::Held)).count(),
            1,
            "no change of roles, nothing of the group"
        );
    }
}
