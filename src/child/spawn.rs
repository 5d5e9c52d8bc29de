//! From "what to run" to a running [`Child`], or a reason that a person can act on.
//!
//! In: a [`Start`]. Out: a [`Child`] or a [`SpawnError`]. Owns the serial number of children. May not: retry.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use nix::errno::Errno;

use super::environment::with_marks;
use super::logs::LogFiles;
use super::stderr::Stderr;
use super::stop::Stop;
use super::{Child, Executable, ExitStage, Journal};
use crate::limits;
use crate::mcp::line::LineFramer;
use crate::platform::family::Marks;
use crate::platform::guardian::Guardian;
use crate::platform::pipe::{PipeReader, PipeWriter};
use crate::platform::process::{self, Program};

/// What to run, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The server's name.
    pub server: &'a str,
    /// Which start of its instance this is.
    pub generation: u64,
    /// A name to look up in the child's own `PATH`, or a path (relative ones from `cwd`).
    pub program: &'a str,
    /// Arguments.
    pub args: &'a [String],
    /// The complete environment, see [`super::full_environment`]. Markers are added.
    pub env: &'a [(OsString, OsString)],
    /// Working folder; must exist.
    pub cwd: &'a Path,
    /// Values that must not appear in the stderr tail or the log file.
    pub secrets: &'a [String],
    /// Where stderr lines go besides the tail.
    pub logs: Option<&'a LogFiles>,
    /// Where the process is noted for the next daemon's clean-up.
    pub journal: Option<&'a Journal>,
}

/// Why a child could not be started. The texts are shown to people.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such name in any folder of the child's `PATH`.
    #[error("{program} is not on PATH={path}")]
    NotOnPath {
        /// What was looked for.
        program: String,
        /// Where.
        path: String,
    },
    /// The named file is not there.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// A folder, or a file without permission to execute.
    #[error("{} is not executable", .0.display())]
    NotExecutable(PathBuf),
    /// The file is there, but what its `#!` line (or its ELF header) names is not.
    #[error("{} needs an interpreter that does not exist{}", .file.display(), .interpreter.as_ref().map(|name| format!(": {name}")).unwrap_or_default())]
    NoInterpreter {
        /// The program.
        file: PathBuf,
        /// What its `#!` line names, if it has one.
        interpreter: Option<String>,
    },
    /// Not a program, or one for another machine (ENOEXEC).
    #[error("{} cannot run on this machine: it is empty, no program, or built for another architecture", .0.display())]
    WrongFormat(PathBuf),
    /// The working folder is missing or no folder.
    #[error("the working folder {} {problem}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// "does not exist", "is not a folder", "may not be entered".
        problem: &'static str,
    },
    /// Arguments and environment exceed what the system takes (E2BIG).
    #[error("arguments and environment are too large for the system ({0} bytes)")]
    TooLarge(usize),
    /// A NUL byte in a name, argument or variable.
    #[error("the command, an argument or a variable contains a NUL byte")]
    NulByte,
    /// Out of processes, memory or descriptors: may pass.
    #[error("the system is out of processes, memory or open files")]
    Exhausted(#[source] io::Error),
    /// The guardian could not be told, so the child was not started.
    #[error("the guardian process cannot be reached")]
    Guardian(#[source] io::Error),
    /// Anything else that the system said.
    #[error("cannot start {}", .file.display())]
    System {
        /// The program.
        file: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

impl SpawnError {
    /// Could the same start succeed later without any change to configuration or files?
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Exhausted(_) | Self::Guardian(_))
    }
}

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

pub(super) fn spawn(start: &Start<'_>, guardian: &Guardian) -> Result<Child, SpawnError> {
    check_folder(start.cwd)?;
    let file = find_program(start)?;
    check_format(&file)?;
    let executable = executable(&file);
    // Instances of one server count their generations separately; the serial number tells their children apart.
    let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
    let child = format!("{}.{}.{serial}", start.server, start.generation);
    let marks = Marks { run: guardian.run_id().to_owned(), child: Some(child) };
    let env = with_marks(start.env, &marks, start.server);
    let program = Program { file: &file, name: OsStr::new(start.program), args: start.args, env: &env, cwd: start.cwd };
    let (process, pipes) = start_process(&program, guardian)?;
    let pid = process.pid();
    guardian.adopt(pid);
    if let Some(journal) = start.journal {
        journal.started(pid, start.server, start.generation);
    }
    let wrap = |error| SpawnError::System { file: file.clone(), error };
    let logs = start.logs.map(|logs| logs.log_of(start.server, start.generation));
    let parts =
        (|| Ok((PipeWriter::new(pipes.stdin)?, PipeReader::new(pipes.stdout)?, PipeReader::new(pipes.stderr)?)))();
    let (stdin, stdout, stderr) = match parts {
        Ok(parts) => parts,
        Err(error) => {
            let guardian = guardian.clone();
            process.abandon(move || guardian.forget(pid));
            return Err(wrap(error));
        }
    };
    Ok(Child {
        process: Some(process),
        pid,
        generation: start.generation,
        executable,
        marks,
        guardian: guardian.clone(),
        journal: start.journal.cloned(),
        stdin,
        stdin_reported: false,
        stdout,
        stdout_open: true,
        framer: LineFramer::new(limits::LINE_BYTES_MAX),
        too_long: false,
        stderr: Stderr::new(stderr, logs, start.secrets),
        stop: Stop::new(),
        events_since_look: 0,
        exit: ExitStage::Running,
    })
}

/// Starts it, once more with a new guardian if the present one is dead.
fn start_process(program: &Program<'_>, guardian: &Guardian) -> Result<(process::Process, process::Pipes), SpawnError> {
    for attempt in 0..2 {
        let channel = guardian.fd_for_child().map_err(SpawnError::Guardian)?;
        match process::spawn(program, &channel) {
            Ok(started) => return Ok(started),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && attempt == 0 => {
                guardian.revive().map_err(SpawnError::Guardian)?;
            }
            Err(error) => return Err(explain(program, error)),
        }
    }
    Err(SpawnError::Guardian(io::ErrorKind::BrokenPipe.into()))
}

fn explain(program: &Program<'_>, error: io::Error) -> SpawnError {
    let file = program.file.to_owned();
    match error.raw_os_error().map(Errno::from_raw) {
        None if error.kind() == io::ErrorKind::InvalidInput => SpawnError::NulByte,
        Some(Errno::E2BIG) => SpawnError::TooLarge(exec_bytes(program)),
        Some(Errno::ENOEXEC) => SpawnError::WrongFormat(file),
        // The file was found a moment ago, so it is its interpreter that was not.
        Some(Errno::ENOENT) => SpawnError::NoInterpreter { interpreter: interpreter(&file), file },
        Some(Errno::EACCES) => SpawnError::NotExecutable(file),
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => SpawnError::Exhausted(error),
        Some(Errno::EPIPE) => SpawnError::Guardian(error),
        _ => SpawnError::System { file, error },
    }
}

fn exec_bytes(program: &Program<'_>) -> usize {
    let args: usize = program.args.iter().map(|arg| arg.len() + 1).sum();
    let env: usize = program.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    args + env
}

// === looking before starting ===

fn check_folder(folder: &Path) -> Result<(), SpawnError> {
    let problem = match fs::metadata(folder) {
        Ok(found) if !found.is_dir() => "is not a folder",
        Ok(_) if nix::unistd::access(folder, nix::unistd::AccessFlags::X_OK).is_err() => "may not be entered",
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => "may not be entered",
        Err(_) => "does not exist",
    };
    Err(SpawnError::Folder { folder: folder.to_owned(), problem })
}

/// The file to execute: as a shell would find it with the child's own `PATH` and working folder.
fn find_program(start: &Start<'_>) -> Result<PathBuf, SpawnError> {
    if start.program.contains('/') {
        let file = start.cwd.join(start.program);
        return match fs::metadata(&file) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Ok(file),
            Ok(_) => Err(SpawnError::NotExecutable(file)),
            Err(_) => Err(SpawnError::Missing(file)),
        };
    }
    let path = start.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let found = which::which_in(start.program, path, start.cwd);
    found.map_err(|_not_found| SpawnError::NotOnPath {
        program: start.program.to_owned(),
        path: path.unwrap_or_default().to_string_lossy().into_owned(),
    })
}

