//! Where the answer to one modern request goes: one HTTP exchange.
//!
//! In: notifications and one outcome, from outlets or from hub itself. Out: messages on a stream of its own, and the
//! code of an error for the edge, which turns it into a status. Owned by the exchange, and by the call that works for it.
//! May not: be taken up again by another connection; who leaves it has cancelled (2026-07-28, basic/patterns/cancellation).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::time::Instant;

use crate::bridge::error::code;
use crate::mcp::message::{notification_bytes, result_pieces};
use crate::mcp::meta::Level;
use crate::mcp::{ErrorObject, Method, Outcome, Raw, RequestId, error};
use crate::server::CallId;
use crate::session::replay::Account;
use crate::session::ring::Weight;
use crate::session::stream::Opening;
use crate::session::{Form, Kind, Reader, Stream};

use super::outcome::Answer;

/// What happens when the client of a seat leaves before it has its answer, or hub does.
pub trait Occupant: Send + Sync {
    /// The client is gone.
    fn left(&self, seat: &Seat);

    /// The listener that the client came by is going away, or hub is. Only who waits for nothing in particular ends.
    fn stop(&self, _seat: &Seat) {}
}

/// See the module's header.
pub struct Seat {
    /// The client's id.
    pub id: RequestId,
    /// What it asked for.
    pub method: Method,
    /// The least severe log lines that it wants; `None`: it wants none.
    pub(super) level: Option<Level>,
    /// Its messages.
    pub(super) stream: Arc<Stream>,
    code: OnceLock<i64>,
    occupant: Mutex<Option<Arc<dyn Occupant>>>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("id", &self.id).field("method", &self.method).finish_non_exhaustive()
    }
}

impl Seat {
    /// A seat that nobody works for yet. `form` must not be [`Form::Events`]: whether an error has a status of its own
    /// is only known when it is there.
    pub(super) fn new(id: RequestId, method: Method, level: Option<Level>, form: Form, account: Account) -> Arc<Self> {
        let form = if form == Form::Json { Form::Json } else { Form::Either };
        let opening = Opening { kind: Kind::Post, form, resumable: false, responses: 1 };
        let stream = Stream::open(opening, account, Instant::now());
        Arc::new(Self { id, method, level, stream, code: OnceLock::new(), occupant: Mutex::default() })
    }

    /// Says who is to hear when the client leaves.
    pub(super) fn occupy(&self, occupant: Arc<dyn Occupant>) {
        *self.lock() = Some(occupant);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Occupant>>> {
        self.occupant.lock().expect("no panic under this lock")
    }

    /// The answer, from hub itself.
    pub(super) fn answer(&self, call: Option<CallId>, outcome: &Outcome) {
        if let Outcome::Error(error) = outcome
            && let Some(code) = code(error)
        {
            self.code.set(code).ok();
        }
        self.stream.respond(call, &self.id, outcome);
    }

    /// The answer is an error of hub's own.
    pub fn refuse(&self, error: ErrorObject) {
        self.answer(None, &error.into());
    }

    /// The answer, from a server: of its codes only two have a status (PROTOCOL 2.2.10).
    pub(super) fn relay(&self, call: CallId, answer: Answer) {
        match answer {
            Answer::Same(result) => {
                self.stream.respond_in_pieces(Some(call), result_pieces(&self.id, std::slice::from_ref(&result)));
            }
            Answer::Result(pieces) => self.stream.respond_in_pieces(Some(call), result_pieces(&self.id, &pieces)),
            Answer::Error(raw) => {
                let code = code(&raw).filter(|code| match *code {
                    error::MISSING_CAPABILITY => true,
                    error::METHOD_NOT_FOUND => self.method != Method::ToolsCall,
                    _ => false,
                });
                code.map(|code| self.code.set(code));
                self.stream.respond(Some(call), &self.id, &Outcome::Error(raw));
            }
        }
    }

    /// A message before the answer.
    pub(super) fn tell(&self, weight: Weight, method: &Method, params: Option<&Raw>) -> bool {
        self.stream.send(weight, notification_bytes(method, params))
    }

    /// The same, unless the client has yet to read just that.
    pub(super) fn tell_once(&self, method: &Method, params: Option<&Raw>) {
        self.stream.send_once(Weight::Kept, notification_bytes(method, params));
    }

    /// The code of the answer, if that is an error which its HTTP status should tell.
    pub fn code(&self) -> Option<i64> {
        self.code.get().copied()
    }
}

/// The client's presence on a seat. Dropped before everything was delivered: it went away.
#[derive(Debug)]
pub struct Occupied {
    seat: Arc<Seat>,
    delivered: bool,
}

impl Occupied {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { seat, delivered: false }
    }

    /// Which seat.
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// Reads its messages.
    pub fn reader(&self) -> Reader {
        self.seat.stream.attach()
    }

    /// The client has its answer.
    pub fn delivered(&mut self) {
        self.delivered = true;
    }

    /// The listener is going away.
    pub fn stop(&self) {
        let occupant = self.seat.lock().clone();
        if let Some(occupant) = occupant {
            occupant.stop(&self.seat);
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // Taken out in any case: the two hold each other.
        let occupant = self.seat.lock().take();
        if let (false, Some(occupant)) = (self.delivered, occupant) {
            occupant.left(&self.seat);
        }
    }
}
