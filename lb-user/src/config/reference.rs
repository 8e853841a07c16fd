//! docs/CONFIGURATION.md, written from the table of settings.

use super::settings::{Absent, SECTIONS, Section, Setting, TOP};

/// The reference of the configuration file, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for section in SECTIONS {
        let title = match section.title {
            title if title == TOP.title => "Top level".to_owned(),
            title if title.starts_with('[') => format!("`{title}`"),
            title => title.replace('\'', "`"),
        };
        page.push_str(&format!("\n## {title}\n\n{}\n\n", section.doc));
        page.push_str(&rows(section));
    }
    page
}

fn rows(section: &Section) -> String {
    let mut rows = "| Key | Values | Default | Meaning |\n|---|---|---|---|\n".to_owned();
    for Setting { key, form, absent, doc } in section.settings {
        let default = match absent {
            Absent::Required => "required".to_owned(),
            Absent::Value(value) => format!("`{value}`"),
            Absent::Words(words) => (*words).to_owned(),
        };
        rows.push_str(&format!("| `{key}` | {form} | {default} | {doc} |\n"));
    }
    rows
}

const HEAD: &str = "\
# The configuration file

<!-- Written from lb-user/src/config/settings.rs; `FERROLEV_WRITE_DOCS=1 cargo test -p lb-user reference` renews it. -->

`ferrolev run` reads `/etc/ferrolev/ferrolev.toml`, or the file that `--config` names. The file is
[TOML](https://toml.io). `ferrolev check FILE` validates a file without privileges and lists everything that is wrong
with it, line by line; unknown keys are errors. `ferrolev reload` applies a changed file to the running daemon: all of
it, or nothing when something is wrong. `ferrolev config show` tells where each value in effect comes from. Files to
start from are in [examples/](../examples).

```toml
interfaces = [\"eth0\"]

[[backend]]
name = \"web-1\"
address = \"192.0.2.11\"

[[vip]]
name = \"web\"
address = \"203.0.113.10\"
port = 80
protocol = \"tcp\"
backends = [\"web-1\"]
```
";
