//! Listens of modern clients: PROTOCOL 5.3 tests 41 and 42, the modern parts of 22, 23 and 24, section 2.4.
//!
//! In: listens of every filter, on children of both eras. Out: an acknowledgement first, then exactly what was asked for.
//! Owns nothing. May not: count before the last expected message has come.

use crate::support::modern::{Listen, SUBSCRIPTION};
use crate::support::{Fake, Hub, Modern, Session, Setup, Stream, Value, eventually, json, stays};
use std::time::Duration;

const UPDATED: &str = "notifications/resources/updated";
const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";

fn change(hub: &Hub, name: &str) {
    Modern::open(&hub.at(name)).call("change", &json!({})).result();
}

fn uris(listen: &Listen) -> Vec<Value> {
    listen.news().iter().filter(|m| m["method"] == UPDATED).map(|m| m["params"]["uri"].clone()).collect()
}

#[test]
fn t41_listen_lifecycle() {
    for (era, setup) in Setup::both() {
        let mut hub = Hub::start(setup);
        let client = Modern::open(&hub.at("a"));
        // Ids of different requests may be the same text with another type.
        let tools = client.listen_as(&json!(1), &json!({"toolsListChanged": true, "promptsListChanged": false}));
        let prompts = client.listen_as(&json!("1"), &json!({"promptsListChanged": true}));
        let same_id = client
            .listen_as(&json!(1), &json!({"resourcesListChanged": true, "resourceSubscriptions": ["test://one"]}));
        let nothing = client.listen_as(&json!(""), &json!({}));
        assert_eq!(tools.honoured, json!({"toolsListChanged": true}), "{era}: false and absent are the same");
        assert_eq!(prompts.honoured, json!({"promptsListChanged": true}), "{era}");
        assert_eq!(
            same_id.honoured,
            json!({"resourcesListChanged": true, "resourceSubscriptions": ["test://one"]}),
            "{era}"
        );
        assert_eq!(nothing.honoured, json!({}), "{era}");
        change(&hub, "a");
        tools.wait_for(TOOLS);
        prompts.wait_for(PROMPTS);
        same_id.wait_for(RESOURCES);
        Modern::open(&hub.at("a")).call("touch", &json!({"uri": "test://one", "force": true})).result();
        assert_eq!(same_id.wait_for(UPDATED)["params"]["uri"], "test://one", "{era}");
        let all = |listen: &Listen| listen.methods();
        assert_eq!((all(&tools), all(&prompts)), (vec![TOOLS.to_owned()], vec![PROMPTS.to_owned()]), "{era}");
        assert_eq!((all(&same_id).len(), all(&nothing).len()), (2, 0), "{era}");

        // The child restarts: the streams stay, and tell of it.
        client.call("die", &json!({})).error();
        tools.wait_for_many(TOOLS, 2);
        prompts.wait_for_many(PROMPTS, 2);
        hub.wait_state("a", "ready");
        Modern::open(&hub.at("a")).call("touch", &json!({"uri": "test://one", "force": true})).result();
        same_id.wait_for_many(UPDATED, 2);
        change(&hub, "a");
        tools.wait_for_many(TOOLS, 3);
        assert!(all(&tools).iter().all(|method| method == TOOLS), "{era}");

        // One closes, the others stay.
        prompts.drop_connection();
        change(&hub, "a");
        tools.wait_for_many(TOOLS, 4);
        hub.stop();
        for listen in [&tools, &same_id, &nothing] {
            listen.closed();
            let end = listen.response();
            assert_eq!((&end["id"], &end["result"]["resultType"]), (&listen.id, &json!("complete")), "{era}: {end}");
            assert_eq!(end["result"]["_meta"][SUBSCRIPTION], listen.id, "{era}: {end}");
            assert!(!listen.methods().contains(&"notifications/cancelled".to_owned()), "{era}: never both");
        }
    }
}

/// Events of modern streams have no ids: there is nothing to resume (2.2.15).
#[test]
fn t41_headers_and_ids() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let client = Modern::open(&hub.at("a"));
        let listen = client.listen(&json!({"toolsListChanged": true}));
        let call = client.begin_call_with_token("prog", &json!({"n": 2}), &json!("t"));
        call.text();
        change(&hub, "a");
        listen.wait_for(TOOLS);
        for stream in [&**listen, &*call] {
            let head = stream.head();
            let uncached = head.header("cache-control").is_some_and(|value| value.contains("no-cache"));
            assert!(uncached && head.header("x-accel-buffering") == Some("no"), "{era}: {head:?}");
            assert!(stream.events().iter().all(|event| event.id.is_none() && event.retry.is_none()), "{era}");
        }
    }
}

