//! What hooks tell: one event with its values, and how commands and HTTP receivers get it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use serde_json::json;

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    pub at: SystemTime,
    /// One line for people.
    pub text: String,
    pub values: BTreeMap<Field, Value>,
}

/// Where it has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The host's name.
    pub host: String,
    pub instance: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $word,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$word),*];

            /// As the configuration file, commands and JSON call it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$word => $text,)* }
            }
        }
    };
}

words! {
    /// What kind of thing has happened.
    Kind {
        /// A check says that a backend is healthy again, or at last.
        BackendUp = "backend_up",
        BackendDown = "backend_down",
        /// Something in a vip is out of the ordinary.
        Alarm = "alarm",
        AlarmOver = "alarm_over",
        /// A virtual router has another role.
        Role = "role",
        /// All members of a sync group have another role.
        GroupRole = "group_role",
        /// A backup listens to another master.
        NewMaster = "new_master",
        LowerIgnored = "lower_ignored",
        /// It is time to become master, but something is in the way.
        Held = "held",
        HandingOver = "handing_over",
        NobodyTookOver = "nobody_took_over",
        DualMaster = "dual_master",
        DualMasterOver = "dual_master_over",
        /// A host that is no VRRP router answers for an address.
        Claimed = "claimed",
        /// Events were left out.
        LeftOut = "left_out",
    }
}

words! {
    /// What an event is about.
    Class {
        Health = "health",
        Vrrp = "vrrp",
    }
}

words! {
    /// A value that events may have.
    Field {
        /// Names of vips.
        Vips = "vips",
        Route = "route",
        /// Names of backends.
        Backends = "backends",
        Check = "check",
        Address = "address",
        Port = "port",
        /// A backend's or a virtual router's.
        State = "state",
        Before = "before",
        Reason = "reason",
        /// What is out of the ordinary.
        Alarm = "alarm",
        Router = "router",
        Group = "group",
        Priority = "priority",
        /// The address of the other node.
        Peer = "peer",
        /// How many events were left out.
        Count = "count",
        /// The kind of the last one of these, whose values the message has, too.
        Last = "last",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    List(Vec<String>),
}

impl Kind {
    /// What it is about; nothing for what belongs to every hook.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::BackendUp | Self::BackendDown | Self::Alarm | Self::AlarmOver => Some(Class::Health),
            Self::Role
            | Self::GroupRole
            | Self::NewMaster
            | Self::LowerIgnored
            | Self::Held
            | Self::HandingOver
            | Self::NobodyTookOver
            | Self::DualMaster
            | Self::DualMasterOver
            | Self::Claimed => Some(Class::Vrrp),
            Self::LeftOut => None,
        }
    }
}

impl Event {
    #[must_use]
    pub fn new(kind: Kind, at: SystemTime, text: String) -> Self {
        Self { kind, at, text, values: BTreeMap::new() }
    }

    #[must_use]
    pub fn with(mut self, field: Field, value: impl Into<Value>) -> Self {
        self.values.insert(field, value.into());
        self
    }

