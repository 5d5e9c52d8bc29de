//! The command line: one file per verb.
//!
//! In: arguments. Out: text for a person or JSON for a program, and an exit code. Owns nothing that outlives the command.
//! May not: print except through `out`, exit except by returning, or start a server itself.

mod add;
pub mod args;
mod arguments;
mod call;
mod check;
mod completions;
mod connect;
mod doctor;
mod down;
mod edit;
mod entry;
mod export;
mod failure;
mod harmless;
mod import;
mod import_page;
mod linked;
mod logs;
mod man;
mod out;
mod page;
mod progress;
mod resolve;
mod serve;
mod service;
mod status;
mod tell;
mod tools;
mod undo;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

use crate::platform::dirs::Dirs;

use args::{Args, Verb};
use failure::Failure;
use out::Out;
use resolve::Setting;

/// Runs what was typed.
pub fn main() -> ExitCode {
    // Wrong usage, `--help` and `--version` are answered here, with the exit code that each deserves.
    let args = Args::parse();
    let out = Out::of_this_terminal();
    match run(args, &out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            out.failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(args: Args, out: &Out) -> Result<(), Failure> {
    let setting = || Setting::resolve(args.config.as_deref(), out);
    match args.verb {
        Verb::Serve => serve::run(args.config.as_deref()),
        Verb::Import(import) => import::run(&import, &setting()?),
        Verb::Undo(undo) => undo::run(&undo, &setting()?),
        Verb::Export(export) => export::run(&export, &setting()?),
        Verb::Check(check) => check::run(check.file.as_deref().or(args.config.as_deref()), check.json, out),
        Verb::Completions(completions) => completions::run(completions.shell, out),
        Verb::ServerNames => completions::names(&Dirs::find(args.config.as_deref())?, out),
        Verb::Man => man::run(out),
        Verb::Logs(logs) => logs::run(&logs, &setting()?),
        Verb::Status(status) => block_on(status::run(&status, &setting()?)),
        Verb::Tools(tools) => block_on(tools::run(&tools, &setting()?)),
        Verb::Call(call) => block_on(call::run(&call, &setting()?)),
        Verb::Doctor(doctor) => block_on(Box::pin(doctor::run(&doctor, &setting()?))),
        Verb::Add(add) => block_on(Box::pin(add::run(&add, &setting()?))),
        Verb::Remove(server) => block_on(add::remove(&server.name, &setting()?)),
        Verb::Restart(server) => block_on(tell::server("restart", &server.name, &setting()?)),
        Verb::Enable(server) => block_on(tell::server("enable", &server.name, &setting()?)),
        Verb::Disable(server) => block_on(tell::server("disable", &server.name, &setting()?)),
        Verb::Connect(connect) => {
            let dirs = Dirs::find(args.config.as_deref())?;
            block_on(Box::pin(connect::run(connect, dirs)))
        }
        Verb::Reload => block_on(tell::reload(&setting()?)),
        Verb::Up(up) => block_on(Box::pin(up::run(&up, &setting()?))),
        Verb::Service(verb) => block_on(Box::pin(service::run(&verb, args.config.as_deref(), &setting()?))),
        Verb::Down => block_on(Box::pin(down::run(&setting()?))),
    }
}

fn block_on(task: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(task)
}
