//! No process is ever left behind, whatever dies first (DESIGN 2.5), and one daemon per folder.
//!
//! In: children that ignore everything, ends of every kind. Out: nothing alive. Owns nothing. May not: clean up for hub
//! before it has looked.

use crate::support::{Fake, Hub, Setup, Value, eventually, procs};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Closing stdin, then TERM, then KILL: the graces of limits.rs, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(9);

fn stubborn(name: &str) -> Fake {
    Fake::new(name).flag("--ignore-term").flag("--ignore-eof").arg("--grandchildren", 3)
}

#[test]
fn sigterm_with_stubborn_grandchildren() {
    let mut hub = Hub::start(Setup::of([stubborn("a"), Fake::new("polite")]));
    assert!(hub.processes().len() > 4 + 1, "{:#?}", hub.processes());
    let start = Instant::now();
    let status = hub.stop();
    assert!(status.success(), "{status}");
    hub.wait_nothing_left(GRACE.saturating_sub(start.elapsed()));
}

#[test]
fn sigkill_with_stubborn_grandchildren() {
    let mut hub = Hub::start(Setup::of([stubborn("a"), stubborn("b")]));
    assert!(hub.processes().len() > 8);
    hub.kill();
    hub.wait_nothing_left(Duration::from_secs(2));
}

/// A grandchild that left the group and the session is a process of ours all the same.
#[test]
fn grandchildren_that_leave_the_session() {
    for kill in [false, true] {
        let escaping = Fake::new("a").arg("--escapees", 2).flag("--ignore-term").flag("--ignore-eof");
        let mut hub = Hub::start(Setup::of([escaping]));
        assert!(hub.processes().len() > 3);
        if kill {
            hub.kill();
            hub.wait_nothing_left(Duration::from_secs(2));
        } else {
            hub.stop();
            hub.wait_nothing_left(GRACE);
        }
    }
}

/// The leader dies, its helpers hold the pipes: they go before the next generation comes.
#[test]
fn grandchildren_that_outlive_their_leader() {
    let fake = Fake::new("a").arg("--grandchildren", 2).key("restart", "{ initial = \"50ms\", max = \"1s\" }");
    let hub = Hub::start(Setup::of([fake]));
    let session = hub.session("a");
    let (pid, before) = (hub.child_pid("a"), hub.processes().len());
    procs::signal(pid, Signal::SIGKILL);
    // Not before the death was noticed: what is written to a dying child may have run, and is an error.
    eventually("the next generation", || hub.journal("a").starts().get(1).copied());
    session.echo("with the next generation");
    assert_ne!(hub.child_pid("a"), pid);
    eventually("only one generation lives", || (hub.processes().len() == before).then_some(()));
}

#[test]
fn hub_restarted_after_sigkill() {
    let mut hub = Hub::start(Setup::of([stubborn("a")]));
    hub.kill();
    hub.serve();
    hub.session("a").echo("a fresh start");
    eventually("one generation", || {
        let leaders = hub.processes().iter().filter(|proc| proc.command.contains("--tag a")).count();
        (leaders == 1).then_some(())
    });
}

/// A stop in the middle of a start, and two signals: no hang, nothing left.
#[test]
fn sigterm_while_starting() {
    let slow = Fake::new("a").arg("--ready-delay-ms", 60_000).flag("--ignore-term");
    let mut hub = Hub::start(Setup::of([slow]).impatient());
    eventually("the child has started", || hub.journal("a").starts().first().copied());
    hub.signal(Signal::SIGTERM);
    hub.signal(Signal::SIGTERM);
    hub.wait_exit();
    hub.wait_nothing_left(GRACE);
}

#[test]
fn second_daemon() {
    let hub = Hub::start(Setup::one());
    let start = Instant::now();
    let second = hub.cli(&["serve", "--config", &hub.config_path().display().to_string()]);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains("running") && second.stderr.contains(&hub.pid().to_string()), "{second:?}");
    assert!(!second.stdout.contains("ready"), "{second:?}");
    hub.session("a").echo("the first one is unharmed");
}

