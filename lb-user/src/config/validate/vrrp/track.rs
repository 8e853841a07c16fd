//! What priorities depend on.

use std::path::PathBuf;

use lb_vrrp::wire::OWNER;

use super::{Around, DEFAULT_INTERVAL};
use crate::config::error::{did_you_mean, nearest};
use crate::config::file::{RouterFile, TrackFile, TrackerFile};
use crate::config::path;
use crate::config::reader::{Located, printable};
use crate::config::validate::{Check, why_no_interface};
use crate::vrrp::{Subject, Tracker};

/// What `file` tracks, in the order of the file.
pub(super) fn tracks(
    check: &mut Check<'_>,
    file: &RouterFile,
    priority: u8,
    around: &Around<'_>,
) -> Vec<(Subject, i16)> {
    let mut tracks: Vec<(Subject, i16)> = Vec::new();
    for one in file.track.iter().flatten() {
        let Some((subject, line)) = subject(check, file, one, around) else { continue };
        let weight = one.weight.as_ref().map_or(0, |weight| weight.value);
        if priority == OWNER && weight != 0 {
            let line = one.weight.as_ref().map_or(line, |weight| weight.line);
            let text = format!(
                "{}: track: weight: a priority of 255 is never changed; write weight = 0 for a fault, or another priority",
                file.object
            );
            check.problems.add(line, text);
        }
        if tracks.iter().any(|(other, _)| *other == subject) {
            let text = format!("{}: track: the same is tracked twice; remove one", file.object);
            check.problems.add(line, text);
            continue;
        }
        tracks.push((subject, weight));
    }
    tracks
}

fn subject(
    check: &mut Check<'_>,
    file: &RouterFile,
    one: &TrackFile,
    around: &Around<'_>,
) -> Option<(Subject, u32)> {
    let object = format!("{}: track", file.object);
    match (&one.interface, &one.tracker, &one.vip, &one.fitness) {
        (Some(name), None, None, None) => {
            let shown = printable(&name.value);
            if let Some(why) = why_no_interface(&name.value) {
                check.problems.add(name.line, format!("{object}: interface: '{shown}' {why}"));
            }
            if file.interface.as_ref().is_some_and(|own| own.value == name.value) {
                let text = format!(
                    "{object}: interface: '{shown}' is the router's own, which is always tracked, since adverts need it; take it out"
                );
                check.problems.add(name.line, text);
            }
            Some((Subject::Interface(name.value.clone()), name.line))
        }
        (None, Some(name), None, None) => {
            if !around.trackers.contains(name.value.as_str()) {
                unknown(check, &object, "tracker", name, around.trackers.iter().copied());
            }
            Some((Subject::Tracker(name.value.clone()), name.line))
        }
        (None, None, Some(name), None) => {
            let vips = || around.objects.vips.values().map(|vip| vip.name.as_str());
            if !vips().any(|vip| vip == name.value) {
                unknown(check, &object, "vip", name, vips());
            }
            Some((Subject::Vip(name.value.clone()), name.line))
        }
        (None, None, None, Some(fitness)) => {
            if !fitness.value {
                let text = format!("{object}: fitness: it is always tracked; write true, or take it out");
                check.problems.add(fitness.line, text);
            }
            Some((Subject::Fitness, fitness.line))
        }
        _ => {
            let text = format!("{object}: write one of interface, tracker, vip and fitness in each entry");
            check.problems.add(one.line, text);
            None
        }
    }
}

fn unknown<'a>(
    check: &mut Check<'_>,
    object: &str,
    what: &str,
    name: &Located<String>,
    known: impl Iterator<Item = &'a str>,
) {
    let shown = printable(&name.value);
    let hint = nearest(&name.value, known);
    let way_out = match hint {
        Some(_) => did_you_mean(hint),
        None if what == "vip" => "; `name` of a [[vip]] counts".to_owned(),
        None => format!("; add a [[vrrp.tracker]] with name = \"{shown}\""),
    };
    check.problems.add(name.line, format!("{object}: {what}: no {what} is called '{shown}'{way_out}"));
}

/// The script or file that `file` is about.
pub(super) fn tracker(check: &mut Check<'_>, file: &TrackerFile) -> Option<Tracker> {
    let object = &file.object;
    let name = file.name.as_ref().map_or("", |name| name.value.as_str());
    let text = match (&file.command, &file.file) {
        (Some(command), Some(_)) => (command.line, "it has command and file; write one of them"),
        (None, None) => (file.line, "it has neither command nor file; write one of them"),
        (Some(command), None) => return script(check, file, command, name),
        (None, Some(found)) => {
            check.provenance.note(path(&own(name, "file")));
            let given = [
                ("interval", file.interval.as_ref().map(|found| found.line)),
                ("timeout", file.timeout.as_ref().map(|found| found.line)),
                ("rise", file.rise.as_ref().map(|found| found.line)),
                ("fall", file.fall.as_ref().map(|found| found.line)),
            ];
            for (key, line) in given {
                let Some(line) = line else { continue };
                check.problems.add(line, format!("{object}: {key}: it is for command; take it out"));
            }
            absolute(check, object, "file", found);
            return Some(Tracker::File { path: PathBuf::from(&found.value) });
        }
    };
    check.problems.add(text.0, format!("{object}: {}", text.1));
    None
}

/// The place of a value in a tracker.
const fn own<'a>(name: &'a str, key: &'a str) -> [&'a str; 4] {
    ["vrrp", "tracker", name, key]
}

fn script(
    check: &mut Check<'_>,
    file: &TrackerFile,
    command: &Located<Vec<Located<String>>>,
    name: &str,
) -> Option<Tracker> {
    check.provenance.note(path(&own(name, "command")));
    match command.value.first() {
        Some(program) => absolute(check, &file.object, "command", program),
        None => {
            let text = format!("{}: command: the list is empty; name the program", file.object);
            check.problems.add(command.line, text);
        }
    }
    let interval = check.take(&own(name, "interval"), file.interval.clone()).unwrap_or(DEFAULT_INTERVAL);
    let timeout = check.take(&own(name, "timeout"), file.timeout.clone()).unwrap_or(interval);
    if let Some(found) = file.timeout.as_ref().filter(|_| timeout > interval) {
        let text = format!("{}: timeout: it is longer than interval; write no more than that", file.object);
        check.problems.add(found.line, text);
    }
    Some(Tracker::Script {
        command: command.value.iter().map(|part| part.value.clone()).collect(),
        interval,
        timeout,
        rise: check.take(&own(name, "rise"), file.rise.clone()).unwrap_or(1),
        fall: check.take(&own(name, "fall"), file.fall.clone()).unwrap_or(1),
    })
}

fn absolute(check: &mut Check<'_>, object: &str, key: &str, found: &Located<String>) {
    if !found.value.starts_with('/') {
        let text =
            format!("{object}: {key}: '{}' is no absolute path; begin with '/'", printable(&found.value));
        check.problems.add(found.line, text);
    }
}
