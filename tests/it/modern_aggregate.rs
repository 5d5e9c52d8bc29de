//! All servers behind one endpoint, for clients and servers of both eras: the modern parts of PROTOCOL 5.3 tests 44 to 46.
//!
//! In: servers of both eras with odd and colliding names. Out: names that lead back, questions that say who asks. Owns
//! nothing. May not: assume that a client and its server are of one era.

use crate::aggregate::{is_clean, items_of, names, odd};
use crate::support::modern::{ELICIT, Round};
use crate::support::{Answer, Fake, Hub, Modern, Session, Setup, Value, eventually, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

fn modern_items(client: &Modern, method: &str, key: &str) -> Vec<Value> {
    items_of(|params| client.request(method, params).result(), key)
}

fn modern_odd(name: &str) -> Fake {
    odd(name).arg("--profile", "M")
}

#[test]
fn t44_aggregate_names_of_both_eras() {
    let mut hub = Hub::start(Setup::of([odd("alpha"), modern_odd("beta")]).fixed_ports());
    let raw = |hub: &Hub| {
        let answer = Modern::open(&hub.all()).request_as(&json!(1), "tools/list", &json!({}));
        answer.events[0].data.clone().expect("data")
    };
    let first = raw(&hub);
    assert_eq!(first, raw(&hub), "byte for byte");
    hub.stop();
    hub.serve();
    assert_eq!(first, raw(&hub), "and after a restart");
    let (client, session) = (Modern::open(&hub.all()), Session::open(&hub.all()));
    for (method, key) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
        // A tool that must run as a task is hidden from sessions that know no tasks.
        let mut ours = names(&modern_items(&client, method, key));
        ours.retain(|name| !name.ends_with("__task_only"));
        let mut theirs = names(&items_of(|params| session.request(method, params).result(), key));
        theirs.retain(|name| !name.ends_with("__task_only"));
        assert_eq!(ours, theirs, "the same names in the same order for clients of both eras");
        assert!(ours.iter().all(|name| is_clean(name)), "{ours:?}");
        assert_eq!(ours.iter().collect::<BTreeSet<_>>().len(), ours.len(), "{ours:?}");
    }
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tool in modern_items(&client, "tools/list", "tools") {
        if !tool["description"].as_str().is_some_and(|text| text.starts_with("odd")) {
            continue;
        }
        let name = tool["name"].as_str().expect("a name");
        let (modern, legacy) =
            (client.call(name, &json!({"v": "n"})).text(), session.call(name, &json!({"v": "n"})).text());
        assert_eq!(modern, legacy, "{name}");
        let (tag, rest) = modern.split_once(" runs ").unwrap_or_else(|| panic!("{name} gave {modern}"));
        assert!(name.starts_with(&format!("{tag}__")), "{name} reached {tag}");
        let original = rest.strip_suffix(" v=\"n\"").expect("the nonce").to_owned();
        assert!(reached.entry(tag.to_owned()).or_default().insert(original), "{name}: reached twice");
    }
    assert_eq!(reached["alpha"], reached["beta"]);
    assert_eq!(reached["alpha"].len(), 11, "{reached:?}");
    for unknown in ["echo", "gamma__echo", "alpha__nothing"] {
        let answer = client.call(unknown, &json!({}));
        assert_eq!((answer.head.status, answer.code()), (200, -32602), "{unknown}: {answer:?}");
    }
}

#[test]
fn t44_identity_for_modern_clients() {
    let hub = Hub::start(Setup::of([
        Fake::new("alpha").arg("--instructions", "Be kind."),
        Fake::modern("beta").arg("--instructions", "Be quick."),
    ]));
    let discovered = Modern::open(&hub.all()).request("server/discover", &json!({})).result();
    let init = Session::open(&hub.all()).init;
    for key in ["tools", "prompts", "resources", "completions", "logging"] {
        assert_eq!(discovered["capabilities"][key], init["capabilities"][key], "{key}");
    }
    assert_eq!(discovered["instructions"], init["instructions"]);
    let text = discovered["instructions"].as_str().expect("text");
    assert!(text.contains("Be kind.") && text.contains("Be quick."), "{text}");
    assert!(discovered["capabilities"].get("tasks").is_none(), "{discovered}");
}

#[test]
fn t45_aggregate_partial_for_modern_clients() {
    let mut hub = Hub::prepare(Setup::default().impatient());
    let (dead, hangs) = (hub.path("DEAD"), hub.path("HANGS"));
    for path in [&dead, &hangs] {
        std::fs::write(path, "").expect("a file");
    }
    let failing = Fake::modern("dead").arg("--dead-while", dead.display()).arg("--exit-code", 9);
    hub.setup.servers = vec![
        failing.key("restart", "{ initial = \"50ms\", max = \"200ms\" }"),
        Fake::modern("good"),
        Fake::modern("hung").arg("--hang-list-while", hangs.display()),
    ];
    hub.write_config();
    hub.serve();
    hub.wait_state("good", "ready");
    let client = Modern::open(&hub.all());
    let listen = client.listen(&json!({"toolsListChanged": true}));
    let start = Instant::now();
    let list = client.request("tools/list", &json!({})).result();
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let found = names(list["tools"].as_array().expect("a list"));
    assert!(!found.is_empty() && found.iter().all(|name| name.starts_with("good__")), "{found:?}");
    assert_eq!(list["ttlMs"], 0, "something is missing: not to be kept: {list}");
    let answer = client.begin_call("dead__echo", &json!({"v": "x"})).response();
    assert!(answer["result"]["isError"] == true || answer["error"]["code"].is_i64(), "an error, not silence: {answer}");
    assert_eq!(client.call("good__echo", &json!({"v": "fine"})).text(), "fine");
    std::fs::remove_file(&hangs).expect("the file");
    std::fs::remove_file(&dead).expect("the file");
    if hub.server("dead")["state"] == "failed" {
        hub.run(&["restart", "dead"]);
    }
    listen.wait_for("notifications/tools/list_changed");
    let order = eventually("all three are listed", || {
        let all = names(&modern_items(&client, "tools/list", "tools"));
        let mut order: Vec<String> = all.iter().filter_map(|name| Some(name.split_once("__")?.0.to_owned())).collect();
        order.dedup();
        (order.len() == 3).then_some(order)
    });
    assert_eq!(order, ["dead", "good", "hung"], "the order of hub.toml");
    assert_eq!(client.call("dead__echo", &json!({"v": "alive"})).text(), "alive");
}

