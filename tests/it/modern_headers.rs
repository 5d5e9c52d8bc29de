//! The ladder of checks of a modern request: PROTOCOL 5.3 tests 27, 28, 29 and 43, sections 2.1 and 2.2.
//!
//! In: requests with headers and claims that are missing, wrong, or odd but right. Out: status, code, id. Owns nothing. May
//! not: accept that a refused request reached the child.

use crate::support::modern::{CAPABILITIES, CLIENT, M, VERSION, header_value};
use crate::support::session::message;
use crate::support::{Answer, Fake, Hub, Modern, Session, Setup, Target, Value, json};

const MISMATCH: i64 = -32020;

/// Headers with other values than the right ones; `None`: left out.
type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

/// The right headers of `method` with some replaced (`None`: left out).
fn headers(method: &str, params: &Value, changes: Changes<'_>) -> Vec<(String, String)> {
    let own = Modern::headers(method, params).into_iter();
    let mut headers: Vec<(String, String)> = own.map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, value) in changes {
        headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        headers.extend(value.map(|value| ((*name).to_owned(), value.to_owned())));
    }
    headers
}

fn send(target: &Target, headers: &[(String, String)], body: &[u8]) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Answer::from_reply(&target.send("POST", &headers, body))
}

/// One request of a plain client with some headers changed.
fn changed(target: &Target, method: &str, params: &Value, changes: Changes<'_>) -> Answer {
    let body = message(Some(&json!("the-id")), method, &Modern::open(target).claimed(params));
    let answer = send(target, &headers(method, params, changes), &body);
    assert_eq!(answer.response()["id"], "the-id", "{answer:?}");
    answer
}

fn refused(answer: &Answer, status: u16, code: i64, why: &str) {
    assert_eq!((answer.head.status, answer.code()), (status, code), "{why}: {answer:?}");
    assert!(answer.head.is_json(), "{why}: {answer:?}");
}

fn echo(text: &str) -> Value {
    json!({"name": "echo", "arguments": {"v": text}})
}

#[test]
fn t27_header_validation() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let wrong: [(&str, Option<&str>); 13] = [
            ("MCP-Protocol-Version", None),
            ("MCP-Protocol-Version", Some("2025-11-25")),
            ("MCP-Protocol-Version", Some("2026-07-29")),
            ("Mcp-Method", None),
            ("Mcp-Method", Some("tools/list")),
            ("Mcp-Method", Some("Tools/Call")),
            ("Mcp-Name", None),
            ("Mcp-Name", Some("ech")),
            ("Mcp-Name", Some("Echo")),
            ("Mcp-Name", Some("=?base64?ZWNobw?=")),
            ("Mcp-Name", Some("=?base64?Z*Nobw==?=")),
            ("Mcp-Name", Some("=?base64?//8=?=")),
            ("Mcp-Name", Some("=?base64?RWNobw==?=")),
        ];
        for (name, value) in wrong {
            let answer = changed(&target, "tools/call", &echo("never"), &[(name, value)]);
            refused(&answer, 400, MISMATCH, &format!("{era}: {name}: {value:?}"));
        }
        for (name, value) in [("MCP-Protocol-Version", M), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")] {
            let mut twice = headers("tools/call", &echo(""), &[]);
            twice.push((name.to_owned(), value.to_owned()));
            let body = message(Some(&json!(7)), "tools/call", &Modern::open(&target).claimed(&echo("never")));
            refused(&send(&target, &twice, &body), 400, MISMATCH, &format!("{era}: two {name}, even if identical"));
        }
        assert_eq!(hub.journal("a").count("tools/call"), 0, "{era}: nothing that was refused went on");
    }
}

/// Names of headers in any case, blanks around values, names in base64.
#[test]
fn t27_accepted_variants() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let right: [Changes<'_>; 5] = [
            &[("MCP-PROTOCOL-VERSION", Some(M)), ("mcp-method", Some("tools/call")), ("mCP-nAME", Some("echo"))],
            &[("Mcp-Method", Some("  tools/call\t")), ("Mcp-Name", Some("\techo  "))],
            &[("Mcp-Name", Some("=?base64?ZWNobw==?="))],
            &[("Mcp-Session-Id", Some("no-such-session"))],
            &[("Accept", Some("*/*")), ("Content-Type", Some("application/json; charset=utf-8"))],
        ];
        for (index, changes) in right.into_iter().enumerate() {
            let text = format!("variant {index}");
            let answer = changed(&target, "tools/call", &echo(&text), changes);
            assert_eq!(answer.head.status, 200, "{era}: {changes:?}: {answer:?}");
            assert_eq!(answer.text(), text, "{era}");
            assert_eq!(answer.head.header("mcp-session-id"), None, "never echoed");
        }
        // The body may spell the name with escapes: bytes are compared after unescaping.
        let params = Modern::open(&target).claimed(&echo("escaped"));
        let body = String::from_utf8(message(Some(&json!(1)), "tools/call", &params)).expect("text");
        let body = body.replace("\"name\":\"echo\"", "\"na\\u006de\":\"\\u0065cho\"");
        let answer = send(&target, &headers("tools/call", &echo(""), &[]), body.as_bytes());
        assert_eq!(answer.text(), "escaped", "{era}");
    }
}

