//! Vips of one group.

use super::*;

const ROUTE: &str = "[[vip.route]]\nname = \"r\"\nsources = [\"10.0.0.0/8\"]\nbackends = [\"web-2\"]\n";

/// [`GOOD`]'s vip and a second one in the group `shop`; the second has `lines` instead of the first's.
fn two(backends: &str, lines: &str) -> String {
    let common = "affinity = \"source\"\ngroup = \"shop\"\n";
    format!(
        "{GOOD}{common}\n[[vip]]\naddress = \"192.0.2.2\"\nport = 443\nprotocol = \"tcp\"\n{backends}\n{common}{lines}"
    )
}

const SAME: &str = "backends = [\"web-1\", { name = \"web-2\", weight = 7 }]";

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(
        problems(text),
        [format!(
            "f.toml:27: vip 192.0.2.2:443/tcp: group: shop: {expected} in vip 192.0.2.1:80/tcp in line 12; all vips of a group have the same"
        )]
    );
}

#[test]
fn vips_that_are_alike_make_a_group() {
    parse(&two(SAME, "")).expect("valid");
    // Weights count, not how they are written.
    let text = two("backends = [{ name = \"web-1\", weight = 100 }, { name = \"web-2\", weight = 7 }]", "");
    parse(&text).expect("valid");
    parse(&two(SAME, "").replacen("\"shop\"", "\"else\"", 1).replace(SAME, "")).expect("another group");
    let routes = two(SAME, ROUTE).replacen(
        "\n[[vip]]\naddress = \"192.0.2.2\"",
        &format!("{ROUTE}\n[[vip]]\naddress = \"192.0.2.2\""),
        1,
    );
    parse(&routes).expect("equal routes");
}

#[test]
fn what_differs_in_a_group_is_named_with_both_vips() {
    refused(&two(SAME, "ring_size = 251\n"), "ring_size is 251, but 65537");
    refused(&two(SAME, "mode = \"gue\"\n"), "mode is \"gue\", but \"ipip\"");
    refused(&two("backends = [\"web-1\"]", ""), "lacks backend 'web-2', which is");
    refused(&two("backends = [\"web-1\", \"web-2\"]", ""), "backend 'web-2' has weight 50, but 7");
    refused(&two(SAME, ROUTE), "has route r, which is not");
    let with_route = |route: &str| {
        two(SAME, route).replacen("group = \"shop\"\n", &format!("group = \"shop\"\n{ROUTE}"), 1)
    };
    for (from, to, expected) in [
        ("10.0.0.0/8", "10.0.0.0/9", "route r has other sources than"),
        ("web-2", "web-1", "route r: has backend 'web-1', which is not"),
    ] {
        let text = with_route(&ROUTE.replace(from, to));
        let expected = format!(": {expected} in vip 192.0.2.1:80/tcp in line 12; all vips");
        assert!(problems(&text).iter().any(|problem| problem.contains(&expected)), "{:?}", problems(&text));
    }
}

#[test]
fn a_group_goes_by_source() {
    let text = two(SAME, "").replacen("affinity = \"source\"\n", "", 1);
    assert_eq!(
        problems(&text),
        [
            "f.toml:18: vip 192.0.2.1:80/tcp: group: shop: affinity is \"five-tuple\", by which a client gets another backend in each vip; write affinity = \"source\""
        ]
    );
}
