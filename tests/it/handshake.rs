//! `initialize` and revisions: PROTOCOL 5.3 tests 2 and 47, sections 1.1 to 1.3.
//!
//! In: sessions of every legacy revision. Out: what each sees, and what the one child saw. Owns nothing. May not: assume
//! who connects first.

use crate::support::journal::Record;
use crate::support::session::{L0, L1, L2, L3, initialize_body};
use crate::support::{Answer, Fake, Hub, Session, Setup, Value, eventually, json};
use std::time::Duration;

#[test]
fn t02_init_isolation() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let a = Session::with(&target, L3, &json!({"elicitation": {}}));
    a.echo("before");
    let b = Session::with(&target, L0, &json!({"roots": {"listChanged": true}}));
    assert_eq!((a.version.as_str(), b.version.as_str()), (L3, L0));
    a.echo("after");
    b.echo("b");
    let journal = hub.journal("a");
    assert_eq!(journal.count("initialize"), 1);
    assert_eq!(journal.count("notifications/initialized"), 1);
    assert_eq!(journal.starts().len(), 1);
}

/// 1.1: one static set, the same for everybody, with hub's own name.
#[test]
fn t02_what_the_child_is_told() {
    let hub = Hub::start(Setup::one());
    let init = hub.journal("a").of("initialize")[0].clone();
    let params = &init["params"];
    assert_eq!(params["protocolVersion"], L3);
    assert_eq!(params["clientInfo"]["name"], "hub");
    let capabilities = params["capabilities"].as_object().expect("an object");
    assert!(capabilities["elicitation"]["form"].is_object() && capabilities["elicitation"]["url"].is_object());
    assert!(capabilities["sampling"]["tools"].is_object());
    assert!(!capabilities.contains_key("roots"), "one session's roots are not everybody's");
    assert!(!capabilities.contains_key("tasks"));
}

/// 1.2: what a session sees of the child.
#[test]
fn t02_initialize_result() {
    let mut setup = Setup::one();
    let caps = r#"{"tools":{},"logging":{},"tasks":{"list":{}},"vendorThing":{"x":[1]}}"#;
    *setup.server("a") = Fake::new("a").arg("--caps", caps).arg("--instructions", "Use it wisely");
    let hub = Hub::start(setup);
    let new = Session::open(&hub.at("a"));
    assert_eq!(new.init["serverInfo"], json!({"name": "fake", "version": "1.0.0", "title": "a"}));
    assert_eq!(new.init["instructions"], "Use it wisely");
    let capabilities = &new.init["capabilities"];
    assert_eq!(capabilities["tools"]["listChanged"], true, "hub itself signals restarts");
    assert_eq!(capabilities["vendorThing"], json!({"x": [1]}), "unknown keys are kept");
    assert!(capabilities.get("prompts").is_none(), "nothing is invented: {capabilities}");
    assert!(capabilities.get("completions").is_none());
    assert!(capabilities["tasks"].is_object());
    let old = Session::with(&hub.at("a"), L2, &json!({}));
    assert!(old.init["capabilities"].get("tasks").is_none(), "tasks are of 2025-11-25");
}

#[test]
fn t02_versions() {
    let mut setup = Setup::one();
    *setup.server("a") = Fake::new("a").arg("--version", L1);
    let hub = Hub::start(setup);
    let target = hub.at("a");
    let expected = [
        (L0, L0),
        (L1, L1),
        (L2, L2),
        (L3, L3),
        ("2026-07-28", L3),
        ("2099-01-01", L3),
        ("2024-10-07", L0),
        ("1999-01-01", L0),
    ];
    for (asked, given) in expected {
        let session = Session::with(&target, asked, &json!({}));
        assert_eq!(session.version, given, "asked {asked}, whatever the child speaks");
        session.echo("served");
    }
    let server = hub.server("a");
    assert_eq!(server["protocol_version"], L1, "status shows the child's own");
    assert_eq!(server["era"], "legacy");
}

