//! What the family and the version of a virtual router forbid.

use std::net::IpAddr;

use lb_vrrp::wire::{Interval, Version};

use crate::config::address::why_unusable;
use crate::config::file::RouterFile;
use crate::config::reader::{Located, printable};
use crate::config::validate::Check;

/// Counted in a byte.
const ADDRESSES: usize = 255;
/// What fits a packet of 1500 bytes; longer ones would travel in fragments.
const ADDRESSES_V6: usize = 90;
/// The password's field.
const PASSWORD_LEN: usize = 8;

/// What the family and the version forbid.
pub(super) struct Rules<'c, 'a, 'f> {
    pub(super) check: &'c mut Check<'a>,
    pub(super) file: &'f RouterFile,
    pub(super) v4: bool,
    pub(super) version: Version,
}

impl Rules<'_, '_, '_> {
    /// Notes all that does not fit, and gives the interval back.
    pub(super) fn all(&mut self) -> Interval {
        self.addresses();
        self.version();
        self.peers();
        self.source();
        self.interval()
    }

    fn say(&mut self, line: u32, text: &str) {
        self.check.problems.add(line, format!("{}: {text}", self.file.object));
    }

    fn addresses(&mut self) {
        let Some(Located { value: found, line }) = &self.file.addresses else { return };
        let most = if self.v4 { ADDRESSES } else { ADDRESSES_V6 };
        let Some(first) = found.first() else {
            return self.say(*line, "addresses: the list is empty; name what the master is to have");
        };
        if found.len() > most {
            let text = format!(
                "addresses: {} are more than the {most} that an advert names; put the others into more_addresses, or into another virtual router",
                found.len()
            );
            self.say(*line, &text);
        }
        let v4 = self.v4;
        for other in found.iter().filter(|other| other.value.0.is_ipv4() != v4) {
            let text = format!(
                "addresses: {} is of another family than {}; put it into more_addresses, or into a virtual router of its own and both into a [[vrrp.group]]",
                other.value.0, first.value.0
            );
            self.say(other.line, &text);
        }
        if matches!(first.value.0, IpAddr::V6(v6) if !v6.is_unicast_link_local()) {
            let text = format!(
                "addresses: {} is not link-local, as the first one of IPv6 has to be (RFC 9568 5.2.9); put for example \"fe80::{:x}\" before it, on all hosts",
                first.value.0,
                self.file.router_id.as_ref().map_or(1, |id| id.value)
            );
            self.say(first.line, &text);
        }
    }

    fn version(&mut self) {
        let file = self.file;
        if self.version == Version::V2 && !self.v4 {
            let line = file.version.as_ref().map_or(file.line, |found| found.line);
            self.say(line, "version: 2 is for IPv4 only; write version = 3");
        }
        if let Some(found) = &file.password {
            self.password(found);
        }
        if let Some(found) = &file.checksum {
            if self.version == Version::V2 {
                self.say(
                    found.line,
                    "checksum: version 2 has one way only; take it out, or write version = 3",
                );
            } else if !self.v4 {
                self.say(found.line, "checksum: IPv6 has one way only; take it out");
            }
        }
    }

    fn password(&mut self, found: &Located<String>) {
        let Located { value: password, line } = found;
        if self.version == Version::V3 {
            self.say(*line, "password: version 3 has none (RFC 9568 9); take it out, or write version = 2");
        }
        if password.is_empty() || password.chars().any(char::is_control) {
            self.say(*line, "password: write 1 to 8 bytes without control characters");
        }
        if password.len() > PASSWORD_LEN {
            let fits = password.char_indices().map(|(at, c)| at + c.len_utf8());
            let end = fits.take_while(|end| *end <= PASSWORD_LEN).last().unwrap_or(0);
            let text = format!(
                "password: it has {} bytes; adverts hold 8, and keepalived cuts off what is above: write \"{}\"",
                password.len(),
                printable(&password[..end])
            );
            self.say(*line, &text);
        }
    }

    fn interval(&mut self) -> Interval {
        let Some(Located { value: span, line }) = &self.file.interval else { return Interval::DEFAULT };
        const STEP: u128 = 10_000_000;
        let centiseconds = u16::try_from(span.as_nanos() / STEP).ok();
        let exact = span.as_nanos().is_multiple_of(STEP);
        let interval = centiseconds.filter(|_| exact).and_then(Interval::from_centiseconds);
        match interval.filter(|interval| interval.fits(self.version)) {
            Some(interval) => interval,
            None => {
                let shown = humantime::format_duration(*span);
                let text = match self.version {
                    Version::V2 => format!(
                        "interval: version 2 counts whole seconds, and {shown} are none from 1 to 255; write \"1s\", or version = 3"
                    ),
                    Version::V3 => format!(
                        "interval: version 3 counts steps of 10 ms, and {shown} are none up to 40.95 s; write for example \"100ms\""
                    ),
                };
                self.say(*line, &text);
                Interval::DEFAULT
            }
        }
    }

    fn peers(&mut self) {
        let file = self.file;
        let peers = file.peers.as_ref().map_or(&[][..], |found| &found.value);
        for (index, Located { value: peer, line }) in peers.iter().enumerate() {
            let link_local = matches!(peer, IpAddr::V6(v6) if v6.is_unicast_link_local());
            if peer.is_ipv4() != self.v4 {
                let text = format!(
                    "peers: {peer} is of another family than the addresses; write {} addresses of the other hosts",
                    if self.v4 { "IPv4" } else { "IPv6" }
                );
                self.say(*line, &text);
            } else if let Some(why) = why_unusable(*peer).filter(|_| !link_local) {
                self.say(*line, &format!("peers: {peer} {why}"));
            } else if peers[..index].iter().any(|other| other.value == *peer) {
                self.say(*line, &format!("peers: {peer} is named twice; remove one"));
            } else if self.is_own(*peer) {
                self.say(
                    *line,
                    &format!("peers: {peer} is one of the addresses that move; write one that stays"),
                );
            } else if file.source.as_ref().is_some_and(|source| source.value == *peer) {
                self.say(*line, &format!("peers: {peer} is this host's source; name the other hosts only"));
            }
        }
        if let Some(found) = file.check_hop_limit.as_ref().filter(|found| !found.value && peers.is_empty()) {
            let text = "check_hop_limit: what is sent to the group stays on the link, so that a TTL below 255 is forged; name peers, or take it out";
            self.say(found.line, text);
        }
    }

    fn source(&mut self) {
        let Some(Located { value: source, line }) = &self.file.source else { return };
        let unicast = self.file.peers.as_ref().is_some_and(|peers| !peers.value.is_empty());
        let link_local = matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let text = if source.is_ipv4() != self.v4 {
            format!("source: {source} is of another family than the addresses")
        } else if self.is_own(*source) {
            format!("source: {source} is one of the addresses that move; write one that stays")
        } else if !self.v4 && !unicast && !link_local {
            format!(
                "source: {source} is not link-local, as adverts to the group have to be (RFC 9568 5.1.2.1); write the interface's fe80:: address, or take it out"
            )
        } else if let Some(why) = why_unusable(*source).filter(|_| !link_local) {
            format!("source: {source} {why}")
        } else {
            return;
        };
        self.say(*line, &text);
    }

    fn is_own(&self, address: IpAddr) -> bool {
        let lists = [&self.file.addresses, &self.file.more_addresses];
        lists.into_iter().flatten().flat_map(|found| &found.value).any(|own| own.value.0 == address)
    }
}
