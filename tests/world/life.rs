//! How the child comes, speaks, is heard and goes; how time passes; how everything ends.
//!
//! In: choices. Out: inputs of the mux. Owns nothing of its own. May not: check anything but that things end.

use std::time::Duration;

use bytes::Bytes;
use hub::mcp::{Era, ErrorObject, ListKind, Method};
use hub::server::{AskId, CallId, CallerId};

use super::child::Child;
use super::{Call, Choice, Command, Phase, Seen, URIS, World};

impl<C: Choice> World<C> {
    /// Lets everything come to an end, and sees that it does: every call gets its answer, nothing is left. Says what
    /// happened.
    pub fn finish(&mut self) -> &Seen {
        self.bring_up();
        for _ in 0..10_000 {
            let over = self.calls.values().all(|call| call.over);
            if self.mux.in_flight() == 0 && over && self.parks.is_empty() && self.commands.is_empty() {
                break;
            }
            self.everybody_does_their_part();
        }
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| !call.over).collect();
        assert!(open.is_empty(), "calls hang: {open:?}");
        assert!(self.parks.is_empty(), "calls stay parked: {:?}", self.parks);
        let callers: Vec<CallerId> = self.callers.keys().copied().collect();
        for caller in callers {
            self.close(caller);
        }
        for _ in 0..100 {
            self.everybody_does_their_part();
        }
        self.pass(Duration::from_hours(2));
        for _ in 0..100 {
            self.everybody_does_their_part();
        }
        assert_eq!(self.mux.sizes(), [0; 5], "calls, asks, tombs, subscriptions, tasks are left");
        assert_eq!(self.mux.leftovers(), Vec::<String>::new());
        let child = self.child.as_ref().expect("it was brought up");
        let left = child.certainly_subscribed();
        assert!(left.is_empty(), "the child still believes in subscribers of {left:?}");
        &self.seen
    }

    fn everybody_does_their_part(&mut self) {
        self.child_reads();
        let shown: Vec<AskId> = self.shown.iter().filter(|(_, shown)| !shown.answered).map(|(id, _)| *id).collect();
        for ask in shown {
            self.answer(ask);
        }
        let parked: Vec<CallId> = self.parks.keys().copied().collect();
        for call in parked {
            self.client_returns_well(call);
        }
        self.obey();
        self.child_reads();
        let child = self.child_mut();
        child.confirm_all();
        for wire in child.answerable() {
            child.answer(wire, true);
        }
        self.hub_reads(usize::MAX);
        self.pass(Duration::from_secs(1));
        if self.child.is_none() {
            self.child_comes(self.era);
        }
        self.drain();
        self.check();
    }

    fn bring_up(&mut self) {
        if self.child.is_none() {
            self.child_comes(self.era);
        }
        self.drain();
        for _ in 0..10 {
            if self.phase == Phase::Up {
                return;
            }
            self.everybody_does_their_part();
        }
        panic!("the child does not come up");
    }

    // === Time ===

    pub(super) fn time_passes(&mut self) -> Option<()> {
        // What is in a pipe gets there at once, compared with any of these.
        self.obey();
        self.child_reads();
        let confirms = self.choice.below(4)? > 0;
        self.child.iter_mut().filter(|_| confirms).for_each(Child::confirm_all);
        self.hub_reads(usize::MAX);
        let millis = self.choice.of(&[1, 20, 40, 60, 60, 500, 1500, 2500, 11_000, 16_000, 31_000, 610_000, 4_000_000]);
        self.pass(Duration::from_millis(millis?));
        Some(())
    }

    /// Lets time pass with every timer at its time.
    pub(super) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for ticks in 0.. {
            assert!(ticks < 100_000, "timers never end");
            self.child_reads();
            let parks = self.parks.values().filter_map(|park| park.machine.deadline());
            let Some(at) = parks.chain(self.mux.deadline()).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if self.mux.deadline().is_some_and(|at| at <= self.now) {
                self.trace(|| "tick".into());
                self.mux.tick(self.now);
            }
            self.drain();
            self.parks_tick();
            self.obey();
        }
        self.now = until;
    }

    /// Does what parked calls have asked for.
    pub(super) fn obey(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            self.trace(|| format!("{command:?}"));
            match command {
                Command::Answer(ask, outcome) => self.mux.answer(ask, outcome, self.now),
                Command::Cancel(call) => self.mux.cancel(call, None, self.now),
            }
            self.drain();
        }
    }

    // === The child's life ===

    pub(super) fn child_starts(&mut self) -> Option<()> {
        let mut era = self.era;
        if self.changing && self.generation > 0 && self.choice.below(3)? == 0 {
            era = if era == Era::Legacy { Era::Modern } else { Era::Legacy };
        }
        let knows_listen = self.choice.below(8)? > 0;
        self.child_comes(era);
        self.child_mut().knows_listen = knows_listen;
        Some(())
    }

    fn child_comes(&mut self, era: Era) {
        self.generation += 1;
        self.era = era;
        let first_free = 2 + self.generation % 3;
        self.trace(|| format!("a child comes: {era:?}"));
        self.count(None, "start");
        self.child = Some(Child::new(first_free - 1, era, self.facts, self.generation));
        let list = CallId(self.next_id());
        self.phase = Phase::Warming(list);
        self.calls.insert(list, Call::new(CallerId::HUB, Method::ToolsList));
        self.mux.warming(first_free, self.facts, era);
        self.mux.internal_call(list, Method::ToolsList, None, self.now);
    }

    /// Its first list came.
    pub(super) fn child_is_ready(&mut self) {
        self.phase = Phase::Up;
        self.mux.ready(self.generation > 1, self.now);
        for kind in [ListKind::Prompts, ListKind::Resources] {
            let list = CallId(self.next_id());
            self.calls.insert(list, Call::new(CallerId::HUB, kind.method()));
            self.mux.internal_call(list, kind.method(), None, self.now);
        }
    }

    pub(super) fn child_dies(&mut self) {
        if self.child.take().is_none() {
            return;
        }
        self.phase = Phase::Down;
        self.trace(|| "the child dies".into());
        self.count(None, "death");
        self.mux.down("killed", self.now);
        self.drain();
        for (id, call) in &self.calls {
            assert!(
                call.over || call.written == 0 || call.may_be_written_again(),
                "{id:?} waits for a dead child: {call:?}"
            );
        }
    }

    /// The server is given up: what waits for it is refused. What waits for a client goes on waiting.
    pub(super) fn somebody_despairs(&mut self) {
        self.child_dies();
        let error = ErrorObject::invalid_request("given up");
        self.mux.fail_waiting(&error, self.now);
        self.drain();
        let open: Vec<_> = self.calls.iter().filter(|(_, call)| !call.over && call.allowed < 2).collect();
        assert!(open.is_empty(), "calls wait for a server that will not come back: {open:?}");
    }

    pub(super) fn child_mut(&mut self) -> &mut Child {
        self.child.as_mut().expect("a step without a child starts one")
    }

    pub(super) fn child_reads_one(&mut self) {
        let now = self.now;
        if let Some(child) = &mut self.child {
            child.read_one(now);
        }
    }

    pub(super) fn child_reads(&mut self) {
        self.drain();
        while self.child.as_ref().is_some_and(|child| !child.inbox.is_empty()) {
            self.child_reads_one();
        }
        self.note_events();
    }

    pub(super) fn note_events(&mut self) {
        let events = self.child.as_mut().map(|child| std::mem::take(&mut child.events)).unwrap_or_default();
        for (era, what) in events {
            self.count(era, what);
        }
    }

    pub(super) fn hub_reads(&mut self, lines: usize) {
        for _ in 0..lines {
            let Some(line) = self.child.as_mut().and_then(|child| child.outbox.pop_front()) else { return };
            self.trace(|| format!("child: {}", String::from_utf8_lossy(&line)));
            self.mux.line(&Bytes::from(line), self.now);
            self.drain();
        }
    }

    // === What it does ===

    pub(super) fn child_answers_some(&mut self) -> Option<()> {
        let Some(child) = &mut self.child else { return Some(()) };
        let answerable = child.answerable();
        if !answerable.is_empty() {
            let wire = self.choice.of(&answerable)?;
            let well = self.choice.below(8)? > 0;
            child.answer(wire, well);
        }
        Some(())
    }

    pub(super) fn child_asks_some(&mut self) -> Option<()> {
        let now = self.now;
        let Some(child) = &mut self.child else { return Some(()) };
        if child.era == Era::Modern {
            return self.modern_child_asks();
        }
        let kinds = if self.roots_of_client { 4 } else { 3 };
        let causes = child.may_ask(now);
        if causes.is_empty() {
            // Nobody's request is at the child, and it asks all the same.
            if child.is_idle() && self.mux.written() == 0 && self.choice.below(4)? == 0 {
                child.ask(None, self.choice.below(kinds)?, now);
                self.hub_reads(1);
            }
            return Some(());
        }
        if self.choice.below(8)? == 0 {
            let (pick, kind) = (self.choice.below(16)?, self.choice.below(3)?);
            child.ask_for_task(pick, kind);
            return Some(());
        }
        let cause = self.choice.of(&causes)?;
        // Several at once now and then: they belong together.
        for _ in 0..=self.choice.below(4)? / 3 {
            child.ask(Some(cause), self.choice.below(kinds)?, now);
        }
        Some(())
    }

    /// A modern child answers a request with questions.
    fn modern_child_asks(&mut self) -> Option<()> {
        let Some(child) = &mut self.child else { return Some(()) };
        let wires = child.may_want_input();
        if !wires.is_empty() {
            let (wire, shape, kinds) = (self.choice.of(&wires)?, self.choice.below(16)?, self.choice.below(64)?);
            if let Some(call) = child.want_input(wire, shape, kinds)
                && let Some(call) = self.calls.get_mut(&CallId(call))
            {
                call.allowed += 1;
            }
        }
        Some(())
    }

    pub(super) fn child_tells_some(&mut self) -> Option<()> {
        let (what, uri, level) = (self.choice.below(16)?, self.choice.of(&URIS)?, self.choice.below(8)?);
        let (pick, now) = (self.choice.below(64)?, self.now);
        let Some(child) = &mut self.child else { return Some(()) };
        match (child.era, what) {
            (Era::Modern, 0..=6) => child.tend_listens(pick, level),
            _ => child.tell(what, uri, level, pick, now),
        }
        Some(())
    }

    pub(super) fn child_is_sloppy(&mut self) -> Option<()> {
        let (what, pick) = (self.choice.below(9)?, self.choice.below(64)?);
        let own_roots = !self.roots_of_client;
        let Some(child) = &mut self.child else { return Some(()) };
        child.be_sloppy(what, pick, own_roots);
        Some(())
    }
}
