//! Tests of the store through its public face: what goes in comes out, also after a restart.
//!
//! In: a database in a folder of its own. Out: verdicts. Owns nothing else. May not: look into the file.

use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn open(&self) -> Store {
        Store::open(&self.folder.path().join("hub.db")).expect("store")
    }
}

fn session(id: &str, last_used: i64) -> SessionRow {
    SessionRow {
        id: id.to_owned(),
        endpoint: "git".to_owned(),
        version: "2025-11-25".to_owned(),
        capabilities: br#"{"roots":{}}"#.to_vec(),
        client_info: br#"{"name":"c"}"#.to_vec(),
        level: Some("debug".to_owned()),
        subscriptions: r#"["file:///a"]"#.to_owned(),
        created: 5,
        last_used,
    }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let place = Place::new();
    let store = place.open();
    store.set_port("git", 18901).await.expect("port");
    store.set_value("key", Some(b"value".to_vec())).await.expect("value");
    store.cache_put("git", "tools", "f1", b"[1]".to_vec()).await.expect("cache");
    store.session_put(session("s1", 10)).await.expect("session");
    store.close().await;
    assert!(matches!(store.ports().await, Err(Error::Closed)));

    let store = place.open();
    assert_eq!(store.ports().await.expect("ports").get("git"), Some(&18901));
    assert_eq!(store.value("key").await.expect("value"), Some(b"value".to_vec()));
    let cache = store.cache().await.expect("cache");
    assert_eq!(cache.len(), 1);
    assert_eq!((cache[0].fingerprint.as_str(), cache[0].value.as_slice()), ("f1", &b"[1]"[..]));
    assert_eq!(store.session("s1").await.expect("session"), Some(session("s1", 10)));
}

#[tokio::test]
async fn a_port_has_one_server() {
    let store = Place::new().open();
    store.set_port("a", 1).await.expect("port");
    store.set_port("b", 1).await.expect("port");
    store.set_port("b", 2).await.expect("port");
    let ports = store.ports().await.expect("ports");
    assert_eq!(ports.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 2)]);
    store.forget_port("b").await.expect("forgotten");
    assert!(store.ports().await.expect("ports").is_empty());
}

#[tokio::test]
async fn the_newest_value_of_a_kind_counts() {
    let store = Place::new().open();
    store.cache_put("git", "tools", "f1", b"old".to_vec()).await.expect("put");
    store.cache_put("git", "tools", "f2", b"new".to_vec()).await.expect("put");
    store.cache_put("git", "handshake", "f2", b"h".to_vec()).await.expect("put");
    store.cache_put("time", "tools", "f2", b"t".to_vec()).await.expect("put");
    store.cache_forget("git", Some("handshake")).await.expect("forgotten");
    let mut values: Vec<Vec<u8>> = store.cache().await.expect("cache").into_iter().map(|row| row.value).collect();
    values.sort();
    assert_eq!(values, [b"new".to_vec(), b"t".to_vec()]);
    store.cache_forget("git", None).await.expect("forgotten");
    assert_eq!(store.cache().await.expect("cache").len(), 1);
    store.set_value("key", Some(vec![1])).await.expect("set");
    store.set_value("key", None).await.expect("removed");
    assert_eq!(store.value("key").await.expect("value"), None);
}

#[tokio::test]
async fn sessions_age_and_go() {
    let store = Place::new().open();
    for (id, last_used) in [("a", 10), ("b", 20), ("c", 30)] {
        store.session_put(session(id, last_used)).await.expect("put");
    }
    store.sessions_touch_later(vec![("a".to_owned(), 40), ("c".to_owned(), 1), ("nobody".to_owned(), 50)]);
    // The queue keeps its order, so this read comes after the touch; time never runs backwards for a session.
    assert_eq!(store.sessions_idlest(2).await.expect("idlest"), ["b", "c"]);
    assert_eq!(store.sessions_expire(30).await.expect("expired"), ["b"]);
    assert_eq!(store.sessions_count().await.expect("count"), 2);
    store.session_update("a", None, "[]".to_owned()).await.expect("updated");
    let changed = store.session("a").await.expect("read").expect("there");
    assert_eq!((changed.level, changed.subscriptions.as_str(), changed.last_used), (None, "[]", 40));
    assert!(store.session_delete("a").await.expect("deleted"));
    assert!(!store.session_delete("a").await.expect("deleted"));
    let known = store.sessions_known().await.expect("known");
    assert_eq!(known, [("c".to_owned(), "git".to_owned(), 30)]);
    assert_eq!(store.sessions_all().await.expect("all"), [session("c", 30)]);
}

#[tokio::test]
async fn a_full_queue_drops_touches_and_counts_them_but_no_process() {
    let store = Place::new().open();
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
    let blocker = store.clone();
    let blocked = tokio::task::spawn_blocking(move || {
        let work = move |_: &mut rusqlite::Connection| {
            held.recv().ok();
            Ok(())
        };
        assert!(blocker.later("block", work));
    });
    blocked.await.expect("queued");
    for _ in 0..limits::STORE_QUEUE_MAX + 10 {
        store.sessions_touch_later(vec![("a".to_owned(), 1)]);
    }
    assert!(store.dropped() >= 9);
    let row = ProcessRow { run: "r".to_owned(), pid: 7, start: u64::MAX, server: "s".to_owned(), generation: 2 };
    store.process_started(row.clone());
    hold.send(()).expect("released");
    // The process goes in by another thread as soon as there is room.
    let mut rows = store.processes("r").await.expect("rows");
    for _ in 0..1000 {
        if !rows.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        rows = store.processes("r").await.expect("rows");
    }
    assert_eq!(rows, [row]);
}

#[tokio::test]
async fn two_stores_on_one_file_wait_for_each_other() {
    let place = Place::new();
    let (first, second) = (place.open(), place.open());
    for number in 0..50u16 {
        first.set_port(&format!("a{number}"), 1000 + number).await.expect("first");
        second.set_port(&format!("b{number}"), 2000 + number).await.expect("second");
    }
    assert_eq!(first.ports().await.expect("ports").len(), 100);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_a_clear_error() {
    let place = Place::new();
    let error = Store::open(&place.folder.path().join("no/hub.db")).expect_err("no folder");
    assert!(error.to_string().starts_with("cannot open /"), "{error}");
}
