//! `hub down`: stop the daemon, come back when nothing of it runs, and say what is left of it.
//!
//! In: nothing. Out: that it is gone, and where its files are. Owns nothing. May not: kill anything (a daemon that does
//! not stop is reported), or remove what an undo or a next start could need.

use crate::control::client;
use crate::platform::detached;
use crate::service::install;
use crate::service::leftovers::{self, Kept};

use super::failure::Failure;
use super::resolve::Setting;

pub(super) async fn run(setting: &Setting<'_>) -> Result<(), Failure> {
    let was_up = install::stop(&setting.dirs).await?;
    let needed = leftovers::needed(&setting.dirs);
    let moved_out = needed.is_empty() && leftovers::is_moved_out(&setting.dirs);
    if was_up {
        setting.out.line("hub is down")?;
    } else if !moved_out {
        return Err(client::Error::NotRunning { socket: setting.dirs.control_socket.clone() }.into());
    }
    if moved_out { nothing_is_left(setting) } else { told(&needed, setting) }
}

/// An undo took the configuration back: what hub made for itself means nothing to anybody.
fn nothing_is_left(setting: &Setting<'_>) -> Result<(), Failure> {
    let left = leftovers::remove(&setting.dirs);
    let program = detached::lasting_program().map(|path| path.display().to_string()).unwrap_or_default();
    if left.is_empty() {
        return setting.out.line(&format!("nothing of hub is left on this machine but the program: {program}"));
    }
    setting.out.line("hub has removed its state; left, because it is not its own or cannot be removed:")?;
    left.iter().try_for_each(|path| setting.out.line(&format!("  {}", path.display())))
}

fn told(needed: &[Kept], setting: &Setting<'_>) -> Result<(), Failure> {
    let out = setting.out;
    let line = |what: &str, path: &std::path::Path| out.line(&format!("  {what:<8} {}", path.display()));
    out.line("what is kept:")?;
    for kept in needed {
        match kept {
            Kept::Config(path) => line("config", path)?,
            Kept::Backups(path) => line("backups", path)?,
            Kept::Service(path) => line("service", path)?,
            Kept::Running => out.line("  somebody has started hub again")?,
        }
    }
    line("state", &setting.dirs.state_dir)?;
    match needed {
        _ if needed.iter().any(|kept| matches!(kept, Kept::Service(_))) => {
            out.line("it starts again at the next login; `hub service uninstall` ends that")
        }
        _ if needed.iter().any(|kept| matches!(kept, Kept::Backups(_))) => out
            .line("`hub up` starts it again; `hub undo` takes the import back, and `hub down` then removes all of it"),
        _ => out.line("`hub up` starts it again"),
    }
}
