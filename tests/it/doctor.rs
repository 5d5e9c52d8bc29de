//! `hub doctor`: what is wrong is found, with a hint; and orphans are told from everybody else.
//!
//! In: things that are wrong on purpose, processes that are left behind on purpose. Out: findings; the end of exactly those
//! processes. Owns what it starts. May not: end, or be confused by, a process of another test.

use crate::support::hub::Output;
use crate::support::setup::fake_server;
use crate::support::{Fake, Hub, Setup, Value, eventually, json, procs, skipped, stays};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The findings but for those about orphans of this machine.
fn findings(hub: &Hub) -> (i32, Vec<Value>) {
    let output = hub.cli(&["doctor", "--json"]);
    let findings = output.json()["findings"].as_array().cloned().expect("a list");
    (output.code, findings.into_iter().filter(|finding| finding["about"] != "orphans").collect())
}

fn find(findings: &[Value], about: &str, level: &str) -> Value {
    let found = findings.iter().find(|finding| finding["about"] == about && finding["level"] == level);
    found.cloned().unwrap_or_else(|| panic!("no {level} about {about} in {findings:#?}"))
}

fn hint(finding: &Value) -> String {
    finding["hint"].as_str().unwrap_or_else(|| panic!("no hint in {finding}")).to_owned()
}

#[test]
fn all_is_well() {
    let hub = Hub::start(Setup::of([Fake::new("a"), Fake::new("b").lazy()]).impatient());
    hub.wait_state("a", "ready");
    std::fs::set_permissions(hub.config_path(), PermissionsExt::from_mode(0o600)).expect("a file");
    let (code, findings) = findings(&hub);
    assert_eq!(code, 0, "{findings:#?}");
    for about in ["config", "hub", "ports", "disk", "server a", "server b"] {
        find(&findings, about, "ok");
    }
    assert!(findings.iter().all(|finding| finding["level"] != "fail"), "{findings:#?}");
    let page = hub.run(&["doctor"]).stdout;
    assert!(page.contains("ok    server a: ready") && !page.contains('\u{1b}'), "{page}");
}

#[test]
fn servers_that_fail() {
    let hub = Hub::start(
        Setup::of([
            Fake::new("good"),
            Fake::new("missing").command("no-such-program-at-all", &[]),
            Fake::new("key").arg("--init-error", "BRAVE_API_KEY environment variable is required"),
            Fake::new("unset").key("env", "{ T = \"${NO_SUCH_VARIABLE_AT_ALL}\" }"),
            Fake::new("module").command("sh", &["-c", "echo \"ModuleNotFoundError: No module named 'x'\" >&2; exit 1"]),
            // As Node does: what happened, then where.
            Fake::new("trace").command(
                "sh",
                &[
                    "-c",
                    "echo \"Error: Cannot find module '/x/dist/index.js'\" >&2; seq 9 | sed 's/^/  at /' >&2; exit 1",
                ],
            ),
            Fake::new("file").key("env_file", "\"no-such.env\""),
            Fake::new("off").command("no-such-program-at-all", &[]).key("enabled", "false"),
        ])
        .impatient(),
    );
    hub.wait_state("good", "ready");
    for name in ["missing", "key", "module", "trace"] {
        eventually("a failure", || hub.server(name)["last_failure"].is_object().then_some(()));
    }
    let (code, findings) = findings(&hub);
    assert_eq!(code, 1);
    find(&findings, "server good", "ok");
    for (name, told) in [
        ("missing", "does not find the program"),
        ("key", "key or token"),
        ("unset", "env_file"),
        ("trace", "npm install"),
        ("file", "where hub.toml is"),
        ("module", "Python package"),
    ] {
        let finding = find(&findings, &format!("server {name}"), "fail");
        assert!(hint(&finding).contains(told), "{finding}");
    }
    let module = find(&findings, "server module", "fail");
    assert!(module["lines"].to_string().contains("No module named"), "the end of stderr: {module}");
    let trace = find(&findings, "server trace", "fail");
    assert!(trace["lines"][0].to_string().contains("Cannot find module"), "{trace}");
    let unset = find(&findings, "server unset", "fail");
    assert!(unset["what"].to_string().contains("NO_SUCH_VARIABLE_AT_ALL"), "{unset}");
    assert!(!findings.iter().any(|finding| finding["about"] == "server off"), "{findings:#?}");
    let page = hub.cli(&["doctor"]);
    assert_eq!(page.code, 1);
    assert!(page.stdout.contains("fail  server missing") && page.stderr.contains("things do not work"), "{page:?}");
}

