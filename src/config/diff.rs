//! The difference between the running and the wanted config, as steps.
//!
//! In: two [`Config`]s. Out: a [`Plan`]; following it turns the first into the second. Owns no state. May not: name a
//! server that did not change, or carry anything out.

use super::{Config, HubSpec, ServerEntry, ServerName, ServerSpec};

/// One act of a [`Plan`]. Steps are to be taken in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A server that was not there; it goes last.
    Add(ServerEntry),
    /// A server that is no longer there.
    Remove(ServerName),
    /// A server that keeps its name and place.
    Change(ServerEntry, Changed),
    /// Only after the others, only if needed: all servers in their new order (the aggregate lists follow it).
    Reorder(Vec<ServerName>),
}

/// How a server changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Keys of hub.toml that differ, for the log; empty when the server was or became unusable.
    pub keys: Vec<&'static str>,
    /// Whether the running child no longer fits (see [`ServerSpec::fingerprint`]; `probe_timeout` counts too), or there
    /// must be none.
    pub restart: bool,
}

/// How `[hub]` changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubChange {
    /// What it is now.
    pub to: HubSpec,
    /// Keys that differ, for the log; all of them when there was no config.
    pub keys: Vec<&'static str>,
}

/// What to do to get from one config to another.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Steps for servers: removals, then changes and additions in the order of the new file, then the order.
    pub steps: Vec<Step>,
    /// Set when anything in `[hub]` differs.
    pub hub_changed: Option<HubChange>,
}

// === impl Plan ===

impl Plan {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.hub_changed.is_none()
    }

    /// The config that results from following the plan. `from` must be what the plan was made from.
    pub fn apply(self, from: Option<Config>) -> Option<Config> {
        let (hub, mut servers) = match from {
            Some(config) => (Some(config.hub), config.servers),
            None => (None, Vec::new()),
        };
        for step in self.steps {
            match step {
                Step::Add(entry) => servers.push(entry),
                Step::Remove(name) => servers.retain(|entry| entry.name != name),
                Step::Change(entry, _) => {
                    if let Some(place) = servers.iter_mut().find(|old| old.name == entry.name) {
                        *place = entry;
                    }
                }
                Step::Reorder(names) => {
                    servers.sort_by_key(|entry| names.iter().position(|name| *name == entry.name));
                }
            }
        }
        let hub = self.hub_changed.map(|change| change.to).or(hub)?;
        Some(Config { hub, servers })
    }
}

/// Compares two configs; without an old one everything is new.
pub fn diff(old: Option<&Config>, new: &Config) -> Plan {
    let old_servers = old.map_or(&[][..], |config| &config.servers);
    let find = |servers: &[ServerEntry], name: &ServerName| servers.iter().position(|entry| entry.name == *name);

    let mut steps = Vec::new();
    let mut order = Vec::with_capacity(new.servers.len());
    for entry in old_servers {
        if find(&new.servers, &entry.name).is_some() {
            order.push(&entry.name);
        } else {
            steps.push(Step::Remove(entry.name.clone()));
        }
    }
    for entry in &new.servers {
        match find(old_servers, &entry.name).and_then(|at| old_servers.get(at)) {
            None => {
                order.push(&entry.name);
                steps.push(Step::Add(entry.clone()));
            }
            Some(before) if before != entry => steps.push(Step::Change(entry.clone(), changed(before, entry))),
            Some(_) => {}
        }
    }
    if !order.iter().copied().eq(new.servers.iter().map(|entry| &entry.name)) {
        steps.push(Step::Reorder(new.servers.iter().map(|entry| entry.name.clone()).collect()));
    }

    let keys = hub_keys(old.map(|config| &config.hub), &new.hub);
    let hub_changed = (!keys.is_empty()).then(|| HubChange { to: new.hub.clone(), keys });
    Plan { steps, hub_changed }
}

fn changed(before: &ServerEntry, after: &ServerEntry) -> Changed {
    match (&before.spec, &after.spec) {
        (Ok(before), Ok(after)) => {
            Changed { keys: server_keys(before, after), restart: needs_other_child(before, after) }
        }
        // Two unusable versions have no child between them.
        (Err(_), Err(_)) => Changed { keys: Vec::new(), restart: false },
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => Changed { keys: Vec::new(), restart: true },
    }
}

/// Whoever changes how the probe goes wants to see it go.
fn needs_other_child(before: &ServerSpec, after: &ServerSpec) -> bool {
    before.fingerprint() != after.fingerprint() || before.probe_timeout != after.probe_timeout
}

