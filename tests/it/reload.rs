//! Hot reload: only what changed is touched (issue 2, Build 7).
//!
//! In: edits of hub.toml. Out: what runs. Owns nothing. May not: let another server notice.

use crate::support::{Fake, Hub, Session, Setup, Value, eventually, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls until told to stop; one wrong or failed answer fails the test.
fn call_on(target: &crate::support::Target, worker: usize, over: &AtomicBool, calls: &AtomicUsize) {
    let session = Session::open(target);
    while !over.load(Ordering::SeqCst) {
        let nonce = format!("w{worker}-{}", calls.fetch_add(1, Ordering::SeqCst));
        session.echo(&nonce);
    }
}

/// Sets over when the editing ends, also by a panic, so that the callers end too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A secret that is changed where it is kept reaches its server without a touch of hub.toml, and no other server.
#[test]
fn named_files() {
    let fake = Fake::new("a").key("env_file", "\"side.env\"").key("env", "{ TOKEN = \"${file:secret/token}\" }");
    let mut hub = Hub::prepare(Setup::of([fake, Fake::new("b")]));
    std::fs::create_dir(hub.path("config/secret")).expect("a folder");
    let write = |hub: &Hub, name: &str, text: &str| std::fs::write(hub.path(name), text).expect("a file");
    write(&hub, "config/side.env", "SIDE=one\n");
    write(&hub, "config/secret/token", "one\n");
    hub.serve();
    let (session, other) = (hub.session("a"), hub.child_pid("b"));
    let has = |name: &str, value: &str| {
        let what = format!("{name} is {value}");
        eventually(&what, || {
            let answer = session.call("env", &json!({ "name": name })).response();
            answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text == value).then_some(())
        });
    };
    has("SIDE", "one");
    write(&hub, "config/side.env", "SIDE=two\n");
    has("SIDE", "two");
    write(&hub, "config/secret/token", "two\n");
    has("TOKEN", "two");
    std::fs::remove_file(hub.path("config/secret/token")).expect("the file");
    write(&hub, "config/secret/token", "three\n");
    has("TOKEN", "three");
    assert_eq!(hub.child_pid("b"), other, "the other server noticed nothing");
}

fn config_error(hub: &Hub) -> Value {
    hub.status()["hub"]["config_error"].clone()
}

/// One edit of the cycle, and what must become of it.
fn edit(hub: &Hub, round: usize) {
    let with = |fakes: &[Fake]| {
        let mut setup = hub.setup.clone();
        setup.servers.extend_from_slice(fakes);
        hub.write_config_text(&setup.toml(hub.dir.path()));
    };
    let guest = Fake::new("guest").arg("--instructions", round);
    match round % 5 {
        0 => {
            with(&[guest]);
            hub.wait_state("guest", "ready");
        }
        1 => {
            let before = hub.child_pid("guest");
            with(&[guest]);
            eventually("the guest has another child", || {
                hub.child_pids("guest").first().filter(|pid| **pid != before).map(drop)
            });
        }
        2 => {
            hub.write_config_text("[hub\nthis is = not toml");
            eventually("the broken file is reported", || (!config_error(hub).is_null()).then_some(()));
            assert!(hub.server("guest").is_object(), "an invalid file changes nothing");
        }
        3 => {
            with(&[guest]);
            eventually("the mended file is taken", || config_error(hub).is_null().then_some(()));
        }
        _ => {
            with(&[]);
            eventually("the guest is gone", || {
                hub.status()["servers"].as_array()?.iter().all(|server| server["name"] != "guest").then_some(())
            });
        }
    }
}

#[test]
fn reload_under_load() {
    let hub = Hub::start(Setup::of([Fake::new("a")]));
    let target = hub.at("a");
    let (pid, over, calls) = (hub.child_pid("a"), AtomicBool::new(false), AtomicUsize::new(0));
    let listening = hub.session("a");
    let get = listening.listen();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (target, over, calls) = (&target, &over, &calls);
            scope.spawn(move || call_on(target, worker, over, calls));
        }
        let _over = Over(&over);
        for round in 0..100 {
            edit(&hub, round);
        }
    });
    assert!(calls.load(Ordering::SeqCst) > 1000, "the calls went on all the time");
    assert_eq!(hub.child_pid("a"), pid, "the same child");
    assert_eq!(hub.journal("a").count("initialize"), 1);
    assert_eq!(get.messages(), Vec::<Value>::new(), "sessions of other servers do not notice");
    assert_eq!(hub.server("a")["errors"], 0);
}

