//! `hub import`: the servers of all clients move into hub.
//!
//! In: arguments, a yes. Out: the plan, then what was done. Owns nothing. May not: change anything before the yes.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::SystemTime;

use crate::clients;
use crate::import::{self, ApplyError, DiscoverError, Done, Manner, PlanError, Selection};

use super::args::ImportArgs;
use super::check;
use super::failure::{Exit, Failure, chain};
use super::import_page::{self, Page};
use super::resolve::Setting;

pub(super) fn run(args: &ImportArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let from = args.from.as_deref().and_then(clients::client);
    let wanted = Selection { files: args.files.clone(), from };
    let manner = Manner { no_rewrite: args.no_rewrite, rewrite_committed: args.rewrite_committed };
    let plan = import::prepare(&wanted, manner, &setting.dirs).map_err(|error| no_plan(error, setting))?;
    let page = Page::new(setting.out);
    if !args.json {
        setting.out.text(&page.plan(&plan))?;
    }
    let goes_on = !plan.is_empty() && !args.dry_run && (args.yes || (!args.json && asked(setting)?));
    let done = goes_on.then(|| import::apply(&plan, &setting.dirs, SystemTime::now())).transpose().map_err(not_done)?;
    if args.json {
        setting.out.document(import_page::document(&plan, done.as_ref()).to_string().as_bytes())?;
    } else if let Some(done) = &done {
        setting.out.text(&page.done(done, &plan))?;
    }
    match done {
        Some(done) if !done.failed.is_empty() => Err(some_failed(&done)),
        None if !plan.is_empty() && !args.dry_run => {
            let failure = Failure::new(Exit::Failed, "nothing was changed");
            Err(if is_asking() { failure } else { failure.hint("`hub import --yes` does it without asking") })
        }
        _ => Ok(()),
    }
}

/// Is there somebody to ask?
pub(super) fn is_asking() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

pub(super) fn asked(setting: &Setting<'_>) -> Result<bool, Failure> {
    if !is_asking() {
        return Ok(false);
    }
    setting.out.text("\nGo on? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn no_plan(error: import::Error, setting: &Setting<'_>) -> Failure {
    match error {
        import::Error::Plan(PlanError::Invalid { path, problems }) => {
            for problem in &problems {
                setting.out.note(&super::harmless::harmless(&problem.to_string()));
            }
            Failure::new(Exit::Config, format!("{} has mistakes, so nothing is added to it", path.display()))
                .hint("mend it first; `hub check` says whether it is right")
        }
        import::Error::HubToml(error) => check::unreadable(&setting.dirs.config_file, &error),
        import::Error::File(DiscoverError::Unknown(_)) => {
            let ids: Vec<&str> = clients::CLIENTS.iter().map(|client| client.id).collect();
            Failure::new(Exit::Usage, chain(&error)).hint(format!("say it: --from {}", ids.join("|")))
        }
        error => Failure::new(Exit::Failed, chain(&error)),
    }
}

fn not_done(error: ApplyError) -> Failure {
    let failure = Failure::new(Exit::Failed, chain(&error));
    match error {
        ApplyError::HubToml { .. } => failure.hint("nothing was changed; run `hub import` again"),
        ApplyError::Busy => failure.hint("nothing was changed; wait for the other one, then run `hub import` again"),
        ApplyError::Unclosed(_) => failure.hint("`hub undo` takes it back"),
        _ => failure.hint("nothing was changed"),
    }
}

fn some_failed(done: &Done) -> Failure {
    let files: Vec<String> = done.failed.iter().map(|(path, why)| format!("{}: {why}", path.display())).collect();
    let message = format!("not written: {}", files.join("; "));
    Failure::new(Exit::Failed, message).hint("run `hub import` again: it does only what is left")
}
