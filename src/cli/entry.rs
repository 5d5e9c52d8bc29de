//! A server as it was typed: what `hub add` takes, and what `claude mcp add` and `claude mcp add-json` take.
//!
//! In: words. Out: a name and a [`NewServer`], or what is wrong with the words. Owns nothing. May not: look at the file
//! system, or quote a value in an error.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::edit::{NewServer, literal};
use crate::import::depends_on_folder;

use super::args::AddArgs;
use super::failure::{Exit, Failure};

/// What was typed, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) name: String,
    pub(super) server: NewServer,
    /// What was not taken over, or added, and why.
    pub(super) notes: Vec<String>,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// Understands the words. `here`: the current folder; `exists` says whether a path is there.
pub(super) fn typed(args: &AddArgs, here: &Path, exists: impl Fn(&Path) -> bool) -> Result<Typed, Failure> {
    let mut words = args.rest.clone();
    let (mut name, mut env, mut notes) = (args.name.clone(), args.env.clone(), Vec::new());
    // `-e` of claude takes several values: those that follow the first one stand where the name or the command would.
    while !args.env.is_empty() && is_pair(&name) && !words.is_empty() {
        env.push(std::mem::replace(&mut name, words.remove(0)));
    }
    while !args.env.is_empty() && words.first().is_some_and(|word| is_pair(word)) {
        env.push(words.remove(0));
    }
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    if let Some(scope) = &args.scope {
        notes.push(format!("hub has no scopes: `{scope}` is ignored, all clients of this user share its servers"));
    }
    let is_remote = |words: &[String]| words.first().is_some_and(|word| is_url(word));
    if args.transport.as_deref().is_some_and(|transport| transport != "stdio")
        || !args.header.is_empty()
        || is_remote(&words)
    {
        let url = words.first().filter(|word| is_url(word)).map(String::as_str);
        return Err(remote(&name, args.transport.as_deref(), url, !args.header.is_empty()));
    }
    let Some(command) = words.first().cloned() else {
        return Err(usage(format!("what runs `{name}` is missing"))
            .hint(format!("write the command behind the name: hub add {name} -- npx -y some-mcp-server")));
    };
    let mut server = if words.len() == 1 && command.trim_start().starts_with('{') {
        from_json(&name, &command, &mut notes)?
    } else {
        if words.len() == 1 && command.trim().contains(' ') && !exists(&here.join(&command)) {
            let why = "the command has spaces in it, and is the name of one program";
            notes.push(format!("{why}: leave the quotes out if it is a program and its arguments"));
        }
        NewServer { command, args: words.split_off(1), ..NewServer::default() }
    };
    for pair in &env {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            // The word may be a secret on its own.
            return Err(usage("a variable is given as KEY=VALUE").hint("as in: hub add NAME -e API_KEY=… -- CMD"));
        };
        server.env.retain(|(known, _)| known != key);
        server.env.push((key.to_owned(), value.to_owned()));
    }
    let is_absolute = |path: &str| path.starts_with(['/', '~', '$']);
    let relative = |path: &str| this_folder(here).map(|here| join(&here, path));
    let absolute = |path: &str| if is_absolute(path) { Ok(path.to_owned()) } else { relative(path) };
    server.cwd = args.cwd.as_deref().or(server.cwd.as_deref()).map(absolute).transpose()?;
    server.env_file = args.env_file.as_deref().or(server.env_file.as_deref()).map(absolute).transpose()?;
    server.port = args.port;
    let exists = |path: &str| exists(&here.join(path));
    let vars = server.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    if server.cwd.is_none() && depends_on_folder(&server.command, &server.args, vars, &exists).is_some() {
        let why = "what it starts depends on the folder that it is started in";
        notes.push(format!("{why}, so it runs in {}; `--cwd DIR` is for another one", here.display()));
        server.cwd = Some(this_folder(here)?);
    }
    Ok(Typed { name, server, notes })
}

/// The current folder in the words of hub.toml.
fn this_folder(here: &Path) -> Result<String, Failure> {
    let wrong = || usage("the path of the current folder is not UTF-8, and hub.toml is").hint("give it as `--cwd DIR`");
    here.to_str().map(literal).ok_or_else(wrong)
}

fn join(here: &str, path: &str) -> String {
    let joined: PathBuf = Path::new(here).join(path).components().collect();
    joined.to_string_lossy().into_owned()
}

