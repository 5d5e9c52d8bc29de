//! The stream by itself: what a reader gets, in which form, and again after a lost connection.
//!
//! In: messages pushed by hand. Out: what poll gives. Each test owns its stream. May not: sleep.

use super::*;
use crate::limits::{STREAM_BYTES_MAX, STREAM_EVENTS_MAX};
use crate::mcp::ErrorObject;
use std::future::poll_fn;

fn open(form: Form, responses: usize) -> Arc<Stream> {
    let kind = if responses == 0 { Kind::Get } else { Kind::Post };
    Stream::open(Opening { kind, form, resumable: true, responses }, Account::default(), Instant::now())
}

fn id(number: u64) -> RequestId {
    RequestId::from_number(number)
}

fn note(stream: &Stream, text: &'static str) -> bool {
    stream.send(Weight::Kept, Bytes::from_static(text.as_bytes()))
}

fn text(pieces: &Pieces) -> String {
    String::from_utf8(pieces.concat()).expect("text")
}

async fn first(reader: &Reader) -> First {
    poll_fn(|context| reader.poll_first(context)).await
}

/// What can be read without waiting, and whether the end was reached.
async fn rest(reader: &mut Reader) -> (Vec<String>, bool) {
    let mut seen = Vec::new();
    loop {
        let next = poll_fn(|context| Poll::Ready(reader.poll_event(context))).await;
        match next {
            Poll::Ready(Some(entry)) => seen.push(format!("{} {}", entry.seq, text(&entry.pieces))),
            Poll::Ready(None) => return (seen, true),
            Poll::Pending => return (seen, false),
        }
    }
}

#[tokio::test]
async fn a_response_alone_is_json_in_its_own_pieces() {
    let stream = open(Form::Either, 1);
    let reader = stream.attach();
    let payload = Bytes::from(vec![b'1'; 100_000]);
    stream.respond(None, &id(7), &Outcome::Result(payload.clone()));
    let First::One(pieces) = first(&reader).await else { panic!("json") };
    assert_eq!(pieces[1].as_ptr(), payload.as_ptr(), "not copied");
    assert_eq!(stream.account.hub().byte_len(), 0, "nothing is kept");
}

