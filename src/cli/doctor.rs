//! `hub doctor`: what is wrong, and what to do about it; and servers that were left behind.
//!
//! In: findings, orphans, perhaps a yes. Out: a page or a document, and 1 when something does not work. Owns nothing. May
//! not: end a process that was not shown, or without a yes.

use std::fmt::Write as _;

use serde_json::json;

use crate::config::Config;
use crate::doctor::orphans::{self, Orphan};
use crate::doctor::{self, Finding, Level};

use super::args::DoctorArgs;
use super::edit;
use super::failure::{Exit, Failure};
use super::harmless::harmless;
use super::import::{asked, is_asking};
use super::out::{Tone, bytes, span};
use super::resolve::Setting;

pub(super) async fn run(args: &DoctorArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    if args.orphans {
        return left_behind(args, setting);
    }
    let findings = doctor::examine(&setting.dirs).await;
    let failed = findings.iter().filter(|finding| finding.level == Level::Fail).count();
    if args.json {
        let document = json!({ "schema": 1, "ok": failed == 0, "findings": findings });
        setting.out.document(document.to_string().as_bytes())?;
    } else {
        findings.iter().try_for_each(|finding| show(finding, setting))?;
    }
    match failed {
        0 => Ok(()),
        _ if args.json => Err(Failure::said(Exit::Failed)),
        // Each has said what to do.
        1 => Err(Failure::new(Exit::Failed, "1 thing does not work")),
        count => Err(Failure::new(Exit::Failed, format!("{count} things do not work"))),
    }
}

fn show(finding: &Finding, setting: &Setting<'_>) -> Result<(), Failure> {
    let out = setting.out;
    let level = match finding.level {
        Level::Ok => out.paint(Tone::Good, "ok  "),
        Level::Warn => out.paint(Tone::Busy, "warn"),
        Level::Fail => out.paint(Tone::Bad, "fail"),
    };
    let about = out.paint(Tone::Strong, &finding.about);
    let mut page = format!("{level}  {about}: {}\n", out.paint(Tone::Plain, &harmless(&finding.what)));
    for line in &finding.lines {
        let _ = writeln!(page, "        {}", out.paint(Tone::Faint, &harmless(line)));
    }
    if let Some(hint) = &finding.hint {
        let _ = writeln!(page, "      {} {}", out.paint(Tone::Strong, "→"), out.paint(Tone::Plain, hint));
    }
    out.text(&page)
}

fn left_behind(args: &DoctorArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let config = edit::read(&setting.dirs.config_file).ok().flatten();
    let config: Option<Config> = config.and_then(|text| edit::judge(&text, &setting.dirs.config_file).config);
    let mut found = orphans::find(config.as_ref());
    if let Some(pid) = args.pids.iter().find(|pid| !found.iter().any(|orphan| orphan.pid == **pid)) {
        return Err(Failure::new(Exit::Failed, format!("{pid} is no MCP server that was left behind"))
            .hint("`hub doctor --orphans` lists those that are"));
    }
    found.retain(|orphan| args.pids.is_empty() || args.pids.contains(&orphan.pid));
    if args.json {
        let document = json!({ "schema": 1, "orphans": found });
        setting.out.document(document.to_string().as_bytes())?;
    } else {
        setting.out.text(&page(&found, setting))?;
    }
    if !args.kill {
        return Ok(());
    }
    // Of the others nobody knows but the person who names them.
    found.retain(|orphan| orphan.certain || args.pids.contains(&orphan.pid));
    if found.is_empty() {
        return Ok(());
    }
    if !args.yes && !asked(setting)? {
        let failure = Failure::new(Exit::Failed, "nothing was ended");
        return Err(if is_asking() { failure } else { failure.hint("add `--yes` to end them without being asked") });
    }
    let stubborn: Vec<String> = found
        .iter()
        .filter(|orphan| !orphans::end(orphan, config.as_ref()))
        .map(|orphan| orphan.pid.to_string())
        .collect();
    if !stubborn.is_empty() {
        let failure = Failure::new(Exit::Failed, format!("still running: {}", stubborn.join(", ")));
        return Err(failure
            .hint("they hang in the system, as on a network disk that is gone; a restart of the machine ends them"));
    }
    let memory: u64 = found.iter().map(|orphan| orphan.pss_bytes).sum();
    if !args.json {
        let plural = if found.len() == 1 { "" } else { "s" };
        setting.out.line(&format!("ended {} server{plural}: {} are free again", found.len(), bytes(memory)))?;
    }
    Ok(())
}

fn page(orphans: &[Orphan], setting: &Setting<'_>) -> String {
    if orphans.is_empty() {
        return "no MCP server was left behind by its client\n".to_owned();
    }
    let row = |orphan: &Orphan| {
        vec![
            (orphan.pid.to_string(), Tone::Strong),
            (span(orphan.age_seconds), Tone::Plain),
            (orphan.processes.to_string(), Tone::Plain),
            (bytes(orphan.pss_bytes), Tone::Plain),
            (orphan.command.clone(), Tone::Plain),
            (if orphan.certain { orphan.why.clone() } else { format!("? {}", orphan.why) }, Tone::Faint),
        ]
    };
    let unsure = orphans.iter().filter(|orphan| !orphan.certain).count();
    let note = match unsure {
        0 => String::new(),
        _ => format!(
            "Of {unsure} (`?`) it cannot be seen whether their client lives: `--kill` ends those only by their PID.\n"
        ),
    };
    let header = ["PID", "AGE", "PROCESSES", "MEM", "COMMAND", "WHY"];
    let table = setting.out.table(&header, &["PID", "AGE", "PROCESSES", "MEM"], orphans.iter().map(row).collect());
    let memory = bytes(orphans.iter().filter(|orphan| orphan.certain).map(|orphan| orphan.pss_bytes).sum());
    let total = match orphans.len() - unsure {
        0 => String::new(),
        certain => format!("{certain} left behind, {memory}. `hub doctor --orphans --kill` ends them.\n"),
    };
    format!("{table}\n{total}{note}")
}
