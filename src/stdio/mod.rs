//! The way to hub for clients that speak only stdio: lines on stdin become HTTP requests, answers become lines on stdout.
//!
//! In: the pipes of one client, the folders of a hub, perhaps a server. Out: the same conversation, of either era, over
//! HTTP. Owns the client's session at hub, which ends with the client. May not: write anything but messages to stdout, look
//! into payloads, hold a queue without a bound, or repeat a call that may have run.

mod answer;
mod calls;
mod events;
mod exchange;
mod get;
mod listen;
mod modern;
mod overlong;
mod pipes;
mod post;
mod relay;
mod session;
mod way;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::control::client;
use crate::limits;
use crate::mcp::error::Reason;
use crate::mcp::message::{self, Message};
use crate::mcp::{ErrorObject, Line};
use crate::platform::dirs::Dirs;
use crate::platform::signals::Signals;
use crate::service::install;

use pipes::{Input, Output, Said};
use relay::Relay;
use way::Way;

/// Why there is no bridge. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// hub.toml has no such server.
    #[error("there is no server `{name}` in hub.toml")]
    UnknownServer {
        /// As it was asked for.
        name: String,
        /// What to do about it.
        hint: String,
    },
    /// No daemon runs, and none can be started.
    #[error("hub is not running and cannot be started")]
    Start(#[from] install::Error),
    /// The daemon does not say where it is.
    #[error("cannot ask hub where it listens")]
    Control(#[from] client::Error),
    /// What the daemon says cannot be used.
    #[error("hub says that it listens at {0:?}, which is no address")]
    Address(String),
    /// The system gives no signals or threads.
    #[error("cannot set up the bridge")]
    System(#[from] std::io::Error),
}

/// How a bridge ended.
enum End {
    /// The client closed stdin: what is in flight gets a moment.
    Input,
    /// The client reads no more, or somebody wants the bridge to end: nothing is waited for.
    Now,
}

/// Serves the client on stdin and stdout until it is done. `server`: which one; `None` is all of them together. Starts hub
/// if it is not running.
pub async fn run(dirs: Dirs, server: Option<String>) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let mut input = pipes::read()?;
    let (output, written) = pipes::write()?;
    let way = match Way::find(dirs, server).await {
        Ok(way) => way,
        Err(error) => {
            last_words(&error, &mut input, &output).await;
            drop(output);
            written.wait(limits::STDIO_LAST_WORDS).await;
            return Err(error);
        }
    };
    let relay = Relay::new(way, output);
    let end = tokio::select! {
        () = relay.serve(&mut input) => End::Input,
        () = relay.output_closed() => End::Now,
        // HUP too: there is nothing to reload, and its terminal is gone.
        _wish = signals.next() => End::Now,
    };
    let grace = match end {
        End::Input => limits::STDIO_DRAIN,
        End::Now => Duration::ZERO,
    };
    close(relay, grace).await;
    written.wait(limits::STDIO_LAST_WORDS).await;
    Ok(())
}

/// Lets what is in flight finish, gives the session back, and lets go of stdout.
async fn close(relay: Arc<Relay>, grace: Duration) {
    relay.drain(grace).await;
    if timeout(limits::STDIO_LAST_WORDS, relay.end_session()).await.is_err() {
        tracing::warn!("hub did not take the session back in time");
    }
}

/// The client learns why from the answer to what it has asked already: most show their users no stderr.
async fn last_words(error: &Error, input: &mut Input, output: &Output) {
    let answer = async {
        while let Some(said) = input.next().await {
            let id = match said {
                Said::Line(line) => match message::parse(&line) {
                    Ok(Message::Request(request)) => request.id,
                    _ => continue,
                },
                Said::TooLong(Some(id)) => id,
                Said::TooLong(None) => continue,
            };
            let error = ErrorObject::internal(Reason::ServerUnavailable, format!("hub: {error}"));
            if output.line(Line::new([message::error_bytes(Some(&id), &error)])).await.is_err() {
                return;
            }
        }
    };
    // Cut off when nothing more comes: a client that has not asked yet reads the exit code.
    timeout(limits::STDIO_LAST_WORDS, answer).await.ok();
}
