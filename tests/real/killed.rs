//! A hub that dies at once, with the trees of real servers under it: npx, a shell, Node, Python.
//!
//! In: the pinned packages. Out: nothing of them outlives hub, and the next hub starts where the last one was. State: a
//! private home that two hubs use one after the other. May not: help with the cleaning up.

use std::time::Duration;

use crate::driver::PATIENCE;
use crate::env::TestEnv;
use crate::hub::Hub;
use crate::plan::SERVERS;
use crate::processes::eventually;
use crate::published::World;

/// How long anything may outlive a hub that was killed.
const GONE: Duration = Duration::from_secs(2);

#[test]
fn nothing_of_published_servers_outlives_a_killed_hub() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let world = World::lay(&env, home.path());
    let hub = Hub::start(&env, home, &world.config);
    hub.all_ready(PATIENCE);
    let before = world.roots();
    let npx = world.family("filesystem");
    assert!(npx.members.len() >= 2, "npx and what it started: {npx:?}");

    let home = hub.kill();
    eventually(GONE, || {
        let left: Vec<_> = SERVERS.iter().flat_map(|name| world.family(name).members).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("still there: {left:#?}")) }
    });

    let hub = Hub::start(&env, home, &world.config);
    hub.all_ready(PATIENCE);
    for (name, root) in world.roots() {
        assert_ne!((root.pid, root.started), (before[name].pid, before[name].started), "{name} is a new process");
    }
    hub.stop();
}
