//! What is known of a client, as types; finding one.
//!
//! In: nothing. Out: [`Client`], [`Place`], [`Shape`] and their parts; where a place lies for given base folders. Owns
//! no state. May not: say anything of a single client (that is `table`), or know a format's grammar.

use std::path::{Path, PathBuf};

use super::table::CLIENTS;

/// One MCP client program: its files and its habits. Only `'static` data; compare clients by `id`.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Short name, as in `hub import --from ID`: `[a-z-]+`, unique, never changed.
    pub id: &'static str,
    /// The name that people know.
    pub title: &'static str,
    /// Where its files lie; the first one of a scope is what the client itself writes today. Their numbers are
    /// remembered between runs (an import that can be undone): new ones come last.
    pub places: &'static [Place],
    /// What it replaces in the text of an entry.
    pub expansion: Expansion,
    /// How it wants an entry that points at hub.
    pub http: HttpForm,
    /// The variable in which it tells its servers the folder of the project.
    pub tells_project: Option<&'static str>,
    /// Whether it asks before it starts a server of a project's file, and remembers the answer in its own.
    pub asks_approval: bool,
}

/// One file of a client, or one family of files.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Whose entries it holds.
    pub scope: Scope,
    /// What `path` is relative to.
    pub base: Base,
    /// Segments divided by `/`. A segment may hold one `*` for any characters but `/`: see [`Place::path`].
    pub path: &'static str,
    /// How the file is written and where its entries are.
    pub shape: Shape,
}

/// Whose entries a place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's, for all projects. `~/.claude.json` is such a place though it also holds projects' entries: those
    /// have [`crate::clients::Found::project`].
    User,
    /// A project's own file.
    Project,
    /// An administrator's: to be named in a report, never to be written.
    Managed,
}

/// What the path of a place is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The home folder.
    Home,
    /// The system's folder for settings: `$XDG_CONFIG_HOME` or `~/.config`; on macOS `~/Library/Application Support`.
    Config,
    /// `$XDG_CONFIG_HOME` or `~/.config`, on macOS too: for programs that take no notice of the system.
    Xdg,
    /// The folder that a variable names, or the given folder of the home folder (`""` = the home folder itself).
    Env {
        /// Name of the variable.
        var: &'static str,
        /// Relative to the home folder.
        home: &'static str,
    },
    /// The folder that a variable names; nowhere when it is not set.
    EnvOnly {
        /// Name of the variable.
        var: &'static str,
    },
    /// The variable names the file itself, the path of the place is empty; nowhere when it is not set.
    EnvFile {
        /// Name of the variable.
        var: &'static str,
    },
    /// The folder of a project.
    Project,
    /// The root of the file system.
    Root,
}

/// The folders of one user on one machine; handed in, so that this room asks nobody.
#[derive(Clone, Copy)]
pub struct Bases<'a> {
    /// The home folder.
    pub home: &'a Path,
    /// See [`Base::Config`].
    pub config: &'a Path,
    /// See [`Base::Xdg`].
    pub xdg: &'a Path,
    /// Value of an environment variable. An empty value counts as not set.
    pub vars: &'a dyn Fn(&str) -> Option<String>,
    /// Folder of the project, when one is looked at.
    pub project: Option<&'a Path>,
}

/// How a file is written and where in it the entries are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How the file is written.
    pub format: Format,
    /// Every place in the document where the client looks for entries.
    pub entries: &'static [Entries],
    /// Top-level keys under which other clients keep their entries and people put them by mistake; the client reads
    /// none of them. They are found as [`crate::clients::Entry::Other`].
    pub misplaced: &'static [&'static str],
    /// What the keys of an entry are called.
    pub keys: &'static Keys,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON; the client refuses a file with comments or trailing commas.
    Json,
    /// JSON with comments and trailing commas.
    Jsonc,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// Where in a document entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// A table from name to entry, at this path of keys. `*` stands for any one key, which is the folder of a project.
    Map(&'static [&'static str]),
    /// A list of entries with a `name` each, at this path of keys.
    List(&'static [&'static str]),
}

/// What the keys of an entry are called.
#[derive(Debug)]
pub struct Keys {
    /// Program; `command` may also be the list of program and arguments (opencode), or a table of `path`, `args` and
    /// `env` (old Zed).
    pub command: &'static str,
    /// Arguments.
    pub args: &'static str,
    /// Environment of the program.
    pub env: &'static str,
    /// Working folder.
    pub cwd: &'static str,
    /// Names of variables that the client passes on.
    pub passed_env: Option<&'static str>,
    /// Names of variables whose values lie in a keyring.
    pub keyring_env: Option<&'static str>,
    /// Whether the client heeds `enabled` and `disabled` in an entry. Claude Code starts it whatever they say.
    pub switches: bool,
    /// Longest time for a call, and its unit.
    pub timeout: Option<(&'static str, Unit)>,
    /// Other keys that mean nothing once an entry is not a program any more: dropped when it is rewritten.
    pub stdio_only: &'static [&'static str],
    /// Whether an entry also holds its own name, under `name`.
    pub named: bool,
    /// Values of `type` whose entries are the client's own business (`builtin` of Goose).
    pub own_types: &'static [&'static str],
}

