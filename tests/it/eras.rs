//! Which era a child speaks, and how hub finds out: PROTOCOL 5.3 tests 18 and 19, section 2.7.
//!
//! In: servers that answer a probe in every way there is. Out: the era, what was written to find it, how many processes it
//! took. Owns nothing. May not: time what it can count.

use crate::support::modern::M;
use crate::support::session::L3;
use crate::support::{Fake, Hub, Modern, Session, Setup, Value, eventually, json, stays};
use std::time::{Duration, Instant};

fn of_profile(profile: &str) -> Fake {
    Fake::new("a").arg("--profile", profile)
}

/// The methods that one generation read, up to the first that is no part of finding the era.
fn opening(hub: &Hub, generation: usize) -> Vec<String> {
    let records = hub.journal("a").generation(generation).into_iter();
    let methods = records.filter_map(|record| match record {
        crate::support::journal::Record::In(message, _) => message["method"].as_str().map(str::to_owned),
        _ => None,
    });
    methods.take_while(|method| method == "server/discover" || method == "initialize").collect()
}

/// The server serves clients of both eras, and says which one it speaks.
fn serves(hub: &Hub, era: &str) {
    let server = hub.wait_state("a", "ready");
    let version = if era == "modern" { M } else { L3 };
    assert_eq!((&server["era"], &server["protocol_version"]), (&json!(era), &json!(version)), "{server}");
    hub.session("a").echo("for a session");
    Modern::open(&hub.at("a")).echo("for a modern client");
}

#[test]
fn t18_era_probe() {
    // Profile, era, and what each generation read first.
    let cases: [(&str, &str, &[&[&str]]); 6] = [
        ("L", "legacy", &[&["server/discover", "initialize"]]),
        ("M", "modern", &[&["server/discover"]]),
        ("D", "modern", &[&["server/discover"]]),
        ("T", "modern", &[&["server/discover"]]),
        ("X", "legacy", &[&["server/discover"], &["initialize"]]),
        ("S", "legacy", &[&["server/discover", "initialize"]]),
    ];
    for (profile, era, expected) in cases {
        let mut hub = Hub::start(Setup::of([of_profile(profile).key("probe_timeout", "\"1s\"")]).fixed_ports());
        serves(&hub, era);
        let generations = hub.journal("a").starts().len();
        assert_eq!(generations, expected.len(), "{profile}");
        for (generation, expected) in expected.iter().enumerate() {
            assert_eq!(opening(&hub, generation), *expected, "{profile}, generation {generation}");
        }
        assert!(
            !hub.journal("a").received().iter().any(|m| m["method"] == "initialize") || era == "legacy",
            "{profile}"
        );
        // The verdict is remembered: no stall, no second process, over a restart of hub as well.
        for round in 1..=2 {
            if round == 1 {
                hub.stop();
                hub.serve();
            } else {
                hub.run(&["restart", "a"]);
                eventually("the next generation", || {
                    (hub.journal("a").starts().len() == generations + 2).then_some(())
                });
            }
            serves(&hub, era);
            assert_eq!(hub.journal("a").starts().len(), generations + round, "{profile}: one process per start");
            let first = if era == "modern" { "server/discover" } else { "initialize" };
            assert_eq!(opening(&hub, generations + round - 1), [first], "{profile}: remembered");
        }
    }
}

/// The silent one costs its probe once, and not at every start.
#[test]
fn t18_no_stall_when_remembered() {
    let mut hub = Hub::start(Setup::of([of_profile("S").key("probe_timeout", "\"5s\"")]).fixed_ports());
    assert_eq!(opening(&hub, 0), ["server/discover", "initialize"]);
    hub.stop();
    let start = Instant::now();
    hub.serve();
    assert!(start.elapsed() < Duration::from_secs(4), "no second probe: {:?}", start.elapsed());
}

/// What is written in hub.toml is not probed.
#[test]
fn t18_configured() {
    for (profile, era, first) in [
        ("D", "legacy", "initialize"),
        ("D", "modern", "server/discover"),
        ("X", "legacy", "initialize"),
        ("L", "legacy", "initialize"),
    ] {
        let hub = Hub::start(Setup::of([of_profile(profile).key("era", &format!("\"{era}\""))]));
        serves(&hub, era);
        assert_eq!((opening(&hub, 0), hub.journal("a").starts().len()), (vec![first.to_owned()], 1), "{profile}");
    }
    // A server that cannot do what is written: the failure says so.
    for (profile, era) in [("M", "legacy"), ("L", "modern")] {
        let fake = of_profile(profile).key("era", &format!("\"{era}\"")).key("startup_timeout", "\"2s\"");
        let hub = Hub::start(Setup::of([fake]).impatient());
        let failure = eventually("the failure in status", || {
            Some(hub.server("a")["last_failure"].clone()).filter(Value::is_object)
        });
        assert!(failure["message"].as_str().is_some_and(|text| !text.is_empty()), "{failure}");
        assert_ne!(hub.server("a")["state"], "ready");
    }
}

/// What stands in hub.toml wins over what is remembered.
#[test]
fn t18_configured_later() {
    let mut hub = Hub::start(Setup::of([of_profile("D")]).fixed_ports());
    serves(&hub, "modern");
    hub.stop();
    *hub.setup.server("a") = hub.setup.servers[0].clone().key("era", "\"legacy\"");
    hub.write_config();
    hub.serve();
    serves(&hub, "legacy");
}

fn error(code: i64, data: Value) -> String {
    json!({"code": code, "message": "no", "data": data}).to_string()
}