/// A socket file that a dead daemon left does not keep the next one out.
#[test]
fn stale_control_socket() {
    let mut hub = Hub::start(Setup::one());
    hub.kill();
    assert!(hub.path("state/hub.sock").exists());
    assert_eq!(hub.cli(&["status"]).code, 69);
    hub.serve();
    hub.session("a").echo("started");
}

#[test]
fn hub_port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let mut hub = Hub::prepare(Setup::one().hub_key("port", &port));
    hub.spawn();
    let status = hub.wait_exit();
    assert_eq!(status.code(), Some(1), "{}", hub.log());
    assert!(hub.log().contains(&port), "the error names the port: {}", hub.log());
    hub.wait_nothing_left(Duration::from_secs(5));
}

/// The port of one server is that server's trouble.
#[test]
fn server_port_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let hub = Hub::start(Setup::of([Fake::new("a").key("port", &port), Fake::new("b")]).impatient());
    hub.wait_state("b", "ready");
    hub.session("b").echo("unharmed");
    let failure = eventually("the failure in status", || {
        let failure = hub.server("a")["last_failure"].clone();
        failure.is_object().then_some(failure)
    });
    assert!(failure.to_string().contains(&port), "{failure}");
    // Readiness tells it as well: a client that is configured for that port is refused. Liveness stays.
    hub.wait_state("a", "ready");
    let number: u16 = port.parse().expect("a port");
    let (ready, alive) = (hub.hub_path("/readyz").get(), hub.hub_path("/healthz").get());
    assert_eq!((ready.status(), ready.json()["status"].as_str()), (503, Some("not_listening")), "{}", ready.text());
    assert_eq!((alive.status(), alive.json()["status"].as_str()), (200, Some("ok")), "{}", alive.text());
    let own = hub.hub_path("/servers/a/healthz").get();
    assert_eq!(own.status(), 200);
    for document in [ready.json(), alive.json(), own.json()] {
        let shut = &document["not_listening"];
        assert_eq!((shut[0]["server"].as_str(), &shut[0]["port"], &shut[1]), (Some("a"), &number.into(), &Value::Null));
        assert!(shut[0]["message"].as_str().is_some_and(|why| why.contains(&port)), "{document}");
    }
    drop(taken);
    eventually("hub has opened the port", || (hub.hub_path("/readyz").get().status() == 200).then_some(()));
    assert_eq!(hub.hub_path("/healthz").get().json()["not_listening"], Value::Array(Vec::new()));
    hub.session("a").echo("at its own port");
}

#[test]
fn state_folder_unwritable() {
    let mut hub = Hub::prepare(Setup::one());
    // Not a question of permissions, which root does not have: a file stands where the folder should be.
    std::fs::write(hub.path("in-the-way"), "").expect("a file");
    let state = hub.path("in-the-way/state").display().to_string();
    hub.setup.env.push(("HUB_STATE_DIR".into(), state.clone()));
    hub.spawn();
    let status = hub.wait_exit();
    assert_eq!(status.code(), Some(1), "{}", hub.log());
    assert!(hub.log().contains(&state), "the error names the folder: {}", hub.log());
    hub.wait_nothing_left(Duration::from_secs(5));
}

/// Folders 0700, files 0600 (DESIGN 3.1).
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let hub = Hub::start(Setup::one());
    hub.session("a").echo("some state");
    let mut folders = vec![hub.path("state")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let (path, meta) = (entry.path(), entry.metadata().expect("metadata"));
            let mode = meta.permissions().mode() & 0o777;
            seen += 1;
            if meta.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                folders.push(path);
            } else {
                assert_eq!(mode, 0o600, "{}", path.display());
            }
        }
    }
    assert!(seen > 0, "hub keeps its state in its folder");
}
