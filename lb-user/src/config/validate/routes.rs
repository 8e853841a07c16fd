//! A vip's routes: their names, their backends, and that no prefix has two.

use std::collections::{BTreeMap, BTreeSet};

use super::Check;
use super::objects::{Objects, why_no_name};
use crate::config::RouteConfig;
use crate::config::access::sorted;
use crate::config::file::RouteFile;
use crate::config::reader::{Located, printable};
use crate::state::Prefix;

/// Routes of a vip at most: they are numbered from 1 in one byte.
const ROUTES_MAX: usize = 255;

impl Objects {
    pub(super) fn routes(&self, check: &mut Check<'_>, files: &[RouteFile]) -> Vec<RouteConfig> {
        if let Some(beyond) = files.get(ROUTES_MAX) {
            let text = format!(
                "{}: a vip has {ROUTES_MAX} routes at most; put clients of the same backends into one route",
                beyond.object
            );
            check.problems.add(beyond.line, text);
        }
        let mut names = BTreeMap::new();
        let mut sources = BTreeMap::new();
        files
            .iter()
            .filter_map(|file| {
                let name = route_name(check, file, &mut names);
                route_sources(check, file, &mut sources);
                let members = file.backends.as_deref();
                if members.is_some_and(<[_]>::is_empty) {
                    let text = format!(
                        "{}: backends: the list is empty; name the backends that serve these clients",
                        file.object
                    );
                    check.problems.add(file.line, text);
                }
                let backends = self.members(check, &file.object, members.unwrap_or_default());
                let sources = file.sources.as_ref()?.value.iter().map(|source| source.value).collect();
                Some(RouteConfig { name: name?, sources: sorted(sources), backends })
            })
            .collect()
    }
}

fn route_name(check: &mut Check<'_>, file: &RouteFile, known: &mut BTreeMap<String, u32>) -> Option<String> {
    let Located { value: name, line } = file.name.as_ref()?;
    let shown = printable(name);
    if let Some(why) = why_no_name(name) {
        check.problems.add(*line, format!("{}: name: '{shown}' {why}", file.object));
        return None;
    }
    if let Some(first) = known.get(name) {
        let text =
            format!("{}: name: '{shown}' is taken by the route in line {first}; choose another", file.object);
        check.problems.add(*line, text);
        return None;
    }
    known.insert(name.clone(), *line);
    Some(name.clone())
}

/// Every prefix leads to one route; `known` has those of the routes so far, with route and line.
fn route_sources<'a>(
    check: &mut Check<'_>,
    file: &'a RouteFile,
    known: &mut BTreeMap<Prefix, (&'a str, u32)>,
) {
    let Some(sources) = &file.sources else { return };
    let object = &file.object;
    if sources.value.is_empty() {
        let text = format!("{object}: sources: the list is empty; name the prefixes of the clients");
        check.problems.add(sources.line, text);
    }
    let name = file.name.as_ref().map_or("", |name| &name.value);
    let mut own = BTreeSet::new();
    for Located { value: prefix, line } in &sources.value {
        if !own.insert(*prefix) {
            check.problems.add(*line, format!("{object}: sources: {prefix} is named twice; remove one"));
        } else if let Some((other, first)) = known.get(prefix) {
            let text = format!(
                "{object}: sources: {prefix} is also a source of route {} in line {first}; a prefix leads to one route only",
                printable(other)
            );
            check.problems.add(*line, text);
        } else {
            known.insert(*prefix, (name, *line));
        }
    }
}
