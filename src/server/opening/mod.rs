//! The way into a child: the probe, the handshake, or both (PROTOCOL 1.1, 2.7). PURE.
//!
//! In: lines of a child that was just started, its end, that it was waited for long enough. Out: lines to write, then an
//! [`Opened`], why there is none, or how the next process is to be opened. Owns the stage. May not: forward a client's
//! `initialize` (PROTOCOL 1.1), let who connects first decide what is declared, or send `initialize` to a child that was
//! seen to be modern.
//!
//! ```text
//! server/discover -> A found ----------------------------------> modern
//!        |           B it knows our revision, D it wants more -> once more, then A or failed
//!        |           C it knows older revisions only ----------> another process, initialize
//!        |           E anything else --------------------------> initialize here
//!        |           F it ended -------------------------------> another process, initialize
//!        '- G silent ------------------------------------------> initialize as well; whichever is taken
//! initialize -> taken -----------------------------------------> legacy
//!        '- refused: modern only ------------------------------> server/discover here
//! ```

mod answers;

use bytes::Bytes;

use crate::config::Roots;
use crate::mcp::message::{self, NotAMessage, notification_line, response_line};
use crate::mcp::{Era, ErrorObject, Line, Message, Method, Outcome, Request, RequestId, Response};

use super::mux::roots_answer;
use super::snapshot::Handshake;
use answers::{Greeting, Kind, Refusal};

/// How a child is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing is known: `server/discover`, and `initialize` if that leads nowhere.
    Probe,
    /// It was modern before: as [`Self::Probe`], with more patience.
    Discover,
    /// It was legacy before, or does not bear the probe: `initialize`.
    Initialize,
    /// The configuration says modern: never `initialize`.
    OnlyDiscover,
    /// The configuration says legacy: never `server/discover`.
    OnlyInitialize,
}

/// A child that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub handshake: Handshake,
    /// The wire id that comes next.
    pub next_wire: u64,
    /// What the next start of this program may rely on. `None` if it was seen to speak both eras, and slowness alone
    /// made it the older one this time.
    pub verdict: Option<Era>,
}

/// What is wanted next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Write(Line),
    /// Call [`Opening::waited`] after the time for a probe.
    Wait,
    Done(Box<Opened>),
    /// Another process has to be opened, in this way. No fault of this one.
    Again(Way),
    /// It cannot be used, and why.
    Failed(String),
    /// Something for the log.
    Note(String),
}

/// What the end of a child means while it is opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It does not bear what was sent: another process has to be opened, in this way.
    Again(Way),
    /// It failed; perhaps with a piece of advice.
    Crashed(&'static str),
}

#[derive(Debug)]
enum Probe {
    Unsent,
    Waiting(u64),
    /// A
    Modern(Box<Handshake>),
    Refused(Refusal),
}

#[derive(Debug)]
enum Shake {
    Unsent,
    Waiting(u64),
    Refused(Refusal),
}

/// A child that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    greeting: Greeting,
    way: Way,
    next_wire: u64,
    probe: Probe,
    probes: u8,
    shake: Shake,
    /// `initialize` was tried again with an older revision.
    older: bool,
}

/// `server/discover` is sent once more to a child that says that it is modern, not more often.
const PROBES_MAX: u8 = 2;

impl Opening {
    /// Begins: the first line to write.
    pub(super) fn begin(name: &str, roots: &Roots, way: Way) -> (Self, Line) {
        let mut opening = Self {
            greeting: Greeting { name: name.to_owned(), roots: roots.clone() },
            way,
            next_wire: 1,
            probe: Probe::Unsent,
            probes: 0,
            shake: Shake::Unsent,
            older: false,
        };
        let line = match way {
            Way::Probe | Way::Discover | Way::OnlyDiscover => opening.discover(false),
            Way::Initialize | Way::OnlyInitialize => opening.initialize(None),
        };
        (opening, line)
    }

