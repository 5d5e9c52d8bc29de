//! The service under systemd itself: a user manager of its own, with private folders.
//!
//! In: verbs, signals. Out: a hub that the manager starts, reloads, starts again and stops, unnoticed by its clients. Owns
//! the manager. May not: reach the manager of whoever runs the tests.
//!
//! Not part of every run: `systemd --user` wants a machine booted with systemd (`/run/systemd/system` is there) and a
//! control group that it may use. `cargo nextest run --run-ignored only -E 'test(under_systemd)'` runs it.

use crate::support::{Fake, Hub, Setup, eventually, patience, procs};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A user manager, ended with its services when dropped.
struct Manager<'a> {
    hub: &'a Hub,
    process: Child,
}

impl<'a> Manager<'a> {
    fn start(hub: &'a Hub) -> Self {
        let program =
            ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].into_iter().find(|path| Path::new(path).exists());
        let program = program.expect("systemd is installed");
        let log = std::fs::File::create(hub.path("systemd.log")).expect("a log");
        let mut command = Command::new(program);
        command.args(["--user", "--log-target=console"]).env_clear().envs(hub.command().get_envs().filter_map(
            |(name, value)| {
                // What a login gives it; the rest has to be in the unit.
                let is_given = ["HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HUB_IT_MARK", "HUB_TEST_RUN"];
                Some((name, value?)).filter(|_| is_given.iter().any(|given| name == *given))
            },
        ));
        let process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it can be started");
        let manager = Self { hub, process };
        eventually("the manager answers", || {
            manager.ask(&["show", "--property=Version"]).contains("Version=").then_some(())
        });
        manager
    }

    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new("systemctl");
        command.arg("--user").args(args).env("XDG_RUNTIME_DIR", self.hub.path("run")).stdin(Stdio::null());
        String::from_utf8_lossy(&command.output().expect("systemctl can be started").stdout).into_owned()
    }

    /// A property of the service.
    fn show(&self, property: &str) -> String {
        let shown = self.ask(&["show", "hub.service", "--value", "--property", property]);
        shown.trim().to_owned()
    }

    fn pid(&self) -> u32 {
        self.show("MainPID").parse().expect("a pid")
    }

    /// Waits for a hub that is not `old`.
    fn wait_started_again(&self, old: u32) {
        eventually("another hub is ready", || {
            (self.show("ActiveState") == "active" && ![0, old].contains(&self.pid())).then_some(())
        });
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        procs::signal(self.process.id(), Signal::SIGTERM);
        let start = Instant::now();
        while start.elapsed() < patience() && self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Reaped in any case; an error says that it was.
        drop(self.process.kill());
        let ended = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.hub.path("systemd.log")).unwrap_or_default();
            eprintln!("--- the manager ended with {ended:?}, and had said:\n{log}");
        }
    }
}

#[test]
#[ignore = "needs a machine booted with systemd and a control group for a second user manager"]
fn a_service_under_systemd_itself() {
    let mut hub = Hub::prepare(Setup::of([Fake::new("a")]).fixed_ports());
    let config = hub.path("config/xdg").display().to_string();
    hub.setup.env.push(("XDG_CONFIG_HOME".to_owned(), config));
    let hub = hub;
    let manager = Manager::start(&hub);

    let installed = hub.run(&["service", "install"]);
    assert!(installed.stdout.contains("starts at every login"), "{installed:?}");
    assert_eq!((manager.show("ActiveState"), manager.show("UnitFileState")), ("active".into(), "enabled".into()));
    let service = hub.run(&["service", "status", "--json"]).json();
    assert_eq!(service["pid"], manager.pid());
    assert!(hub.run(&["up"]).stdout.contains("already"));
    hub.wait_state("a", "ready");
    let session = hub.session("a");
    session.echo("before");

    // A crash: the same session goes on, on the same sockets, which the manager kept.
    let first = manager.pid();
    procs::signal(first, Signal::SIGKILL);
    session.echo("a call while nobody is there waits for the next hub");
    manager.wait_started_again(first);
    assert_eq!(manager.show("NRestarts"), "1");
    eventually("both sockets are with the manager", || (manager.show("NFileDescriptorStore") == "2").then_some(()));

    let second = manager.pid();
    manager.ask(&["restart", "hub.service"]);
    session.echo("after a restart");
    manager.wait_started_again(second);

    // Reload is synchronous: RELOADING=1, then READY=1.
    let mut wanted = hub.setup.clone();
    wanted.servers.push(Fake::new("b"));
    hub.write_config_text(&wanted.toml(hub.dir.path()));
    manager.ask(&["reload", "hub.service"]);
    assert_eq!(manager.show("ActiveState"), "active");
    hub.wait_state("b", "ready");
    eventually("the manager is told how many are ready", || {
        manager.show("StatusText").starts_with("2 of 2 servers ready").then_some(())
    });

    // One that hangs is found by the watchdog.
    let drop_in = hub.path("config/xdg/systemd/user/hub.service.d");
    std::fs::create_dir_all(&drop_in).expect("a folder");
    std::fs::write(drop_in.join("watchdog.conf"), "[Service]\nWatchdogSec=2\n").expect("a file");
    manager.ask(&["daemon-reload"]);
    manager.ask(&["restart", "hub.service"]);
    let hanging = manager.pid();
    procs::signal(hanging, Signal::SIGSTOP);
    manager.wait_started_again(hanging);
    session.echo("after the watchdog");
    std::fs::remove_dir_all(&drop_in).expect("ours");

    // `down` is not a crash, and `up` uses the service.
    hub.run(&["down"]);
    assert_eq!(manager.show("ActiveState"), "inactive");
    hub.run(&["up"]);
    let service = hub.run(&["service", "status", "--json"]).json();
    assert_eq!(service["pid"], manager.pid());
    hub.run(&["service", "uninstall"]);
    assert_eq!(manager.show("LoadState"), "not-found");
    drop(manager);
    hub.wait_nothing_left(Duration::from_secs(10));
}
