//! The document of `hub status` (DESIGN 3.5).
//!
//! In: facts of the daemon, a [`Survey`], the sessions in use. Out: [`Status`]. Owns nothing. May not: hold a secret, or
//! call an estimate a measurement.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::config::Share;
use crate::limits;
use crate::mcp::ListKind;
use crate::server::usage::{Survey, Surveyed};
use crate::server::{ServerHandle, State};
use crate::session::EndpointId;

use super::desk::{Desk, Facts};
use super::proto::{Hub, Instance, SCHEMA, Server, Status, Totals, WithoutHub};

/// What is true now.
pub(super) async fn now(desk: &Desk) -> Status {
    let registry = desk.registry.borrow().clone();
    let survey = desk.meter.survey(&registry).await;
    let facts = desk.facts.borrow().clone();
    let in_use = desk.sessions.in_use(limits::SESSION_IN_USE);
    document(&facts, &survey, desk.sessions.len(), &in_use, SystemTime::now())
}

fn document(facts: &Facts, survey: &Survey, sessions: usize, in_use: &[EndpointId], now: SystemTime) -> Status {
    let servers: Vec<Server> = survey.servers.iter().map(|server| one(server, facts, now)).collect();
    let totals = Totals {
        servers: servers.len(),
        ready: servers.iter().filter(|server| server.state == State::Ready).count(),
        processes: servers.iter().map(|server| server.processes).sum(),
        rss_bytes: servers.iter().map(|server| server.rss_bytes).sum(),
        pss_bytes: servers.iter().map(|server| server.pss_bytes).sum(),
        sessions: sessions as u64,
    };
    let hub = Hub {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: humantime::format_rfc3339_seconds(facts.started_at).to_string(),
        uptime_seconds: seconds_since(facts.started_at, now),
        config: facts.config.display().to_string(),
        url: format!("{}/mcp", facts.url),
        rss_bytes: survey.hub.rss_bytes,
        pss_bytes: survey.hub.pss_bytes,
        config_error: facts.config_error.clone(),
    };
    Status { schema: SCHEMA, hub, without_hub: without_hub(&servers, in_use), totals, servers }
}

fn one(surveyed: &Surveyed, facts: &Facts, now: SystemTime) -> Server {
    let server = &surveyed.server;
    let handle = server.handle.as_ref().ok();
    let snapshot = surveyed.snapshot.as_ref();
    let counters = handle.map(ServerHandle::counters);
    let share = handle.map_or(Share::Shared, |handle| handle.spec().share);
    let handshake = snapshot.and_then(|snapshot| snapshot.handshake.as_ref());
    let tools = snapshot.and_then(|snapshot| snapshot.lists.get(ListKind::Tools));
    let ready_since = snapshot.and_then(|snapshot| snapshot.ready_since);
    let usage = surveyed.usage();
    let count = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let level = |value: &std::sync::atomic::AtomicI64| u64::try_from(value.load(Ordering::Relaxed)).unwrap_or(0);
    Server {
        name: server.name.to_string(),
        state: surveyed.state(),
        url: url_of(server.port, facts),
        port: server.port,
        share: share.as_str().to_owned(),
        share_reason: reason(share).to_owned(),
        era: handshake.map(|handshake| handshake.era),
        protocol_version: handshake.map(|handshake| handshake.version.clone()).unwrap_or_default(),
        instances: instances(surveyed),
        processes: usage.processes,
        rss_bytes: usage.rss_bytes,
        pss_bytes: usage.pss_bytes,
        cpu_percent: usage.cpu_percent,
        sessions: counters.map_or(0, |counters| level(&counters.sessions)),
        in_flight: counters.map_or(0, |counters| level(&counters.in_flight)),
        calls: counters.map_or(0, |counters| count(&counters.calls)),
        errors: counters.map_or(0, |counters| count(&counters.errors)),
        restarts: counters.map_or(0, |counters| count(&counters.restarts)),
        uptime_seconds: ready_since.map_or(0, |since| seconds_since(since, now)),
        tools: tools.map_or(0, |list| list.items.len()),
        last_failure: server.failure().map(|failure| (*failure).clone()),
    }
}

fn instances(surveyed: &Surveyed) -> Vec<Instance> {
    let running = surveyed.instances.iter().filter_map(|(snapshot, usage)| Some((snapshot.pid?, usage)));
    let instance = |(pid, usage): (u32, &crate::server::usage::Usage)| Instance {
        pid,
        workspace: None,
        processes: usage.processes,
        rss_bytes: usage.rss_bytes,
        pss_bytes: usage.pss_bytes,
    };
    running.map(instance).collect()
}

fn reason(share: Share) -> &'static str {
    match share {
        Share::Shared => "one child serves all sessions, as is the default",
        Share::Session => "hub.toml asks for one child per session",
    }
}

/// The hub URL with another port: all listeners share one address.
pub(super) fn url_of(port: u16, facts: &Facts) -> String {
    let address = facts.url.rsplit_once(':').map_or(facts.url.as_str(), |(address, _port)| address);
    format!("{address}:{port}/mcp")
}

