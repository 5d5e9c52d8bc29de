//! Every message of the client on its way to hub.
//!
//! In: lines. Out: requests under way, each a task; lines to the client. Owns what runs for the client. May not: wait
//! for an answer before it reads on, except for room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits;
use crate::mcp::message::{self, Body, Message, NotAMessage, Notification, Request};
use crate::mcp::splice::array as array_of;
use crate::mcp::{ErrorObject, Method, Outcome, RequestId, scan};
use crate::session::Params;
use crate::tasks::Scope;

use super::answer::Answer;
use super::calls::{Call, Calls};
use super::modern::{Mirrors, Modern};
use super::pipes::{Input, Output, Said};
use super::post::{self, Aside, InSession};
use super::session::Session;
use super::way::{Errand, Way};
use super::{exchange, get, listen};

/// What wants no answer, with its share of the room for bytes.
type Waiting = (Aside, Option<OwnedSemaphorePermit>);

/// See the module's header.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) way: Way,
    pub(super) output: Output,
    pub(super) session: Session,
    pub(super) mirrors: Mirrors,
    pub(super) calls: Calls,
    /// Room for the bytes of requests that hub has not begun to answer, and of what wants no answer.
    sent: Arc<Semaphore>,
    /// What wants no answer, in its order. `None` when the client is done.
    asides: Mutex<Option<mpsc::Sender<Waiting>>>,
    is_listening: AtomicBool,
    /// What ends by itself.
    working: Scope,
    /// What does not.
    streams: Scope,
}

impl Relay {
    pub(super) fn new(way: Way, output: Output) -> Arc<Self> {
        let (asides, queue) = mpsc::channel(limits::STDIO_QUEUE_MAX);
        let relay = Arc::new(Self {
            way,
            output,
            session: Session::new(),
            mirrors: Mirrors::default(),
            calls: Calls::default(),
            sent: Arc::new(Semaphore::new(limits::STDIO_SENT_BYTES_MAX)),
            asides: Mutex::new(Some(asides)),
            is_listening: AtomicBool::new(false),
            working: Scope::new(),
            streams: Scope::new(),
        });
        spawn(&relay.working, "asides", post::asides(relay.clone(), queue));
        relay
    }

    /// Serves the client until it is done.
    pub(super) async fn serve(self: &Arc<Self>, input: &mut Input) {
        while let Some(said) = input.next().await {
            let line = match said {
                Said::Line(line) => line,
                Said::TooLong(id) => {
                    let why = format!("Invalid request: a line of more than {} bytes", limits::LINE_BYTES_MAX);
                    self.say(message::error_bytes(id.as_ref(), &ErrorObject::invalid_request(why))).await;
                    continue;
                }
            };
            match message::parse_body(&line) {
                Ok(Body::One(Message::Request(request))) => self.request(request, line).await,
                Ok(Body::One(Message::Notification(note))) => self.notification(note, line).await,
                Ok(Body::One(Message::Response(_))) => self.aside(Aside::Message(line)).await,
                Ok(Body::Batch(elements)) => self.batch(&elements, line).await,
                Err(not) => self.say(message::error_bytes(not.id(), &not.to_error())).await,
            }
        }
    }

    /// Resolves when the client reads no more.
    pub(super) async fn output_closed(&self) {
        self.output.closed().await;
    }

    async fn request(self: &Arc<Self>, request: Request, line: Bytes) {
        let params = Params::read(request.params);
        let is_modern = params.claims_modern();
        let id = request.id;
        let call = match self.calls.begin(id.clone(), request.method, is_modern) {
            Ok(call) => call,
            Err(error) => return self.say(message::error_bytes(Some(&id), &error)).await,
        };
        if call.method == Method::Ping && !is_modern && !self.session.is_begun() {
            // A stdio server answers it even before `initialize`; hub has no session to answer it for.
            self.calls.finish(&call);
            return self.say(Bytes::from(message::response_pieces(&id, &Outcome::empty()).concat())).await;
        }
        let (relay, errand) = (self.clone(), self.errand(line).await);
        match call.method {
            Method::Listen if is_modern => {
                self.answer(&self.streams, call.clone(), listen::run(relay, call, errand, params));
            }
            _ if is_modern => {
                let dress = Modern::new(relay.clone(), call.clone(), params);
                self.answer(&self.working, call.clone(), exchange::run(relay, call, errand, dress));
            }
            Method::Initialize => {
                self.session.begin(&errand.body);
                self.answer(&self.working, call.clone(), post::initialize(relay, call, errand));
            }
            _ => {
                self.session.remember(&call.method, &params);
                let dress = InSession::new(relay.clone());
                self.answer(&self.working, call.clone(), exchange::run(relay, call, errand, dress));
            }
        }
    }

