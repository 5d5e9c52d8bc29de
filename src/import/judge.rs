//! What one entry is to hub: a server that can move in, one that is in already, or one to be left alone and why.
//!
//! In: an entry as its client means it, whose file it is in. Out: a [`Verdict`]. Owns nothing. PURE. May not: quote a value
//! in a reason (it could be a secret).

use std::path::{Path, PathBuf};

use super::cwd;
use crate::clients::{self, Around, Client, Entry, Found, Scope, Stdio};
use crate::config::edit::{NewServer, literal};

/// Where an entry stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub client: &'static Client,
    pub scope: Scope,
    /// The folder of its project: of the file, or of the entry itself (local scope of Claude Code).
    pub project: Option<&'a Path>,
    /// Ports that hub listens on.
    pub ports: &'a dyn Fn(u16) -> Option<Reached>,
    /// The folder of the file.
    pub folder: &'a Path,
    /// Whether a path is there.
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// Whether a hub that is told these is the one that it moves into.
    pub is_own: &'a dyn Fn(Told<'_>) -> bool,
}

/// What an entry tells the hub that it starts; what it does not tell is as usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told<'a> {
    /// hub.toml.
    pub config: Option<&'a str>,
    /// The folder of the state, which says where the daemon listens.
    pub state: Option<&'a str>,
}

/// What is behind a port of hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// One server.
    Server(String),
    /// All of them.
    Hub,
}

/// Placeholders for the folder of the project.
const PROJECT_WORDS: &[&str] = &["${workspaceFolder", "${workspaceRoot", "${CLAUDE_PROJECT_DIR", "${PWD"];

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can move in.
    Server(Box<NewServer>),
    /// It goes through hub already.
    Through(Reached),
    /// Not for hub.
    Left(String),
}

/// Judges one entry.
pub(super) fn judge(found: &Found, place: Place<'_>) -> Verdict {
    if place.scope == Scope::Managed {
        return Verdict::Left("an administrator manages it".to_owned());
    }
    match &found.entry {
        Entry::Other { reason } => Verdict::Left(reason.clone()),
        Entry::Remote { url } => remote(url, place),
        Entry::Stdio(stdio) => match shim(stdio) {
            Some((reached, told)) if (place.is_own)(told) => Verdict::Through(reached),
            Some(_) => Verdict::Left("it goes through another hub".to_owned()),
            None => server(stdio, place).map_or_else(Verdict::Left, |server| Verdict::Server(Box::new(server))),
        },
    }
}

fn remote(url: &str, place: Place<'_>) -> Verdict {
    let Some(port) = loopback(url) else {
        return Verdict::Left("a remote server: hub runs local ones".to_owned());
    };
    match (place.ports)(port) {
        Some(reached) => Verdict::Through(reached),
        None => Verdict::Left(format!("it reaches a program at port {port} that is not hub's")),
    }
}

