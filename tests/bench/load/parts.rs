//! What is measured, part by part.
//!
//! In: programs and a pace. Out: rows in the report. Owns the gateways for the time of a part. May not: compare figures
//! that were not taken in turn.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::Pace;
use crate::call::{LIST, answer};
use crate::drive::{Load, Run, drive};
use crate::http::Conn;
use crate::procs::{Memory, pause};
use crate::report::{Goal, Report, Row, Unit};
use crate::stand::{Gateway, Home, Programs, floor};

/// Lazy servers of the idle hub.
const LAZY_SERVERS: usize = 50;
/// Sessions that are opened to weigh one.
const SESSIONS: u32 = 1000;
/// From `ready` to the reading of the idle memory.
const SETTLE: Duration = Duration::from_secs(5);

const LOADS: [Load; 6] = [
    Load { sessions: 1, in_flight: 1, bytes: 100 },
    Load { sessions: 8, in_flight: 4, bytes: 100 },
    Load { sessions: 1, in_flight: 1, bytes: 10_000 },
    Load { sessions: 8, in_flight: 4, bytes: 10_000 },
    Load { sessions: 1, in_flight: 1, bytes: 1_000_000 },
    Load { sessions: 8, in_flight: 4, bytes: 1_000_000 },
];

impl Load {
    fn title(self) -> String {
        let size = match self.bytes {
            1_000_000.. => format!("{} MB", self.bytes / 1_000_000),
            1000.. => format!("{} KB", self.bytes / 1000),
            bytes => format!("{bytes} B"),
        };
        let sessions = if self.sessions == 1 { "session" } else { "sessions" };
        format!("{} {sessions} × {} in flight, {size}", self.sessions, self.in_flight)
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let high = figures.get(middle)?;
    Some(if figures.len() % 2 == 1 { *high } else { f64::midpoint(*high, figures[middle - 1]) })
}

/// Client and server of either era.
const CELLS: [(&str, bool, usize); 4] = [
    ("modern client, modern server", true, 1),
    ("modern client, legacy server", true, 0),
    ("legacy client, modern server", false, 1),
    ("legacy client, legacy server", false, 0),
];

/// Client and server of either era: each against a floor that forwards the very same requests, those of modern clients
/// (which are larger) also against the one with legacy requests; and what a translation costs over a call that needs none.
pub async fn eras(programs: &Programs, pace: Pace, report: &mut Report) -> Result<()> {
    let home = Home::of_both_eras(programs)?;
    let hub = home.serve(programs)?;
    let mut sides: Vec<Gateway> =
        CELLS.iter().map(|(_, modern, server)| hub.at(home.server_address(*server), *modern)).collect();
    sides.push(floor(programs, false)?);
    sides.push(floor(programs, true)?);
    let names = CELLS.map(|cell| cell.0).into_iter().chain(["floor, legacy requests", "floor, modern requests"]);
    let wanted = |load: &Load| pace.bytes.is_none_or(|bytes| bytes == load.bytes) && load.bytes != 10_000;
    for load in LOADS.into_iter().filter(wanted) {
        let mut of_sides: [Vec<Run>; 6] = Default::default();
        for round in 0..pace.rounds {
            // Who goes first changes, so that a slow drift of the machine hits all alike.
            for turn in 0..sides.len() {
                let side = (round + turn) % sides.len();
                of_sides[side].push(drive(&sides[side], load, pace.round).await.context("a round of the eras")?);
            }
        }
        names.clone().zip(&of_sides).for_each(|(name, runs)| count(name, load, runs, report));
        let [cells @ .., of_legacy, of_modern] = &of_sides;
        for ((name, modern, _), runs) in CELLS.iter().zip(cells) {
            let part = format!("{name}: {} (floor: the same requests)", load.title());
            rows(&part, load, runs, if *modern { of_modern } else { of_legacy }, report);
            if *modern {
                let part = format!("{name}: {} (floor: legacy requests)", load.title());
                compare(&part, ("p50", &P50), (runs, of_legacy), None, report);
                compare(&part, ("CPU per call, gateway + child", &CPU), (runs, of_legacy), None, report);
            }
        }
        let [modern, to_legacy, to_modern, legacy] = cells;
        for (client, spliced, same) in [("modern", to_legacy, modern), ("legacy", to_modern, legacy)] {
            let part =
                format!("What the translation costs a {client} client (floor: hub without it): {}", load.title());
            let figure = Figure { of: |run| run.cpu.gateway, per_call: true };
            let figure = if load.sessions == 1 { P50 } else { figure };
            let what = if load.sessions == 1 { "p50" } else { "CPU of hub per call" };
            compare(&part, (what, &figure), (spliced, same), Some(Goal::Ratio(1.1)), report);
        }
    }
    Ok(())
}

const P50: Figure = Figure { of: |run| run.percentile(50), per_call: false };
const CPU: Figure = Figure { of: |run| run.cpu.gateway + run.cpu.child, per_call: true };

/// One figure of two sides.
fn compare(
    part: &str,
    (what, figure): (&str, &Figure),
    (one, other): (&[Run], &[Run]),
    goal: Option<Goal>,
    report: &mut Report,
) {
    report.rows.push(Row {
        part: part.to_owned(),
        what: what.to_owned(),
        unit: Unit::Time,
        hub: figure.over(one),
        floor: figure.over(other),
        ratio: figure.ratio(one, other),
        goal,
    });
}

/// Latency, throughput and CPU per call, under each load.
pub async fn calls(programs: &Programs, pace: Pace, with_hub: bool, report: &mut Report) -> Result<()> {
    let home = Home::new(programs, 1, 0)?;
    let hub = if with_hub { Some(home.serve(programs)?) } else { None };
    let floor = floor(programs, false)?;
    let wanted = |load: &Load| pace.bytes.is_none_or(|bytes| bytes == load.bytes);
    for load in LOADS.into_iter().filter(wanted) {
        let (mut of_hub, mut of_floor) = (Vec::new(), Vec::new());
        for round in 0..pace.rounds {
            // Who goes first alternates, so that a slow drift of the machine hits both alike.
            for turn in [round % 2, (round + 1) % 2] {
                match (&hub, turn) {
                    (Some(hub), 0) => {
                        of_hub.push(drive(hub, load, pace.round).await.context("hub")?);
                    }
                    (None, 0) => {}
                    _ => of_floor.push(drive(&floor, load, pace.round).await.context("floor")?),
                }
            }
        }
        rows(&load.title(), load, &of_hub, &of_floor, report);
        for (name, runs) in [("hub", &of_hub), ("floor", &of_floor)] {
            count(name, load, runs, report);
        }
    }
    Ok(())
}

/// Adds up what was right, and keeps what was not.
fn count(name: &str, load: Load, runs: &[Run], report: &mut Report) {
    report.replies += runs.iter().map(Run::calls).sum::<f64>();
    let faults = runs.iter().flat_map(|run| &run.faults);
    report.faults.extend(faults.map(|fault| format!("{name}, {}: {fault}", load.title())));
}

/// A figure of many runs, and how to compare two of them.
struct Figure {
    of: fn(&Run) -> f64,
    /// Seconds of CPU come in ticks of 10 ms: summed over all runs they say enough, in one run they do not.
    per_call: bool,
}

impl Figure {
    fn over(&self, runs: &[Run]) -> Option<f64> {
        if !self.per_call {
            return median(runs.iter().map(self.of).collect());
        }
        let calls: f64 = runs.iter().map(Run::calls).sum();
        (calls > 0.0).then(|| runs.iter().map(self.of).sum::<f64>() / calls)
    }

