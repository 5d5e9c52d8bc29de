//! The modern half of the soak: callers that keep nothing between two requests.
//!
//! In: an endpoint and a seed. Out: the invariant of `soak`, for lists, calls, rounds, listens and connections that drop.
//! Owns its open listen. May not: run by itself; `soak` decides who lives how long.

use crate::soak::{Counts, Random};
use crate::support::modern::{Listen, Round, accepted};
use crate::support::session::text_of;
use crate::support::{Modern, Stream, Target, Value, json};

/// One modern caller on one endpoint.
pub(crate) struct ModernClient {
    name: String,
    random: Random,
    client: Modern,
    prefix: &'static str,
    listen: Option<Listen>,
    done: u64,
    pub(crate) counts: Counts,
}

impl ModernClient {
    pub(crate) fn new(name: String, random: Random, target: &Target, prefix: &'static str) -> Self {
        let client = Modern::eliciting(target);
        Self { name, random, client, prefix, listen: None, done: 0, counts: Counts::new() }
    }

    pub(crate) fn step(&mut self, asks: bool) {
        self.done += 1;
        let nonce = format!("{}.{}", self.name, self.done);
        let kind = match self.random.below(100) {
            0..=39 => self.echo(&nonce),
            40..=51 => self.progress(&nonce),
            52..=59 => self.sleep(&nonce),
            60..=68 => self.dropped(&nonce),
            69..=74 => self.lists(),
            75..=81 => self.listens(),
            82..=87 => self.big(&nonce),
            88..=98 if asks => self.asks(&nonce),
            _ => self.echo(&nonce),
        };
        *self.counts.entry(kind).or_default() += 1;
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
            *self.counts.entry("errors").or_default() += 1;
        } else {
            assert_eq!(response["result"]["resultType"], "complete", "{nonce}: {response}");
            assert!(text_of(response).ends_with(nonce), "{nonce} got {response}");
        }
    }

    fn all_own(stream: &Stream, nonce: &str) {
        for event in stream.messages().iter().filter(|message| message.get("method").is_some()) {
            assert_eq!(event["method"], "notifications/progress", "{nonce} saw {event}");
            let message = event["params"]["message"].as_str().unwrap_or_default();
            assert!(message.is_empty() || message.ends_with(nonce), "{nonce} saw {event}");
        }
    }

    fn echo(&mut self, nonce: &str) -> &'static str {
        let response = self.client.call(&self.tool("echo"), &json!({"v": nonce})).response();
        self.own(&response, nonce);
        "modern echo"
    }

    fn progress(&mut self, nonce: &str) -> &'static str {
        let arguments = json!({"n": 4, "ms": 3, "v": nonce});
        let call = self.client.begin_call_with_token(&self.tool("prog"), &arguments, &json!(1));
        let response = call.response();
        self.own(&response, nonce);
        call.closed();
        Self::all_own(&call, nonce);
        "modern progress"
    }

    fn sleep(&mut self, nonce: &str) -> &'static str {
        let ms = self.random.below(60);
        let response = self.client.call(&self.tool("sleep"), &json!({"ms": ms, "v": nonce})).response();
        self.own(&response, nonce);
        "modern sleep"
    }

    /// Leaving is cancelling: at once, or in the middle of a stream.
    fn dropped(&mut self, nonce: &str) -> &'static str {
        let tool = ["prog", "sleep", "ignore_cancel"][self.random.pick(3)];
        let arguments = json!({"n": 6, "ms": 20, "v": nonce});
        let call = self.client.begin_call_with_token(&self.tool(tool), &arguments, &json!(1));
        if self.random.below(2) == 0 {
            call.head();
        }
        call.drop_connection();
        call.closed();
        Self::all_own(&call, nonce);
        "modern dropped"
    }

    fn lists(&mut self) -> &'static str {
        let (method, key) = [
            ("tools/list", "tools"),
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("server/discover", "supportedVersions"),
        ][self.random.pick(4)];
        let response = self.client.request(method, &json!({})).response();
        if response.get("error").is_none() {
            assert!(response["result"][key].as_array().is_some_and(|items| !items.is_empty()), "{response}");
        }
        "modern lists"
    }

    fn listens(&mut self) -> &'static str {
        self.listen = match self.listen.take() {
            None => {
                let uri = format!("test://soak/{}", self.random.below(5));
                let filter = json!({"toolsListChanged": true, "resourceSubscriptions": [uri]});
                Some(self.client.listen_as(&json!(self.done), &filter))
            }
            Some(listen) => {
                for message in listen.news() {
                    let known = ["notifications/tools/list_changed", "notifications/resources/updated"];
                    assert!(known.contains(&message["method"].as_str().unwrap_or_default()), "{message}");
                }
                None
            }
        };
        "modern listens"
    }

    fn big(&mut self, nonce: &str) -> &'static str {
        let value = format!("{}{nonce}", "b".repeat(self.random.pick(300_000)));
        let response = self.client.call(&self.tool("echo"), &json!({"v": value})).response();
        self.own(&response, nonce);
        "modern big"
    }

    /// A dialog: answered, left alone, or dropped while the child works on the answer.
    fn asks(&mut self, nonce: &str) -> &'static str {
        let params = json!({"name": self.tool("elicit"), "arguments": {"tag": nonce, "v": nonce, "after_ms": 20}});
        let answer = self.client.request("tools/call", &params);
        if answer.response()["result"]["resultType"] != "input_required" {
            self.own(&answer.response(), nonce);
            return "modern unasked";
        }
        let round = Round::of("tools/call", &params, &answer);
        assert!(round.message().ends_with(nonce), "{nonce} was asked {round:?}");
        match self.random.below(8) {
            0 => return "modern abandoned",
            1 => {
                let retry = self.client.begin_retry(&round, &round.accept("unheard"));
                retry.drop_connection();
                retry.closed();
                return "modern dropped rounds";
            }
            _ => {}
        }
        let secret = format!("secret {nonce}");
        let response = self.client.retry(&round, &json!({round.key(): accepted(&secret)})).response();
        if response["error"]["code"] == -32602 {
            // Its child died in between: the question is void, and nothing is run again.
            return "modern expired";
        }
        self.own(&response, nonce);
        if response.to_string().contains("secret") {
            assert!(response.to_string().contains(&secret), "{nonce} got {response}");
            *self.counts.entry("modern answered").or_default() += 1;
        }
        "modern asks"
    }
}
