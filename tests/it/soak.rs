//! Everything at once, for long: PROTOCOL 5.3 test 50, and the heartbeat of issue 2, Build 5.
//!
//! In: a seed (`HUB_SOAK_SEED`, printed) and a time (`HUB_SOAK_SECONDS`, 60 by default). Out: the invariant that every
//! message a client sees is its own, and a hub that has forgotten it all afterwards. Owns nothing. May not: run with the
//! other tests; `scripts/test soak` runs it alone.

use crate::modern_mrtr::nothing_left;
use crate::soak_modern::ModernClient;
use crate::support::eventually::within;
use crate::support::session::{L0, L1, L2, L3, Pending, text_of};
use crate::support::{Fake, Hub, Session, Setup, Stream, Target, Value, json, procs};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

const CLIENTS: u64 = 50;
const SERVERS: [&str; 3] = ["a", "b", "m"];
const ELICIT: &str = "elicitation/create";

/// How often each kind of step was taken.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

/// xorshift64*: the same seed gives the same choices.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn pick(&mut self, count: u64) -> usize {
        usize::try_from(self.below(count)).expect("small")
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One client: a session now and then replaced, on one endpoint.
struct Client {
    name: String,
    random: Random,
    target: Target,
    prefix: &'static str,
    session: Session,
    get: Option<Stream>,
    done: u64,
    counts: Counts,
}

impl Client {
    fn new(name: String, mut random: Random, target: Target, prefix: &'static str) -> Self {
        let session = Self::fresh(&mut random, &target);
        Self { name, random, target, prefix, session, get: None, done: 0, counts: Counts::new() }
    }

    fn fresh(random: &mut Random, target: &Target) -> Session {
        let versions = [L0, L1, L2, L3, L3, L3];
        let version = versions[usize::try_from(random.below(6)).expect("small")];
        Session::with(target, version, &json!({"elicitation": {}, "sampling": {}}))
    }

    fn nonce(&mut self) -> String {
        self.done += 1;
        format!("{}.{}", self.name, self.done)
    }

    fn tool(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A response is the caller's own, or says that the child went away.
    fn own(&mut self, response: &Value, nonce: &str) {
        if let Some(error) = response.get("error") {
            assert_eq!(error["code"], -32603, "{nonce}: {response}");
            *self.counts.entry("errors").or_default() += 1;
        } else if response["result"]["isError"] == true {
            // The aggregate's form of the same (PROTOCOL 4.4).
            *self.counts.entry("errors").or_default() += 1;
        } else {
            assert!(text_of(response).ends_with(nonce), "{nonce} got {response}");
        }
    }

    fn all_own(stream: &Stream, nonce: &str) {
        for event in stream.of("notifications/progress") {
            let message = event["params"]["message"].as_str().unwrap_or_default();
            // A heartbeat of hub's own has no message of the child.
            assert!(message.is_empty() || message.ends_with(nonce), "{nonce} saw {event}");
        }
        assert!(
            stream.of(ELICIT).iter().all(|ask| ask["params"]["message"].as_str().is_some_and(|m| m.ends_with(nonce)))
        );
    }

    fn step(&mut self, asks: bool) {
        let nonce = self.nonce();
        let choice = self.random.below(100);
        let kind = match choice {
            0..=39 => self.echo(&nonce),
            40..=49 => self.progress(&nonce),
            50..=56 => self.sleep(&nonce),
            57..=63 => self.cancelled(&nonce),
            64..=68 => self.dropped(&nonce),
            69..=73 => self.lists(),
            74..=79 => self.subscribes(),
            80..=84 => self.listens(),
            85..=89 => self.big(&nonce),
            90..=93 => self.renews(),
            94..=98 if asks => self.asks(&nonce),
            _ => self.echo(&nonce),
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    fn echo(&mut self, nonce: &str) -> &'static str {
        let response = self.session.call(&self.tool("echo"), &json!({"v": nonce})).response();
        self.own(&response, nonce);
        "echo"
    }

    fn begin(&self, tool: &str, arguments: &Value) -> Pending {
        self.session.begin_call_with_token(&self.tool(tool), arguments, &json!(1))
    }

    fn progress(&mut self, nonce: &str) -> &'static str {
        let call = self.begin("prog", &json!({"n": 4, "ms": 3, "v": nonce}));
        let response = call.response();
        self.own(&response, nonce);
        call.closed();
        Self::all_own(&call, nonce);
        "progress"
    }

    fn sleep(&mut self, nonce: &str) -> &'static str {
        let ms = self.random.below(60);
        let response = self.session.call(&self.tool("sleep"), &json!({"ms": ms, "v": nonce})).response();
        self.own(&response, nonce);
        "sleep"
    }