#[tokio::test]
async fn a_message_before_the_response_makes_events() {
    let stream = open(Form::Either, 1);
    let mut reader = stream.attach();
    assert!(note(&stream, "{}"));
    assert!(matches!(first(&reader).await, First::Events));
    assert_eq!(rest(&mut reader).await, (vec!["1 {}".into()], false));
    stream.respond(None, &id(1), &Outcome::empty());
    assert!(!note(&stream, "late"), "nothing follows the response");
    assert_eq!(rest(&mut reader).await, (vec![r#"2 {"jsonrpc":"2.0","id":1,"result":{}}"#.into()], true));
}

#[tokio::test]
async fn json_only_drops_everything_else() {
    let stream = open(Form::Json, 2);
    let reader = stream.attach();
    assert!(!note(&stream, "{}") && !stream.takes_asks() && !reader.commit());
    stream.respond(None, &id(1), &Outcome::empty());
    stream.respond(None, &id(2), &ErrorObject::new(-1, "x").into());
    let First::All(all) = first(&reader).await else { panic!("all") };
    assert_eq!(text(&all[1]), r#"{"jsonrpc":"2.0","id":2,"error":{"code":-1,"message":"x"}}"#);
}

#[tokio::test]
async fn silence_commits_and_the_response_follows() {
    let stream = open(Form::Either, 1);
    let mut reader = stream.attach();
    assert!(reader.commit());
    stream.respond(None, &id(1), &Outcome::empty());
    assert_eq!(rest(&mut reader).await.0.len(), 1);
    // The response came in the moment between the end of the wait and the commit.
    let stream = open(Form::Either, 1);
    let mut reader = stream.attach();
    stream.respond(None, &id(1), &Outcome::empty());
    assert!(reader.commit());
    assert_eq!(rest(&mut reader).await.0.len(), 1);
}

#[tokio::test]
async fn a_cancelled_call_leaves_nothing() {
    let stream = open(Form::Either, 1);
    let reader = stream.attach();
    stream.respond_never(CallId(1));
    assert!(matches!(first(&reader).await, First::Nothing));
    assert!(stream.resume(0).is_none());
}

#[tokio::test]
async fn resuming_gives_the_remainder_once_and_the_rest_live() {
    let stream = open(Form::Events, 1);
    let mut reader = stream.attach();
    (0..3).for_each(|_| assert!(note(&stream, "{}")));
    assert_eq!(rest(&mut reader).await.0.len(), 3);
    drop(reader);
    assert!(stream.unread_since().is_some());
    note(&stream, "{}");
    let mut second = stream.resume(2).expect("known");
    assert_eq!(rest(&mut second).await, (vec!["3 {}".into(), "4 {}".into()], false));
    // A half-dead connection does not keep its successor out.
    let mut third = stream.resume(4).expect("known");
    assert_eq!(rest(&mut second).await, (vec![], true));
    drop(second);
    assert!(stream.is_read(), "the third reads it");
    stream.respond(None, &id(1), &Outcome::empty());
    assert_eq!(rest(&mut third).await.0.len(), 1);
    drop(third);
    assert!(stream.resume(4).is_some(), "the response may be lost on its way");
    assert!(stream.resume(5).is_none(), "all was seen");
    assert!(stream.resume(6).is_none(), "never was");
    stream.close();
    assert!(stream.resume(4).is_none());
    assert_eq!(stream.account.hub().byte_len(), 0);
}

#[tokio::test]
async fn a_reader_far_behind_is_cut_off_and_may_come_back() {
    let stream = open(Form::Events, 0);
    let mut slow = stream.attach();
    for _ in 0..STREAM_EVENTS_MAX {
        note(&stream, "{}");
    }
    assert!(stream.is_read());
    note(&stream, "{}");
    assert!(!stream.is_read());
    assert_eq!(rest(&mut slow).await, (vec![], true));
    let mut back = stream.resume(0).expect("a GET stream goes on with what there is");
    let (seen, ended) = rest(&mut back).await;
    assert_eq!((seen.len(), seen[0].as_str(), ended), (STREAM_EVENTS_MAX, "2 {}", false));
}

#[tokio::test]
async fn progress_finds_its_call_and_stops_with_it() {
    let stream = open(Form::Events, 2);
    let mut reader = stream.attach();
    stream.expect_progress(CallId(1), Bytes::from_static(b"\"one\""));
    stream.expect_progress(CallId(2), Bytes::from_static(b"2"));
    let params = |value: u32| Bytes::from(format!("{{\"progressToken\":99,\"progress\":{value}}}"));
    stream.progress(CallId(1), &params(1));
    stream.progress(CallId(2), &params(1));
    stream.progress(CallId(3), &params(1));
    stream.respond(Some(CallId(1)), &id(1), &Outcome::empty());
    stream.progress(CallId(1), &params(2));
    let (seen, ended) = rest(&mut reader).await;
    assert!(!ended && seen.len() == 3, "{seen:?}");
    assert!(seen[0].contains(r#""progressToken":"one","progress":1"#), "{seen:?}");
    assert!(seen[1].contains(r#""progressToken":2,"progress":1"#), "{seen:?}");
}

#[tokio::test]
async fn a_beat_only_where_it_is_silent() {
    let stream = open(Form::Events, 2);
    let mut reader = stream.attach();
    let silence = Duration::from_secs(50);
    assert_eq!(reader.next_beat(silence), None);
    stream.expect_progress(CallId(1), Bytes::from_static(b"1"));
    let due = reader.next_beat(silence).expect("a token was given");
    reader.beat(silence, due - Duration::from_millis(1));
    assert_eq!(rest(&mut reader).await.0.len(), 0);
    reader.beat(silence, due);
    let (seen, _) = rest(&mut reader).await;
    assert!(seen[0].contains(r#"{"progressToken":1,"progress":-1.0,"message":"still working"}"#), "{seen:?}");
    assert!(reader.next_beat(silence).expect("again") > due);
}

#[tokio::test]
async fn bytes_are_counted_while_they_are_held() {
    let stream = open(Form::Events, 0);
    let hub = stream.account.hub().clone();
    let large = Bytes::from(vec![b'x'; STREAM_BYTES_MAX / 2]);
    (0..5).for_each(|_| assert!(stream.send(Weight::Light, large.clone())));
    assert_eq!(hub.byte_len(), STREAM_BYTES_MAX);
    let mut reader = stream.attach();
    assert_eq!(rest(&mut reader).await.0.len(), 2);
    assert_eq!(hub.byte_len(), STREAM_BYTES_MAX, "kept for a resume");
    stream.drop_history();
    assert_eq!(hub.byte_len(), 0);
    drop((reader, stream));
    assert_eq!(hub.byte_len(), 0);
}

#[test]
fn numbers_carry_the_time_of_day() {
    let first = next_number();
    assert!(first > 1 << 40 && next_number() > first);
}
