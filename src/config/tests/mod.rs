//! Tests of reading a whole hub.toml: what is accepted, and the exact words of what is not.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

mod accepted;
mod any;
mod example;
mod one_bad;
mod refused;

use std::io;
use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../../hub.toml.example");

fn vars(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/me".to_owned()),
        "TOKEN" => Some("hunter2".to_owned()),
        "DIR" => Some("work".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/conf/token") => Ok("file-secret\n".to_owned()),
        Some("/conf/.env") => Ok("TOKEN=from-file\nONLY_FILE='x y'\n".to_owned()),
        Some("/conf/bad.env") => Ok("A=1\nhunter2\nB='open\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn is_dir(path: &Path) -> bool {
    !path.to_string_lossy().contains("none")
}

fn check(text: &str) -> Loaded {
    let (path, home) = (Path::new("/conf/hub.toml"), Path::new("/home/me"));
    load(text, &Context { path, home, cores: 2, vars: &vars, read: &read, is_dir: &is_dir })
}

fn said(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(Problem::to_string).collect()
}

#[track_caller]
fn good(text: &str) -> Config {
    let loaded = check(text);
    assert_eq!(said(&loaded), [""; 0]);
    assert!(!loaded.refuses_reload());
    loaded.config.expect("without problems there is a config")
}

#[track_caller]
fn spec(text: &str) -> ServerSpec {
    let config = good(&format!("[servers.s]\n{text}"));
    ServerSpec::clone(config.servers[0].spec.as_ref().expect("usable"))
}

/// The problems of a text, without `hub.toml:` before each.
#[track_caller]
fn bad(text: &str) -> Vec<String> {
    let loaded = check(text);
    assert!(!loaded.problems.is_empty(), "accepted");
    let strip = |line: String| line.strip_prefix("hub.toml").expect("names the file").to_owned();
    said(&loaded).into_iter().map(strip).collect()
}
