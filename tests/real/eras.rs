//! Published clients of both eras with servers of both eras, all at once, each server started once.
//!
//! In: the pinned packages. Out: every client at every server lists, calls, is told of progress and answers what its own
//! calls make the server ask, whichever era either side speaks. State: a private home. May not: let a client off because of
//! its era.

use std::path::Path;

use serde_json::{Value, json};

use crate::driver::{Driver, PATIENCE, perform_round};
use crate::env::{TestEnv, top};
use crate::hub::{Hub, endpoint, server};
use crate::plan::{Plan, ROUNDS, session_name};
use crate::processes::{MARK, family};

/// The clients, and the revision that each comes to speak with hub.
const CLIENTS: [(&str, &str); 9] = [
    ("ts1", "2025-11-25"),
    ("ts2-auto", "2026-07-28"),
    ("ts2-modern", "2026-07-28"),
    ("ts2-legacy", "2025-11-25"),
    ("mcp1", "2025-11-25"),
    ("mcp2", "2026-07-28"),
    ("fastmcp", "2026-07-28"),
    ("rmcp-auto", "2026-07-28"),
    ("rmcp-initialize", "2025-11-25"),
];

/// The servers, and the era that hub speaks with each: the modern one where it has the choice.
const SERVERS: [(&str, &str); 4] =
    [("legacy", "legacy"), ("modern", "modern"), ("dual-python", "modern"), ("dual-rmcp", "modern")];

#[test]
fn published_clients_of_both_eras_share_servers_of_both_eras() {
    let Some(env) = TestEnv::find() else { return };
    let mark = format!("{}-eras", std::process::id());
    let hub = Hub::start(&env, tempfile::tempdir().unwrap(), &configuration(&env, &mark));
    let status = hub.all_ready(PATIENCE);
    let spoken: Vec<_> = SERVERS.iter().map(|(name, _)| server(&status, name)["era"].clone()).collect();
    assert_eq!(spoken, SERVERS.map(|(_, era)| json!(era)));

    let mut plan = Plan::new(&hub.path("."), &hub.path("."));
    let mut clients = Vec::new();
    for (at, (client, _)) in CLIENTS.into_iter().enumerate() {
        let session = |(server, _)| {
            let name = session_name(client, server, 0);
            plan.at_fixture(&name, &endpoint(&status, server), at == 0)
        };
        let sessions: Vec<Value> = SERVERS.into_iter().map(session).collect();
        clients.push(Driver::start(client, &env, &hub, &json!({ "client": client, "sessions": sessions })));
    }
    for (client, (_, revision)) in clients.iter().zip(CLIENTS) {
        let opened = client.expect("opened", PATIENCE);
        let expected = SERVERS.iter().map(|(server, _)| (session_name(&client.name, server, 0), json!(revision)));
        assert_eq!(opened, expected.collect::<Value>(), "{}; hub's log:\n{}", client.name, hub.log());
    }
    for round in 0..ROUNDS {
        perform_round(&mut clients, round, &mut plan, &hub);
    }
    assert_eq!(plan.missing(), Vec::<&str>::new(), "every step of every session had its result");
    inspect(&env, &hub, &status);
    for (at, mut client) in clients.into_iter().enumerate() {
        client.send(&json!({ "close": true }));
        asked_only_its_own(&client.expect("closed", PATIENCE), if at == 0 { ROUNDS } else { ROUNDS - 1 });
        client.finish(PATIENCE);
    }
    for (name, _) in SERVERS {
        let trees = family(&format!("{mark}-{name}"));
        assert_eq!(trees.roots().len(), 1, "{name}: {trees:?}");
    }
    hub.stop();
}

fn configuration(env: &TestEnv, mark: &str) -> String {
    let text = |path: &Path| json!(path.to_str().expect("UTF-8")).to_string();
    let fixture = text(&top().join("tests/conformance/stdio.mjs"));
    let dual = text(&top().join("tests/real/dual.py"));
    let commands = [
        (text(&env.node()), format!("{fixture}, \"legacy\"")),
        (text(&env.node()), format!("{fixture}, \"modern\"")),
        (text(&env.python_program("mcp2", "python")), dual),
        (text(&env.rmcp()), "\"serve\"".to_owned()),
    ];
    let entry = |((name, _), (command, args)): ((&str, _), (String, String))| {
        format!(
            "[servers.{name}]\ncommand = {command}\nargs = [{args}]\n[servers.{name}.env]\n{MARK} = \"{mark}-{name}\"\n\
             HUB_TEST_ENV = {}\nPYTHONDONTWRITEBYTECODE = \"1\"\n",
            text(env.npm().parent().unwrap()),
        )
    };
    SERVERS.into_iter().zip(commands).map(entry).collect()
}

/// Every question that a session was shown came from its own calls: one elicitation and one sampling in each of `rounds`.
fn asked_only_its_own(closed: &Value, rounds: usize) {
    for (session, asked) in closed.as_object().unwrap() {
        let asked: Vec<_> = asked.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(asked.iter().all(|question| question.starts_with(&format!("{session}-round"))), "{session}: {asked:?}");
        assert_eq!(asked.len(), 2 * rounds, "{session} was asked {asked:?}");
    }
}

/// The Inspector's command line, in both eras. It prints one result a run, and has nobody to ask.
fn inspect(env: &TestEnv, hub: &Hub, status: &Value) {
    for (server, _) in SERVERS {
        for era in ["legacy", "modern"] {
            let run = |more: &[&str]| {
                let mut command = env.command(&env.npm_program("mcp-inspector"), &hub.path("."));
                command.args(["--cli", "--server-url", &endpoint(status, server), "--transport", "http"]);
                let output =
                    command.args(["--protocol-era", era, "--format", "json", "--method"]).args(more).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{server} inspected as {era}: {errors}\nhub's log:\n{}", hub.log());
                serde_json::from_slice::<Value>(&output.stdout).expect("one JSON document")
            };
            let tools = run(&["tools/list"]);
            let listed = tools["result"]["tools"].as_array().into_iter().flatten();
            assert!(listed.into_iter().any(|tool| tool["name"] == "test_simple_text"), "{tools}");
            let called = run(&["tools/call", "--tool-name", "test_simple_text"]);
            assert_eq!(called["result"]["content"][0]["text"], "This is a simple text response for testing.");
        }
    }
}
