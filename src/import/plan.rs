//! What an import will do: which servers come into hub.toml, which entry of which file reads what afterwards.
//!
//! In: the files that were found, hub.toml, and what may be asked of the world. Out: a [`Plan`] with the new text of every
//! file. Owns nothing. PURE but for what [`World`] asks. May not: write, or hold a secret where it is shown.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::discover::{Content, Source};
use super::identity::{self, Identity};
use super::journal::{Of, Wanted};
use super::judge::{self, Reached, Verdict};
use super::names::Taken;
use super::{browsers, mask, rewrite};
use crate::clients::{self, Client, Found, Program};
use crate::config::edit::{self, NewServer};
use crate::config::{Config, Kind, Loaded, Ports, Problem};
use crate::limits::CONFIG_FILE_BYTES_MAX;

/// How an import is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// Only hub.toml is written.
    pub no_rewrite: bool,
    /// Files that git tracks are rewritten too.
    pub rewrite_committed: bool,
}

/// What the plan asks of the world.
pub(super) struct World<'a> {
    /// Reads a hub.toml as the daemon would.
    pub load: &'a dyn Fn(&str) -> Loaded,
    /// Whether a path is there.
    pub exists: &'a dyn Fn(&Path) -> bool,
    /// Whether a port can be bound.
    pub is_free: &'a dyn Fn(u16) -> bool,
    /// Whether git tracks a file.
    pub is_tracked: &'a dyn Fn(&Path) -> bool,
    /// Whether a command can be started from a folder.
    pub has_program: &'a dyn Fn(&str, &Path) -> bool,
    /// Ports that the daemon gave to servers.
    pub remembered: &'a HashMap<String, u16>,
    /// The hub program.
    pub hub: Program<'a>,
    /// Whether a hub that is told these is the one whose hub.toml this is.
    pub is_own: &'a dyn Fn(judge::Told<'_>) -> bool,
}

/// The files that a plan is about.
pub(super) struct Sources {
    /// Files to move in, then perhaps that of Claude Code, only to write overrides to.
    pub all: Vec<Source>,
    /// How many of them are to move in.
    pub asked: usize,
    /// Where that of Claude Code is.
    pub claude: Option<usize>,
}

/// hub.toml as it is.
#[derive(Debug, Clone)]
pub(super) struct HubToml {
    /// The file itself: links are followed.
    pub path: PathBuf,
    /// None when there is none.
    pub text: Option<String>,
    /// Permission bits.
    pub mode: u32,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// hub.toml is wrong already: nothing is added to it.
    #[error("{} is not valid", .path.display())]
    Invalid {
        /// hub.toml.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<Problem>,
    },
    /// The servers cannot be written.
    #[error("cannot add to {}: {what}", .path.display())]
    Edit {
        /// hub.toml.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// All ports are taken.
    #[error("no free port from {first} on")]
    NoPort {
        /// `[hub] first_port`.
        first: u16,
    },
}

/// What will be done, as it is shown.
#[derive(Debug, Clone)]
pub struct Plan {
    /// hub.toml.
    pub config: PathBuf,
    /// Servers that entries will read from: new ones, and known ones that more entries come to.
    pub servers: Vec<Server>,
    /// The files that were looked at and hold entries, or cannot be read.
    pub files: Vec<File>,
    /// What to know before saying yes.
    pub warnings: Vec<String>,
    /// The changes, hub.toml first.
    pub(super) changes: Vec<Wanted>,
}

/// One server of hub.toml that entries come to.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name in hub.toml.
    pub name: String,
    /// Whether this import adds it.
    pub is_new: bool,
    /// Command and arguments, without secrets.
    pub command: String,
    /// Names of its variables.
    pub env: Vec<String>,
    /// A file of more variables.
    pub env_file: Option<String>,
    /// Its folder; none: home.
    pub cwd: Option<String>,
    /// Its port.
    pub port: u16,
    /// Its endpoint.
    pub url: String,
    /// Whether each session gets a process of its own, because it drives a browser.
    pub for_each_session: bool,
    /// Whether it will run.
    pub enabled: bool,
    /// How many entries come to it; each of them was a process for each window.
    pub entries: usize,
}

