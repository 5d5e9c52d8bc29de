//! hub under a service manager: ready, alive, reloading, stopping, and sockets that outlive a restart.
//!
//! In: a hub that was started with `NOTIFY_SOCKET`. Out: what it told, and who could connect when. Owns its [`Manager`].
//! May not: need systemd.

use crate::support::{Fake, Hub, Manager, Setup, eventually, json, stays};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_millis(600);

fn managed(setup: Setup) -> (Hub, Manager) {
    let mut hub = Hub::prepare(setup);
    let manager = Manager::listen(hub.path("run/notify.sock"));
    let usec = WATCHDOG.as_micros().to_string();
    hub.setup = hub.setup.clone().env("NOTIFY_SOCKET", &manager.address()).env("WATCHDOG_USEC", &usec);
    (hub, manager)
}

fn name(port: u16) -> String {
    format!("tcp4-{port}")
}

#[test]
fn ready_after_all_listeners_and_alive_from_then_on() {
    let (mut hub, manager) = managed(Setup::of([Fake::new("a"), Fake::new("b")]).fixed_ports());
    hub.serve();
    let ports = [hub.all().addr.port(), hub.at("a").addr.port(), hub.at("b").addr.port()];
    manager.wait(0, "READY=1");
    manager.since(0, |told| {
        let ready = told.iter().position(|told| told.has("READY=1")).expect("told");
        for port in ports {
            let kept = told.iter().position(|told| told.value("FDNAME") == Some(&name(port))).expect("kept");
            assert!(kept < ready, "nobody is ready whose sockets could be lost: {told:#?}");
            assert!(told[kept].has("FDSTORE=1") && told[kept].has("FDPOLL=0"), "{told:#?}");
        }
    });
    manager.wait(0, "STATUS=2 of 2 servers ready");
    let mark = manager.mark();
    let beats = |from: usize| manager.since(from, |told| told.iter().filter(|told| told.has("WATCHDOG=1")).count());
    eventually("ten signs of life", || (beats(mark) >= 10).then_some(()));
    manager.since(mark, |told| {
        let at: Vec<_> = told.iter().filter(|told| told.has("WATCHDOG=1")).map(|told| told.at).collect();
        let mut pauses: Vec<_> = at.windows(2).map(|two| two[1] - two[0]).collect();
        pauses.sort();
        let median = pauses[pauses.len() / 2];
        assert!(median <= WATCHDOG * 2 / 3 && median >= WATCHDOG / 3, "half of the time: {pauses:?}");
    });

    // Who hangs is missed: the signs come from the task that does the work.
    hub.signal(Signal::SIGSTOP);
    let mark = manager.mark();
    stays("no sign of life", 3 * WATCHDOG, || beats(mark) <= 1);
    hub.signal(Signal::SIGCONT);
    eventually("it lives again", || (beats(mark) >= 3).then_some(()));

    let mark = manager.mark();
    assert!(hub.stop().success());
    manager.wait(mark, "STOPPING=1");
}

#[test]
fn what_the_manager_says_is_for_hub_alone() {
    let (mut hub, manager) = managed(Setup::one().fixed_ports());
    hub.serve();
    let (all, own) = (name(hub.all().addr.port()), name(hub.at("a").addr.port()));
    hub.stop();
    hub.spawn_as(manager.passing(&hub, [&all, &own]));
    hub.wait_ready();
    hub.wait_state("a", "ready");
    for proc in hub.processes().iter().filter(|proc| proc.pid != hub.pid()) {
        let environ = std::fs::read_to_string(format!("/proc/{}/environ", proc.pid)).unwrap_or_default();
        for secret in ["NOTIFY_SOCKET=", "WATCHDOG_USEC=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="] {
            assert!(!environ.contains(secret), "{proc:?} has {secret}");
        }
        let open = std::fs::read_dir(format!("/proc/{}/fd", proc.pid)).into_iter().flatten().flatten();
        let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        assert!(!open.iter().any(|target| target.to_string_lossy().starts_with("socket:")), "{proc:?} has {open:?}");
    }
}

