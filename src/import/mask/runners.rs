//! Programs that run another one, and how their command lines say which. Data, and nothing but.
//!
//! In: the name of a program. Out: its [`Runner`]. Owns no state. PURE. May not: guess: an option that is not listed may
//! have a value or none, and the word behind it may be a secret.

/// How the command line of a program names what it runs.
#[derive(Debug)]
pub(super) struct Runner {
    programs: &'static [&'static str],
    /// Words of its own that may stand before: `run`.
    pub verbs: &'static [&'static str],
    /// Options without a value.
    pub bare: &'static [&'static str],
    /// Options whose value names no program.
    pub valued: &'static [&'static str],
    /// Options whose value is a package that is needed too.
    pub naming: &'static [&'static str],
    /// Options whose value is what runs, with only arguments behind it.
    pub module: &'static [&'static str],
    /// Options whose value is a script of a shell.
    pub script: &'static [&'static str],
    /// What the first word is that is none of these.
    pub first: First,
}

/// What the first word is that no option or verb explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A program or a package: with what follows a command line of its own.
    Command,
    /// An image, a container or a service; `-e NAME` passes a variable on.
    Image,
    /// A file.
    File,
}

const NONE: Runner = Runner {
    programs: &[],
    verbs: &[],
    bare: &[],
    valued: &[],
    naming: &[],
    module: &[],
    script: &[],
    first: First::Command,
};

/// Options of package runners that take no value.
const PACKAGE_BARE: &[&str] = &[
    "-y",
    "--yes",
    "-q",
    "--quiet",
    "-s",
    "--silent",
    "--no",
    "--no-install",
    "--prefer-offline",
    "--prefer-online",
    "--offline",
    "--ignore-existing",
    "--bun",
    "--verbose",
    "--no-update-notifier",
    "--no-audit",
    "--no-fund",
    "--prerelease",
];
const PACKAGE_VALUED: &[&str] =
    &["--prefix", "--dir", "-C", "--cwd", "--registry", "--cache", "--userconfig", "--workspace"];
const UV_BARE: &[&str] = &[
    "-q",
    "--quiet",
    "-v",
    "--verbose",
    "-n",
    "--no-cache",
    "-U",
    "--upgrade",
    "--refresh",
    "--reinstall",
    "--isolated",
    "--offline",
    "--no-progress",
    "--native-tls",
    "--no-config",
    "--no-project",
    "--frozen",
    "--locked",
    "--no-sync",
    "--no-dev",
    "--no-env-file",
    "--active",
    "--all-extras",
    "-s",
    "--script",
    "--no-build",
];
const UV_VALUED: &[&str] = &[
    "-p",
    "--python",
    "--directory",
    "--project",
    "--extra",
    "--group",
    "--env-file",
    "--cache-dir",
    "--config-file",
    "--with-requirements",
    "--index-url",
    "-i",
    "--extra-index-url",
    "--index",
    "--default-index",
];
const UV_NAMING: &[&str] = &["--from", "--with", "-w", "--with-editable", "--spec", "--refresh-package", "--package"];

