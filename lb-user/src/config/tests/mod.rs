//! What users get wrong, what they get right, and that the two are told apart.

mod access;
mod addresses;
mod any;
mod check_any;
mod checks;
mod flows;
mod groups;
mod hook_any;
mod hooks;
mod mistakes;
mod objects;
mod options;
mod peers;
mod pool;
mod round_trip;
mod routes;
mod values;
mod vrrp;
mod vrrp_any;

use std::path::Path;

use super::*;
use crate::state::{Dscp, Protocol};

/// A small valid file that tests break in one place.
const GOOD: &str = r#"interfaces = ["eth0"]

[[backend]]
name = "web-1"
address = "10.0.0.11"

[[backend]]
name = "web-2"
address = "10.0.0.12"
weight = 50

[[vip]]
name = "web"
address = "192.0.2.1"
port = 80
protocol = "tcp"
backends = ["web-1", { name = "web-2", weight = 7 }]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("f.toml"), text)
}

/// The lines of the error, with `f.toml:` in front of each.
fn problems(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("the file is wrong").to_string();
    error.lines().map(str::to_owned).collect()
}

/// [`GOOD`] with one text replaced by another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

#[test]
fn a_small_file_takes_defaults_for_all_that_it_leaves_out() {
    let config = parse(GOOD).expect("valid");
    assert_eq!(config.interfaces, ["eth0"]);
    assert_eq!(config.xdp_mode, XdpMode::Native);
    assert_eq!((config.hash_seed, config.metrics_listen), (0, None));
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.tunnel.ttl, config.tunnel.dscp), (64, Dscp::Copy));
    assert_eq!(config.backends["web-1"].weight, 100);
    assert_eq!(config.backends["web-2"].weight, 50);
    let key = VipKey { address: "192.0.2.1".parse().expect("address"), port: 80, protocol: Protocol::Tcp };
    let vip = &config.vips[&key];
    assert_eq!((vip.name.as_str(), vip.ring_size), ("web", 65_537));
    assert_eq!((vip.mode, vip.affinity), (Mode::Ipip, Affinity::FiveTuple));
    assert_eq!(vip.backends["web-1"], None);
    assert_eq!(vip.backends["web-2"], Some(7));
}

#[test]
fn every_setting_is_read() {
    let text = r#"
interfaces = ["eth0", "eth1"]
xdp_mode = "generic"
hash_seed = 0xffff_ffff_ffff_ffff
metrics_listen = "[::1]:9464"
[tunnel]
source4 = "172.16.0.0/16"
source6 = "2001:db8::10"
ttl = 255
dscp = 46
[limits]
dests = 16384
ring_memory = "64MiB"
[[backend]]
name = "b"
address = "2001:db8::b"
weight = 0
[[vip]]
address = "2001:db8::1"
port = 0
protocol = "udp"
mode = "ipip"
ring_size = 251
affinity = "source"
backends = ["b"]
"#;
    let config = parse(text).expect("valid");
    assert_eq!(config.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.xdp_mode, XdpMode::Generic);
    assert_eq!(config.hash_seed, u64::MAX);
    assert_eq!(config.metrics_listen, Some("[::1]:9464".parse().expect("socket")));
    let source4 = config.tunnel.source4.expect("given");
    assert_eq!((source4.address.to_string().as_str(), source4.prefix_len), ("172.16.0.0", 16));
    assert_eq!(config.tunnel.source6.expect("given").prefix_len, 128);
    assert_eq!((config.tunnel.ttl, config.tunnel.dscp), (255, Dscp::Fixed(46)));
    assert_eq!((config.limits.dests, config.limits.ring_memory), (16_384, 64 << 20));
    assert_eq!(config.backends["b"].weight, 0);
    let (key, vip) = config.vips.first_key_value().expect("one vip");
    assert_eq!(key.to_string(), "[2001:db8::1]:0/udp");
    assert_eq!(vip.name, "[2001:db8::1]:0/udp");
    assert_eq!((vip.ring_size, vip.affinity), (251, Affinity::Source));
}

