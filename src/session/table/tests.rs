//! The table by itself: which ids are good for what, and for how long.
//!
//! In: an aggregate without servers, a store in a private folder, paused time. Out: found or not. May not: sleep for
//! real.

use super::*;
use crate::aggregate::Aggregate;
use crate::config::ServerName;
use crate::limits::GET_STREAMS_MAX;
use crate::mcp::Outcome;
use crate::session::stream::Form;
use crate::session::{Asked, EventId, Kind, Params};
use bytes::Bytes;
use std::future::poll_fn;
use std::task::Poll;

const HOUR: Duration = Duration::from_secs(3600);

fn target() -> Target {
    Target::Aggregate(Aggregate::new(watch::channel(Arc::default()).1))
}

fn table(options: Options, store: Option<Store>) -> Arc<Sessions> {
    Sessions::new(options, store, Scope::new())
}

async fn open(sessions: &Sessions, version: &str) -> Arc<Session> {
    let params = Bytes::from(format!(r#"{{"protocolVersion":"{version}","capabilities":{{"sampling":{{}}}}}}"#));
    let opened = sessions.initialize(&EndpointId::Aggregate, &target(), Some(&params)).await;
    opened.expect("initialize is answered").0
}

async fn found(sessions: &Sessions, id: &str) -> bool {
    sessions.find(id, &EndpointId::Aggregate, Transport::Streamable).await.is_some()
}

#[tokio::test]
async fn an_id_is_good_at_its_own_endpoint_only_and_until_its_end() {
    let sessions = table(Options::default(), None);
    let session = open(&sessions, "2025-11-25").await;
    assert_eq!(session.id().len(), ID_TEXT_BYTES);
    assert!(found(&sessions, session.id()).await);
    assert!(!found(&sessions, "nonsense").await);
    let other = EndpointId::Server(ServerName::new("git").expect("a name"));
    assert!(sessions.find(session.id(), &other, Transport::Streamable).await.is_none());
    assert!(sessions.find(session.id(), &EndpointId::Aggregate, Transport::Sse).await.is_none());
    sessions.end(&session).await;
    assert!(!found(&sessions, session.id()).await && sessions.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_expires_and_what_is_used_does_not() {
    let sessions = table(Options { expiry: HOUR, ..Options::default() }, None);
    let (idle, used, listening) =
        (open(&sessions, "2025-11-25").await, open(&sessions, "2025-11-25").await, open(&sessions, "2025-11-25").await);
    let reader = listening.open_get().expect("alive");
    for _ in 0..3 {
        tokio::time::advance(HOUR / 2).await;
        assert!(found(&sessions, used.id()).await);
        sessions.sweep().await;
    }
    assert!(idle.is_ended() && !used.is_ended() && !listening.is_ended());
    drop(reader);
    tokio::time::advance(HOUR / 2).await;
    assert!(!listening.is_ended(), "idle only since its stream ended");
    tokio::time::advance(HOUR / 2).await;
    assert!(!found(&sessions, listening.id()).await, "exactly, between two sweeps");
    assert!(listening.is_ended());
}

#[tokio::test(start_paused = true)]
async fn over_the_cap_the_idlest_goes() {
    let sessions = table(Options { max: 2, ..Options::default() }, None);
    let first = open(&sessions, "2025-11-25").await;
    let reader = first.open_get();
    tokio::time::advance(HOUR).await;
    let second = open(&sessions, "2025-11-25").await;
    tokio::time::advance(HOUR).await;
    let third = open(&sessions, "2025-11-25").await;
    assert!(!first.is_ended() && second.is_ended() && !third.is_ended(), "the first one's stream is read");
    drop(reader);
    assert_eq!(sessions.len(), 2);
}

#[tokio::test]
async fn sessions_go_on_in_the_next_run() {
    let (_folder, store) = durable::private();
    let sessions = table(Options::default(), Some(store.clone()));
    let (kept, ended) = (open(&sessions, "2025-06-18").await, open(&sessions, "2025-11-25").await);
    sessions.end(&ended).await;
    sessions.suspend();
    drop(sessions);

    let sessions = table(Options::default(), Some(store.clone()));
    assert!(sessions.is_empty());
    assert!(!found(&sessions, ended.id()).await);
    let other = EndpointId::Server(ServerName::new("git").expect("a name"));
    assert!(sessions.find(kept.id(), &other, Transport::Streamable).await.is_none());
    let session = sessions.find(kept.id(), &EndpointId::Aggregate, Transport::Streamable).await.expect("kept");
    assert_eq!(session.hello(), kept.hello());
    sessions.end(&session).await;

    let sessions = table(Options::default(), Some(store));
    assert!(!found(&sessions, kept.id()).await, "ended for good");
}

#[tokio::test]
async fn kept_sessions_expire_too() {
    let (_folder, store) = durable::private();
    let kept = open(&table(Options::default(), Some(store.clone())), "2025-06-18").await;
    // What was used in this second is more than no time ago only a second later: say that it was long ago.
    store.session_delete(kept.id()).await.expect("deleted");
    let mut row = durable::kept(&EndpointId::Aggregate, kept.hello().expect("said"));
    row.last_used -= 2 * 3600;
    Durable(Some(store.clone())).put(kept.id(), &row).await;

    let lenient = table(Options { expiry: HOUR * 3, ..Options::default() }, Some(store.clone()));
    lenient.sweep().await;
    assert_eq!(store.sessions_count().await.expect("counted"), 1);
    let strict = table(Options { expiry: HOUR, ..Options::default() }, Some(store.clone()));
    strict.sweep().await;
    assert_eq!(store.sessions_count().await.expect("counted"), 0);
    assert!(!found(&strict, kept.id()).await);
}

#[tokio::test]
async fn what_waits_is_said_once_on_the_newest_stream() {
    let session = open(&table(Options::default(), None), "2025-11-25").await;
    session.tell(&Method::ToolsChanged, None);
    session.tell(&Method::ToolsChanged, None);
    let mut first = session.open_get().expect("alive");
    assert_eq!(waiting(&mut first).await, 1);
    let mut second = session.open_get().expect("alive");
    session.tell(&Method::PromptsChanged, None);
    assert_eq!((waiting(&mut first).await, waiting(&mut second).await), (0, 1));
    drop(second);
    session.tell(&Method::PromptsChanged, None);
    assert_eq!(waiting(&mut first).await, 1, "the older one takes over");
    let more: Vec<_> = (0..GET_STREAMS_MAX).map(|_| session.open_get().expect("alive")).collect();
    session.tell(&Method::ToolsChanged, None);
    assert!(poll_fn(|context| Poll::Ready(first.poll_event(context))).await.is_ready(), "too many: the oldest ended");
    drop(more);
}

async fn waiting(reader: &mut crate::session::Reader) -> usize {
    let mut count = 0;
    while let Poll::Ready(Some(_)) = poll_fn(|context| Poll::Ready(reader.poll_event(context))).await {
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_is_kept_for_its_time_only() {
    let sessions = table(Options { replay_ttl: HOUR, ..Options::default() }, None);
    let session = open(&sessions, "2025-11-25").await;
    let stream = session.open_post(Form::Events, 1);
    drop(stream.attach());
    session.remember(&stream);
    stream.respond(None, &crate::mcp::RequestId::from_number(1), &Outcome::empty());
    let start = EventId { kind: Kind::Post, stream: stream.number(), seq: 0 };
    tokio::time::advance(Duration::from_secs(3599)).await;
    sessions.sweep().await;
    assert!(session.resume(start).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(session.resume(start).is_none(), "exactly, between two sweeps");
    sessions.sweep().await;
    assert_eq!(Arc::strong_count(&stream), 1, "forgotten");
    assert!(open(&sessions, "2024-11-05").await.open_post(Form::Events, 1).event_id(1).is_none(), "no ids then");
}

#[tokio::test]
async fn local_answers() {
    let session = open(&table(Options::default(), None), "2025-11-25").await;
    let ask = async |method: Method, params: &'static str| {
        let stream = session.open_post(Form::Json, 1);
        let reader = stream.attach();
        let params = Params::read(Some(Bytes::from_static(params.as_bytes())));
        let asked = Asked { id: crate::mcp::RequestId::from_number(1), method, params };
        session.request(&target(), asked, &stream).await;
        let first = poll_fn(|context| reader.poll_first(context)).await;
        let crate::session::First::One(pieces) = first else { panic!("{first:?}") };
        let answer: serde_json::Value = serde_json::from_slice(&pieces.concat()).expect("json");
        answer["error"]["code"].as_i64().unwrap_or(0)
    };
    assert_eq!(ask(Method::Ping, "{}").await, 0);
    assert_eq!(ask(Method::SetLevel, r#"{"level":"debug"}"#).await, 0);
    assert_eq!(ask(Method::SetLevel, r#"{"level":"Debug"}"#).await, -32602);
    assert_eq!(ask(Method::Initialize, "{}").await, -32600);
    assert_eq!(ask(Method::TasksList, "{}").await, -32601);
    assert_eq!(ask(Method::from_name("vendor/x"), "{}").await, -32601);
    assert_eq!(ask(Method::ToolsCall, r#"{"name":"a","name":"b"}"#).await, -32602);
    assert!(session.lock().in_flight.is_empty());
}