    async fn notification(self: &Arc<Self>, note: Notification, line: Bytes) {
        let params = Params::read(note.params);
        if note.method == Method::Cancelled {
            let id = params.get("requestId").and_then(RequestId::from_raw);
            if let Some(call) = id.and_then(|id| self.calls.get(&id)) {
                call.cancelled.cancel();
                // A modern request ends with its connection.
                if !call.is_modern {
                    self.aside(Aside::Cancel(call, line)).await;
                }
                return;
            }
        }
        match note.method {
            Method::Initialized => self.aside(Aside::Initialized(line)).await,
            // There is nothing that it could mean to hub.
            _ if params.claims_modern() => {}
            _ => self.aside(Aside::Message(line)).await,
        }
    }

    /// An array of messages (2025-03-26 only). hub decides whether it takes it; what there is no place for goes without.
    async fn batch(self: &Arc<Self>, elements: &[Result<Message, NotAMessage>], line: Bytes) {
        let (mut calls, mut refused, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let array = scan::text(&line).map(|text| line.slice(text)).unwrap_or_default();
        for (element, raw) in elements.iter().zip(message::elements(&array)) {
            match element {
                Ok(Message::Request(request)) => {
                    match self.calls.begin(request.id.clone(), request.method.clone(), false) {
                        Ok(call) => {
                            calls.push(call);
                            left.push(raw);
                        }
                        Err(error) => refused.push(message::error_bytes(Some(&request.id), &error)),
                    }
                }
                _ => left.push(raw),
            }
        }
        let line = if refused.is_empty() { line } else { array_of(&left) };
        let is_all = !refused.is_empty() && left.is_empty();
        for error in refused {
            self.say(error).await;
        }
        if !is_all {
            let errand = self.errand(line).await;
            spawn(&self.working, "batch", post::batch(self.clone(), calls, errand));
        }
    }

    /// Starts what brings about an answer; sends it.
    fn answer(
        self: &Arc<Self>,
        scope: &Scope,
        call: Arc<Call>,
        work: impl Future<Output = Option<Answer>> + Send + 'static,
    ) {
        let relay = self.clone();
        spawn(scope, "call", async move {
            let cut = async {
                call.cancelled.cancelled().await;
                // Any other is told by a message that it is cancelled, and ends by itself.
                if !call.is_modern {
                    std::future::pending::<()>().await;
                }
            };
            let answer = tokio::select! {
                () = cut => None,
                answer = Box::pin(work) => answer,
            };
            relay.calls.finish(&call);
            if let Some(answer) = answer.filter(|_| !call.cancelled.is_cancelled()) {
                relay.answer_with(answer).await;
            }
        });
    }

    /// Begins to listen for what hub says unasked, once.
    pub(super) fn listen(self: &Arc<Self>) {
        if !self.is_listening.swap(true, Ordering::Relaxed) {
            spawn(&self.streams, "stream", get::run(self.clone()));
        }
    }

    /// Cancels a request again until it is over: the first time may have been too early.
    pub(super) fn cancel_again(self: &Arc<Self>, call: Arc<Call>, body: Bytes) {
        let relay = self.clone();
        spawn(&self.streams, "cancel", async move {
            for pause in limits::STDIO_CANCEL_AGAIN {
                if tokio::time::timeout(pause, call.done.cancelled()).await.is_ok() {
                    return;
                }
                post::aside(&relay, body.clone()).await;
            }
        });
    }

    pub(super) async fn say(&self, line: Bytes) {
        self.answer_with(line.into()).await;
    }

    pub(super) async fn answer_with(&self, answer: Answer) {
        // Who reads no more ends the bridge elsewhere.
        answer.say(&self.output).await.ok();
    }

    async fn aside(&self, aside: Aside) {
        let asides = self.asides.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(asides) = asides {
            let room = self.room(aside.body()).await;
            asides.send((aside, room)).await.ok();
        }
    }

    /// A message on its way, once there is room for it.
    async fn errand(&self, line: Bytes) -> Errand {
        Errand { room: self.room(&line).await, ..Errand::post(HeaderMap::new(), line) }
    }

    /// Waits for room for a message. hub begins to answer within seconds, which makes room.
    async fn room(&self, line: &Bytes) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(line.len().min(limits::STDIO_SENT_BYTES_MAX)).unwrap_or(u32::MAX);
        self.sent.clone().acquire_many_owned(size).await.ok()
    }

    /// Lets what is in flight finish for a while, then ends everything.
    pub(super) async fn drain(&self, grace: Duration) {
        drop(self.asides.lock().unwrap_or_else(PoisonError::into_inner).take());
        if !self.working.join(grace).await {
            tracing::debug!("{} requests were in flight when the client left", self.calls.count());
        }
        self.working.stop(limits::STDIO_LAST_WORDS).await;
        self.streams.stop(limits::STDIO_LAST_WORDS).await;
    }

    /// Gives the session back.
    pub(super) async fn end_session(&self) {
        post::end_session(self).await;
    }
}

/// A task that ends with its scope.
fn spawn(scope: &Scope, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stop = scope.stopping().clone();
    scope.spawn(name, async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    });
}
