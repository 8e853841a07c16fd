//! Who sends what to whom.

use tests::packets::{Kind, Packet};
use tests::story::Story;
use tests::tunnel::{inner, outer};
use tests::world::World;

pub(super) const V4: &str = "198.51.100.1";
pub(super) const V6: &str = "2001:db8::1";
pub(super) const BACKENDS: [&str; 5] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];

pub(super) fn vip(is_v6: bool, service: &str) -> String {
    if is_v6 { format!("[{V6}]:{service}") } else { format!("{V4}:{service}") }
}

/// Vips for DNS over both families.
pub(super) fn world() -> World {
    World::default().vip(&vip(false, "53/udp"), &BACKENDS).vip(&vip(true, "53/udp"), &BACKENDS)
}

/// A second vip at the same addresses, with one backend of its own.
pub(super) fn with_second(world: World) -> World {
    world.vip(&vip(false, "54/udp"), &["10.0.0.9"]).vip(&vip(true, "54/udp"), &["10.0.0.9"])
}

pub(super) fn packet(kind: Kind, is_v6: bool, from: u16, to: u16, len: usize) -> Packet {
    let packet = if is_v6 {
        Packet::new(kind, &format!("[2001:db8:9::9]:{from}"), &format!("[{V6}]:{to}"))
    } else {
        Packet::new(kind, &format!("203.0.113.9:{from}"), &format!("{V4}:{to}"))
    };
    Packet { payload: (0..len).map(|byte| byte as u8).collect(), ..packet }
}

pub(super) fn datagram(is_v6: bool, from: u16, to: u16, len: usize) -> Vec<u8> {
    packet(Kind::Udp, is_v6, from, to, len).frame()
}

/// Sends a frame that must be forwarded, as it is, and says to which backend.
pub(super) fn backend(story: &mut Story, frame: &[u8]) -> Vec<u8> {
    let outer = outer(&story.forwarded(frame));
    assert_eq!(outer.payload, inner(frame));
    outer.destination
}

/// The backend of a flow's whole packets.
pub(super) fn backend_of_flow(story: &mut Story, is_v6: bool, from: u16, to: u16) -> Vec<u8> {
    backend(story, &datagram(is_v6, from, to, 10))
}

pub(super) fn both(test: impl FnMut(bool)) {
    [false, true].into_iter().for_each(test);
}
