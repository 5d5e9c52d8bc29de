//! Five published servers behind one hub, shared by eight sessions each of three published clients.
//!
//! In: the pinned packages. Out: every value checked, one process tree per server throughout, `hub status` held against
//! `/proc`. State: a private home. May not: take hub's word for what runs.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::{Driver, PATIENCE, perform_round};
use crate::env::TestEnv;
use crate::hub::{Hub, endpoint, server, servers};
use crate::plan::{CLIENTS, Plan, ROUNDS, SERVERS, SESSIONS, committed, observation, session_name, tags};
use crate::processes::{MARK, Process, eventually, family};

/// How far resident memory may have moved between hub's look and ours.
const RSS_TOLERANCE: f64 = 0.15;

#[test]
fn five_published_servers_are_shared_by_three_published_clients() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let world = World::lay(&env, home.path());
    let since = tokio::time::Instant::now();
    let reached = |what: &str| eprintln!("{what} after {:.1?}", since.elapsed());
    let hub = Hub::start(&env, home, &world.config);
    let status = hub.all_ready(PATIENCE);
    reached("all servers ready");
    let roots = world.roots();
    let watch = Watch::start(world.clone(), roots.clone());

    let mut plan = Plan::new(&world.folder, &world.repository);
    let mut clients: Vec<Driver> = CLIENTS
        .iter()
        .map(|client| Driver::start(client, &env, &hub, &plan.job(client, |name| endpoint(&status, name))))
        .collect();
    let versions: Vec<Value> = clients.iter().map(|client| client.expect("opened", PATIENCE)).collect();
    let with_session = versions.iter().flat_map(|opened| opened.as_object().unwrap().iter());
    // Only the revisions up to 2025-11-25 have sessions; a modern client has none to count.
    let sessions = count_by_server(with_session.filter(|(_, version)| version.as_str() <= Some("2025-11-25")));
    reached("all sessions open");
    status_agrees_with_proc(&hub, &world, &roots, &sessions);

    for round in 0..ROUNDS {
        perform_round(&mut clients, round, &mut plan, &hub);
    }
    assert_eq!(plan.missing(), Vec::<&str>::new(), "every step of every session had its result");
    status_agrees_with_proc(&hub, &world, &roots, &sessions);

    for mut client in clients {
        client.send(&json!({ "close": true }));
        asked_only_its_own(&client.expect("closed", PATIENCE));
        client.finish(PATIENCE);
    }
    reached("all sessions closed");
    status_agrees_with_proc(&hub, &world, &roots, &HashMap::new());
    watch.end();
    hub.stop();
    reached("hub stopped");
    for name in SERVERS {
        assert_eq!(world.family(name).members, [], "{name} outlived hub");
    }
}

/// The files, the repository and the configuration that the servers work on.
#[derive(Clone)]
pub struct World {
    folder: std::path::PathBuf,
    repository: std::path::PathBuf,
    /// The `[servers.*]` part of hub.toml.
    pub config: String,
    mark: String,
}

impl World {
    /// Lays everything out in `home`.
    pub fn lay(env: &TestEnv, home: &Path) -> Self {
        let home = home.canonicalize().unwrap();
        let folder = home.join("files");
        let repository = home.join("repository");
        let memory = home.join("memory.jsonl");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("seed.txt"), "seed").unwrap();
        let entity = |tag: String| {
            let observations = [observation(&tag)];
            json!({ "type": "entity", "name": tag, "entityType": "tag", "observations": observations }).to_string()
        };
        fs::write(&memory, tags("memory").map(entity).collect::<Vec<_>>().join("\n")).unwrap();
        commit_every_tag(env, &home, &repository);
        let mark = format!("{}-{}", std::process::id(), home.file_name().unwrap().to_string_lossy());
        let config = configuration(env, &folder, &repository, &memory, &mark);
        Self { folder, repository, config, mark }
    }

    /// What runs of one server now.
    pub fn family(&self, name: &str) -> crate::processes::Family {
        family(&format!("{}-{name}", self.mark))
    }

    /// The one root process of each server.
    pub fn roots(&self) -> HashMap<&'static str, Process> {
        let root = |name| match self.family(name).roots()[..] {
            [root] => root.clone(),
            ref roots => panic!("{name} has not one process tree but {roots:?}"),
        };
        SERVERS.into_iter().map(|name| (name, root(name))).collect()
    }
}

