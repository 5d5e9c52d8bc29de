//! Imports and undos that are killed: every file is whole, and undo goes back.
//!
//! In: many files of clients. Out: what they hold after SIGKILL at random moments. Owns the processes it kills. May not:
//! pass without having hit the time in which files are written.

use crate::support::user::{Tree, User, differences};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Projects with a file each, so that writing takes long enough to be hit.
const PROJECTS: usize = 24;
const KILLS: u32 = 60;
const KILLS_OF_UNDO: u32 = 30;

fn crowd() -> User {
    let user = User::new();
    let mut folders = Vec::new();
    for n in 0..PROJECTS {
        let file = format!(
            "{{\n  \"mcpServers\": {{\n    \"s{n}\": {{\"command\": \"npx\", \"args\": [\"s{n}\"]}}\n  }}\n}}\n"
        );
        user.write(&format!("projects/p{n:02}/.mcp.json"), file.as_bytes());
        folders.push(format!(
            "{:?}: {{\"hasTrustDialogAccepted\": true, \"enabledMcpjsonServers\": [\"s{n}\"]}}",
            user.path(&format!("projects/p{n:02}")).display().to_string()
        ));
    }
    user.write("home/.claude.json", format!("{{\"projects\": {{{}}}}}\n", folders.join(", ")).as_bytes());
    // Asked once for each file; the real one would take most of the time.
    std::fs::remove_file(user.path("bin/git")).expect("a link");
    user
}

/// When a process is killed.
enum Moment {
    /// This long after its start.
    After(Duration),
    /// This long after a path was made or replaced.
    Seen(PathBuf, Duration),
}

/// Runs a verb and kills it.
fn killed(user: &User, args: &[&str], moment: Moment) {
    let inode = |path: &Path| std::fs::symlink_metadata(path).ok().map(|found| found.ino());
    let before = if let Moment::Seen(path, _) = &moment { inode(path) } else { None };
    let mut command = user.command();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("hub can be started");
    let delay = match moment {
        Moment::After(delay) => delay,
        Moment::Seen(path, delay) => {
            while inode(&path) == before && child.try_wait().expect("a child of ours").is_none() {
                std::hint::spin_loop();
            }
            delay
        }
    };
    let start = Instant::now();
    while start.elapsed() < delay {
        std::hint::spin_loop();
    }
    // It may have ended already.
    drop(child.kill());
    child.wait().expect("a child of ours");
}

/// A third of the kills at any time, a third while backups are made, a third while files are written.
fn moment(user: &User, n: u32, whole: Duration) -> Moment {
    let file = (n as usize * 7) % PROJECTS;
    match n % 3 {
        0 => Moment::After(whole.mul_f64(spread(n) * 1.2)),
        1 => Moment::Seen(user.path("state/backups"), whole.mul_f64(spread(n) / 2.0)),
        _ => Moment::Seen(
            user.path(&format!("projects/p{file:02}/.mcp.json")),
            Duration::from_millis(3).mul_f64(spread(n)),
        ),
    }
}

/// How long a verb takes when nobody kills it.
fn duration(user: &User, args: &[&str]) -> Duration {
    let start = Instant::now();
    user.run(args);
    start.elapsed()
}

/// Files that hold neither what they held before nor what they shall hold.
fn torn(before: &Tree, moved: &Tree, now: &Tree) -> Vec<PathBuf> {
    let files = before.keys().filter(|path| !path.starts_with("state"));
    files.filter(|path| now.get(*path) != before.get(*path) && now.get(*path) != moved.get(*path)).cloned().collect()
}

/// Numbers that are spread evenly over 0..1 and the same in every run.
fn spread(n: u32) -> f64 {
    (f64::from(n) * 0.618_033_988_75).fract()
}

#[test]
fn import_killed_at_any_moment() {
    let user = crowd();
    let before = user.tree();
    let whole = duration(&user, &["import", "--yes"]);
    let moved = user.tree();
    user.run(&["undo"]);
    assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new());

    let (mut untouched, mut between, mut complete) = (0, 0, 0);
    for n in 0..KILLS {
        killed(&user, &["import", "--yes"], moment(&user, n, whole));
        let now = user.tree();
        assert_eq!(torn(&before, &moved, &now), Vec::<PathBuf>::new(), "kill {n}");
        let is_new = |path: &&PathBuf| now.get(*path) == moved.get(*path) && before.get(*path) != moved.get(*path);
        let count = before.keys().filter(is_new).count();
        let all = differences(&before, &moved).into_iter().filter(|path| !path.starts_with("state")).count();
        match count {
            0 => untouched += 1,
            count if count < all => between += 1,
            _ => complete += 1,
        }
        if count > 0 {
            assert_eq!(now[Path::new("hub/hub.toml")], moved[Path::new("hub/hub.toml")], "hub.toml comes first");
        }
        user.run(&["check"]);
        user.run(&["undo"]);
        assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new(), "undo after kill {n}");
    }
    eprintln!(
        "of {KILLS} kills in {whole:?}: {untouched} before, {between} while files were written, {complete} after"
    );
    assert!(between >= KILLS / 6, "only {between} kills hit the writing");
}

#[test]
fn undo_killed_at_any_moment() {
    let user = crowd();
    let before = user.tree();
    user.run(&["import", "--yes"]);
    let moved = user.tree();
    let whole = duration(&user, &["undo"]);
    let mut between = 0;
    for n in 0..KILLS_OF_UNDO {
        user.run(&["import", "--yes"]);
        killed(&user, &["undo"], moment(&user, n, whole));
        let now = user.tree();
        assert_eq!(torn(&before, &moved, &now), Vec::<PathBuf>::new(), "kill {n}");
        let back =
            before.keys().filter(|path| now.get(*path) == before.get(*path) && before.get(*path) != moved.get(*path));
        between += u32::from((1..=PROJECTS).contains(&back.count()));
        user.run(&["undo"]);
        assert_eq!(differences(&before, &user.tree()), Vec::<PathBuf>::new(), "undo after kill {n}");
    }
    eprintln!("of {KILLS_OF_UNDO} kills in {whole:?}: {between} while files were written");
    assert!(between >= KILLS_OF_UNDO / 6, "only {between} kills hit the writing");
}