/// A changed server restarts; its sessions live on, what was in flight is finished first.
#[test]
fn reload_of_a_server_in_use() {
    let mut hub = Hub::start(Setup::one());
    let session = hub.session("a");
    let get = session.listen();
    let target = hub.at("a");
    let before = hub.child_pid("a");
    let call = session.begin_call("sleep", &json!({"ms": 1500, "v": "drained"}));
    hub.journal("a").wait_for_calls("sleep", 1);
    let server = hub.setup.server("a");
    *server = server.clone().arg("--tools-extra", r#"[{"name":"added","inputSchema":{"type":"object"}}]"#);
    hub.write_config();
    assert_eq!(call.text(), "slept v=drained");
    get.wait_for("notifications/tools/list_changed");
    session.echo("the session lives on");
    let pid = eventually("another child", || hub.child_pids("a").first().filter(|pid| **pid != before).copied());
    assert_ne!(pid, before);
    let tools = session.request("tools/list", &json!({})).result();
    assert!(tools["tools"].as_array().expect("a list").iter().any(|tool| tool["name"] == "added"));
    assert_eq!(hub.at("a"), target, "ports do not change by themselves");
}

/// Keys that the child cannot see do not restart it.
#[test]
fn reload_without_a_restart() {
    let mut hub = Hub::start(Setup::one());
    let (session, before) = (hub.session("a"), hub.child_pid("a"));
    let get = session.listen();
    let server = hub.setup.server("a");
    *server = server.clone().key("tools", r#"{ deny = ["die"] }"#);
    hub.write_config();
    eventually("the filter holds", || {
        let tools = session.request("tools/list", &json!({})).result();
        tools["tools"].as_array()?.iter().all(|tool| tool["name"] != "die").then_some(())
    });
    get.wait_for("notifications/tools/list_changed");
    assert_eq!(hub.child_pid("a"), before);
}

/// SIGHUP, `hub reload` and the watcher come to the same; `reload` of a broken file says what is wrong.
#[test]
fn reload_by_command() {
    let hub = Hub::start(Setup::one());
    let mut setup = hub.setup.clone();
    setup.servers.push(Fake::new("b"));
    hub.write_config_text(&setup.toml(hub.dir.path()));
    hub.run(&["reload"]);
    hub.wait_state("b", "ready");
    hub.write_config_text("[servers.a]\ncomand = \"x\"\n");
    let broken = hub.cli(&["reload"]);
    assert_eq!(broken.code, 78, "{broken:?}");
    assert!(broken.stderr.contains("comand") && broken.stderr.contains("command"), "did you mean: {broken:?}");
    hub.session("a").echo("unharmed");
    hub.write_config();
    hub.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("b is gone again", || (hub.status()["servers"].as_array()?.len() == 1).then_some(()));
}

/// `enable` and `disable` edit the file and keep what a person wrote in it.
#[test]
fn enable_and_disable() {
    let hub = Hub::start(Setup::one());
    let text = format!("# kept as it is\n{}\n# and this\n", hub.setup.toml(hub.dir.path()));
    hub.write_config_text(&text);
    hub.run(&["disable", "a"]);
    hub.wait_state("a", "disabled");
    let edited = std::fs::read_to_string(hub.config_path()).expect("hub.toml");
    assert!(edited.contains("# kept as it is") && edited.contains("# and this") && edited.contains("enabled = false"));
    assert_eq!(hub.child_pids("a"), Vec::<u32>::new());
    hub.run(&["enable", "a"]);
    hub.wait_state("a", "ready");
    hub.session("a").echo("back");
    assert_ne!(hub.cli(&["disable", "nobody"]).code, 0);
}

/// A call that is at the child when its server is changed or taken away is answered: nothing hangs.
fn finishes_in_flight(edited: impl Fn(&Hub, String) -> String) {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b")]));
    let session = hub.session("a");
    let pending = session.begin_call("sleep", &json!({"ms": 1500}));
    eventually("the call is at the child", || (hub.journal("a").count("tools/call") == 1).then_some(()));
    let text = hub.setup.toml(hub.dir.path());
    hub.write_config_text(&edited(&hub, text));
    assert_eq!(pending.text(), "slept");
}

#[test]
fn in_flight_when_disabled() {
    finishes_in_flight(|_, text| text.replace("[servers.a]\n", "[servers.a]\nenabled = false\n"));
}

#[test]
fn in_flight_when_share_changes() {
    finishes_in_flight(|_, text| text.replace("[servers.a]\n", "[servers.a]\nshare = \"session\"\n"));
}

#[test]
fn in_flight_when_removed() {
    finishes_in_flight(|hub, _| {
        let mut setup = hub.setup.clone();
        setup.servers.retain(|server| server.name != "a");
        setup.toml(hub.dir.path())
    });
}