#[test]
fn hub_and_its_surroundings() {
    let mut hub = Hub::prepare(Setup::one().fixed_ports());
    let text = std::fs::read_to_string(hub.config_path()).expect("a file");
    let port: u16 = text.lines().find_map(|line| line.strip_prefix("port = ")?.parse().ok()).expect("a port");
    let (code, before) = findings(&hub);
    assert_eq!(code, 1);
    assert!(hint(&find(&before, "hub", "fail")).contains("`hub up`"));
    find(&before, "ports", "ok");
    find(&before, "server a", "ok");
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("free");
    let taken = find(&findings(&hub).1, "ports", "fail");
    assert!(taken["what"].to_string().contains(&format!("port {port} of hub")), "{taken}");
    if cfg!(target_os = "linux") {
        assert!(taken["what"].to_string().contains(&format!("(pid {})", std::process::id())), "{taken}");
    }
    drop(listener);

    std::fs::set_permissions(hub.config_path(), PermissionsExt::from_mode(0o644)).expect("a file");
    std::fs::set_permissions(hub.path("state"), PermissionsExt::from_mode(0o755)).expect("a folder");
    let (_, open) = findings(&hub);
    assert!(hint(&find(&open, "config", "warn")).contains("chmod 600"));
    assert!(hint(&find(&open, "disk", "warn")).contains("chmod 700"));

    hub.serve();
    hub.write_config_text(&text.replace("[hub]", "[hub]\nprot = 1"));
    eventually("it was refused", || {
        let (_, refused) = findings(&hub);
        let about_hub = refused.iter().find(|finding| finding["about"] == "hub" && finding["level"] == "fail").cloned();
        about_hub.map(|finding| assert!(finding["what"].to_string().contains("prot"), "{finding}"))
    });
    assert!(hint(&find(&findings(&hub).1, "config", "fail")).contains("`hub check`"));

    // One that hangs does not make doctor hang.
    let pid = u32::try_from(hub.status()["hub"]["pid"].as_u64().expect("a pid")).expect("a pid");
    procs::signal(pid, Signal::SIGSTOP);
    let (_, silent) = findings(&hub);
    procs::signal(pid, Signal::SIGCONT);
    let silent = find(&silent, "hub", "fail");
    assert!(silent["what"].to_string().contains(&format!("(pid {pid}) runs, and does not answer")), "{silent}");
    hub.stop();
    std::fs::set_permissions(hub.config_path(), PermissionsExt::from_mode(0o666)).expect("a file");
    let (_, refused) = findings(&hub);
    assert!(hint(&find(&refused, "config", "fail")).contains("chmod 600"));
    assert!(!refused.iter().any(|finding| finding["about"] == "clients"), "it is said once: {refused:#?}");
    std::fs::remove_file(hub.config_path()).expect("a file");
    assert!(hint(&find(&findings(&hub).1, "config", "fail")).contains("`hub up`"));
}

/// A folder that the login shell has in its PATH, and the daemon has not.
#[test]
fn path_drift() {
    if !std::path::Path::new("/bin/bash").exists() {
        skipped("drift of PATH: there is no /bin/bash");
        return;
    }
    let hub = Hub::start(Setup::one().env("SHELL", "/bin/bash"));
    let folder = hub.path("home/bin");
    std::fs::create_dir(&folder).expect("a folder");
    find(&findings(&hub).1, "path", "ok");
    let profile = format!("export PATH=\"{}:$PATH\"\n", folder.display());
    for name in [".bash_profile", ".bashrc"] {
        std::fs::write(hub.path("home").join(name), &profile).expect("a file");
    }
    let drift = find(&findings(&hub).1, "path", "warn");
    assert!(drift["what"].to_string().contains(&folder.display().to_string()), "{drift}");
    assert!(hint(&drift).contains("hub service install"), "{drift}");
}