/// The port of a URL of this machine.
pub(super) fn loopback(url: &str) -> Option<u16> {
    let rest = url.trim().strip_prefix("http://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_here.then_some(port)
}

/// What `hub connect NAME` connects to (without a name, all servers), and which hub it says.
fn shim(stdio: &Stdio) -> Option<(Reached, Told<'_>)> {
    let variable = |name: &str| {
        let set = stdio.env.iter().find(|(known, value)| known == name && !value.is_empty());
        set.map(|(_, value)| value.as_str())
    };
    let (mut config, state) = (variable("HUB_CONFIG"), variable("HUB_STATE_DIR"));
    let mut words = stdio.args.iter().map(String::as_str);
    let is_hub = stdio.command.rsplit(['/', '\\']).next() == Some("hub");
    let mut verbs = Vec::new();
    while let Some(word) = words.next().filter(|_| is_hub) {
        match word.strip_prefix("--config") {
            Some("") => config = words.next(),
            Some(file) if file.starts_with('=') => config = Some(&file[1..]),
            _ => verbs.push(word),
        }
    }
    let told = Told { config, state };
    match verbs.as_slice() {
        ["connect"] => Some((Reached::Hub, told)),
        ["connect", name, ..] => Some((Reached::Server((*name).to_owned()), told)),
        _ => None,
    }
}

/// Options of programs that wait for a debugger or a terminal are the user's business; only the folder is hub's.
fn server(stdio: &Stdio, place: Place<'_>) -> Result<NewServer, String> {
    let project = match place.project {
        Some(folder) if !(place.exists)(folder) => return Err("the folder of its project is gone".to_owned()),
        Some(folder) => Some(folder.to_str().ok_or("the path of its project is not UTF-8")?),
        None => None,
    };
    let folder = place.folder.to_str();
    let hub = |text: &str| {
        clients::to_hub(text, place.client.expansion, Around { project, folder }).map_err(|reason| reason.0)
    };
    let command = hub(&stdio.command)?;
    let args = stdio.args.iter().map(|arg| hub(arg)).collect::<Result<Vec<String>, String>>()?;
    let mut env = Vec::with_capacity(stdio.env.len());
    for (name, value) in &stdio.env {
        env.push((name.clone(), hub(value)?));
    }
    for name in stdio.passed_env.iter().filter(|name| !stdio.env.iter().any(|(known, _)| known == *name)) {
        env.push((name.clone(), format!("${{{name}:-}}")));
    }
    let root = project.map(literal);
    let root = root.as_deref();
    let env_file =
        stdio.env_file.as_deref().map(hub).transpose()?.map(|file| anchored(file, root, "envFile")).transpose()?;
    let told = stdio.cwd.as_deref().map(hub).transpose()?.map(|cwd| anchored(cwd, root, "cwd")).transpose()?;
    let cwd = match told {
        Some(cwd) => Some(cwd),
        None => needed_folder(stdio, &env, place, root)?,
    };
    // One that is started for a project goes on hearing where that is.
    if let (Some(root), Some(variable), true) = (root, place.client.tells_project, cwd.as_deref() == root)
        && !env.iter().any(|(name, _)| name == variable)
    {
        env.push((variable.to_owned(), root.to_owned()));
    }
    let enabled = if stdio.enabled { None } else { Some(false) };
    Ok(NewServer { command, args, env, env_file, cwd, port: None, share: None, enabled })
}

/// The folder that a command needs, if it needs one. `project` is written as hub.toml takes it.
fn needed_folder(
    stdio: &Stdio,
    env: &[(String, String)],
    place: Place<'_>,
    project: Option<&str>,
) -> Result<Option<String>, String> {
    let exists = |path: &str| place.project.is_some_and(|root| (place.exists)(&root.join(path)));
    let vars = env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let part = cwd::depends_on_folder(&stdio.command, &stdio.args, vars, &exists);
    let texts = || stdio.args.iter().chain([&stdio.command]).chain(stdio.env.iter().map(|(_, text)| text));
    let names_it = |text: &String| PROJECT_WORDS.iter().any(|word| text.contains(word));
    let named = project.and_then(|_| texts().find(|text| names_it(text)).map(String::as_str));
    match (part.or(named), project) {
        (None, _) => Ok(None),
        (Some(_), Some(root)) => Ok(Some(root.to_owned())),
        (Some(_), None) => {
            let why = "what it starts depends on the folder of each session";
            Err(format!("{why}: write absolute paths, or move it into a project's file"))
        }
    }
}

/// A path of the file's project (which is written as hub.toml takes it), or one that means the same from everywhere.
fn anchored(path: String, project: Option<&str>, key: &str) -> Result<String, String> {
    if path.starts_with(['/', '~']) || path.starts_with("${") {
        return Ok(path);
    }
    match project {
        Some(root) => Ok(PathBuf::from(root).join(path.trim_start_matches("./")).to_string_lossy().into_owned())
            .map(|path| path.trim_end_matches("/.").to_owned()),
        None => Err(format!("its `{key}` is relative, and its file belongs to no project")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_this_machine() {
        for (url, port) in [
            ("http://127.0.0.1:18901/mcp", Some(18901)),
            ("http://localhost:5/", Some(5)),
            ("http://localhost/mcp", Some(80)),
            ("http://[::1]:7", Some(7)),
            ("http://[::1]/x", Some(80)),
            ("http://127.9.9.9:1?x", Some(1)),
            ("https://localhost:5/", None),
            ("http://example.com:5/", None),
            ("http://localhost.example.com:5/", None),
            ("http://127.0.0.1:99999/", None),
            ("${URL}", None),
        ] {
            assert_eq!(loopback(url), port, "{url}");
        }
    }

    #[test]
    fn a_project_whose_path_looks_like_a_reference_is_meant_literally() {
        let project = Path::new("/w/${HOME}");
        let place = Place {
            client: clients::client("claude-code").expect("a client"),
            scope: Scope::Project,
            project: Some(project),
            ports: &|_| None,
            folder: project,
            exists: &|_| true,
            is_own: &|_| true,
        };
        let of = |cwd: Option<&str>, arg: &str| {
            let (cwd, args) = (cwd.map(str::to_owned), vec![arg.to_owned()]);
            let (command, env_file, passed_env) = ("node".to_owned(), Some(".env".to_owned()), Vec::new());
            let stdio =
                Stdio { command, args, env: Vec::new(), env_file, cwd, enabled: true, timeout: None, passed_env };
            server(&stdio, place).expect("a server")
        };
        for (cwd, wanted) in [(None, "/w/$${HOME}"), (Some("."), "/w/$${HOME}"), (Some("sub"), "/w/$${HOME}/sub")] {
            let server = of(cwd, "./x.js");
            assert_eq!(server.cwd.as_deref(), Some(wanted));
            assert_eq!(server.env_file.as_deref(), Some("/w/$${HOME}/.env"));
            let told = [("CLAUDE_PROJECT_DIR".to_owned(), "/w/$${HOME}".to_owned())];
            assert_eq!(server.env, if wanted.ends_with("sub") { &[][..] } else { &told });
        }
    }

    #[test]
    fn shims_say_which_hub_they_mean() {
        let of = |args: &[&str], env: &[(&str, &str)]| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            let (command, passed_env) = ("/x/hub".to_owned(), Vec::new());
            let stdio =
                Stdio { command, args, env, env_file: None, cwd: None, enabled: true, timeout: None, passed_env };
            shim(&stdio).map(|(reached, told)| (reached, told.config.or(told.state).map(str::to_owned)))
        };
        let a = || Reached::Server("a".to_owned());
        let some = |config: &str| Some(config.to_owned());
        assert_eq!(of(&["connect"], &[]), Some((Reached::Hub, None)));
        assert_eq!(of(&["connect", "a"], &[]), Some((a(), None)));
        assert_eq!(of(&["--config", "/connect", "connect", "a"], &[]), Some((a(), some("/connect"))));
        assert_eq!(of(&["connect", "a", "--config=/c"], &[("HUB_CONFIG", "/d")]), Some((a(), some("/c"))));
        assert_eq!(of(&["connect"], &[("HUB_CONFIG", "/d")]), Some((Reached::Hub, some("/d"))));
        assert_eq!(of(&["connect"], &[("HUB_STATE_DIR", "/s"), ("HUB_CONFIG", "")]), Some((Reached::Hub, some("/s"))));
        assert_eq!(of(&["serve", "connect"], &[]), None);
        assert_eq!(of(&["--config", "connect"], &[]), None);
    }

    #[test]
    fn paths_get_their_project() {
        let of = |path: &str, project| anchored(path.to_owned(), project, "cwd");
        assert_eq!(of("x/y", Some("/p")).as_deref(), Ok("/p/x/y"));
        assert_eq!(of("./x", Some("/p")).as_deref(), Ok("/p/x"));
        assert_eq!(of(".", Some("/p")).as_deref(), Ok("/p"));
        assert_eq!(of("/x", None).as_deref(), Ok("/x"));
        assert_eq!(of("${HOME}/x", None).as_deref(), Ok("${HOME}/x"));
        assert!(of("x", None).is_err());
    }
}
