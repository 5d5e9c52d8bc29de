//! What a modern client is told, and what a child is not told: PROTOCOL 5.3 tests 30 to 33, sections 3.A.1, 3.B.1 and 3.C.
//!
//! In: lists, reads, gets, calls and errors in every cell. Out: the members of the client's era, and no others. Owns
//! nothing. May not: look at a result's content; that is the child's.

use crate::support::modern::{CAPABILITIES, M, SERVER};
use crate::support::session::L3;
use crate::support::{Answer, Fake, Hub, Modern, Session, Setup, Target, Value, json};
use std::time::Instant;

/// Every method that answers with a result, and parameters that work.
fn methods() -> Vec<(&'static str, Value)> {
    vec![
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({"uri": "test://one"})),
        ("prompts/get", json!({"name": "greet"})),
        ("tools/call", json!({"name": "echo", "arguments": {"v": "x"}})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "n", "value": "x"}}),
        ),
    ]
}

/// The raw text of an answer, and the result in it.
fn raw(client: &Modern, method: &str, params: &Value) -> (String, Value) {
    let answer = client.request(method, params);
    assert_eq!(answer.head.status, 200, "{method}: {answer:?}");
    (answer.events[0].data.clone().expect("data"), answer.result())
}

fn complete(method: &str, text: &str, result: &Value) {
    assert_eq!(result["resultType"], "complete", "{method}: {text}");
    let cacheable = method.ends_with("/list") || ["server/discover", "resources/read"].contains(&method);
    // Hub's own are on the six alone; a server that sends them elsewhere is not corrected.
    if cacheable {
        assert!(result["ttlMs"].as_u64().is_some(), "{method}: {text}");
        assert!(["public", "private"].map(|scope| json!(scope)).contains(&result["cacheScope"]), "{method}: {text}");
    }
    for key in ["\"resultType\"", "\"ttlMs\"", "\"cacheScope\"", "\"_meta\""] {
        assert!(text.matches(key).count() <= 1, "{method}: {key} twice in {text}");
    }
}

#[test]
fn t30_modern_result_fields() {
    // A child that was modern once may still add the members itself: they are replaced, not doubled.
    let extra = json!({"resultType": "odd", "ttlMs": 5, "cacheScope": "public", "_meta": {"vendor/x": {"y": [1]}}});
    let dressed = Fake::new("dressed").arg("--result-extra", &extra);
    let hub = Hub::start(Setup::of([Fake::new("plain"), dressed, Fake::modern("modern")]));
    for name in ["plain", "dressed", "modern"] {
        let client = Modern::open(&hub.at(name));
        for (method, params) in methods().into_iter().filter(|_| name != "modern").chain(methods()) {
            let (text, result) = raw(&client, method, &params);
            complete(method, &text, &result);
            let hints = method.ends_with("/list") || ["server/discover", "resources/read"].contains(&method);
            assert!(hints || name == "dressed" || result.get("ttlMs").is_none(), "{name} {method}: {text}");
            if name != "modern" || method == "server/discover" {
                assert_eq!(result["_meta"][SERVER]["name"], "fake", "{name} {method}: {text}");
            }
            let untouched = ["server/discover", "tools/call"].contains(&method);
            if name == "dressed" && !untouched {
                assert_eq!(result["_meta"]["vendor/x"], json!({"y": [1]}), "{method}: the child's own stays: {text}");
            }
        }
    }
}

#[test]
fn t30_on_the_aggregate() {
    let hub = Hub::start(Setup::of([Fake::new("l"), Fake::modern("m")]));
    let client = Modern::open(&hub.all());
    for (method, mut params) in methods() {
        if params.get("name").is_some() {
            params["name"] = json!(format!("m__{}", params["name"].as_str().expect("a name")));
        }
        if params.get("ref").is_some() {
            params["ref"]["name"] = json!("l__greet");
        }
        let (text, result) = raw(&client, method, &params);
        assert_eq!(result["resultType"], "complete", "{method}: {text}");
        if method.ends_with("list") {
            assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(0)), "{method}: {text}");
        }
        if method == "server/discover" {
            assert_eq!(result["_meta"][SERVER]["name"], "hub", "{text}");
        }
    }
}

