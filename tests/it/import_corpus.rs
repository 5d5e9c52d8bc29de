//! Config files as people have them: each case of `tests/corpus/import` is moved in, moved in again, and taken back.
//!
//! In: folders with a `case.txt` and the files before and after. Out: a verdict for each. Owns nothing. May not: hold a
//! real secret: every value that stands for one contains `s3cr3t`.
//!
//! `case.txt` says what the case is about, then lines that begin with `!` (see [`Case::directive`]), then `---`, then what
//! import says of every entry. `HUB_UPDATE_CORPUS=1` writes that and `after/` anew; read the difference before you keep it.

use crate::support::user::{Thing, Tree, User, differences};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Part of every value that must not be shown.
const SECRET: &str = "s3cr3t";

struct Case {
    folder: PathBuf,
    user: User,
    /// The lines before the report.
    about: String,
    report: String,
    args: Vec<String>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/import")
}

/// All files below a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (from, mut rest, mut all) = (from.as_bytes(), bytes, Vec::new());
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        all.extend_from_slice(&rest[..at]);
        all.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    all.extend_from_slice(rest);
    all
}

impl Case {
    fn open(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("case.txt")).expect("case.txt");
        let (about, report) = text.split_once("---\n").unwrap_or((&text, ""));
        let (about, report) = (about.to_owned(), report.to_owned());
        let mut case = Self { folder: folder.to_owned(), user: User::new(), about, report, args: Vec::new() };
        for file in files(&folder.join("before")) {
            let bytes = fs::read(folder.join("before").join(&file)).expect("a file");
            let name = file.to_str().expect("a name").to_owned();
            case.user.write(&name, &case.with_places(&bytes));
        }
        for line in case.about.clone().lines().filter_map(|line| line.strip_prefix("! ")) {
            case.directive(line);
        }
        case
    }

    /// `args …`, `env NAME=VALUE`, `mode FILE OCTAL`, `link FILE TARGET`, `git FOLDER FILE…`, `folder NAME`.
    fn directive(&mut self, line: &str) {
        let line = String::from_utf8(self.with_places(line.as_bytes())).expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["args", args @ ..] => self.args = args.iter().map(|&arg| arg.to_owned()).collect(),
            ["env", pair] => {
                let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                self.user.env.push((name.to_owned(), value.to_owned()));
            }
            ["mode", file, mode] => self.user.chmod(file, u32::from_str_radix(mode, 8).expect("octal")),
            ["link", file, target] => {
                let path = self.user.path(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                std::os::unix::fs::symlink(target, path).expect("a link");
            }
            ["git", folder, files @ ..] => self.user.git_add(folder, files),
            ["folder", name] => fs::create_dir_all(self.user.path(name)).expect("a folder"),
            _ => panic!("not a directive: {line}"),
        }
    }

    fn places(&self) -> Vec<(String, String)> {
        let place = |name: &str| self.user.path(name).display().to_string();
        let settings = place("config/").trim_end_matches('/').to_owned();
        let hub = crate::support::setup::hub_binary().display().to_string();
        vec![
            ("@CONFIG@".into(), settings),
            ("@HOME@".into(), place("home")),
            ("@PROJECT@".into(), place("project")),
            ("@OTHER@".into(), place("other")),
            ("@STATE@".into(), place("state")),
            ("@HUBTOML@".into(), place("hub/hub.toml")),
            ("@HUB@".into(), hub),
        ]
    }

    fn ports(&self) -> impl Iterator<Item = (String, u16)> {
        let first = self.user.port;
        (0..64).map(move |offset| (format!("@PORT{offset}@"), first + offset))
    }

    /// With this test's places for the words that stand for them.
    fn with_places(&self, bytes: &[u8]) -> Vec<u8> {
        let bytes = self.places().iter().fold(bytes.to_owned(), |bytes, (word, place)| replaced(&bytes, word, place));
        self.ports().fold(bytes, |bytes, (word, port)| replaced(&bytes, &word, &port.to_string()))
    }

    /// With the words again.
    fn with_words(&self, bytes: &[u8]) -> Vec<u8> {
        let bytes = self.places().iter().fold(bytes.to_owned(), |bytes, (word, place)| replaced(&bytes, place, word));
        self.ports().fold(bytes, |bytes, (word, port)| replaced(&bytes, &port.to_string(), &word))
    }

    fn import(&self, more: &[&str]) -> Vec<String> {
        ["import"].iter().chain(more).map(|&arg| arg.to_owned()).chain(self.args.iter().cloned()).collect()
    }

    fn hub(&self, args: &[String]) -> crate::support::hub::Output {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = self.user.cli(&args);
        assert!(!output.stdout.contains(SECRET) && !output.stderr.contains(SECRET), "a secret is shown: {output:?}");
        output
    }

    /// What import says, one line each.
    fn told(&self, document: &Value) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut told = String::new();
        for file in document["files"].as_array().expect("files") {
            let path = text(&file["path"]);
            if let Some(why) = file["left"].as_str() {
                let _ = writeln!(told, "{path}: left: {why}");
            }
            for entry in file["entries"].as_array().expect("entries") {
                let to = entry["server"].as_str().or(entry["reason"].as_str()).unwrap_or("all servers");
                let by = entry["overridden_by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
                let project = entry["project"].as_str().map(|of| format!(" of {of}")).unwrap_or_default();
                let (name, fate) = (text(&entry["name"]), text(&entry["fate"]));
                let _ = writeln!(told, "{path}: {name:?}{project}: {fate}{by}: {to}");
            }
        }
        for server in document["servers"].as_array().expect("servers") {
            let _ = write!(told, "server {}: {}", text(&server["name"]), text(&server["command"]));
            let _ = writeln!(
                told,
                " ({} entries{})",
                server["entries"],
                if server["new"] == true { "" } else { ", known" }
            );
        }
        for warning in document["warnings"].as_array().expect("warnings") {
            let _ = writeln!(told, "warning: {}", text(warning));
        }
        String::from_utf8(self.with_words(told.as_bytes())).expect("text")
    }

    /// The files that an import changed, with words for places. `state` is hub's own.
    fn changed(&self, before: &Tree, after: &Tree) -> BTreeMap<String, Vec<u8>> {
        let settings = self.user.path("config/");
        let settings = settings.strip_prefix(self.user.root()).expect("below").to_owned();
        let mut changed = BTreeMap::new();
        for path in differences(before, after).into_iter().filter(|path| !path.starts_with("state")) {
            let Some((_, Thing::File(bytes))) = after.get(&path) else { continue };
            let name = match path.strip_prefix(&settings) {
                Ok(below) => Path::new("config").join(below),
                Err(_) => path,
            };
            changed.insert(name.display().to_string(), self.with_words(bytes));
        }
        changed
    }

    fn update(&self, report: &str, changed: &BTreeMap<String, Vec<u8>>) {
        fs::write(self.folder.join("case.txt"), format!("{}---\n{report}", self.about)).expect("a file");
        let after = self.folder.join("after");
        if after.exists() {
            fs::remove_dir_all(&after).expect("a folder");
        }
        for (name, bytes) in changed {
            let path = after.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    }

    fn check(&self) {
        let before = self.user.tree();
        assert_eq!(self.hub(&self.import(&["--dry-run"])).code, 0);
        assert_eq!(differences(&before, &self.user.tree()), Vec::<PathBuf>::new(), "a dry run changes nothing");

        let output = self.hub(&self.import(&["--yes", "--json"]));
        assert_eq!(output.code, 0, "{output:?}");
        let moved = self.user.tree();
        let (told, changed) = (self.told(&output.json()), self.changed(&before, &moved));
        if std::env::var_os("HUB_UPDATE_CORPUS").is_some() {
            self.update(&told, &changed);
        } else {
            assert_eq!(told, self.report, "what import says");
            self.compare(&changed);
        }
        for (path, (mode, _)) in before.iter().filter(|(path, _)| moved.contains_key(*path)) {
            let now = moved[path].0;
            assert!(
                now == *mode || path.ends_with("hub.toml") && now == 0o600,
                "{}: {mode:o} is {now:o}",
                path.display()
            );
        }
        self.hub(&["check".to_owned(), "--json".to_owned()]).json()["problems"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|problem| assert_eq!(problem["kind"], "environment", "{problem}"));

        let again = self.hub(&self.import(&["--yes", "--json"]));
        assert_eq!(again.code, 0, "{again:?}");
        assert_eq!(again.json()["changes"], serde_json::json!([]), "a second import has nothing to do");
        assert_eq!(differences(&moved, &self.user.tree()), Vec::<PathBuf>::new(), "and changes nothing");

        let undone = self.hub(&["undo".to_owned()]);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(differences(&before, &self.user.tree()), Vec::<PathBuf>::new(), "all is as it was");
        assert!(self.hub(&["undo".to_owned()]).stdout.starts_with("Nothing to undo"));
    }

    fn compare(&self, changed: &BTreeMap<String, Vec<u8>>) {
        let after = self.folder.join("after");
        let wanted: BTreeMap<String, Vec<u8>> = files(&after)
            .into_iter()
            .map(|file| (file.display().to_string(), fs::read(after.join(&file)).expect("a file")))
            .collect();
        let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(changed), names(&wanted), "the files that import changes");
        for (name, bytes) in changed {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(text(bytes), text(&wanted[name]), "{name}");
            assert!(bytes == &wanted[name], "{name}");
        }
    }
}

/// Every case on its own; all are looked at before the test fails.
#[test]
fn all_cases() {
    let only = std::env::var("HUB_CORPUS_CASE").ok();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(corpus()).expect("the corpus").flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.is_dir() && only.as_ref().is_none_or(|only| folder.ends_with(only)));
    folders.sort();
    let failed: Vec<String> = folders
        .iter()
        .filter(|folder| {
            eprintln!("case {}", folder.display());
            std::panic::catch_unwind(|| Case::open(folder).check()).is_err()
        })
        .map(|folder| folder.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert!(failed.is_empty(), "of {} cases failed: {failed:?}", folders.len());
    assert!(only.is_some() || folders.len() >= 60, "{} cases", folders.len());
}
