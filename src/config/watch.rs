//! Noticing that hub.toml changed, or a file that it names.
//!
//! In: its path, the text that was loaded, the files that were read for it. Out: "look again" on a queue of one. The task owns the watcher and what it saw
//! last. May not: judge the text (who looks again reads and judges it), or filter changes by kind: editors save by rename,
//! by truncation, through links, and each system tells it otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::file::{self, Files};
use crate::limits::{CONFIG_BLANK_WAIT, CONFIG_DEBOUNCE, CONFIG_POLL};
use crate::tasks::Scope;

/// Longest chain of links that is followed, as in the kernel.
const LINKS_MAX: usize = 40;

/// Starts to watch. `loaded` is the text that is in force; none when there was no usable one. The receiver gets `()` when
/// the file, or the reason why it cannot be read, is no longer what was last seen, or one of `files` is no longer what
/// was read. Ends with `scope`.
pub fn watch(
    scope: &Scope,
    path: PathBuf,
    loaded: Option<String>,
    files: watch::Receiver<Files>,
) -> mpsc::Receiver<()> {
    let (tell, told) = mpsc::channel(1);
    let stopping = scope.stopping().clone();
    let task = async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = run(path, loaded, files, tell) => {}
        }
    };
    drop(scope.spawn("config watch", task));
    told
}

async fn run(path: PathBuf, loaded: Option<String>, mut files: watch::Receiver<Files>, tell: mpsc::Sender<()>) {
    let (notice, mut notices) = mpsc::channel(1);
    let mut looker = Looker::new(path, loaded, notice);
    looker.files = files.borrow_and_update().clone();
    let mut poll = interval(CONFIG_POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let noticed = tokio::select! {
            Some(()) = notices.recv() => true,
            _ = poll.tick() => false,
            // hub.toml was read again: it may name others, in folders that are not watched yet.
            Ok(()) = files.changed() => {
                looker.files = files.borrow_and_update().clone();
                looker.stamps.clear();
                false
            }
            () = tell.closed() => return,
        };
        if noticed {
            settle(&mut notices).await;
        }
        let Some((mut back, changed)) = look(looker, noticed).await else {
            return;
        };
        if changed && back.is_blank() {
            // Some editors empty the file first. Taken at its word, that would stop every server.
            sleep(CONFIG_BLANK_WAIT).await;
            let Some((again, _)) = look(back, true).await else {
                return;
            };
            back = again;
        }
        looker = back;
        if changed {
            // A full queue already says it.
            let _ = tell.try_send(());
        }
    }
}

/// Looks, off the runtime's threads.
async fn look(mut looker: Looker, noticed: bool) -> Option<(Looker, bool)> {
    let looked = tokio::task::spawn_blocking(move || {
        let changed = looker.look(noticed);
        (looker, changed)
    });
    let looked = looked.await.ok();
    if looked.is_none() {
        tracing::error!("watching the config file failed: changes need `hub reload`");
    }
    looked
}

