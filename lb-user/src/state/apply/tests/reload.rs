use super::*;
use crate::state::DormantReason;

fn dormant(config: &Config, overlay: &Overlay) -> Vec<(String, DormantReason)> {
    merge(config, overlay).dormant.into_iter().map(|dormant| (dormant.backend, dormant.reason)).collect()
}

#[test]
fn changes_of_what_has_left_the_file_sleep_until_it_is_back() {
    let overlay = overlay(&config(), &[drain("b", None), weigh("c", None, 4)]);
    let without = parse(&FILE.replace("backends = [\"a\", \"b\"]", "backends = [\"a\"]"));
    let kept = overlay.settled(&without);
    assert_eq!(kept, overlay);
    assert_eq!(dormant(&without, &kept), [("b".to_owned(), DormantReason::NoBackend)]);
    let no_vip = parse(&FILE.replace("2001:db8::1", "2001:db8::2"));
    let found = dormant(&no_vip, &kept);
    assert_eq!(found, [("b".to_owned(), DormantReason::NoVip), ("c".to_owned(), DormantReason::NoVip)]);
    assert_eq!(merge(&config(), &kept), merge(&config(), &overlay));
}

#[test]
fn what_sleeps_is_forgotten_by_remove() {
    let overlay = overlay(&config(), &[drain("b", None), remove("a", None)]);
    let without = parse(&FILE.replace("backends = [\"a\", \"b\"]", "backends = [\"c\"]"));
    assert_eq!(dormant(&without, &overlay).len(), 2);
    let less = overlay.apply(&remove("a", None), &mark(9), &without).unwrap().overlay;
    let less = less.apply(&remove("b", Some("192.0.2.1:80/tcp")), &mark(9), &without).unwrap().overlay;
    assert!(dormant(&without, &less).is_empty());
    assert!(less.get("[2001:db8::1]:0/udp".parse().unwrap(), "b").is_some(), "what counts stays");
}

#[test]
fn what_the_file_has_caught_up_with_is_forgotten() {
    let changes = [
        weigh("a", None, 30),
        add("one", "c", None, None),
        add("two", "x", Some("10.0.0.9"), Some(5)),
        weigh("x", None, 6),
    ];
    let overlay = overlay(&config(), &changes);
    let caught_up = FILE
        .replace("backends = [\"a\", \"b\"]", "backends = [{ name = \"a\", weight = 30 }, \"b\", \"c\"]")
        .replace("weight = 5 }, \"c\"]", "weight = 5 }, \"c\", \"x\"]")
        .replacen("[[vip]]", "[[backend]]\nname = \"x\"\naddress = \"10.0.0.9\"\n\n[[vip]]", 1);
    let caught_up = parse(&caught_up);
    let settled = overlay.settled(&caught_up);
    assert_eq!(merge(&caught_up, &settled), merge(&caught_up, &overlay));
    let left: Vec<String> =
        settled.iter().map(|(_, backend, change)| format!("{backend}: {change}")).collect();
    assert_eq!(left, ["x: weight 6"]);
}

#[test]
fn the_file_wins_over_an_added_backend_that_it_contradicts() {
    let overlay = overlay(&config(), &[add("one", "x", Some("10.0.0.9"), None), drain("x", None)]);
    let other_address = FILE
        .replace("backends = [\"a\", \"b\"]", "backends = [\"a\", \"b\", \"x\"]")
        .replacen("[[vip]]", "[[backend]]\nname = \"x\"\naddress = \"10.0.0.10\"\n\n[[vip]]", 1);
    let other_address = parse(&other_address);
    let merged = merge(&other_address, &overlay);
    let one = "192.0.2.1:80/tcp".parse().unwrap();
    assert_eq!(merged.desired.vips[&one].members["x"], member("x", "10.0.0.10", 100, false).1);
    assert!(matches!(merged.dormant[0].reason, DormantReason::OtherAddress(_)));
    let weighed = overlay.apply(&weigh("x", None, 3), &mark(9), &other_address).unwrap().overlay;
    let merged = merge(&other_address, &weighed);
    assert!(merged.dormant.is_empty());
    assert_eq!(merged.desired.vips[&one].members["x"].weight, 3);

    let used = parse(&FILE.replace("10.0.0.2", "10.0.0.9"));
    assert!(matches!(merge(&used, &overlay).dormant[0].reason, DormantReason::AddressUsed { .. }));
}