/// One file of a client.
#[derive(Debug, Clone)]
pub struct File {
    /// Whose it is.
    pub client: &'static Client,
    /// Its path, as it was found or named.
    pub path: PathBuf,
    /// The project that it belongs to.
    pub project: Option<PathBuf>,
    /// Why nothing of it can be used.
    pub left: Option<String>,
    /// Its entries in order.
    pub entries: Vec<EntryPlan>,
}

/// One entry of a file.
#[derive(Debug, Clone)]
pub struct EntryPlan {
    /// Its name, which stays.
    pub name: String,
    /// The project that it is for, when the file is not a project's own.
    pub project: Option<PathBuf>,
    /// What becomes of it.
    pub fate: Fate,
    /// The server of hub.toml that it starts a copy of, also where it is left alone.
    pub known: Option<String>,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It will read from a server of hub.
    Rewritten {
        /// Name in hub.toml.
        server: String,
    },
    /// It stays, and an entry of the same name in a file that counts more will read from a server of hub.
    Overridden {
        /// Name in hub.toml.
        server: String,
        /// That file.
        by: PathBuf,
    },
    /// It stays as it is; only hub.toml gets the server.
    Copied {
        /// Name in hub.toml.
        server: String,
    },
    /// It reads from hub already.
    Through {
        /// Name in hub.toml; none: the endpoint of all servers.
        server: Option<String>,
    },
    /// It is left alone.
    Left {
        /// Why.
        reason: String,
    },
}

/// One entry on its way through the plan.
pub(super) struct Item {
    /// Index of its file.
    pub source: usize,
    pub found: Found,
    /// The project that it is for.
    pub project: Option<PathBuf>,
    pub verdict: Verdict,
    /// What tells its server from others.
    identity: Option<Identity>,
    /// The server of hub.toml that it is.
    known: Option<String>,
    /// Index of its server.
    pub group: Option<usize>,
    /// It stays, and an entry at this path in the file of Claude Code counts instead.
    pub by: Option<Vec<String>>,
}

/// One server and the entries that come to it.
struct Group {
    /// Its name, when hub.toml has it already.
    known: Option<String>,
    name: String,
    server: NewServer,
    port: u16,
    entries: usize,
}

// === impl Plan ===

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The files that will be written, hub.toml first.
    pub fn written(&self) -> impl Iterator<Item = &Path> {
        self.changes.iter().map(|change| change.path.as_path())
    }

    /// Whether hub.toml does not exist yet.
    pub fn makes_config(&self) -> bool {
        self.changes.iter().any(|change| matches!(change.of, Of::Hub { .. }) && change.before.is_none())
    }

    /// All entries with the file that they are in.
    pub fn entries(&self) -> impl Iterator<Item = (&File, &EntryPlan)> {
        self.files.iter().flat_map(|file| file.entries.iter().map(move |entry| (file, entry)))
    }
}

// === impl Sources ===

impl Sources {
    pub(super) fn place(&self, source: usize) -> &'static clients::Place {
        let source = &self.all[source];
        &source.client.places[source.place]
    }
}

/// Makes the plan.
pub(super) fn plan(sources: &Sources, hub: &HubToml, manner: Manner, world: &World<'_>) -> Result<Plan, Error> {
    let text = hub.text.clone().unwrap_or_default();
    let loaded = (world.load)(&text);
    let is_wrong = loaded.problems.iter().any(|problem| problem.kind != Kind::Environment);
    let Some(config) = loaded.config.as_ref().filter(|_| !is_wrong) else {
        return Err(Error::Invalid { path: hub.path.clone(), problems: loaded.problems });
    };
    let ports = Known::of(config, world.remembered);
    let (mut items, unusable) = collect(sources, &ports, world);
    let edit = |what: String| Error::Edit { path: hub.path.clone(), what };
    identify(&mut items, &text, config, world).map_err(edit)?;
    if !manner.no_rewrite {
        rewrite::leave_what_cannot_be_written(sources, manner, &|port| ports.at(port), world, &mut items);
    }
    let mut groups = group(&mut items);
    give_names_and_ports(&mut groups, &items, config, &ports, world)?;
    let new_text = hub_text(&groups, hub, config).map_err(edit)?;
    let after = (world.load)(&new_text);
    if new_text.len() as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(edit(format!("it would be larger than {CONFIG_FILE_BYTES_MAX} bytes")));
    }
    if let Some(problem) = after.problems.iter().find(|problem| problem.kind != Kind::Environment) {
        return Err(edit(problem.to_string()));
    }
    let url = |port: u16| config.hub.url(port);
    let mut changes = Vec::new();
    if hub.text.as_deref() != Some(new_text.as_str()) && !groups.is_empty() {
        changes.push(hub_change(hub, new_text, &groups));
    }
    if !manner.no_rewrite {
        let target = |group: usize| (groups[group].name.clone(), url(groups[group].port));
        changes.extend(rewrite::changes(sources, &items, world.hub, &target).map_err(edit)?);
    }
    Ok(Plan {
        config: hub.path.clone(),
        servers: groups.iter().map(|group| shown(group, config, &url)).collect(),
        warnings: warnings(&groups, config, &after, world),
        files: files(sources, items, unusable, &groups, manner),
        changes,
    })
}

