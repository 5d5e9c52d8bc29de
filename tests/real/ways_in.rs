//! Every way in with a published client: the old transport, one server by path, all servers together,
//! and stdio.
//!
//! In: the pinned packages. Out: lists, calls, progress and questions right by each way, with one child behind all. State:
//! a private home. May not: repeat what `published` shows for a server's own port.

use serde_json::json;

use crate::driver::{Driver, PATIENCE, perform_round};
use crate::env::{TestEnv, hub_binary};
use crate::hub::{Hub, endpoint};
use crate::plan::Plan;
use crate::processes::{MARK, family};

#[test]
fn every_way_in_works_with_published_clients() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let mark = format!("{}-ways-in", std::process::id());
    let text = |path: std::path::PathBuf| json!(path.to_str().expect("UTF-8")).to_string();
    let entry = |name: &str, program: String| format!("[servers.{name}]\ncommand = {program}\n");
    let servers = format!(
        "{}env = {{ {MARK} = \"{mark}\" }}\n{}",
        entry("everything", text(env.npm_program("mcp-server-everything"))),
        entry("time", text(env.python_program("mcp2", "mcp-server-time"))),
    );
    let hub = Hub::start(&env, home, &servers);
    let status = hub.all_ready(PATIENCE);
    let own = endpoint(&status, "everything");
    let all = status["hub"]["url"].as_str().expect("a URL").to_owned();

    let old = format!("{}/sse", own.trim_end_matches("/mcp"));
    let by_path = format!("{}/servers/everything/mcp", all.trim_end_matches("/mcp"));
    let ways = [("old", &old, ""), ("path", &by_path, ""), ("all", &all, "everything__")];
    let clients = ["ts1", "mcp1", "mcp2"];
    let mut plan = Plan::new(&hub.path("."), &hub.path("."));
    let mut drivers = Vec::new();
    for (at, client) in clients.into_iter().enumerate() {
        let session = |(number, (way, url, prefix)): (usize, (&str, &String, &str))| {
            let number = at * ways.len() + number;
            plan.way((&format!("{client}-{way}"), url, prefix), number, ways.len() * clients.len())
        };
        let sessions: Vec<_> = ways.into_iter().enumerate().map(session).collect();
        drivers.push(Driver::start(client, &env, &hub, &json!({ "client": client, "sessions": sessions })));
    }
    for driver in &drivers {
        driver.expect("opened", PATIENCE);
    }
    for round in 0..ways.len() * clients.len() {
        perform_round(&mut drivers, round, &mut plan, &hub);
    }
    assert_eq!(plan.missing(), Vec::<&str>::new(), "every step of every session had its result");
    let trees = family(&mark);
    assert_eq!(trees.roots().len(), 1, "{trees:?}");
    for mut driver in drivers {
        driver.send(&json!({ "close": true }));
        driver.expect("closed", PATIENCE);
        driver.finish(PATIENCE);
    }
    hub.stop();
    assert_eq!(family(&mark).members, [], "outlived hub");
}

/// Clients of both eras that start `hub connect` as they would start any server.
#[test]
fn published_clients_that_speak_stdio() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let mark = format!("{}-stdio", std::process::id());
    let program = env.npm_program("mcp-server-everything");
    let program = json!(program.to_str().expect("UTF-8")).to_string();
    let servers = format!("[servers.everything]\ncommand = {program}\nenv = {{ {MARK} = \"{mark}\" }}\n");
    let hub = Hub::start(&env, home, &servers);
    hub.all_ready(PATIENCE);
    let command = format!("stdio {} connect everything", hub_binary().display());
    let clients = ["ts1", "ts2-auto", "ts2-modern", "mcp1", "mcp2"];
    let mut plan = Plan::new(&hub.path("."), &hub.path("."));
    let start = |(number, client): (usize, &str)| {
        let session = plan.way((&format!("{client}-stdio"), &command, ""), number, clients.len());
        Driver::start(client, &env, &hub, &json!({ "client": client, "sessions": [session] }))
    };
    let mut drivers: Vec<Driver> = clients.into_iter().enumerate().map(start).collect();
    for driver in &drivers {
        driver.expect("opened", PATIENCE);
    }
    for round in 0..clients.len() {
        perform_round(&mut drivers, round, &mut plan, &hub);
    }
    assert_eq!(plan.missing(), Vec::<&str>::new(), "every step of every session had its result");
    assert_eq!(family(&mark).roots().len(), 1, "one child for all of them");
    for mut driver in drivers {
        driver.send(&json!({ "close": true }));
        driver.expect("closed", PATIENCE);
        driver.finish(PATIENCE);
    }
    hub.stop();
    assert_eq!(family(&mark).members, [], "outlived hub");
}
