//! The only ways in: a handle to an instance, a handle to a server.
//!
//! In: calls, answers, commands. Out: nothing but "queued"; results come through outlets, knowledge through snapshots.
//! The instance task owns all state behind a handle. May not: lock or wait for anything but room in a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::mcp::error::Reason;
use crate::mcp::splice::Scanned;
use crate::mcp::{ErrorObject, Method, Outcome, Raw};

use super::client::Client;
use super::outlet::{AskId, CallId, CallerId, Outlet};
use super::snapshot::{Handshake, Snapshot};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that was never given out before in this process: for callers and calls.
pub fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// A request on its way to a child.
#[derive(Debug)]
pub struct NewCall {
    /// Who asks: a lasting caller, or [`CallerId::passing`] of this call.
    pub caller: CallerId,
    /// The client, when the caller exists for this one call only (a modern request).
    pub client: Option<Arc<Client>>,
    /// What.
    pub method: Method,
    /// Raw params with the client's own progress token still in them (the instance replaces it).
    pub params: Option<Raw>,
    /// What stands in the params, so that a large payload is not searched for it.
    pub hints: Hints,
    /// Where progress, asks and the response go.
    pub outlet: Arc<dyn Outlet>,
}

/// What a call's params hold that the instance must act on. True may be wrong, false may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// A `_meta.progressToken`.
    pub token: bool,
    /// A `task` member.
    pub task: bool,
    /// The very same params with their members, if they are known.
    pub scanned: Option<Scanned>,
}

impl Hints {
    /// For params that nobody has scanned.
    pub const UNKNOWN: Self = Self { token: true, task: true, scanned: None };
    /// For params of hub's own, in which nothing is to be acted on.
    pub const NOTHING: Self = Self { token: false, task: false, scanned: None };
}

/// A session (or other lasting caller) as an instance must know it.
#[derive(Debug)]
pub struct NewCaller {
    /// Its id, from [`next_id`].
    pub caller: CallerId,
    /// What is known of it.
    pub client: Arc<Client>,
    /// Its subscriptions from before.
    pub subscriptions: Vec<String>,
    /// Where messages go that belong to no call.
    pub outlet: Arc<dyn Outlet>,
}

/// What travels to an instance task.
#[derive(Debug)]
pub(super) enum Command {
    Open(NewCaller),
    Close(CallerId),
    Call(CallId, NewCall),
    Cancel { call: CallId, reason: Option<String> },
    Answer { ask: AskId, outcome: Outcome },
    AskProgress { ask: AskId, params: Raw },
    Notify { method: Method, params: Option<Raw> },
}

/// The way to one instance of a server. Cheap to clone; stays valid across restarts of the child.
#[derive(Debug, Clone)]
pub struct InstanceHandle(Arc<Ways>);

/// What all handles of an instance share.
#[derive(Debug)]
struct Ways {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Set when its server let go of it: it finishes what it has.
    leaving: AtomicBool,
}

impl InstanceHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, snapshot: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self(Arc::new(Ways { commands, snapshot, leaving: AtomicBool::new(false) }))
    }

    /// Its server lets go of it.
    pub(super) fn leave(&self) {
        self.0.leaving.store(true, Ordering::Release);
    }

    /// Did its server let go of it?
    pub(super) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Makes a lasting caller known. Must come before its calls; again after [`Self::close`] is fine.
    pub async fn open(&self, caller: NewCaller) -> Result<(), ErrorObject> {
        self.send(Command::Open(caller)).await
    }

    /// Forgets a caller: cancels its calls, fails its asks, releases its subscriptions and level.
    pub async fn close(&self, caller: CallerId) {
        // A closed queue means that the instance, and so everything it knew of the caller, is gone.
        self.send(Command::Close(caller)).await.ok();
    }

    /// Queues a call. Exactly one [`super::Delivery::Finish`] or [`super::Delivery::Cancelled`] will reach its outlet.
    /// Waits for room in the queue (back-pressure); an error means that the server was removed.
    pub async fn call(&self, call: NewCall) -> Result<CallId, ErrorObject> {
        let id = CallId(next_id());
        self.send(Command::Call(id, call)).await.map(|()| id)
    }

    /// As [`Self::call`], with an id that the caller took from [`next_id`] beforehand, so that a cancellation that
    /// arrives at once finds it.
    pub async fn call_as(&self, id: CallId, call: NewCall) -> Result<(), ErrorObject> {
        self.send(Command::Call(id, call)).await
    }

    /// Cancels a call; unknown or finished ones are ignored.
    pub async fn cancel(&self, call: CallId, reason: Option<String>) {
        self.send(Command::Cancel { call, reason }).await.ok();
    }

    /// As [`Self::cancel`], for a destructor, which cannot wait. `false` when the queue is full: it must be tried again.
    pub fn cancel_now(&self, call: CallId) -> bool {
        !matches!(
            self.0.commands.try_send(Command::Cancel { call, reason: None }),
            Err(mpsc::error::TrySendError::Full(_))
        )
    }

    /// Whether the instance is gone for good, or finishes what it has and is gone then; whoever needs one asks the
    /// server again.
    pub fn is_closed(&self) -> bool {
        self.is_leaving() || self.0.commands.is_closed()
    }

    /// Returns when the instance is gone for good.
    pub async fn closed(&self) {
        self.0.commands.closed().await;
    }

    /// Answers an ask; the first answer counts, unknown ones are ignored.
    pub async fn answer(&self, ask: AskId, outcome: Outcome) {
        self.send(Command::Answer { ask, outcome }).await.ok();
    }

    /// A client's `notifications/progress` about an ask it works on. `params` may hold any token; the child's is put in.
    pub async fn ask_progress(&self, ask: AskId, params: Raw) {
        self.send(Command::AskProgress { ask, params }).await.ok();
    }

    /// Passes a notification on that hub has no rule for (per-server endpoints only).
    pub async fn notify(&self, method: Method, params: Option<Raw>) {
        self.send(Command::Notify { method, params }).await.ok();
    }

    /// What is known of this instance now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.borrow().clone()
    }

    /// Its handshake, if it ever had one.
    pub fn handshake(&self) -> Option<Arc<Handshake>> {
        self.0.snapshot.borrow().handshake.clone()
    }

    async fn send(&self, command: Command) -> Result<(), ErrorObject> {
        self.0.commands.send(command).await.map_err(|mpsc::error::SendError(_)| {
            ErrorObject::internal(Reason::ServerUnavailable, "the server was removed from hub.toml")
        })
    }
}