/// Ports and what is behind them.
struct Known(BTreeMap<u16, Reached>);

impl Known {
    fn of(config: &Config, remembered: &HashMap<String, u16>) -> Self {
        let of_server = |entry: &crate::config::ServerEntry| {
            let name = entry.name.as_str();
            let port = entry.port.or_else(|| remembered.get(name).copied())?;
            Some((port, Reached::Server(name.to_owned())))
        };
        let mut ports: BTreeMap<u16, Reached> = config.servers.iter().filter_map(of_server).collect();
        ports.insert(config.hub.port, Reached::Hub);
        Self(ports)
    }

    fn at(&self, port: u16) -> Option<Reached> {
        self.0.get(&port).cloned()
    }

    fn port(&self, server: &str) -> Option<u16> {
        let is_it = |reached: &Reached| matches!(reached, Reached::Server(name) if name == server);
        self.0.iter().find(|(_, reached)| is_it(reached)).map(|(port, _)| *port)
    }
}

/// The entries of all files, and why a file has none.
fn collect(sources: &Sources, ports: &Known, world: &World<'_>) -> (Vec<Item>, Vec<Option<String>>) {
    let mut items = Vec::new();
    let mut unusable = Vec::new();
    for (index, source) in sources.all.iter().take(sources.asked).enumerate() {
        let place = sources.place(index);
        let reading = match &source.content {
            Content::Absent => Ok(clients::Reading { found: Vec::new(), rejected: None }),
            Content::Unusable(why) => Err(why.clone()),
            Content::Text { text, .. } => clients::read(text, &place.shape).map_err(|error| error.to_string()),
        };
        let reading = match reading {
            Ok(reading) => reading,
            Err(why) => {
                unusable.push(Some(why));
                continue;
            }
        };
        let rejected = reading.rejected.map(|why| format!("{} does not read this file: {why}", source.client.title));
        unusable.push(rejected.clone().filter(|_| !reading.found.is_empty()));
        for found in reading.found {
            let project = found.project.as_ref().map(PathBuf::from).or_else(|| source.project.clone());
            let ports = |port: u16| ports.at(port);
            let stand = judge::Place {
                client: source.client,
                scope: place.scope,
                project: project.as_deref(),
                ports: &ports,
                folder: source.real.parent().unwrap_or(Path::new("/")),
                exists: world.exists,
                is_own: world.is_own,
            };
            let verdict = match (&rejected, judge::judge(&found, stand)) {
                (Some(_), _) => Verdict::Left("the client does not read its file".to_owned()),
                (None, Verdict::Server(server)) => match source.objection(&found.name) {
                    Some(why) => Verdict::Left(why.to_owned()),
                    None => Verdict::Server(server),
                },
                (None, verdict) => verdict,
            };
            let (identity, known, group, by) = (None, None, None, None);
            items.push(Item { source: index, found, project, verdict, identity, known, group, by });
        }
    }
    (items, unusable)
}

