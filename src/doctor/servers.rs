//! Each server: is its program there, and how is it?
//!
//! In: hub.toml, the daemon's PATH, what the daemon says, logs of servers. Out: findings. Owns nothing. May not: start a program.

use std::path::Path;

use crate::child::logs::last_lines;
use crate::config::{ServerEntry, ServerSpec};
use crate::control::proto::AboutServer;
use crate::limits::DOCTOR_LOG_LINES_MAX;
use crate::server::{Failure, State};

use super::causes;
use super::{Finding, Scene};

pub(super) fn all(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(config) = scene.config() else { return Vec::new() };
    let path = scene.path();
    let servers = config.servers.iter().filter(|server| server.enabled);
    let logs = scene.dirs.logs();
    servers.map(|server| one(server, &path, running(scene, server.name.as_str()), &logs)).collect()
}

fn running<'a>(scene: &'a Scene<'_>, name: &str) -> Option<&'a AboutServer> {
    scene.about.as_ref().ok()?.servers.iter().find(|server| server.name == name)
}

fn one(server: &ServerEntry, path: &str, running: Option<&AboutServer>, logs: &Path) -> Finding {
    let about = format!("server {}", server.name);
    // Variables that are not set, files and folders that are not there.
    let spec = match &server.spec {
        Ok(spec) => spec,
        Err(problems) => {
            let what = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let hint = causes::hint(&what).unwrap_or("`hub check` shows the same; the others run");
            return Finding::fail(about, what).hint(hint);
        }
    };
    if let Some((state, failure)) = running.and_then(|running| Some((running.state, running.last_failure.as_ref()?)))
        // That of a port is told of the ports.
        && failure.stage != "listen"
    {
        return failed(about, server.name.as_str(), (state, failure), logs);
    }
    let finding = match (program(spec, path), running) {
        (Ok(program), None) => Finding::ok(about, format!("{program} is there")),
        (Ok(_), Some(running)) => {
            let tools = running.tools.map_or_else(String::new, |tools| format!(", {tools} tools"));
            Finding::ok(about, format!("{}{tools}", running.state.as_str()))
        }
        (Err(why), Some(running)) if running.state == State::Ready => {
            Finding::warn(about, format!("runs now, and would not start again: {why}"))
        }
        (Err(why), _) => Finding::fail(about, why),
    };
    match causes::hint(&finding.what) {
        Some(hint) if finding.level != super::Level::Ok => finding.hint(hint),
        _ => finding,
    }
}

fn failed(about: String, name: &str, (state, failure): (State, &Failure), logs: &Path) -> Finding {
    let (first, stderr) = failure.message.split_once("; stderr: ").unwrap_or((&failure.message, ""));
    let exit = if failure.exit.is_empty() { String::new() } else { format!(", {}", failure.exit) };
    let what = format!("{} ({}{exit}) since {}: {first}", state.as_str(), failure.stage, failure.since);
    let mut lines: Vec<String> = stderr.split(" | ").filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let mut hint = causes::hint(&failure.message);
    // The end of a stack trace does not say what happened: its beginning does.
    if hint.is_none() && !lines.is_empty() {
        let telling = last_start(logs, name).into_iter().find_map(|line| causes::hint(&line).map(|hint| (line, hint)));
        if let Some((line, found)) = telling {
            lines.insert(0, line);
            hint = Some(found);
        }
    }
    let fallback = || format!("`hub logs {name}` shows what it wrote; `hub restart {name}` tries again");
    Finding { lines, ..Finding::fail(about, what).hint(hint.map_or_else(fallback, str::to_owned)) }
}

/// What a server wrote to stderr since its last start, without times.
fn last_start(logs: &Path, name: &str) -> Vec<String> {
    let lines = last_lines(logs, name, DOCTOR_LOG_LINES_MAX).unwrap_or_default();
    // `TIME [GENERATION] TEXT`
    let parts = |line: &str| {
        let (generation, text) = line.split_once(" [")?.1.split_once("] ")?;
        Some((generation.to_owned(), text.to_owned()))
    };
    let lines: Vec<(String, String)> = lines.iter().filter_map(|line| parts(line)).collect();
    let last = lines.last().map(|(generation, _)| generation.clone());
    lines.into_iter().filter(|(generation, _)| Some(generation) == last.as_ref()).map(|(_, text)| text).collect()
}

/// The file that would run, or why there is none.
fn program(spec: &ServerSpec, path: &str) -> Result<String, String> {
    let own = spec.env.get("PATH").map(|path| path.expose().to_owned());
    let path = own.as_deref().unwrap_or(path);
    let found = which::which_in(&spec.command, Some(path), &spec.cwd);
    found.map(|file| file.display().to_string()).map_err(|_not_found| {
        if spec.command.contains('/') {
            format!("{} does not exist, or is not executable", spec.command)
        } else {
            format!("{} is not on PATH={path}", spec.command)
        }
    })
}