/// Not what was asked for: refused, with a status; a filter that names what the server lacks is honoured in part.
#[test]
fn t41_filters() {
    for profile in ["L", "M"] {
        let fake = Fake::new("a").arg("--profile", profile).arg("--caps", r#"{"tools":{"listChanged":true}}"#);
        let hub = Hub::start(Setup::of([fake]));
        let client = Modern::open(&hub.at("a"));
        let all = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
            "resourceSubscriptions": ["test://one"], "vendorThing": true});
        let listen = client.listen(&all);
        assert_eq!(listen.honoured, json!({"toolsListChanged": true}), "{profile}");
        let answer = client.request("subscriptions/listen", &json!({"notifications": {"taskIds": ["t"]}}));
        assert_eq!((answer.code(), answer.head.status), (-32021, 400), "{profile}: {answer:?}");
        for bad in [json!({}), json!({"notifications": 5}), json!({"notifications": {"resourceSubscriptions": "x"}})] {
            let answer = client.request("subscriptions/listen", &bad);
            assert_eq!((answer.code(), answer.head.status), (-32602, 200), "{profile}: {bad}: {answer:?}");
        }
    }
}

/// A URI that the server refuses is left out of what is acknowledged.
#[test]
fn t41_refused_uri() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let uris = json!({"resourceSubscriptions": ["test://refuse", "test://one"]});
        let listen = Modern::open(&hub.at("a")).listen(&uris);
        assert_eq!(listen.honoured, json!({"resourceSubscriptions": ["test://one"]}), "{era}");
    }
}

/// A server that ends its own listen: hub opens another one, and no client notices.
#[test]
fn t41_the_child_ends_its_listen() {
    let hub = Hub::start(Setup::modern());
    let client = Modern::open(&hub.at("a"));
    let listen = client.listen(&json!({"toolsListChanged": true}));
    for gracefully in [false, true] {
        let before = hub.journal("a").count("subscriptions/listen");
        client.call("end_listens", &json!({"gracefully": gracefully})).result();
        hub.journal("a").wait_for("subscriptions/listen", before + 1);
    }
    let before = listen.methods().len();
    eventually("news again", || {
        change(&hub, "a");
        (listen.methods().len() > before).then_some(())
    });
    assert_eq!(listen.response_now(), None);
}

/// A listen that nobody reads is dropped; the others get everything.
#[test]
fn t41_cancelled_by_disconnect() {
    let hub = Hub::start(Setup::one());
    let client = Modern::open(&hub.at("a"));
    let listen = client.listen(&json!({"resourceSubscriptions": ["test://one"]}));
    hub.journal("a").wait_for("resources/subscribe", 1);
    listen.drop_connection();
    hub.journal("a").wait_for("resources/unsubscribe", 1);
}

#[test]
fn t42_listen_unsupported() {
    let hub = Hub::start(Setup::of([Fake::modern("a").flag("--no-listen")]));
    let target = hub.at("a");
    let asked = hub.journal("a").count("subscriptions/listen");
    assert!(asked <= 1, "tried {asked} times");
    let listen = Modern::open(&target).listen(&json!({"resourceSubscriptions": ["test://one"]}));
    assert_eq!(listen.honoured, json!({}), "nothing can be promised");
    let code = Session::open(&target).request("resources/subscribe", &json!({"uri": "test://one"})).code();
    assert!([-32601, -32602].contains(&code), "{code}");
    stays("no storm of retries, and the stream stays open", Duration::from_secs(2), || {
        hub.journal("a").count("subscriptions/listen") <= asked + 2 && listen.response_now().is_none()
    });
    Modern::open(&target).echo("served");
}

