//! Where the pinned packages are, and what to do when they are not.
//!
//! In: `HUB_TEST_ENV` (default `.test-env` at the top), `HUB_REQUIRE_REAL`, `HUB_BIN`. Out: paths of programs. State:
//! none. May not: install anything; that is `scripts/test-env`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The installed packages.
#[derive(Debug, Clone)]
pub struct TestEnv {
    root: PathBuf,
}

/// The top of the project.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The binary under test.
pub fn hub_binary() -> PathBuf {
    std::env::var_os("HUB_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_hub")), |bin| top().join(bin))
}

impl TestEnv {
    /// The environment, or `None` (said on stderr) where it is not installed and nobody insists on it.
    pub fn find() -> Option<Self> {
        let root = std::env::var_os("HUB_TEST_ENV").map_or_else(|| PathBuf::from(".test-env"), PathBuf::from);
        let root = top().join(root);
        if root.join("stamp").is_file() {
            return Some(Self { root });
        }
        let missing = format!("{} is not installed: run scripts/test-env", root.display());
        assert!(std::env::var_os("HUB_REQUIRE_REAL").is_none_or(|v| v != "1"), "{missing}");
        eprintln!("\n*** SKIPPED, NOT TESTED: {missing} ***\n");
        None
    }

    /// The folder with npm's packages.
    pub fn npm(&self) -> PathBuf {
        self.root.join("npm")
    }

    /// A program that an npm package installs.
    pub fn npm_program(&self, name: &str) -> PathBuf {
        self.npm().join("node_modules/.bin").join(name)
    }

    /// An AI client.
    pub fn ai_client(&self, name: &str) -> PathBuf {
        self.root.join("clients/node_modules/.bin").join(name)
    }

    /// A program of one of the two Python environments, `mcp1` and `mcp2`.
    pub fn python_program(&self, client: &str, name: &str) -> PathBuf {
        self.root.join(client).join("bin").join(name)
    }

    /// The client and server on rmcp.
    pub fn rmcp(&self) -> PathBuf {
        self.root.join("rmcp/debug/hub-test-rmcp")
    }

    /// The pinned Node.
    pub fn node(&self) -> PathBuf {
        self.root.join("bin/node")
    }

    /// `PATH` with the pinned Node first.
    pub fn path(&self) -> std::ffi::OsString {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.root.join("bin")).chain(std::env::split_paths(&before));
        std::env::join_paths(all).unwrap()
    }

    /// A command in a home of its own, so that nothing of the user's is read or written.
    pub fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("PATH", self.path())
            .env("HUB_TEST_ENV", &self.root)
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_STATE_HOME", home.join(".local/state"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .env("HUB_STATE_DIR", home.join("state"))
            .env_remove("HUB_CONFIG")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("npm_config_update_notifier", "false")
            .env("npm_config_offline", "true")
            .env("npm_config_cache", home.join("npm-cache"))
            .current_dir(home);
        command
    }
}
