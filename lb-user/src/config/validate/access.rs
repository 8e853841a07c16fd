//! Access rules: lists in the file and in other files united, and nothing both allowed and denied.

use super::Check;
use crate::config::AccessSource;
use crate::config::access::{common, sorted, united};
use crate::config::file::AccessFile;
use crate::config::reader::{Located, printable};
use crate::state::{AccessRules, Prefix, Prefixes};

/// Contradictions that are told.
const TOLD: usize = 5;

/// The rules of `object`, and how they are written.
pub(super) fn rules(check: &mut Check<'_>, object: &str, file: &AccessFile) -> (AccessRules, AccessSource) {
    let source = AccessSource {
        allow: inline(check, object, "allow", file.allow.as_ref()),
        deny: inline(check, object, "deny", file.deny.as_ref()),
        allow_file: file.allow_file.as_ref().map(|name| name.value.clone()),
        deny_file: file.deny_file.as_ref().map(|name| name.value.clone()),
    };
    let rules = AccessRules {
        allow: united(source.allow.clone(), listed(check, object, "allow_file", file.allow_file.as_ref())),
        deny: united(source.deny.clone(), listed(check, object, "deny_file", file.deny_file.as_ref())),
    };
    contradictions(check, object, file, &rules);
    (rules, source)
}

fn inline(
    check: &mut Check<'_>,
    object: &str,
    key: &str,
    found: Option<&Located<Vec<Located<Prefix>>>>,
) -> Prefixes {
    let entries = found.map(|list| list.value.as_slice()).unwrap_or_default();
    let mut seen = std::collections::BTreeSet::new();
    for Located { value: prefix, line } in entries {
        if !seen.insert(prefix) {
            check.problems.add(*line, format!("{object}: {key}: {prefix} is named twice; remove one"));
        }
    }
    sorted(entries.iter().map(|entry| entry.value).collect())
}

/// The prefixes in a file.
fn listed(check: &mut Check<'_>, object: &str, key: &str, found: Option<&Located<String>>) -> Prefixes {
    let Some(Located { value: name, line }) = found else {
        return Prefixes::default();
    };
    check.lists.get(name).unwrap_or_else(|mistakes| {
        for text in mistakes {
            check.problems.add(*line, format!("{object}: {key}: {text}"));
        }
        Prefixes::default()
    })
}

fn contradictions(check: &mut Check<'_>, object: &str, file: &AccessFile, rules: &AccessRules) {
    let both: Vec<Prefix> = common(&rules.allow, &rules.deny).collect();
    for prefix in both.iter().take(TOLD) {
        let inline = file.deny.iter().flat_map(|list| &list.value).find(|entry| entry.value == *prefix);
        let line = inline.map(|entry| entry.line).or(file.deny_file.as_ref().map(|name| name.line));
        let text = match (inline, &file.deny_file) {
            (None, Some(name)) => format!(
                "{object}: deny_file: {prefix} in {} is allowed too; take it out of one of the two",
                printable(&name.value)
            ),
            _ => format!("{object}: deny: {prefix} is allowed too; take it out of one of the two"),
        };
        check.problems.add(line.unwrap_or(1), text);
    }
    if both.len() > TOLD {
        let line = file.deny_file.as_ref().map(|name| name.line);
        let line = line.or(file.deny.as_ref().map(|list| list.line)).unwrap_or(1);
        let text = format!("{object}: {} more prefixes are both allowed and denied", both.len() - TOLD);
        check.problems.add(line, text);
    }
}
