use super::{GOOD, parse, problems};

const LISTEN: &str = "peer_listen = \"10.0.0.1:7946\"\n";

fn peer(name: &str, address: &str, fingerprint: &str) -> String {
    format!("[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nfingerprint = \"{fingerprint}\"\n")
}

fn good(peers: &str) -> String {
    format!("{LISTEN}{GOOD}\n{peers}")
}

#[test]
fn a_peer_is_an_address_and_a_fingerprint() {
    let wanted = parse(&good(&peer("b", "10.0.0.2:7946", &"a5:".repeat(32)[..95]))).unwrap().peers;
    assert_eq!(wanted.listen, Some("10.0.0.1:7946".parse().unwrap()));
    assert_eq!(wanted.peers["b"].address, "10.0.0.2:7946".parse().unwrap());
    assert_eq!(wanted.peers["b"].fingerprint.to_string(), "a5".repeat(32));
}

#[test]
fn what_cannot_be_a_peer_is_told_with_the_way_out() {
    let print = "a5".repeat(32);
    for (text, expected) in [
        (
            format!("{GOOD}\n{}", peer("b", "10.0.0.2:7946", &print)),
            "it could not ask this node; add peer_listen",
        ),
        (good(&peer("b", "10.0.0.1:7946", &print)), "is this node's own peer_listen"),
        (good(&(peer("b", "10.0.0.2:1", &print) + &peer("c", "10.0.0.3:1", &print))), "peer b has the same"),
        (
            good(&(peer("b", "10.0.0.2:1", &print) + &peer("b", "10.0.0.3:1", &"1".repeat(64)))),
            "the name is taken",
        ),
        (good(&peer("b", "10.0.0.2:1", "a5")), "'a5' is no fingerprint"),
        (good("[[peer]]\nname = \"b\"\n"), "address"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{expected}: {found:#?}");
    }
}
