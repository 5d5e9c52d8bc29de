//! What every session does, and what must come back: different values for every session and every call.
//!
//! In: names of clients, folders. Out: jobs for the client processes, and a verdict for each result. State: the
//! expectations, each taken off when its result comes. May not: accept a result twice, or one that nobody asked for.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};

/// The clients, each with [`SESSIONS`] sessions at each server.
pub const CLIENTS: [&str; 3] = ["ts1", "mcp1", "mcp2"];
/// Sessions of one client at one server.
pub const SESSIONS: usize = 8;
/// The servers.
pub const SERVERS: [&str; 5] = ["everything", "filesystem", "memory", "time", "git"];
/// Rounds of calls. In the first, only one session's call makes the server ask; in the others every session's do.
pub const ROUNDS: usize = 4;

/// Long enough to cross a pipe in many pieces.
const LONG: usize = 200_000;

/// What must come back for one step.
#[derive(Debug, PartialEq)]
enum Expected {
    Text(String),
    Within(Vec<String>),
    /// `structuredContent` at a JSON pointer.
    Structured(&'static str, Value),
    /// The text, and before it notifications with this progress.
    Progress(String, Vec<u64>),
}

/// The jobs and the expectations.
pub struct Plan {
    expected: HashMap<String, Expected>,
    /// Steps made so far, for unique numbers.
    steps: usize,
    folder: String,
    repository: String,
}

/// The tag of one call: unique, and naming its session.
fn tag(session: &str, round: usize) -> String {
    format!("{session}-round{round}")
}

/// The name of a session.
pub fn session_name(client: &str, server: &str, number: usize) -> String {
    format!("{client}-{server}-{number}")
}

/// Every tag of one server's sessions.
pub fn tags(server: &str) -> impl Iterator<Item = String> {
    CLIENTS.into_iter().flat_map(move |client| {
        (0..SESSIONS)
            .flat_map(move |number| (0..ROUNDS).map(move |round| tag(&session_name(client, server, number), round)))
    })
}

/// The observation that the memory server holds about the entity of a tag.
pub fn observation(tag: &str) -> String {
    format!("{tag} was seen")
}

/// What the repository has under the name of a tag.
pub fn committed(tag: &str) -> String {
    format!("{tag} was committed\n")
}

impl Plan {
    /// A plan for files in `folder` and a git repository at `repository`.
    pub fn new(folder: &Path, repository: &Path) -> Self {
        let text = |path: &Path| path.to_str().expect("a temporary path is UTF-8").to_owned();
        Self { expected: HashMap::new(), steps: 0, folder: text(folder), repository: text(repository) }
    }

    /// The job of one client: its sessions at all servers, whose endpoints `url` gives.
    pub fn job(&mut self, client: &str, url: impl Fn(&str) -> String) -> Value {
        let mut sessions = Vec::new();
        for server in SERVERS {
            for number in 0..SESSIONS {
                let name = session_name(client, server, number);
                let rounds: Vec<Vec<Value>> = (0..ROUNDS).map(|round| self.round(server, &name, round)).collect();
                sessions.push(json!({ "name": name, "url": url(server), "rounds": rounds }));
            }
        }
        json!({ "client": client, "sessions": sessions })
    }

    /// A session at the server `everything` by any way in, whose tools have `prefix` there. All of `sessions` sessions
    /// call in each of as many rounds, and in its own one this session's calls make the server ask.
    pub fn way(&mut self, (name, url, prefix): (&str, &str, &str), number: usize, sessions: usize) -> Value {
        // The TypeScript SDK drops progress that it reads in one piece with the answer, and a pipe keeps messages together
        // when the client is busy.
        let drops_progress = url.starts_with("stdio ") && name.starts_with("ts");
        let rounds: Vec<Vec<Value>> = (0..sessions)
            .map(|round| {
                let tag = tag(name, round);
                let tools =
                    Expected::Within(vec![format!("{prefix}echo"), format!("{prefix}trigger-sampling-request")]);
                let mut steps = vec![
                    self.step(json!({ "op": "tools" }), tools),
                    self.step(json!({ "op": "ping" }), Expected::Text("pong".to_owned())),
                    self.prompt(prefix, &tag),
                    self.echo(prefix, &tag),
                ];
                if !drops_progress {
                    steps.push(self.progress(prefix));
                }
                if round == number {
                    steps.extend(self.asks(prefix, name, &tag));
                }
                steps
            })
            .collect();
        json!({ "name": name, "url": url, "rounds": rounds })
    }