/// Odd results of a legacy child: empty, with `_meta` only, not an object.
#[test]
fn t30_odd_results() {
    let hub = Hub::start(Setup::one());
    let client = Modern::open(&hub.at("a"));
    let call = |result: Value| client.call("raw_result", &json!({"result": result}));
    assert_eq!(call(json!({})).result()["resultType"], "complete");
    let kept = call(json!({"_meta": {}, "content": [], "x": {"resultType": "inner"}})).result();
    assert_eq!((&kept["resultType"], &kept["x"]["resultType"]), (&json!("complete"), &json!("inner")));
    for bad in [json!(5), json!("text"), json!([1]), json!(true)] {
        assert_eq!(call(bad.clone()).code(), -32603, "{bad}");
    }
}

/// `server/discover` of either child (2.3, 3.A.1): the handshake in modern words.
#[test]
fn t30_discover() {
    let caps =
        r#"{"tools":{},"resources":{"subscribe":true},"logging":{},"tasks":{"list":{}},"experimental":{"x":{"y":1}}}"#;
    for profile in ["L", "M", "D"] {
        let fake = Fake::new("a").arg("--profile", profile).arg("--caps", caps).arg("--instructions", "Use it wisely");
        let hub = Hub::start(Setup::of([fake]));
        let before = hub.journal("a").received().len();
        let result = Modern::open(&hub.at("a")).request("server/discover", &json!({})).result();
        assert_eq!(result["supportedVersions"], json!([M]), "{profile}: {result}");
        assert_eq!(result["instructions"], "Use it wisely");
        assert_eq!(result["_meta"][SERVER]["name"], "fake");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(60_000), &json!("private")), "{result}");
        let capabilities = &result["capabilities"];
        assert_eq!(capabilities["tools"]["listChanged"], true, "{profile}: hub itself signals restarts");
        assert_eq!(capabilities["resources"]["subscribe"], true);
        assert_eq!(capabilities["experimental"], json!({"x": {"y": 1}}));
        assert!(capabilities["logging"].is_object());
        assert!(
            capabilities.get("tasks").is_none(),
            "{profile}: tasks of 2025-11-25 mean nothing here: {capabilities}"
        );
        assert!(capabilities.get("prompts").is_none(), "{profile}: nothing is invented");
        assert_eq!(hub.journal("a").received().len(), before, "{profile}: the child was not asked");
    }
}

/// The second time, `server/discover` and the lists need no child.
#[test]
fn t30_from_the_cache() {
    for (era, setup) in Setup::both() {
        let mut hub = Hub::start(setup.fixed_ports());
        let client = Modern::open(&hub.at("a"));
        let lists: Vec<_> = methods().into_iter().take(5).collect();
        let before: Vec<Value> = lists.iter().map(|(method, params)| client.request(method, params).result()).collect();
        hub.stop();
        hub.setup.impatient = true;
        hub.setup.env.push(("FAKE_READY_DELAY_MS".into(), "6000".into()));
        hub.serve();
        let start = Instant::now();
        for ((method, params), before) in lists.iter().zip(&before) {
            let now = client.request(method, params).result();
            for key in ["tools", "prompts", "resources", "resourceTemplates", "capabilities", "supportedVersions"] {
                assert_eq!(now.get(key), before.get(key), "{era}: {method}");
            }
            complete(method, &now.to_string(), &now);
        }
        assert_ne!(hub.server("a")["state"], "ready", "{era}: answered after {:?}", start.elapsed());
        client.echo("a call waits for the child");
    }
}

fn seen_meta(hub: &Hub, method: &str) -> Value {
    hub.journal("a").of(method).pop().expect("it was sent")["params"]["_meta"].clone()
}