/// Who connects while hub is away waits, and is answered by the next hub on the very same socket.
#[test]
fn nobody_is_refused_across_a_restart() {
    let (mut hub, manager) = managed(Setup::one().fixed_ports());
    hub.serve();
    let session = hub.session("a");
    let (target, all) = (hub.at("a"), hub.all());
    let names = [name(all.addr.port()), name(target.addr.port())];
    assert!(hub.stop().success());

    let mut waiting = TcpStream::connect(all.addr).expect("the backlog takes it");
    waiting.set_read_timeout(Some(crate::support::patience())).expect("a timeout");
    write!(waiting, "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", all.addr).expect("written");
    let call = std::thread::spawn(move || session.echo("asked while hub was away"));
    stays("it waits", Duration::from_millis(200), || !call.is_finished());

    let mark = manager.mark();
    hub.spawn_as(manager.passing(&hub, [&names[0], &names[1]]));
    hub.wait_ready();
    call.join().expect("it was answered");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    manager.wait(mark, "READY=1");
    manager.since(mark, |told| {
        let gone: Vec<_> =
            told.iter().filter(|told| told.has("FDSTOREREMOVE=1")).filter_map(|told| told.value("FDNAME")).collect();
        assert_eq!(gone, ["stranger"], "what is no socket of hub is let go, and nothing else");
    });
    assert_eq!(hub.at("a"), target);
    hub.session("a").echo("and so are new ones");

    // It was not told again, and is kept still.
    assert!(hub.stop().success());
    assert!(TcpStream::connect(target.addr).is_ok());
}

/// Sockets come and go with hub.toml; one that moves to another server is never shut.
#[test]
fn the_store_follows_the_configuration() {
    let (mut hub, manager) = managed(Setup::of([Fake::new("a"), Fake::new("b")]).fixed_ports());
    hub.serve();
    let (a, b) = (hub.at("a").addr.port(), hub.at("b").addr.port());
    let change = |hub: &Hub| {
        let mark = manager.mark();
        hub.write_config();
        hub.run(&["reload"]);
        mark
    };

    hub.setup.servers.remove(1);
    let mark = change(&hub);
    manager.since(mark, |told| {
        let reloading = told.iter().position(|told| told.has("RELOADING=1")).expect("told");
        let since: u64 = told[reloading].value("MONOTONIC_USEC").and_then(|usec| usec.parse().ok()).expect("a time");
        assert!(since > 0);
        assert!(told[reloading..].iter().any(|told| told.has("READY=1")), "{told:#?}");
    });
    assert!(manager.kept(&name(b)).is_none() && manager.kept(&name(a)).is_some());
    eventually("the port of B is free", || TcpStream::connect(("127.0.0.1", b)).is_err().then_some(()));

    let moved = Fake::new("c").key("port", &a.to_string());
    hub.setup.servers = vec![moved];
    let mark = change(&hub);
    hub.wait_state("c", "ready");
    assert_eq!(hub.at("c").addr.port(), a);
    manager.since(mark, |told| {
        let touched = told.iter().filter(|told| told.value("FDNAME") == Some(&name(a))).count();
        assert_eq!(touched, 0, "the socket stayed what it was: {told:#?}");
    });
    assert_eq!(hub.session("c").call("echo", &json!({"v": "on the port of A"})).text(), "on the port of A");

    // A file with a mistake changes nothing, and the manager hears that hub is done with it.
    hub.write_config_text("[hub\n");
    let mark = manager.mark();
    assert_eq!(hub.cli(&["reload"]).code, 78);
    manager.wait(mark, "READY=1");
}

/// A manager that does not read is as good as none.
#[test]
fn a_manager_that_hangs_hangs_nobody() {
    let mut hub = Hub::prepare(Setup::one());
    let path = hub.path("run/notify.sock");
    let unread = UnixDatagram::bind(&path).expect("a socket");
    hub.setup = hub.setup.clone().env("NOTIFY_SOCKET", &path.display().to_string()).env("WATCHDOG_USEC", "20000");
    hub.serve();
    // Its queue is full long since.
    let full = UnixDatagram::unbound().expect("a socket");
    full.set_nonblocking(true).expect("a flag");
    eventually("the queue is full", || full.send_to(b"x", &path).is_err().then_some(()));
    hub.session("a").echo("and hub serves");
    assert!(hub.stop().success());
    drop(unread);
}

/// `@` names a socket that has no file (sd_notify(3)).
#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket() {
    use std::os::linux::net::SocketAddrExt;
    let mut hub = Hub::prepare(Setup::one());
    let name = format!("hub-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    socket.set_read_timeout(Some(crate::support::patience())).expect("a timeout");
    hub.setup = hub.setup.clone().env("NOTIFY_SOCKET", &format!("@{name}"));
    hub.serve();
    let mut told = [0; 4096];
    while !told.starts_with(b"READY=1\n") {
        socket.recv(&mut told).expect("hub speaks");
    }
    assert!(hub.stop().success());
}