    /// A session at any server that answers as those of `tests/conformance` do. Its calls make the server ask in every
    /// round, but in the first one only if it `leads`.
    pub fn at_fixture(&mut self, name: &str, url: &str, leads: bool) -> Value {
        let rounds: Vec<Vec<Value>> = (0..ROUNDS)
            .map(|round| {
                let tools = Expected::Within(vec!["test_elicitation".to_owned(), "test_simple_text".to_owned()]);
                let simple = Expected::Text("This is a simple text response for testing.".to_owned());
                let progress = Expected::Progress("Progress reported.".to_owned(), vec![0, 50, 100]);
                let mut steps = vec![
                    self.step(json!({ "op": "tools" }), tools),
                    self.tool("test_simple_text", &json!({}), simple),
                    self.tool("test_tool_with_progress", &json!({}), progress),
                ];
                if leads || round > 0 {
                    let tag = tag(name, round);
                    let elicited =
                        Expected::Within(vec!["action=accept".to_owned(), format!("\"username\":\"{name}\"")]);
                    let sampled = Expected::Text(format!("LLM response: {name} was asked: {tag}"));
                    steps.push(self.tool("test_elicitation", &json!({ "message": tag }), elicited));
                    steps.push(self.tool("test_sampling", &json!({ "prompt": tag }), sampled));
                }
                steps
            })
            .collect();
        json!({ "name": name, "url": url, "rounds": rounds })
    }

    /// Judges one result. `Err` says what is wrong with it.
    pub fn judge(&mut self, result: &Value) -> Result<(), String> {
        let Some(expected) = result["step"].as_str().and_then(|step| self.expected.remove(step)) else {
            return Err(format!("a result that nobody waits for: {result}"));
        };
        let text = result["text"].as_str().unwrap_or_default();
        let well = result["error"].is_null() && result["failed"] != true;
        let right = match &expected {
            Expected::Text(whole) => text == whole,
            Expected::Within(parts) => parts.iter().all(|part| text.contains(part)),
            Expected::Structured(pointer, value) => result["structured"].pointer(pointer) == Some(value),
            Expected::Progress(whole, all) => {
                // This server sends the last one right before its result. The TypeScript SDK handles notifications one
                // turn of its loop later than results, and so loses it when both arrive together, with hub or without.
                // Over its old transport, where all events of one read are handled in one turn, that can be several.
                let session = result["session"].as_str().unwrap_or_default();
                let may_lose =
                    if session.starts_with("ts1-old") { all.len() } else { usize::from(session.starts_with("ts")) };
                let told = steps_told(result);
                text == whole && all.starts_with(&told) && told.len() + may_lose >= all.len()
            }
        };
        if well && right { Ok(()) } else { Err(format!("expected {}, got {}", brief(&expected), brief(result))) }
    }

    /// Steps whose result has not come.
    pub fn missing(&self) -> Vec<&str> {
        self.expected.keys().map(String::as_str).collect()
    }

    /// Notes what must come back and gives the step its id.
    fn step(&mut self, mut step: Value, expected: Expected) -> Value {
        self.steps += 1;
        let id = format!("step{}", self.steps);
        step["id"] = json!(id);
        step["progress"] = json!(matches!(expected, Expected::Progress(..)));
        self.expected.insert(id, expected);
        step
    }

    fn tool(&mut self, name: &str, arguments: &Value, expected: Expected) -> Value {
        self.step(json!({ "op": "tool", "name": name, "arguments": arguments }), expected)
    }

    fn round(&mut self, server: &str, session: &str, round: usize) -> Vec<Value> {
        let tag = tag(session, round);
        let mut steps = match server {
            "everything" => self.everything(session, &tag, round),
            "filesystem" => self.filesystem(session, &tag, round),
            "memory" => self.memory(&tag),
            "time" => self.time(),
            "git" => self.git(&tag),
            _ => unreachable!("one of SERVERS"),
        };
        steps.push(self.step(json!({ "op": "ping" }), Expected::Text("pong".to_owned())));
        steps
    }

    fn everything(&mut self, session: &str, tag: &str, round: usize) -> Vec<Value> {
        let number = self.steps;
        let message = if round == 2 { tag.repeat(LONG / tag.len()) } else { tag.to_owned() };
        let sum = Expected::Text(format!("The sum of {number} and 1000000 is {}.", number + 1_000_000));
        let resource = json!({ "op": "resource", "uri": format!("demo://resource/dynamic/text/{}", number + 1) });
        let body = Expected::Within(vec![format!("Resource {}: This is a plaintext resource", number + 1)]);
        let tools = Expected::Within(vec!["echo".to_owned(), "trigger-sampling-request".to_owned()]);
        let mut steps = vec![
            self.step(json!({ "op": "tools" }), tools),
            self.echo("", &message),
            self.tool("get-sum", &json!({ "a": number, "b": 1_000_000 }), sum),
            self.step(resource, body),
            self.prompt("", tag),
        ];
        if round != 2 {
            steps.push(self.progress(""));
        }
        // A child that has not asked before is not known to ask: were two sessions' calls to ask at once then, hub could
        // not tell whose is whose and would refuse both. So the first time only one does, among the others' calls.
        if round > 0 || session == session_name(CLIENTS[0], "everything", 0) {
            steps.extend(self.asks("", session, tag));
        }
        steps
    }

    fn echo(&mut self, prefix: &str, message: &str) -> Value {
        let back = Expected::Text(format!("Echo: {message}"));
        self.tool(&format!("{prefix}echo"), &json!({ "message": message }), back)
    }

