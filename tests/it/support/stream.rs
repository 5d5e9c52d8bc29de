//! An answer that is read in the background: one JSON message, or a stream of events.
//!
//! In: a connection on which a request was written. Out: events and messages as they arrive. The reader thread owns the
//! connection. May not: reconnect.

use super::http::{Connection, Head};
use super::patience;
use serde_json::Value;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// One server-sent event, or a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names of the format")]
pub struct Event {
    /// `id:`
    pub id: Option<String>,
    /// `event:`
    pub event: Option<String>,
    /// `data:`, lines joined; `None` without any such line.
    pub data: Option<String>,
    /// `retry:`
    pub retry: Option<u64>,
    /// Text after a leading colon.
    pub comment: Option<String>,
}

impl Event {
    /// The data as a message, if there is any.
    pub fn message(&self) -> Option<Value> {
        // The old transport's `endpoint` event is a path, not a message.
        let is_message = self.event.as_deref().is_none_or(|kind| kind == "message");
        let data = self.data.as_deref().filter(|data| is_message && !data.is_empty())?;
        Some(serde_json::from_str(data).unwrap_or_else(|problem| panic!("{problem} in {data:?}")))
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => self.comment = Some(value),
            "id" => self.id = Some(value),
            "event" => self.event = Some(value),
            "retry" => self.retry = value.parse().ok(),
            "data" => match &mut self.data {
                Some(data) => *data += &["\n", &value].concat(),
                none => *none = Some(value),
            },
            _ => panic!("unknown field of an event: {line:?}"),
        }
    }
}

#[derive(Default)]
struct Seen {
    head: Option<Head>,
    events: Vec<Event>,
    closed: Option<Instant>,
    failed: Option<String>,
}

/// An answer that is being read.
pub struct Stream {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    socket: TcpStream,
    started: Instant,
}

impl Stream {
    /// Reads `connection` in the background.
    pub fn read(mut connection: Connection) -> Self {
        let socket = connection.stream.try_clone().expect("a socket can be cloned");
        // A stream may be silent for long; tests bound their waits themselves.
        connection.read_timeout(Duration::from_mins(20));
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let (shared, started) = (Arc::clone(&seen), Instant::now());
        std::thread::spawn(move || {
            let end = read_all(&mut connection, &shared);
            let mut seen = shared.0.lock().expect("never poisoned");
            seen.closed = Some(Instant::now());
            seen.failed = end.err();
            shared.1.notify_all();
        });
        Self { seen, socket, started }
    }

    fn wait<T>(&self, what: &str, limit: Duration, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        let (lock, changed) = &*self.seen;
        let start = Instant::now();
        let mut seen = lock.lock().expect("never poisoned");
        loop {
            if let Some(found) = look(&seen) {
                return found;
            }
            let left = limit.saturating_sub(start.elapsed());
            assert!(
                !left.is_zero(),
                "waited {limit:?} in vain for {what}; head {:?}, closed {}, failed {:?}, events {:#?}",
                seen.head,
                seen.closed.is_some(),
                seen.failed,
                seen.events
            );
            seen = changed.wait_timeout(seen, left).expect("never poisoned").0;
        }
    }

    /// Status and headers, once they are there.
    pub fn head(&self) -> Head {
        self.wait("a head", patience(), |seen| seen.head.clone())
    }

    /// All events so far, comments too.
    pub fn events(&self) -> Vec<Event> {
        self.seen.0.lock().expect("never poisoned").events.clone()
    }

    /// All messages so far.
    pub fn messages(&self) -> Vec<Value> {
        self.events().iter().filter_map(Event::message).collect()
    }

    /// Messages of one method so far.
    pub fn of(&self, method: &str) -> Vec<Value> {
        self.messages().into_iter().filter(|message| message["method"] == method).collect()
    }

    /// The first event that passes `test`.
    pub fn event(&self, what: &str, test: impl Fn(&Event) -> bool) -> Event {
        self.wait(what, patience(), |seen| seen.events.iter().find(|event| test(event)).cloned())
    }

    /// The first message that passes `test`.
    pub fn message(&self, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, patience(), |seen| seen.events.iter().filter_map(Event::message).find(&test))
    }

    /// The first message of a method.
    pub fn wait_for(&self, method: &str) -> Value {
        self.message(method, |message| message["method"] == method)
    }

    /// `count` messages of a method.
    pub fn wait_for_many(&self, method: &str, count: usize) -> Vec<Value> {
        self.wait(&format!("{count} × {method}"), patience(), |seen| {
            let all = seen.events.iter().filter_map(Event::message).filter(|message| message["method"] == method);
            let all: Vec<Value> = all.collect();
            (all.len() >= count).then_some(all)
        })
    }

    /// The response: a message without a method.
    pub fn response(&self) -> Value {
        self.response_within(patience())
    }

    /// The response, which must come within `limit`.
    pub fn response_within(&self, limit: Duration) -> Value {
        let is_response = |message: &Value| message.get("method").is_none();
        self.wait("a response", limit, |seen| seen.events.iter().filter_map(Event::message).find(is_response))
    }

    /// The response, if it is there by now.
    pub fn response_now(&self) -> Option<Value> {
        self.messages().into_iter().find(|message| message.get("method").is_none())
    }

    /// Waits for the end of the body and gives the time since the request.
    pub fn closed(&self) -> Duration {
        self.wait("the end", patience(), |seen| seen.closed).duration_since(self.started)
    }

    /// Drops the connection, as a client that dies does.
    pub fn drop_connection(&self) {
        // Already closed by the peer is closed.
        drop(self.socket.shutdown(Shutdown::Both));
    }

    /// The id of the last event that had one.
    pub fn last_event_id(&self) -> Option<String> {
        self.events().iter().rev().find_map(|event| event.id.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.drop_connection();
    }
}

fn push(shared: &(Mutex<Seen>, Condvar), event: Event) {
    shared.0.lock().expect("never poisoned").events.push(event);
    shared.1.notify_all();
}

/// Takes an event stream apart, in pieces as they come.
#[derive(Debug, Default)]
pub struct Parser {
    text: Vec<u8>,
    event: Event,
}

impl Parser {
    /// The events that `piece` completes.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<Event> {
        self.text.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(at) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=at).collect();
            let line = String::from_utf8(line).expect("an event is text");
            match line.trim_end_matches(['\r', '\n']) {
                "" if self.event != Event::default() => events.push(std::mem::take(&mut self.event)),
                "" => {}
                line => self.event.line(line),
            }
        }
        events
    }
}

/// The events of a whole body; a JSON body is one event.
pub fn events_of(head: &Head, body: &[u8]) -> Vec<Event> {
    if head.is_sse() {
        return Parser::default().feed(body);
    }
    let data = String::from_utf8(body.to_vec()).expect("a body is text");
    if data.is_empty() { Vec::new() } else { vec![Event { data: Some(data), ..Event::default() }] }
}

fn read_all(connection: &mut Connection, shared: &(Mutex<Seen>, Condvar)) -> Result<(), String> {
    let head = connection.head().ok_or("closed before a head")?;
    shared.0.lock().expect("never poisoned").head = Some(head.clone());
    shared.1.notify_all();
    let (mut parser, mut whole) = (Parser::default(), Vec::new());
    while let Some(piece) = connection.piece().map_err(|problem| problem.to_string())? {
        if head.is_sse() {
            parser.feed(&piece).into_iter().for_each(|event| push(shared, event));
        } else {
            whole.extend(piece);
        }
    }
    events_of(&head, &whole).into_iter().filter(|_| !head.is_sse()).for_each(|event| push(shared, event));
    Ok(())
}
