//! The example that is shipped is right.
//!
//! In: texts. Out: verdicts. Owns no state. May not: touch the real environment or files.

use super::super::*;
use super::{EXAMPLE, good};

#[test]
fn the_example_has_no_problems() {
    let config = good(EXAMPLE);
    let names: Vec<_> = config.servers.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["everything", "memory", "filesystem"]);
    for entry in &config.servers {
        let spec = entry.spec.as_ref().expect("usable");
        assert_eq!((spec.command.as_str(), spec.args[0].as_str()), ("npx", "-y"));
        assert!(spec.args[1].starts_with("@modelcontextprotocol/server-"), "{:?}", spec.args);
    }
    assert_eq!(config.hub, HubSpec::new(2));
}

/// Every commented key is a key, and its value is the default it claims to be.
#[test]
fn the_example_tells_the_truth_about_defaults() {
    let mut keys = Vec::new();
    let mut server = String::new();
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            server = line.split(']').next().unwrap_or_default().trim_start_matches('[').to_owned();
        }
        let written = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = ").map(|(key, _)| (key, rest)));
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match written.filter(|(key, _)| is_key(key)) {
            // No value of these two says "default", and what is advised for one server is none either.
            Some(("env_file" | "port", _)) if server == "servers.everything" => lines.push(line),
            Some(("env", _)) if server == "servers.memory" => lines.push(line),
            Some((key, rest)) => {
                keys.push(format!("{server}.{key}"));
                lines.push(rest);
            }
            None => lines.push(line),
        }
    }
    assert_eq!(good(&lines.join("\n")), good(EXAMPLE));
    let hub = "host port first_port log body_max sessions_max session_expiry replay_ttl spawns_max allowed_hosts allowed_origins";
    let of_server = "env cwd enabled start idle_stop share restart request_timeout tools roots concurrency era probe_timeout park_timeout";
    let hub = hub.split(' ').map(|key| format!("hub.{key}"));
    let of_server = of_server.split(' ').map(|key| format!("servers.everything.{key}"));
    assert_eq!(keys, hub.chain(of_server).collect::<Vec<_>>(), "every key is shown");
}