    fn prompt(&mut self, prefix: &str, tag: &str) -> Value {
        let prompt = json!({ "op": "prompt", "name": format!("{prefix}args-prompt"), "arguments": { "city": tag } });
        self.step(prompt, Expected::Text(format!("What's weather in {tag}?")))
    }

    fn progress(&mut self, prefix: &str) -> Value {
        let name = format!("{prefix}trigger-long-running-operation");
        let done = "Long running operation completed. Duration: 0.2 seconds, Steps: 4.".to_owned();
        self.tool(&name, &json!({ "duration": 0.2, "steps": 4 }), Expected::Progress(done, vec![1, 2, 3, 4]))
    }

    /// Two calls during which the server asks the session, and whose results carry the session's own answers.
    fn asks(&mut self, prefix: &str, session: &str, tag: &str) -> [Value; 2] {
        let answer = format!("{session} was asked: Resource trigger-sampling-request context: {tag}");
        let sampled = Expected::Within(vec![answer, format!("model-of-{session}")]);
        let elicited = Expected::Within(vec![format!("- Name: {session}\n"), r#""action": "accept""#.to_owned()]);
        [
            self.tool(&format!("{prefix}trigger-sampling-request"), &json!({ "prompt": tag }), sampled),
            self.tool(&format!("{prefix}trigger-elicitation-request"), &json!({}), elicited),
        ]
    }

    /// Writes a file in each round and reads that of the round before.
    fn filesystem(&mut self, session: &str, tag: &str, round: usize) -> Vec<Value> {
        let path = |name: &str| format!("{}/{name}.txt", self.folder);
        let (write, told) = (path(tag), format!("Successfully wrote to {}", path(tag)));
        let before = round.checked_sub(1).map(|before| self::tag(session, before));
        let read = before.as_deref().map(path);
        let content = json!({ "path": write, "content": format!("{tag} wrote this") });
        let mut steps = vec![self.tool("write_file", &content, Expected::Text(told))];
        if let (Some(before), Some(path)) = (before, read) {
            let expected = Expected::Text(format!("{before} wrote this"));
            steps.push(self.tool("read_text_file", &json!({ "path": path }), expected));
        }
        let folder = json!({ "path": self.folder });
        let allowed = Expected::Within(vec![self.folder.clone()]);
        steps.push(self.tool("list_allowed_directories", &json!({}), allowed));
        steps.push(self.tool("list_directory", &folder, Expected::Within(vec!["[FILE] seed.txt".to_owned()])));
        steps
    }

    /// Reads what the test put there, and writes. What is written is not read back: the server loads and saves its
    /// whole graph for every write and loses some of those that overlap, with hub or without.
    fn memory(&mut self, tag: &str) -> Vec<Value> {
        let entity = |name: &str, observation: String| json!({ "name": name, "entityType": "tag", "observations": [observation] });
        let new = entity(&format!("{tag}-new"), format!("{tag} made this"));
        let seen = Expected::Structured("/entities", json!([entity(tag, observation(tag))]));
        let made = Expected::Structured("/entities", json!([new]));
        vec![
            self.tool("open_nodes", &json!({ "names": [tag] }), seen),
            self.tool("create_entities", &json!({ "entities": [new] }), made),
        ]
    }

    /// Tokyo is three and a half hours before Kolkata all year round.
    fn time(&mut self) -> Vec<Value> {
        const DAY: usize = 24 * 60;
        (0..2)
            .map(|_| {
                let minute = (self.steps * 7) % DAY;
                let there = (minute + DAY - 210) % DAY;
                let clock = |minute: usize| format!("{:02}:{:02}", minute / 60, minute % 60);
                let zones = ("Asia/Tokyo", "Asia/Kolkata");
                let arguments =
                    json!({ "source_timezone": zones.0, "time": clock(minute), "target_timezone": zones.1 });
                let within = vec![format!("T{}:00+09:00", clock(minute)), format!("T{}:00+05:30", clock(there))];
                self.tool("convert_time", &arguments, Expected::Within(within))
            })
            .collect()
    }

    fn git(&mut self, tag: &str) -> Vec<Value> {
        let repository = json!(self.repository);
        let show = json!({ "repo_path": repository, "revision": format!("HEAD:{tag}.txt") });
        let log = json!({ "repo_path": repository, "max_count": 1 });
        vec![
            self.tool("git_show", &show, Expected::Text(committed(tag))),
            self.tool("git_log", &log, Expected::Within(vec!["Every tag has a file".to_owned()])),
        ]
    }
}

/// The progress of each notification that came.
fn steps_told(result: &Value) -> Vec<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts, whole in what was sent")]
    let step = |entry: &Value| entry[0].as_f64().filter(|step| step.fract() == 0.0).map(|step| step as u64);
    result["progress"].as_array().into_iter().flatten().map(|entry| step(entry).unwrap_or_default()).collect()
}

fn brief(value: &impl std::fmt::Debug) -> String {
    let whole = format!("{value:?}");
    let cut = whole.char_indices().nth(600).map_or(whole.len(), |(at, _)| at);
    whole[..cut].to_owned()
}