/// Waits until the folder is quiet, but not for ever: others may write there all the time.
async fn settle(notices: &mut mpsc::Receiver<()>) {
    let patience = Instant::now() + 10 * CONFIG_DEBOUNCE;
    loop {
        let quiet = Instant::now() + CONFIG_DEBOUNCE;
        match timeout_at(quiet.min(patience), notices.recv()).await {
            Ok(Some(())) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// A file or folder without its content: which one it is, and when it was touched.
type Stamp = (u64, u64, u64, i64, i64, u32);

/// The blocking half: watches folders, reads the file.
struct Looker {
    path: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// Folders under watch, by device and number: a folder that was made anew must be watched anew.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    complained: bool,
    stamp: Option<Stamp>,
    seen: Result<String, String>,
    /// What hub.toml names, as it was read, or as it was seen since.
    files: Files,
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

// === impl Looker ===

impl Looker {
    fn new(path: PathBuf, loaded: Option<String>, notice: mpsc::Sender<()>) -> Self {
        let watcher = notify::recommended_watcher(move |event| {
            if may_change(&event) {
                // A full queue already says it.
                let _ = notice.try_send(());
            }
        });
        let seen = loaded.ok_or_else(String::new);
        let (watched, complained, stamp) = (BTreeMap::new(), false, None);
        let (files, stamps) = (Files::new(), BTreeMap::new());
        let mut looker = Self { path, watcher: None, watched, complained, stamp, seen, files, stamps };
        match watcher {
            Ok(watcher) => looker.watcher = Some(watcher),
            Err(error) => looker.complain(&error),
        }
        looker
    }

    /// Whether any file is no longer what was seen last. Without a notice the content is read only if the stamp differs.
    fn look(&mut self, noticed: bool) -> bool {
        let surely = self.follow() || noticed;
        let (own, named) = (self.look_at_own(surely), self.look_at_named(surely));
        own || named
    }

    fn look_at_named(&mut self, surely: bool) -> bool {
        let mut changed = false;
        self.stamps.retain(|path, _| self.files.contains_key(path));
        for (path, seen) in &mut self.files {
            let metadata = std::fs::metadata(path).ok();
            let now = metadata.as_ref().map(stamp);
            let known = self.stamps.insert(path.clone(), now);
            // A pipe would block, and its content is gone once read.
            let is_readable = metadata.is_none_or(|metadata| metadata.is_file());
            if is_readable && (surely || known != Some(now)) {
                // A secret that is gone is being replaced: its server runs on with what was read.
                let Some(found) = file::fingerprint(path) else { continue };
                changed |= seen.replace(found) != Some(found);
            }
        }
        changed
    }

    fn look_at_own(&mut self, surely: bool) -> bool {
        let metadata = std::fs::metadata(&self.path).ok();
        let stamp = metadata.as_ref().map(stamp);
        if !surely && stamp.is_some() && stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        // A pipe would block, and its content is gone once read.
        let now = match metadata {
            Some(metadata) if !metadata.is_file() => Err("not a file".to_owned()),
            _ => file::read(&self.path).map_err(|error| error.to_string()),
        };
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    fn is_blank(&self) -> bool {
        self.seen.as_ref().is_ok_and(|text| text.trim().is_empty())
    }

    /// Watches the folders that matter now. Gives whether any is new, in which case notices may have been missed.
    fn follow(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let wanted: BTreeSet<PathBuf> = self.files.keys().chain([&self.path]).flat_map(|path| folders(path)).collect();
        let identity = |folder: &Path| std::fs::metadata(folder).ok().map(|found| (found.dev(), found.ino()));
        self.watched.retain(|folder, id| {
            let stays = wanted.contains(folder) && identity(folder) == Some(*id);
            if !stays {
                // Its folder may be gone, and the watch with it.
                drop(watcher.unwatch(folder));
            }
            stays
        });
        let (mut any_new, mut trouble) = (false, None);
        for folder in wanted {
            let Some(id) = identity(&folder).filter(|_| !self.watched.contains_key(&folder)) else {
                continue;
            };
            match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    any_new = true;
                    self.watched.insert(folder, id);
                }
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(error) = trouble {
            self.complain(&error);
        }
        any_new
    }

    fn complain(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            let seconds = CONFIG_POLL.as_secs();
            tracing::warn!(%error, "the config folder cannot be watched: changes are noticed every {seconds} s only");
        }
    }
}

/// Everything may be a change but an access: looking opens the file, which inotify reports, and hub would look for ever.
fn may_change(event: &notify::Result<notify::Event>) -> bool {
    match event.as_ref().map(|event| event.kind) {
        Ok(EventKind::Access(access)) => access == AccessKind::Close(AccessMode::Write),
        Ok(_) | Err(_) => true,
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec(), metadata.mode())
}

/// The folder of the file, and of every file on its chain of links: changing any of them changes what is read.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let target = std::fs::read_link(&path).ok().map(|target| folder.join(target));
        // Links among the folders themselves (as in mounted config maps) are swapped where the first of them lies.
        for above in folder.ancestors().filter(|above| above.is_symlink()) {
            folders.extend(above.parent().map(Path::to_owned));
        }
        folders.insert(folder);
        match target {
            Some(target) => path = target,
            None => break,
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Fixture {
        dir: tempfile::TempDir,
        path: PathBuf,
        scope: Scope,
        files: watch::Sender<Files>,
        told: mpsc::Receiver<()>,
    }

    impl Fixture {
        /// Watches hub.toml, made by `prepare` in a private folder, and waits until it is watched indeed.
        async fn new(prepare: impl Fn(&Path) -> PathBuf) -> Self {
            let dir = tempfile::tempdir().expect("tempdir");
            let path = prepare(dir.path());
            let scope = Scope::new();
            // A text that differs from the file's makes the first look speak.
            let (files, names) = watch::channel(Files::new());
            let told = watch(&scope, path.clone(), Some("before".to_owned()), names);
            let mut fixture = Self { dir, path, scope, files, told };
            fixture.looks().await;
            fixture
        }

        async fn looks(&mut self) {
            let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
            assert_eq!(told, Ok(Some(())), "nothing was noticed");
        }

        async fn end(self) {
            assert!(self.scope.stop(PATIENCE).await);
        }
    }

    fn save(path: &Path, text: &str) {
        fs::write(path, text).expect("write");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    fn save_by_rename(path: &Path, text: &str) {
        let other = path.with_extension("swp");
        save(&other, text);
        fs::rename(other, path).expect("rename");
    }

    fn plain(dir: &Path) -> PathBuf {
        save(&dir.join("hub.toml"), "one");
        dir.join("hub.toml")
    }

    #[tokio::test]
    async fn every_way_of_saving_is_noticed() {
        let mut fixture = Fixture::new(plain).await;
        save(&fixture.path, "two");
        fixture.looks().await;
        save_by_rename(&fixture.path, "three");
        fixture.looks().await;
        save_by_rename(&fixture.path, "four");
        fixture.looks().await;
        fs::remove_file(&fixture.path).expect("remove");
        fixture.looks().await;
        save(&fixture.path, "five");
        fixture.looks().await;
        fs::set_permissions(&fixture.path, fs::Permissions::from_mode(0o666)).expect("chmod");
        fixture.looks().await;
        fixture.end().await;
    }

    #[tokio::test]
    async fn the_same_content_and_other_files_are_not() {
        let mut fixture = Fixture::new(plain).await;
        for _ in 0..3 {
            save_by_rename(&fixture.path, "one");
            save(&fixture.dir.path().join("other"), "x");
        }
        save(&fixture.path, "last");
        fixture.looks().await;
        assert_eq!(fixture.told.try_recv(), Err(mpsc::error::TryRecvError::Empty), "a look too many");
        fixture.end().await;
    }

    #[tokio::test]
    async fn links_are_followed_on_every_step() {
        let mut fixture = Fixture::new(|dir| {
            for folder in ["conf", "dots", "v1", "v2"] {
                fs::create_dir(dir.join(folder)).expect("folder");
            }
            save(&dir.join("v1/hub.toml"), "v1");
            save(&dir.join("v2/hub.toml"), "v2");
            symlink("v1", dir.join("now")).expect("link");
            symlink("../now/hub.toml", dir.join("dots/hub.toml")).expect("link");
            symlink(dir.join("dots/hub.toml"), dir.join("conf/hub.toml")).expect("link");
            dir.join("conf/hub.toml")
        })
        .await;
        let dir = fixture.dir.path().to_owned();
        save_by_rename(&dir.join("v1/hub.toml"), "v1 edited");
        fixture.looks().await;
        symlink("v2", dir.join("next")).expect("link");
        fs::rename(dir.join("next"), dir.join("now")).expect("swap");
        fixture.looks().await;
        save(&dir.join("v2/hub.toml"), "v2 edited");
        fixture.looks().await;
        save_by_rename(&dir.join("conf/hub.toml"), "no link any more");
        fixture.looks().await;
        fixture.end().await;
    }

    #[tokio::test]
    async fn files_that_it_names_are_followed() {
        let mut fixture = Fixture::new(plain).await;
        let dir = fixture.dir.path().to_owned();
        fs::create_dir(dir.join("secrets")).expect("folder");
        let (token, absent) = (dir.join("secrets/token"), dir.join("later/token"));
        save(&token, "one");
        let read = Files::from([(token.clone(), file::fingerprint(&token)), (absent.clone(), None)]);
        fixture.files.send_replace(read);
        // What was read is what is there: nothing to tell. The next change is.
        save_by_rename(&token, "one");
        save(&token, "two");
        fixture.looks().await;
        fs::remove_file(&token).expect("remove");
        save(&token, "two");
        fs::create_dir(dir.join("later")).expect("folder");
        save(&absent, "is here");
        fixture.looks().await;
        assert_eq!(fixture.told.try_recv(), Err(mpsc::error::TryRecvError::Empty), "gone for a moment is no change");
        // Changed between being read and being watched.
        fixture.files.send_replace(Files::from([(absent, Some([0; 32]))]));
        fixture.looks().await;
        assert_eq!(fixture.told.try_recv(), Err(mpsc::error::TryRecvError::Empty), "a look too many");
        fixture.end().await;
    }

    #[tokio::test]
    async fn a_folder_made_anew_is_watched_again() {
        let mut fixture = Fixture::new(|dir| {
            fs::create_dir(dir.join("conf")).expect("folder");
            plain(&dir.join("conf"))
        })
        .await;
        let folder = fixture.dir.path().join("conf");
        fs::remove_dir_all(&folder).expect("remove");
        fixture.looks().await;
        fs::create_dir(&folder).expect("folder");
        save(&fixture.path, "two");
        fixture.looks().await;
        save(&fixture.path, "three");
        fixture.looks().await;
        fixture.end().await;
    }

    #[test]
    fn looking_is_not_noticed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = plain(dir.path());
        let (notice, notices) = std::sync::mpsc::sync_channel(1000);
        let counted = move |event: notify::Result<notify::Event>| {
            if may_change(&event) {
                drop(notice.try_send(event.map(|event| event.paths).unwrap_or_default()));
            }
        };
        let mut watcher = notify::recommended_watcher(counted).expect("watcher");
        watcher.watch(dir.path(), RecursiveMode::NonRecursive).expect("watch");
        let wait_for = |name: &str| {
            let is_it = |paths: &Vec<PathBuf>| paths.iter().any(|path| path.ends_with(name));
            std::iter::from_fn(|| notices.recv_timeout(PATIENCE).ok())
                .take_while(|paths| !is_it(paths))
                .flatten()
                .collect()
        };
        save(&dir.path().join("before"), "x");
        let _old: Vec<PathBuf> = wait_for("before");
        for _ in 0..10 {
            file::read(&path).expect("readable");
        }
        save(&dir.path().join("after"), "x");
        let between: Vec<PathBuf> = wait_for("after");
        assert!(!between.contains(&path), "looking at it was noticed: {between:?}");
    }

    #[tokio::test]
    async fn a_file_that_is_emptied_first_is_looked_at_when_full() {
        let mut fixture = Fixture::new(plain).await;
        save(&fixture.path, "");
        // Longer than the folder must be quiet, shorter than an empty file is given.
        sleep(2 * CONFIG_DEBOUNCE).await;
        save(&fixture.path, "two");
        fixture.looks().await;
        assert_eq!(file::read(&fixture.path).expect("readable"), "two");
        save(&fixture.path, "");
        fixture.looks().await;
        assert_eq!(file::read(&fixture.path).expect("readable"), "", "an empty file is one, after a while");
        fixture.end().await;
    }

    #[test]
    fn a_lost_watch_is_made_good_by_the_stamp() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = plain(dir.path());
        let (notice, _notices) = mpsc::channel(1);
        let mut looker = Looker::new(path.clone(), Some("one".to_owned()), notice);
        looker.watcher = None;
        assert!(!looker.look(false));
        save(&path, "another length");
        assert!(looker.look(false));
        assert!(!looker.look(false));
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        mode(0o602);
        assert!(looker.look(false));
        mode(0o600);
        assert!(looker.look(false));
    }

    #[tokio::test]
    async fn who_no_longer_listens_ends_the_task() {
        let fixture = Fixture::new(plain).await;
        drop(fixture.told);
        assert!(fixture.scope.join(PATIENCE).await);
    }
}
