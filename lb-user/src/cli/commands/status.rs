//! `status`: the daemon at a glance, and everything that is not as it should be.

use lb_common::abi::ABI_VERSION;

use super::{addresses, vip};
use crate::api::types::{AddressPlaceState, AddressStatus, BackendState, HookStatus, Status, VipAlarm};
use crate::cli::args::ClientArgs;
use crate::cli::error::CliError;
use crate::cli::output::Style;
use crate::cli::table::{Table, Tone, left, right};
use crate::cli::units::count;
use crate::config;
use crate::state::AlarmKind;

pub(in crate::cli) async fn run(client: &ClientArgs) -> Result<(), CliError> {
    let reply = client.client().get("/v1/status").await?;
    client.show(&reply, text)
}

fn text(status: &Status, style: Style) -> String {
    let mut text = head(status);
    text.push_str(&format!("\n{}", interfaces(status).render(style)));
    if !status.vips.is_empty() {
        text.push_str(&format!("\n{}", vip::list(&status.vips, style)));
    }
    if !status.hooks.is_empty() {
        text.push_str(&format!("\n{}", hooks(&status.hooks).render(style)));
    }
    let troubles = troubles(status);
    if !troubles.is_empty() {
        text.push('\n');
    }
    for (tone, trouble) in troubles {
        text.push_str(&style.paint(&trouble, tone));
        text.push('\n');
    }
    text
}

fn head(status: &Status) -> String {
    let Status { version, revision, instance, pid, started_at, config_path, config_loaded_at, .. } = status;
    format!(
        "ferrolev {version} ({revision}), instance {instance}, process {pid}, since {started_at}\n\
         configuration {config_path}, read {config_loaded_at}\n"
    )
}

fn interfaces(status: &Status) -> Table<4> {
    let mut table = Table::new([left("INTERFACE"), right("INDEX"), left("XDP"), left("DRIVER")]);
    for interface in &status.interfaces {
        table.row([
            interface.name.as_str().into(),
            interface.ifindex.to_string().into(),
            config::xdp_mode_word(interface.mode).into(),
            interface.driver.as_str().into(),
        ]);
    }
    table
}

fn hooks(hooks: &[HookStatus]) -> Table<6> {
    let mut table = Table::new([
        left("HOOK"),
        left("TYPE"),
        right("SENT"),
        right("FAILED"),
        right("LEFT OUT"),
        right("WAITING"),
    ]);
    for hook in hooks {
        table.row([
            hook.name.as_str().into(),
            hook.kind.as_str().into(),
            count(hook.sent).into(),
            count(hook.failed).into(),
            count(hook.limited + hook.dropped).into(),
            count(hook.waiting).into(),
        ]);
    }
    table
}

