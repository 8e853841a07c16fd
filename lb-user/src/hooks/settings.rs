//! What is configured of a hook. Values only; secrets are in files, whose names are all that is known here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Class, Event, Field, Kind};
use super::queue::Limits;
use crate::health::probe::Tls;

/// How long a call may take when nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a receiver is tried when nobody says otherwise.
pub const DEFAULT_TRIES: u32 = 4;

/// Whom to tell what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub call: Call,
    pub filter: Filter,
    /// For a whole call.
    pub timeout: Duration,
    /// How often a receiver that does not take a message is asked at most; commands run once.
    pub tries: u32,
    pub limits: Limits,
}

impl Hook {
    pub(super) fn wants(&self, event: &Event) -> bool {
        let by_call = match &self.call {
            Call::Exec(Exec { arguments: Arguments::Keepalived, .. }) => {
                matches!(event.kind, Kind::Role | Kind::GroupRole)
            }
            Call::Exec(_) | Call::Webhook(_) | Call::Email(_) => true,
        };
        by_call && self.filter.wants(event)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Exec(Exec),
    Webhook(Webhook),
    Email(Email),
}

impl Call {
    /// What is told when nobody says otherwise.
    #[must_use]
    pub fn usual(&self) -> BTreeSet<On> {
        match self {
            Self::Exec(Exec { arguments: Arguments::Keepalived, .. }) => [On::Class(Class::Vrrp)].into(),
            Self::Exec(_) | Self::Webhook(_) | Self::Email(_) => Filter::default().on,
        }
    }

    /// As the configuration file calls it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Exec(_) => "exec",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
        }
    }
}

/// Which events a hook tells. Names restrict those events that have such names, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub on: BTreeSet<On>,
    /// All when there are none; so are the others.
    pub vips: BTreeSet<String>,
    pub backends: BTreeSet<String>,
    /// Virtual routers and sync groups.
    pub routers: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum On {
    Class(Class),
    Kind(Kind),
}

impl On {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Class(class) => class.word(),
            Self::Kind(kind) => kind.word(),
        }
    }

    /// All that can be asked for.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = Kind::ALL.iter().filter(|kind| kind.class().is_some());
        let classes = Class::ALL.iter().map(|class| Self::Class(*class));
        classes.chain(kinds.map(|kind| Self::Kind(*kind)))
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            on: Class::ALL.iter().map(|class| On::Class(*class)).collect(),
            vips: BTreeSet::new(),
            backends: BTreeSet::new(),
            routers: BTreeSet::new(),
        }
    }
}

impl Filter {
    pub(super) fn wants(&self, event: &Event) -> bool {
        let Some(class) = event.kind.class() else { return true };
        let allows = |names: &BTreeSet<String>, fields: &[Field]| {
            let mut of_event = fields.iter().flat_map(|field| event.names(*field)).peekable();
            names.is_empty() || of_event.peek().is_none() || of_event.any(|name| names.contains(name))
        };
        (self.on.contains(&On::Class(class)) || self.on.contains(&On::Kind(event.kind)))
            && allows(&self.vips, &[Field::Vips])
            && allows(&self.backends, &[Field::Backends])
            && allows(&self.routers, &[Field::Router, Field::Group])
    }
}

/// Runs a command; no shell is in between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// The path of the program, and what it is given; `{vips}` stands for a value.
    pub command: Vec<String>,
    pub arguments: Arguments,
}

/// What is appended to a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    #[default]
    None,
    /// `GROUP|INSTANCE NAME STATE PRIORITY`; for changes of roles alone.
    Keepalived,
}

/// Sends a POST request with the event as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: Address,
    pub headers: Vec<(String, String)>,
    /// The path of a file with more headers, one a line.
    pub headers_file: Option<String>,
    /// Whom TLS trusts.
    pub tls: Tls,
}

/// Where a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Url(String),
    /// The path of a file with the URL, which is a secret.
    File(String),
}

/// Sends a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub server: String,
    pub port: u16,
    pub security: Security,
    /// The name to log in with, and the path of the file with the password.
    pub login: Option<(String, String)>,
    pub from: String,
    pub to: Vec<String>,
    /// Whom TLS trusts.
    pub tls: Tls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// In the clear.
    None,
    /// In the clear until both sides switch to TLS; nothing is sent before that.
    #[default]
    Starttls,
    Tls,
}

/// The port of a mail server when nobody says otherwise (RFC 6409, RFC 8314).
#[must_use]
pub const fn default_port(security: Security) -> u16 {
    match security {
        Security::None => 25,
        Security::Starttls => 587,
        Security::Tls => 465,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn event(kind: Kind, field: Field, names: &[&str]) -> Event {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Event::new(kind, SystemTime::UNIX_EPOCH, String::new()).with(field, names)
    }

    #[test]
    fn names_restrict_the_events_that_have_such_names() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let filter = Filter { vips: names(&["web"]), routers: names(&["edge"]), ..Filter::default() };
        let down = |vips: &[&str]| event(Kind::BackendDown, Field::Vips, vips);
        assert!(filter.wants(&down(&["api", "web"])));
        assert!(!filter.wants(&down(&["api"])));
        assert!(filter.wants(&event(Kind::Role, Field::Router, &["edge"])), "it has no vips");
        assert!(!filter.wants(&event(Kind::Role, Field::Router, &["other"])));
        assert!(filter.wants(&event(Kind::GroupRole, Field::Group, &["edge"])));
        let all = Filter { vips: names(&["web"]), ..Filter::default() };
        assert!(all.wants(&event(Kind::Role, Field::Router, &["other"])));
    }

    #[test]
    fn classes_and_kinds_are_asked_for_by_their_words() {
        let filter =
            Filter { on: [On::Class(Class::Vrrp), On::Kind(Kind::BackendDown)].into(), ..Filter::default() };
        let wanted = Kind::ALL.iter().filter(|kind| filter.wants(&event(**kind, Field::Check, &[])));
        let words: Vec<&str> = wanted.map(|kind| kind.word()).collect();
        assert!(
            words.contains(&"backend_down") && words.contains(&"dual_master") && words.contains(&"left_out")
        );
        assert!(!words.contains(&"backend_up") && !words.contains(&"alarm"));
        let all: BTreeSet<&str> = On::all().map(On::word).collect();
        assert_eq!(all.len(), On::all().count(), "no word means two things");
    }
}
