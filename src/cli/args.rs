//! What was typed, and nothing more.
//!
//! In: the command line. Out: [`Args`]. Owns nothing. May not: look at the environment, the file system or the terminal
//! (that is `resolve`).

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Runs each MCP server once and lets every AI client share it over HTTP
#[derive(Debug, Parser)]
#[command(name = "hub", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  hub up                      move in what your AI clients have, start, show how it is
  hub add time uvx mcp-server-time
  hub status                  what runs, what it costs, and what it would cost without hub
  hub call time get_current_time timezone=UTC
  hub doctor                  what does not work, and what to do about it
  hub undo && hub down        move out again, to the byte

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 the daemon is not running, 78 hub.toml is wrong.")]
pub struct Args {
    /// The hub.toml to use [default: $HUB_CONFIG, else hub/hub.toml in your config folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// One verb, one file in this room.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run hub in the foreground
    #[command(after_help = "\
Prints one line, `ready http://HOST:PORT`, on stdout once every port is open; logs go to stderr. \
SIGTERM or Ctrl-C stops it and everything it started, SIGHUP reads hub.toml again (as does saving the file).

Examples:
  hub serve
  hub serve --config ./hub.toml")]
    Serve,
    /// Start hub in the background, and wait until its servers are ready
    #[command(after_help = "\
Without a hub.toml it imports the servers of your clients first, as `hub import` does. Starts the service if \
`hub service install` made one, else a process that stays until `hub down`. Ctrl-C ends the waiting, not hub. \
Exits with 0 when every server is ready that is to run from the start, with 1 when hub runs and some are not.

Examples:
  hub up
  hub up --yes                import without asking, too
  hub up --json | jq '.clients'")]
    Up(UpArgs),
    /// Show what runs, what it costs, and what it would cost without hub
    #[command(after_help = "\
MEM is proportional: memory that processes share is counted once. CPU is since the last look.

Examples:
  hub status
  hub status --watch
  hub status --json | jq '.servers[] | select(.state != \"ready\") | .last_failure'")]
    Status(StatusArgs),
    /// Move the MCP servers of your AI clients into hub
    #[command(after_help = "\
Looks at the config files of all clients that it knows: yours, those of the current folder, and those of the projects that \
Claude Code knows. Shows what it will do and asks. Servers go into hub.toml; the entries keep their names and their place, \
and read from hub afterwards. A file that is committed is not changed: for Claude Code, an entry of your own that counts \
more is written. What was there before is kept: `hub undo` restores it to the byte.

Examples:
  hub import --dry-run        only show it
  hub import
  hub import ./.mcp.json --yes
  hub import --from cursor --no-rewrite")]
    Import(ImportArgs),
    /// Take back the last import, to the byte
    #[command(after_help = "\
A file that changed since the import stays as it is, and the difference is shown; `--entries` then puts back the entries \
that the import wrote and leaves the rest of the file alone. Run it again to take back the import before.

Examples:
  hub undo --dry-run
  hub undo
  hub undo --entries")]
    Undo(UndoArgs),
    /// Print the entries of hub's servers for a client, to paste
    #[command(after_help = "\
Examples:
  hub export
  hub export --client vscode
  hub export --client codex --aggregate >> ~/.codex/config.toml")]
    Export(ExportArgs),
    /// Check hub.toml without running anything
    #[command(after_help = "\
Shows every problem with its line, and exits with 78 if there is one.

Examples:
  hub check
  hub check ./hub.toml && echo fine")]
    Check(CheckArgs),
    /// List the tools that clients see
    #[command(after_help = "\
Examples:
  hub tools
  hub tools github
  hub tools github --json | jq -r '.servers[0].tools[].inputSchema'")]
    Tools(ToolsArgs),
    /// Call a tool from the command line
    #[command(after_help = "\
Arguments are one JSON object, or KEY=VALUE pairs that are read as the tool's schema says. \
Exits with 1 if the tool answers with an error.

Examples:
  hub call time get_current_time timezone=Europe/Berlin
  hub call github search_issues '{\"q\": \"is:open\", \"per_page\": 5}'
  hub call git git_log repo_path=. max_count=3 --json")]
    Call(CallArgs),
    /// Show what servers wrote to stderr
    #[command(after_help = "\
Reads the log files, so it works whether hub runs or not.

Examples:
  hub logs github
  hub logs github -f
  hub logs -n 20              the last 20 lines of all servers together")]
    Logs(LogsArgs),
    /// Stop and start a server; its sessions stay
    #[command(after_help = "\
Also the way out of `failed`.

Examples:
  hub restart github")]
    Restart(NameArgs),
    /// Add a server to hub.toml, and start it
    #[command(
        visible_alias = "add-json",
        after_help = "\
Takes what `claude mcp add` and `claude mcp add-json` take: replace `claude mcp` by `hub`. Comments and order of hub.toml \
stay. `${NAME}` in a value is the variable of that name when the server starts, which keeps a secret out of the file.

Examples:
  hub add time uvx mcp-server-time
  hub add github -e 'GITHUB_TOKEN=${GITHUB_TOKEN}' -- npx -y @modelcontextprotocol/server-github
  hub add notes --cwd ~/notes --lazy -- node ./server.js
  hub add time '{\"command\": \"uvx\", \"args\": [\"mcp-server-time\"]}'"
    )]
    Add(AddArgs),
    /// Take a server out of hub.toml, and stop it
    #[command(after_help = "\