#[test]
fn t31_meta_stripping() {
    // Python's dual-era servers refuse a claim once they are pinned: not one may get through.
    let pinned = Fake::new("a").arg("--profile", "D").key("era", "\"legacy\"");
    for fake in [pinned, Fake::new("a")] {
        let hub = Hub::start(Setup::of([fake]));
        let client = Modern::logging(&hub.at("a"), "error");
        let own = json!({"traceparent": "00-1", "tracestate": "s", "vendor/x": {"y": [1]}, "progressToken": "mine"});
        let params = json!({"name": "echo", "arguments": {"v": "x"}, "_meta": own, "task": {"ttl": 5}});
        assert_eq!(client.request("tools/call", &params).text(), "x");
        let call = hub.journal("a").calls("echo").pop().expect("one call");
        let meta = &call["params"]["_meta"];
        assert_eq!((&meta["traceparent"], &meta["tracestate"]), (&json!("00-1"), &json!("s")), "{meta}");
        assert_eq!(meta["vendor/x"], json!({"y": [1]}));
        assert_eq!(meta["progressToken"], call["id"], "the child's token is the wire id: {call}");
        assert!(call["params"].get("task").is_none(), "{call}");
        for (method, params) in methods().into_iter().skip(1) {
            client.request(method, &params).result();
        }
        // The probe is of the other era by its nature.
        for message in hub.journal("a").received().into_iter().filter(|m| m["method"] != "server/discover") {
            assert!(!message.to_string().contains("io.modelcontextprotocol/"), "a claim reached the child: {message}");
        }
        assert_eq!(
            hub.journal("a").calls("echo").pop().expect("the last")["params"].get("_meta"),
            None,
            "nothing left"
        );
    }
}

/// The other way round: a modern child gets claims with every request, whoever asks (2.7, 3.B.1, 3.C).
#[test]
fn t31_meta_for_a_modern_child() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let call = json!({"name": "echo", "arguments": {"v": "x"}, "_meta": {"traceparent": "00-1", "progressToken": 5}});
    let session = Session::with(
        &target,
        L3,
        &json!({"elicitation": {}, "sampling": {}, "roots": {"listChanged": true}, "tasks": {}}),
    );
    session.request("tools/call", &call).text();
    let meta = seen_meta(&hub, "tools/call");
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], M);
    let told = &meta[CAPABILITIES];
    assert!([json!({}), json!({"form": {}})].contains(&told["elicitation"]), "{meta}");
    assert_eq!((&told["sampling"], &told["roots"], told.get("tasks")), (&json!({}), &json!({}), None), "{meta}");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "test", "the session's own: {meta}");
    assert_eq!(meta["io.modelcontextprotocol/logLevel"], "info", "legacy servers log by default: {meta}");
    assert_eq!((&meta["traceparent"], meta["progressToken"].is_u64()), (&json!("00-1"), true), "{meta}");
    Modern::with(&target, json!({"sampling": {"context": {}}, "experimental": {"z": {}}}))
        .request("tools/call", &call)
        .text();
    let meta = seen_meta(&hub, "tools/call");
    assert_eq!(meta[CAPABILITIES], json!({"sampling": {"context": {}}, "experimental": {"z": {}}}), "raw: {meta}");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "modern-test");
    assert!(meta.get("io.modelcontextprotocol/logLevel").is_none(), "it did not ask for any: {meta}");
    let requests = hub.journal("a").received().into_iter().filter(|m| m.get("id").is_some());
    for request in requests {
        let meta = &request["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], M, "{request}");
        assert!(meta[CAPABILITIES].is_object(), "{request}");
    }
    let foreign: Vec<Value> = hub
        .journal("a")
        .received()
        .into_iter()
        .filter(|m| m.get("method").is_none() || m["method"] == "initialize")
        .collect();
    assert_eq!(foreign, Vec::<Value>::new(), "no handshake, and never a response, for a modern child");
}

fn failing(client: &dyn Fn(&Value) -> Answer, code: i64) -> Answer {
    client(&json!({"error": {"code": code, "message": format!("says {code}"), "data": {"own": code}}}))
}