#[test]
fn all_problems_of_a_file_come_together_in_the_order_of_its_lines() {
    let text = r#"interfaces = []
hash_sed = 1
[[backend]]
name = "web-1"
address = "10.0.0.11:80"
[[vip]]
address = "192.0.2.1"
port = 80
protocol = "tcp"
ringsize = 251
backends = ["web1"]
[[vip]]
name = "second"
port = 70000
protocol = "sctp"
"#;
    assert_eq!(
        problems(text),
        [
            "f.toml:1: interfaces: the list is empty; name the interfaces on which packets for vips arrive, such as [\"eth0\"]",
            "f.toml:2: unknown key 'hash_sed' in the top level; did you mean 'hash_seed'?",
            "f.toml:5: backend web-1: address: '10.0.0.11:80' is not an address; write \"10.0.0.11\" without the port",
            "f.toml:10: unknown key 'ringsize' in [[vip]]; did you mean 'ring_size'?",
            "f.toml:11: vip 192.0.2.1:80/tcp: backends: no backend is called 'web1'; did you mean 'web-1'?",
            "f.toml:12: vip second: 'address' is missing; add address = …",
            "f.toml:14: vip second: port: 70000 is out of range; write a whole number from 0 to 65535",
            "f.toml:15: vip second: protocol: 'sctp' is not known; write \"tcp\" or \"udp\"",
        ]
    );
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CONFIGURATION.md");
    if std::env::var_os("FERROLEV_WRITE_DOCS").is_some() {
        std::fs::write(&page, reference()).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(&page).expect("the page exists");
    assert!(
        found == reference(),
        "docs/CONFIGURATION.md is stale; FERROLEV_WRITE_DOCS=1 cargo test -p lb-user reference"
    );
}

#[test]
fn the_reference_page_begins_with_a_valid_file() {
    let page = reference();
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    parse(example).expect("valid");
}

#[test]
fn the_defaults_of_the_reference_are_the_real_ones() {
    use super::settings::{ACCESS, Absent, BACKEND, FLOWS, LIMITS, Section, TOP, TUNNEL, VIP};
    let given = |section: &Section| -> String {
        let lines = section.settings.iter().filter_map(|setting| match setting.absent {
            Absent::Value(value) => Some(format!("{} = {value}\n", setting.key)),
            Absent::Required | Absent::Words(_) => None,
        });
        lines.collect()
    };
    let bare = "[[backend]]\nname = \"b\"\naddress = \"10.0.0.1\"\n";
    let vip = "[[vip]]\naddress = \"192.0.2.1\"\nport = 80\nprotocol = \"tcp\"\n";
    let short = format!("interfaces = [\"eth0\"]\n{bare}{vip}");
    let long = format!(
        "interfaces = [\"eth0\"]\n{}[tunnel]\n{}[limits]\n{}[flows]\n{}[access]\n{}{bare}{}{vip}{}",
        given(&TOP),
        given(&TUNNEL),
        given(&LIMITS),
        given(&FLOWS),
        given(&ACCESS),
        given(&BACKEND),
        given(&VIP)
    );
    let mut long = parse(&long).expect("the defaults are valid");
    let short = parse(&short).expect("valid");
    assert_ne!(long.provenance, short.provenance);
    long.provenance = short.provenance.clone();
    assert_eq!(long, short);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nowhere/f.toml")).expect_err("missing");
    assert_eq!(
        error.to_string(),
        "cannot read /nowhere/f.toml: No such file or directory (os error 2); name another file"
    );
}

#[test]
fn a_file_in_another_encoding_is_refused_with_the_line() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("f.toml");
    std::fs::write(&path, b"# one\n# caf\xe9\n").expect("written");
    let error = Config::load(&path).expect_err("not UTF-8");
    assert_eq!(error.to_string(), format!("{}:2: not UTF-8; save the file in that encoding", path.display()));
}

#[test]
fn the_examples_are_valid_and_read_back_from_what_is_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = std::fs::read_dir(&dir).expect("examples/").map(|entry| entry.expect("entry").path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(files.len() >= 7, "{files:?}");
    let documentation = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_documentation(),
        IpAddr::V6(v6) => v6.segments()[..2] == [0x2001, 0xdb8],
    };
    for path in files {
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(config.vips.values().all(|vip| !vip.backends.is_empty()), "{}", path.display());
        let backends = config.backends.values().map(|backend| backend.address);
        for address in config.vips.keys().map(|key| key.address).chain(backends) {
            assert!(documentation(&address), "{}: {address}", path.display());
        }
        let again = Config::parse_with(&path, &config.to_toml(), &|list| std::fs::read(list));
        assert_eq!(again.unwrap_or_else(|error| panic!("{error}")), config);
    }
}

#[test]
fn the_examples_show_every_key_of_a_vip() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = std::fs::read_dir(&dir).expect("examples/").map(|entry| entry.expect("entry").path());
    let text: String = entries.map(|path| std::fs::read_to_string(path).expect("readable")).collect();
    let missing: Vec<_> = [&settings::VIP, &settings::ROUTE, &settings::BACKEND]
        .into_iter()
        .flat_map(settings::Section::keys)
        .filter(|key| !["ring_size", "allow_file", "deny_file", "route"].contains(key))
        .filter(|key| !text.lines().any(|line| line.starts_with(&format!("{key} = "))))
        .collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}