/// `KEY=VALUE`, as no command and no server is called.
fn is_pair(word: &str) -> bool {
    let key = word.split_once('=').map(|(key, _)| key).unwrap_or_default();
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_url(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}

fn remote(name: &str, transport: Option<&str>, url: Option<&str>, has_header: bool) -> Failure {
    let transport = transport.filter(|transport| *transport != "stdio").unwrap_or("http");
    let url = url.unwrap_or("URL");
    // Its value is a secret as a rule.
    let header = if has_header { " --header …" } else { "" };
    let how = format!("claude mcp add --transport {transport} {name} {url}{header}");
    usage("hub runs servers that speak stdio; this one is reached over HTTP already, and can be shared as it is")
        .hint(format!("point your client at it directly, as in: {how}"))
}

/// An entry of `mcpServers`.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    command: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Map<String, Value>,
    cwd: Option<String>,
    #[serde(rename = "envFile")]
    env_file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: Option<Value>,
}

/// Keys of an entry that hub understands.
const KEYS: [&str; 8] = ["type", "command", "args", "env", "cwd", "envFile", "url", "headers"];

fn from_json(name: &str, text: &str, notes: &mut Vec<String>) -> Result<NewServer, Failure> {
    let hint = r#"as in: hub add time '{"command": "uvx", "args": ["mcp-server-time"]}'"#;
    let entry: Entry = serde_json::from_str(text)
        // Where and what kind of mistake, but not the text around it.
        .map_err(|error| {
            usage(format!("the entry is not one of `mcpServers` (column {})", error.column())).hint(hint)
        })?;
    let is_remote = entry.kind.as_ref().is_some_and(|kind| kind != "stdio") || entry.url.is_some();
    let Some(command) = entry.command.filter(|_| !is_remote) else {
        if is_remote {
            return Err(remote(name, entry.kind.as_deref(), entry.url.as_deref(), entry.headers.is_some()));
        }
        return Err(usage("the entry has no `command`").hint(hint));
    };
    let text_of = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let all: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let others = all.keys().filter(|key| !KEYS.contains(&key.as_str()));
    let keys: Vec<String> = others.map(|key| format!("`{key}`")).collect();
    if !keys.is_empty() {
        notes.push(format!("not taken over into hub.toml: {}", keys.join(", ")));
    }
    let env = entry.env.into_iter().map(|(key, value)| (key, text_of(value))).collect();
    Ok(NewServer { command, args: entry.args, env, cwd: entry.cwd, env_file: entry.env_file, ..NewServer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        add: AddArgs,
    }

    fn read(line: &str) -> Result<Typed, Failure> {
        let words = line.split(' ').map(|word| word.replace('\u{a0}', " "));
        let line = Line::try_parse_from(std::iter::once("add".to_owned()).chain(words)).expect("parses");
        typed(&line.add, Path::new("/here"), |path| path == Path::new("/here/data"))
    }

    #[test]
    fn all_that_claude_takes() {
        let expected = |name: &str, env: &[(&str, &str)]| {
            let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let args = vec!["-y".to_owned(), "server".to_owned(), "--port=1".to_owned()];
            (name.to_owned(), NewServer { command: "npx".into(), args, env, ..NewServer::default() })
        };
        for line in [
            "a -e K=1 -e L=x=y -- npx -y server --port=1",
            "-e K=1 -e L=x=y a npx -y server --port=1",
            "a -e K=1 L=x=y -- npx -y server --port=1",
            "-e K=1 L=x=y a -- npx -y server --port=1",
            "-s user -t stdio --env K=1 --env L=x=y a -- npx -y server --port=1",
            "--scope project --transport stdio a --env=K=1 --env=L=x=y npx -y server --port=1",
        ] {
            let typed = read(line).unwrap_or_else(|failure| panic!("{line}: {}", failure.message));
            assert_eq!((typed.name, typed.server), expected("a", &[("K", "1"), ("L", "x=y")]), "{line}");
            assert_eq!(typed.notes.len(), usize::from(line.contains("scope") || line.contains("-s ")), "{line}");
        }
        let plain = read("a npx -y server --port=1").expect("typed");
        assert_eq!((plain.name, plain.server), expected("a", &[]));
        // A command that looks like a variable is one only behind `-e`.
        assert_eq!(read("a X=1 y").expect("typed").server.command, "X=1");
    }

    #[test]
    fn what_is_not_for_hub() {
        for (line, how) in [
            ("-t http a https://x.example/mcp", "http a https://x.example/mcp"),
            ("a https://x.example/mcp", "http a https://x.example/mcp"),
            ("-t stdio a https://x.example/mcp", "http a https://x.example/mcp"),
            ("--transport sse a https://x.example/mcp", "sse a https://x.example/mcp"),
            ("-H X:y a https://x.example/mcp", "http a https://x.example/mcp --header …"),
            (r#"a {"type":"http","url":"https://x.example/mcp"}"#, "http a https://x.example/mcp"),
            (
                r#"a {"type":"sse","url":"https://x.example/mcp","headers":{"X":"y"}}"#,
                "sse a https://x.example/mcp --header …",
            ),
        ] {
            let failure = read(line).expect_err(line);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.hint.as_deref().is_some_and(|hint| hint.ends_with(how)), "{line}: {:?}", failure.hint);
        }
        for (line, said) in [
            ("a", "what runs `a` is missing"),
            ("a -e secret -- x", "a variable is given as KEY=VALUE"),
            (r#"a {"command":7}"#, "the entry is not one of `mcpServers` (column 13)"),
            ("a {}", "the entry has no `command`"),
        ] {
            let failure = read(line).expect_err(line);
            assert!(
                failure.message.starts_with(&said[..said.len() - 4]) && failure.hint.is_some(),
                "{}",
                failure.message
            );
            assert!(!failure.message.contains("secret"));
        }
    }

    #[test]
    fn an_entry_and_folders() {
        let entry = r#"{"type":"stdio","command":"node","args":["./x.js"],"env":{"A":"1","B":2},"envFile":".env"}"#;
        let typed = read(&format!("a -e B=3 {entry}")).expect("typed");
        assert_eq!((typed.server.command.as_str(), &typed.server.args[..]), ("node", &["./x.js".to_owned()][..]));
        assert_eq!(typed.server.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "3".to_owned())]);
        assert_eq!(typed.server.env_file.as_deref(), Some("/here/.env"));
        assert_eq!(typed.server.cwd.as_deref(), Some("/here"), "a relative path means the current folder");
        assert!(typed.notes[0].contains("/here"));
        let cwd = |line: &str| read(line).expect("typed").server.cwd;
        assert_eq!(cwd("--cwd ./sub/. a node ./x.js").as_deref(), Some("/here/sub"));
        assert_eq!(cwd("--cwd ~/sub a x").as_deref(), Some("~/sub"));
        assert_eq!(cwd("a npx -y @scope/server /data"), None);
        // The same words as in a client's file.
        for line in ["a uv run server.py", "a -e D=./x server", "a npm start", "a files data", "a files --root=."] {
            assert_eq!(cwd(line).as_deref(), Some("/here"), "{line}");
        }
        for line in ["a uv --directory /x run server.py", "a uvx data", "a files other", "a -e D=/x server"] {
            assert_eq!(cwd(line), None, "{line}");
        }
    }

    #[test]
    fn what_reads_otherwise_than_it_was_meant_is_said() {
        let entry = "a \u{a0}{\"command\":\"x\",\"timeout\":1,\"disabled\":true}";
        let typed = read(entry).expect("typed");
        assert_eq!(typed.server.command, "x", "space before an entry is none");
        assert!(typed.notes[0].ends_with(": `timeout`, `disabled`"), "{:?}", typed.notes);
        let typed = read("a npx\u{a0}-y\u{a0}x").expect("typed");
        assert!(typed.server.args.is_empty() && typed.notes[0].contains("leave the quotes out"), "{:?}", typed.notes);
        assert_eq!(read("a npx -y x\u{a0}y").expect("typed").notes, Vec::<String>::new());
    }

    /// The path of a folder is no reference to a variable, and must be one that hub.toml can hold.
    #[test]
    fn a_folder_with_an_odd_name() {
        use std::os::unix::ffi::OsStrExt as _;
        let at = |words: &[&str], here: &[u8]| {
            let line = Line::try_parse_from([&["add"], words].concat()).expect("parses");
            typed(&line.add, Path::new(std::ffi::OsStr::from_bytes(here)), |_| false)
        };
        let cwd = |words: &[&str]| at(words, b"/a${B}").expect("typed").server.cwd;
        assert_eq!(cwd(&["a", "./x"]).as_deref(), Some("/a$${B}"));
        assert_eq!(cwd(&["--cwd", "${C}", "a", "x"]).as_deref(), Some("${C}"));
        assert_eq!(cwd(&["--cwd", "sub", "a", "x"]).as_deref(), Some("/a$${B}/sub"));
        assert!(at(&["a", "./x"], b"/a\xff").expect_err("not text").message.contains("not UTF-8"));
        assert!(at(&["a", "x"], b"/a\xff").is_ok(), "which is of no concern here");
    }
}