/// 1.2: a live session does not initialize twice; a stale id is ignored.
#[test]
fn t02_initialize_with_a_session_id() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let twice = session.target.post(&[("Mcp-Session-Id", &session.id)], &initialize_body(L3, &json!({})));
    assert_eq!(twice.status(), 400, "{}", twice.text());
    assert_eq!(twice.json()["error"]["code"], -32600);
    session.echo("unharmed");
    let stale = session.target.post(&[("Mcp-Session-Id", "no-such-session")], &initialize_body(L3, &json!({})));
    assert_eq!(stale.status(), 200);
    assert_ne!(stale.head.header("mcp-session-id"), Some("no-such-session"));
}

/// Requests may come before `initialized`: POSTs have no order between them (1.2).
#[test]
fn t02_requests_before_initialized() {
    let hub = Hub::start(Setup::one());
    let session = Session::begin_handshake(&hub.at("a"), L3, &json!({}));
    session.echo("early");
}

/// A child that refuses the handshake: its text reaches the user, and no session exists (1.2).
#[test]
fn t02_a_child_that_refuses() {
    let mut setup = Setup::one().impatient();
    let refusing = Fake::new("a").arg("--init-error", "the licence has expired").arg("--stderr-lines", 3);
    *setup.server("a") =
        refusing.key("startup_timeout", "\"3s\"").key("restart", "{ initial = \"50ms\", max = \"100ms\" }");
    let hub = Hub::start(setup);
    let target = hub.at("a");
    let reply = target.post(&[], &initialize_body(L3, &json!({})));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.head.header("mcp-session-id"), None);
    let error = Answer::from_reply(&reply).error();
    assert_eq!(error["code"], -32603);
    assert!(error["message"].as_str().expect("text").contains("licence"), "{error}");
    let failure =
        eventually("the failure in status", || Some(hub.server("a")["last_failure"].clone()).filter(Value::is_object));
    assert!(failure["message"].as_str().expect("text").contains("licence"), "{failure}");
    assert!(failure["stage"].as_str().is_some_and(|stage| !stage.is_empty()), "{failure}");
}

/// 47: `roots/list` of a child gets hub's own answer, whoever is connected.
#[test]
fn t47_unsolicited_roots() {
    for (roots, expected) in [(None, Value::Null), (Some("file:///srv/data"), json!({"roots": ["file:///srv/data"]}))] {
        let mut setup = Setup::one();
        let mut fake = Fake::new("a").flag("--roots-after-init").key("restart", "{ initial = \"50ms\", max = \"1s\" }");
        if let Some(root) = roots {
            fake = fake.key("roots", &format!("[\"{root}\"]"));
        }
        *setup.server("a") = fake;
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let mut sessions = Vec::new();
        for count in 0..3 {
            let answer = eventually("the answer to roots/list", || roots_answers(&hub).get(count).cloned());
            let uris: Vec<&str> =
                answer["roots"].as_array().into_iter().flatten().filter_map(|root| root["uri"].as_str()).collect();
            let expected: Vec<&str> =
                expected["roots"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            assert_eq!(uris, expected, "with {count} sessions: {answer}");
            let own = json!({"roots": {"listChanged": true}});
            sessions.push(Session::with(&target, L3, &own));
            let listening = sessions.last().expect("just pushed").listen();
            hub.run(&["restart", "a"]);
            eventually("the next generation asks", || (roots_answers(&hub).len() > count + 1).then_some(()));
            assert_eq!(listening.of("roots/list"), Vec::<Value>::new(), "no session is asked");
        }
    }
}

fn roots_answers(hub: &Hub) -> Vec<Value> {
    let records = hub.journal("a").records().into_iter();
    let answers = records.filter_map(|record| match record {
        Record::Remark(mark, rest) if mark == "roots" => Some(serde_json::from_str(&rest).expect("JSON")),
        _ => None,
    });
    answers.collect()
}

/// 1.3: what an older session cannot validate is converted, for it alone.
#[test]
fn t02_down_conversion() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let raw = |version: &str, result: &Value| {
        Session::with(&target, version, &json!({})).call("raw_result", &json!({"result": result})).result()
    };
    let audio = json!({"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]});
    for version in [L1, L2, L3] {
        assert_eq!(raw(version, &audio), audio);
    }
    let converted = raw(L0, &audio);
    assert_eq!(converted["content"][0]["type"], "resource", "{converted}");
    assert_eq!(converted["content"][0]["resource"]["blob"], "AAAA");
    assert_eq!(converted["content"][0]["resource"]["mimeType"], "audio/wav");

    let link = json!({"content": [{"type": "resource_link", "uri": "test://one", "name": "one"}]});
    for version in [L2, L3] {
        assert_eq!(raw(version, &link), link);
    }
    for version in [L0, L1] {
        let converted = raw(version, &link);
        assert_eq!(converted["content"][0], json!({"type": "text", "text": "one: test://one"}), "{converted}");
    }
    let structured = json!({"content": [], "structuredContent": {"n": 1}});
    assert_eq!(raw(L3, &structured), structured);
    let converted = raw(L1, &structured);
    let text = converted["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{converted}"));
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), json!({"n": 1}));
}