    /// The median of the ratios within a round: what disturbs the machine for longer than a round cancels out.
    fn ratio(&self, hub: &[Run], floor: &[Run]) -> Option<f64> {
        if self.per_call {
            return Some(self.over(hub)? / self.over(floor)?);
        }
        let pairs = hub.iter().zip(floor);
        median(pairs.map(|(hub, floor)| (self.of)(hub) / (self.of)(floor)).collect())
    }
}

fn rows(part: &str, load: Load, hub: &[Run], floor: &[Run], report: &mut Report) {
    let mut row = |what: &str, unit, figure: &Figure, goal| {
        report.rows.push(Row {
            part: part.to_owned(),
            what: what.to_owned(),
            unit,
            hub: figure.over(hub),
            floor: figure.over(floor),
            ratio: figure.ratio(hub, floor),
            goal,
        });
    };
    let each = |of| Figure { of, per_call: false };
    let cpu = |of| Figure { of, per_call: true };
    let alone = load.sessions * load.in_flight == 1;
    let latency_goal = (alone && load.bytes != 10_000).then_some(Goal::Ratio(1.5));
    let cpu_goal = (!alone && load.bytes == 100).then_some(Goal::Ratio(2.0));
    row("p50", Unit::Time, &each(|run| run.percentile(50)), latency_goal);
    row("p99", Unit::Time, &each(|run| run.percentile(99)), None);
    row("calls per second", Unit::Rate, &each(Run::rate), None);
    let both = cpu(|run| run.cpu.gateway + run.cpu.child);
    row("CPU per call, gateway + child", Unit::Time, &both, cpu_goal);
    row("  gateway", Unit::Time, &cpu(|run| run.cpu.gateway), None);
    row("  child", Unit::Time, &cpu(|run| run.cpu.child), None);
    row("  (the generator itself)", Unit::Time, &cpu(|run| run.cpu.generator), None);
}

fn push(report: &mut Report, part: &str, what: &str, unit: Unit, hub: Option<f64>, goal: Option<f64>) {
    let (part, what, goal) = (part.to_owned(), what.to_owned(), goal.map(Goal::Below));
    report.rows.push(Row { part, what, unit, hub, floor: None, ratio: None, goal });
}

/// Opens a session as a client does: connect, initialize, initialized, list the tools.
async fn ready_session(hub: &Gateway) -> Result<f64> {
    let start = Instant::now();
    let mut conn = Conn::open(hub.target.address).await?;
    let target = hub.open_session(&mut conn).await?;
    let reply = conn.exchange(&target.post(LIST)).await?;
    let took = start.elapsed().as_secs_f64();
    let list = answer(&reply).map_err(|wrong| anyhow::anyhow!("tools/list: {wrong}"))?;
    ensure!(list["result"]["tools"][0]["name"] == "echo", "tools/list was answered with {list}");
    hub.close_session(&mut conn, &target).await?;
    Ok(took)
}

/// The time to a session that has its tools, the child running.
pub async fn warm_session(programs: &Programs, pace: Pace, report: &mut Report) -> Result<()> {
    let home = Home::new(programs, 1, 0)?;
    let hub = home.serve(programs)?;
    ready_session(&hub).await.with_context(|| home.log_tail())?;
    let mut times = Vec::new();
    for _ in 0..pace.repeats * 10 {
        times.push(ready_session(&hub).await?);
    }
    times.sort_by(f64::total_cmp);
    let part = "Warm session: connect, initialize, initialized, tools/list";
    push(report, part, "p50", Unit::Time, times.get(times.len() / 2).copied(), Some(0.005));
    push(report, part, "p99", Unit::Time, times.get(times.len() * 99 / 100).copied(), None);
    Ok(())
}

/// The memory of a hub that nobody uses.
pub async fn idle_memory(programs: &Programs, report: &mut Report) -> Result<()> {
    let home = Home::new(programs, 0, LAZY_SERVERS)?;
    let hub = home.serve(programs)?;
    tokio::time::sleep(SETTLE).await;
    let alone = Memory::of(hub.running.pid())?;
    let tree = Memory::of_tree(hub.running.pid())?;
    let part = format!("Idle with {LAZY_SERVERS} lazy servers, {} s after ready", SETTLE.as_secs());
    push(report, &part, "RSS of hub", Unit::Bytes, Some(alone.rss), Some(15e6));
    push(report, &part, "PSS of hub", Unit::Bytes, Some(alone.pss), None);
    push(report, &part, "PSS of hub and its helpers", Unit::Bytes, Some(tree.pss), Some(15e6));
    Ok(())
}

/// What a session costs that does nothing: without a connection, and with its GET stream open.
pub async fn session_memory(programs: &Programs, report: &mut Report) -> Result<()> {
    let home = Home::new(programs, 1, 0)?;
    let hub = home.serve(programs)?;
    let pid = hub.running.pid();
    for _ in 0..20 {
        ready_session(&hub).await?;
    }
    let before = Memory::of(pid)?;
    let mut conn = Conn::open(hub.target.address).await?;
    let mut targets = Vec::new();
    for _ in 0..SESSIONS {
        targets.push(hub.open_session(&mut conn).await?);
    }
    pause(Duration::from_millis(500));
    let idle = Memory::of(pid)?.since(before);
    let mut streams = Vec::new();
    for target in &targets {
        let mut stream = Conn::open(target.address).await?;
        let status = stream.exchange_head(&target.listen()).await?;
        ensure!(status == 200, "GET was answered with {status}");
        streams.push(stream);
    }
    pause(Duration::from_millis(500));
    let listening = Memory::of(pid)?.since(before);
    let part = format!("Memory per idle session, over {SESSIONS} sessions");
    let each = |bytes: f64| Some(bytes / f64::from(SESSIONS));
    push(report, &part, "RSS, no connection", Unit::Bytes, each(idle.rss), Some(64e3));
    push(report, &part, "RSS, GET stream open", Unit::Bytes, each(listening.rss), Some(64e3));
    Ok(())
}

/// Seconds from just before exec until a connection is accepted, a request on it is answered, and hub says `ready`.
fn start_once(home: &Home, programs: &Programs) -> Result<[f64; 3]> {
    let running = home.start(programs)?;
    let mut stream = connect(home.hub_address(), running.started)
        .with_context(|| format!("hub does not accept:\n{}", home.log_tail()))?;
    let accepted = running.started.elapsed().as_secs_f64();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    let answered = running.started.elapsed().as_secs_f64();
    ensure!(status == *b"HTTP/1.1 200", "healthz was answered with {}", String::from_utf8_lossy(&status));
    running.wait_ready()?;
    Ok([accepted, answered, running.started.elapsed().as_secs_f64()])
}

fn connect(address: SocketAddr, started: Instant) -> Result<TcpStream> {
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) if started.elapsed() > Duration::from_secs(10) => return Err(error.into()),
            Err(_) => pause(Duration::from_micros(200)),
        }
    }
}

/// The time from exec to the first connection: on the first start ever, and on later ones.
pub fn start(programs: &Programs, pace: Pace, report: &mut Report) -> Result<()> {
    for (eager, lazy) in [(1, 0), (0, LAZY_SERVERS)] {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for _ in 0..pace.repeats {
            let home = Home::new(programs, eager, lazy)?;
            first.push(start_once(&home, programs)?);
            later.push(start_once(&home, programs)?);
        }
        for (name, times) in [("first start", first), ("later starts", later)] {
            let count = eager + lazy;
            let part = format!("From exec, {count} server{}, {name}", if count == 1 { "" } else { "s" });
            let figure = |at: usize| median(times.iter().map(|time| time[at]).collect());
            push(report, &part, "a connection is accepted", Unit::Time, figure(0), Some(0.1));
            push(report, &part, "a request is answered", Unit::Time, figure(1), Some(0.1));
            push(report, &part, "`ready` is printed", Unit::Time, figure(2), None);
        }
    }
    Ok(())
}