/// What it is now: a later look could see another one.
fn executable(file: &Path) -> Executable {
    let found = fs::metadata(file).ok();
    let modified = found.as_ref().and_then(|found| found.modified().ok()).unwrap_or(SystemTime::UNIX_EPOCH);
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    Executable { path, size: found.map_or(0, |found| found.len()), modified }
}

/// Refuses what exec would hand to a shell as a script although it cannot be one: nothing, or a foreign binary.
fn check_format(file: &Path) -> Result<(), SpawnError> {
    let Some(head) = head(file) else { return Ok(()) };
    let foreign = || matches!((machine(&head), own_machine()), (Some(its), Some(own)) if !runs_on(its, own));
    if head.is_empty() || (foreign() && !emulation()) {
        return Err(SpawnError::WrongFormat(file.to_owned()));
    }
    Ok(())
}

/// The first bytes of a file. `None`: it may not be read (it may still be executed).
fn head(file: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(file).ok()?.take(256).read_to_end(&mut head).ok()?;
    Some(head)
}

/// The machine of an ELF header (`e_machine`), in the byte order of all systems that hub runs on.
fn machine(head: &[u8]) -> Option<u16> {
    let code = head.strip_prefix(b"\x7fELF")?.get(14..16)?;
    Some(u16::from_le_bytes([code[0], code[1]]))
}

fn own_machine() -> Option<u16> {
    machine(&head(&std::env::current_exe().ok()?)?)
}

/// 64-bit kernels run their 32-bit relatives: i386 (3) on x86-64 (62), ARM (40) on AArch64 (183).
fn runs_on(its: u16, own: u16) -> bool {
    its == own || matches!((its, own), (3, 62) | (40, 183))
}

/// Can the kernel run foreign binaries through an emulator? Then exec must decide.
fn emulation() -> bool {
    let entries = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
}

/// What the `#!` line of a script names.
fn interpreter(file: &Path) -> Option<String> {
    let head = head(file)?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}
