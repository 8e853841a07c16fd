//! Asks an agent that runs beside the backend's service, and does as it says: the protocol of HAProxy's `agent-check`. A line
//! of words, separated by blanks or commas, up to a `#` that begins an explanation:
//!
//! ```text
//! 75%                          the weight, in parts of the configured one
//! up | down | stopped | failed the state of the service
//! ready | drain | maint        what the administrator wants: all flows, no new ones, none
//! maxconn:N                    not ours: there is no limit of connections to set
//! ```
//!
//! What a line does not mention stays as earlier lines left it, so `Memory` goes on from probe to probe.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Failure, Pass, Peer, Stage, Weight};

/// An agent, on the check's port.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentProbe {
    /// Said first; without it the agent begins.
    pub send: Option<String>,
}

/// What an agent has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    percent: Option<u32>,
    admin: Admin,
    /// Why the service is down, when it is.
    down: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Admin {
    #[default]
    Ready,
    Drain,
    Maintenance,
}

const LINE_MAX: usize = 1024;
/// As HAProxy bounds it: 256 times as much.
const PERCENT_MAX: u32 = 25_600;

impl AgentProbe {
    pub(super) async fn run(
        &self,
        peer: Peer<'_>,
        memory: &mut Memory,
        stage: &Stage,
    ) -> Result<Pass, Failure> {
        let mut stream = peer.connect().await?;
        if let Some(send) = &self.send {
            stage.enter("sending");
            let sent = stream.write_all(send.as_bytes()).await;
            sent.map_err(|error| Failure::socket(&error, "sending"))?;
        }
        stage.enter("waiting for the agent");
        let failed = |error: std::io::Error| Failure::socket(&error, "waiting for the agent");
        let mut line = Vec::new();
        let mut piece = [0; LINE_MAX];
        loop {
            let read = stream.read(&mut piece).await.map_err(failed)?;
            line.extend_from_slice(&piece[..read]);
            if let Some(end) = line.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                line.truncate(end);
                break;
            }
            if line.len() > LINE_MAX {
                return Err(Failure::Answer("the agent's line is too long".to_owned()));
            }
            if read == 0 {
                break;
            }
        }
        if line.is_empty() {
            return Err(Failure::Closed("waiting for the agent"));
        }
        let line = String::from_utf8(line);
        let line = line.map_err(|_| Failure::Answer("the agent does not speak in text".to_owned()))?;
        memory.hear(&line)
    }
}

impl Memory {
    /// Takes in a line; a line with a word that is none changes nothing.
    fn hear(&mut self, line: &str) -> Result<Pass, Failure> {
        let (words, explanation) = line.split_once('#').unwrap_or((line, ""));
        let mut next = self.clone();
        let (mut is_stated, mut is_empty) = (false, true);
        for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            is_empty = false;
            match word.to_ascii_lowercase().as_str() {
                "up" => (next.down, is_stated) = (None, true),
                down @ ("down" | "stopped" | "failed") => {
                    let why = explanation.trim().chars().filter(|sign| !sign.is_control()).take(120);
                    let why: String = why.collect();
                    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                    next.down = Some(format!("the agent says {down}{why}"));
                }
                "ready" => next.admin = Admin::Ready,
                "drain" => next.admin = Admin::Drain,
                "maint" => next.admin = Admin::Maintenance,
                word if word.starts_with("maxconn:") => {}
                word => next.percent = Some(percent(word).ok_or_else(|| unknown(word))?),
            }
        }
        if is_empty {
            return Err(Failure::Answer("the agent's line is empty".to_owned()));
        }
        *self = next;
        if self.admin == Admin::Maintenance {
            return Err(Failure::Stated("the agent says maint".to_owned()));
        }
        if let Some(why) = &self.down {
            return Err(Failure::Stated(why.clone()));
        }
        let percent = if self.admin == Admin::Drain { Some(0) } else { self.percent };
        Ok(Pass { weight: percent.map(Weight::Percent), stated: is_stated })
    }
}

fn percent(word: &str) -> Option<u32> {
    let number = word.strip_suffix('%')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|percent| is_number && *percent <= PERCENT_MAX)
}

fn unknown(word: &str) -> Failure {
    let word: String = word.chars().filter(|sign| !sign.is_control()).take(40).collect();
    Failure::Answer(format!("the agent says '{word}', which is no word of the protocol"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(percent: Option<u32>, stated: bool) -> Result<Pass, Failure> {
        Ok(Pass { weight: percent.map(Weight::Percent), stated })
    }

    fn down(why: &str) -> Result<Pass, Failure> {
        Err(Failure::Stated(why.to_owned()))
    }

    #[test]
    fn what_a_line_does_not_mention_stays_as_it_was() {
        let mut agent = Memory::default();
        assert_eq!(agent.hear("75%"), pass(Some(75), false));
        assert_eq!(agent.hear("up"), pass(Some(75), true));
        assert_eq!(agent.hear("drain"), pass(Some(0), false));
        assert_eq!(agent.hear("50%"), pass(Some(0), false), "still draining");
        assert_eq!(agent.hear("ready"), pass(Some(50), false));
        assert_eq!(agent.hear("down# disk is full"), down("the agent says down: disk is full"));
        assert_eq!(agent.hear("100%"), down("the agent says down: disk is full"));
        assert_eq!(agent.hear("up, maint"), down("the agent says maint"));
        assert_eq!(agent.hear("READY\tUP maxconn:30"), pass(Some(100), true));
    }

    #[test]
    fn a_line_that_is_not_understood_changes_nothing() {
        let mut agent = Memory::default();
        assert_eq!(agent.hear("75%"), pass(Some(75), false));
        for wrong in ["50% dwon", "-1%", "%", "+5%", "25601%", "5", "", "  ", "#up", "99999999999%"] {
            let heard = agent.hear(wrong);
            assert!(matches!(heard, Err(Failure::Answer(_))), "{wrong}: {heard:?}");
            assert_eq!(agent.percent, Some(75), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken_in_or_refused(lines in prop::collection::vec(".{0,40}", 0..5)) {
            let mut agent = Memory::default();
            for line in lines {
                let before = agent.clone();
                if let Err(Failure::Answer(_)) = agent.hear(&line) {
                    prop_assert_eq!(&agent, &before);
                }
            }
        }
    }
}