    /// The value, when there is one.
    #[must_use]
    pub fn with_some(self, field: Field, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(field, value),
            None => self,
        }
    }

    /// A stand-in for events that were left out.
    pub(super) fn left_out(count: u64, last: &Self) -> Self {
        let events = if count == 1 { "event" } else { "events" };
        let text = format!("{count} {events} left out, at last: {}", last.text);
        let event = Self { kind: Kind::LeftOut, at: last.at, text, values: last.values.clone() };
        event.with(Field::Count, count).with(Field::Last, last.kind.word())
    }

    /// The names at `field`; none when there are none.
    pub(super) fn names(&self, field: Field) -> BTreeSet<&str> {
        match self.values.get(&field) {
            Some(Value::List(names)) => names.iter().map(String::as_str).collect(),
            Some(Value::Text(name)) => [name.as_str()].into(),
            Some(Value::Number(_)) | None => BTreeSet::new(),
        }
    }

    /// A value as text; empty when there is none.
    pub(super) fn text_of(&self, field: Field) -> String {
        match self.values.get(&field) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::List(names)) => names.join(" "),
            None => String::new(),
        }
    }

    fn general(&self, place: &Place) -> [(&'static str, String); 6] {
        [
            ("event", self.kind.word().to_owned()),
            ("class", self.kind.class().map_or("", Class::word).to_owned()),
            ("time", humantime::format_rfc3339_millis(self.at).to_string()),
            ("host", place.host.clone()),
            ("instance", place.instance.clone()),
            ("text", self.text.clone()),
        ]
    }

    /// All values as texts, by name; empty ones for those that this event has not.
    pub(super) fn texts(&self, place: &Place) -> Vec<(&'static str, String)> {
        let own = Field::ALL.iter().map(|field| (field.word(), self.text_of(*field)));
        self.general(place).into_iter().chain(own).collect()
    }

    /// As JSON; values that it has not are not there.
    pub(super) fn json(&self, place: &Place) -> serde_json::Value {
        let general = self.general(place).into_iter();
        let general = general.filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, json!(text)));
        let own = self.values.iter().map(|(field, value)| {
            let value = match value {
                Value::Text(text) => json!(text),
                Value::Number(number) => json!(number),
                Value::List(names) => json!(names),
            };
            (field.word(), value)
        });
        general.chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Whether a command can be given a value of this name.
    #[must_use]
    pub fn has_value(name: &str) -> bool {
        Self::value_names().any(|known| known == name)
    }

    /// The names of all values.
    pub fn value_names() -> impl Iterator<Item = &'static str> {
        let general = ["event", "class", "time", "host", "instance", "text"];
        general.into_iter().chain(Field::ALL.iter().map(|field| field.word()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        Self::Text(address.to_string())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<String>> for Value {
    fn from(names: Vec<String>) -> Self {
        Self::List(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_with_what_it_has_and_texts_with_everything() {
        let place = Place { host: "lb1".to_owned(), instance: "default".to_owned() };
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_767_323_045_678);
        let event = Event::new(Kind::BackendDown, at, "backend web-1 is unhealthy".to_owned())
            .with(Field::Vips, vec!["web".to_owned(), "api".to_owned()])
            .with(Field::Port, 80)
            .with_some(Field::Reason, Some("connection refused"))
            .with_some(Field::Route, None::<String>);
        let expected = json!({
            "event": "backend_down", "class": "health", "time": "2026-01-02T03:04:05.678Z", "host": "lb1",
            "instance": "default", "text": "backend web-1 is unhealthy", "vips": ["web", "api"], "port": 80,
            "reason": "connection refused",
        });
        assert_eq!(event.json(&place), expected);
        let texts: BTreeMap<_, _> = event.texts(&place).into_iter().collect();
        assert_eq!(
            (texts["vips"].as_str(), texts["port"].as_str(), texts["route"].as_str()),
            ("web api", "80", "")
        );
        assert_eq!(texts.len(), Event::value_names().count());
        assert!(texts.keys().all(|name| Event::has_value(name)) && !Event::has_value("vip"));
    }

    #[test]
    fn what_is_left_out_has_no_class_and_says_how_much_and_how_it_ended() {
        let last = Event::new(Kind::BackendUp, SystemTime::UNIX_EPOCH, "x".to_owned()).with(Field::Port, 80);
        let one = Event::left_out(1, &last);
        assert_eq!((one.text.as_str(), one.kind.class()), ("1 event left out, at last: x", None));
        let json = Event::left_out(7, &last).json(&Place::default());
        assert_eq!(json["text"], "7 events left out, at last: x");
        assert_eq!(
            (&json["count"], &json["last"], &json["port"]),
            (&json!(7), &json!("backend_up"), &json!(80))
        );
        assert!(json.get("class").is_none());
    }
}
