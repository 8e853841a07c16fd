use super::*;
use crate::state::DormantReason;

/// [`FILE`] with vip `two` as a QUIC vip of `b` and `c`.
fn quic() -> String {
    FILE.replace("weight = 70", "weight = 70\nserver_id = \"02\"")
        .replace("\"10.0.0.3\"", "\"10.0.0.3\"\nserver_id = \"03\"")
        .replace(
            "ring_size = 251\nbackends = [{",
            "ring_size = 251\nquic_server_id_length = 1\nbackends = [{",
        )
}

/// [`quic`] with this server id for backend `a`.
fn with(id: &str) -> String {
    quic().replace("\"10.0.0.1\"", &format!("\"10.0.0.1\"\nserver_id = \"{id}\""))
}

#[test]
fn a_backend_that_joins_a_quic_vip_needs_a_server_id_of_its_own() {
    let refused = |quic: &str, backend, address| {
        let config = parse(quic);
        let change = add("two", backend, address, None);
        Overlay::default().apply(&change, &mark(1), &config).unwrap_err().to_string()
    };
    let error = |backend: &str, why: &str| {
        format!(
            "vip two routes QUIC by server ids, and backend {backend} {why}; give it one of its own with the vip's quic_server_id_length in /etc/test.toml and reload"
        )
    };
    assert_eq!(refused(&quic(), "a", None), error("a", "has no server_id"));
    assert_eq!(refused(&quic(), "x", Some("10.0.0.9")), error("x", "has no server_id"));
    assert_eq!(refused(&with("0001"), "a", None), error("a", "has the server_id 0001 of 2 bytes"));
    assert_eq!(refused(&with("03"), "a", None), error("a", "has the same server_id 03 as c"));
    Overlay::default().apply(&add("two", "a", None, None), &mark(1), &parse(&with("01"))).unwrap();
}

#[test]
fn an_added_backend_sleeps_while_the_file_gives_its_server_id_to_another() {
    let config = parse(&with("01"));
    let overlay = overlay(&config, &[add("two", "a", None, None)]);
    assert!(merge(&config, &overlay).dormant.is_empty());
    for (file, why) in [(with("03"), "has the same server_id 03 as c"), (quic(), "has no server_id")] {
        let Merged { desired, dormant, .. } = merge(&parse(&file), &overlay);
        assert_eq!(dormant[0].reason, DormantReason::ServerId(why.to_owned()));
        assert!(!desired.vips[&find_vip(&desired, "two").unwrap()].members.contains_key("a"));
    }
}