/// A client that still starts what hub runs.
#[test]
fn copies_of_clients() {
    let hub = Hub::start(Setup::of([Fake::new("a")]));
    let config = hub.run(&["status", "--json"]).json();
    let url = config["servers"][0]["url"].clone();
    let journal = hub.path("a.journal").display().to_string();
    let copy = json!({"command": fake_server().display().to_string(), "args": ["--tag", "a", "--journal", journal]});
    let entries = json!({"mcpServers": {"a": {"type": "http", "url": url}, "mine": copy}});
    std::fs::write(hub.path("home/.claude.json"), entries.to_string()).expect("a file");
    let (code, findings) = findings(&hub);
    assert_eq!(code, 0, "{findings:#?}");
    let warned = find(&findings, "clients", "warn");
    assert!(warned["what"].to_string().contains("`mine`") && hint(&warned).contains("`hub import`"), "{warned}");
    assert!(find(&findings, "clients", "ok")["what"].to_string().contains("Claude Code (1)"));
}

/// A client that started its servers before hub took them over, or does so still.
struct Client(std::process::Child);

impl Client {
    /// A shell by another name; its stdin, a pipe, is that of what it starts.
    fn starts(hub: &Hub, name: &str, env: &[(&str, &str)], words: &str) -> Self {
        let program = hub.path(name);
        if !program.exists() {
            let shell = std::fs::canonicalize("/bin/sh").expect("a shell");
            std::os::unix::fs::symlink(shell, &program).expect("a link");
        }
        let mut command = Command::new(&program);
        let known = hub.command();
        command.env_clear().envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(env.iter().copied()).current_dir(hub.path("home")).stdin(Stdio::piped()).stdout(Stdio::null());
        // Without `<&3` a shell gives a job in the background no stdin.
        command.args(["-c", &format!("exec 3<&0; {words} <&3 3<&- & wait")]);
        Self(command.spawn().expect("started"))
    }

    /// What npm has unpacked of a package, below a program that shows itself under this title.
    fn unpacked(hub: &Hub, title: &str, package: &str) -> Self {
        let modules = hub.path("home/.npm/_npx/1/node_modules");
        let (folder, program) = (modules.join(package), modules.join(".bin/copies"));
        if !program.exists() {
            std::fs::create_dir_all(modules.join(".bin")).expect("a folder");
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("run.sh"), "#!/bin/sh\nread line\n").expect("a file");
            std::fs::set_permissions(folder.join("run.sh"), PermissionsExt::from_mode(0o755)).expect("a file");
            std::os::unix::fs::symlink(format!("../{package}/run.sh"), &program).expect("a link");
        }
        let mut command = Command::new("sh");
        let known = hub.command();
        command.env_clear().envs(known.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg0(title).current_dir(hub.path("home")).stdin(Stdio::piped()).stdout(Stdio::null());
        command.args(["-c", &format!("exec 3<&0; {} stdio <&3 3<&- & wait", program.display())]);
        Self(command.spawn().expect("started"))
    }

    /// A program that shows itself as npm does: its title over the whole command line.
    fn titled(hub: &Hub, title: &str) -> Self {
        let mut command = Command::new("cat");
        command.arg0(title).current_dir(hub.path("home")).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().expect("started"))
    }
}

impl Drop for Client {
    /// The pipe is closed with it, at which what it started ends.
    fn drop(&mut self) {
        procs::signal(self.0.id(), Signal::SIGKILL);
        drop(self.0.stdin.take());
        self.0.wait().expect("reaped");
    }
}

/// What doctor says of copies of a server that run.
fn running_copies(hub: &Hub, server: &str) -> Vec<Value> {
    let (_, findings) = findings(hub);
    let copies = findings.iter().filter_map(|finding| finding["copies"].as_array()).flatten();
    copies.filter(|copy| copy["server"] == server).cloned().collect()
}

