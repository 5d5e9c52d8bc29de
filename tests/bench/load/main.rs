//! The load generator of `scripts/bench`: hub and the floor side by side in one run, every reply checked.
//!
//! In: paths of the programs that the script built. Out: a table on stdout, perhaps a JSON file; exit code 1 when a reply
//! is wrong or missing, or with `--check` when a goal is missed. Owns what it starts. May not: measure one of the two
//! at another time than the other (the machine may be busy, so they take turns).

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};

mod call;
mod drive;
mod http;
mod parts;
mod procs;
mod report;
mod stand;

use report::Report;
use stand::Programs;

/// Compares hub with a bare forwarder and checks every reply.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Fewer and shorter rounds: a look, not a measurement.
    #[arg(long)]
    quick: bool,
    /// Fail also when a goal is missed.
    #[arg(long)]
    check: bool,
    /// Write all figures to FILE.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only these parts.
    #[arg(long, value_name = "PART", value_enum)]
    only: Vec<Part>,
    /// Of the calls, measure only those with this payload (100, 10000 or 1000000).
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// Rounds in which hub and the floor take turns.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Latency, throughput and CPU per call.
    Calls,
    /// The same for client and server of either era.
    Eras,
    /// Time to a ready session.
    Session,
    /// Memory, idle and per session.
    Memory,
    /// Time from exec to the first connection.
    Start,
    /// The floor alone.
    Floor,
}

/// How often and how long is measured.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rounds: usize,
    round: Duration,
    repeats: usize,
    /// The only payload, if not all.
    bytes: Option<usize>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = io::stdout().lock();
    match run(&args, &mut out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(io::stderr(), "bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, out: &mut impl Write) -> Result<bool> {
    let programs = args.programs.resolve()?;
    procs::allow_many_files()?;
    let mut pace = if args.quick {
        Pace { rounds: 5, round: Duration::from_millis(200), repeats: 5, bytes: args.bytes }
    } else {
        Pace { rounds: 25, round: Duration::from_millis(300), repeats: 20, bytes: args.bytes }
    };
    pace.rounds = args.rounds.unwrap_or(pace.rounds);
    let about = format!(
        "{}; {} rounds of {} ms, hub and floor in turn, medians of the rounds",
        procs::machine(),
        pace.rounds,
        pace.round.as_millis()
    );
    writeln!(out, "{about}\n")?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(args, &programs, pace))?;
    writeln!(out, "{report}")?;
    if let Some(path) = &args.json {
        report.write_json(path, &about)?;
    }
    Ok(report.faults.is_empty() && !(args.check && report.missed() > 0))
}

async fn measure(args: &Args, programs: &Programs, pace: Pace) -> Result<Report> {
    let wants = |part| args.only.contains(&part) || (args.only.is_empty() && part != Part::Floor);
    let mut report = Report::default();
    if wants(Part::Floor) {
        parts::calls(programs, pace, false, &mut report).await?;
    }
    if wants(Part::Calls) {
        parts::calls(programs, pace, true, &mut report).await?;
    }
    if wants(Part::Eras) {
        parts::eras(programs, pace, &mut report).await?;
    }
    if wants(Part::Session) {
        parts::warm_session(programs, pace, &mut report).await?;
    }
    if wants(Part::Memory) {
        parts::idle_memory(programs, &mut report).await?;
        parts::session_memory(programs, &mut report).await?;
    }
    if wants(Part::Start) {
        parts::start(programs, pace, &mut report)?;
    }
    Ok(report)
}
