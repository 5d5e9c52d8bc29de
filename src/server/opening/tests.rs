//! Every letter of PROTOCOL 2.7, the pins, and what a child may say meanwhile.
//!
//! In: scripted lines. Out: verdicts. Owns nothing. May not: wait for anything.

use super::*;

const DISCOVERED: &str = r#""result":{"supportedVersions":["2025-11-25","2026-07-28"],"capabilities":{"tools":{}},"instructions":"be nice","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x","version":"1"}}}"#;
const TAKEN: &str =
    r#""result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"old","version":"1"}}"#;
const MODERN_ONLY: &str =
    r#""error":{"code":-32022,"message":"connection is serving 2026-07-28","data":{"supported":["2026-07-28"]}}"#;
const OLDER_ONLY: &str =
    r#""error":{"code":-32022,"message":"no","data":{"supported":["2025-06-18"],"requested":"2026-07-28"}}"#;
const UNKNOWN: &str = r#""error":{"code":-32601,"message":"Method not found"}"#;

/// An opening and what it wrote, for a child that does as told.
struct Script {
    opening: Opening,
    wrote: Vec<serde_json::Value>,
}

impl Script {
    fn begin(way: Way) -> Self {
        let (opening, first) = Opening::begin("s", &Roots::default(), way);
        Self { opening, wrote: vec![parse(&first)] }
    }

    /// The child answers a request; gives what was not written.
    fn answer(&mut self, id: u64, outcome: &str) -> Vec<Step> {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{outcome}}}");
        let steps = self.opening.line(&Bytes::from(line));
        self.keep(steps)
    }

    fn wait(&mut self) -> Vec<Step> {
        let steps = self.opening.waited();
        self.keep(steps)
    }

    fn keep(&mut self, steps: Vec<Step>) -> Vec<Step> {
        let (writes, rest): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| matches!(step, Step::Write(_)));
        self.wrote.extend(writes.iter().filter_map(|step| match step {
            Step::Write(line) => Some(parse(line)),
            _ => None,
        }));
        rest
    }

    /// The methods that were written, in order.
    fn methods(&self) -> Vec<&str> {
        self.wrote.iter().map(|line| line["method"].as_str().expect("a method")).collect()
    }
}

fn parse(line: &Line) -> serde_json::Value {
    serde_json::from_slice(&line.to_bytes()).expect("JSON")
}

#[track_caller]
fn opened(steps: &[Step]) -> &Opened {
    let [Step::Done(opened)] = steps else { panic!("{steps:?}") };
    opened
}

#[track_caller]
fn failed(steps: &[Step]) -> &str {
    let [Step::Failed(why)] = steps else { panic!("{steps:?}") };
    why
}