fn read(answer: &Answer) -> Result<String, i64> {
    match answer.response().get("result") {
        Some(result) => Ok(result["contents"][0]["text"].as_str().expect("text").to_owned()),
        None => Err(answer.code()),
    }
}

#[test]
fn t46_aggregate_resources_of_both_eras() {
    let special = r#"[{"uriTemplate":"item://special-{id}","name":"special"}]"#;
    let beta = Fake::modern("beta").arg("--templates-extra", special).arg("--readable", "hidden://");
    let hub = Hub::start(Setup::of([Fake::new("alpha"), beta]));
    let (client, session) = (Modern::open(&hub.all()), Session::open(&hub.all()));
    let all = modern_items(&client, "resources/list", "resources");
    let uris: Vec<&str> = all.iter().map(|item| item["uri"].as_str().expect("a uri")).collect();
    assert_eq!(uris.iter().collect::<BTreeSet<_>>().len(), uris.len(), "{uris:?}");
    let prefixed =
        uris.iter().find(|uri| uri.starts_with("hub://beta/") && uri.contains("shared")).expect("beta's own form");
    for (uri, modern, legacy) in [
        ("test://shared", Ok("alpha reads test://shared"), Ok("alpha reads test://shared")),
        (prefixed, Ok("beta reads test://shared"), Ok("beta reads test://shared")),
        ("test://beta/own", Ok("beta reads test://beta/own"), Ok("beta reads test://beta/own")),
        ("item://special-7", Ok("beta reads item://special-7"), Ok("beta reads item://special-7")),
        ("hidden://x", Ok("beta reads hidden://x"), Ok("beta reads hidden://x")),
        ("nowhere://x", Err(-32602), Err(-32002)),
    ] {
        let params = json!({"uri": uri});
        assert_eq!(read(&client.request("resources/read", &params)), modern.map(str::to_owned), "{uri}");
        assert_eq!(read(&session.request("resources/read", &params)), legacy.map(str::to_owned), "{uri}");
    }
    let listen = client.listen(&json!({"resourceSubscriptions": ["test://shared", prefixed]}));
    client.call("beta__touch", &json!({"uri": "test://shared", "force": true})).result();
    let updated = listen.wait_for("notifications/resources/updated");
    assert_eq!(updated["params"]["uri"], **prefixed, "in the form that was subscribed");
    client.call("alpha__touch", &json!({"uri": "test://shared", "force": true})).result();
    let updated = listen.wait_for_many("notifications/resources/updated", 2);
    assert_eq!(updated[1]["params"]["uri"], "test://shared");
}

/// Questions of every server for every client: the person sees who asks, and a state stays with its server.
#[test]
fn t46_dialogs_of_both_eras() {
    let hub = Hub::start(Setup::of([Fake::new("alpha"), Fake::modern("beta")]));
    let (client, session) = (Modern::eliciting(&hub.all()), Session::eliciting(&hub.all()));
    let rounds = ["alpha", "beta"].map(|alias| {
        let round = client.ask(&format!("{alias}__elicit"), &json!({"tag": "who?"}));
        assert!(round.message().ends_with("who?"));
        round
    });
    let [of_alpha, of_beta] = &rounds;
    let crossed = client.retry(&Round { state: of_alpha.state.clone(), ..of_beta.clone() }, &of_beta.accept("x"));
    assert_eq!(crossed.code(), -32602, "alpha's state is not beta's: {crossed:?}");
    let crossed = client.retry(&Round { state: of_beta.state.clone(), ..of_alpha.clone() }, &of_alpha.accept("x"));
    assert_eq!(crossed.code(), -32602, "{crossed:?}");
    for round in &rounds {
        assert!(client.retry(round, &round.accept("mine")).text().contains("mine"));
    }
    for alias in ["alpha", "beta"] {
        let call = session.begin_call(&format!("{alias}__elicit"), &json!({"tag": "who?"}));
        let prompt = call.wait_for(ELICIT);
        assert_eq!(prompt["params"]["message"], format!("[{alias}] who?"));
        session.accept(&prompt, "mine");
        assert!(call.text().contains("mine"));
        let call = client.begin_call_with_token(&format!("{alias}__prog"), &json!({"n": 3}), &json!("t"));
        call.text();
        assert_eq!(call.of("notifications/progress").len(), 3);
        let curious = Modern::logging(&hub.all(), "debug");
        let log = curious.begin_call(&format!("{alias}__log"), &json!({"level": "debug", "text": "fine print"}));
        log.text();
        let said = log.of("notifications/message");
        assert_eq!((said.len(), &said[0]["params"]["logger"]), (1, &json!(format!("{alias}/fake"))));
        // Last: who has left may still be the owner of a line, for a while.
        let sleeping = client.begin_call(&format!("{alias}__sleep"), &json!({"ms": 20_000}));
        hub.journal(alias).wait_for_calls("sleep", 1);
        sleeping.drop_connection();
        hub.journal(alias).wait_for("notifications/cancelled", 1);
    }
}