/// Table 3.C. `expected` is the code for a modern and for a legacy client.
fn errors(target: &Target, cell: &str, table: &[(i64, i64, i64)]) {
    let (modern, legacy) = (Modern::eliciting(target), Session::eliciting(target));
    for (code, for_modern, for_legacy) in table {
        let p = failing(&|arguments| modern.call("raw_error", arguments), *code);
        assert_eq!(p.code(), *for_modern, "{cell}: {code} for a modern client: {p:?}");
        assert_eq!(p.head.status, if *for_modern == -32021 { 400 } else { 200 }, "{cell}: {code}: {p:?}");
        let a = failing(&|arguments| legacy.call("raw_error", arguments), *code);
        assert_eq!((a.code(), a.head.status), (*for_legacy, 200), "{cell}: {code} for a legacy client: {a:?}");
        for (answer, given) in [(&p, for_modern), (&a, for_legacy)] {
            if given == code {
                let expected = json!({"code": code, "message": format!("says {code}"), "data": {"own": code}});
                assert_eq!(answer.error(), expected, "{cell}: passed as it is");
            }
        }
    }
}

#[test]
fn t32_error_mapping() {
    let hub = Hub::start(Setup::of([Fake::new("l"), Fake::modern("m")]));
    let both: [(i64, i64, i64); 11] = [
        (-32601, -32601, -32601),
        (-32602, -32602, -32602),
        (-32603, -32603, -32603),
        (-32077, -32603, -32077),
        (-32021, -32021, -32021),
        (-32000, -32000, -32000),
        (-32001, -32001, -32001),
        (-32019, -32019, -32019),
        (-1, -1, -1),
        (7, 7, 7),
        (-31999, -31999, -31999),
    ];
    errors(&hub.at("l"), "legacy child", &both);
    errors(&hub.at("m"), "modern child", &both);
    // Within one era a server's errors are its own, as they are.
    let own = [(-32002, -32602, -32002), (-32700, -32603, -32700), (-32600, -32603, -32600)];
    errors(&hub.at("l"), "legacy child", &own);
    errors(&hub.at("m"), "modern child", &[(-32020, -32603, -32603), (-32600, -32603, -32603)]);
    let mapped = failing(&|arguments| Modern::open(&hub.at("l")).call("raw_error", arguments), -32077).error();
    assert_eq!(mapped["data"], json!({"own": -32077, "originalCode": -32077}), "{mapped}");
    let p = failing(&|arguments| Modern::open(&hub.at("l")).call("raw_error", arguments), -32002);
    assert_eq!((&p.error()["message"], &p.error()["data"]["own"]), (&json!("says -32002"), &json!(-32002)), "kept");
}

/// "Not found" has another code in each era.
#[test]
fn t32_resource_not_found() {
    let hub = Hub::start(Setup::of([Fake::new("l"), Fake::modern("m")]));
    let read = json!({"uri": "nowhere://x"});
    for name in ["l", "m"] {
        let p = Modern::open(&hub.at(name)).request("resources/read", &read);
        assert_eq!((p.head.status, p.code()), (200, -32602), "{name}: {p:?}");
        assert_eq!(p.error()["data"]["uri"], "nowhere://x", "{name}: {p:?}");
        let a = Session::open(&hub.at(name)).request("resources/read", &read);
        assert_eq!((a.head.status, a.code()), (200, -32002), "{name}: {a:?}");
        assert_eq!(a.error()["data"]["uri"], "nowhere://x", "{name}: {a:?}");
    }
    // On the aggregate a URI that nobody has is hub's own error.
    assert_eq!(Modern::open(&hub.all()).request("resources/read", &read).code(), -32602);
    assert_eq!(Session::open(&hub.all()).request("resources/read", &read).code(), -32002);
}

/// -32042 of a legacy child, for clients of every kind (3.A.4.7; for sessions see t02).
#[test]
fn t32_url_elicitation_required() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let unable = Modern::open(&target).call("need42", &json!({}));
    assert_eq!((unable.head.status, unable.code()), (400, -32021), "{unable:?}");
    assert!(unable.error()["data"]["requiredCapabilities"]["elicitation"]["url"].is_object(), "{unable:?}");

    let client = Modern::eliciting(&target);
    let round = client.ask("need42", &json!({"elicitation": "e-1"}));
    let request = round.requests[round.key()].clone();
    assert_eq!(request["method"], "elicitation/create");
    assert_eq!(
        (&request["params"]["mode"], &request["params"]["url"]),
        (&json!("url"), &json!("https://example.invalid/go"))
    );
    assert!(request["params"].get("elicitationId").is_none(), "removed in this revision: {request}");
    let declined = client.retry(&round, &json!({round.key(): {"action": "decline"}})).result();
    assert_eq!((&declined["isError"], &declined["resultType"]), (&json!(true), &json!("complete")), "{declined}");
    assert_eq!(hub.journal("a").calls("need42").len(), 2, "a refusal does not run it again");
}

