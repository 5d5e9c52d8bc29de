//! The control socket from both ends.
//!
//! In: a desk without children. Out: what the client understands. Each test owns its socket in a private folder. May not:
//! touch the user's own socket.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::client::{Client, Error};
use super::proto::{About, Done, Refused, Status, Tools};
use super::{Command, Desk, Facts, serve};
use crate::config::ServerName;
use crate::limits;
use crate::platform::sockets::ControlSocket;
use crate::server::registry::{NotRunning, Registered};
use crate::server::usage::Meter;
use crate::server::{Registry, State};
use crate::session::{self, Sessions};
use crate::tasks::Scope;

struct Daemon {
    client: Client,
    commands: mpsc::Receiver<Command>,
    tasks: Scope,
    folder: tempfile::TempDir,
}

fn daemon() -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hub.sock");
    let name = ServerName::new("github").expect("a name");
    let server = Registered { name, port: 1, handle: Err(NotRunning::Disabled), listen_failure: None };
    let facts = Facts {
        started_at: SystemTime::now(),
        config: "/c/hub.toml".into(),
        url: "http://127.0.0.1:18900".into(),
        run_id: "run".into(),
        ready: true,
        config_error: None,
    };
    let tasks = Scope::new();
    let (sender, commands) = mpsc::channel(1);
    let desk = Desk {
        registry: watch::channel(Arc::new(Registry::new(vec![server]))).1,
        facts: watch::channel(Arc::new(facts)).1,
        sessions: Sessions::new(session::Options::default(), None, tasks.child()),
        meter: Meter::new("run"),
        commands: sender,
    };
    let socket = ControlSocket::bind(&path).expect("binds");
    drop(tasks.spawn("control", serve::run(socket, desk, tasks.stopping().clone())));
    Daemon { client: Client::new(&path), commands, tasks, folder }
}

#[tokio::test]
async fn status_and_tools_travel_whole() {
    let daemon = daemon();
    let status: Status = daemon.client.get("/v1/status").await.expect("a status");
    assert_eq!((status.servers[0].name.as_str(), status.servers[0].state), ("github", State::Disabled));
    assert_eq!(status.hub.pid, std::process::id());
    let about: About = daemon.client.get("/v1/about").await.expect("known at once");
    assert_eq!(
        (about.url.as_str(), about.servers[0].url.as_str()),
        ("http://127.0.0.1:18900", "http://127.0.0.1:1/mcp")
    );
    assert_eq!((about.servers[0].state, about.servers[0].tools), (State::Disabled, None));
    let tools: Tools = daemon.client.get("/v1/tools").await.expect("tools");
    assert!(tools.servers[0].tools.is_none(), "never listed is not the same as none");
    assert!(daemon.tasks.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn commands_reach_the_supervisor_and_its_words_come_back() {
    let mut daemon = daemon();
    let supervisor = async {
        match daemon.commands.recv().await {
            Some(Command::SetEnabled { name, enabled, reply }) => {
                assert_eq!((name.as_str(), enabled), ("github", true));
                reply.send(Ok(vec!["github is enabled".into()])).expect("somebody waits");
            }
            other => unreachable!("{other:?}"),
        }
        match daemon.commands.recv().await {
            Some(Command::Reload { reply }) => reply.send(Err("hub.toml:3: no".into())).expect("somebody waits"),
            other => unreachable!("{other:?}"),
        }
    };
    let person = async {
        let done: Done = daemon.client.post("/v1/servers/github/enable", Bytes::new()).await.expect("done");
        assert_eq!(done.lines, ["github is enabled"]);
        let refused = daemon.client.post::<Done>("/v1/reload", Bytes::new()).await.expect_err("refused");
        assert_eq!(refused.to_string(), "hub.toml:3: no");
    };
    tokio::join!(supervisor, person);
}

#[tokio::test]
async fn mistakes_come_with_a_hint() {
    let daemon = daemon();
    let refused = |error| match error {
        Error::Refused(refused) => refused,
        other => unreachable!("{other:?}"),
    };
    let Refused { error, hint } =
        refused(daemon.client.post::<Done>("/v1/servers/gihub/restart", Bytes::new()).await.expect_err("unknown"));
    assert_eq!(error, "there is no server `gihub` in hub.toml");
    assert_eq!(hint.as_deref(), Some("did you mean `github`?"));
    let unknown = refused(daemon.client.get::<Done>("/v2/status").await.expect_err("another version"));
    assert!(unknown.hint.is_some_and(|hint| hint.contains("version")));
    let call = Bytes::from_static(br#"{"server":"github","tool":"x","arguments":{}}"#);
    let down = refused(daemon.client.post::<Done>("/v1/call", call).await.expect_err("disabled"));
    assert_eq!(down.error, "the server `github` does not run: it is disabled");
}

#[tokio::test]
async fn idle_connections_lock_nobody_out() {
    let daemon = daemon();
    let path = daemon.folder.path().join("hub.sock");
    let mut idle = Vec::new();
    for _ in 0..400 {
        idle.push(tokio::net::UnixStream::connect(&path).await.expect("connects"));
    }
    // Well below the time after which an idle one is closed anyway.
    let asked = daemon.client.get::<Status>("/v1/status");
    let status = tokio::time::timeout(limits::HEADER_READ / 2, asked).await.expect("in time").expect("a status");
    assert_eq!(status.servers.len(), 1);
    drop(idle);
}

#[tokio::test]
async fn nobody_there_is_an_error_of_its_own() {
    let nowhere = Client::new(Path::new("/nonexistent/hub.sock"));
    assert!(matches!(nowhere.get::<Status>("/v1/status").await, Err(Error::NotRunning { .. })));
    let folder = tempfile::tempdir().expect("a folder");
    let stale = folder.path().join("hub.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("binds"));
    assert!(matches!(Client::new(&stale).get::<Status>("/v1/status").await, Err(Error::NotRunning { .. })));
}
