//! QUIC connection ids that name a backend, on the host and in the kernel.

use std::net::IpAddr;

use lb_common::abi::Reason;
use lb_user::state::{QuicRouting, ServerId, VipKey};
use tests::packets::{Kind, Packet};
use tests::story::Story;
use tests::tunnel::outer;
use tests::world::World;

const V4: &str = "198.51.100.1:443/udp";
const V6: &str = "[2001:db8::1]:443/udp";
const CONFIG_ID: u8 = 2;

fn server_id(number: u16, len: u8) -> ServerId {
    let mut bytes = [0; 8];
    for (place, byte) in bytes.iter_mut().take(usize::from(len)).enumerate() {
        *byte = (number >> (8 * (place % 2))) as u8 ^ (place / 2) as u8;
    }
    ServerId { bytes, len }
}

fn backend(number: u16) -> String {
    format!("10.0.{}.{}", number >> 8, number & 0xff)
}

/// A world whose backends 1 to `count` have server ids of `len` bytes.
fn world(key: &str, count: u16, len: u8) -> World {
    let names: Vec<String> = (1..=count).map(backend).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    World::default().vip(key, &names).with(key, |vip| {
        vip.options.quic = Some(QuicRouting { server_id_len: len, config_id: CONFIG_ID });
        for number in 1..=count {
            vip.members.get_mut(&backend(number)).expect("the backend").server_id =
                Some(server_id(number, len));
        }
    })
}

/// A connection id that a server makes: configuration, server id, nonce.
fn connection_id(id: ServerId, nonce: u8) -> Vec<u8> {
    let first = CONFIG_ID << 5 | nonce & 0x1f;
    [&[first], &id.bytes[..usize::from(id.len)], &[nonce; 8][..]].concat()
}

fn short(id: &[u8]) -> Vec<u8> {
    [&[0x40], id, &[0xee; 24]].concat()
}

/// A long header of `kind` (the two type bits) and `version`.
fn long(kind: u8, version: u32, id: &[u8]) -> Vec<u8> {
    let head = [0xc0 | kind << 4];
    [&head[..], &version.to_be_bytes(), &[id.len() as u8], id, &[0], &[0xee; 30]].concat()
}

fn packet(source: &str, payload: Vec<u8>) -> Packet {
    let destination = if source.starts_with('[') { "[2001:db8::1]:443" } else { "198.51.100.1:443" };
    Packet { payload, ..Packet::new(Kind::Udp, source, destination) }
}

fn reached(story: &mut Story, packet: &Packet) -> IpAddr {
    let outer = outer(&story.forwarded(&packet.frame()));
    match <[u8; 4]>::try_from(outer.destination.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(outer.destination.as_slice()).expect("an address")),
    }
}

fn address(number: u16) -> IpAddr {
    backend(number).parse().expect("an address")
}

#[test]
fn a_known_id_goes_to_its_backend_whatever_the_address() {
    for (key, prefix) in [(V4, "203.0.113.9"), (V6, "[2001:db8:9::9]")] {
        let mut story = Story::new(&world(key, 5, 4));
        for number in 1..=5 {
            for port in [1u16, 40_000, 65_535] {
                let source = format!("{prefix}:{port}");
                let id = connection_id(server_id(number, 4), port as u8);
                assert_eq!(reached(&mut story, &packet(&source, short(&id))), address(number));
                for (kind, version) in [(2, 1), (3, 1), (3, 0x6b33_43cf), (0, 0x6b33_43cf)] {
                    let payload = long(kind, version, &id);
                    assert_eq!(reached(&mut story, &packet(&source, payload)), address(number));
                }
            }
        }
    }
}

#[test]
fn what_a_client_has_chosen_or_nobody_knows_goes_by_the_hash() {
    let mut story = Story::new(&world(V4, 5, 4));
    let known = connection_id(server_id(3, 4), 7);
    let mut other_config = known.clone();
    other_config[0] ^= 0x20;
    let unknown = connection_id(server_id(99, 4), 7);
    let strangers = [
        short(&unknown),
        short(&other_config),
        long(0, 1, &known),
        long(1, 1, &known),
        long(1, 0x6b33_43cf, &known),
        long(2, 0x6b33_43cf, &known),
        long(2, 0, &known),
        long(2, 0xff00_001d, &known),
        long(2, 1, &known[..4]),
        known[..2].to_vec(),
        Vec::new(),
    ];
    let mut elsewhere = 0;
    for port in 1000..1020 {
        let source = format!("203.0.113.9:{port}");
        let by_hash = reached(&mut story, &packet(&source, b"not QUIC at all, but long enough".to_vec()));
        for payload in &strangers {
            assert_eq!(reached(&mut story, &packet(&source, payload.clone())), by_hash, "{payload:x?}");
        }
        elsewhere += u32::from(by_hash != address(3));
    }
    assert!(elsewhere > 0, "the hash must not always name the very backend of the id");
}

#[test]
fn ids_of_all_lengths_and_many_backends_are_told_apart() {
    for len in 1..=8 {
        let count = if len == 1 { 200 } else { 600 };
        let mut story = Story::new(&world(V4, count, len));
        for number in (1..=count).step_by(7) {
            let id = connection_id(server_id(number, len), 1);
            assert_eq!(reached(&mut story, &packet("203.0.113.9:1", short(&id))), address(number), "{len}");
        }
    }
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones() {
    let drained = world(V4, 2, 4).with(V4, |vip| {
        vip.members.get_mut(&backend(1)).expect("the backend").drained = true;
    });
    let mut story = Story::new(&drained);
    let id = connection_id(server_id(1, 4), 1);
    for port in 1..50 {
        let source = format!("203.0.113.9:{port}");
        assert_eq!(reached(&mut story, &packet(&source, short(&id))), address(1));
        assert_eq!(reached(&mut story, &packet(&source, long(0, 1, &id))), address(2));
    }
    let all = drained.with(V4, |vip| vip.members.values_mut().for_each(|member| member.drained = true));
    let mut story = Story::new(&all);
    assert_eq!(reached(&mut story, &packet("203.0.113.9:1", short(&id))), address(1));
    let new = packet("203.0.113.9:1", long(0, 1, &id));
    assert_eq!(story.dropped(&new.frame()), Reason::NoBackend);
}

#[test]
fn tags_and_options_do_not_hide_an_id() {
    let mut story = Story::new(&world(V4, 3, 4));
    let id = connection_id(server_id(2, 4), 1);
    for tags in [vec![], vec![5], vec![5, 6]] {
        let packet = Packet { tags, ..packet("203.0.113.9:1", short(&id)) };
        assert_eq!(reached(&mut story, &packet), address(2));
    }
}

#[test]
fn an_id_of_another_vip_is_unknown() {
    const OTHER: &str = "198.51.100.2:443/udp";
    let mut world = world(V4, 3, 4);
    let mut other = self::world(OTHER, 1, 4);
    let key: VipKey = OTHER.parse().expect("a vip");
    let stranger = other.desired.vips.remove(&key).expect("the vip");
    world.desired.vips.insert(key, stranger);
    let mut story = Story::new(&world);
    let id = connection_id(server_id(3, 4), 1);
    let to_other = |source: &str, payload| {
        let to = "198.51.100.2:443".parse().expect("an address");
        Packet { destination: to, ..packet(source, payload) }
    };
    for port in 1..20 {
        let source = format!("203.0.113.9:{port}");
        assert_eq!(reached(&mut story, &to_other(&source, short(&id))), address(1));
        assert_eq!(reached(&mut story, &packet(&source, short(&id))), address(3));
    }
}
