//! Secrets in files: read for each call, so that a new one counts at once, and shown nowhere.

use super::caller::Failed;

/// A file's text without the line break at its end.
pub(super) async fn read(path: &str) -> Result<String, Failed> {
    // It may be written anew at this moment.
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| Failed::for_now(format!("{path}: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(Failed::for_now(format!("{path} is empty"))) } else { Ok(text.to_owned()) }
}
