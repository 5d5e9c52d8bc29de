//! All servers behind one endpoint: PROTOCOL 5.3 tests 44, 45 and 46, section 4.
//!
//! In: servers with odd and colliding names. Out: unique names that lead back. Owns nothing. May not: split a name; what
//! it leads to is seen at the child.

use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const SEARCH: &str = r#"[{"name":"search","description":"odd search","inputSchema":{"type":"object"}}]"#;

pub(crate) fn odd(name: &str) -> Fake {
    Fake::new(name).arg("--name-set", "odd").arg("--tools-extra", SEARCH)
}

/// All pages of a list.
fn items(session: &Session, method: &str, key: &str) -> Vec<Value> {
    items_of(|params| session.request(method, params).result(), key)
}

/// All pages of a list, each fetched with its parameters.
pub(crate) fn items_of(fetch: impl Fn(&Value) -> Value, key: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut params = json!({});
    for _ in 0..100 {
        let page = fetch(&params);
        all.extend(page[key].as_array().expect("a list").iter().cloned());
        match page["nextCursor"].as_str() {
            Some(cursor) => params = json!({"cursor": cursor}),
            None => return all,
        }
    }
    panic!("the list has no end");
}

pub(crate) fn names(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

pub(crate) fn is_clean(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

#[test]
fn t44_aggregate_names() {
    let mut hub = Hub::start(Setup::of([odd("alpha"), odd("beta")]).fixed_ports());
    let session = Session::open(&hub.all());
    let raw = |session: &Session| session.request_as(&json!(1), "tools/list", &json!({})).response().to_string();
    let first = raw(&session);
    assert_eq!(first, raw(&session), "byte for byte");
    assert_eq!(first, raw(&Session::open(&hub.all())), "the same for everybody");
    hub.stop();
    hub.serve();
    let session = Session::open(&hub.all());
    assert_eq!(first, raw(&session), "and after a restart");

    for (method, key) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
        let names = names(&items(&session, method, key));
        assert!(names.iter().all(|name| is_clean(name)), "{names:?}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "unique: {names:?}");
    }
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tool in items(&session, "tools/list", "tools") {
        if !tool["description"].as_str().is_some_and(|text| text.starts_with("odd")) {
            continue;
        }
        let name = tool["name"].as_str().expect("a name");
        let text = session.call(name, &json!({"v": "n"})).text();
        let (tag, rest) = text.split_once(" runs ").unwrap_or_else(|| panic!("{name} gave {text}"));
        assert!(name.starts_with(&format!("{tag}__")), "{name} reached {tag}");
        let original = rest.strip_suffix(" v=\"n\"").expect("the nonce").to_owned();
        assert!(reached.entry(tag.to_owned()).or_default().insert(original), "{name}: reached twice");
    }
    assert_eq!(reached.len(), 2);
    assert_eq!(reached["alpha"], reached["beta"]);
    // Eleven odd names, one of them twice in one child (the first wins), and `search`.
    assert_eq!(reached["alpha"].len(), 11, "{reached:?}");
    for original in ["a__b", "a.b", "a b", "b__a__c", "search"] {
        assert!(reached["alpha"].contains(original), "{original}: {reached:?}");
    }
}

/// What needs no mending keeps its name; only originals do not resolve; everything but the name is raw.
#[test]
fn t44_plain_names() {
    let hub = Hub::start(Setup::of([Fake::new("alpha"), Fake::new("beta")]));
    let session = Session::open(&hub.all());
    assert_eq!(session.call("beta__echo", &json!({"v": "x"})).text(), "x");
    assert_eq!(hub.journal("beta").calls("echo").len(), 1);
    assert_eq!(hub.journal("alpha").calls("echo").len(), 0);
    for unknown in ["echo", "gamma__echo", "alpha__nothing", "alpha_echo", "ALPHA__echo", ""] {
        let error = session.call(unknown, &json!({})).error();
        assert_eq!(error["code"], -32602, "{unknown}: {error}");
    }
    assert_eq!(hub.journal("alpha").count("tools/call"), 0);
    let all = items(&session, "tools/list", "tools");
    let own = hub.session("alpha").request("tools/list", &json!({})).result();
    let mut expected = own["tools"].as_array().expect("a list")[0].clone();
    expected["name"] = json!("alpha__echo");
    let mut found = all.iter().find(|tool| tool["name"] == "alpha__echo").expect("listed").clone();
    if let Some(members) = found.as_object_mut() {
        members.remove("_meta");
    }
    assert_eq!(found, expected);
    let prompt = session.request("prompts/get", &json!({"name": "beta__greet", "arguments": {"name": "Ada"}})).result();
    assert_eq!(prompt["messages"][0]["content"]["text"], "beta greet Ada");
    let reference =
        json!({"ref": {"type": "ref/prompt", "name": "beta__greet"}, "argument": {"name": "name", "value": "A"}});
    let completion = session.request("completion/complete", &reference).result();
    assert_eq!(completion["completion"]["values"][0], "A-beta");
    assert!(completion["completion"]["values"][1].as_str().expect("the ref").contains("\"greet\""));
}

#[test]
fn t44_identity() {
    let fakes =
        [Fake::new("alpha").arg("--instructions", "Be kind."), Fake::new("beta").arg("--caps", r#"{"tools":{}}"#)];
    let hub = Hub::start(Setup::of(fakes));
    let init = Session::open(&hub.all()).init;
    assert_eq!(init["serverInfo"]["name"], "hub");
    let capabilities = &init["capabilities"];
    for (key, expected) in [
        ("tools", json!({"listChanged": true})),
        ("prompts", json!({"listChanged": true})),
        ("resources", json!({"listChanged": true, "subscribe": true})),
        ("completions", json!({})),
        ("logging", json!({})),
    ] {
        assert_eq!(capabilities[key], expected, "{key}: a static superset");
    }
    assert!(capabilities.get("tasks").is_none());
    let instructions = init["instructions"].as_str().expect("instructions");
    assert!(instructions.contains("## alpha\nBe kind."), "{instructions}");
}

/// Pages of the children are drained, hub's own cursor is opaque and checked.
#[test]
fn t44_pages() {
    let hub =
        Hub::start(Setup::of([Fake::new("alpha").arg("--page-size", 3), Fake::new("beta").arg("--page-size", 1)]));
    let session = Session::open(&hub.all());
    let paged = names(&items(&session, "tools/list", "tools"));
    let alpha: Vec<&String> = paged.iter().filter(|name| name.starts_with("alpha__")).collect();
    assert_eq!(alpha.len() * 2, paged.len());
    assert!(paged[..alpha.len()].iter().all(|name| name.starts_with("alpha__")), "in the order of hub.toml");
    for cursor in ["", "bogus", "AAAA", "at-3"] {
        assert_eq!(session.request("tools/list", &json!({"cursor": cursor})).code(), -32602, "{cursor:?}");
    }
    // On the server's own endpoint cursors are the child's, raw.
    let own = hub.session("alpha");
    let first = own.request("tools/list", &json!({})).result();
    assert_eq!((first["tools"].as_array().map(Vec::len), &first["nextCursor"]), (Some(3), &json!("at-3")));
    let second = own.request("tools/list", &json!({"cursor": "at-3"})).result();
    assert_eq!(second["nextCursor"], "at-6");
    assert_eq!(own.request("tools/list", &json!({"cursor": "bogus"})).code(), -32602, "the child's own answer");
}

#[test]
fn t45_aggregate_partial() {
    let mut hub = Hub::prepare(Setup::default().impatient());
    let (hangs, dead) = (hub.path("HANGS"), hub.path("DEAD"));
    std::fs::write(&hangs, "").expect("a file");
    std::fs::write(&dead, "").expect("a file");
    let quick = "{ initial = \"100ms\", max = \"300ms\" }";
    hub.setup.servers = vec![
        Fake::new("dead").arg("--dead-while", dead.display()).key("restart", quick),
        Fake::new("good"),
        Fake::new("hung").arg("--hang-list-while", hangs.display()).key("startup_timeout", "\"60s\""),
    ];
    hub.write_config();
    hub.serve();
    hub.wait_state("good", "ready");
    let session = Session::open(&hub.all());
    let get = session.listen();
    let start = Instant::now();
    let list = session.request("tools/list", &json!({})).result();
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "5 s per child, and not one after the other: {:?}",
        start.elapsed()
    );
    let found = names(list["tools"].as_array().expect("a list"));
    assert!(!found.is_empty() && found.iter().all(|name| name.starts_with("good__")), "{found:?}");
    assert_eq!(list["_meta"]["hub/unavailable"], json!(["dead", "hung"]));
    let answer = session.begin_call("dead__echo", &json!({"v": "x"})).response();
    assert!(answer["result"]["isError"] == true || answer["error"]["code"].is_i64(), "an error, not silence: {answer}");

    std::fs::remove_file(&hangs).expect("the file");
    std::fs::remove_file(&dead).expect("the file");
    if hub.server("dead")["state"] == "failed" {
        hub.run(&["restart", "dead"]);
    }
    get.wait_for("notifications/tools/list_changed");
    let order = eventually("all three are listed", || {
        let all = names(&items(&session, "tools/list", "tools"));
        let mut order: Vec<String> = all.iter().filter_map(|name| Some(name.split_once("__")?.0.to_owned())).collect();
        order.dedup();
        (order.len() == 3).then_some(order)
    });
    assert_eq!(order, ["dead", "good", "hung"], "the order of hub.toml");
    assert_eq!(session.call("dead__echo", &json!({"v": "alive"})).text(), "alive");
    assert_eq!(session.call("hung__echo", &json!({"v": "too"})).text(), "too");
}

/// A server that was there and is down: its last good list, and calls that say so.
#[test]
fn t45_stale_lists() {
    let mut hub = Hub::prepare(Setup::default());
    let dead = hub.path("DEAD");
    let failing = Fake::new("down").arg("--dead-while", dead.display()).arg("--exit-code", 9);
    hub.setup.servers = vec![failing.key("restart", "{ initial = \"10ms\", max = \"20ms\" }"), Fake::new("good")];
    hub.write_config();
    hub.serve();
    let session = Session::open(&hub.all());
    let before = names(&items(&session, "tools/list", "tools"));
    std::fs::write(&dead, "").expect("a file");
    crate::support::procs::signal(hub.child_pid("down"), nix::sys::signal::Signal::SIGKILL);
    hub.wait_state("down", "failed");
    assert_eq!(names(&items(&session, "tools/list", "tools")), before, "a failed list never becomes no tools");
    let result = session.call("down__echo", &json!({"v": "x"})).result();
    assert_eq!(result["isError"], true, "{result}");
    let text = result["content"][0]["text"].as_str().expect("text");
    assert!(text.contains("down"), "{text}");
    assert_eq!(session.request("prompts/get", &json!({"name": "down__greet"})).code(), -32603);
    assert_eq!(session.call("good__echo", &json!({"v": "fine"})).text(), "fine");
}

fn read(session: &Session, uri: &str) -> Result<String, i64> {
    let answer = session.request("resources/read", &json!({"uri": uri}));
    let response = answer.response();
    match response.get("result") {
        Some(result) => Ok(result["contents"][0]["text"].as_str().expect("text").to_owned()),
        None => Err(answer.code()),
    }
}

#[test]
fn t46_aggregate_resources() {
    let special = r#"[{"uriTemplate":"item://special-{id}","name":"special"}]"#;
    let beta = Fake::new("beta").arg("--templates-extra", special).arg("--readable", "hidden://");
    let hub = Hub::start(Setup::of([Fake::new("alpha"), beta]));
    let session = Session::open(&hub.all());
    let all = items(&session, "resources/list", "resources");
    let uris: Vec<&str> = all.iter().map(|item| item["uri"].as_str().expect("a uri")).collect();
    assert_eq!(uris.iter().collect::<BTreeSet<_>>().len(), uris.len(), "{uris:?}");
    assert!(uris.contains(&"test://shared") && uris.contains(&"test://alpha/own") && uris.contains(&"test://beta/own"));
    let prefixed =
        uris.iter().find(|uri| uri.starts_with("hub://beta/") && uri.contains("shared")).expect("beta's own form");

    assert_eq!(read(&session, "test://shared"), Ok("alpha reads test://shared".into()), "the first one keeps it");
    assert_eq!(read(&session, prefixed), Ok("beta reads test://shared".into()));
    assert_eq!(read(&session, "test://beta/own"), Ok("beta reads test://beta/own".into()));
    assert_eq!(read(&session, "item://7"), Ok("alpha reads item://7".into()));
    assert_eq!(read(&session, "item://special-7"), Ok("beta reads item://special-7".into()), "most literal first");
    assert_eq!(read(&session, "beta://item/1"), Ok("beta reads beta://item/1".into()));
    assert_eq!(read(&session, "hidden://x"), Ok("beta reads hidden://x".into()), "nobody lists it, one has it");
    assert_eq!(read(&session, "nowhere://x"), Err(-32002));

    let get = session.listen();
    for uri in ["test://shared", prefixed] {
        assert_eq!(session.request("resources/subscribe", &json!({"uri": uri})).result(), json!({}));
    }
    session.call("beta__touch", &json!({"uri": "test://shared"})).result();
    let updated = get.wait_for("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], *prefixed, "in the form that was subscribed");
    session.call("alpha__touch", &json!({"uri": "test://shared"})).result();
    let updated = get.wait_for_many("notifications/resources/updated", 2);
    assert_eq!(updated[1]["params"]["uri"], "test://shared");
    for name in ["alpha", "beta"] {
        assert_eq!(hub.journal(name).of("resources/subscribe")[0]["params"]["uri"], "test://shared");
    }
}

/// Everything that is not a list crosses too: progress, prompts, logs, cancellation, levels (4.5).
#[test]
fn t46_the_rest() {
    let hub = Hub::start(Setup::of([Fake::new("alpha"), Fake::new("beta")]));
    let session = Session::eliciting(&hub.all());
    let call = session.begin_call_with_token("alpha__prog", &json!({"n": 3}), &json!("t"));
    call.text();
    assert_eq!(call.of("notifications/progress").len(), 3);
    let asks = [("alpha", "one"), ("beta", "two")].map(|(alias, tag)| {
        let call = session.begin_call(&format!("{alias}__elicit"), &json!({"tag": tag}));
        let prompt = call.wait_for("elicitation/create");
        assert_eq!(prompt["params"]["message"], format!("[{alias}] {tag}"), "the person sees which server asks");
        (call, prompt, tag)
    });
    assert_ne!(asks[0].1["id"], asks[1].1["id"], "children's ids collide, the session's do not");
    for (call, prompt, tag) in &asks {
        session.accept(prompt, tag);
        assert!(call.text().contains(tag));
    }
    assert_eq!(session.request("logging/setLevel", &json!({"level": "debug"})).result(), json!({}));
    for name in ["alpha", "beta"] {
        assert_eq!(hub.journal(name).wait_for("logging/setLevel", 1)[0]["params"]["level"], "debug");
    }
    let log = session.begin_call("beta__log", &json!({"level": "debug", "text": "fine print"}));
    log.text();
    assert_eq!(log.of("notifications/message")[0]["params"]["logger"], "beta/fake");
    let sleeping = session.begin_call("beta__sleep", &json!({"ms": 20_000}));
    hub.journal("beta").wait_for_calls("sleep", 1);
    session.cancel(&sleeping.id);
    sleeping.closed();
    hub.journal("beta").wait_for("notifications/cancelled", 1);
    assert_eq!(hub.journal("alpha").count("notifications/cancelled"), 0);
}
