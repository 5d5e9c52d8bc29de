//! What was typed, resolved against this user's environment.
//!
//! In: arguments, `HOME`, XDG variables, `HUB_CONFIG`, `HUB_STATE_DIR`. Out: a [`Setting`]. Owns nothing. May not: connect
//! to the daemon, or make a folder.

use std::path::Path;

use crate::control::client::Client;
use crate::platform::dirs::Dirs;

use super::failure::Failure;
use super::out::Out;

/// What a verb works with.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    pub(super) dirs: Dirs,
    pub(super) client: Client,
    pub(super) out: &'a Out,
}

impl<'a> Setting<'a> {
    pub(super) fn resolve(config: Option<&Path>, out: &'a Out) -> Result<Self, Failure> {
        let dirs = Dirs::find(config)?;
        let client = Client::new(&dirs.control_socket);
        Ok(Self { dirs, client, out })
    }
}
