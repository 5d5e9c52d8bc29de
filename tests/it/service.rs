//! `hub service`, and what `up` and `down` do where there is one.
//!
//! In: verbs, a scripted `systemctl`. Out: a unit, a daemon under it, or neither. Owns nothing. May not: touch the service
//! manager of whoever runs the tests.

use crate::support::systemd::{self, calls, unit};
use crate::support::{Fake, Hub, Setup, Value, skipped};
use std::process::Command;
use std::time::Duration;

const PATH: &str = "/home/me/.nvm/bin:/opt/100% \"my\" tools:/usr/bin:/bin";

fn prepared() -> Hub {
    let a = Fake::new("a").key("env", "{ TOKEN = \"${TOKEN_OF_THE_TERMINAL:-none}\" }");
    let mut hub = Hub::prepare(Setup::of([a]).env("TOKEN_OF_THE_TERMINAL", "s3cret"));
    systemd::install(&mut hub, PATH);
    hub
}

fn daemon(hub: &Hub) -> u32 {
    u32::try_from(hub.status()["hub"]["pid"].as_u64().expect("a pid")).expect("a pid")
}

fn service(hub: &Hub) -> Value {
    hub.run(&["service", "status", "--json"]).json()
}

#[test]
fn install_status_uninstall() {
    let hub = prepared();
    assert_eq!(service(&hub)["installed"], false);
    assert!(hub.run(&["service", "status"]).stdout.contains("hub service install"));
    let installed = hub.run(&["service", "install"]);
    for said in ["login-shell", "+ /home/me/.nvm/bin", "/usr/bin", "starts at every login"] {
        assert!(installed.stdout.contains(said), "{said}: {installed:?}");
    }
    assert!(!installed.stdout.contains("+ /usr/bin"), "systemd looks there itself: {installed:?}");
    assert!(
        installed.stderr.contains("TOKEN_OF_THE_TERMINAL") && !installed.stderr.contains("s3cret"),
        "{installed:?}"
    );
    let text = std::fs::read_to_string(unit(&hub)).expect("a unit");
    assert!(text.contains("Type=notify") && !text.contains("s3cret"), "{text}");
    let shown = service(&hub);
    assert_eq!(systemd::pid(&hub), Some(daemon(&hub)));
    assert_eq!(shown["pid"], Value::from(daemon(&hub)));
    assert_eq!((&shown["installed"], &shown["enabled"], &shown["running"]), (&true.into(), &true.into(), &true.into()));
    assert_eq!(shown["path"], PATH);
    let environ = std::fs::read_to_string(format!("/proc/{}/environ", daemon(&hub))).unwrap_or_default();
    assert!(environ.is_empty() || environ.contains("PATH=/home/me/.nvm/bin:"), "{environ}");

    let removed = hub.run(&["service", "uninstall"]);
    assert!(removed.stdout.contains("is gone"), "{removed:?}");
    hub.wait_nothing_left(Duration::from_secs(5));
    assert!(!hub.path("config/xdg/systemd").exists(), "the folders that it made are gone, too");
    assert_eq!(service(&hub)["installed"], false);
    assert!(hub.run(&["service", "uninstall"]).stdout.contains("nothing to remove"));
}

/// `down` stops the service so that it is not restarted, and `up` starts it again instead of another.
#[test]
fn up_and_down_use_the_service() {
    let hub = prepared();
    hub.run(&["up"]);
    let first = daemon(&hub);
    let installed = hub.run(&["service", "install"]);
    assert!(installed.stdout.contains("in the background was stopped"), "{installed:?}");
    assert_ne!(daemon(&hub), first);
    assert!(hub.run(&["up"]).stdout.contains("already"));

    let down = hub.run(&["down"]);
    assert!(calls(&hub).contains("stop hub.service"), "{}", calls(&hub));
    assert!(down.stdout.contains("next login") && down.stdout.contains(&unit(&hub).display().to_string()), "{down:?}");
    hub.wait_nothing_left(Duration::from_secs(5));
    hub.run(&["up"]);
    assert_eq!(systemd::pid(&hub), Some(daemon(&hub)), "it runs under the manager");
    hub.run(&["service", "install"]);
    hub.run(&["down"]);
    hub.run(&["service", "uninstall"]);
}