/// Each client that is connected now would have started every server that it uses for itself.
fn without_hub(servers: &[Server], in_use: &[EndpointId]) -> WithoutHub {
    let of_all = in_use.iter().filter(|endpoint| **endpoint == EndpointId::Aggregate).count();
    let mut estimate = WithoutHub::default();
    for server in servers {
        let own = |endpoint: &&EndpointId| matches!(endpoint, EndpointId::Server(name) if name.as_ref() == server.name);
        let sessions = of_all + in_use.iter().filter(own).count();
        let copies = if server.share == Share::Session.as_str() { 1 } else { sessions };
        estimate.processes += server.processes * copies;
        estimate.pss_bytes += server.pss_bytes * copies as u64;
    }
    estimate.assumption = format!(
        "each of the {} sessions in use (a stream is open, or a request came in the last {} minutes) would run its own \
         copy of its servers, as large as the one that runs now",
        in_use.len(),
        limits::SESSION_IN_USE.as_secs() / 60
    );
    estimate
}

fn seconds_since(then: SystemTime, now: SystemTime) -> u64 {
    now.duration_since(then).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::ServerName;
    use crate::server::Failure;
    use crate::server::registry::{NotRunning, Registered};
    use crate::server::usage::Usage;

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("a name")
    }

    fn facts() -> Facts {
        Facts {
            started_at: SystemTime::UNIX_EPOCH + Duration::from_hours(24),
            config: "/c/hub.toml".into(),
            url: "http://127.0.0.1:18900".to_owned(),
            run_id: "run".to_owned(),
            ready: true,
            config_error: None,
        }
    }

    #[test]
    fn servers_that_cannot_run_are_listed_with_their_reason() {
        let failure = Failure {
            stage: "config".into(),
            message: "GITHUB_TOKEN is not set".into(),
            since: "1970-01-02T00:00:00Z".into(),
            exit: String::new(),
        };
        let registered = |text, port, handle| Registered { name: name(text), port, handle, listen_failure: None };
        let servers = [
            registered("github", 18901, Err(NotRunning::Unusable(Arc::new(failure.clone())))),
            registered("old", 18902, Err(NotRunning::Disabled)),
        ];
        let servers = servers.map(|server| Surveyed { server, snapshot: None, instances: Vec::new() }).to_vec();
        let hub = Usage { processes: 1, rss_bytes: 9000, pss_bytes: 7000, cpu_percent: 0.0 };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(25);
        let document = document(&facts(), &Survey { hub, servers }, 2, &[], now);
        assert_eq!((document.schema, document.hub.uptime_seconds), (1, 3600));
        assert_eq!(document.hub.url, "http://127.0.0.1:18900/mcp");
        assert_eq!(document.hub.started_at, "1970-01-02T00:00:00Z");
        assert_eq!((document.totals.servers, document.totals.ready, document.totals.sessions), (2, 0, 2));
        let [github, old] = &document.servers[..] else { unreachable!("two servers") };
        assert_eq!((github.state, github.url.as_str()), (State::Failed, "http://127.0.0.1:18901/mcp"));
        assert_eq!(github.last_failure, Some(failure));
        assert_eq!((old.state, &old.last_failure), (State::Disabled, &None));
        let json = serde_json::to_value(&document).expect("serialises");
        assert_eq!(json["servers"][0]["era"], serde_json::Value::Null);
        assert_eq!(json["hub"]["config_error"], serde_json::Value::Null);
    }

    #[test]
    fn the_estimate_copies_shared_servers_only() {
        let survey = Survey { hub: Usage::default(), servers: Vec::new() };
        let empty = document(&facts(), &survey, 0, &[], SystemTime::UNIX_EPOCH);
        assert_eq!((empty.without_hub.processes, empty.hub.uptime_seconds), (0, 0));
        let server = |text: &str, share: Share, processes, pss_bytes| Server {
            processes,
            pss_bytes,
            share: share.as_str().to_owned(),
            ..blank(text)
        };
        let servers = [server("git", Share::Shared, 3, 100), server("browser", Share::Session, 8, 1000)];
        let in_use = [
            EndpointId::Server(name("git")),
            EndpointId::Server(name("git")),
            EndpointId::Server(name("browser")),
            EndpointId::Aggregate,
        ];
        let estimate = without_hub(&servers, &in_use);
        assert_eq!(estimate.processes, 3 * 3 + 8, "git for three sessions, each browser is one already");
        assert_eq!(estimate.pss_bytes, 3 * 100 + 1000);
        assert!(estimate.assumption.starts_with("each of the 4 sessions"));
    }

    fn blank(text: &str) -> Server {
        let server = Registered { name: name(text), port: 1, handle: Err(NotRunning::Disabled), listen_failure: None };
        one(&Surveyed { server, snapshot: None, instances: Vec::new() }, &facts(), SystemTime::UNIX_EPOCH)
    }
}