Examples:
  hub remove github")]
    Remove(NameArgs),
    /// Set `enabled = true` for a server in hub.toml, and start it
    #[command(after_help = "\
Works whether hub runs or not.

Examples:
  hub enable github")]
    Enable(NameArgs),
    /// Set `enabled = false` for a server in hub.toml, and stop it
    #[command(after_help = "\
Its port answers as before, with an error that says so. Works whether hub runs or not.

Examples:
  hub disable github")]
    Disable(NameArgs),
    /// Read hub.toml again, and say what changed
    #[command(after_help = "\
hub also does this by itself when the file is saved; a file with a mistake changes nothing.

Examples:
  hub reload")]
    Reload,
    /// Find out what does not work, and what to do about it
    #[command(after_help = "\
Looks at hub.toml, the daemon, ports, PATH, every server, the clients and what they still run beside hub, and the disk. \
Exits with 1 when something fails.

`--orphans` looks for MCP servers whose client is gone: no parent, no terminal, nobody at the other end of their \
pipe or socket. Those of a hub are never among them. Where the other end cannot be seen, because it is another user's or \
hidden, a server is marked with `?`. `--kill` ends the others, after asking, and the marked ones only by their PID.

Examples:
  hub doctor
  hub doctor --json | jq '.findings[] | select(.level == \"fail\")'
  hub doctor --orphans
  hub doctor --orphans --kill 4711 4712")]
    Doctor(DoctorArgs),
    /// Serve one client over stdin and stdout, for clients that speak nothing else
    #[command(after_help = "\
For Claude Desktop, Junie and other clients that start their servers themselves: the process is small, and shares the \
server that hub runs with everybody else. Starts hub if it is not running. Logs go to stderr.

Examples:
  hub connect github
  hub connect                 all servers together; tools are named SERVER__tool
  claude mcp add github -- hub connect github

As an entry of claude_desktop_config.json:
  \"github\": { \"command\": \"hub\", \"args\": [\"connect\", \"github\"] }")]
    Connect(ConnectArgs),
    /// Stop hub and everything it started, and wait until it is gone
    #[command(after_help = "\
Stops the service, too, until the next login or `hub up`. hub.toml and the state stay. After a `hub undo` that took \
everything back there is nothing to keep: then the state goes as well, and nothing of hub is left but the program.

Examples:
  hub down
  hub undo && hub down")]
    Down,
    /// Run hub as a service of your user: systemd or launchd
    #[command(
        subcommand,
        after_help = "\
Examples:
  hub service install         start hub with every login, and again when it dies
  hub service status
  hub service uninstall"
    )]
    Service(ServiceVerb),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  hub completions bash > ~/.local/share/bash-completion/completions/hub
  hub completions zsh  > ~/.zfunc/_hub
  hub completions fish > ~/.config/fish/completions/hub.fish")]
    Completions(CompletionsArgs),
    /// The names of all servers, for completions
    #[command(hide = true)]
    ServerNames,
    /// Print the manual page
    #[command(after_help = "\
Examples:
  hub man > ~/.local/share/man/man1/hub.1
  hub man | man -l -")]
    Man,
}

/// `hub up`
#[derive(Debug, ClapArgs)]
pub struct UpArgs {
    /// Do not ask before an import
    #[arg(long, short)]
    pub yes: bool,
    /// One JSON document: how the servers are, and what clients read through hub
    #[arg(long)]
    pub json: bool,
}

/// `hub service`
#[derive(Debug, Subcommand)]
pub enum ServiceVerb {
    /// Start hub at every login from now on, and now
    #[command(after_help = "\
Writes a systemd user unit (Linux) or a launchd agent (macOS) with the PATH that your login shell has, so that \
servers find what nvm, asdf, pyenv or Homebrew installed. Run it again when that PATH changes. A hub that runs in the \
background is stopped first.

Examples:
  hub service install
  hub service install --no-start      only write the file")]
    Install(ServiceInstallArgs),
    /// Stop hub, and start it no more at login
    Uninstall,
    /// Say whether hub is installed, enabled and running, and with which PATH
    #[command(after_help = "\
Examples:
  hub service status
  hub service status --json | jq -r .path")]
    Status(ServiceStatusArgs),
}

