//! Why servers do not start: what programs say, and what to do about it. PURE.
//!
//! In: the text of a failure, the last lines of stderr among it. Out: a hint. Owns a table. May not: guess where two
//! causes fit equally; the more telling one stands higher.

/// A cause and what to do about it.
#[derive(Debug)]
pub struct Cause {
    /// Its name, for `doctor --json`.
    pub id: &'static str,
    /// Any of these is in the text, in lower case. Words joined by ` & ` must all be.
    says: &'static [&'static str],
    /// What to do.
    pub hint: &'static str,
}

/// The commonest causes, the most telling first.
static CAUSES: &[Cause] = &[
    Cause {
        id: "variable-not-set",
        says: &[": variable & is not set"],
        hint: "set it where hub is started, or write it into an `env_file` of the server; `${NAME:-default}` has a default",
    },
    Cause {
        id: "env-file",
        says: &["`env_file` & cannot be read"],
        hint: "write the file, or take `env_file` out of hub.toml; a relative path begins where hub.toml is",
    },
    Cause {
        id: "docker-not-running",
        says: &[
            "cannot connect to the docker daemon",
            "docker daemon running",
            "docker.sock & connect",
            "docker_engine",
        ],
        hint: "start Docker (or Podman), then `hub restart` the server",
    },
    Cause {
        id: "npm-no-such-package",
        says: &[
            "npm error 404",
            "npm err! 404",
            "e404",
            "not found in the npm registry",
            "npm error code etarget",
            "code etarget",
        ],
        hint: "the package does not exist under this name or version: check the spelling in `args`, and whether it is private",
    },
    Cause {
        id: "python-no-such-package",
        says: &[
            "no solution found when resolving",
            "was not found in the package registry",
            "no matching distribution found",
        ],
        hint: "the package does not exist under this name or version: check the spelling in `args`",
    },
    Cause {
        id: "certificate",
        says: &[
            "self signed certificate",
            "self-signed certificate",
            "unable to get local issuer certificate",
            "invalid peer certificate",
            "certificate_verify_failed",
        ],
        hint: "a proxy replaces certificates: set NODE_EXTRA_CA_CERTS, SSL_CERT_FILE or UV_NATIVE_TLS=1 in the server's `env`",
    },
    Cause {
        id: "registry-unreachable",
        says: &[
            "npm & enotfound",
            "npm & eai_again",
            "npm & etimedout",
            "npm & econnrefused",
            "npm & econnreset",
            "npm error network",
            "npm err! network",
            "failed to fetch & pypi",
            "error sending request for url",
            "dns error",
            "temporary failure in name resolution",
        ],
        hint: "the package registry cannot be reached: check the network and the proxy, or install the package once and name its program in `command`",
    },
    Cause {
        id: "node-version",
        says: &[
            "ebadengine",
            "unsupported engine",
            "requires node",
            "requires a node",
            "syntaxerror: unexpected token",
            "syntaxerror: the requested module",
            "err_require_esm",
            "err_unknown_builtin_module",
        ],
        hint: "the Node that hub finds is too old for it: `hub doctor` shows which one, and the one of your shell",
    },
    Cause {
        id: "node-module-missing",
        says: &["err_module_not_found", "cannot find module", "cannot find package", "module_not_found"],
        hint: "a file or package is missing: is it installed or built (npm install, npm run build), and is `cwd` right? A broken npx cache is emptied with: rm -rf ~/.npm/_npx",
    },
    Cause {
        id: "npx-no-program",
        says: &["could not determine executable to run"],
        hint: "the package has no program of its own name: give it as `npx -y -p PACKAGE PROGRAM`",
    },
    Cause {
        id: "python-module-missing",
        says: &["modulenotfounderror", "no module named", "importerror:"],
        hint: "a Python package is missing in the environment that runs it: `uvx PACKAGE` brings its own; else name the python of the right virtual environment in `command`",
    },
    Cause {
        id: "no-node",
        says: &[
            "npx is not on path",
            "node is not on path",
            "env: node: no such file",
            "env: 'node': no such file",
            "env: ‘node’: no such file",
            "node: command not found",
            "npx: command not found",
            "node: not found",
            "interpreter & node",
        ],
        hint: "Node is not where hub looks: install it (nodejs.org), or if your shell finds it, run `hub service install` again or name the full path in `command`",
    },
    Cause {
        id: "no-uv",
        says: &[
            "uvx is not on path",
            "uv is not on path",
            "uvx: command not found",
            "uv: command not found",
            "uvx: not found",
        ],
        hint: "uv is not where hub looks: install it (docs.astral.sh/uv), or name the full path in `command`",
    },
    Cause {
        id: "no-docker",
        says: &["docker is not on path", "docker: command not found", "podman is not on path"],
        hint: "Docker is not where hub looks: install it, or name the full path in `command`",
    },
    Cause {
        id: "not-on-path",
        says: &["is not on path=", "command not found", "no such file or directory (os error 2)", "spawn & enoent"],
        hint: "hub does not find the program: install it, or name its full path in `command` (`command -v NAME` in your shell shows it)",
    },
    Cause {
        id: "path-wrong",
        says: &[" does not exist", "is not executable", "the working folder", "can't open file", "cannot open file"],
        hint: "check the paths in `command`, `args` and `cwd`; a relative one begins at `cwd`, which is your home unless it is set",
    },
    Cause {
        id: "port-in-use",
        says: &["eaddrinuse", "address already in use", "address in use"],
        hint: "the server wants a port that somebody has: perhaps another copy of it runs outside of hub (`hub doctor --orphans`)",
    },
    Cause {
        id: "credentials",
        says: &[
            "api key",
            "api_key",
            "apikey",
            "api-key",
            "401 unauthorized",
            "status 401",
            "code 401",
            "status code 401",
            "unauthorized",
            "invalid token",
            "bad credentials",
            "access token & required",
            "token is required",
            "token is not set",
            "token not set",
            "environment variable & required",
            "environment variable & not set",
            "environment variable & missing",
            "environment variable & must be",
            "environment variables & required",
            "missing required environment",
            "missing environment variable",
            "must be set",
            "credentials",
        ],
        hint: "it misses a key or token: give it in the server's `env` (`${NAME}` keeps it out of hub.toml) or `env_file`",
    },
    Cause {
        id: "permission",
        says: &["eacces", "permission denied", "eperm"],
        hint: "it may not read, write or run something: see the path in the message; caches that were made with sudo are a common one (~/.npm)",
    },
    Cause {
        id: "disk-full",
        says: &["enospc", "no space left on device"],
        hint: "the disk is full, or inotify watches are used up (fs.inotify.max_user_watches)",
    },
    Cause {
        id: "memory",
        says: &["heap out of memory", "out of memory", "cannot allocate memory"],
        hint: "it ran out of memory: NODE_OPTIONS=--max-old-space-size=4096 in its `env` gives Node more",
    },
    Cause {
        id: "noise",
        says: &["not expected on stdout"],
        hint: "it prints something else than messages on stdout: many have a quiet or stdio switch (`--stdio`, `stdio`) for `args`",
    },
    Cause {
        id: "slow",
        says: &["(startup_timeout)"],
        hint: "it did not answer in time: a first start downloads packages; raise `startup_timeout`, or see `hub logs` for what it waits for",
    },
    Cause {
        id: "wants-arguments",
        says: &[
            "usage:",
            "missing required argument",
            "the following arguments are required",
            "unknown option",
            "unrecognized arguments",
            "error: unexpected argument",
        ],
        hint: "it does not like its arguments: check `args` against its documentation",
    },
];