    /// What it is that has not been answered.
    pub(super) fn awaits(&self) -> &'static str {
        match (&self.probe, &self.shake) {
            (Probe::Waiting(_), Shake::Waiting(_)) => "server/discover and initialize",
            (Probe::Waiting(_), _) => "server/discover",
            _ => "initialize",
        }
    }

    fn wire(&mut self) -> u64 {
        self.next_wire += 1;
        self.next_wire - 1
    }

    fn discover(&mut self, all_capabilities: bool) -> Line {
        let wire = self.wire();
        self.probe = Probe::Waiting(wire);
        self.probes += 1;
        Greeting::discover(wire, all_capabilities)
    }

    fn initialize(&mut self, version: Option<&str>) -> Line {
        let wire = self.wire();
        self.shake = Shake::Waiting(wire);
        self.greeting.initialize(wire, version)
    }

    // === What the child says ===

    /// The child wrote a line.
    pub(super) fn line(&mut self, line: &Bytes) -> Vec<Step> {
        match message::parse(line) {
            Ok(Message::Response(Response { id, outcome, .. })) => match self.awaited(id.as_ref(), &outcome) {
                Some(Awaited::Discover) => self.discovered(&outcome),
                Some(Awaited::Initialize) => self.initialized(&outcome),
                None => vec![unexpected(line)],
            },
            Err(NotAMessage::BadResponse { why, id }) => {
                let outcome = ErrorObject::invalid_request(format!("the server's answer was malformed: {why}")).into();
                match self.awaited(Some(&id), &outcome) {
                    Some(Awaited::Discover) => self.discovered(&outcome),
                    Some(Awaited::Initialize) => self.initialized(&outcome),
                    None => vec![unexpected(line)],
                }
            }
            Ok(Message::Request(request)) => vec![Step::Write(self.on_request(&request))],
            Ok(Message::Notification(note)) if note.method == Method::LogMessage => {
                let text = note.params.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                vec![Step::Note(text)]
            }
            Ok(Message::Notification(_)) => Vec::new(),
            Err(_) => vec![unexpected(line)],
        }
    }

    /// Which of the two a response answers. An error without an id is about the older one: some servers cannot read a
    /// request that they do not know.
    fn awaited(&self, id: Option<&RequestId>, outcome: &Outcome) -> Option<Awaited> {
        let answers = |wire: u64| match id {
            Some(id) => id.as_number() == Some(wire),
            None => matches!(outcome, Outcome::Error(_)),
        };
        match (&self.probe, &self.shake) {
            (Probe::Waiting(wire), _) if answers(*wire) => Some(Awaited::Discover),
            (_, Shake::Waiting(wire)) if answers(*wire) => Some(Awaited::Initialize),
            _ => None,
        }
    }

    fn on_request(&self, request: &Request) -> Line {
        let outcome = match &request.method {
            Method::Ping => Outcome::empty(),
            Method::RootsList => roots_answer(&self.greeting.roots),
            method => ErrorObject::method_not_found(method.name()).into(),
        };
        response_line(&request.id, &outcome)
    }

    fn discovered(&mut self, outcome: &Outcome) -> Vec<Step> {
        self.probe = match self.greeting.discovered(outcome) {
            Ok(handshake) => Probe::Modern(Box::new(handshake)),
            Err(refusal) => Probe::Refused(refusal),
        };
        self.settle()
    }

    /// A taken `initialize` always wins: some servers of both eras serve the older one from then on, whatever they
    /// answered before.
    fn initialized(&mut self, outcome: &Outcome) -> Vec<Step> {
        let error = match outcome {
            Outcome::Result(result) => match self.greeting.initialized(result) {
                Ok(handshake) => return self.done(handshake),
                Err(why) => return vec![Step::Failed(why)],
            },
            Outcome::Error(error) => Refusal::read(error),
        };
        match error.older_revision() {
            Some(version) if !self.older => {
                self.older = true;
                vec![Step::Write(self.initialize(Some(version.as_str())))]
            }
            _ => {
                self.shake = Shake::Refused(error);
                self.settle()
            }
        }
    }

    // === What follows ===

    /// What follows from what is known of both by now.
    fn settle(&mut self) -> Vec<Step> {
        match (&self.probe, &self.shake) {
            // It answers in order, or soon.
            (Probe::Modern(_), Shake::Waiting(_)) => vec![Step::Wait],
            (Probe::Waiting(_), Shake::Refused(shake)) if shake.kind() == Kind::Other => vec![Step::Wait],
            (Probe::Modern(handshake), Shake::Unsent | Shake::Refused(_)) => {
                let handshake = Handshake::clone(handshake);
                self.done(handshake)
            }
            (Probe::Waiting(_), _) | (_, Shake::Waiting(_)) | (Probe::Unsent, Shake::Unsent) => Vec::new(),
            (Probe::Unsent, Shake::Refused(shake)) => match shake.kind() {
                Kind::Other => vec![Step::Failed(initialize_refused(&shake.text))],
                _ if self.way == Way::OnlyInitialize => vec![Step::Failed(format!(
                    "it speaks only the modern protocol (initialize: {}); remove `era = \"legacy\"` from hub.toml",
                    shake.text
                ))],
                _ => vec![Step::Write(self.discover(false))],
            },
            (Probe::Refused(probe), _) => match probe.kind() {
                Kind::SpeaksOurs if self.probes < PROBES_MAX => vec![Step::Write(self.discover(false))],
                Kind::WantsMore if self.probes < PROBES_MAX => vec![Step::Write(self.discover(true))],
                Kind::SpeaksOurs | Kind::WantsMore => vec![Step::Failed(discover_refused(&probe.text))],
                Kind::SpeaksOlder => vec![self.speaks_older()],
                Kind::SpeaksUnknown => vec![Step::Failed(format!(
                    "it speaks only {}, which this hub does not know; update hub, or run an older version of the server",
                    probe.versions()
                ))],
                Kind::Other => vec![self.not_modern()],
            },
        }
    }

    /// C: this process has bound itself to what it was asked first.
    fn speaks_older(&self) -> Step {
        let Probe::Refused(probe) = &self.probe else { return Step::Failed(String::new()) };
        match self.way {
            Way::Probe | Way::Discover => Step::Again(Way::Initialize),
            Way::OnlyDiscover => Step::Failed(only_modern(&format!("it speaks {}", probe.versions()))),
            Way::Initialize | Way::OnlyInitialize => Step::Failed(format!(
                "it says that it speaks {}, and refuses initialize: {}",
                probe.versions(),
                self.shake_text()
            )),
        }
    }

    /// E
    fn not_modern(&mut self) -> Step {
        let text = match &self.probe {
            Probe::Refused(probe) => probe.text.clone(),
            _ => String::new(),
        };
        match &self.shake {
            Shake::Refused(shake) if shake.kind() == Kind::Other => Step::Failed(initialize_refused(&shake.text)),
            Shake::Refused(_) if self.probes < PROBES_MAX => Step::Write(self.discover(false)),
            Shake::Refused(shake) => {
                Step::Failed(format!("it takes neither server/discover ({text}) nor initialize ({})", shake.text))
            }
            // It said before that it is modern.
            _ if self.probes >= PROBES_MAX => Step::Failed(discover_refused(&text)),
            _ if self.way == Way::OnlyDiscover => Step::Failed(only_modern(&format!("server/discover: {text}"))),
            _ => Step::Write(self.initialize(None)),
        }
    }

    fn shake_text(&self) -> &str {
        match &self.shake {
            Shake::Refused(refusal) => &refusal.text,
            _ => "no answer",
        }
    }

    fn done(&self, handshake: Handshake) -> Vec<Step> {
        let both = matches!(&self.probe, Probe::Modern(_)) || matches!(&self.probe, Probe::Refused(r) if r.is_modern());
        let verdict = (handshake.era == Era::Modern || !both).then_some(handshake.era);
        let legacy = handshake.era == Era::Legacy;
        let initialized = legacy.then(|| Step::Write(notification_line(&Method::Initialized, None)));
        let opened = Opened { handshake, next_wire: self.next_wire, verdict };
        initialized.into_iter().chain([Step::Done(Box::new(opened))]).collect()
    }

    // === What the child does not say ===

    /// G: the time for a probe has passed.
    pub(super) fn waited(&mut self) -> Vec<Step> {
        match (&self.probe, &self.shake) {
            (Probe::Waiting(_), Shake::Unsent) if self.way != Way::OnlyDiscover => {
                vec![Step::Write(self.initialize(None))]
            }
            (Probe::Waiting(_), Shake::Refused(shake)) if shake.kind() == Kind::Other => {
                vec![Step::Failed(initialize_refused(&shake.text))]
            }
            // It may yet bear `initialize`, and would be legacy from then on: a process that never got one is sure.
            (Probe::Modern(_), Shake::Waiting(_)) if self.way == Way::Probe => vec![Step::Again(Way::Discover)],
            (Probe::Modern(handshake), Shake::Waiting(_)) => {
                let handshake = Handshake::clone(handshake);
                self.done(handshake)
            }
            _ => Vec::new(),
        }
    }

    /// F: the child ended, or closed a pipe.
    pub(super) fn ended(&self) -> Ended {
        let refused = matches!(self.shake, Shake::Refused(_));
        match (self.way, &self.probe) {
            (Way::Probe, Probe::Modern(_)) => Ended::Again(Way::Discover),
            (Way::Probe, _) if !refused => Ended::Again(Way::Initialize),
            (Way::OnlyDiscover, Probe::Waiting(_)) => {
                Ended::Crashed("; if it is one of the older protocol, remove `era = \"modern\"` from hub.toml")
            }
            _ => Ended::Crashed(""),
        }
    }
}

/// What a response answers.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    Discover,
    Initialize,
}

fn unexpected(line: &Bytes) -> Step {
    Step::Note(format!("not expected on stdout: {}", String::from_utf8_lossy(&line[..line.len().min(300)])))
}

fn initialize_refused(text: &str) -> String {
    format!("initialize was refused: {text}")
}

fn discover_refused(text: &str) -> String {
    format!("server/discover was refused: {text}")
}

fn only_modern(what: &str) -> String {
    format!("it does not speak the modern protocol ({what}); remove `era = \"modern\"` from hub.toml")
}

#[cfg(test)]
mod tests;