/// 1.3: -32042 means nothing to a session that cannot open URLs.
#[test]
fn t02_url_elicitation_required() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let able = Session::eliciting(&target).call("need42", &json!({}));
    assert_eq!(able.code(), -32042);
    assert_eq!(able.error()["data"]["elicitations"][0]["url"], "https://example.invalid/go");
    for version in [L0, L2, L3] {
        let result = Session::with(&target, version, &json!({"elicitation": {}})).call("need42", &json!({})).result();
        assert_eq!(result["isError"], true, "{result}");
        let text = result["content"][0]["text"].as_str().expect("text");
        assert!(text.contains("https://example.invalid/go") && text.contains("please sign in"), "{text}");
    }
}

/// 0.2.2: a strict client gets a fresh envelope, whatever the child adds to its own.
#[test]
fn t02_envelope_is_hubs_own() {
    let mut setup = Setup::one();
    *setup.server("a") = Fake::new("a").flag("--vendor").arg("--ask-ids", "string");
    let hub = Hub::start(setup);
    let response = hub.session("a").call("echo", &json!({"v": "x"})).response();
    let mut keys: Vec<&str> = response.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["id", "jsonrpc", "result"]);
}

/// `ping` is answered by hub, also while there is no child (1.6).
#[test]
fn t02_ping_is_local() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("restart", "{ initial = \"30s\", max = \"30s\" }")]));
    let session = hub.session("a");
    assert_eq!(session.request("ping", &json!({})).result(), json!({}));
    assert_eq!(hub.journal("a").count("ping"), 0);
    // The first death of a server that worked is made good at once.
    for _ in 0..2 {
        session.call("die", &json!({})).error();
    }
    hub.wait_state("a", "backoff");
    let pinged = session.begin("ping", &json!({})).response_within(Duration::from_secs(5));
    assert_eq!(pinged["result"], json!({}));
}

/// A child's own method, which hub does not know, passes on the server's own endpoint (1.4).
#[test]
fn t02_unknown_methods() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let result = session.request("vendor/echo", &json!({"x": [1, null]})).result();
    assert_eq!(result["params"]["x"], json!([1, null]));
    assert_eq!(session.request("vendor/unknown", &json!({})).code(), -32601);
    assert_eq!(session.notify("notifications/vendor", &json!({"y": 1})).status(), 202);
    let seen = hub.journal("a").wait_for("notifications/vendor", 1);
    assert_eq!(seen[0]["params"]["y"], 1);
    let all = Session::open(&hub.all());
    assert_eq!(all.request("vendor/echo", &json!({})).code(), -32601);
    assert_eq!(all.notify("notifications/vendor", &json!({"y": 2})).status(), 202);
    all.request("ping", &json!({}));
    assert_eq!(hub.journal("a").count("notifications/vendor"), 1);
}
