//! Keeps hub's own log file small while hub runs in the background.
//!
//! In: time. Out: a fresh file when the old one is large. Owns nothing. May not: touch output that is not this file.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::limits::{LOG_FILE_BYTES_MAX, OWN_LOG_LOOK_EVERY};
use crate::platform::output;

/// Looks now and then until `stop`, if stderr is that file.
pub(super) async fn keep_bounded(path: PathBuf, stop: CancellationToken) {
    if !output::is_stderr(&path) {
        return;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(OWN_LOG_LOOK_EVERY) => {}
        }
        let path = path.clone();
        let rotated = tokio::task::spawn_blocking(move || {
            // Somebody may have moved it away: then what is written now goes to that file, until hub starts again.
            let due = output::is_stderr(&path) && output::rotate(&path, LOG_FILE_BYTES_MAX)?;
            if due { output::redirect(&path) } else { Ok(()) }
        });
        if let Ok(Err(error)) = rotated.await {
            tracing::warn!(%error, "hub's own log file cannot be kept small");
        }
    }
}
