use super::*;

fn parse(line: &str) -> Result<Command, clap::Error> {
    Args::try_parse_from(line.split_whitespace()).map(|args| args.command)
}

#[test]
fn the_grammar_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_line_of_the_agreed_surface_is_understood() {
    for line in [
        "ferrolev run",
        "ferrolev run --config a.toml --instance b --bpffs /x --state-dir /y --socket /z --xdp-mode generic --detach-on-exit",
        "ferrolev check",
        "ferrolev check a.toml",
        "ferrolev detach --instance b --bpffs /x",
        "ferrolev status -o json --socket /z",
        "ferrolev vip list",
        "ferrolev vip show 192.0.2.1:80/tcp",
        "ferrolev backend list",
        "ferrolev backend add web-3 --vip web --address 10.0.0.13 --weight 5 --dry-run",
        "ferrolev backend remove web-3",
        "ferrolev backend remove web-3 --force",
        "ferrolev backend drain web-3 --vip web --dry-run",
        "ferrolev backend drain web-3 --timeout 5min --force --wait",
        "ferrolev backend undrain web-3",
        "ferrolev backend weight web-3 0 --vip web",
        "ferrolev addresses -o json",
        "ferrolev vrrp",
        "ferrolev vrrp -o json",
        "ferrolev vrrp show",
        "ferrolev vrrp show edge4 -o json",
        "ferrolev vrrp failover",
        "ferrolev vrrp failover edge --socket /z",
        "ferrolev vrrp maintenance on",
        "ferrolev vrrp maintenance off edge4",
        "ferrolev vrrp own kd",
        "ferrolev vrrp release kd",
        "ferrolev vrrp notify INSTANCE VI_1 MASTER 100",
        "ferrolev vrrp notify GROUP G BACKUP",
        "ferrolev vrrp follow /run/keepalived.fifo",
        "ferrolev check-fit",
        "ferrolev check-fit --quiet --timeout 500ms --socket /z",
        "ferrolev flows list --vip web --backend web-1 --top 5 -o json",
        "ferrolev flows count --backend 10.0.0.1",
        "ferrolev flows export /tmp/flows --vip web",
        "ferrolev flows import",
        "ferrolev flows import /tmp/flows -o json",
        "ferrolev reload --dry-run",
        "ferrolev config show",
        "ferrolev config show --toml",
        "ferrolev changes",
        "ferrolev explain 198.51.100.7:40000 192.0.2.1:80 tcp",
        "ferrolev explain [2001:db8::7]:1 [2001:db8::1]:443 udp -o json",
        "ferrolev stats --watch",
        "ferrolev stats --watch 5",
        "ferrolev metrics",
        "ferrolev decap --dev eth0 --source 192.0.2.0/24 --source 2001:db8::/64 --xdp-mode native",
        "ferrolev completions bash",
        "ferrolev man /tmp/man",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_service_files_call_commands_that_exist() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    for (name, commands) in [("ferrolev.service", 2), ("ferrolev-decap@.service", 1)] {
        let text = std::fs::read_to_string(dir.join(name)).expect(name);
        let lines = text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once("=/usr/bin/"));
        let lines: Vec<_> = lines.map(|(_, line)| line.replace("$FERROLEV_DECAP_OPTIONS", "")).collect();
        assert_eq!(lines.len(), commands, "{name}");
        for line in lines {
            parse(&line).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
        }
    }
}

#[test]
fn usage_errors_are_found_before_the_daemon_is_asked() {
    for line in [
        "ferrolev",
        "ferrolev run --instance ../x",
        "ferrolev backend add web-3",
        "ferrolev backend weight web-3 65536",
        "ferrolev backend drain web-3 --timeout 5",
        "ferrolev backend drain web-3 --wait --dry-run",
        "ferrolev backend weight web-3 heavy",
        "ferrolev explain 198.51.100.7 192.0.2.1:80 tcp",
        "ferrolev explain 198.51.100.7:1 192.0.2.1:80 sctp",
        "ferrolev stats --watch 0",
        "ferrolev status -o yaml",
        "ferrolev decap",
        "ferrolev decap --dev eth0 --source 192.0.2.1/24",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn watch_without_a_number_means_every_second() {
    let Ok(Command::Stats(args)) = parse("ferrolev stats --watch") else {
        panic!("stats");
    };
    assert_eq!(args.watch(), Some(Duration::from_secs(1)));
    for (line, vip, seconds) in [
        ("ferrolev health", None, None),
        ("ferrolev health --watch", None, Some(1)),
        ("ferrolev health --watch web", Some("web"), Some(1)),
        ("ferrolev health web --watch=5 -o json", Some("web"), Some(5)),
    ] {
        let Ok(Command::Health(args)) = parse(line) else { panic!("{line}") };
        assert_eq!((args.vip.as_deref(), args.watch()), (vip, seconds.map(Duration::from_secs)), "{line}");
    }
}

#[test]
fn the_version_names_the_build() {
    let long = command().render_long_version();
    assert!(long.starts_with(&format!("ferrolev {VERSION}\nrevision ")), "{long}");
    let abi = format!("\nABI version {}\neBPF object SHA-256 ", lb_common::abi::ABI_VERSION);
    assert!(long.contains(&abi), "{long}");
    assert_eq!(OBJECT_SHA256.len(), 64);
}