/// The page about two copies of `a` and one of `b`, by what the files of their clients say.
fn what_is_told_of_copies(hub: &Hub, package: &str) {
    let (code, _) = findings(hub);
    assert_eq!(code, 0, "they are no failure");
    let page = hub.run(&["doctor"]).stdout;
    for said in ["2 copies of `a`", "1 copy of `b`", "started by claude (pid", "if claude or editor is an AI client"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(!page.contains("s3cret"), "{page}");
    // Of one whose config leads through hub more is known.
    let url = hub.run(&["status", "--json"]).json()["servers"][0]["url"].clone();
    let entry = json!({"type": "http", "url": url});
    std::fs::write(hub.path("home/.claude.json"), json!({"mcpServers": {"a": entry}}).to_string()).expect("a file");
    let page = hub.run(&["doctor"]).stdout;
    for said in ["restart claude: it runs what", "if editor is an AI client"] {
        assert!(page.contains(said), "{said}: {page}");
    }
    // A file that still starts it: there is more to do than to restart.
    let entry = json!({"command": "npx", "args": ["-y", package, "stdio"]});
    std::fs::write(hub.path("home/.claude.json"), json!({"mcpServers": {"mine": entry}}).to_string()).expect("a file");
    let page = hub.run(&["doctor"]).stdout;
    assert!(page.contains("`hub import` moves what still starts it: Claude Code ("), "{page}");
}

/// What runs beside hub's own: by its command line, in whatever form it shows itself, and by nothing less.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
fn copies_that_run() {
    let package = format!("@test/copies-mcp@{}", std::process::id());
    let hub = Hub::start(
        Setup::of([
            Fake::new("a").arg("--tag", "s3cret-of-a").key("env", "{ ACCOUNT = \"work\" }"),
            Fake::new("b").command("npx", &["-y", &package, "stdio"]).lazy(),
        ])
        .impatient(),
    );
    hub.wait_state("a", "ready");
    assert_eq!(running_copies(&hub, "a"), Vec::<Value>::new(), "hub's own is none");
    let server =
        format!("{} --tag a --tag s3cret-of-a --journal {}", fake_server().display(), hub.path("a.journal").display());
    // Other arguments, another account, a command that only has these words in it.
    let _others = [
        Client::starts(&hub, "claude", &[("ACCOUNT", "work")], &format!("{server} --tag more")),
        Client::starts(&hub, "claude", &[("ACCOUNT", "home")], &server),
        Client::starts(&hub, "claude", &[], &server),
        // An entry that has one variable more than hub's.
        Client::starts(&hub, "claude", &[("ACCOUNT", "work")], &format!("env OTHER_TOKEN=x {server}")),
        Client::titled(&hub, &format!("npm exec {package}")),
        Client::titled(&hub, &format!("npm exec {package} stdio more")),
    ];
    let client = Client::starts(&hub, "claude", &[("ACCOUNT", "work")], &server);
    // Through a shell, as some editors do.
    let editor = Client::starts(&hub, "editor", &[("ACCOUNT", "work")], &format!("sh -c '{server}; true'"));
    let titled = Client::titled(&hub, &format!("npm exec {package} stdio"));

    let copies = eventually("both copies are seen", || {
        let copies = running_copies(&hub, "a");
        (copies.len() == 2).then_some(copies)
    });
    for (client, name) in [(&client, "claude"), (&editor, "editor")] {
        let copy = copies.iter().find(|copy| copy["client"]["name"] == name);
        let copy = copy.unwrap_or_else(|| panic!("none of {name} in {copies:?}"));
        assert_eq!(copy["client"]["pid"], client.0.id());
        assert!(copy["rss_bytes"].as_u64() > Some(1 << 20) && copy["processes"] == 1, "{copy}");
        assert!(copy["age_seconds"].as_u64() < Some(60), "{copy}");
    }
    assert!(copies.iter().all(|copy| copy["pid"] != hub.child_pid("a")), "{copies:?}");
    let of_npx = running_copies(&hub, "b");
    assert_eq!((of_npx.len(), &of_npx[0]["pid"]), (1, &titled.0.id().into()), "{of_npx:?}");
    assert_eq!(of_npx[0]["client"]["pid"], std::process::id(), "{of_npx:?}");

    what_is_told_of_copies(&hub, &package);

    // Without its client it is an orphan, and no copy that a restart of somebody would end.
    let mut client = client;
    let left = copies.iter().find(|copy| copy["client"]["name"] == "claude").expect("seen")["pid"].clone();
    let pipe = client.0.stdin.take();
    procs::signal(client.0.id(), Signal::SIGKILL);
    client.0.wait().expect("reaped");
    let copies = running_copies(&hub, "a");
    assert!(copies.len() == 1 && copies[0]["client"]["name"] == "editor", "{copies:?}");
    assert!(procs::is_alive(u32::try_from(left.as_u64().expect("a pid")).expect("a pid")));
    drop((pipe, client, editor, titled));
    eventually("nobody has one", || (running_copies(&hub, "a").is_empty()).then_some(()));
}

/// What a runner has unpacked says nothing of the version: that of the runner above it counts.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
fn copies_of_other_versions() {
    let package = format!("@test/copies-{}", std::process::id());
    let hub = Hub::prepare(Setup::of([Fake::new("b").command("npx", &["-y", &format!("{package}@1.0.0"), "stdio"])]));
    let other = Client::unpacked(&hub, &format!("npm exec {package}@2.0.0 stdio"), &package);
    eventually("it runs", || (procs::tree(other.0.id(), &hub.processes()).len() > 1).then_some(()));
    stays("another version is no copy", Duration::from_millis(200), || running_copies(&hub, "b").is_empty());
    let alone = Client::unpacked(&hub, "claude", &package);
    let copies = eventually("the copy is seen", || {
        let copies = running_copies(&hub, "b");
        (!copies.is_empty()).then_some(copies)
    });
    assert_eq!((copies.len(), &copies[0]["client"]["pid"]), (1, &alone.0.id().into()), "{copies:?}");
}

/// A process that was left behind: a stand-in for a server, whose parent and whose client are gone.
struct Left {
    pid: u32,
    /// The other end of its stdin.
    writer: Option<std::os::fd::OwnedFd>,
}

impl Left {
    /// `env` and the words of a command; its stdin is a pipe.
    fn behind(hub: &Hub, env: &[(&str, &str)], words: &str) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        Self::reading((reader.into(), writer.into()), hub, env, words)
    }

    /// As programs on Node start it: its stdin is one end of a pair of sockets.
    fn behind_socket(hub: &Hub, env: &[(&str, &str)], words: &str) -> Self {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair().expect("a pair");
        Self::reading((theirs.into(), ours.into()), hub, env, words)
    }

    fn reading(
        ends: (std::os::fd::OwnedFd, std::os::fd::OwnedFd),
        hub: &Hub,
        env: &[(&str, &str)],
        words: &str,
    ) -> Self {
        let (reader, writer) = ends;
        let command = hub.command();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.envs(env.iter().copied()).stdin(reader).stdout(Stdio::piped());
        // A shell gives a job in the background no stdin unless it is told to.
        shell.args(["-c", &format!("exec 3<&0; {words} <&3 3<&- >/dev/null 2>&1 & echo $!")]);
        let mut shell = shell.spawn().expect("started");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("a pid");
        shell.wait().expect("reaped");
        Self { pid: line.trim().parse().expect("a pid"), writer: Some(writer) }
    }

    fn listed(&self, hub: &Hub) -> Option<Value> {
        let listed = hub.run(&["doctor", "--orphans", "--json"]).json();
        listed["orphans"].as_array().expect("a list").iter().find(|orphan| orphan["pid"] == self.pid).cloned()
    }

    fn is_listed(&self, hub: &Hub) -> bool {
        self.listed(hub).is_some()
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        procs::signal(self.pid, Signal::SIGKILL);
    }
}

