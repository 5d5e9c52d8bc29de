//! The way back: what an instance delivers, and to whom.
//!
//! In: [`Delivery`]s from an instance task. Out: nothing comes back through here; answers to asks go through
//! [`super::InstanceHandle::answer`]. Each outlet is owned by its session or request. May not: block or await; an outlet
//! that cannot keep up drops or closes itself (one slow reader must not stall a child's reader).

use std::fmt;

use crate::mcp::splice::Object;
use crate::mcp::{Method, Outcome, Raw};

use super::handle::InstanceHandle;

/// Who a message came from: a session, one sessionless request, or hub itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(pub u64);

impl CallerId {
    /// hub's own requests (lists at start, `hub call`).
    pub const HUB: Self = Self(0);

    /// All modern requests, as the owner of what outlives one of them (a task): they come from one user, and who knows the
    /// id of a task may use it (2026-07-28, SEP-2663).
    pub const MODERN: Self = Self(u64::MAX);

    /// The caller of a modern request, which lives exactly as long as its call.
    pub const fn passing(call: CallId) -> Self {
        Self(call.0)
    }
}

/// One request of a caller, from its arrival until its response. Unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// One request of a child, until its answer. Unique per instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A request that a child sends to the client it works for: sampling, elicitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// How the answer names it.
    pub id: AskId,
    /// What is asked.
    pub method: Method,
    /// Raw params; `_meta.progressToken` still holds the child's token, if it sent one.
    pub params: Option<Raw>,
}

/// What goes to one outlet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A notification; for a call's outlet it belongs to that call, for a session's to none.
    Notification {
        /// Its method.
        method: Method,
        /// Its raw params.
        params: Option<Raw>,
    },
    /// Progress of this call. The outlet puts the client's own token back and keeps "progress increases"
    /// (2025-11-25, basic/utilities/progress).
    Progress {
        /// Raw params, with hub's token in them.
        params: Raw,
    },
    /// The child asks this caller something.
    Ask(Ask),
    /// The child took an ask back, or it timed out: `notifications/cancelled` to the client.
    Withdraw(AskId),
    /// The child asked something that this client did not declare; it was refused. The capabilities that it would have
    /// needed, as a raw `ClientCapabilities` object (2026-07-28, `-32021`).
    Lacks(Raw),
    /// The call is over; nothing follows. Only to a call's outlet.
    Finish(Outcome),
    /// The same with a result whose members were found when it was read, so that they need not be searched again.
    Result(Object),
    /// The call was cancelled by its caller: its response will never come, its stream closes. Only to a call's outlet.
    Cancelled,
}

impl Delivery {
    /// How the call ended, if this is its end.
    pub fn into_outcome(self) -> Option<Outcome> {
        match self {
            Self::Finish(outcome) => Some(outcome),
            Self::Result(object) => Some(Outcome::Result(object.into_raw())),
            _ => None,
        }
    }
}

/// Takes deliveries for one call or one session.
pub trait Outlet: Send + Sync + 'static {
    /// Must return at once. `from` is where an ask is answered.
    fn deliver(&self, from: &InstanceHandle, delivery: Delivery);

    /// Can an unsolicited ask be shown (a GET stream is open)? Only asked of session outlets.
    fn listens(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outlet")
    }
}
