//! The PATH that this user's login shell would give: what version managers (nvm, asdf, pyenv, Homebrew) add there, no
//! service manager knows.
//!
//! In: `SHELL`, the user database, the shell's own files. Out: a PATH, or why the shell gave none. Owns the shell while it
//! runs. May not: run longer than it is told, leave a process of a shell that hangs, or believe what else it prints.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::family::{self, ENV_RUN, Marks};

/// What a shell may print before its PATH: a login that says more says nothing else.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// A shell that has told its PATH has this long to leave.
const LEAVE: Duration = Duration::from_secs(1);
/// Where a login begins; the shell's files add to it.
const BASE_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// What a login would set. Anything else may belong to one terminal alone (a virtual environment, a `nix-shell`).
const KEPT: [&str; 8] = ["HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "ZDOTDIR", "SSH_AUTH_SOCK"];

/// A PATH, and the shell that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// As the shell has it.
    pub path: String,
    /// The shell.
    pub shell: PathBuf,
}

/// Why there is no PATH. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or cannot be started.
    #[error("{} cannot be started", .shell.display())]
    Start {
        /// The shell.
        shell: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Its start-up files hang: they ask something, or wait for the network.
    #[error("{} did not finish its start-up files within {} s", .shell.display(), .patience.as_secs())]
    Slow {
        /// The shell.
        shell: PathBuf,
        /// How long it had.
        patience: Duration,
    },
    /// It ended, or printed no PATH.
    #[error("{} told no PATH", .shell.display())]
    Nothing {
        /// The shell.
        shell: PathBuf,
    },
}

/// Asks this user's shell, as a login would start it, for at most `patience`. Needs a tokio runtime.
pub async fn capture(patience: Duration) -> Result<Captured, Error> {
    ask(&login_shell(), patience).await
}

/// `$SHELL`, else that of the user database.
fn login_shell() -> PathBuf {
    let named = std::env::var_os("SHELL").filter(|shell| Path::new(shell).is_absolute()).map(PathBuf::from);
    let known = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok()??.shell.into();
    named.or_else(known).filter(|shell: &PathBuf| shell.is_absolute()).unwrap_or_else(|| "/bin/sh".into())
}

async fn ask(shell: &Path, patience: Duration) -> Result<Captured, Error> {
    let mut random = [0_u8; 8];
    // A marker that is not random is still one that no start-up file prints.
    getrandom::fill(&mut random).ok();
    let mark = random.iter().fold("hub-path-".to_owned(), |mark, byte| format!("{mark}{byte:02x}"));
    let mut child = start(shell, &mark).map_err(|error| Error::Start { shell: shell.to_owned(), error })?;
    let told = tokio::time::timeout(patience, listen(&mut child, &mark)).await;
    end(child, &mark, told.is_ok()).await;
    match told {
        Err(_elapsed) => Err(Error::Slow { shell: shell.to_owned(), patience }),
        Ok(None) => Err(Error::Nothing { shell: shell.to_owned() }),
        Ok(Some(path)) => Ok(Captured { path, shell: shell.to_owned() }),
    }
}

/// Options and command of a shell, by its name.
fn words(shell: &Path, mark: &str) -> Vec<String> {
    let name = shell.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let (options, value): (&[&str], _) = match name {
        "fish" => (&["-l", "-i", "-c"], "(string join : $PATH)"),
        // With these, -l may not stand beside others; their files are read anyway.
        "csh" | "tcsh" => (&["-c"], "\"$PATH\""),
        "nu" => {
            let command = format!("print $\"{mark}($env.PATH | str join ':'){mark}\"");
            return vec!["-l".to_owned(), "-c".to_owned(), command];
        }
        _ => (&["-l", "-i", "-c"], "\"$PATH\""),
    };
    let command = format!("printf '%s%s%s\\n' {mark} {value} {mark}");
    options.iter().map(|&option| option.to_owned()).chain([command]).collect()
}

fn start(shell: &Path, mark: &str) -> io::Result<Child> {
    let mut command = Command::new(shell);
    command.args(words(shell, mark)).env_clear().env("PATH", BASE_PATH).env("SHELL", shell).env("TERM", "dumb");
    let is_kept = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        KEPT.contains(&name) || name.starts_with("LC_") || name.starts_with("XDG_")
    };
    command.envs(std::env::vars_os().filter(|(name, _)| is_kept(name)));
    // By its marks everything that it started is found, should it hang.
    command.env(ENV_RUN, mark);
    command.current_dir(super::dirs::home_to_start_in());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[expect(unsafe_code, reason = "code between fork and exec")]
    // SAFETY: setsid is async-signal-safe and does not allocate.
    unsafe {
        // Without a terminal it cannot take this one, and its group is its own.
        command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?));
    }
    command.spawn()
}

/// Reads until the PATH is there. The end of the output is not waited for: what a start-up file left in the background
/// may hold it open for ever.
async fn listen(child: &mut Child, mark: &str) -> Option<String> {
    let mut stdout = child.stdout.take()?;
    let mut output = Vec::new();
    loop {
        if let Some(path) = between(&output, mark) {
            return Some(path);
        }
        let read = tokio::select! {
            read = stdout.read_buf(&mut output) => read,
            // What it wrote is in the pipe already.
            _ = child.wait() => match tokio::time::timeout(LEAVE, stdout.read_to_end(&mut output)).await {
                _ if output.len() < OUTPUT_BYTES_MAX => return between(&output, mark),
                _ => return None,
            },
        };
        if output.len() >= OUTPUT_BYTES_MAX || read.is_ok_and(|bytes| bytes == 0) {
            return between(&output, mark);
        }
    }
}