/// hub.toml. The filesystem server runs under `npx`, so that its tree is npx, a shell and Node, as with most people.
fn configuration(env: &TestEnv, folder: &Path, repository: &Path, memory: &Path, mark: &str) -> String {
    let text = |path: &Path| json!(path.to_str().expect("UTF-8")).to_string();
    let program = |name: &str| text(&env.npm_program(name));
    let python = |name: &str| text(&env.python_program("mcp2", name));
    let entry = |name: &str, command: String, args: &[String], more: &str| {
        let args = args.join(", ");
        format!(
            "[servers.{name}]\ncommand = {command}\nargs = [{args}]\n{more}\
             [servers.{name}.env]\n{MARK} = \"{mark}-{name}\"\nPYTHONDONTWRITEBYTECODE = \"1\"\n"
        )
    };
    let quoted = |word: &str| json!(word).to_string();
    let npx = ["--offline", "--no", "--", "mcp-server-filesystem"].map(quoted);
    let npx: Vec<String> = npx.into_iter().chain([text(folder)]).collect();
    [
        entry("everything", program("mcp-server-everything"), &[], ""),
        entry("filesystem", quoted("npx"), &npx, &format!("cwd = {}\n", text(&env.npm()))),
        format!("{}MEMORY_FILE_PATH = {}\n", entry("memory", program("mcp-server-memory"), &[], ""), text(memory)),
        entry("time", python("mcp-server-time"), &[quoted("--local-timezone"), quoted("Etc/UTC")], ""),
        entry("git", python("mcp-server-git"), &[quoted("--repository"), text(repository)], ""),
    ]
    .join("\n")
}

/// A repository with one commit that has a file for each tag.
fn commit_every_tag(env: &TestEnv, home: &Path, repository: &Path) {
    fs::create_dir(repository).unwrap();
    for tag in tags("git") {
        fs::write(repository.join(format!("{tag}.txt")), committed(&tag)).unwrap();
    }
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=hub", "-c", "user.email=hub@example.invalid", "-c", "commit.gpgsign=false"];
        let mut command: Command = env.command(Path::new("git"), home);
        let output = command.arg("-C").arg(repository).args(identity).args(arguments).output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "Every tag has a file"]);
}

/// No session was shown a question that another session's call caused.
fn asked_only_its_own(closed: &Value) {
    for (session, asked) in closed.as_object().unwrap() {
        let asked = asked.as_array().unwrap();
        let form = "Please provide inputs for the following fields:";
        let (forms, prompts): (Vec<_>, Vec<_>) = asked.iter().partition(|question| **question == form);
        for prompt in &prompts {
            assert!(prompt.as_str().unwrap().contains(&format!("context: {session}-round")), "{session}: {prompt}");
        }
        let first = usize::from(*session == session_name(CLIENTS[0], "everything", 0));
        let times = if session.contains("-everything-") { ROUNDS - 1 + first } else { 0 };
        assert_eq!((prompts.len(), forms.len()), (times, times), "{session} was asked {asked:?}");
    }
}

fn count_by_server<'a>(sessions: impl Iterator<Item = (&'a String, &'a Value)>) -> HashMap<&'static str, usize> {
    let mut counts = HashMap::new();
    for (session, _) in sessions {
        let name = SERVERS.into_iter().find(|name| session.contains(&format!("-{name}-"))).unwrap();
        *counts.entry(name).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count <= CLIENTS.len() * SESSIONS), "{counts:?}");
    counts
}