/// `Mcp-Name` mirrors the URI of a read and the name of a prompt; other methods have none.
#[test]
fn t27_names_of_other_methods() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let uri = "item://ünïcode ✓";
        let read = json!({"uri": uri});
        assert!(header_value(uri).starts_with("=?base64?"));
        let contents = changed(&target, "resources/read", &read, &[]).result();
        assert_eq!(contents["contents"][0]["uri"], uri, "{era}");
        let other = header_value("item://other");
        refused(&changed(&target, "resources/read", &read, &[("Mcp-Name", Some(&other))]), 400, MISMATCH, era);
        refused(&changed(&target, "resources/read", &read, &[("Mcp-Name", None)]), 400, MISMATCH, era);
        let prompt = json!({"name": "greet"});
        changed(&target, "prompts/get", &prompt, &[]).result();
        refused(&changed(&target, "prompts/get", &prompt, &[("Mcp-Name", Some("plain"))]), 400, MISMATCH, era);
        changed(&target, "tools/list", &json!({}), &[]).result();
        // A name that looks like the sentinel has to be encoded, and is then taken literally.
        let tricky = json!({"name": "=?base64?ZWNobw==?="});
        let unknown = changed(&target, "tools/call", &tricky, &[]);
        assert_eq!((unknown.head.status, unknown.code()), (200, -32602), "{era}: an unknown tool: {unknown:?}");
    }
}

fn without(params: &Value, key: &str) -> Value {
    let mut params = params.clone();
    params["_meta"].as_object_mut().expect("claims").remove(key).expect("it was there");
    params
}

#[test]
fn t28_meta_validation() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        for target in [hub.at("a"), hub.all()] {
            let client = Modern::open(&target);
            let claimed = client.claimed(&json!({}));
            let version = |version: Value| {
                let mut params = claimed.clone();
                params["_meta"][VERSION] = version;
                params
            };
            let mut no_object = claimed.clone();
            no_object["_meta"][CAPABILITIES] = json!("all");
            let post = |params: &Value, header: &str| {
                let method = "server/discover";
                let body = message(Some(&json!("the-id")), method, params);
                let answer = send(&target, &headers(method, params, &[("MCP-Protocol-Version", Some(header))]), &body);
                assert_eq!(answer.response()["id"], "the-id", "{answer:?}");
                answer
            };
            for params in [json!({}), json!({"_meta": {}}), json!({"_meta": {"traceparent": "00-1"}})] {
                let answer = post(&params, M);
                refused(&answer, 400, -32602, &format!("{era}: a header without a claim: {params}"));
                let text = answer.error()["message"].as_str().expect("text").to_owned();
                assert!(text.contains("protocolVersion") || text.contains("_meta"), "names what is missing: {text}");
            }
            refused(&post(&without(&claimed, VERSION), M), 400, -32602, era);
            refused(&post(&without(&claimed, CAPABILITIES), M), 400, -32602, era);
            refused(&post(&no_object, M), 400, -32602, era);
            refused(&post(&version(json!(5)), M), 400, -32602, era);
            assert_eq!(post(&without(&claimed, CLIENT), M).head.status, 200, "{era}: clientInfo is optional");
            for unknown in ["v999", "2026-07-27", "2025-11-25"] {
                let answer = post(&version(json!(unknown)), unknown);
                refused(&answer, 400, -32022, &format!("{era}: {unknown}"));
                assert_eq!(answer.error()["data"], json!({"supported": [M], "requested": unknown}));
            }
            // What is wrong twice is refused by the earlier rung.
            refused(&post(&version(json!("v999")), M), 400, MISMATCH, era);
            refused(&post(&without(&version(json!("v999")), CAPABILITIES), "v999"), 400, -32602, era);
        }
    }
}

