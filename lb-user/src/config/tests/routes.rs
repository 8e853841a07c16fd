//! Routes of a vip.

use super::*;

const ROUTE: &str = r#"
[[vip.route]]
name = "office"
sources = ["10.0.0.0/8", "2001:db8::/32"]
backends = ["web-2"]
"#;

/// [`GOOD`] with [`ROUTE`], which begins at line 19, and one text of it replaced.
fn route(from: &str, to: &str) -> String {
    assert!(ROUTE.contains(from), "{from}");
    format!("{GOOD}{}", ROUTE.replacen(from, to, 1))
}

#[track_caller]
fn each_is_one_problem(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        let (line, text) = expected.split_once(' ').expect("line and text");
        let expected = format!("f.toml:{line} vip 192.0.2.1:80/tcp: {text}");
        assert_eq!(problems(&route(from, to)), [expected], "{to}");
    }
}

#[test]
fn a_route_has_a_name_sources_and_backends() {
    let text = route("", "")
        + "\n[[vip.route]]\nname = \"lab\"\nsources = [\"10.1.0.0/16\"]\nbackends = [{ name = \"web-1\", weight = 3 }]\n";
    let config = parse(&text).expect("valid");
    let vip = config.vips.values().next().expect("one vip");
    let [office, lab] = &vip.routes[..] else { panic!("{:?}", vip.routes) };
    assert_eq!((office.name.as_str(), office.sources.len()), ("office", 2));
    assert_eq!(office.backends, BTreeMap::from([("web-2".to_owned(), None)]));
    assert_eq!(lab.backends, BTreeMap::from([("web-1".to_owned(), Some(3))]));
    let shown = |path: &str| config.values().into_iter().find(|value| value.path == path).expect(path).value;
    assert_eq!(shown("vip.web.route.office.sources"), "10.0.0.0/8, 2001:db8::/32");
    assert_eq!(shown("vip.web.route.office.backends.web-2.weight"), "50");
    assert_eq!(shown("vip.web.route.lab.backends.web-1.weight"), "3");
}

#[test]
fn mistakes_in_routes_name_vip_and_route() {
    each_is_one_problem(&[
        ("name = \"office\"\n", "", "19: [[vip.route]]: 'name' is missing; add name = …"),
        (
            "sources = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n",
            "",
            "19: route office: 'sources' is missing; add sources = …",
        ),
        ("backends = [\"web-2\"]\n", "", "19: route office: 'backends' is missing; add backends = …"),
        (
            "[\"10.0.0.0/8\", \"2001:db8::/32\"]",
            "[]",
            "21: route office: sources: the list is empty; name the prefixes of the clients",
        ),
        (
            "[\"web-2\"]",
            "[]",
            "19: route office: backends: the list is empty; name the backends that serve these clients",
        ),
        (
            "\"web-2\"",
            "\"web-3\"",
            "22: route office: backends: no backend is called 'web-3'; did you mean 'web-1'?",
        ),
        (
            "10.0.0.0/8",
            "10.0.0.1/8",
            "21: route office: sources: '10.0.0.1/8' has host bits set; write \"10.0.0.0/8\", or \"10.0.0.1\" for one address",
        ),
        ("2001:db8::/32", "10.0.0.0/8", "21: route office: sources: 10.0.0.0/8 is named twice; remove one"),
    ]);
    let text = route("[[vip.route]]", "[vip.route]");
    assert_eq!(
        problems(&text),
        [
            "f.toml:19: vip 192.0.2.1:80/tcp: route: found a table; write [[vip.route]] before each route, with double brackets"
        ]
    );
    let text = route("sources", "source");
    assert!(
        problems(&text).contains(
            &"f.toml:21: unknown key 'source' in [[vip.route]]; did you mean 'sources'?".to_owned()
        )
    );
    let text = with("interfaces = [\"eth0\"]\n", "interfaces = [\"eth0\"]\nsources = []\n");
    assert_eq!(
        problems(&text),
        ["f.toml:2: unknown key 'sources' in the top level; it belongs in [[vip.route]]"]
    );
}

#[test]
fn names_and_prefixes_are_in_one_route_only() {
    let text = route("", "")
        + "[[vip.route]]\nname = \"office\"\nsources = [\"2001:db8::/32\"]\nbackends = [\"web-1\"]\n";
    assert_eq!(
        problems(&text),
        [
            "f.toml:24: vip 192.0.2.1:80/tcp: route office: name: 'office' is taken by the route in line 20; choose another",
            "f.toml:25: vip 192.0.2.1:80/tcp: route office: sources: 2001:db8::/32 is also a source of route office in line 21; a prefix leads to one route only",
        ]
    );
}

/// A vip with `count` routes and tables of this size.
fn many_routes(count: usize, dests: u32) -> String {
    let mut text = with("port = 80", "port = 80\nring_size = 251").replacen(
        "[[backend]]",
        &format!("[limits]\ndests = {dests}\n[[backend]]"),
        1,
    );
    for n in 0..count {
        text.push_str(&format!(
            "[[vip.route]]\nname = \"r{n}\"\nsources = [\"10.0.0.{n}\"]\nbackends = [\"web-1\"]\n"
        ));
    }
    text
}

#[test]
fn a_vip_has_255_routes_at_most() {
    parse(&many_routes(255, 8192)).expect("valid");
    // The last one is the first that is too many.
    let text = many_routes(255, 8192)
        + "[[vip.route]]\nname = \"last\"\nsources = [\"10.1.0.0/16\"]\nbackends = [\"web-1\"]\n";
    let line = 1 + text[..text.rfind("[[vip.route]]").expect("a route")].matches('\n').count();
    assert_eq!(
        problems(&text),
        [format!(
            "f.toml:{line}: vip 192.0.2.1:80/tcp: route last: a vip has 255 routes at most; put clients of the same backends into one route"
        )]
    );
}

#[test]
fn routes_take_dests_and_rings_as_vips_do() {
    // The vip and three routes take 4 dests each, and 4 are to spare.
    parse(&many_routes(3, 20)).expect("fits");
    let refused = problems(&many_routes(3, 19));
    assert!(refused[0].contains("dests: the vips and routes of this file take 20 "), "{refused:?}");
    let memory =
        |text: &str| many_routes(3, 8192).replace("dests = 8192", &format!("ring_memory = \"{text}\""));
    parse(&memory("20KiB")).expect("fits");
    let refused = problems(&memory("19KiB"));
    assert!(refused[0].contains("the 4 rings of this file take 20KiB"), "{refused:?}");
}

#[test]
fn routes_take_places_in_the_table_of_vips() {
    let limits = "dests = 32768\nring_memory = \"64MiB\"";
    let mut text = many_routes(255, 8192).replace("dests = 8192", limits);
    // The vip takes 257 places with its routes and its address, each of the others 2.
    for n in 0..3372u32 {
        let [_, _, high, low] = n.to_be_bytes();
        text.push_str(&format!(
            "[[vip]]\naddress = \"198.18.{high}.{low}\"\nport = 80\nprotocol = \"tcp\"\nring_size = 251\n"
        ));
    }
    let refused = problems(&text);
    assert!(
        refused[0].contains("the IPv4 vips with their routes and addresses take 7001 places"),
        "{refused:?}"
    );
}
