//! Where values come from.

use super::*;

fn value(config: &Config, path: &str) -> (String, Origin) {
    let found: Vec<_> = config.values().into_iter().filter(|value| value.path == path).collect();
    assert_eq!(found.len(), 1, "{path}");
    (found[0].value.clone(), found[0].origin)
}

#[test]
fn every_value_says_whether_the_file_gave_it() {
    let config = parse(GOOD).expect("valid");
    for (path, shown, origin) in [
        ("interfaces", "eth0", Origin::File),
        ("xdp_mode", "native", Origin::Default),
        ("metrics_listen", "", Origin::Default),
        ("tunnel.ttl", "64", Origin::Default),
        ("limits.ring_memory", "1GiB", Origin::Default),
        ("backend.web-1.address", "10.0.0.11", Origin::File),
        ("backend.web-1.weight", "100", Origin::Default),
        ("backend.web-2.weight", "50", Origin::File),
        ("vip.web.port", "80", Origin::File),
        ("vip.web.ring_size", "65537", Origin::Default),
        ("vip.web.backends", "web-1, web-2", Origin::File),
        ("vip.web.backends.web-1.weight", "100", Origin::Default),
        ("vip.web.backends.web-2.weight", "7", Origin::File),
    ] {
        assert_eq!(value(&config, path), (shown.to_owned(), origin), "{path}");
    }
}

#[test]
fn a_value_that_equals_its_default_still_comes_from_the_file_when_it_is_written_there() {
    let config = parse(&with("weight = 50", "weight = 100")).expect("valid");
    assert_eq!(value(&config, "backend.web-2.weight"), ("100".to_owned(), Origin::File));
}

#[test]
fn a_weight_of_the_backend_in_the_file_is_one_of_the_vip_too() {
    let config = parse(&with("{ name = \"web-2\", weight = 7 }", "\"web-2\"")).expect("valid");
    assert_eq!(value(&config, "vip.web.backends.web-2.weight"), ("50".to_owned(), Origin::File));
}

#[test]
fn names_with_dots_are_quoted_in_paths() {
    let config = parse(&with("name = \"web\"\n", "")).expect("valid");
    let path = "vip.\"192.0.2.1:80/tcp\".name";
    assert_eq!(value(&config, path), ("192.0.2.1:80/tcp".to_owned(), Origin::Default));
    assert_eq!(super::path(&["vip", "a.b", "c-d_1"]), "vip.\"a.b\".c-d_1");
}