/// `hub status --json` against `/proc`, when nothing is in flight. Hub looks at its children at intervals, so the two
/// may differ for a moment, but not for long.
fn status_agrees_with_proc(
    hub: &Hub,
    world: &World,
    roots: &HashMap<&'static str, Process>,
    sessions: &HashMap<&'static str, usize>,
) {
    eventually(Duration::from_secs(30), || {
        let status = hub.status();
        for name in SERVERS {
            let told = server(&status, name);
            let seen = world.family(name);
            let sessions = sessions.get(name).copied().unwrap_or_default();
            let facts = [
                ("state", told["state"].clone(), json!("ready")),
                ("instances", json!(told["instances"].as_array().map(Vec::len)), json!(1)),
                ("pid", told["instances"][0]["pid"].clone(), json!(roots[name].pid)),
                ("processes", told["processes"].clone(), json!(seen.members.len())),
                ("processes of the instance", told["instances"][0]["processes"].clone(), json!(seen.members.len())),
                ("sessions", told["sessions"].clone(), json!(sessions)),
                ("in_flight", told["in_flight"].clone(), json!(0)),
                ("errors", told["errors"].clone(), json!(0)),
                ("restarts", told["restarts"].clone(), json!(0)),
                ("last_failure", told["last_failure"].clone(), Value::Null),
            ];
            for (what, hub_says, proc_says) in facts {
                if hub_says != proc_says {
                    return Err(format!("{name}: {what} is {proc_says}, status says {hub_says} of {seen:#?}"));
                }
            }
            close_enough(name, told["rss_bytes"].as_f64(), seen.rss_bytes())?;
            if told["pss_bytes"].as_u64().is_none_or(|pss| pss == 0 || Some(pss) > told["rss_bytes"].as_u64()) {
                return Err(format!("{name}: pss {} of rss {}", told["pss_bytes"], told["rss_bytes"]));
            }
        }
        totals_add_up(&status)
    });
}

fn close_enough(name: &str, told: Option<f64>, seen: u64) -> Result<(), String> {
    #[expect(clippy::cast_precision_loss, reason = "a tolerance of per cents")]
    let seen = seen as f64;
    match told {
        Some(told) if (told - seen).abs() <= seen * RSS_TOLERANCE => Ok(()),
        _ => Err(format!("{name}: rss is {seen}, status says {told:?}")),
    }
}

fn totals_add_up(status: &Value) -> Result<(), String> {
    for member in ["processes", "rss_bytes", "pss_bytes", "sessions"] {
        let sum: u64 = servers(status).map(|server| server[member].as_u64().unwrap_or_default()).sum();
        if status["totals"][member] != sum {
            return Err(format!("the {member} of the servers are {sum}, totals say {}", status["totals"][member]));
        }
    }
    let ready = json!([status["totals"]["servers"], status["totals"]["ready"]]);
    if ready == json!([5, 5]) { Ok(()) } else { Err(format!("totals: {}", status["totals"])) }
}

/// Looks all the time whether each server still is one tree with the same root.
struct Watch {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<u32, String>>,
}

impl Watch {
    fn start(world: World, roots: HashMap<&'static str, Process>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !seen_over.load(Ordering::Relaxed) {
                for name in SERVERS {
                    looks += 1;
                    one_tree(&world, name, &roots[name])?;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(looks)
        });
        Self { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        let looks = self.thread.join().unwrap().unwrap_or_else(|what| panic!("{what}"));
        assert!(looks > 50, "only {looks} looks");
    }
}

/// A process may be read while its parent ends, and then looks like a root for a moment: only what stays so counts.
fn one_tree(world: &World, name: &str, root: &Process) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..5 {
        let family = world.family(name);
        match family.roots()[..] {
            [one] if (one.pid, one.started) == (root.pid, root.started) => return Ok(()),
            ref roots => last = format!("{name}: expected the one tree of {root:?}, found {roots:?}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(last)
}
