//! `hub status --json` against the system, health and metrics (DESIGN 3.5, issue 2, Build 8 and 9).
//!
//! In: a running hub. Out: documents that agree with `/proc`. Owns nothing. May not: accept a number that nobody measured.

use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json, procs};
use nix::sys::signal::Signal;

/// Every member of DESIGN 3.5 and its kind.
fn has_shape(value: &Value, shape: &Value, path: &str) {
    match (shape, value) {
        (Value::Object(members), Value::Object(_)) => {
            for (key, shape) in members {
                let found = value.get(key).unwrap_or_else(|| panic!("{path}.{key} is missing in {value}"));
                has_shape(found, shape, &format!("{path}.{key}"));
            }
        }
        (Value::Array(shapes), Value::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                has_shape(value, &shapes[0], &format!("{path}[{index}]"));
            }
        }
        (Value::String(kind), value) => {
            let fits = kind.split('|').any(|kind| match kind {
                "text" => value.is_string(),
                "count" => value.is_u64(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                "object" => value.is_object(),
                other => panic!("no kind {other}"),
            });
            assert!(fits, "{path} is {value}, not {kind}");
        }
        _ => panic!("{path} is {value}, not {shape}"),
    }
}

fn shape() -> Value {
    let instance = json!({"pid": "count|null", "workspace": "null|text", "processes": "count", "rss_bytes": "count", "pss_bytes": "count"});
    let server = json!({
        "name": "text", "state": "text", "url": "text", "port": "count", "share": "text", "share_reason": "text|null",
        "era": "text|null", "protocol_version": "text|null", "instances": [instance], "processes": "count",
        "rss_bytes": "count", "pss_bytes": "count", "cpu_percent": "number", "sessions": "count", "in_flight": "count",
        "calls": "count", "errors": "count", "restarts": "count", "uptime_seconds": "number", "tools": "count",
        "last_failure": "null|object",
    });
    json!({
        "schema": "count",
        "hub": {"version": "text", "pid": "count", "started_at": "text", "uptime_seconds": "number", "config": "text",
            "url": "text", "rss_bytes": "count", "pss_bytes": "count", "config_error": "null"},
        "servers": [server],
        "totals": {"servers": "count", "ready": "count", "processes": "count", "rss_bytes": "count", "pss_bytes": "count",
            "sessions": "count"},
        "without_hub": {"processes": "count", "pss_bytes": "count", "assumption": "text"},
    })
}

#[test]
fn status_agrees_with_the_system() {
    let servers = [Fake::new("a").arg("--grandchildren", 2), Fake::new("b"), Fake::new("off").key("enabled", "false")];
    let mut setup = Setup::of(servers);
    setup.impatient = true;
    let hub = Hub::start(setup);
    hub.wait_state("a", "ready");
    hub.wait_state("b", "ready");
    let sessions: Vec<Session> = (0..3).map(|_| hub.session("a")).collect();
    sessions[0].echo("one");
    sessions[1].call("raw_error", &json!({"error": {"code": -1, "message": "x"}})).error();
    let sleeping = sessions[2].begin_call("sleep", &json!({"ms": 20_000}));
    hub.journal("a").wait_for_calls("sleep", 1);

    let status = hub.status();
    has_shape(&status, &shape(), "status");
    assert_eq!(status["schema"], 1);
    assert_eq!(status["hub"]["pid"], hub.pid());
    assert_eq!(status["hub"]["config"], hub.config_path().display().to_string());
    let names: Vec<&str> =
        status["servers"].as_array().expect("servers").iter().filter_map(|s| s["name"].as_str()).collect();
    assert_eq!(names, ["a", "b", "off"]);
    let a = hub.server("a");
    assert_eq!((&a["sessions"], &a["in_flight"], &a["restarts"]), (&json!(3), &json!(1), &json!(0)));
    assert!(a["calls"].as_u64() >= Some(3) && a["errors"].as_u64() >= Some(1), "{a}");
    assert!(a["tools"].as_u64() > Some(10));
    assert_eq!(
        (&a["share"], &a["era"], &a["protocol_version"]),
        (&json!("shared"), &json!("legacy"), &json!("2025-11-25"))
    );
    assert_eq!(hub.server("off")["state"], "disabled");
    agrees_with_proc(&hub, &a);
    let totals = &status["totals"];
    assert_eq!((&totals["servers"], &totals["ready"], &totals["sessions"]), (&json!(3), &json!(2), &json!(3)));
    sessions[2].cancel(&sleeping.id);
    eventually("nothing is in flight", || (hub.server("a")["in_flight"] == 0).then_some(()));
}