    fn cancelled(&mut self, nonce: &str) -> &'static str {
        let tool = if self.random.below(2) == 0 { "sleep" } else { "ignore_cancel" };
        let call = self.begin(tool, &json!({"ms": 40, "v": nonce}));
        self.session.cancel(&call.id);
        call.closed();
        if let Some(response) = call.response_now() {
            self.own(&response, nonce);
        }
        "cancelled"
    }

    fn dropped(&mut self, nonce: &str) -> &'static str {
        let call = self.begin("prog", &json!({"n": 6, "ms": 5, "v": nonce}));
        if self.random.below(2) == 0 {
            call.head();
        }
        call.drop_connection();
        call.closed();
        if let Some(last) = call.last_event_id().filter(|_| call.response_now().is_none()) {
            let resumed = self.session.resume(&last);
            if resumed.head().status == 200 {
                let response = resumed.response();
                self.own(&response, nonce);
                Self::all_own(&resumed, nonce);
            }
        }
        "dropped"
    }

    fn lists(&mut self) -> &'static str {
        let (method, key) = [("tools/list", "tools"), ("prompts/list", "prompts"), ("resources/list", "resources")]
            [usize::try_from(self.random.below(3)).expect("small")];
        let response = self.session.request(method, &json!({})).response();
        if response.get("error").is_none() {
            assert!(response["result"][key].as_array().is_some_and(|items| !items.is_empty()), "{response}");
        }
        "lists"
    }

    fn subscribes(&mut self) -> &'static str {
        let uri = json!({"uri": format!("test://soak/{}", self.random.below(5))});
        let method =
            ["resources/subscribe", "resources/unsubscribe"][usize::try_from(self.random.below(2)).expect("small")];
        if self.prefix.is_empty() {
            self.session.request(method, &uri).response();
            self.session.call("touch", &uri).response();
        }
        let level = ["debug", "info", "error"][usize::try_from(self.random.below(3)).expect("small")];
        self.session.request("logging/setLevel", &json!({"level": level})).response();
        "subscribes"
    }

    fn listens(&mut self) -> &'static str {
        self.get = match self.get.take() {
            None => Some(self.session.listen()),
            Some(stream) => {
                let asked = stream.messages().into_iter().filter(|m| m.get("id").is_some()).count();
                assert_eq!(asked, 0, "neither requests nor responses travel on GET");
                None
            }
        };
        "listens"
    }

    fn big(&mut self, nonce: &str) -> &'static str {
        let value = format!("{}{nonce}", "b".repeat(usize::try_from(self.random.below(300_000)).expect("small")));
        let response = self.session.call(&self.tool("echo"), &json!({"v": value})).response();
        self.own(&response, nonce);
        "big"
    }

    fn renews(&mut self) -> &'static str {
        self.get = None;
        if self.random.below(2) == 0 {
            assert_eq!(self.session.delete().status(), 204);
        }
        self.session = Self::fresh(&mut self.random, &self.target);
        "renews"
    }

    fn asks(&mut self, nonce: &str) -> &'static str {
        let call = self.begin("elicit", &json!({"tag": nonce, "v": nonce}));
        let message = call.message("a prompt or the end", |m| m["method"] == ELICIT || m.get("method").is_none());
        if message["method"] == ELICIT {
            assert_eq!(
                message["params"]["message"].as_str().map(|m| m.ends_with(nonce)),
                Some(true),
                "{nonce} saw {message}"
            );
            self.session.accept(&message, &format!("secret {nonce}"));
        }
        let response = call.response();
        self.own(&response, nonce);
        if response.to_string().contains("secret") {
            assert!(response.to_string().contains(&format!("secret {nonce}")), "{nonce} got {response}");
            *self.counts.entry("answered").or_default() += 1;
        }
        "asks"
    }
}

fn soak_seconds() -> u64 {
    number("HUB_SOAK_SECONDS").unwrap_or(60)
}