/// Outcomes B to E of the probe, by error codes that servers really send.
#[test]
fn t18_every_error() {
    let supports = |version: &str| json!({"supported": [version], "requested": M});
    // B and D: refused once, and understood at the second attempt.
    for code in [(-32022, supports(M)), (-32021, json!({"requiredCapabilities": {"sampling": {}}}))] {
        let fake = of_profile("M").arg("--probe-error", error(code.0, code.1.clone())).arg("--probe-errors", 1);
        let hub = Hub::start(Setup::of([fake]));
        serves(&hub, "modern");
        assert_eq!(opening(&hub, 0), ["server/discover", "server/discover"], "{code:?}");
        assert_eq!(hub.journal("a").starts().len(), 1);
    }
    // C: it speaks an older revision, and may have settled on something: a fresh process.
    let fake = of_profile("L").arg("--probe-error", error(-32022, supports(L3)));
    let hub = Hub::start(Setup::of([fake]));
    serves(&hub, "legacy");
    assert_eq!(
        (opening(&hub, 0), opening(&hub, 1)),
        (vec!["server/discover".to_owned()], vec!["initialize".to_owned()])
    );
    // E: anything else means that the server does not know the question.
    for code in [-32601, -32602, -32600, 0, -32000] {
        let hub = Hub::start(Setup::of([of_profile("L").arg("--probe-error", error(code, json!({})))]));
        serves(&hub, "legacy");
        assert_eq!(opening(&hub, 0), ["server/discover", "initialize"], "{code}");
        assert_eq!(hub.journal("a").starts().len(), 1, "{code}: on the same process");
    }
}

/// C and D without a way out: a failure with the server's own words.
#[test]
fn t18_hopeless() {
    for refusal in [
        error(-32022, json!({"supported": ["2031-01-01"]})),
        json!({"code": -32021, "message": "needs the flux", "data": {"requiredCapabilities": {"flux": {}}}})
            .to_string(),
    ] {
        let fake =
            of_profile("M").arg("--probe-error", &refusal).key("restart", "{ initial = \"50ms\", max = \"100ms\" }");
        let hub = Hub::start(Setup::of([fake]).impatient());
        let failure = eventually("the failure in status", || {
            Some(hub.server("a")["last_failure"].clone()).filter(Value::is_object)
        });
        let text = failure["message"].as_str().expect("text").to_owned();
        assert!(text.contains("2031-01-01") || text.contains("flux") || text.contains("no"), "{failure}");
        assert_eq!(hub.journal("a").count("initialize"), 0, "it is a modern server");
    }
}

/// A dual-era server that is slow to read: the probe is over, `initialize` is refused, and the probe's answer counts.
#[test]
fn t19_era_late_probe() {
    let slow = of_profile("D").arg("--ready-delay-ms", 3000).key("probe_timeout", "\"1s\"");
    let hub = Hub::start(Setup::of([slow]));
    serves(&hub, "modern");
    assert_eq!(opening(&hub, 0), ["server/discover", "initialize"]);
    stays("no crash loop", Duration::from_secs(1), || hub.journal("a").starts().len() == 1);
    assert_eq!(hub.server("a")["restarts"], 0);
}

/// The same with the long times of the list.
#[test]
#[ignore = "twelve seconds of waiting: scripts/test soak"]
fn soak_t19_at_full_length() {
    let hub = Hub::start(Setup::of([of_profile("D").arg("--ready-delay-ms", 12_000)]));
    serves(&hub, "modern");
    assert_eq!(opening(&hub, 0), ["server/discover", "initialize"]);
    assert_eq!(hub.journal("a").starts().len(), 1);
}

/// One that lets `initialize` change its mind: a successful `initialize` wins, whatever the probe says later.
#[test]
fn t19_initialize_wins() {
    let fickle = of_profile("T").arg("--probe-delay-ms", 2500).key("probe_timeout", "\"1s\"");
    let hub = Hub::start(Setup::of([fickle]));
    serves(&hub, "legacy");
    assert_eq!(opening(&hub, 0), ["server/discover", "initialize"]);
    eventually("the late answer", || {
        hub.journal("a").sent().iter().any(|m| m["result"]["supportedVersions"].is_array()).then_some(())
    });
    serves(&hub, "legacy");
}

/// A remembered verdict that no longer holds: the same command is a newer server now, or an older one.
#[test]
fn t18_the_server_changed() {
    let mut hub = Hub::prepare(Setup::default());
    let profile = hub.path("PROFILE");
    hub.setup = Setup::of([Fake::new("a").arg("--profile", format!("@{}", profile.display()))]).fixed_ports();
    hub.write_config();
    for (letter, era) in [("D", "modern"), ("L", "legacy"), ("M", "modern"), ("X", "legacy")] {
        std::fs::write(&profile, letter).expect("a file");
        hub.serve();
        serves(&hub, era);
        hub.stop();
    }
}

/// `hub tools` and `hub status` say which era each server speaks.
#[test]
fn era_is_shown() {
    let hub = Hub::start(Setup::of([Fake::new("old"), Fake::modern("new")]));
    let eras = |name: &str| (hub.server(name)["era"].clone(), hub.server(name)["protocol_version"].clone());
    assert_eq!(eras("old"), (json!("legacy"), json!(L3)));
    assert_eq!(eras("new"), (json!("modern"), json!(M)));
    for verb in [["tools", "old"], ["tools", "new"]] {
        let text = hub.run(&verb).stdout;
        let (era, version) = if verb[1] == "old" { ("legacy", L3) } else { ("modern", M) };
        assert!(text.contains(era) && text.contains(version), "{verb:?} shows {era} {version}: {text}");
    }
    let page = hub.run(&["status"]).stdout;
    for word in [L3, M] {
        assert!(page.contains(word), "{page}");
    }
    Session::open(&hub.at("new")).echo("order");
}
