//! A person with config files of clients, and no daemon.
//!
//! In: files. Out: the `hub` command in this person's environment; what every file holds, and how that changed. Owns the
//! folder. May not: touch anything outside of it.

use super::hub::Output;
use super::setup::{free_ports, hub_binary};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ports that an import of a test may give out.
const PORTS: u16 = 64;

/// Programs that this person has, whatever the machine has. None of them is ever started but git.
const PROGRAMS: [&str; 10] = ["bash", "bunx", "docker", "node", "npm", "npx", "php", "python3", "uv", "uvx"];

/// What a folder holds: each path below it with its permission bits and its bytes.
pub type Tree = BTreeMap<PathBuf, (u32, Thing)>;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A folder.
    Folder,
    /// A file with these bytes.
    File(Vec<u8>),
    /// A link to there.
    Link(PathBuf),
}

/// See the module.
pub struct User {
    dir: tempfile::TempDir,
    /// Variables of this person.
    pub env: Vec<(String, String)>,
    /// The hub port; servers get those after it.
    pub port: u16,
}

impl User {
    /// Nobody has any file yet but a hub.toml that says which ports are free. Folders: `home`, `project` (the current one),
    /// `other` (another project), `hub`, `bin`.
    pub fn new() -> Self {
        let user = Self::without_config();
        user.write("hub/hub.toml", user.hub_head().as_bytes());
        user
    }

    /// As [`User::new`], without a hub.toml.
    pub fn without_config() -> Self {
        let dir = tempfile::Builder::new().prefix("hub-it-").tempdir().expect("a folder");
        for folder in ["home", "project", "other", "hub"] {
            fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let user = Self { dir, env: Vec::new(), port: free_ports(PORTS) };
        for program in PROGRAMS {
            user.write(&format!("bin/{program}"), b"#!/bin/sh\nexit 1\n");
            user.chmod(&format!("bin/{program}"), 0o755);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let git = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|git| git.exists());
        std::os::unix::fs::symlink(git.expect("git is installed"), user.path("bin/git")).expect("a link");
        user
    }

    /// The ports of this test, as hub.toml.
    pub fn hub_head(&self) -> String {
        format!("[hub]\nport = {}\nfirst_port = {}\n", self.port, self.port + 1)
    }

    /// The folder of everything, without links in its path.
    pub fn root(&self) -> PathBuf {
        fs::canonicalize(self.dir.path()).expect("a folder")
    }

    /// A path in the folder. `config/…` is below the system's folder for settings.
    pub fn path(&self, name: &str) -> PathBuf {
        let settings = if cfg!(target_os = "macos") { "home/Library/Application Support" } else { "home/.config" };
        let name = name.strip_prefix("config/").map_or(name.to_owned(), |below| format!("{settings}/{below}"));
        self.root().join(name)
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
    }

    /// The text of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|problem| panic!("{name}: {problem}"))
    }

    /// Sets permission bits.
    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// Makes a repository of a folder, with these files in its index.
    pub fn git_add(&self, folder: &str, files: &[&str]) {
        for args in [&["init", "-q"][..], &[&["add", "-f", "--"], files].concat()] {
            let mut git = Command::new("git");
            git.arg("-C").arg(self.path(folder)).args(args).env("HOME", self.path("home"));
            assert!(git.status().expect("git can be started").success(), "git {args:?}");
        }
    }

    /// The `hub` of this person, in the project.
    pub fn command(&self) -> Command {
        let mut command = Command::new(hub_binary());
        command.env_clear().env("PATH", self.path("bin")).env("RUST_BACKTRACE", "1");
        command.env("HOME", self.path("home")).env("HUB_CONFIG", self.path("hub/hub.toml"));
        command.env("HUB_STATE_DIR", self.path("state"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.path("project")).stdin(Stdio::null());
        command
    }

    /// Runs a verb and waits for its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        let output = self.command().args(args).output().expect("hub can be started");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a verb that must succeed.
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.cli(args);
        assert_eq!(output.code, 0, "hub {args:?}: {output:?}");
        output
    }

    /// Everything that is there now.
    pub fn tree(&self) -> Tree {
        let root = self.root();
        let mut tree = Tree::new();
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").flatten() {
                let path = entry.path();
                let found = fs::symlink_metadata(&path).expect("it is there");
                let thing = if found.is_symlink() {
                    Thing::Link(fs::read_link(&path).expect("a link"))
                } else if found.is_dir() {
                    open.push(path.clone());
                    Thing::Folder
                } else {
                    Thing::File(fs::read(&path).expect("a file"))
                };
                let name = path.strip_prefix(&root).expect("below").to_owned();
                tree.insert(name, (found.permissions().mode() & 0o7777, thing));
            }
        }
        tree
    }
}

/// The paths at which two trees differ, `.git` aside.
pub fn differences(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let all: std::collections::BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
    let is_git = |path: &Path| path.components().any(|part| part.as_os_str() == ".git");
    all.into_iter().filter(|path| before.get(*path) != after.get(*path) && !is_git(path)).cloned().collect()
}
