//! An echo request by ICMP or ICMPv6. A ping socket is taken where the kernel allows them (`net.ipv4.ping_group_range`), which
//! hears nothing but its own answers, else a raw one that hears this backend only.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::origin::{no_interface, no_source};
use super::{Failure, Pass, Peer, Stage, random};

/// An echo request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PingProbe {
    /// Bytes behind the header, beside the ones that tell answers apart.
    pub size: u16,
}

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const HEADER_LEN: usize = 8;
const TOKEN_LEN: usize = 8;

impl PingProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let (socket, kind) = open(peer)?;
        let question = random();
        let (id, sequence) = ((question >> 16) as u16, question as u16);
        let token = random().to_be_bytes();
        let request = request(peer.at.is_ipv6(), id, sequence, token, self.size);
        let sent = socket.send(&request).await;
        sent.map_err(|error| Failure::socket(&error, "sending"))?;
        stage.enter("waiting for an answer");
        let mut packet = vec![0; request.len() + 128];
        loop {
            let read = socket.recv(&mut packet).await;
            let read = read.map_err(|error| Failure::socket(&error, "waiting for an answer"))?;
            // The kernel gives ping sockets an id of its own, and the answers with it only to them.
            let id = (kind == Type::RAW).then_some(id);
            let message = match peer.at {
                SocketAddr::V4(_) if kind == Type::RAW => behind_header(&packet[..read]),
                _ => Some(&packet[..read]),
            };
            if message.is_some_and(|message| answers(message, peer.at.is_ipv6(), id, sequence, token)) {
                return Ok(Pass::default());
            }
        }
    }
}

/// A connected socket, and which kind it is.
fn open(peer: Peer<'_>) -> Result<(UdpSocket, Type), Failure> {
    let (domain, protocol) = match peer.at {
        SocketAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        SocketAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let (socket, kind) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, Type::DGRAM),
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EPROTONOSUPPORT)) =>
        {
            let raw = Socket::new(domain, Type::RAW, Some(protocol));
            (raw.map_err(|error| Failure::host(&error))?, Type::RAW)
        }
        Err(error) => return Err(Failure::host(&error)),
    };
    if let Some(interface) = &peer.origin.interface {
        let bound = socket.bind_device(Some(interface.as_bytes()));
        bound.map_err(|error| no_interface(interface, &error))?;
    }
    if let Some(source) = peer.source() {
        let bound = socket.bind(&SocketAddr::new(source, 0).into());
        bound.map_err(|error| no_source(source, &error))?;
    }
    let connected = socket.connect(&SocketAddr::new(peer.at.ip(), 0).into());
    connected.map_err(|error| Failure::socket(&error, "sending"))?;
    let as_host = |error: io::Error| Failure::host(&error);
    socket.set_nonblocking(true).map_err(as_host)?;
    // To tokio a socket for datagrams is one, whatever they carry.
    Ok((UdpSocket::from_std(socket.into()).map_err(as_host)?, kind))
}

/// RFC 792 and RFC 4443 4.1. The kernel writes the checksum of ICMPv6.
fn request(is_v6: bool, id: u16, sequence: u16, token: [u8; TOKEN_LEN], size: u16) -> Vec<u8> {
    let mut packet = vec![if is_v6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST_V4 }, 0, 0, 0];
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&token);
    packet.resize(packet.len() + usize::from(size), 0x55);
    if !is_v6 {
        let sum = !packet.chunks(2).fold(0u16, |sum, pair| {
            let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
            let (sum, carries) = sum.overflowing_add(word);
            sum + u16::from(carries)
        });
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// What is behind the IPv4 header that raw sockets hear.
fn behind_header(packet: &[u8]) -> Option<&[u8]> {
    let len = usize::from(packet.first()? & 0xf) * 4;
    packet.get(len..)
}

/// Whether a message is the answer; `id`: what it has to carry, when it is known.
fn answers(message: &[u8], is_v6: bool, id: Option<u16>, sequence: u16, token: [u8; TOKEN_LEN]) -> bool {
    let Some((head, rest)) = message.split_at_checked(HEADER_LEN) else { return false };
    let reply = if is_v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
    head[..2] == [reply, 0]
        && id.is_none_or(|id| head[4..6] == id.to_be_bytes())
        && head[6..8] == sequence.to_be_bytes()
        && rest.starts_with(&token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_very_request_counts() {
        let token = [1, 2, 3, 4, 5, 6, 7, 8];
        for is_v6 in [false, true] {
            let mut message = request(is_v6, 7, 9, token, 3);
            assert_eq!(message.len(), 8 + 8 + 3);
            assert!(!answers(&message, is_v6, Some(7), 9, token), "a request is no answer");
            message[0] = if is_v6 { 129 } else { 0 };
            assert!(answers(&message, is_v6, Some(7), 9, token));
            assert!(answers(&message, is_v6, None, 9, token));
            assert!(!answers(&message, is_v6, Some(8), 9, token));
            assert!(!answers(&message, is_v6, Some(7), 8, token));
            assert!(!answers(&message, is_v6, Some(7), 9, [0; 8]));
            assert!(!answers(&message, !is_v6, Some(7), 9, token));
            assert!(!answers(&message[..12], is_v6, Some(7), 9, token));
        }
    }

    #[test]
    fn the_checksum_makes_the_sum_of_all_words_zero() {
        for size in [0, 1, 56, 1000] {
            let packet = request(false, 0xffff, 0xfffe, [0xee; 8], size);
            let sum = packet.chunks(2).fold(0u32, |sum, pair| {
                sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
            });
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{size}");
        }
    }

    #[test]
    fn a_header_with_options_is_passed_over() {
        let packet = [&[0x46][..], &[0; 23], &[9, 9]].concat();
        assert_eq!(behind_header(&packet), Some(&[9, 9][..]));
        assert_eq!(behind_header(&[0x4f, 0]), None);
        assert_eq!(behind_header(&[]), None);
    }
}