/// What an operator should know, the worst first.
fn troubles(status: &Status) -> Vec<(Tone, String)> {
    let mut troubles = Vec::new();
    if let Some(error) = &status.dataplane_error {
        troubles.push((Tone::Bad, format!("the kernel does not forward as shown: {error}")));
    }
    if let Some(error) = &status.config_error {
        troubles.push((Tone::Bad, format!("the last reload was refused:\n{error}")));
    }
    if status.abi_version != ABI_VERSION {
        let text = format!(
            "the daemon has ABI version {}, this command {ABI_VERSION}; restart the daemon after an upgrade",
            status.abi_version
        );
        troubles.push((Tone::Waiting, text));
    }
    for vip in &status.vips {
        for VipAlarm { kind, route, text } in &vip.alarms {
            let route = route.as_ref().map(|route| format!(", route {route}")).unwrap_or_default();
            let tone = if *kind == AlarmKind::Backup { Tone::Waiting } else { Tone::Bad };
            troubles.push((tone, format!("vip {}{route}: {text}", vip.name)));
        }
        let of_routes = vip.routes.iter().map(|route| {
            (format!("vip {}, route {}", vip.name, route.name), &route.backends, route.backends.is_empty())
        });
        // A route without backends is a way to say that its clients get nothing.
        let own = (format!("vip {}", vip.name), &vip.backends, false);
        for (place, backends, meant) in std::iter::once(own).chain(of_routes) {
            if !meant && !backends.iter().any(|dest| dest.slots > 0) {
                troubles.push((Tone::Bad, format!("{place}: no backend serves it, packets are dropped")));
            }
            for dest in backends {
                let state = match dest.state {
                    BackendState::Unresolved => "unresolved",
                    BackendState::Unhealthy => "unhealthy",
                    _ => continue,
                };
                let reason = dest.reason.as_deref().unwrap_or("no reason given");
                troubles.push((Tone::Bad, format!("{place}: backend {} is {state}: {reason}", dest.name)));
            }
        }
    }
    for AddressStatus { address, interfaces, .. } in &status.addresses {
        for place in interfaces {
            if matches!(place.state, AddressPlaceState::Conflict | AddressPlaceState::Waiting) {
                let text = format!(
                    "address {address} is not announced on {}: {}",
                    place.interface,
                    addresses::note(place)
                );
                troubles.push((Tone::Bad, text));
            }
        }
    }
    for hook in status.hooks.iter().filter(|hook| hook.is_failing) {
        let HookStatus { name, last_failed, last_error, .. } = hook;
        let (at, why) =
            (last_failed.as_deref().unwrap_or_default(), last_error.as_deref().unwrap_or_default());
        troubles.push((Tone::Waiting, format!("hook {name} failed ({at}): {why}")));
    }
    troubles.extend(status.warnings.iter().map(|warning| (Tone::Waiting, warning.clone())));
    for dormant in &status.dormant_changes {
        let text = format!(
            "runtime change without effect: vip {}, backend {}, {} ({}): {}",
            dormant.vip,
            dormant.backend,
            dormant.what,
            super::changes::mark(&dormant.changed),
            dormant.reason
        );
        troubles.push((Tone::Waiting, text));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_healthy_daemon_is_shown_in_two_tables() {
        let mut status = samples::status();
        status.vips[0].backends.truncate(2);
        assert_eq!(
            text(&status, Style::PLAIN),
            "\
ferrolev 0.1.0 (abc1234), instance default, process 77, since 2026-01-02T03:04:05Z
configuration /etc/ferrolev/ferrolev.toml, read 2026-01-02T03:04:06Z

INTERFACE  INDEX  XDP     DRIVER
eth0           2  native  veth

VIP  ADDRESS          MODE  RING SIZE  AFFINITY    BACKENDS  PACKETS  BYTES  NEW FLOWS
web  192.0.2.1:80/tcp  ipip      65537  five-tuple       1/2    12.3k  3.4 MB        456
"
            .replace("ADDRESS          MODE", "ADDRESS           MODE")
            .replace("PACKETS  BYTES  NEW", "PACKETS   BYTES  NEW")
        );
    }

    #[test]
    fn troubles_come_with_their_reasons() {
        let mut status = samples::status();
        status.config_error = Some("f.toml:3: unknown key".to_owned());
        status.dataplane_error = Some("RINGS is full".to_owned());
        status.dormant_changes = vec![samples::dormant()];
        status.warnings = vec!["eth0: too small".to_owned()];
        let text = text(&status, Style::PLAIN);
        let (_, troubles) = text.rsplit_once("\n\n").expect("a paragraph of its own");
        assert_eq!(
            troubles,
            "\
the kernel does not forward as shown: RINGS is full
the last reload was refused:
f.toml:3: unknown key
vip web: backend web-3 is unresolved: no route to 10.0.0.13; add a route
eth0: too small
runtime change without effect: vip 192.0.2.9:80/tcp, backend web-1, drained (root, 2026-01-02T03:04:07Z): the vip is not in the file
"
        );
    }

    #[test]
    fn hooks_have_a_line_each_and_are_a_trouble_while_they_fail() {
        let mut status = samples::status();
        status.vips.clear();
        let works = HookStatus {
            name: "chat".to_owned(),
            kind: "webhook".to_owned(),
            sent: 7,
            failed: 1,
            tries_failed: 3,
            limited: 20,
            dropped: 3,
            waiting: 0,
            is_failing: false,
            last_sent: None,
            last_failed: Some("2026-01-02T03:04:05Z".to_owned()),
            last_error: Some("the answer is 503 Service Unavailable".to_owned()),
        };
        let fails = HookStatus {
            name: "mail".to_owned(),
            kind: "email".to_owned(),
            is_failing: true,
            ..works.clone()
        };
        status.hooks = vec![works, fails];
        let text = text(&status, Style::PLAIN);
        let expected = "
HOOK  TYPE     SENT  FAILED  LEFT OUT  WAITING
chat  webhook     7       1        23        0
mail  email       7       1        23        0

hook mail failed (2026-01-02T03:04:05Z): the answer is 503 Service Unavailable
";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn an_unhealthy_backend_is_a_trouble() {
        let mut status = samples::status();
        status.vips[0].backends.truncate(2);
        status.vips[0].backends[1].state = BackendState::Unhealthy;
        status.vips[0].backends[1].reason = Some("connection refused".to_owned());
        assert!(
            text(&status, Style::PLAIN)
                .ends_with("\n\nvip web: backend web-2 is unhealthy: connection refused\n")
        );
    }

    #[test]
    fn an_address_that_another_host_has_is_a_trouble() {
        let mut status = samples::status();
        status.vips[0].backends.truncate(2);
        status.addresses = vec![samples::contested_address()];
        assert!(
            text(&status, Style::PLAIN)
                .ends_with("\n\naddress 192.0.2.1 is not announced on eth0: 02:00:00:00:00:09 has it\n")
        );
    }

    #[test]
    fn a_vip_that_nobody_serves_is_a_trouble() {
        let mut status = samples::status();
        status.vips[0].backends.clear();
        assert!(
            text(&status, Style::PLAIN).ends_with("\nvip web: no backend serves it, packets are dropped\n")
        );
    }
}