#[test]
fn without_a_manager_nothing_is_left_behind() {
    let hub = prepared();
    std::fs::write(hub.path("systemd/silent"), "").expect("a file");
    let refused = hub.cli(&["service", "install"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for said in ["No medium found", "--no-start", "hub up"] {
        assert!(refused.stderr.contains(said), "{said}: {refused:?}");
    }
    assert!(!hub.path("config/xdg/systemd").exists());
    // A background hub needs no manager.
    hub.run(&["up"]);
    let written = hub.run(&["service", "install", "--no-start"]);
    assert!(written.stdout.contains("enable --now"), "{written:?}");
    assert!(unit(&hub).exists() && systemd::pid(&hub).is_none());
    hub.run(&["down"]);
    hub.run(&["service", "uninstall"]);
    assert!(!unit(&hub).exists());
}

/// What fails half-way puts everything back, the hub in the background included.
#[test]
fn a_failed_install_puts_everything_back() {
    let hub = prepared();
    hub.run(&["up"]);
    std::fs::write(hub.path("systemd/broken"), "").expect("a file");
    let failed = hub.cli(&["service", "install"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("Job for hub.service failed") && failed.stderr.contains("as it was"), "{failed:?}");
    assert!(!unit(&hub).exists());
    assert!(systemd::pid(&hub).is_none());
    daemon(&hub);
    hub.run(&["down"]);
    std::fs::create_dir_all(unit(&hub).parent().expect("a folder")).expect("a folder");
    std::fs::write(unit(&hub), "[Service]\nExecStart=/usr/bin/git-hub\n").expect("a file");
    for args in [&["service", "install"][..], &["service", "uninstall"]] {
        let foreign = hub.cli(args);
        assert_eq!(foreign.code, 1, "{foreign:?}");
        assert!(foreign.stderr.contains("was not written by hub"), "{foreign:?}");
    }
    assert!(std::fs::read_to_string(unit(&hub)).expect("a unit").contains("git-hub"));
}

/// A shell that hangs costs five seconds, and the PATH of the terminal is used and said to be so.
#[test]
fn a_hanging_shell() {
    let hub = prepared();
    std::fs::write(hub.path("bin/login-shell"), "#!/bin/sh\nsleep 600 & sleep 600\n").expect("a file");
    let written = hub.run(&["service", "install", "--no-start"]);
    assert!(written.stdout.contains("within 5 s") && written.stdout.contains("of this terminal"), "{written:?}");
    hub.wait_nothing_left(Duration::from_secs(5));
    let text = std::fs::read_to_string(unit(&hub)).expect("a unit");
    assert!(text.contains(&format!("Environment=\"PATH={}", hub.path("bin").display())), "{text}");
}

#[test]
fn the_unit_passes_systemd_analyze() {
    let mut hub = prepared();
    // The program by a path that needs every escape there is.
    let odd = hub.path("bin/odd 100% $HOME {dir}; #1");
    std::fs::create_dir_all(&odd).expect("a folder");
    std::os::unix::fs::symlink(crate::support::setup::hub_binary(), odd.join("hub")).expect("a link");
    let path = hub.setup.env.iter_mut().find(|(name, _)| name == "PATH").expect("set");
    path.1 = format!("{}:{}", odd.display(), path.1);
    hub.run(&["service", "install", "--no-start"]);
    let text = std::fs::read_to_string(unit(&hub)).expect("a unit");
    assert!(text.contains("odd 100%%"), "{text}");
    let verify = Command::new("systemd-analyze")
        .args(["--user", "verify"])
        .arg(unit(&hub))
        .env("XDG_RUNTIME_DIR", hub.path("run"))
        .output();
    let Ok(verify) = verify else {
        skipped("the unit is not verified: there is no systemd-analyze (scripts/test-env installs it)");
        return;
    };
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(verify.status.success() && said.is_empty(), "{said}\n{text}");
    // It does look: a unit with a mistake does not pass.
    std::fs::write(unit(&hub), text.replace("Type=notify", "Typ=notify")).expect("a file");
    let verify = Command::new("systemd-analyze")
        .args(["--user", "verify"])
        .arg(unit(&hub))
        .env("XDG_RUNTIME_DIR", hub.path("run"))
        .output();
    assert!(String::from_utf8_lossy(&verify.expect("it ran").stderr).contains("Typ"));
}
