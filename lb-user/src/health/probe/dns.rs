//! Asks a DNS server, by UDP or TCP. An answer that does not fit into a datagram is asked for again by TCP when it matters what
//! it says.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dns_message::{self, Answer, Name, NoAnswer, Rcode, RecordType};
use super::{Failure, Pass, Peer, Stage, random};

/// A question, and which answers are good.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsProbe {
    pub query: Name,
    pub kind: RecordType,
    pub rcodes: Vec<Rcode>,
    /// An address, a name or a text that one of the records has to be.
    pub answer: Option<String>,
    pub transport: Transport,
}

/// What carries a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    #[default]
    Udp,
    Tcp,
}

/// More than any server sends without EDNS.
const DATAGRAM_MAX: usize = 4096;
const WAITING: &str = "waiting for an answer";

impl DnsProbe {
    pub(super) async fn run(&self, peer: Peer<'_>, stage: &Stage) -> Result<Pass, Failure> {
        let answer = match self.transport {
            Transport::Udp => self.by_udp(peer, stage).await?,
            Transport::Tcp => self.by_tcp(peer, stage).await?,
        };
        let answer = if answer.is_truncated && self.answer.is_some() && self.transport == Transport::Udp {
            self.by_tcp(peer, stage).await?
        } else {
            answer
        };
        self.judge(&answer)
    }

    fn judge(&self, answer: &Answer) -> Result<Pass, Failure> {
        if !self.rcodes.contains(&answer.rcode) {
            return Err(Failure::Answer(format!("the server answers {}", answer.rcode)));
        }
        let Some(wanted) = &self.answer else { return Ok(Pass::default()) };
        let is_it =
            |said: &String| said.trim_end_matches('.').eq_ignore_ascii_case(wanted.trim_end_matches('.'));
        if answer.says.iter().any(is_it) {
            Ok(Pass::default())
        } else {
            Err(Failure::Answer(format!("no {} record is what is expected", self.kind)))
        }
    }

    async fn by_udp(&self, peer: Peer<'_>, stage: &Stage) -> Result<Answer, Failure> {
        let socket = peer.datagrams().await?;
        let id = random() as u16;
        let sent = socket.send(&dns_message::query(id, &self.query, self.kind)).await;
        sent.map_err(|error| Failure::socket(&error, "sending"))?;
        stage.enter(WAITING);
        let mut datagram = [0; DATAGRAM_MAX];
        loop {
            let read = socket.recv(&mut datagram).await.map_err(|error| Failure::socket(&error, WAITING))?;
            match self.read(&datagram[..read], id) {
                Err(NoAnswer::Other) => {}
                Err(NoAnswer::Malformed) => return Err(no_dns()),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// RFC 7766: a length in front of each message.
    async fn by_tcp(&self, peer: Peer<'_>, stage: &Stage) -> Result<Answer, Failure> {
        stage.enter("connecting");
        let mut stream = peer.connect().await?;
        let failed = |error: std::io::Error| Failure::socket(&error, WAITING);
        let id = random() as u16;
        let query = dns_message::query(id, &self.query, self.kind);
        let len = u16::try_from(query.len()).unwrap_or(u16::MAX).to_be_bytes();
        stream.write_all(&[&len, query.as_slice()].concat()).await.map_err(failed)?;
        stage.enter(WAITING);
        let len = stream.read_u16().await.map_err(failed)?;
        let mut message = vec![0; usize::from(len)];
        stream.read_exact(&mut message).await.map_err(failed)?;
        self.read(&message, id).map_err(|_| no_dns())
    }

    fn read(&self, message: &[u8], id: u16) -> Result<Answer, NoAnswer> {
        dns_message::answer(message, id, &self.query, self.kind)
    }
}

fn no_dns() -> Failure {
    Failure::Answer("the answer is not DNS".to_owned())
}
