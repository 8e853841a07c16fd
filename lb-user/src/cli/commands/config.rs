//! `check`, `reload` and `config show`.

use super::backend::changed;
use crate::api::client::ClientError;
use crate::api::types::{ChangeResult, ConfigShow};
use crate::cli::args::{CheckArgs, ConfigCommand, ReloadArgs};
use crate::cli::error::CliError;
use crate::cli::output::{Style, lines, print};
use crate::cli::table::{Cell, Table, Tone, left};
use crate::config::Config;

/// The status with which the daemon refuses an invalid file.
const UNPROCESSABLE: u16 = 422;

pub(in crate::cli) fn check(args: &CheckArgs) -> Result<(), CliError> {
    let config = Config::load(&args.file)?;
    print(&summary(&config))
}

fn summary(config: &Config) -> String {
    let some = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}: valid: {}, {}, {}\n",
        config.path.display(),
        some(config.vips.len(), "vip"),
        some(config.backends.len(), "backend"),
        some(config.interfaces.len(), "interface"),
    )
}

pub(in crate::cli) async fn reload(args: &ReloadArgs) -> Result<(), CliError> {
    let change = &args.change;
    let path = format!("/v1/reload?dry_run={}", change.dry_run);
    let reply = match change.client.client().post_empty(&path).await {
        Err(ClientError::Refused { status: UNPROCESSABLE, error }) => return Err(CliError::Reload(error)),
        other => other?,
    };
    change.client.show(&reply, |result: &ChangeResult, _| changed(result))
}

pub(in crate::cli) async fn run(command: &ConfigCommand) -> Result<(), CliError> {
    let ConfigCommand::Show { toml, client } = command;
    let reply = client.client().get("/v1/config").await?;
    if *toml {
        return print(&lines(&reply.parse::<ConfigShow>()?.toml));
    }
    client.show(&reply, values)
}

fn values(config: &ConfigShow, style: Style) -> String {
    let mut table = Table::new([left("SETTING"), left("VALUE"), left("FROM")]);
    for value in &config.values {
        let tone = match value.origin.as_str() {
            "default" => Tone::Faint,
            "file" => Tone::Plain,
            _ => Tone::Waiting,
        };
        table.row([
            value.path.as_str().into(),
            value.value.as_str().into(),
            Cell::new(value.origin.as_str(), tone),
        ]);
    }
    table.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::ConfigValue;

    #[test]
    fn values_stand_beside_where_they_come_from() {
        let value = |path: &str, value: &str, origin: &str| ConfigValue {
            path: path.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        let config = ConfigShow {
            toml: String::new(),
            values: vec![
                value("tunnel.ttl", "64", "default"),
                value("vip.web.backends.web-1.weight", "7", "runtime: root, 2026-01-02T03:04:07Z"),
            ],
        };
        assert_eq!(
            values(&config, Style::PLAIN),
            "\
SETTING                        VALUE  FROM
tunnel.ttl                     64     default
vip.web.backends.web-1.weight  7      runtime: root, 2026-01-02T03:04:07Z
"
        );
    }

    #[test]
    fn a_valid_file_is_summed_up() {
        let text = "interfaces = [\"eth0\"]\n[[backend]]\nname = \"a\"\naddress = \"10.0.0.1\"\n[[backend]]\nname = \"b\"\naddress = \"10.0.0.2\"\n";
        let config = Config::parse(std::path::Path::new("f.toml"), text).expect("valid");
        assert_eq!(summary(&config), "f.toml: valid: 0 vips, 2 backends, 1 interface\n");
    }
}