/// Says of each entry which server it is, by what hub.toml would make of it. What that would not take is left.
fn identify(items: &mut [Item], text: &str, config: &Config, world: &World<'_>) -> Result<(), String> {
    let known: Vec<&str> = config.servers.iter().map(|entry| entry.name.as_str()).collect();
    let trial_name = |index: usize| {
        (0..=known.len()).map(|n| format!("import-{index}-{n}")).find(|name| !known.contains(&name.as_str()))
    };
    let names: Vec<String> = (0..items.len()).filter_map(trial_name).collect();
    let mut trials: Vec<(&str, &NewServer)> = Vec::new();
    for (item, name) in items.iter().zip(&names) {
        if let Verdict::Server(server) = &item.verdict {
            trials.push((name, server));
        }
    }
    let trial = edit::add_servers(text, &trials)?;
    let loaded = (world.load)(&trial);
    let mut identities = identity::of_servers(&trial, &loaded);
    let fault = |name: &str| {
        let is_it = |problem: &&Problem| problem.server.as_ref().is_some_and(|server| server.as_str() == name);
        loaded.problems.iter().filter(is_it).find(|problem| problem.kind != Kind::Environment)
    };
    for (item, name) in items.iter_mut().zip(&names).filter(|(item, _)| matches!(item.verdict, Verdict::Server(_))) {
        if let Some(problem) = fault(name) {
            item.verdict = Verdict::Left(format!("hub.toml cannot hold it: {}", problem.what));
            continue;
        }
        item.identity = identities.remove(name);
        let is_same = |known: &&&str| item.identity.is_some() && identities.get(**known) == item.identity.as_ref();
        item.known = known.iter().find(is_same).map(|name| (*name).to_owned());
    }
    Ok(())
}