fn kill(hub: &Hub, more: &[&str], left: &Left) -> Output {
    let pid = left.pid.to_string();
    hub.cli(&[&["doctor", "--orphans", "--kill"], more, &[&pid]].concat())
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
fn orphans() {
    let hub = Hub::start(Setup::one());
    // It reads no stdin, so it does not notice that its client is gone.
    let server = "sh -c \"trap '' TERM; while :; do sleep 1; done\" /x/mcp-server-forgotten --token s3cret-value-of-mine \
                  MCP_TOKEN=s3cret-mcp 'npm exec mcp-remote https://mcp.x/sse?api_key=s3cret'";
    let mut left = Left::behind(&hub, &[("CLAUDE_PROJECT_DIR", "/x")], server);
    assert!(!left.is_listed(&hub), "somebody has the other end of its pipe");
    left.writer = None;
    eventually("it is listed", || left.is_listed(&hub).then_some(()));
    let page = hub.run(&["doctor", "--orphans", &left.pid.to_string()]).stdout;
    assert!(page.contains("mcp-server-forgotten") && page.contains("CLAUDE_PROJECT_DIR"), "{page}");
    let listed = left.listed(&hub).expect("listed").to_string();
    assert!(!page.contains("s3cret") && !listed.contains("s3cret"), "{page}{listed}");
    // One whose client has left it is all that is told of a secret with `mcp` in it.
    let told = "sh -c \"while :; do sleep 1; done\" --mcp-token=s3cret-of-mcp-1 s3cret-of-mcp-2";
    let mut secret = Left::behind(&hub, &[], told);
    secret.writer = None;
    let listed = eventually("it is listed", || secret.listed(&hub)).to_string();
    let page = hub.run(&["doctor", "--orphans", &secret.pid.to_string()]).stdout;
    assert!(!page.contains("s3cret") && !listed.contains("s3cret"), "{page}{listed}");
    // Same looks, but not left behind: no MCP name, a hub's own, one that reads from nothing.
    let mut others = [
        Left::behind(&hub, &[], "sh -c \"while :; do sleep 1; done\" something-else"),
        Left::behind(&hub, &[("HUB_RUN", "x")], "sh -c \"while :; do sleep 1; done\" mcp-server-of-a-hub"),
    ];
    others.iter_mut().for_each(|other| other.writer = None);
    stays("others are not listed", Duration::from_millis(200), || !others.iter().any(|other| other.is_listed(&hub)));
    let child = hub.child_pid("a");
    let listed = hub.run(&["doctor", "--orphans", "--json"]).json();
    assert!(!listed["orphans"].as_array().expect("a list").iter().any(|orphan| orphan["pid"] == child));

    // Nothing is ended without a yes; then only what was named, with what it started.
    let unasked = kill(&hub, &[], &left);
    assert_eq!(unasked.code, 1, "{unasked:?}");
    assert!(unasked.stderr.contains("nothing was ended") && procs::is_alive(left.pid), "{unasked:?}");
    let wrong = kill(&hub, &["--yes"], &others[0]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stderr.contains("no MCP server that was left behind"), "{wrong:?}");
    let below = procs::tree(left.pid, &hub.processes());
    let ended = kill(&hub, &["--yes"], &left);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("ended 1 server"), "{ended:?}");
    assert!(below.iter().all(|pid| !procs::is_alive(*pid)), "with all that it started");
    assert!(others.iter().all(|other| procs::is_alive(other.pid)) && procs::is_alive(child));
    hub.session("a").echo("untouched");
}