static RUNNERS: &[Runner] = &[
    Runner {
        programs: &["npx", "pnpx", "bunx", "dnx"],
        bare: PACKAGE_BARE,
        valued: PACKAGE_VALUED,
        naming: &["-p", "--package"],
        ..NONE
    },
    Runner {
        programs: &["npm", "pnpm", "yarn", "bun"],
        verbs: &["run", "run-script", "exec", "x", "dlx"],
        bare: PACKAGE_BARE,
        valued: PACKAGE_VALUED,
        naming: &["-p", "--package"],
        ..NONE
    },
    Runner { programs: &["uvx"], bare: UV_BARE, valued: UV_VALUED, naming: UV_NAMING, ..NONE },
    Runner {
        programs: &["uv", "pipx"],
        verbs: &["run", "tool", "x"],
        bare: UV_BARE,
        valued: UV_VALUED,
        naming: UV_NAMING,
        module: &["-m", "--module"],
        ..NONE
    },
    Runner {
        programs: &["docker", "podman", "nerdctl", "docker-compose"],
        verbs: &["run", "exec", "container", "compose", "start"],
        bare: &[
            "-i",
            "-t",
            "-it",
            "-ti",
            "-d",
            "-a",
            "-ai",
            "-T",
            "-P",
            "-q",
            "--interactive",
            "--tty",
            "--detach",
            "--rm",
            "--init",
            "--attach",
            "--privileged",
            "--read-only",
            "--no-healthcheck",
            "--no-deps",
            "--no-TTY",
            "--service-ports",
            "--build",
            "--quiet",
            "--quiet-pull",
            "--publish-all",
            "--sig-proxy",
            "--replace",
        ],
        valued: &[
            "-e",
            "--env",
            "--env-file",
            "-v",
            "--volume",
            "--volumes-from",
            "--mount",
            "--tmpfs",
            "--name",
            "--network",
            "--net",
            "--network-alias",
            "--add-host",
            "--dns",
            "-h",
            "--hostname",
            "--ip",
            "-p",
            "--publish",
            "--project-name",
            "--project-directory",
            "--profile",
            "-f",
            "--file",
            "--expose",
            "--entrypoint",
            "-u",
            "--user",
            "--userns",
            "-w",
            "--workdir",
            "--platform",
            "--pull",
            "--restart",
            "--runtime",
            "--gpus",
            "-m",
            "--memory",
            "--cpus",
            "--shm-size",
            "--pids-limit",
            "--ulimit",
            "--cap-add",
            "--cap-drop",
            "--security-opt",
            "--group-add",
            "--device",
            "--ipc",
            "--pid",
            "--uts",
            "-l",
            "--label",
            "--log-driver",
            "--log-opt",
            "--secret",
            "--stop-signal",
            "--stop-timeout",
            "-c",
            "--context",
            "-H",
            "--host",
        ],
        first: First::Image,
        ..NONE
    },
    Runner {
        programs: &["python", "pythonw", "pypy", "py"],
        bare: &["-u", "-s", "-E", "-I", "-O", "-OO", "-B", "-q", "-P", "-v"],
        valued: &["-W", "-X"],
        module: &["-m"],
        first: First::File,
        ..NONE
    },
    Runner {
        programs: &["node", "nodejs", "tsx", "ts-node", "deno", "ruby", "php", "perl", "java", "dotnet", "go", "cargo"],
        verbs: &["run", "exec", "watch"],
        bare: &[
            "-A",
            "-q",
            "--quiet",
            "--allow-all",
            "--allow-net",
            "--allow-read",
            "--allow-write",
            "--allow-env",
            "--allow-run",
            "--allow-sys",
            "--unstable",
            "--no-prompt",
            "--no-lock",
            "--no-check",
            "--no-warnings",
            "--no-deprecation",
            "--enable-source-maps",
            "--experimental-strip-types",
            "--experimental-transform-types",
            "--esm",
            "--release",
            "--no-build",
            "--no-restore",
        ],
        valued: &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
            "--env-file",
            "--config",
            "--tsconfig",
            "--import-map",
            "-cp",
            "-classpath",
            "--manifest-path",
        ],
        module: &["-jar", "--bin", "--project"],
        first: First::File,
        ..NONE
    },
    Runner {
        programs: &["sh", "bash", "zsh", "dash", "fish", "ksh"],
        bare: &["-l", "-i", "-e", "-x", "-u", "--login", "--norc", "--noprofile"],
        script: &["-c", "-lc", "-cl", "-ic", "-ec", "-lic", "-ilc", "-euc"],
        first: First::File,
        ..NONE
    },
    Runner { programs: &["cmd"], bare: &["/c", "/C", "/k", "/K", "/d", "/D", "/s", "/S", "/q", "/Q"], ..NONE },
    Runner {
        programs: &["env", "exec", "sudo", "nohup", "nice", "setsid", "time", "cross-env", "corepack", "wsl"],
        bare: &["-i", "-", "-E", "-n"],
        valued: &["-u", "--unset"],
        ..NONE
    },
    Runner { programs: &["op", "doppler", "infisical", "mise"], verbs: &["run", "exec"], ..NONE },
];

impl Runner {
    /// The runner of a program, whatever folder, suffix or version it has.
    pub(super) fn of(program: &str) -> Option<&'static Self> {
        let name = program.rsplit(['/', '\\']).next().unwrap_or(program).to_ascii_lowercase();
        let name = [".exe", ".cmd", ".bat"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let name = name.split('@').next().unwrap_or(name);
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        RUNNERS.iter().find(|runner| runner.programs.contains(&bare))
    }
}