/// The cause of a failure, if it is one of the common ones.
pub fn cause(message: &str) -> Option<&'static Cause> {
    let text = message.to_lowercase();
    let says = |pattern: &&'static str| pattern.split(" & ").all(|word| text.contains(word));
    CAUSES.iter().find(|cause| cause.says.iter().any(says))
}

/// What to do about a failure, if it is a common one.
pub fn hint(message: &str) -> Option<&'static str> {
    cause(message).map(|cause| cause.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_really_say() {
        for (said, id) in [
            ("npx is not on PATH=/usr/bin:/bin", "no-node"),
            ("left: /usr/bin/env: ‘node’: No such file or directory", "no-node"),
            ("sh: 1: mcp-server-x: not found\nexit code 127: command not found", "not-on-path"),
            ("uvx is not on PATH=/bin", "no-uv"),
            ("my-thing is not on PATH=/bin", "not-on-path"),
            (
                "npm error code E404\nnpm error 404 Not Found - GET https://registry.npmjs.org/@x%2fy - Not found",
                "npm-no-such-package",
            ),
            (
                "npm error code EAI_AGAIN\nnpm error errno EAI_AGAIN\nnpm error request to https://r/x failed",
                "registry-unreachable",
            ),
            (
                "npm ERR! network request to https://registry failed, reason: connect ECONNREFUSED",
                "registry-unreachable",
            ),
            ("  × Failed to fetch: `https://pypi.org/simple/x/`", "registry-unreachable"),
            ("  × No solution found when resolving tool dependencies:", "python-no-such-package"),
            ("Error: GITHUB_PERSONAL_ACCESS_TOKEN environment variable is required", "credentials"),
            ("Error: Request failed with status code 401", "credentials"),
            ("hub.toml:4: servers.a: variable SOME_TOKEN is not set", "variable-not-set"),
            (
                "hub.toml:9: servers.a: `env_file`: /x/.env cannot be read: No such file or directory (os error 2)",
                "env-file",
            ),
            ("it closed its stdout\nnot expected on stdout: Server running on port 3000", "noise"),
            ("BRAVE_API_KEY environment variable is required", "credentials"),
            ("Error: listen EADDRINUSE: address already in use :::3000", "port-in-use"),
            ("Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'zod' imported from /x/y.js", "node-module-missing"),
            ("Error: Cannot find module '/home/u/dist/index.js'", "node-module-missing"),
            ("ModuleNotFoundError: No module named 'mcp'", "python-module-missing"),
            (
                "docker: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "docker-not-running",
            ),
            ("Error: EACCES: permission denied, mkdir '/data'", "permission"),
            ("bash: ./run.sh: Permission denied", "permission"),
            ("import x from 'y' with { type: 'json' }\nSyntaxError: Unexpected token 'with'", "node-version"),
            ("npm warn EBADENGINE Unsupported engine {", "node-version"),
            ("no answer to `initialize` within 60 s (startup_timeout)", "slow"),
            ("the working folder /x does not exist", "path-wrong"),
            ("request failed: self signed certificate in certificate chain", "certificate"),
            (
                "usage: server [-h] --db DB\nserver: error: the following arguments are required: --db",
                "wants-arguments",
            ),
        ] {
            assert_eq!(cause(said).map(|cause| cause.id), Some(id), "{said}");
        }
        for unknown in ["", "exit code 1", "panicked at src/main.rs", "hello from the server"] {
            assert!(cause(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn patterns_are_in_lower_case() {
        for cause in CAUSES {
            for pattern in cause.says {
                assert_eq!(**pattern, pattern.to_lowercase(), "{}", cause.id);
            }
            assert!(!cause.hint.ends_with('.'), "{}", cause.id);
        }
    }
}
