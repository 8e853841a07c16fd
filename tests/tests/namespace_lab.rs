//! The lab itself: it works before anything is proven with it, and it leaves nothing behind.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use tests::lab::{Lab, Network, Shape, privileged, run};

const NO_BACKENDS: Shape = Shape { balancers: 1, backends: 0 };

#[test]
fn client_and_balancer_reach_each_other_through_the_router() {
    if !privileged() {
        return;
    }
    let network = Network::new(NO_BACKENDS).unwrap();
    let listener = network.balancers[0].inside(|| Ok(std::net::TcpListener::bind("[::]:7777")?)).unwrap();
    for address in ["10.1.0.101", "fd00:1::101"] {
        let address = std::net::SocketAddr::new(address.parse().unwrap(), 7777);
        network
            .client
            .inside(move || {
                let patience = std::time::Duration::from_secs(5);
                std::net::TcpStream::connect_timeout(&address, patience)?;
                Ok(())
            })
            .unwrap();
        let (_, peer) = listener.accept().unwrap();
        let client = Ipv4Addr::new(192, 0, 2, 2).to_ipv6_mapped();
        assert!(
            peer.ip() == client || peer.ip() == "2001:db8:1::2".parse::<std::net::Ipv6Addr>().unwrap(),
            "{peer}"
        );
    }
}

#[test]
fn a_lab_leaves_nothing_behind() {
    if !privileged() {
        return;
    }
    let network = Network::new(NO_BACKENDS).unwrap();
    let remains = [
        network.lab.dir().to_owned(),
        network.lab.bpffs(),
        network.client.path(),
        network.router.path(),
        network.balancers[0].path(),
    ];
    for path in &remains {
        assert!(path.exists(), "{}", path.display());
    }
    drop(network);
    for path in &remains {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next_lab() {
    if !privileged() {
        return;
    }
    // A process that has ended and been waited for: its number belongs to nobody.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let id = format!("{}-0", ended.id());
    let dir = Path::new("/run/ferrolev-lab").join(&id);
    let namespace = format!("fl-{id}-client");
    let pins = format!("/sys/fs/bpf/ferrolev-lab-{id}");
    fs::create_dir_all(&dir).unwrap();
    run(Command::new("ip").args(["netns", "add", &namespace])).unwrap();
    fs::create_dir_all(&pins).unwrap();

    drop(Lab::new().unwrap());

    assert!(!dir.exists());
    assert!(!Path::new("/run/netns").join(namespace).exists());
    assert!(!Path::new(&pins).exists());
}