/// Brings entries of one child together: those of hub.toml, and new ones in the order in which they were found.
fn group(items: &mut [Item]) -> Vec<Group> {
    let mut groups: Vec<(Option<Identity>, Group)> = Vec::new();
    for item in items {
        let Verdict::Server(server) = &item.verdict else { continue };
        let at = groups.iter().position(|(other, _)| item.identity.is_some() && *other == item.identity);
        let at = at.unwrap_or_else(|| {
            let name = item.known.clone().unwrap_or_default();
            let mut server = server.clone();
            server.share = browsers::drives_one(&server.command, &server.args).then_some("session");
            let group = Group { known: item.known.clone(), name, server: *server, port: 0, entries: 0 };
            groups.push((item.identity.clone(), group));
            groups.len() - 1
        });
        let (_, group) = &mut groups[at];
        group.entries += 1;
        // Switched off only if it is so everywhere.
        if server.enabled.is_none() {
            group.server.enabled = None;
        }
        item.group = Some(at);
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn give_names_and_ports(
    groups: &mut [Group],
    items: &[Item],
    config: &Config,
    known: &Known,
    world: &World<'_>,
) -> Result<(), Error> {
    let mut taken = Taken::of(config.servers.iter().map(|entry| entry.name.as_str()));
    let mut ports = Ports::of(config, world.remembered);
    // A user's own server gets the bare name, whatever a project calls its own.
    let order = (0..groups.len()).map(|index| (index, items.iter().find(|item| item.group == Some(index))));
    let mut order: Vec<(usize, Option<&Item>)> = order.collect();
    order.sort_by_key(|(_, item)| item.is_some_and(|item| item.project.is_some()));
    for (index, item) in order {
        let group = &mut groups[index];
        if let (None, Some(item)) = (&group.known, item) {
            group.name = taken.name(&item.found.name, item.project.as_deref());
        }
    }
    for group in groups {
        group.port = match group.known.as_deref().and_then(|name| known.port(name)) {
            Some(port) => port,
            None => ports.give(&group.name, world.is_free).ok_or(Error::NoPort { first: config.hub.first_port })?,
        };
        group.server.port = Some(group.port);
    }
    Ok(())
}

/// The new text of hub.toml: new servers at its end, the port of a known one fixed if it was not.
fn hub_text(groups: &[Group], hub: &HubToml, config: &Config) -> Result<String, String> {
    let mut text = hub.text.clone().unwrap_or_else(|| edit::BEGINNING.to_owned());
    for group in groups {
        let Some(name) = &group.known else { continue };
        if config.server(name).is_some_and(|entry| entry.port.is_none()) {
            text = edit::set_port(&text, name, group.port)?;
        }
    }
    let added = groups.iter().filter(|group| group.known.is_none()).map(|group| (group.name.as_str(), &group.server));
    edit::add_servers(&text, &added.collect::<Vec<_>>())
}

fn hub_change(hub: &HubToml, text: String, groups: &[Group]) -> Wanted {
    let added = groups.iter().filter(|group| group.known.is_none()).map(|group| group.name.clone()).collect();
    let before = hub.text.as_ref().map(|text| (text.clone().into_bytes(), hub.mode));
    // Secrets come into it: nobody else may read it from now on.
    let mode = hub.text.as_ref().map_or(0o600, |_| hub.mode & 0o700);
    Wanted { path: hub.path.clone(), before, after: (text.into_bytes(), mode), of: Of::Hub { added } }
}

fn shown(group: &Group, config: &Config, url: &dyn Fn(u16) -> String) -> Server {
    let known = group.known.as_deref().and_then(|name| config.server(name));
    Server {
        name: group.name.clone(),
        is_new: group.known.is_none(),
        command: mask::command_line(&group.server.command, &group.server.args),
        env: group.server.env.iter().map(|(name, _)| mask::name(name)).collect(),
        env_file: group.server.env_file.as_deref().map(mask::place),
        cwd: group.server.cwd.as_deref().map(mask::place),
        port: group.port,
        url: url(group.port),
        for_each_session: group.known.is_none() && group.server.share.is_some(),
        enabled: known.map_or(group.server.enabled != Some(false), |entry| entry.enabled),
        entries: group.entries,
    }
}

/// What will not work yet: a server that is switched off, a variable that is not set, a program that is not there.
fn warnings(groups: &[Group], config: &Config, after: &Loaded, world: &World<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    for group in groups.iter().filter(|group| group.server.enabled != Some(false)) {
        let known = group.known.as_deref().and_then(|name| config.server(name));
        if known.is_some_and(|entry| !entry.enabled) {
            warnings.push(format!("{0}: switched off in hub.toml: `hub enable {0}`", group.name));
        }
    }
    for group in groups.iter().filter(|group| group.known.is_none()) {
        let is_it = |problem: &&Problem| problem.server.as_ref().is_some_and(|server| server.as_str() == group.name);
        let said = |problem: &Problem| format!("{}: {}", group.name, mask::told(&problem.what));
        warnings.extend(after.problems.iter().filter(is_it).map(said));
        let spec = after.config.as_ref().and_then(|config| config.server(&group.name)?.spec.as_ref().ok());
        if let Some(spec) = spec
            && !(world.has_program)(&spec.command, &spec.cwd)
        {
            let program = mask::command_line(&group.server.command, &[]);
            warnings.push(format!("{}: there is no program `{program}`", group.name));
        }
    }
    warnings
}

fn files(
    sources: &Sources,
    items: Vec<Item>,
    mut unusable: Vec<Option<String>>,
    groups: &[Group],
    manner: Manner,
) -> Vec<File> {
    let mut files: Vec<File> = sources
        .all
        .iter()
        .take(sources.asked)
        .enumerate()
        .map(|(index, source)| File {
            client: source.client,
            path: source.path.clone(),
            project: source.project.clone(),
            left: unusable.get_mut(index).and_then(Option::take),
            entries: Vec::new(),
        })
        .collect();
    let override_file = sources.claude.map(|index| sources.all[index].path.clone()).unwrap_or_default();
    for item in items {
        let server = item.group.map(|group| groups[group].name.clone());
        let fate = match (item.verdict, server) {
            (Verdict::Left(reason), _) => Fate::Left { reason: mask::told(&reason) },
            (Verdict::Through(Reached::Hub), _) => Fate::Through { server: None },
            (Verdict::Through(Reached::Server(name)), _) => Fate::Through { server: Some(name) },
            (Verdict::Server(_), Some(server)) if manner.no_rewrite => Fate::Copied { server },
            (Verdict::Server(_), Some(server)) if item.by.is_some() => {
                Fate::Overridden { server, by: override_file.clone() }
            }
            (Verdict::Server(_), Some(server)) => Fate::Rewritten { server },
            (Verdict::Server(_), None) => Fate::Left { reason: "it could not be placed".to_owned() },
        };
        let file = &mut files[item.source];
        let project = item.project.filter(|_| file.project.is_none());
        file.entries.push(EntryPlan { name: mask::name(&item.found.name), project, fate, known: item.known });
    }
    files.retain(|file| file.left.is_some() || !file.entries.is_empty());
    files
}