#[test]
fn t28_log_level() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let answer = Modern::logging(&hub.at("a"), "loud").call("echo", &json!({"v": "x"}));
        assert_eq!((answer.head.status, answer.code()), (200, -32602), "{era}: {answer:?}");
        assert_eq!(hub.journal("a").count("tools/call"), 0, "{era}");
    }
}

#[test]
fn t29_removed_methods() {
    const REMOVED: [&str; 14] = [
        "ping",
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "roots/list",
        "tasks/result",
        "tasks/list",
        "sampling/createMessage",
        "sampling/anything",
        "elicitation/create",
        "bogus/method",
        "vendor/echo",
        "",
    ];
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let before = hub.journal("a").received().len();
        for target in [hub.at("a"), hub.all()] {
            for method in REMOVED {
                let params = json!({"level": "debug", "uri": "test://one", "protocolVersion": "2025-11-25"});
                let answer = changed(&target, method, &params, &[]);
                refused(&answer, 404, -32601, &format!("{era}: {method}"));
            }
        }
        assert_eq!(hub.journal("a").received().len(), before, "{era}: the child heard nothing");
    }
}

/// What the server's capabilities do not name is not there, and the child is not asked (2.2.5).
#[test]
fn t29_undeclared_capability() {
    for (era, setup) in Setup::both() {
        let mut setup = setup;
        *setup.server("a") = setup.server("a").clone().arg("--caps", r#"{"tools":{}}"#);
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let before = hub.journal("a").received().len();
        for (method, params) in [
            ("prompts/list", json!({})),
            ("prompts/get", json!({"name": "greet"})),
            ("resources/list", json!({})),
            ("resources/templates/list", json!({})),
            ("resources/read", json!({"uri": "test://one"})),
            ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "greet"}})),
        ] {
            refused(&changed(&target, method, &params, &[]), 404, -32601, &format!("{era}: {method}"));
        }
        assert_eq!(hub.journal("a").received().len(), before, "{era}");
        changed(&target, "tools/list", &json!({}), &[]).result();
    }
}

/// Everything that is no modern request, with a modern header: 2.1 rows 2, 4, 5 and 9.
#[test]
fn t29_other_shapes() {
    let hub = Hub::start(Setup::one());
    let target = hub.at("a");
    let modern = [("MCP-Protocol-Version", M), ("Accept", "application/json, text/event-stream")];
    for method in ["GET", "DELETE"] {
        assert_eq!(target.send(method, &modern, b"").status(), 405, "{method}");
    }
    let client = Modern::open(&target);
    for method in ["notifications/cancelled", "notifications/vendor"] {
        let reply = client.notify(method, &json!({"requestId": 1}));
        assert_eq!((reply.status(), reply.body.len()), (202, 0), "{method}: {}", reply.text());
    }
    let header = [("MCP-Protocol-Version", M)];
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string();
    let reply = target.post(&header, response.as_bytes());
    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (400, &json!(-32600)), "clients send no responses");
    let claimed = client.claimed(&json!({}));
    let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": claimed}]).to_string();
    let reply = target.post(&[], batch.as_bytes());
    assert_eq!((reply.status(), &reply.json()["error"]["code"]), (400, &json!(-32600)), "no claims in batches");
    client.echo("unharmed");
    assert_eq!(hub.journal("a").count("notifications/cancelled"), 0);
}

fn by_region(arguments: &Value) -> Value {
    json!({"name": "by_region", "arguments": arguments})
}

