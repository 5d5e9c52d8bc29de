//! Subscriptions and list changes: PROTOCOL 5.3 tests 23 and 24, sections 1.8 and 1.9.
//!
//! In: sessions that come, go and subscribe. Out: one subscription at the child, updates at its subscribers. Owns nothing.
//! May not: count before the last expected message has come.

use crate::support::{Fake, Hub, Session, Setup, Stream, Value, eventually, json};

const UPDATED: &str = "notifications/resources/updated";
const KINDS: [&str; 3] = ["tools", "prompts", "resources"];

fn subscribe(session: &Session, uri: &str) {
    assert_eq!(session.request("resources/subscribe", &json!({"uri": uri})).result(), json!({}));
}

fn unsubscribe(session: &Session, uri: &str) {
    assert_eq!(session.request("resources/unsubscribe", &json!({"uri": uri})).result(), json!({}));
}

fn uris(stream: &Stream) -> Vec<Value> {
    stream.of(UPDATED).iter().map(|message| message["params"]["uri"].clone()).collect()
}

#[test]
fn t23_subscribe_refcount() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let [a, b, c] = [(); 3].map(|()| Session::open(&target));
    let [a_get, b_get, c_get] = [&a, &b, &c].map(Session::listen);
    let uri = "test://one";
    subscribe(&a, uri);
    subscribe(&a, uri);
    subscribe(&b, uri);
    let journal = hub.journal("a");
    let touch = |uri: &str| c.call("touch", &json!({"uri": uri, "force": true})).result();

    touch(uri);
    a_get.wait_for_many(UPDATED, 1);
    b_get.wait_for_many(UPDATED, 1);
    touch("test://one/below");
    assert_eq!(a_get.wait_for_many(UPDATED, 2)[1]["params"]["uri"], "test://one/below", "a prefix subscriber");
    b_get.wait_for_many(UPDATED, 2);

    unsubscribe(&a, uri);
    touch(uri);
    b_get.wait_for_many(UPDATED, 3);
    assert_eq!((uris(&a_get).len(), uris(&c_get).len()), (2, 0), "exactly the current subscribers, once each");
    assert_eq!(journal.count("resources/unsubscribe"), 0, "B still wants it");

    assert_eq!(b.delete().status(), 204);
    assert_eq!(journal.wait_for("resources/unsubscribe", 1)[0]["params"]["uri"], uri);
    assert_eq!(journal.count("resources/subscribe"), 1);
    touch(uri);
    c.echo("order");
    assert_eq!(uris(&c_get), Vec::<Value>::new(), "never to a session that did not subscribe");
    assert_eq!(uris(&a_get).len(), 2);
}

/// A subscriber that comes back within the pause costs nothing; one after it subscribes again.
#[test]
fn t23_subscribe_again() {
    let hub = Hub::start(Setup::one());
    let (a, journal) = (hub.session("a"), hub.journal("a"));
    let get = a.listen();
    subscribe(&a, "test://one");
    unsubscribe(&a, "test://one");
    subscribe(&a, "test://one");
    unsubscribe(&a, "test://one");
    journal.wait_for("resources/unsubscribe", 1);
    subscribe(&a, "test://one");
    a.call("touch", &json!({"uri": "test://one"})).result();
    get.wait_for(UPDATED);
    assert_eq!((journal.count("resources/subscribe"), journal.count("resources/unsubscribe")), (2, 1));
    unsubscribe(&a, "test://never");
    assert_eq!(journal.of("resources/unsubscribe").len(), 1, "what was not subscribed is answered here");
}

/// A refusal goes to all who waited for it, and a later one may try again.
#[test]
fn t23_refused_subscription() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let (a, b) = (Session::open(&target), Session::open(&target));
    let uri = json!({"uri": "test://refuse"});
    let calls = [a.begin("resources/subscribe", &uri), b.begin("resources/subscribe", &uri)];
    for call in &calls {
        assert_eq!(call.response()["error"]["code"], -32602);
    }
    assert_eq!(a.request("resources/subscribe", &uri).code(), -32602);
    let get = a.listen();
    b.call("touch", &json!({"uri": "test://refuse", "force": true})).result();
    b.echo("order");
    assert_eq!(uris(&get), Vec::<Value>::new());
}

#[test]
fn t24_list_changed_fanout() {
    for (_, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, b, c) = (Session::open(&target), Session::open(&target), Session::open(&target));
        let (first_get, second_get) = (a.listen(), a.listen());
        let post = a.begin_call("sleep", &json!({"ms": 1500}));
        hub.journal("a").wait_for_calls("sleep", 1);
        c.call("change", &json!({})).result();
        for kind in KINDS {
            second_get.wait_for(&format!("notifications/{kind}/list_changed"));
        }
        post.text();
        let changes = |stream: &Stream| {
            stream
                .messages()
                .iter()
                .filter(|m| m["method"].as_str().is_some_and(|m| m.contains("list_changed")))
                .count()
        };
        assert_eq!(
            (changes(&second_get), changes(&first_get), changes(&post)),
            (3, 0, 0),
            "one copy each, on the newest GET"
        );
        // B had no stream: it gets them when it opens one.
        let b_get = b.listen();
        for kind in KINDS {
            b_get.wait_for(&format!("notifications/{kind}/list_changed"));
        }
        assert_eq!(changes(&b_get), 3);
        // The older stream takes over when the newer one dies.
        second_get.drop_connection();
        second_get.closed();
        eventually("the older GET stream takes over", || {
            c.call("change", &json!({})).result();
            (changes(&first_get) >= 3).then_some(())
        });
    }
}

/// A burst is one change per kind (1.9), and a child without the capability has none.
#[test]
fn t24_coalesced() {
    let hub = Hub::start(Setup::of([Fake::new("a")]));
    let session = hub.session("a");
    let get = session.listen();
    session.call("change", &json!({"n": 50})).result();
    for kind in KINDS {
        get.wait_for(&format!("notifications/{kind}/list_changed"));
    }
    session.call("change", &json!({"n": 1})).result();
    for kind in KINDS {
        get.wait_for_many(&format!("notifications/{kind}/list_changed"), 2);
    }
    let all = get.messages().len();
    assert!(all <= 12, "51 changes of three kinds became {all} notifications");
}
