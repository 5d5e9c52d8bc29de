//! `hub logs`: what servers wrote to stderr.
//!
//! In: the log files. Out: their last lines, and what is added to them. Owns the places it has read to. May not: need a
//! daemon.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use crate::child::logs::{Follow, last_lines, path_of};
use crate::config::file;
use crate::platform::dirs;

use super::args::LogsArgs;
use super::failure::{Exit, Failure};
use super::harmless::harmless;
use super::out::{Out, Tone};
use super::resolve::Setting;

/// How often a followed file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn run(args: &LogsArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let folder = setting.dirs.logs();
    let names = match &args.name {
        Some(name) => vec![wanted(name, &folder, setting)?],
        None => all(&folder)?,
    };
    // Taken before the last lines are read, so that none is lost between; a line seen twice is the lesser evil, and needs
    // a write in that very moment.
    let mut follows: Vec<(String, Follow)> = Vec::new();
    if args.follow {
        follows.extend(names.iter().map(|name| (name.clone(), Follow::from_end(&folder, name))));
    }
    let with_names = args.name.is_none();
    let mut lines = Vec::new();
    for name in &names {
        lines.extend(last_lines(&folder, name, args.lines)?.into_iter().map(|line| (line, name.clone())));
    }
    // Each line begins with its time in a form that sorts as text.
    lines.sort_by(|(a, _), (b, _)| time(a).cmp(time(b)));
    let skipped = lines.len().saturating_sub(args.lines);
    print(&lines[skipped..], with_names, setting.out)?;
    if names.is_empty() && !args.follow {
        setting.out.note("no server has written anything to stderr yet");
    }
    if !args.follow {
        return Ok(());
    }
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        for (name, follow) in &mut follows {
            let lines: Vec<_> = follow.new_lines()?.into_iter().map(|line| (line, name.clone())).collect();
            print(&lines, with_names, setting.out)?;
        }
        if with_names {
            let new: Vec<_> =
                all(&folder)?.into_iter().filter(|name| follows.iter().all(|(known, _)| known != name)).collect();
            follows.extend(new.into_iter().map(|name| (name.clone(), Follow::from_start(&folder, &name))));
        }
    }
}

fn time(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn print(lines: &[(String, String)], with_names: bool, out: &Out) -> Result<(), Failure> {
    lines.iter().try_for_each(|(line, name)| {
        let name = if with_names { out.paint(Tone::Strong, name) + " " } else { String::new() };
        out.text(&format!("{name}{}\n", shown(line, out)))
    })
}

/// A line for a person at a terminal; as it was written for a file or a program.
fn shown<'a>(line: &'a str, out: &Out) -> Cow<'a, str> {
    if out.is_terminal() { harmless(line) } else { Cow::Borrowed(line) }
}

/// A name that has a log, or could have one.
fn wanted(name: &str, folder: &Path, setting: &Setting<'_>) -> Result<String, Failure> {
    if path_of(folder, name).exists() || configured(setting).is_none_or(|names| names.iter().any(|known| known == name))
    {
        return Ok(name.to_owned());
    }
    let known = configured(setting).unwrap_or_default();
    let failure = Failure::new(Exit::Failed, format!("there is no server `{name}` in hub.toml, and no log of one"));
    let near = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
    Err(match near.filter(|(score, _)| *score > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((_, near)) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!("servers are: {}", known.join(", "))),
    })
}

/// The servers of hub.toml; `None` when it cannot be read.
fn configured(setting: &Setting<'_>) -> Option<Vec<String>> {
    let path = &setting.dirs.config_file;
    let text = file::read(path).ok()?;
    let home = dirs::home_or_root();
    let config = file::load(&text, path, &home).config?;
    Some(config.servers.iter().map(|server| server.name.to_string()).collect())
}

/// Every server that has a log.
fn all(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".log").map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let line = "2026-01-01T00:00:00Z \x1b[31mred\x1b[0m \x1b]0;owned\x07";
        assert_eq!(shown(line, &Out::terminal()), r"2026-01-01T00:00:00Z red \x1b]0;owned\x07");
        assert_eq!(shown(line, &Out::plain()), line, "a file gets what was written");
    }
}