/// A client of either era.
fn live(number: u64, seed: u64, (target, prefix, asks): Endpoint, is_over: &dyn Fn() -> bool) -> Counts {
    let random = Random::new(seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let name = format!("c{number}");
    if number.is_multiple_of(2) {
        let mut client = Client::new(name, random, target, prefix);
        while !is_over() {
            client.step(asks);
        }
        return client.counts;
    }
    let mut client = ModernClient::new(name, random, &target, prefix);
    while !is_over() {
        client.step(asks);
    }
    client.counts
}

/// Where a client goes, the prefix of its tools there, and whether it starts dialogs.
type Endpoint = (Target, &'static str, bool);

fn run(hub: &Hub, seed: u64, time: Duration) -> Counts {
    let endpoints: [Endpoint; 5] = [
        (hub.at("a"), "", false),
        (hub.at("b"), "", true),
        (hub.at("m"), "", true),
        (hub.all(), "a__", false),
        (hub.all(), "m__", true),
    ];
    let start = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let endpoint = endpoints[usize::try_from(number / 2 % 5).expect("small")].clone();
                scope.spawn(move || live(number, seed, endpoint, &|| start.elapsed() >= time))
            })
            .collect();
        // Seldom enough that no server counts as looping (limits.rs: 10 deaths within 120 s).
        let mut next = Duration::from_secs(8);
        for name in SERVERS.into_iter().cycle() {
            if next >= time {
                break;
            }
            std::thread::sleep(next.saturating_sub(start.elapsed()));
            hub.child_pids(name).into_iter().for_each(|pid| procs::signal(pid, Signal::SIGKILL));
            next += Duration::from_secs(10);
        }
        let mut sum = Counts::new();
        for client in clients {
            for (kind, count) in client.join().expect("no panic") {
                *sum.entry(kind).or_default() += count;
            }
        }
        sum
    })
}

#[test]
#[ignore = "a minute long: scripts/test soak"]
fn soak_everything_at_once() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let seed = number("HUB_SOAK_SEED").unwrap_or(now) | 1;
    eprintln!("HUB_SOAK_SEED={seed}");
    let quick = "{ initial = \"20ms\", max = \"200ms\" }";
    let fakes = SERVERS.map(|name| {
        let fake = if name == "m" { Fake::modern(name) } else { Fake::new(name) };
        // Abandoned dialogs must be gone by the time it is looked for them.
        fake.key("restart", quick).key("park_timeout", "\"3s\"")
    });
    let hub = Hub::start(Setup::of(fakes));
    let whole = Duration::from_secs(soak_seconds());
    // The first part fills every cache and pool that is allowed to grow; from then on memory has to be flat.
    let warm = run(&hub, seed, whole / 3);
    let before = procs::rss_bytes(hub.pid());
    let rest = run(&hub, seed.rotate_left(17) | 1, whole * 2 / 3);
    eprintln!("warm {warm:?}\nrest {rest:?}\nrss {before:?} -> {:?}", procs::rss_bytes(hub.pid()));
    let calls: u64 = rest.values().sum();
    assert!(calls > 20 * soak_seconds(), "only {calls} operations");
    assert!(rest.get("answered").is_some_and(|count| *count > 0), "no dialog was ever answered: {rest:?}");
    assert!(rest.get("modern answered").is_some_and(|count| *count > 0), "no round was ever answered: {rest:?}");
    for name in SERVERS {
        nothing_left(&hub, name);
        hub.session(name).echo("in the end");
        assert!(hub.server(name)["restarts"].as_u64() > Some(0), "the soak never met a death of {name}");
    }
    let metrics = hub.hub_path("/metrics").get().text();
    let queued = metrics.lines().filter(|line| line.starts_with("hub_queued{"));
    assert!(queued.clone().count() > 0 && queued.clone().all(|line| line.ends_with(" 0")), "{metrics}");
    if let (Some(before), Some(after)) = (before, procs::rss_bytes(hub.pid())) {
        assert!(after < before * 3 / 2 + (64 << 20), "memory grew from {before} to {after}");
    }
}

/// A call that is silent for long, with a progress token: hub makes itself heard, and progress still increases.
#[test]
#[ignore = "a minute long: scripts/test soak"]
fn soak_heartbeat() {
    let hub = Hub::start(Setup::one());
    let session = hub.session("a");
    // One step, after 65 s of silence.
    let call = session.begin_call_with_token("prog", &json!({"n": 1, "ms": 65_000, "v": "me"}), &json!("tok"));
    let plain = session.begin_call("sleep", &json!({"ms": 62_000}));
    let start = Instant::now();
    let progress = |stream: &Stream| stream.of("notifications/progress");
    let beat = within(Duration::from_secs(61), "a heartbeat", || progress(&call).first().cloned());
    assert!(start.elapsed() > Duration::from_secs(20), "not before there was a silence");
    assert_eq!(beat["params"]["progressToken"], "tok");
    let response = call.response_within(Duration::from_secs(40));
    assert!(text_of(&response).ends_with("me"));
    let all: Vec<f64> =
        progress(&call).iter().map(|event| event["params"]["progress"].as_f64().expect("a number")).collect();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "progress increases: {all:?}");
    assert_eq!(
        all.last().map(|last| (last - 1.0).abs() < f64::EPSILON),
        Some(true),
        "the server's own came through: {all:?}"
    );
    plain.response_within(Duration::from_secs(40));
    assert_eq!(progress(&plain), Vec::<Value>::new(), "no token, no heartbeat");
    assert!(plain.events().iter().any(|event| event.comment.is_some()), "but keep-alive comments");
}