fn agrees_with_proc(hub: &Hub, server: &Value) {
    let pid = hub.child_pid("a");
    assert_eq!(hub.journal("a").starts(), [pid]);
    let tree = procs::tree(pid, &hub.processes());
    assert_eq!(server["processes"], tree.len(), "the whole tree of the child: {tree:?}");
    if procs::rss_bytes(pid).is_none() {
        return;
    }
    // Memory breathes between two looks.
    let near = |said: &Value, seen: u64| {
        let said = said.as_u64().expect("bytes");
        assert!(said.abs_diff(seen) <= seen / 4 + (1 << 20), "status says {said}, the system says {seen}");
    };
    near(&server["rss_bytes"], tree.iter().filter_map(|pid| procs::rss_bytes(*pid)).sum());
    near(&server["pss_bytes"], tree.iter().filter_map(|pid| procs::pss_bytes(*pid)).sum());
    near(&hub.status()["hub"]["rss_bytes"], procs::rss_bytes(hub.pid()).expect("alive"));
}

#[test]
fn health_and_readiness() {
    let mut hub = Hub::prepare(Setup::default().impatient());
    let wait = hub.path("WAIT");
    std::fs::write(&wait, "").expect("a file");
    hub.setup.servers = vec![Fake::new("a").arg("--hang-list-while", wait.display()), Fake::new("b")];
    hub.write_config();
    hub.serve();
    hub.wait_state("b", "ready");
    for target in [hub.hub_path("/healthz"), hub.at("b").at("/healthz")] {
        let reply = target.get();
        assert_eq!(reply.status(), 200);
        assert!(reply.head.is_json() && reply.json().is_object());
    }
    assert_eq!(hub.hub_path("/readyz").get().status(), 503, "one server is still starting");
    std::fs::remove_file(&wait).expect("the file");
    eventually("ready", || (hub.hub_path("/readyz").get().status() == 200).then_some(()));
}

#[test]
fn metrics() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    let session = hub.session("a");
    for n in 0..5 {
        session.echo(&format!("m{n}"));
    }
    let reply = hub.hub_path("/metrics").get();
    assert_eq!(reply.status(), 200);
    let text = reply.text();
    assert!(
        text.ends_with("# EOF\n")
            || reply.head.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"))
    );
    let value = |name: &str, labels: &[&str]| -> f64 {
        let fits = |line: &&str| {
            let (series, _) = line.split_once(' ').unwrap_or((line, ""));
            let series_name = series.split('{').next().unwrap_or_default();
            series_name == name && labels.iter().all(|label| series.contains(label))
        };
        let line = text.lines().find(fits).unwrap_or_else(|| panic!("no {name} {labels:?} in\n{text}"));
        line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a value")
    };
    let a = "server=\"a\"";
    assert!(value("hub_calls_total", &[a]) >= 5.0);
    assert!(value("hub_call_duration_seconds_count", &[a]) >= 5.0);
    let one = |name: &str, labels: &[&str], expected: f64| {
        assert!((value(name, labels) - expected).abs() < f64::EPSILON, "{name} {labels:?}\n{text}");
    };
    one("hub_server_state", &[a, "state=\"ready\""], 1.0);
    one("hub_server_protocol", &[a, "era=\"legacy\"", "revision=\"2025-11-25\""], 1.0);
    one("hub_restarts_total", &[a], 0.0);
    one("hub_errors_total", &[a], 0.0);
    one("hub_in_flight", &[a], 0.0);
    one("hub_queued", &[a], 0.0);
    one("hub_server_processes", &[a], 1.0);
    assert!(value("hub_server_resident_memory_bytes", &["server=\"b\""]) > 0.0);
    assert_eq!(hub.at("a").at("/metrics").get().status(), 404, "only on the hub port");
}

/// A daemon that hangs does not make the command hang.
#[test]
fn a_daemon_that_says_nothing() {
    let hub = Hub::start(Setup::one());
    hub.signal(Signal::SIGSTOP);
    let silent = hub.cli(&["status"]);
    hub.signal(Signal::SIGCONT);
    assert_eq!(silent.code, 1, "{silent:?}");
    assert!(silent.stderr.contains("does not answer") && silent.stderr.contains("`hub doctor`"), "{silent:?}");
    hub.run(&["status"]);
}
