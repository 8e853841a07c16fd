use super::*;

fn refused(before: &[Change], change: &Change) -> String {
    let config = config();
    overlay(&config, before).apply(change, &mark(59), &config).unwrap_err().to_string()
}

#[test]
fn unknown_names_are_refused_with_the_nearest_one() {
    for (change, error) in [
        (
            drain("a", Some("ones")),
            "there is no vip 'ones' (did you mean 'one'?); `ferrolev vip list` shows all",
        ),
        (add("none-such", "a", None, None), "there is no vip 'none-such'; `ferrolev vip list` shows all"),
        (drain("zebra", Some("one")), "vip one has no backend 'zebra'; `ferrolev backend list` shows all"),
        (drain("zebra", None), "no vip has backend 'zebra'; `ferrolev backend list` shows all"),
    ] {
        assert_eq!(refused(&[], &change), error);
    }
    let error = Overlay::default().apply(&remove("zebra", None), &mark(0), &config()).unwrap_err();
    assert!(error.is_unknown_object());
}

#[test]
fn a_backend_and_an_address_are_in_a_vip_once() {
    assert!(refused(&[], &add("one", "a", None, None)).starts_with("vip one already has backend a"));
    let error = refused(&[], &add("one", "x", Some("10.0.0.2"), None));
    assert_eq!(error, "vip one already has 10.0.0.2 as backend b; a backend can be in a vip once");
    let taken = [remove("a", Some("one")), add("one", "x", Some("10.0.0.1"), None)];
    assert!(refused(&taken, &add("one", "a", None, None)).contains("already has 10.0.0.1 as backend x"));
}

#[test]
fn a_name_stands_for_one_address() {
    let error = refused(&[], &add("two", "a", Some("10.0.0.7"), None));
    assert_eq!(error, "backend a is 10.0.0.1, not 10.0.0.7; leave the address out or choose another name");
    let before = [add("one", "x", Some("10.0.0.8"), None)];
    assert!(refused(&before, &add("two", "x", Some("10.0.0.9"), None)).contains("is 10.0.0.8"));
    assert!(refused(&[], &add("one", "x", None, None)).contains("needs an address"));
}

#[test]
fn impossible_addresses_names_and_weights_are_refused() {
    for (address, part) in [
        ("0.0.0.0", "the unspecified address"),
        ("127.0.0.1", "a loopback address"),
        ("240.0.0.1", "reserved"),
        ("224.0.0.1", "a multicast address"),
        ("::", "the unspecified address"),
        ("fe80::1", "a link-local address"),
        ("192.0.2.1", "is the address of vip one"),
    ] {
        let error = refused(&[], &add("one", "x", Some(address), None));
        assert!(
            error.starts_with(&format!("the backend address {address} ")) && error.contains(part),
            "{error}"
        );
    }
    for name in ["", "a b", "ü"] {
        let error = refused(&[], &add("one", name, Some("10.0.0.9"), None));
        assert!(error.starts_with(&format!("the backend name '{name}' ")), "{error}");
    }
    assert!(refused(&[], &weigh("a", None, 65_536)).contains("use 0 to 65535"));
    assert!(refused(&[], &add("one", "x", Some("10.0.0.9"), Some(65_536))).contains("use 0 to 65535"));
}

#[test]
fn the_limit_of_dests_counts_all_vips() {
    // 16 for the one, 4 for the other, and a spare block of 16 would be 36.
    let full: Vec<Change> =
        (1..3).map(|n| add("one", &format!("x{n}"), Some(&format!("10.0.1.{n}")), None)).collect();
    let error = refused(&full, &add("one", "c", None, None));
    assert!(error.starts_with("36 dests would be taken"), "{error}");
    assert!(error.ends_with("limits.dests is 32; raise it in /etc/test.toml and reload"), "{error}");
}