#[test]
fn t33_legacy_list_sanitise() {
    let hub = Hub::start(Setup::modern());
    let target = hub.at("a");
    let (session, client) = (Session::open(&target), Modern::open(&target));
    let (ours, theirs) =
        (session.request("tools/list", &json!({})).result(), client.request("tools/list", &json!({})).result());
    let names = |list: &Value| -> Vec<String> {
        list["tools"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    assert_eq!(names(&ours), names(&theirs), "every tool, in the same order");
    let find = |list: &Value, name: &str| {
        list["tools"].as_array().expect("a list").iter().find(|tool| tool["name"] == name).cloned().expect("listed")
    };
    for tool in ours["tools"].as_array().expect("a list") {
        assert!(tool.get("outputSchema").is_none_or(|schema| schema["type"] == "object"), "{tool}");
        for (name, schema) in tool["inputSchema"]["properties"].as_object().into_iter().flatten() {
            assert!(schema.is_object(), "{name} of {tool}");
        }
    }
    let arr = find(&ours, "arr");
    assert!(arr.get("outputSchema").is_none(), "{arr}");
    assert_eq!(arr["inputSchema"]["properties"], json!({"any": {}, "none": {"not": {}}, "v": {"type": "string"}}));
    let result = session.call("arr", &json!({})).result();
    assert!(result.get("structuredContent").is_none(), "{result}");
    assert_eq!(result["content"][0]["text"], "[1,2,3]");
    assert!(result.get("resultType").is_none(), "{result}");
    for odd in [json!(null), json!("text"), json!(5), json!([{}])] {
        let kept = json!({"content": [{"type": "text", "text": "t"}], "structuredContent": odd});
        let result = session.call("raw_result", &json!({"result": kept})).result();
        assert!(result.get("structuredContent").is_none(), "{result}");
    }
    let object = json!({"content": [], "structuredContent": {"n": 12_345_678_901_234_567_890_u64, "f": 1.10}});
    let result = session.call("raw_result", &json!({"result": object})).result();
    assert_eq!(result["structuredContent"], object["structuredContent"], "an object passes: {result}");

    assert_eq!(find(&theirs, "arr")["outputSchema"]["type"], "array", "a modern client gets what the server said");
    assert_eq!(client.call("arr", &json!({})).result()["structuredContent"], json!([1, 2, 3]));
}

/// A session never sees a member of the other era (3.C).
#[test]
fn t33_no_modern_members_for_a_session() {
    let hub = Hub::start(Setup::of([Fake::modern("m"), Fake::new("l")]));
    for (target, prefix) in [(hub.at("m"), ""), (hub.all(), "m__")] {
        let session = Session::open(&target);
        for (method, mut params) in methods().into_iter().skip(1) {
            if params.get("name").is_some() {
                params["name"] = json!(format!("{prefix}{}", params["name"].as_str().expect("a name")));
            }
            if params.get("ref").is_some() {
                params["ref"]["name"] = json!(format!("{prefix}greet"));
            }
            let result = session.request(method, &params).result();
            assert!(result.get("resultType").is_none(), "{method}: {result}");
        }
        let info = &session.init["serverInfo"];
        assert!(info["name"].is_string() && info["version"].is_string(), "{info}");
    }
    let session = hub.session("m");
    assert_eq!(session.init["serverInfo"]["name"], "fake");
    assert_eq!(session.init["protocolVersion"], L3);
    assert!(session.init["capabilities"].get("tasks").is_none(), "{}", session.init);
    assert_eq!(session.request("ping", &json!({})).result(), json!({}));
    assert_eq!(session.request("logging/setLevel", &json!({"level": "info"})).result(), json!({}));
}
