//! Adverts that come in: whose they are, and whether they are heeded.
#![forbid(unsafe_code)]

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use lb_vrrp::machine::{Heard, Input};
use lb_vrrp::wire::{Envelope, Parsed, Reject, parse};
use tracing::{debug, warn};

use super::clock;
use super::node::{Change, Node};
use super::socket::PACKET_LEN;
use super::sockets::Side;

/// Packets of one socket that are taken in at a time, so that a flood keeps nobody from sending.
const AT_ONCE: usize = 256;
/// How often the same complaint about a sender is logged.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);

impl Node {
    /// Takes in all that has been received; says whether there may be more.
    pub(super) fn receive(&mut self) -> bool {
        let mut more = false;
        let mut buffer = [0; PACKET_LEN];
        for side in self.sockets.sides() {
            more |= self.receive_from(&side, &mut buffer);
        }
        more
    }

    fn receive_from(&mut self, side: &Side, buffer: &mut [u8]) -> bool {
        for _ in 0..AT_ONCE {
            let Some(socket) = self.sockets.get(side) else { return false };
            match socket.receive(buffer) {
                Ok(None) => return false,
                Ok(Some(Ok(received))) => {
                    let parsed = parse(received.payload, &received.envelope);
                    self.take_in(side, &received.envelope, parsed);
                }
                Ok(Some(Err(reject))) => self.stray(reject),
                // The link went down: it is told once, and the socket goes on.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!(interface = side.0, %error, "cannot hear adverts; the socket is opened anew");
                    self.sockets.close(side);
                    self.restand();
                    return false;
                }
            }
        }
        true
    }

    fn take_in(&mut self, side: &Side, envelope: &Envelope, parsed: Result<Parsed, Reject>) {
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(reject) => {
                debug!(interface = side.0, from = %envelope.source, why = %reject, "not an advert");
                return self.stray(reject);
            }
        };
        // After the packet: whoever stood still in between has not heard it earlier than now.
        let now = clock::now();
        let Parsed { advert, sum } = parsed;
        let found = self.groups.iter_mut().find_map(|(name, running)| {
            let of_side = |member: &super::member::Member| {
                let router = &member.router;
                router.vrid == advert.vrid && router.interface == side.0 && router.is_ipv6() == side.1
            };
            let number = running.members.iter().position(of_side)?;
            Some((name.clone(), number, &mut running.members[number]))
        });
        let Some((name, number, member)) = found else {
            return self.stray(Reject::UnknownVrid(advert.vrid));
        };
        let from = envelope.source;
        match member.filter.admit(&advert, envelope) {
            Ok(doubt) => {
                member.seen.heeded(from, &advert, sum, doubt, now);
                let heard = Heard { from, priority: advert.priority, interval: advert.interval };
                self.changed(Change::Detail);
                self.on_input(&name, number, Input::Heard(heard), now);
            }
            Err(reject) => {
                complain(member, from, reject, now);
                member.seen.rejected(from, &advert, sum, reject, now);
                self.changed(Change::Detail);
            }
        }
    }

    fn stray(&mut self, reject: Reject) {
        self.strays.count(reject);
        self.changed(Change::Detail);
    }
}

/// What is wrong with a sender is said when it is another thing than before, or was not said for a while.
fn complain(member: &super::member::Member, from: IpAddr, reject: Reject, now: lb_vrrp::Moment) {
    let last = member.seen.peers.get(&from).and_then(|peer| peer.last_reject);
    let is_known = last
        .is_some_and(|(before, at)| before.reason() == reject.reason() && now.since(at) < COMPLAINT_PAUSE);
    if !is_known {
        warn!(router = member.name, vrid = member.router.vrid, %from, why = %reject, "advert not heeded");
    }
}
