//! How servers come up, while one waits for it.
//!
//! In: the status of the daemon, again and again. Out: on a terminal a spinner per server, elsewhere a line per event and
//! at least one per second. Owns what was shown. May not: wait, or decide what a failure costs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::control::proto::{Server, Status};
use crate::limits::{UP_GRACE, UP_SAY_EVERY};
use crate::server::State;

use super::failure::Failure;
use super::harmless::harmless;
use super::out::{Out, Tone, first_line};

/// Longest line of a failure here; all of it is in `hub status`.
const FAILURE_CHARS_MAX: usize = 160;

/// How a server is, for one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It will be something else soon.
    Waiting,
    Ready,
    /// It is not to run now: lazy, idle or disabled.
    Resting,
    Failed,
}

/// See the module.
pub(super) struct Progress<'a> {
    out: &'a Out,
    begun: Instant,
    said: Instant,
    shown: BTreeMap<String, Standing>,
    /// When a server was first seen dead.
    dead: BTreeMap<String, Instant>,
    lazy: BTreeSet<String>,
    spinners: Option<(MultiProgress, BTreeMap<String, ProgressBar>)>,
    silent: bool,
}

impl<'a> Progress<'a> {
    /// Begins to count. `silent`: one JSON document is all that may be printed. `lazy`: servers that wait for a request.
    pub(super) fn new(out: &'a Out, silent: bool, lazy: BTreeSet<String>) -> Self {
        let now = Instant::now();
        let spinners = (out.is_terminal() && !silent)
            .then(|| (MultiProgress::with_draw_target(ProgressDrawTarget::stdout()), BTreeMap::new()));
        let (shown, dead) = (BTreeMap::new(), BTreeMap::new());
        Self { out, begun: now, said: now, shown, dead, lazy, spinners, silent }
    }

    /// Says what is waited for, if nothing was said for a second.
    pub(super) fn tick(&mut self, what: &str) -> Result<(), Failure> {
        if self.said.elapsed() >= UP_SAY_EVERY && self.spinners.is_none() {
            self.line(&harmless(what))?;
        }
        Ok(())
    }

    /// Shows what is new. Returns whether somebody is still waited for.
    pub(super) fn show(&mut self, status: &Status) -> Result<bool, Failure> {
        let mut waiting = Vec::new();
        for server in &status.servers {
            let standing = self.standing(server);
            if standing == Standing::Waiting {
                waiting.push(format!("{} ({})", server.name, server.state.as_str()));
            }
            // A failure is told when it happens, not when hope is lost.
            let told = if standing == Standing::Waiting && is_dead(server) { Standing::Failed } else { standing };
            if self.shown.insert(server.name.clone(), told) != Some(told) {
                self.event(server, told)?;
            }
        }
        if !waiting.is_empty() {
            self.tick(&format!("waiting for {}", waiting.join(", ")))?;
        }
        Ok(!waiting.is_empty())
    }

    /// How a server is, now.
    pub(super) fn standing(&mut self, server: &Server) -> Standing {
        match server.state {
            State::Ready => {
                self.dead.remove(&server.name);
                Standing::Ready
            }
            State::Disabled => Standing::Resting,
            State::Failed => Standing::Failed,
            State::Stopped if self.lazy.contains(&server.name) || self.begun.elapsed() > UP_GRACE => Standing::Resting,
            // It is tried again by itself, and may come up soon; one that dies again and again is not waited for.
            _ if is_dead(server) || self.dead.contains_key(&server.name) => {
                let since = *self.dead.entry(server.name.clone()).or_insert_with(Instant::now);
                if since.elapsed() > UP_GRACE { Standing::Failed } else { Standing::Waiting }
            }
            _ => Standing::Waiting,
        }
    }

    fn event(&mut self, server: &Server, standing: Standing) -> Result<(), Failure> {
        let (tone, word, more) = match standing {
            Standing::Ready => (Tone::Good, "ready", format!("{} tools", server.tools)),
            Standing::Failed => (Tone::Bad, "failed", failure(server)),
            Standing::Resting if server.state == State::Disabled => (Tone::Faint, "disabled", String::new()),
            Standing::Resting => (Tone::Faint, "lazy", "starts with its first request".to_owned()),
            Standing::Waiting => (Tone::Busy, "starting", String::new()),
        };
        let word = self.out.paint(tone, &format!("{word:<8}"));
        let text = format!("{} {word} {more}", harmless(&server.name)).trim_end().to_owned();
        let Some((all, bars)) = &mut self.spinners else { return self.line(&text) };
        let bar = bars.entry(server.name.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        match standing {
            Standing::Waiting => bar.set_message(text),
            _ => bar.finish_with_message(text),
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.said = Instant::now();
        if self.silent {
            return Ok(());
        }
        self.out.text(&format!("{:>6.1}s  {text}\n", self.begun.elapsed().as_secs_f64()))
    }

    /// Leaves what was shown on the terminal; what comes next begins a line of its own.
    pub(super) fn end(&self) -> Result<(), Failure> {
        let bars = self.spinners.iter().flat_map(|(_, bars)| bars.values());
        bars.filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        let is_drawn = self.spinners.as_ref().is_some_and(|(_, bars)| !bars.is_empty());
        if is_drawn { self.out.text("\n") } else { Ok(()) }
    }
}

fn style() -> ProgressStyle {
    // The template is a constant: a mistake in it would only take the clock away.
    ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn is_dead(server: &Server) -> bool {
    matches!(server.state, State::Backoff | State::Failed) && server.last_failure.is_some()
}

/// Stage, message and the last line of stderr in one line.
fn failure(server: &Server) -> String {
    let Some(failure) = &server.last_failure else { return String::new() };
    let message = harmless(&failure.message);
    let mut text = format!("{}: {}", failure.stage, first_line(&message, FAILURE_CHARS_MAX));
    let last = message.trim_end().lines().skip(1).last().map(str::trim).filter(|line| !line.is_empty());
    if let Some(last) = last {
        text.push_str(" | ");
        text.push_str(&first_line(last, FAILURE_CHARS_MAX));
    }
    text
}
