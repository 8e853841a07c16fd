//! Runs a command for an event: exit status 0 is a success. It is ended with all that it has begun when its time is over.

use std::process::Stdio;

use tokio::process::Command;

use super::caller::Failed;
use super::event::{Event, Field, Kind, Place};
use super::settings::{Arguments, Exec};
use crate::process_group::ProcessGroup;

pub(super) async fn run(exec: &Exec, event: &Event, place: &Place) -> Result<(), Failed> {
    let texts = event.texts(place);
    let Some((program, arguments)) = exec.command.split_first() else {
        return Err(Failed::for_good("there is no command"));
    };
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|argument| filled(argument, &texts)));
    if exec.arguments == Arguments::Keepalived {
        command.args(as_keepalived(event));
    }
    let variables = texts.iter().map(|(name, text)| {
        // The kernel takes none.
        (format!("FERROLEV_{}", name.to_ascii_uppercase()), text.replace('\0', ""))
    });
    let mut child = command
        .envs(variables)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failed::for_good(format!("{program}: {error}")))?;
    let group = ProcessGroup::of(&child);
    let status = child.wait().await.map_err(|error| Failed::for_good(format!("{program}: {error}")))?;
    group.forget();
    if status.success() { Ok(()) } else { Err(Failed::for_good(format!("{program}: {status}"))) }
}

/// `{name}` stands for the value of that name; what is no name stays as it is.
fn filled(argument: &str, texts: &[(&'static str, String)]) -> String {
    let (mut filled, mut rest) = (String::new(), argument);
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let value = behind.split_once('}').and_then(|(name, rest)| {
            let (_, text) = texts.iter().find(|(known, _)| *known == name)?;
            Some((text, rest))
        });
        match value {
            Some((text, behind)) => {
                filled.push_str(&text.replace('\0', ""));
                rest = behind;
            }
            None => {
                filled.push('{');
                rest = behind;
            }
        }
    }
    filled + rest
}

/// The names in braces in an argument.
pub(crate) fn names_in(argument: &str) -> impl Iterator<Item = &str> {
    argument.split('{').skip(1).filter_map(|behind| behind.split_once('}').map(|(name, _)| name))
}

/// What keepalived gives to `notify`: what it is, its name, its state and its priority.
fn as_keepalived(event: &Event) -> Vec<String> {
    // What stands for events that were left out says what the last one of them was.
    let last = event.text_of(Field::Last);
    let word = if event.kind == Kind::LeftOut { last.as_str() } else { event.kind.word() };
    let (what, name) = if word == Kind::Role.word() {
        ("INSTANCE", Field::Router)
    } else if word == Kind::GroupRole.word() {
        ("GROUP", Field::Group)
    } else {
        return Vec::new();
    };
    let state = match event.text_of(Field::State).as_str() {
        // It leaves that state only when it starts.
        "init" => "STOP".to_owned(),
        role => role.to_ascii_uppercase(),
    };
    let priority = Some(event.text_of(Field::Priority)).filter(|text| !text.is_empty());
    vec![what.to_owned(), event.text_of(name), state, priority.unwrap_or("0".to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn names_in_braces_are_replaced_once_and_others_stay() {
        let texts = [("vips", "{text}".to_owned()), ("text", "a b".to_owned())];
        assert_eq!(filled("x{vips}-{text}", &texts), "x{text}-a b", "what is filled in is not looked at");
        assert_eq!(filled("{none} {vips {text}", &texts), "{none} {vips a b");
        assert_eq!(names_in("x{vips}-{text}{").collect::<Vec<_>>(), ["vips", "text"]);
    }

    #[test]
    fn roles_are_said_as_keepalived_says_them() {
        let event = |kind, field, state: &str| {
            let event = Event::new(kind, SystemTime::UNIX_EPOCH, String::new());
            let event = event.with(field, "edge").with(Field::State, state);
            if kind == Kind::Role { event.with(Field::Priority, 150) } else { event }
        };
        assert_eq!(
            as_keepalived(&event(Kind::Role, Field::Router, "master")),
            ["INSTANCE", "edge", "MASTER", "150"]
        );
        assert_eq!(
            as_keepalived(&event(Kind::Role, Field::Router, "init")),
            ["INSTANCE", "edge", "STOP", "150"]
        );
        assert_eq!(
            as_keepalived(&event(Kind::GroupRole, Field::Group, "backup")),
            ["GROUP", "edge", "BACKUP", "0"]
        );
        let left_out = Event::left_out(3, &event(Kind::Role, Field::Router, "fault"));
        assert_eq!(as_keepalived(&left_out), ["INSTANCE", "edge", "FAULT", "150"], "how it ended");
        assert!(as_keepalived(&event(Kind::Alarm, Field::Vips, "")).is_empty());
    }
}
