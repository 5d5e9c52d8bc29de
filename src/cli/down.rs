//! `hub down`: stop the daemon, and come back when nothing of it is left.
//!
//! In: nothing. Out: that it is gone. Owns nothing. May not: kill anything; a daemon that does not stop is reported.

use bytes::Bytes;

use crate::control::proto::Done;
use crate::limits;
use crate::platform::family::{self, Seen};
use crate::platform::sockets::control_owner;

use super::failure::{Exit, Failure};
use super::resolve::Setting;

pub(super) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let socket = &setting.dirs.control_socket;
    let pid = control_owner(socket);
    let process = pid.and_then(|pid| Some(Seen { pid, start: family::start_of(pid)? }));
    let Done { .. } = setting.client.post("/v1/stop", Bytes::new()).await?;
    // It is gone when it has let go of its lock and, where that can be seen, its process has ended.
    let gone = async {
        while control_owner(socket).is_some() || process.is_some_and(family::lives) {
            tokio::time::sleep(limits::DOWN_LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(limits::DOWN_PATIENCE, gone).await.is_err() {
        let failure = Failure::new(Exit::Failed, "hub was told to stop, and still runs");
        return Err(match pid {
            Some(pid) => failure.hint(format!("see its log; `kill -9 {pid}` ends it and everything it started")),
            None => failure,
        });
    }
    setting.out.line("hub is down")
}
