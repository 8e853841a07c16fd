//! What goes into a machine and what comes out of it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::Moment;
use crate::gate::Pass;
use crate::wire::Interval;

use super::Options;

/// What a node is for a virtual router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    #[default]
    Init,
    Backup,
    Master,
    Fault,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        })
    }
}

/// What is known of this host, as far as the election is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// After tracking; 1 to 255.
    pub priority: u8,
    /// Something that is tracked forbids to take part.
    pub fault: bool,
    pub gate: Pass,
    /// The address that adverts come from, which decides between equal priorities.
    pub primary: IpAddr,
}

/// An advert that has passed the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    pub from: IpAddr,
    pub priority: u8,
    pub interval: Interval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    Start,
    /// Leave, now.
    Stop,
    Heard(Heard),
    /// Time has passed; due when [`super::Machine::due`] says.
    Tick,
    Standing(Standing),
    /// The last advert could not be sent, and what came with it was not done. To be said after all actions.
    NotSent,
    /// Let another node take over, and do not take it back from that one (`ferrolev vrrp failover`).
    HandOver,
    /// Do not be master until further notice (`ferrolev vrrp maintenance`).
    Maintenance(bool),
    /// A host that is no VRRP router answers for one of the addresses.
    Claimed,
    /// The sync group moves.
    Group(Order),
    /// Go on with other options in the same role. Version and MAC address are what a virtual router is on the link: with
    /// another of these, it is another machine. A master tells its backups a new interval at once; one that misses that
    /// advert waits no longer for the next one than before.
    Options(Options),
}

/// What a sync group tells its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Another member has become master.
    Lead,
    /// Another member is master no more. Whoever also lost the first member's election waits a little `longer` before the
    /// next attempt, so that two nodes which won a member each do not meet again.
    Follow { longer: bool },
}

/// What the caller has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send an advert of this priority.
    Send { priority: u8 },
    /// The addresses are this node's, with fencing until then unless told again. Neither this nor an announcement after it
    /// is to be done when the advert before it could not be sent ([`Input::NotSent`]).
    Own { until: Option<Moment> },
    /// The addresses are not this node's any more.
    Release,
    /// Tell the link where the addresses are, so many times.
    Announce { rounds: u8 },
    /// For the log, hooks, metrics and whoever asks.
    Report(Event),
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Role {
        from: Role,
        to: Role,
        why: Why,
    },
    /// The master that this backup listens to is another one.
    NewMaster(Heard),
    /// A master of lower priority was heard and is not waited for.
    LowerIgnored(Heard),
    /// It is time to become master, but the gate is closed or maintenance is on.
    Held,
    /// This master has asked others to take over, and goes on until one does.
    HandingOver,
    NobodyTookOver,
    /// Another master is heard while this one is.
    DualMaster {
        peer: Heard,
    },
    /// It is not heard any more. From the first advert to the last one; how long it was unheard nobody can know, but not
    /// longer than `at_most`.
    DualMasterEnded {
        peer: IpAddr,
        lasted: Duration,
        at_most: Duration,
    },
    /// A host that is no VRRP router still answers for an address.
    Claimed,
}

/// Why a node changed its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    Started,
    Stopped,
    /// Priority 255.
    Owner,
    /// No advert for the master-down time.
    MasterDown,
    /// The master said that it leaves, and its skew has passed.
    MasterLeft,
    /// The time had come before; now the gate is open, or maintenance over.
    Admitted,
    HigherPriority(Heard),
    /// Of equal priority and higher address: both had been master.
    HigherAddress(Heard),
    /// Another node has answered a hand-over.
    HandedOver(Heard),
    /// Nobody took over, and this node has to go.
    Maintenance,
    /// The daemon stood still for longer than the lease.
    LeaseLapsed,
    Fault,
    Group,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Stopped => f.write_str("stopped"),
            Self::Owner => f.write_str("this node owns the addresses (priority 255)"),
            Self::MasterDown => f.write_str("no master was heard for the master-down time"),
            Self::MasterLeft => f.write_str("the master has left"),
            Self::Admitted => f.write_str("the master was gone, and this node may take over now"),
            Self::HigherPriority(heard) => write!(f, "{} has priority {}", heard.from, heard.priority),
            Self::HigherAddress(heard) => {
                write!(f, "{} has the same priority {} and the higher address", heard.from, heard.priority)
            }
            Self::HandedOver(heard) => write!(f, "handed over to {}", heard.from),
            Self::Maintenance => f.write_str("maintenance, although nobody took over"),
            Self::LeaseLapsed => f.write_str("this daemon stood still for longer than its lease"),
            Self::Fault => f.write_str("something tracked is in fault, or no longer is"),
            Self::Group => f.write_str("another member of the group has changed"),
        }
    }
}