/// Destructured in full, so that a new key cannot be forgotten here.
fn server_keys(before: &ServerSpec, after: &ServerSpec) -> Vec<&'static str> {
    let ServerSpec {
        name: _,
        command,
        args,
        env,
        cwd,
        port,
        enabled,
        start,
        idle_stop,
        share,
        restart,
        startup_timeout,
        request_timeout,
        tools,
        roots,
        concurrency,
        era,
        probe_timeout,
        park_timeout,
    } = before;
    let differs = [
        ("command", *command != after.command),
        ("args", *args != after.args),
        ("env", *env != after.env),
        ("cwd", *cwd != after.cwd),
        ("port", *port != after.port),
        ("enabled", *enabled != after.enabled),
        ("start", *start != after.start),
        ("idle_stop", *idle_stop != after.idle_stop),
        ("share", *share != after.share),
        ("restart", *restart != after.restart),
        ("startup_timeout", *startup_timeout != after.startup_timeout),
        ("request_timeout", *request_timeout != after.request_timeout),
        ("tools", *tools != after.tools),
        ("roots", *roots != after.roots),
        ("concurrency", *concurrency != after.concurrency),
        ("era", *era != after.era),
        ("probe_timeout", *probe_timeout != after.probe_timeout),
        ("park_timeout", *park_timeout != after.park_timeout),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// As [`server_keys`], for `[hub]`.
fn hub_keys(before: Option<&HubSpec>, after: &HubSpec) -> Vec<&'static str> {
    let HubSpec {
        host,
        port,
        first_port,
        log,
        body_bytes_max,
        sessions_max,
        session_expiry,
        replay_ttl,
        spawns_max,
        allowed_hosts,
        allowed_origins,
    } = after;
    let differs = [
        ("host", before.is_none_or(|b| b.host != *host)),
        ("port", before.is_none_or(|b| b.port != *port)),
        ("first_port", before.is_none_or(|b| b.first_port != *first_port)),
        ("log", before.is_none_or(|b| b.log != *log)),
        ("body_max", before.is_none_or(|b| b.body_bytes_max != *body_bytes_max)),
        ("sessions_max", before.is_none_or(|b| b.sessions_max != *sessions_max)),
        ("session_expiry", before.is_none_or(|b| b.session_expiry != *session_expiry)),
        ("replay_ttl", before.is_none_or(|b| b.replay_ttl != *replay_ttl)),
        ("spawns_max", before.is_none_or(|b| b.spawns_max != *spawns_max)),
        ("allowed_hosts", before.is_none_or(|b| b.allowed_hosts != *allowed_hosts)),
        ("allowed_origins", before.is_none_or(|b| b.allowed_origins != *allowed_origins)),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EraChoice, Kind, Problem, Secret, Share, Start, ToolFilter};
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    fn name(text: &str) -> ServerName {
        ServerName::new(text).expect("valid")
    }

    fn entry(spec: ServerSpec) -> ServerEntry {
        ServerEntry { name: spec.name.clone(), port: spec.port, enabled: spec.enabled, spec: Ok(Arc::new(spec)) }
    }

    fn server(text: &str) -> ServerSpec {
        ServerSpec::new(name(text), "cmd", "/")
    }

    fn failed(text: &str, line: usize) -> ServerEntry {
        let (kind, what) = (Kind::Environment, "variable X is not set".to_owned());
        let problem = Problem { kind, file: "hub.toml".into(), line, server: Some(name(text)), what, hint: None };
        ServerEntry { name: name(text), port: None, enabled: true, spec: Err(vec![problem]) }
    }

    fn config(servers: Vec<ServerEntry>) -> Config {
        Config { hub: HubSpec::new(2), servers }
    }

    #[test]
    fn each_kind_of_change_is_one_step() {
        let old =
            config(vec![entry(server("same")), entry(server("gone")), entry(server("tools")), entry(server("args"))]);
        let tools = ServerSpec { tools: ToolFilter::new(Vec::new(), Vec::new()), port: Some(1), ..server("tools") };
        let args = ServerSpec { args: vec!["x".to_owned()], ..server("args") };
        let new = config(vec![entry(server("same")), entry(tools.clone()), entry(args.clone()), entry(server("new"))]);
        let plan = diff(Some(&old), &new);
        assert_eq!(
            plan.steps,
            [
                Step::Remove(name("gone")),
                Step::Change(entry(tools), Changed { keys: vec!["port", "tools"], restart: false }),
                Step::Change(entry(args), Changed { keys: vec!["args"], restart: true }),
                Step::Add(entry(server("new"))),
            ]
        );
        assert_eq!(plan.hub_changed, None);
    }

    #[test]
    fn how_a_child_is_opened_needs_another_child_and_how_long_calls_park_does_not() {
        let restart = |change: fn(&mut ServerSpec)| {
            let mut after = server("a");
            change(&mut after);
            changed(&entry(server("a")), &entry(after))
        };
        let era = restart(|s| s.era = EraChoice::Modern);
        assert_eq!(era, Changed { keys: vec!["era"], restart: true });
        let probe = restart(|s| s.probe_timeout = Duration::from_secs(1));
        assert_eq!(probe, Changed { keys: vec!["probe_timeout"], restart: true });
        let park = restart(|s| s.park_timeout = Duration::from_secs(1));
        assert_eq!(park, Changed { keys: vec!["park_timeout"], restart: false });
    }

    #[test]
    fn only_a_new_order_is_a_step_of_its_own() {
        let (a, b, c) = (entry(server("a")), entry(server("b")), entry(server("c")));
        let old = config(vec![a.clone(), b.clone(), c.clone()]);
        let swapped = config(vec![b.clone(), a.clone(), c.clone()]);
        assert_eq!(diff(Some(&old), &swapped).steps, [Step::Reorder(vec![name("b"), name("a"), name("c")])]);
        let less = config(vec![a.clone(), c.clone()]);
        assert_eq!(diff(Some(&old), &less).steps, [Step::Remove(name("b"))]);
        let steps = diff(Some(&less), &old).steps;
        assert_eq!(steps, [Step::Add(b), Step::Reorder(vec![name("a"), name("b"), name("c")])]);
    }

    #[test]
    fn becoming_usable_or_not_needs_another_child_and_staying_so_does_not() {
        let restart = |old: ServerEntry, new: ServerEntry| match diff(Some(&config(vec![old])), &config(vec![new]))
            .steps
            .as_slice()
        {
            [Step::Change(_, changed)] => changed.restart,
            other => unreachable!("one change, not {other:?}"),
        };
        assert!(restart(entry(server("a")), failed("a", 1)));
        assert!(restart(failed("a", 1), entry(server("a"))));
        assert!(!restart(failed("a", 1), failed("a", 2)), "its line moved");
    }

    #[test]
    fn the_hub_tells_which_keys_changed() {
        let old = config(Vec::new());
        let mut new = old.clone();
        new.hub.log = "debug".to_owned();
        new.hub.port = 1;
        let change = diff(Some(&old), &new).hub_changed.expect("changed");
        assert_eq!((change.keys, change.to), (vec!["port", "log"], new.hub));
        let from_empty = diff(None, &old).hub_changed.expect("all new");
        assert_eq!(from_empty.keys.len(), 11);
    }

    fn some_entry() -> impl Strategy<Value = ServerEntry> {
        let spec = ("[a-f]", 0..3u8, any::<bool>(), prop::option::of(0..3u16), 0..3u64, any::<bool>());
        spec.prop_map(|(letter, variant, session, port, seconds, good)| {
            let spec = ServerSpec {
                args: vec![variant.to_string()],
                env: [("K".to_owned(), Secret::new(variant.to_string()))].into(),
                share: if session { Share::Session } else { Share::Shared },
                port,
                startup_timeout: Duration::from_secs(seconds),
                start: if seconds == 1 { Start::Lazy } else { Start::Eager },
                ..server(&letter)
            };
            if good { entry(spec) } else { failed(&letter, usize::from(variant)) }
        })
    }

    fn some_config() -> impl Strategy<Value = Config> {
        (prop::collection::vec(some_entry(), 0..8), 0..3u16).prop_map(|(mut servers, port)| {
            let mut seen = Vec::new();
            servers.retain(|entry| {
                let new = !seen.contains(&entry.name);
                seen.push(entry.name.clone());
                new
            });
            let mut config = config(servers);
            config.hub.port = port;
            config
        })
    }

    proptest! {
        #[test]
        fn following_a_plan_leads_there(old in prop::option::of(some_config()), new in some_config()) {
            let plan = diff(old.as_ref(), &new);
            prop_assert_eq!(plan.apply(old), Some(new));
        }

        #[test]
        fn nothing_leads_from_a_config_to_itself(config in some_config()) {
            let plan = diff(Some(&config), &config);
            prop_assert!(plan.is_empty());
            prop_assert_eq!(plan.clone().apply(Some(config.clone())), Some(config));
        }

        #[test]
        fn unchanged_servers_are_never_touched(old in some_config(), new in some_config()) {
            for step in diff(Some(&old), &new).steps {
                let touched = match step {
                    Step::Add(entry) | Step::Change(entry, _) => entry.name,
                    Step::Remove(name) => name,
                    Step::Reorder(_) => continue,
                };
                prop_assert_ne!(old.server(touched.as_str()), new.server(touched.as_str()));
            }
        }
    }
}