/// Clients on Node speak to their servers through sockets: whether somebody still has the other end is seen there, too.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /proc")]
fn orphans_behind_sockets() {
    let hub = Hub::prepare(Setup::one());
    let server = "sh -c \"while :; do sleep 1; done\" /x/mcp-server-behind-a-socket";
    let mut left = Left::behind_socket(&hub, &[], server);
    stays("its client lives", Duration::from_millis(200), || !left.is_listed(&hub));
    left.writer = None;
    let orphan = eventually("it is listed", || left.listed(&hub));
    assert_eq!(orphan["certain"], true, "{orphan}");
    let page = hub.run(&["doctor", "--orphans", &left.pid.to_string()]).stdout;
    assert!(page.contains("mcp-server-behind") && !page.contains('?'), "{page}");
    let ended = kill(&hub, &["--yes"], &left);
    assert!(ended.code == 0 && !procs::is_alive(left.pid), "{ended:?}");

    // One that cannot be judged is shown, and ended only by its number: here the other end is of no local socket.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let theirs = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (ours, _) = listener.accept().expect("accepted");
    let left = Left::reading((theirs.into(), ours.into()), &hub, &[], server);
    let orphan = eventually("it is listed", || left.listed(&hub));
    assert_eq!(orphan["certain"], false, "{orphan}");
    let page = hub.run(&["doctor", "--orphans", &left.pid.to_string()]).stdout;
    assert!(page.contains("? ") && page.contains("cannot be seen whether their client lives"), "{page}");
    assert!(!page.contains("left behind,"), "it is not counted: {page}");
}