#[test]
fn t43_x_mcp_header() {
    for (era, setup) in Setup::both() {
        let hub = Hub::start(setup);
        let target = hub.at("a");
        let all = json!({"region": "eu", "count": 42, "dry": false, "at": {"zone": "b"}});
        let right = [
            ("Mcp-Param-Region", Some("eu")),
            ("Mcp-Param-Count", Some("42")),
            ("Mcp-Param-Dry", Some("false")),
            ("Mcp-Param-Zone", Some("b")),
        ];
        let served = |arguments: &Value, headers: Changes<'_>| {
            let answer = changed(&target, "tools/call", &by_region(arguments), headers);
            assert_eq!(answer.head.status, 200, "{era}: {arguments} {headers:?}: {answer:?}");
            assert!(answer.text().starts_with("region"), "{era}");
        };
        served(&all, &right);
        served(&json!({}), &[]);
        served(&json!({"region": null, "count": null}), &[]);
        served(&json!({"count": 42}), &[("Mcp-Param-Count", Some("42.0"))]);
        served(&json!({"region": "süd"}), &[("mcp-param-region", Some("=?base64?c8O8ZA==?="))]);
        served(&json!({"region": "eu"}), &[("Mcp-Param-Region", Some("=?base64?ZXU=?="))]);
        served(&json!({}), &[("Mcp-Param-Unheard-Of", Some("x"))]);
        let wrong: [(Value, Changes<'_>); 7] = [
            (all.clone(), &[]),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", Some("us"))]),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", Some("EU"))]),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", Some("=?base64?!!?="))]),
            (json!({"count": 42}), &[("Mcp-Param-Count", Some("43"))]),
            (json!({"dry": true}), &[("Mcp-Param-Dry", Some("True"))]),
            (json!({"at": {"zone": "b"}}), &[("Mcp-Param-Zone", Some("a"))]),
        ];
        let before = hub.journal("a").calls("by_region").len();
        for (arguments, headers) in wrong {
            let answer = changed(&target, "tools/call", &by_region(&arguments), headers);
            refused(&answer, 400, MISMATCH, &format!("{era}: {arguments} {headers:?}"));
        }
        assert_eq!(hub.journal("a").calls("by_region").len(), before, "{era}");
        let legacy = hub.session("a").call("by_region", &json!({"region": "eu", "v": "n"})).text();
        assert!(legacy.ends_with("v=n"), "{era}: a session has no such headers: {legacy}");
    }
}

/// An annotation that breaks its rules would make clients drop the tool: it is taken out (3.C).
#[test]
fn t43_invalid_annotations() {
    let bad = json!([
        {"name": "floating", "inputSchema": {"type": "object",
            "properties": {"n": {"type": "number", "x-mcp-header": "N"}, "keep": {"type": "string"}}}},
        {"name": "twice", "inputSchema": {"type": "object", "properties": {
            "a": {"type": "string", "x-mcp-header": "Same"}, "b": {"type": "string", "x-mcp-header": "same"}}}},
        {"name": "blank", "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "a b"}}}},
    ]);
    for profile in ["L"] {
        let fake = Fake::new("a").arg("--profile", profile).arg("--tools-extra", &bad);
        let hub = Hub::start(Setup::of([fake]));
        let client = Modern::open(&hub.at("a"));
        let tools = client.request("tools/list", &json!({})).result();
        let find = |name: &str| tools["tools"].as_array()?.iter().find(|tool| tool["name"] == name).cloned();
        for name in ["floating", "twice", "blank"] {
            let tool = find(name).unwrap_or_else(|| panic!("{profile}: {name} is listed"));
            let left = tool.to_string().matches("x-mcp-header").count();
            assert!(left == 0 || (name == "twice" && left == 1), "{profile}: one name, one annotation: {tool}");
            let call = json!({"name": name, "arguments": {"n": 1.5, "a": "x", "b": "x", "v": "n"}});
            let header: &[(&str, &str)] = if left == 1 { &[("Mcp-Param-Same", "x")] } else { &[] };
            let text = client.request_with(header, &json!(1), "tools/call", &call).text();
            assert!(text.contains(name), "{profile}: {text}");
        }
        assert_eq!(find("floating").expect("listed")["inputSchema"]["properties"]["keep"], json!({"type": "string"}));
        assert!(find("by_region").expect("listed").to_string().contains("x-mcp-header"), "{profile}: valid ones stay");
    }
}

/// On the aggregate the headers mirror what the client sends: the exposed name.
#[test]
fn t43_on_the_aggregate() {
    let hub = Hub::start(Setup::of([Fake::modern("m"), Fake::new("l")]));
    let target = hub.all();
    for name in ["m__by_region", "l__by_region"] {
        let call = json!({"name": name, "arguments": {"region": "eu"}});
        changed(&target, "tools/list", &json!({}), &[]).result();
        let right = [("Mcp-Param-Region", Some("eu"))];
        assert_eq!(changed(&target, "tools/call", &call, &right).text(), "region \"eu\"");
        refused(&changed(&target, "tools/call", &call, &[]), 400, MISMATCH, name);
        let original = [("Mcp-Param-Region", Some("eu")), ("Mcp-Name", Some("by_region"))];
        refused(&changed(&target, "tools/call", &call, &original), 400, MISMATCH, name);
    }
    Session::open(&target).call("m__by_region", &json!({"region": "eu"})).result();
}
