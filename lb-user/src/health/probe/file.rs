//! Looks at a file on this host: that it is there, that it says something, or which weight it asks for. Another program writes
//! it, as with keepalived's `track_file`.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{ANSWER_MAX, Failure, Pass, Peer, Stage, Weight, contains};

/// A file, and what it has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProbe {
    /// The path; `{address}` and `{port}` in it are the backend's.
    pub path: String,
    /// Within the first 64 KiB.
    pub expect: Option<String>,
    /// It says a number: the weight, or 0.
    pub dynamic_weight: bool,
}

/// Reads files apart from everything else, one at a time: a file system may not answer.
#[derive(Clone, Debug)]
pub(super) struct Reader(Arc<Semaphore>);

impl Default for Reader {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl FileProbe {
    pub(super) async fn run(
        &self,
        peer: Peer<'_>,
        reader: &mut Reader,
        stage: &Stage,
    ) -> Result<Pass, Failure> {
        stage.enter("reading the file");
        let path = self.path.replace("{address}", &peer.at.ip().to_string());
        let path = path.replace("{port}", &peer.at.port().to_string());
        let Ok(permit) = reader.0.clone().try_acquire_owned() else {
            return Err(Failure::Answer(format!(
                "{path}: the file system has not answered since the last look"
            )));
        };
        let shown = path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let read = read(&path);
            drop(permit);
            read
        });
        let read = read.await.map_err(|error| Failure::Local(error.to_string()))?;
        let text = read.map_err(|why| Failure::Answer(format!("{shown}: {why}")))?;
        if self.expect.as_ref().is_some_and(|expect| !contains(&text, expect.as_bytes())) {
            return Err(Failure::Answer(format!("{shown} does not contain what is expected")));
        }
        if !self.dynamic_weight {
            return Ok(Pass::default());
        }
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u16>().ok());
        let wrong = || Failure::Answer(format!("{shown} does not say a weight: a number from 0 to 65535"));
        Ok(Pass::with(Weight::Of(number.ok_or_else(wrong)?.into())))
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    // A pipe would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| error.to_string())?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err("it is no ordinary file".to_owned());
    }
    let mut text = Vec::new();
    file.take(ANSWER_MAX as u64).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}