/// The last text between two marks that can be a PATH.
fn between(output: &[u8], mark: &str) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let parts: Vec<&str> = text.split(mark).collect();
    // What stands before the first and after the last mark is noise.
    let inner = parts.get(1..parts.len().saturating_sub(1))?;
    let is_path = |text: &&str| {
        !text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)
            && text.split(':').any(|folder| folder.starts_with('/'))
    };
    inner.iter().rev().copied().find(is_path).map(str::to_owned)
}

/// Ends the shell: by itself if it was well, else with all that came from it.
async fn end(mut child: Child, mark: &str, was_well: bool) {
    let Some(leader) = child.id() else { return };
    if was_well && tokio::time::timeout(LEAVE, child.wait()).await.is_ok() {
        return;
    }
    let marks = Marks { run: mark.to_owned(), child: None };
    // Outside of its group first: with their parent they would lose what tells them from strangers.
    let killed = tokio::task::spawn_blocking(move || {
        family::signal_outside_group(&marks, leader, Signal::SIGKILL);
        super::process::signal_group(leader, Signal::SIGKILL);
    });
    killed.await.ok();
    child.wait().await.ok();
}

/// The directories of a PATH that mean the same from everywhere, each once, in order.
pub fn directories(path: &OsStr) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
        if !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// The PATH of this process.
pub fn current() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| BASE_PATH.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A program that is called as a shell would be: `$MARK` is the marker of its command.
    fn shell(folder: &Path, name: &str, body: &str) -> PathBuf {
        let path = folder.join(name);
        let mark = "for last; do :; done; MARK=$(printf '%s' \"$last\" | grep -o 'hub-path-[0-9a-f]*' | head -n 1)";
        let draft = folder.join("draft");
        fs::write(&draft, format!("#!/bin/sh\n{mark}\n{body}\n")).expect("a file");
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("mode");
        fs::rename(draft, &path).expect("renamed");
        path
    }

    async fn told(shell: &Path) -> Result<String, Error> {
        // Another test's fork may hold the script open for writing for a moment.
        for _ in 0..50 {
            match ask(shell, PATIENCE).await {
                Err(Error::Start { error, .. }) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                told => return told.map(|captured| captured.path),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        unreachable!("nobody writes to it any more");
    }

    #[tokio::test]
    async fn real_shells_are_asked_as_a_login_starts_them() {
        for name in ["sh", "bash", "zsh", "dash", "fish", "tcsh"] {
            let Some(file) =
                ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|file| file.exists())
            else {
                continue;
            };
            let path = told(&file).await.expect("a PATH");
            assert!(path.split(':').any(|folder| folder == "/usr/bin"), "{name}: {path}");
        }
    }

    #[tokio::test]
    async fn noise_around_it_is_no_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let noisy = shell(
            folder.path(),
            "zsh",
            "echo 'Welcome to /usr'; echo \"$last\"; printf '\\033[1mhi %s/a b:/c%s bye' $MARK $MARK; echo more",
        );
        assert_eq!(told(&noisy).await.expect("a PATH"), "/a b:/c");
        for silent in
            ["exit 0", "echo /usr/bin; exit 3", "echo \"$last\"", "echo $MARK$MARK", "printf '%s/a\\n/b%s' $MARK $MARK"]
        {
            let silent = shell(folder.path(), "bash", silent);
            assert!(matches!(told(&silent).await, Err(Error::Nothing { .. })));
        }
        assert!(matches!(told(&folder.path().join("none")).await, Err(Error::Start { .. })));
    }

    #[tokio::test]
    async fn what_a_start_up_file_leaves_in_the_background_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let agent = shell(folder.path(), "bash", "sleep 3 & printf '%s/x%s\\n' $MARK $MARK");
        let begun = Instant::now();
        assert_eq!(told(&agent).await.expect("a PATH"), "/x");
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let pids = folder.path().join("pids");
        let body = format!(
            "sleep 600 & echo $! >{0}; setsid sleep 600 & echo $$ >>{0}; trap '' TERM; sleep 600",
            pids.display()
        );
        let hanging = shell(folder.path(), "sh", &body);
        let begun = Instant::now();
        let outcome = ask(&hanging, Duration::from_millis(700)).await;
        assert!(matches!(outcome, Err(Error::Slow { .. })), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        for pid in fs::read_to_string(&pids).expect("pids").lines() {
            let pid: u32 = pid.parse().expect("a pid");
            // Those that were adopted are reaped by another.
            for _ in 0..100 {
                if family::start_of(pid).is_none() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(family::start_of(pid).is_none_or(|start| !family::lives(family::Seen { pid, start })), "{pid}");
        }
    }

    #[test]
    fn each_shell_has_its_words() {
        let words = |shell: &str| words(Path::new(shell), "M").join(" ");
        assert_eq!(words("/bin/zsh"), "-l -i -c printf '%s%s%s\\n' M \"$PATH\" M");
        assert_eq!(words("/opt/homebrew/bin/fish"), "-l -i -c printf '%s%s%s\\n' M (string join : $PATH) M");
        assert!(words("/bin/tcsh").starts_with("-c printf"));
        assert_eq!(words("/usr/bin/nu"), "-l -c print $\"M($env.PATH | str join ':')M\"");
    }

    #[test]
    fn only_absolute_folders_count_and_only_once() {
        let folders = directories(OsStr::new("/b:/a::.:bin:/b:/c d"));
        assert_eq!(folders, [Path::new("/b"), Path::new("/a"), Path::new("/c d")]);
    }
}