/// Unit of a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

/// What a client replaces in the text of an entry (command, arguments, environment, working folder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expansion {
    /// Nothing.
    None,
    /// `${V}` and `${V:-d}`; what is not set and has no default stays as it is written (Claude Code).
    Claude,
    /// `${env:V}`, `${workspaceFolder}`, `${userHome}` and their like (VS Code and its kin).
    Editor,
    /// `$V`, `${V}`, `${V:-d}`; not set = empty (Gemini CLI).
    Shell,
    /// `${V}`, not set = empty (Amp, Kiro, Copilot CLI).
    Braces,
    /// `{env:V}`, `{file:P}` (opencode).
    Opencode,
    /// `${{ secrets.V }}` (Continue).
    Secrets,
}

/// How a client wants an entry that points at hub.
#[derive(Debug, Clone, Copy)]
pub enum HttpForm {
    /// A URL.
    Url {
        /// Key of the URL.
        key: &'static str,
        /// Keys and values that stand before it, as `type = "http"`.
        before: &'static [(&'static str, Literal)],
        /// Keys and values that stand after it unless the entry has them already.
        defaults: &'static [(&'static str, Literal)],
    },
    /// The client only speaks stdio: a program that connects, `hub connect NAME`.
    Shim,
}

/// A value in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// A text.
    Text(&'static str),
    /// A whole number.
    Number(u64),
    /// True or false.
    Bool(bool),
    /// A list of texts.
    Texts(&'static [&'static str]),
}

// === impl Place ===

impl Place {
    /// Where an entry of a project alone stands in this file of the user's; none if it holds no such entries.
    pub fn local(&self, project: &str, name: &str) -> Option<Vec<String>> {
        let path = self.shape.entries.iter().find_map(|entries| match entries {
            Entries::Map(path) if path.contains(&"*") => Some(*path),
            Entries::Map(_) | Entries::List(_) => None,
        })?;
        let keys = path.iter().map(|key| if *key == "*" { project } else { key });
        Some(keys.chain([name]).map(str::to_owned).collect())
    }

    /// Where the place lies, or `None` if it lies nowhere (its variable is not set, no project is looked at).
    ///
    /// A `*` of [`Place::path`] stays in the answer, as (part of) a component: the caller lists the folder before it and
    /// asks [`matches()`] of each name. Two places, also of two clients, may lie at one path.
    pub fn path(&self, bases: &Bases<'_>) -> Option<PathBuf> {
        let var = |name: &str| (bases.vars)(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = match self.base {
            Base::Home => bases.home.to_owned(),
            Base::Config => bases.config.to_owned(),
            Base::Xdg => bases.xdg.to_owned(),
            Base::Env { var: name, home } => var(name).unwrap_or_else(|| join(bases.home, home)),
            Base::EnvOnly { var: name } | Base::EnvFile { var: name } => var(name)?,
            Base::Project => bases.project?.to_owned(),
            Base::Root => PathBuf::from("/"),
        };
        Some(join(&base, self.path))
    }
}

/// Joins without the trailing separator that an empty `path` would leave.
fn join(base: &Path, path: &str) -> PathBuf {
    if path.is_empty() { base.to_owned() } else { base.join(path) }
}

/// Whether the name of a file or folder is what a segment of [`Place::path`] means; a `*` matches any characters, also
/// none, but no leading dot.
pub fn matches(segment: &str, name: &str) -> bool {
    match segment.split_once('*') {
        None => segment == name,
        Some((start, end)) => {
            name.len() >= start.len() + end.len()
                && name.starts_with(start)
                && name.ends_with(end)
                && (!start.is_empty() || !name.starts_with('.'))
        }
    }
}

/// The client of an id, or `None` if there is none.
pub fn client(id: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.id == id)
}

/// Whose file this is, for a file that a person names: by the end of its path (of several the longest one), else by a
/// name that only one client uses, else `None`. Nothing is opened.
pub fn guess(path: &Path) -> Option<(&'static Client, &'static Place)> {
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let all = || CLIENTS.iter().flat_map(|client| client.places.iter().map(move |place| (client, place)));
    let fits = |place: &Place| {
        let segments = segments(place);
        !segments.is_empty()
            && segments.len() <= names.len()
            && segments.iter().rev().zip(names.iter().rev()).all(|(segment, name)| matches(segment, name))
    };
    // Of equally long ones the first.
    let longest = all().filter(|(_, place)| fits(place)).rev().max_by_key(|(_, place)| segments(place).len());
    longest.or_else(|| {
        let name = names.last()?;
        let mut named = all().filter(|(_, place)| segments(place).last() == Some(name));
        let first = named.next()?;
        named.all(|(client, _)| client.id == first.0.id).then_some(first)
    })
}

/// The segments that a path ends with wherever its base lies: `.codex/config.toml`.
fn segments(place: &Place) -> Vec<&'static str> {
    let home = if let Base::Env { home, .. } = place.base { home } else { "" };
    home.split('/').chain(place.path.split('/')).filter(|segment| !segment.is_empty()).collect()
}