/// `hub service install`
#[derive(Debug, ClapArgs)]
pub struct ServiceInstallArgs {
    /// Write the file, and nothing else
    #[arg(long)]
    pub no_start: bool,
    /// The PATH of hub and its servers [default: that of your login shell]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// `hub service status`
#[derive(Debug, ClapArgs)]
pub struct ServiceStatusArgs {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `hub status`
#[derive(Debug, ClapArgs)]
pub struct StatusArgs {
    /// One JSON document
    #[arg(long, conflicts_with = "watch")]
    pub json: bool,
    /// Draw again every second until Ctrl-C
    #[arg(long, short)]
    pub watch: bool,
}

/// `hub import`
#[derive(Debug, Default, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own on the command line")]
pub struct ImportArgs {
    /// Only these files [default: the files of all clients]
    pub files: Vec<PathBuf>,
    /// Only this client; a named FILE is read as one of it
    #[arg(long, value_name = "CLIENT", value_parser = clients())]
    pub from: Option<String>,
    /// Show the plan and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Write hub.toml only, and leave the clients' files alone
    #[arg(long, conflicts_with = "rewrite_committed")]
    pub no_rewrite: bool,
    /// Change files that git tracks too
    #[arg(long)]
    pub rewrite_committed: bool,
    /// One JSON document: the plan, and what was done
    #[arg(long)]
    pub json: bool,
}

/// `hub undo`
#[derive(Debug, Default, ClapArgs)]
pub struct UndoArgs {
    /// Show what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Where a file changed since, put back only the entries that the import wrote
    #[arg(long)]
    pub entries: bool,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `hub export`
#[derive(Debug, ClapArgs)]
pub struct ExportArgs {
    /// The client
    #[arg(long, value_name = "CLIENT", default_value = "claude-code", value_parser = clients())]
    pub client: String,
    /// One entry for all servers together; tools are named SERVER__tool
    #[arg(long)]
    pub aggregate: bool,
}

/// The ids of the clients that hub knows.
fn clients() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(crate::clients::CLIENTS.iter().map(|client| client.id))
}

/// `hub check`
#[derive(Debug, ClapArgs)]
pub struct CheckArgs {
    /// The file [default: the one that `hub serve` would use]
    pub file: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    pub json: bool,
}

/// `hub tools`
#[derive(Debug, ClapArgs)]
pub struct ToolsArgs {
    /// Only this server; one that never ran is started
    pub server: Option<String>,
    /// One JSON document, with whole descriptions and schemas
    #[arg(long)]
    pub json: bool,
}

/// `hub call`
#[derive(Debug, ClapArgs)]
pub struct CallArgs {
    /// The server
    pub server: String,
    /// The tool, by the server's own name
    pub tool: String,
    /// One JSON object, or KEY=VALUE pairs
    #[arg(value_name = "JSON | KEY=VALUE")]
    pub arguments: Vec<String>,
    /// The whole answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `hub logs`
#[derive(Debug, ClapArgs)]
pub struct LogsArgs {
    /// Only this server
    pub name: Option<String>,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Begin with this many lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub lines: usize,
}

/// `hub add`
#[derive(Debug, ClapArgs)]
pub struct AddArgs {
    /// A variable for the server (several are given with several -e)
    #[arg(long, short, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    pub env: Vec<String>,
    /// A file of more variables
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<String>,
    /// The folder that it runs in [default: home, or the current folder if its arguments need one]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Its own port [default: the lowest free one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Start it with its first request
    #[arg(long)]
    pub lazy: bool,
    /// Taken, and ignored: all clients of a user share hub's servers
    #[arg(long, short, hide = true)]
    pub scope: Option<String>,
    /// Only `stdio`
    #[arg(long, short, hide = true)]
    pub transport: Option<String>,
    /// Only servers over HTTP have headers
    #[arg(long, short = 'H', hide = true, action = clap::ArgAction::Append)]
    pub header: Vec<String>,
    /// Its name: letters, digits, - and _
    pub name: String,
    /// The program and its arguments; or one entry of `mcpServers` as JSON
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
}

/// A verb that takes one server.
#[derive(Debug, ClapArgs)]
pub struct NameArgs {
    /// The server
    pub name: String,
}

/// `hub doctor`
#[derive(Debug, ClapArgs)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
pub struct DoctorArgs {
    /// One JSON document
    #[arg(long)]
    pub json: bool,
    /// Show MCP servers that their clients left behind
    #[arg(long)]
    pub orphans: bool,
    /// End them
    #[arg(long, requires = "orphans")]
    pub kill: bool,
    /// Do not ask
    #[arg(long, short, requires = "kill")]
    pub yes: bool,
    /// Only these
    #[arg(value_name = "PID", requires = "orphans")]
    pub pids: Vec<u32>,
}

/// `hub connect`
#[derive(Debug, ClapArgs)]
pub struct ConnectArgs {
    /// The server [default: all of them together]
    pub name: Option<String>,
}

/// `hub completions`
#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
