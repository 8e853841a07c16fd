use super::*;

#[test]
fn a_backend_that_joins_a_quic_vip_needs_a_server_id_of_its_own() {
    let quic = FILE
        .replace("weight = 70", "weight = 70\nserver_id = \"02\"")
        .replace("\"10.0.0.3\"", "\"10.0.0.3\"\nserver_id = \"03\"")
        .replace(
            "ring_size = 251\nbackends = [{",
            "ring_size = 251\nquic_server_id_length = 1\nbackends = [{",
        );
    let refused = |quic: &str, backend, address| {
        let config = parse(quic);
        let change = add("two", backend, address, None);
        Overlay::default().apply(&change, &mark(1), &config).unwrap_err().to_string()
    };
    let error = |backend: &str, why: &str| {
        format!(
            "vip two routes QUIC by server ids, and for backend {backend} {why}; give it one of the vip's quic_server_id_length in /etc/test.toml and reload"
        )
    };
    assert_eq!(refused(&quic, "a", None), error("a", "it has none"));
    assert_eq!(refused(&quic, "x", Some("10.0.0.9")), error("x", "it has none"));
    let with = |id: &str| quic.replace("\"10.0.0.1\"", &format!("\"10.0.0.1\"\nserver_id = \"{id}\""));
    assert_eq!(refused(&with("0001"), "a", None), error("a", "its server_id 0001 has 2 bytes"));
    assert_eq!(refused(&with("03"), "a", None), error("a", "backend c has the server_id 03 too"));
    Overlay::default().apply(&add("two", "a", None, None), &mark(1), &parse(&with("01"))).unwrap();
}