/// 23 with a listen among the subscribers, on a child of each era.
#[test]
fn t23_subscribe_refcount_with_a_listen() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, b) = (Session::open(&target), Session::open(&target));
        let (a_get, b_get) = (a.listen(), b.listen());
        let uri = json!({"uri": "test://one"});
        for session in [&a, &b] {
            assert_eq!(session.request("resources/subscribe", &uri).result(), json!({}), "{era}");
        }
        let p = Modern::open(&target).listen(&json!({"resourceSubscriptions": ["test://one"]}));
        let other = Modern::open(&target).listen(&json!({"resourceSubscriptions": ["test://shared"]}));
        let touch = |uri: &str| Modern::open(&target).call("touch", &json!({"uri": uri, "force": true})).result();
        let seen = |stream: &Stream| stream.of(UPDATED).len();

        touch("test://one");
        touch("test://one/below");
        a_get.wait_for_many(UPDATED, 2);
        b_get.wait_for_many(UPDATED, 2);
        p.wait_for_many(UPDATED, 2);
        assert_eq!(uris(&p), [json!("test://one"), json!("test://one/below")], "{era}: a prefix subscriber too");
        assert_eq!(a.request("resources/unsubscribe", &uri).result(), json!({}));
        touch("test://one");
        b_get.wait_for_many(UPDATED, 3);
        p.wait_for_many(UPDATED, 3);
        assert_eq!(b.delete().status(), 204);
        touch("test://one");
        p.wait_for_many(UPDATED, 4);
        assert_eq!((seen(&a_get), seen(&b_get), uris(&other).len()), (2, 3, 0), "{era}: the current ones, once each");
        p.drop_connection();
        if era == "a legacy child" {
            let last = hub.journal("a").wait_for("resources/unsubscribe", 1);
            assert_eq!(last[0]["params"]["uri"], "test://one");
            let subscribed = hub.journal("a").of("resources/subscribe");
            let count = subscribed.iter().filter(|message| message["params"]["uri"] == "test://one").count();
            assert_eq!(count, 1, "{subscribed:?}");
            continue;
        }
        // One listen of hub's own for the union of all URIs; the last one without what nobody wants any more.
        let union = eventually("a listen without it", || {
            let last = hub.journal("a").of("subscriptions/listen").pop()?;
            let wanted = last["params"]["notifications"]["resourceSubscriptions"].clone();
            (wanted == json!(["test://shared"])).then_some(wanted)
        });
        assert_eq!(union, json!(["test://shared"]));
    }
}

/// 24: who listens for tools hears of tools, who does not listen hears nothing.
#[test]
fn t24_list_changed_fanout_with_listens() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let (a, b) = (Session::open(&target), Session::open(&target));
        let get = a.listen();
        let post = a.begin_call("sleep", &json!({"ms": 1200}));
        let p = Modern::open(&target).listen(&json!({"toolsListChanged": true}));
        let q = Modern::open(&target).begin_call("sleep", &json!({"ms": 1200}));
        hub.journal("a").wait_for_calls("sleep", 2);
        change(&hub, "a");
        for method in [TOOLS, PROMPTS, RESOURCES] {
            assert_eq!(get.wait_for(method)["params"].pointer("/_meta"), None, "{era}: no tag for a session");
        }
        p.wait_for(TOOLS);
        post.text();
        q.text();
        assert_eq!((get.messages().len(), post.messages().len(), q.messages().len()), (3, 1, 1), "{era}");
        assert_eq!(p.methods(), [TOOLS], "{era}");
        let late = b.listen();
        for method in [TOOLS, PROMPTS, RESOURCES] {
            late.wait_for(method);
        }
        assert_eq!(late.messages().len(), 3, "{era}");
    }
}

/// One listen at the child, however many clients listen to hub (2.7).
#[test]
fn t24_one_listen_per_child() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let client = Modern::open(&target);
    let all = json!({"toolsListChanged": true, "promptsListChanged": true});
    let listens: Vec<Listen> = (0..10).map(|_| client.listen(&all)).collect();
    let sessions: Vec<Session> = (0..3).map(|_| Session::open(&target)).collect();
    change(&hub, "a");
    for listen in &listens {
        listen.wait_for(TOOLS);
        listen.wait_for(PROMPTS);
        assert_eq!(listen.news().len(), 2);
    }
    assert_eq!(hub.journal("a").count("subscriptions/listen"), 1);
    drop(sessions);
}

/// On the aggregate: one stream for the changes of all servers, and URIs in the form in which they were asked for.
#[test]
fn t41_on_the_aggregate() {
    let hub = Hub::start(Setup::of([Fake::new("l"), Fake::modern("m")]));
    let client = Modern::open(&hub.all());
    let listen = client.listen(&json!({"toolsListChanged": true,
        "resourceSubscriptions": ["test://m/own", "test://l/own", "nowhere://x"]}));
    let mut honoured: Vec<&str> =
        listen.honoured["resourceSubscriptions"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    honoured.sort_unstable();
    assert_eq!(honoured, ["test://l/own", "test://m/own"], "{}", listen.honoured);
    for name in ["l", "m"] {
        let uri = format!("test://{name}/own");
        client.call(&format!("{name}__touch"), &json!({"uri": uri, "force": true})).result();
        eventually("the update", || uris(&listen).contains(&json!(uri)).then_some(()));
    }
    Modern::open(&hub.at("m")).call("die", &json!({})).error();
    hub.wait_state("m", "ready");
    client.call("m__touch", &json!({"uri": "test://m/own", "force": true})).result();
    eventually("the update after a restart", || (uris(&listen).len() >= 3).then_some(()));
}