#[test]
fn a_discovered_child_is_modern() {
    let mut script = Script::begin(Way::Probe);
    let meta = &script.wrote[0]["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "hub");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], serde_json::json!({}));
    let done = script.answer(1, DISCOVERED);
    let Opened { handshake, next_wire, verdict } = opened(&done);
    assert_eq!((*next_wire, *verdict), (2, Some(Era::Modern)));
    assert_eq!((handshake.era, handshake.version.as_str()), (Era::Modern, "2026-07-28"));
    assert_eq!(handshake.capabilities, r#"{"tools":{}}"#);
    assert_eq!(handshake.server_info, r#"{"name":"x","version":"1"}"#);
    assert_eq!(handshake.instructions.as_deref(), Some(&br#""be nice""#[..]));
    assert_eq!(script.methods(), ["server/discover"], "never `initialize` once it is known");
    let mut nameless = Script::begin(Way::Probe);
    let done = nameless.answer(1, r#""result":{"supportedVersions":["2026-07-28"]}"#);
    let handshake = &opened(&done).handshake;
    assert_eq!(handshake.server_info, r#"{"name":"s","version":"0"}"#, "legacy clients insist on one");
    assert_eq!((&handshake.capabilities[..], &handshake.instructions), (&b"{}"[..], &None));
}

#[test]
fn b_our_own_revision_refused_is_asked_once_more() {
    let ours = r#""error":{"code":-32022,"message":"busy","data":{"supported":["2026-07-28"]}}"#;
    let mut script = Script::begin(Way::Probe);
    assert_eq!(script.answer(1, ours), []);
    assert_eq!(opened(&script.answer(2, DISCOVERED)).next_wire, 3);
    for second in [ours, UNKNOWN] {
        let mut script = Script::begin(Way::Probe);
        script.answer(1, ours);
        assert!(failed(&script.answer(2, second)).starts_with("server/discover was refused: "));
        assert_eq!(script.methods(), ["server/discover"; 2], "a modern server is not asked to initialize");
    }
}

#[test]
fn c_older_revisions_only_need_another_process() {
    let mut script = Script::begin(Way::Probe);
    assert_eq!(script.answer(1, OLDER_ONLY), [Step::Again(Way::Initialize)]);
    let mut script = Script::begin(Way::Probe);
    let listed = r#""result":{"supportedVersions":["2025-11-25"],"capabilities":{}}"#;
    assert_eq!(script.answer(1, listed), [Step::Again(Way::Initialize)], "also as a result");
    let mut script = Script::begin(Way::Probe);
    let newer = r#""error":{"code":-32022,"message":"no","data":{"supported":["2031-01-01","2032-01-01"]}}"#;
    let why = script.answer(1, newer);
    assert!(failed(&why).starts_with("it speaks only 2031-01-01, 2032-01-01, which this hub does not know; update"));
    // It must not go round in circles.
    let mut script = Script::begin(Way::Initialize);
    script.answer(1, MODERN_ONLY);
    assert!(failed(&script.answer(2, OLDER_ONLY)).contains("2025-06-18"));
}

#[test]
fn d_a_modern_child_that_wants_more_is_told_everything_once() {
    let picky = r#""error":{"code":-32021,"message":"needs sampling","data":{}}"#;
    let mut script = Script::begin(Way::Probe);
    assert_eq!(script.answer(1, picky), []);
    let told = &script.wrote[1]["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert!(told["sampling"]["tools"].is_object() && told["elicitation"]["url"].is_object(), "{told}");
    assert_eq!(opened(&script.answer(2, DISCOVERED)).verdict, Some(Era::Modern));
    let mut script = Script::begin(Way::Probe);
    script.answer(1, picky);
    assert_eq!(failed(&script.answer(2, picky)), "server/discover was refused: needs sampling");
}

#[test]
fn e_any_other_answer_leads_to_initialize_here() {
    let others = [
        UNKNOWN,
        r#""error":{"code":-32602,"message":"Invalid request parameters","data":""}"#,
        r#""error":{"code":-32600,"message":"not initialized"}"#,
        r#""error":{"code":0,"message":""}"#,
        r#""error":7"#,
        r#""result":{}"#,
        r#""result":[]"#,
        r#""result":{"supportedVersions":"2026-07-28"}"#,
        r#""result":1,"error":{"code":1,"message":"both"}"#,
    ];
    for other in others {
        let mut script = Script::begin(Way::Probe);
        assert_eq!(script.answer(1, other), [], "{other}");
        let done = script.answer(2, TAKEN);
        let opened = opened(&done);
        assert_eq!((opened.handshake.era, opened.verdict, opened.next_wire), (Era::Legacy, Some(Era::Legacy), 3));
        assert_eq!(opened.handshake.version, "2025-06-18");
        assert_eq!(script.methods(), ["server/discover", "initialize", "notifications/initialized"]);
    }
    let mut script = Script::begin(Way::Probe);
    let steps = script.opening.line(&Bytes::from(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"}}"#));
    assert!(matches!(&steps[..], [Step::Write(_)]), "an error without an id: {steps:?}");
}

#[test]
fn f_a_child_that_ends_at_the_probe_is_opened_without_it() {
    assert_eq!(Script::begin(Way::Probe).opening.ended(), Ended::Again(Way::Initialize));
    let mut said_no_first = Script::begin(Way::Probe);
    said_no_first.answer(1, UNKNOWN);
    assert_eq!(said_no_first.opening.ended(), Ended::Again(Way::Initialize));
    // Not again and again, and not what worked before.
    for way in [Way::Initialize, Way::OnlyInitialize, Way::Discover] {
        assert_eq!(Script::begin(way).opening.ended(), Ended::Crashed(""), "{way:?}");
    }
    let mut refused = Script::begin(Way::Probe);
    refused.answer(1, UNKNOWN);
    refused.answer(2, r#""error":{"code":-32603,"message":"the licence has expired"}"#);
    assert_eq!(refused.opening.ended(), Ended::Crashed(""), "it was heard, and its reason counts");
}

#[test]
fn g_a_silent_child_gets_both_and_a_taken_initialize_wins() {
    let silent = || {
        let mut script = Script::begin(Way::Probe);
        assert_eq!(script.wait(), []);
        assert_eq!(script.methods(), ["server/discover", "initialize"]);
        assert_eq!(script.opening.awaits(), "server/discover and initialize");
        script
    };
    let mut initialize_only = silent();
    let done = initialize_only.answer(2, TAKEN);
    assert_eq!((opened(&done).handshake.era, opened(&done).verdict), (Era::Legacy, Some(Era::Legacy)));

    let mut both = silent();
    assert_eq!(both.answer(1, DISCOVERED), [Step::Wait]);
    let done = both.answer(2, TAKEN);
    assert_eq!(opened(&done).handshake.era, Era::Legacy, "it serves the older era from then on");
    assert_eq!(opened(&done).verdict, None, "but it was only slow: the next one is probed again");

    for refusal in [MODERN_ONLY, UNKNOWN] {
        let mut modern = silent();
        modern.answer(1, DISCOVERED);
        assert_eq!(opened(&modern.answer(2, refusal)).verdict, Some(Era::Modern));
        let mut other_order = silent();
        other_order.answer(2, refusal);
        assert_eq!(opened(&other_order.answer(1, DISCOVERED)).handshake.era, Era::Modern);
    }

    let mut deaf = silent();
    deaf.answer(1, DISCOVERED);
    // Were it to take `initialize` later, it would be legacy from then on, in the middle of modern calls.
    assert_eq!(deaf.wait(), [Step::Again(Way::Discover)], "by a process that never got one");
    let mut slow_again = Script::begin(Way::Discover);
    assert_eq!(slow_again.wait(), []);
    slow_again.answer(1, DISCOVERED);
    assert_eq!(opened(&slow_again.wait()).handshake.era, Era::Modern, "and not for ever");

    let mut neither = silent();
    assert_eq!(neither.answer(2, r#""error":{"code":-32603,"message":"the licence has expired"}"#), [Step::Wait]);
    assert_eq!(failed(&neither.wait()), "initialize was refused: the licence has expired");

    let mut late = silent();
    late.answer(1, UNKNOWN);
    assert_eq!(opened(&late.answer(2, TAKEN)).handshake.era, Era::Legacy);

    let mut late_older = silent();
    assert_eq!(late_older.answer(1, OLDER_ONLY), []);
    let bound = r#""error":{"code":-32022,"message":"bound","data":{"supported":[]}}"#;
    assert_eq!(late_older.answer(2, bound), [Step::Again(Way::Initialize)]);

    let mut dies = silent();
    dies.answer(1, DISCOVERED);
    assert_eq!(dies.opening.ended(), Ended::Again(Way::Discover), "it did not bear `initialize`");
}

#[test]
fn what_was_legacy_is_not_probed_until_it_refuses_initialize() {
    let mut script = Script::begin(Way::Initialize);
    let done = script.answer(1, TAKEN);
    assert_eq!((opened(&done).next_wire, opened(&done).verdict), (2, Some(Era::Legacy)));
    assert_eq!(script.methods(), ["initialize", "notifications/initialized"]);
    let mut script = Script::begin(Way::Initialize);
    assert_eq!(script.answer(1, MODERN_ONLY), []);
    let done = script.answer(2, DISCOVERED);
    assert_eq!((opened(&done).handshake.era, opened(&done).verdict), (Era::Modern, Some(Era::Modern)));
    let mut neither = Script::begin(Way::Initialize);
    neither.answer(1, MODERN_ONLY);
    neither.answer(2, UNKNOWN);
    let why = neither.answer(3, UNKNOWN);
    assert_eq!(
        failed(&why),
        "it takes neither server/discover (Method not found) nor initialize (connection is serving 2026-07-28)"
    );
}

#[test]
fn what_was_modern_still_may_turn_out_otherwise() {
    let mut script = Script::begin(Way::Discover);
    assert_eq!(script.methods(), ["server/discover"]);
    script.answer(1, UNKNOWN);
    assert_eq!(opened(&script.answer(2, TAKEN)).verdict, Some(Era::Legacy));
}

#[test]
fn a_pin_is_kept_and_says_what_to_do() {
    let mut modern = Script::begin(Way::OnlyDiscover);
    assert_eq!(modern.wait(), []);
    let why = modern.answer(1, UNKNOWN);
    assert_eq!(
        failed(&why),
        "it does not speak the modern protocol (server/discover: Method not found); remove `era = \"modern\"` from hub.toml"
    );
    assert_eq!(modern.methods(), ["server/discover"]);
    let mut older = Script::begin(Way::OnlyDiscover);
    assert!(failed(&older.answer(1, OLDER_ONLY)).contains("it speaks 2025-06-18"));
    let Ended::Crashed(advice) = Script::begin(Way::OnlyDiscover).opening.ended() else { panic!("not again") };
    assert!(advice.contains("era = \"modern\""));
    assert_eq!(opened(&Script::begin(Way::OnlyDiscover).answer(1, DISCOVERED)).handshake.era, Era::Modern);

    let mut legacy = Script::begin(Way::OnlyInitialize);
    let why = legacy.answer(1, MODERN_ONLY);
    assert!(failed(&why).ends_with("remove `era = \"legacy\"` from hub.toml"), "{why:?}");
    assert_eq!(legacy.methods(), ["initialize"]);
}

#[test]
fn the_usual_way_of_a_legacy_child() {
    let (mut opening, first) = Opening::begin("s", &Roots::default(), Way::Initialize);
    let first = parse(&first);
    assert_eq!((&first["id"], &first["params"]["protocolVersion"]), (&1.into(), &"2025-11-25".into()));
    assert!(first["params"]["capabilities"].get("roots").is_none());
    let ping = opening.line(&Bytes::from_static(br#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#));
    assert!(
        matches!(&ping[..], [Step::Write(line)] if line.to_bytes() == "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\n")
    );
    assert!(matches!(&opening.line(&Bytes::from_static(b"Server running on stdio"))[..], [Step::Note(_)]));
    let done = opening.line(&Bytes::from_static(
        br#"{"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}},"jsonrpc":"2.0","id":1}"#,
    ));
    let [Step::Write(_), Step::Done(opened)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((opened.handshake.version.as_str(), opened.next_wire), ("2024-11-05", 2));
    assert_eq!(opened.handshake.capabilities, r#"{"tools":{}}"#);
}

#[test]
fn a_refused_revision_is_tried_again_once() {
    let refusal =
        r#""error":{"code":-32602,"message":"no","data":{"supported":["2024-11-05","2025-03-26","2026-07-28"]}}"#;
    let mut script = Script::begin(Way::Initialize);
    assert_eq!(script.answer(1, refusal), []);
    assert_eq!(script.wrote[1]["params"]["protocolVersion"], "2025-03-26");
    assert_eq!(script.answer(2, refusal), [Step::Failed("initialize was refused: no".into())]);
}

#[test]
fn a_newer_answer_is_refused() {
    let mut script = Script::begin(Way::Initialize);
    assert!(failed(&script.answer(1, r#""result":{"protocolVersion":"2026-07-28"}"#)).contains("2026-07-28"));
}

#[test]
fn answers_to_nothing_are_noted() {
    let mut script = Script::begin(Way::Probe);
    for line in [r#""result":{}"#, UNKNOWN] {
        assert!(matches!(&script.answer(7, line)[..], [Step::Note(_)]));
    }
    assert_eq!(script.opening.line(&Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/x"}"#)), []);
}
