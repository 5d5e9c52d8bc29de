//! Fuzz target: any text as a hub.toml.
//!
//! In: one text, or two with a NUL between them. Out: a panic where a verdict is missing, unstable or without a line,
//! where one server's problem reaches another, or where a plan does not lead to what it was made for. Owns a made-up
//! world. May not: touch the real environment or files.
#![no_main]

use std::io;
use std::path::Path;

use hub::config::{self, Config, Context, Kind, Loaded, diff};
use libfuzzer_sys::fuzz_target;

/// A secret: it may be in what runs, never in what is said.
const SECRET: &str = "hunter2-correct-horse";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (old, new) = text.split_once('\0').unwrap_or(("", text));
    let (old, new) = (verdict(old), verdict(new));
    let Some(wanted) = &new.config else { return };
    plan(None, wanted);
    plan(Some(wanted), wanted);
    assert!(diff(Some(wanted), wanted).is_empty(), "nothing differs from itself");
    if let Some(running) = &old.config {
        plan(Some(running), wanted);
    }
});

fn load(text: &str, secret: &str) -> Loaded {
    let vars = |name: &str| match name {
        "HOME" => Some("/home/me".into()),
        "SECRET" => Some(secret.into()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("18999".into()),
        _ => None,
    };
    let read = |path: &Path| match path.file_name().and_then(|name| name.to_str()) {
        Some(".env") => Ok(format!("# c\nTOKEN={secret}\nQ='a b'\n")),
        Some("bad.env") => Ok("no equals sign\n".into()),
        Some("secret") => Ok(format!("{secret}\n")),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let is_dir = |path: &Path| path != Path::new("/missing");
    let (path, home) = (Path::new("/home/me/.config/hub/hub.toml"), Path::new("/home/me"));
    config::load(text, &Context { path, home, cores: 2, vars: &vars, read: &read, is_dir: &is_dir })
}

fn verdict(text: &str) -> Loaded {
    let loaded = load(text, SECRET);
    assert_eq!(loaded, load(text, SECRET), "the same text, the same verdict");
    assert!(loaded.config.is_some() || !loaded.problems.is_empty(), "refused without a word");
    assert!(loaded.problems.is_sorted_by_key(|problem| problem.line));
    let lines = 1 + text.matches('\n').count();
    for problem in &loaded.problems {
        assert!((1..=lines).contains(&problem.line), "line {} of {lines}: {problem}", problem.line);
        let said = problem.to_string();
        assert!(!problem.what.is_empty() && !said.contains('\n'), "{said:?}");
        // libFuzzer may guess it from the comparison; then the text itself shows it, and it is none.
        assert!(!said.contains(SECRET) || is_written(text), "{said:?}");
        assert!(problem.kind != Kind::Syntax || problem.server.is_none());
    }
    if let Some(config) = &loaded.config {
        servers(config, &loaded);
    }
    loaded
}

/// Whether the text itself spells the secret out: it is said in a world with another one, too.
fn is_written(text: &str) -> bool {
    load(text, "another").problems.iter().any(|problem| problem.to_string().contains(SECRET))
}

fn servers(config: &Config, loaded: &Loaded) {
    let mut names: Vec<String> = Vec::new();
    for entry in &config.servers {
        let lower = entry.name.as_str().to_lowercase();
        assert!(!names.contains(&lower), "{lower} twice");
        names.push(lower);
        let own = || loaded.problems.iter().filter(|problem| problem.server.as_ref() == Some(&entry.name));
        match &entry.spec {
            Ok(spec) => {
                assert_eq!(own().count(), 0, "{} runs although something is wrong with it", entry.name);
                assert_eq!(spec.name, entry.name);
                assert!(!spec.command.is_empty() && spec.cwd.is_absolute());
                assert!(!format!("{spec:?}").contains(SECRET) || in_plain_sight(spec), "a secret in a log");
                assert_eq!(spec.fingerprint(), spec.clone().fingerprint());
            }
            Err(problems) => {
                assert!(!problems.is_empty() && own().count() > 0, "{} fails without a reason", entry.name)
            }
        }
    }
}

/// Only `env` is kept from logs; who puts a secret into an argument shows it to every `ps`.
fn in_plain_sight(spec: &config::ServerSpec) -> bool {
    let mut spec = spec.clone();
    spec.env.clear();
    format!("{spec:?}").contains(SECRET)
}

fn plan(from: Option<&Config>, to: &Config) {
    let plan = diff(from, to);
    for step in &plan.steps {
        let (config::Step::Change(entry, _) | config::Step::Add(entry)) = step else { continue };
        let before = from.and_then(|config| config.server(entry.name.as_str()));
        assert_ne!(before, Some(entry), "a step for a server that did not change");
    }
    assert_eq!(plan.apply(from.cloned()).as_ref(), Some(to), "the plan leads to what it was made for");
}
