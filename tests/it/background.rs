//! A daemon in the background: started once, whoever asks; gone when told; its output kept.
//!
//! In: `hub up`, `hub down`. Out: one daemon, or none and why. Owns nothing. May not: leave a daemon behind.

use crate::support::{Hub, Setup, Value, eventually, json, procs, systemd};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

fn daemon_pid(hub: &Hub) -> u32 {
    u32::try_from(hub.status()["hub"]["pid"].as_u64().expect("a pid")).expect("a pid")
}

fn down(hub: &Hub) {
    let output = hub.cli(&["down"]);
    assert_eq!(output.code, 0, "{output:?}");
    hub.wait_nothing_left(std::time::Duration::from_secs(5));
}

#[test]
fn up_outlives_its_starter_and_is_a_no_op_the_second_time() {
    let hub = Hub::prepare(Setup::one());
    let first = hub.run(&["up"]);
    let pid = daemon_pid(&hub);
    assert!(first.stdout.contains("hub is up"), "{first:?}");
    hub.wait_state("a", "ready");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if !stat.is_empty() {
        let session: u32 =
            stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(3)?.parse().ok()).expect("sid");
        assert_eq!(session, pid, "it has no terminal that could go away");
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("a folder");
        assert_eq!(cwd, hub.path("home"), "it keeps no folder busy");
    }
    let second = hub.run(&["up"]);
    assert!(second.stdout.contains("already"), "{second:?}");
    assert_eq!(daemon_pid(&hub), pid);
    let log = std::fs::metadata(hub.path("state/hub.log")).expect("a log");
    assert_eq!(log.permissions().mode() & 0o777, 0o600);
    down(&hub);
}

/// However many start it at once, there is one daemon, and all of them wait for it.
#[test]
fn many_starters_one_daemon() {
    let hub = Hub::prepare(Setup::one());
    let start = |_| hub.command().arg("up").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hub");
    let starters: Vec<_> = (0..12).map(start).collect();
    let ended: Vec<_> = starters.into_iter().map(|child| child.wait_with_output().expect("a child of ours")).collect();
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    for output in &ended {
        assert!(output.status.success(), "{output:?}");
    }
    let already = ended.iter().filter(|output| said(output).contains("already")).count();
    assert_eq!(already, 11, "one has started it: {ended:#?}");
    let log = std::fs::read_to_string(hub.path("state/hub.log")).expect("a log");
    assert_eq!(log.matches("ready http://").count(), 1, "{log}");
    assert!(!log.contains("another hub"), "{log}");
    down(&hub);
}

/// Who asks while the old daemon leaves gets a new one, not the promise of the old.
#[test]
fn up_while_it_goes_down() {
    let hub = Hub::prepare(Setup::one());
    hub.run(&["up"]);
    for _ in 0..5 {
        let before = daemon_pid(&hub);
        let farewells = hub.log().matches("stopping").count();
        procs::signal(before, nix::sys::signal::Signal::SIGTERM);
        eventually("it has begun to leave", || (hub.log().matches("stopping").count() > farewells).then_some(()));
        hub.run(&["up"]);
        let after = eventually("it answers", || {
            let output = hub.cli(&["status", "--json"]);
            (output.code == 0).then(|| output.json()["hub"]["pid"].clone())
        });
        assert_ne!(after, Value::from(before));
    }
    down(&hub);
}

#[test]
fn a_daemon_that_leaves_at_once_says_why() {
    let hub = Hub::prepare(Setup::one());
    hub.write_config_text("[hub]\nprot = 1\n");
    let bad = hub.cli(&["up"]);
    assert_eq!(bad.code, 78, "{bad:?}");
    assert!(bad.stderr.contains("prot") && bad.stderr.contains("hint: "), "{bad:?}");
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port();
    hub.write_config_text(&format!("[hub]\nport = {port}\n"));
    let refused = hub.cli(&["up"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("port {port} is taken")), "{refused:?}");
    assert!(!refused.stderr.contains("prot"), "only what this start wrote: {refused:?}");
}

/// What hub writes on stderr goes to a new file when the old one is large, and one older is kept.
#[test]
fn the_log_of_the_background_is_bounded() {
    let hub = Hub::prepare(Setup::one());
    hub.run(&["up"]);
    let (log, older) = (hub.path("state/hub.log"), hub.path("state/hub.log.1"));
    let filler = std::fs::File::options().append(true).open(&log).expect("a log");
    filler.set_len(6 << 20).expect("a long file");
    eventually("the file is moved away", || older.exists().then_some(()));
    hub.run(&["reload"]);
    down(&hub);
    let fresh = std::fs::read_to_string(&log).expect("a log");
    assert!(fresh.contains("stopping") && fresh.len() < 1 << 20, "{fresh}");
}

/// What its starter has open is not kept open: a lock of a script, a pipe whose end somebody waits for.
#[test]
fn nothing_of_its_starter_is_kept() {
    let hub = Hub::prepare(Setup::one());
    let mut up = std::process::Command::new("bash");
    let (binary, lock) = (crate::support::setup::hub_binary(), hub.path("lock"));
    up.arg("-c").arg("exec 7>\"$1\"; \"$0\" up").arg(binary).arg(&lock);
    up.envs(hub.command().get_envs().filter_map(|(name, value)| Some((name, value?))));
    up.stdout(Stdio::null()).stderr(Stdio::null());
    up.status().expect("bash");
    hub.wait_state("a", "ready");
    let pids: Vec<_> = hub.processes().iter().map(|proc| proc.pid).collect();
    assert!(pids.len() >= 2, "a daemon and its child");
    for pid in pids {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        assert!(!open.contains(&lock), "{pid} has {open:?}");
    }
    down(&hub);
}

/// Nor do children get what a foreground daemon was started with.
#[test]
fn children_get_nothing_that_is_open() {
    let mut hub = Hub::prepare(Setup::one());
    let lock = hub.path("lock");
    let mut serve = std::process::Command::new("bash");
    serve.arg("-c").arg("exec 7>\"$1\" 2>>\"$2\"; exec \"$0\" serve").arg(crate::support::setup::hub_binary());
    serve.arg(&lock).arg(hub.log_path());
    serve.env_clear().envs(hub.command().get_envs().filter_map(|(name, value)| Some((name, value?))));
    hub.spawn_as(serve);
    hub.wait_ready();
    hub.wait_state("a", "ready");
    for proc in hub.processes().iter().filter(|proc| proc.pid != hub.pid()) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", proc.pid)).into_iter().flatten().flatten();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        assert!(!open.contains(&lock), "{proc:?} has {open:?}");
    }
}

/// A client on the desktop has the PATH of the system; its servers get that of the login shell.
#[test]
fn a_poor_path_is_made_up_for() {
    let mut hub = Hub::prepare(Setup::one());
    systemd::install(&mut hub, "/home/me/.nvm/bin:/usr/bin");
    hub.setup.env.retain(|(name, _)| name != "PATH");
    hub.setup = hub.setup.clone().env("PATH", "/usr/bin:/bin");
    hub.run(&["up"]);
    let path = hub.session("a").call("env", &json!({"name": "PATH"})).text();
    assert_eq!(path, "/home/me/.nvm/bin:/usr/bin:/bin");
    down(&hub);
}
