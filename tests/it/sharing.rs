//! `share = "session"`, and which tools may be seen and called (issue 2, Build 2 and 4).
//!
//! In: sessions of a server that must not be shared, filtered tools. Out: a child each, and nothing that is denied. Owns
//! nothing. May not: call the filter a security boundary where the child itself could be asked.

use crate::support::{Fake, Hub, Modern, Session, Setup, Value, eventually, json};

fn pid_of(session: &Session) -> u64 {
    let me: Value = serde_json::from_str(&session.call("whoami", &json!({})).text()).expect("JSON");
    me["pid"].as_u64().expect("a pid")
}

#[test]
fn a_child_per_session() {
    let mut setup = Setup::one().impatient();
    let fake = Fake::new("a").key("share", "\"session\"").key("idle_stop", "\"2s\"");
    *setup.server("a") = fake.key("restart", "{ initial = \"50ms\", max = \"1s\" }");
    let hub = Hub::start(setup);
    let target = hub.at("a");
    let (a, b) = (Session::eliciting(&target), Session::eliciting(&target));
    let (pid_a, pid_b) = (pid_of(&a), pid_of(&b));
    assert_ne!(pid_a, pid_b);
    assert_eq!(pid_of(&a), pid_a, "and always the same one");
    let server = hub.server("a");
    assert_eq!(server["share"], "session");
    let mut pids = hub.child_pids("a");
    pids.sort_unstable();
    let mut expected = vec![u32::try_from(pid_a).expect("a pid"), u32::try_from(pid_b).expect("a pid")];
    expected.sort_unstable();
    assert_eq!(pids, expected, "{server}");

    // With a child of one's own there is nothing to attribute: both ask at once, both are answered.
    let calls = [(&a, "for A"), (&b, "for B")]
        .map(|(session, tag)| (session, tag, session.begin_call("elicit", &json!({"tag": tag}))));
    for (session, tag, call) in &calls {
        let prompt = call.wait_for("elicitation/create");
        assert_eq!(prompt["params"]["message"], *tag);
        session.accept(&prompt, tag);
        assert!(call.text().contains(tag));
    }

    // The death of one is not the other's.
    assert_eq!(a.call("die", &json!({})).code(), -32603);
    assert_eq!(pid_of(&b), pid_b);
    let again = pid_of(&a);
    assert_ne!(again, pid_a);

    // The end of a session is the end of its child; what is idle is stopped, the session stays.
    assert_eq!(b.delete().status(), 204);
    eventually("B's child is gone", || (!crate::support::procs::is_alive(u32::try_from(pid_b).ok()?)).then_some(()));
    eventually("A's idle child is gone", || hub.child_pids("a").is_empty().then_some(()));
    a.echo("A's session lives");
}

/// A modern caller has no session: what it is served by is no session's own, however early it came.
#[test]
fn modern_callers_share_no_sessions_child() {
    let hub = Hub::start(Setup::of([Fake::new("a").key("share", "\"session\"")]));
    hub.wait_state("a", "ready");
    let modern = Modern::open(&hub.at("a"));
    modern.echo("first");
    let session = hub.session("a");
    session.echo("mine");
    eventually("a child each", || (hub.server("a")["instances"].as_array()?.len() == 2).then_some(()));
    let slow = modern.begin_call("sleep", &json!({"ms": 500}));
    session.delete();
    assert!(slow.response()["result"].is_object(), "the end of a session is not its end: {}", slow.response());
}

const FILTER: &str = r#"{ allow = ["echo", "s*"], deny = ["sleep*"] }"#;

#[test]
fn tools_that_are_denied() {
    let mut setup = Setup::of([Fake::new("a").key("tools", FILTER), Fake::new("b")]);
    setup.server("a").clone_from(&Fake::new("a").key("tools", FILTER).arg("--page-size", 3));
    let hub = Hub::start(setup);
    for (session, prefix) in [(hub.session("a"), ""), (Session::open(&hub.all()), "a__")] {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let page = session.request("tools/list", &params).result();
            names.extend(
                page["tools"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|tool| tool["name"].as_str().expect("a name").to_owned()),
            );
            match page["nextCursor"].as_str() {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => break,
            }
        }
        let names: Vec<&str> =
            names.iter().filter_map(|name| name.strip_prefix(prefix)).filter(|name| !name.contains("__")).collect();
        for (tool, listed) in [
            ("echo", true),
            ("state", true),
            ("stderr", true),
            ("sample", true),
            ("sleep", false),
            ("sleep_ro", false),
            ("die", false),
            ("whoami", false),
        ] {
            assert_eq!(names.contains(&tool), listed, "{prefix}{tool} in {names:?}");
        }
        assert_eq!(session.call(&format!("{prefix}echo"), &json!({"v": "allowed"})).text(), "allowed");
        for denied in ["sleep", "die", "whoami"] {
            let code = session.call(&format!("{prefix}{denied}"), &json!({})).code();
            assert_eq!(code, -32602, "{prefix}{denied}");
        }
        // The filter reads the name that the child will read.
        let spelled =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"n\u0061me":"{prefix}d\u0069e"}}}}"#);
        assert!(session.post(spelled.as_bytes()).text().contains("-32602"));
    }
    let seen = hub.journal("a").of("tools/call");
    assert!(seen.iter().all(|call| call["params"]["name"] == "echo"), "{seen:?}");
    assert_eq!(hub.server("a")["restarts"], 0);
}
