//! From the text of a hub.toml to a [`Config`], with all problems at once.
//!
//! In: text and [`Context`]. Out: [`Loaded`]. Owns no state. May not: stop at the first problem, or let one server's
//! problem reach another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml_edit::{Document, Item, Key};

use super::expand::{Lookup, Missing, Template};
use super::file::Files;
use super::reader::{At, Owner, Patience, Report, Section, shown, type_name};
use super::schema::{self, Draft, DraftRoots};
use super::text::Text;
use super::{
    BadName, Concurrency, Config, Context, EraChoice, HubSpec, Kind, Loaded, Problem, RestartPolicy, Roots, Secret,
    ServerEntry, ServerName, ServerSpec, Share, Start, ToolFilter, env_file,
};
use crate::limits;

/// Reads a hub.toml. See [`Loaded`] for what a problem costs.
pub fn load(text: &str, context: &Context<'_>) -> Loaded {
    let file = context.path.file_name().unwrap_or(context.path.as_os_str()).to_string_lossy();
    let mut report = Report::new(Arc::from(shown(&file)));
    let text = Text::parse(text);
    for fault in &text.faults {
        report.add(Kind::Syntax, &Owner::File, fault.line, fault.what.clone(), fault.hint.map(str::to_owned));
    }
    let config = text.document.as_ref().map(|document| config(&text, document, context, &mut report));
    report.problems.sort_by_key(|problem| problem.line);
    Loaded { config: config.filter(|_| !report.unusable), problems: report.problems, files: Files::new() }
}

fn config(text: &Text, document: &Document<String>, context: &Context<'_>, report: &mut Report) -> Config {
    let mut top = Section::new(text, document.as_table(), Owner::File, "", report);
    top.refuse_unknown(&schema::TOP);
    explain_strays(&mut top);
    let hub = HubSpec::new(context.cores);
    let hub = match top.table("hub") {
        Some(section) => schema::hub(section, hub),
        None => hub,
    };
    let defaults = top.table("defaults").map(Draft::defaults).unwrap_or_default();
    let written = top.table("servers").map(|section| section.entries()).unwrap_or_default();

    let mut names = Names { hub_port: hub.port, ports: BTreeMap::new(), lower: BTreeMap::new() };
    let mut servers = Vec::with_capacity(written.len());
    for (key, item) in written {
        servers.extend(server(text, key, item, &defaults, context, &mut names, report));
    }
    Config { hub, servers }
}

/// A table of the top level that looks like a server is one that lost its `servers.`.
fn explain_strays(top: &mut Section<'_, '_>) {
    for (key, item) in top.entries() {
        let is_server = item.as_table_like().is_some_and(|table| table.contains_key("command"));
        if is_server && !schema::TOP.known.contains(&key.get()) {
            let line = top.line_of(key, item);
            let name = shown(key.get());
            if let Some(problem) = top.report.problems.iter_mut().rfind(|problem| problem.line == line) {
                problem.hint = Some(format!("write [servers.{name}]"));
            }
        }
    }
}

/// What servers must not share.
struct Names {
    hub_port: u16,
    ports: BTreeMap<u16, ServerName>,
    lower: BTreeMap<String, ServerName>,
}

fn server(
    text: &Text,
    key: &Key,
    item: &Item,
    defaults: &Draft,
    context: &Context<'_>,
    names: &mut Names,
    report: &mut Report,
) -> Option<ServerEntry> {
    let before = report.problems.len();
    let line = text.line_of_key(key);
    let (owner, prefix) = match ServerName::new(key.get()) {
        Ok(name) => (Owner::Server(name), String::new()),
        Err(bad) => {
            let what = format!("servers.{:?}: {bad}", shown(key.get()));
            report.add(Kind::Schema, &Owner::Unnamed, line, what, other_name(key.get(), bad));
            (Owner::Unnamed, format!("servers.{}.", shown(key.get())))
        }
    };
    let draft = if let Some(table) = item.as_table_like() {
        Draft::server(Section::new(text, table, owner.clone(), &prefix, report), line, text.partial)
    } else {
        let what = format!("a server must be a table, not {}", type_name(item));
        let hint = Some(format!("write [servers.{}] above its keys", shown(key.get())));
        report.add(Kind::Schema, &owner, line, what, hint);
        Draft::default()
    };
    let Owner::Server(name) = owner else {
        return None;
    };
    let port = names.claim(&name, line, draft.port, report);
    let resolved = resolve(&name, draft.over(defaults), context, report);
    let enabled = resolved.spec.enabled;

    let mut problems = report.since(before);
    let file = Arc::clone(&report.file);
    let surroundings = resolved.missing.into_iter().map(|missing| missing.into_problem(&file, &name));
    problems.extend(surroundings);
    if enabled {
        // A server that is not to run may lack what it would need.
        report.problems.extend(problems.iter().filter(|problem| problem.kind == Kind::Environment).cloned());
    }
    let spec = if problems.is_empty() { Ok(Arc::new(resolved.spec)) } else { Err(problems) };
    Some(ServerEntry { name, port, enabled, spec })
}

fn other_name(key: &str, bad: BadName) -> Option<String> {
    let valid = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let cut: String = key.trim().chars().take(limits::SERVER_NAME_BYTES_MAX).map(valid).collect();
    let other = cut.trim_matches('-');
    let is_useful = bad == BadName::Character || bad == BadName::LeadingDash;
    (is_useful && !other.is_empty()).then(|| format!("write [servers.{other}]"))
}

// === impl Names ===

impl Names {
    /// Gives the port if it is still free; the first one to name it keeps it.
    fn claim(&mut self, name: &ServerName, line: usize, port: Option<At<u16>>, report: &mut Report) -> Option<u16> {
        let owner = Owner::Server(name.clone());
        // The names of log files, where case may not count, and the lower-case aliases of the aggregate endpoint.
        if let Some(other) = self.lower.get(&name.as_str().to_ascii_lowercase()) {
            let what = format!("the name differs from servers.{other} only in case");
            report.add(Kind::Schema, &owner, line, what, Some("choose another one".to_owned()));
        } else {
            self.lower.insert(name.as_str().to_ascii_lowercase(), name.clone());
        }
        let port = port?;
        let holder = match self.ports.get(&port.value) {
            Some(other) => format!("servers.{other}"),
            None if port.value == self.hub_port => "[hub]".to_owned(),
            None => {
                self.ports.insert(port.value, name.clone());
                return Some(port.value);
            }
        };
        let what = format!("`port` {} is already that of {holder}", port.value);
        let hint = "choose another one, or leave `port` out to get a free one".to_owned();
        report.add(Kind::Schema, &owner, port.line, what, Some(hint));
        None
    }
}

/// One thing that a server lacks.
struct Lack {
    line: usize,
    what: String,
    hint: Option<String>,
}

impl Lack {
    fn into_problem(self, file: &Arc<str>, name: &ServerName) -> Problem {
        let (kind, file, server) = (Kind::Environment, Arc::clone(file), Some(name.clone()));
        Problem { kind, file, line: self.line, server, what: self.what, hint: self.hint }
    }
}

/// A spec, and what it lacks to be true.
struct Resolved {
    spec: ServerSpec,
    missing: Vec<Lack>,
}

/// Looks up the references of one server.
struct Resolver<'a> {
    lookup: Lookup<'a>,
    /// Whether variables may be missing only because their file could not be read.
    lost_variables: bool,
    missing: Vec<Lack>,
}

// === impl Resolver ===

impl Resolver<'_> {
    fn lack(&mut self, line: usize, what: String, hint: Option<String>) {
        self.missing.push(Lack { line, what, hint });
    }

    fn lacks(&mut self, key: &str, line: usize, all: Vec<Missing>) {
        for missing in all {
            let hint = match &missing {
                Missing::Variable { .. } if self.lost_variables => continue,
                Missing::Variable { name } => {
                    Some(format!("set it where hub starts, put it into an `env_file`, or write ${{{name}:-default}}"))
                }
                _ => None,
            };
            self.lack(line, format!("`{key}`: {missing}"), hint);
        }
    }

    fn text(&mut self, key: &str, template: &At<Template>) -> Option<String> {
        match template.value.expand(&self.lookup) {
            Ok(text) => Some(text),
            Err(all) => {
                self.lacks(key, template.line, all);
                None
            }
        }
    }

    fn path(&mut self, key: &str, template: &At<Template>) -> Option<PathBuf> {
        match template.value.expand_path(&self.lookup) {
            Ok(path) => Some(path),
            Err(all) => {
                self.lacks(key, template.line, all);
                None
            }
        }
    }

    /// The variables of an env file; none when it cannot be used.
    fn env_file(&mut self, template: &At<Template>) -> Option<BTreeMap<String, String>> {
        let path = self.path("env_file", template)?;
        let shown = template.value.show_path(&self.lookup);
        let text = match (self.lookup.read)(&path) {
            Ok(text) => text,
            Err(error) => {
                self.lack(template.line, format!("`env_file`: {shown} cannot be read: {error}"), None);
                return None;
            }
        };
        match env_file::parse(&text) {
            Ok(found) => Some(found),
            Err(faults) => {
                for (line, what) in faults {
                    self.lack(template.line, format!("`env_file`: {shown}:{line}: {what}"), None);
                }
                None
            }
        }
    }
}

fn resolve(name: &ServerName, draft: Draft, context: &Context<'_>, report: &mut Report) -> Resolved {
    let base = context.path.parent().unwrap_or(Path::new("."));
    let outer = Lookup { vars: context.vars, read: context.read, base, home: context.home };
    let mut resolver = Resolver { lookup: outer, lost_variables: false, missing: Vec::new() };

    let from_file = match &draft.env_file {
        Some(template) => resolver.env_file(template),
        None => Some(BTreeMap::new()),
    };
    let lost_variables = from_file.is_none();
    let from_file = from_file.unwrap_or_default();
    // What a server keeps in its own file comes before what hub happened to be started with.
    let vars = |name: &str| from_file.get(name).cloned().or_else(|| (context.vars)(name));
    let lookup = Lookup { vars: &vars, read: context.read, base, home: context.home };
    let mut resolver = Resolver { lookup, lost_variables, missing: resolver.missing };

    let cwd = match &draft.cwd {
        Some(template) => resolver.path("cwd", template),
        None => Some(context.home.to_owned()),
    };
    if let Some(cwd) = cwd.as_ref().filter(|cwd| !(context.is_dir)(cwd)) {
        let line = draft.cwd.as_ref().map_or(0, |at| at.line);
        let written = draft.cwd.as_ref().map(|at| at.value.show_path(&resolver.lookup));
        let shown = written.unwrap_or_else(|| cwd.display().to_string());
        resolver.lack(line, format!("`cwd`: folder {shown} does not exist"), None);
    }
    let cwd = cwd.unwrap_or_default();
    let command = draft.command.as_ref().and_then(|template| {
        let text = resolver.text("command", template)?;
        if text.is_empty() {
            resolver.lack(template.line, "`command`: is empty once expanded".to_owned(), None);
        }
        Some(program(text, &cwd))
    });
    let args = draft.args.iter().filter_map(|template| resolver.text("args", template)).collect();
    let mut env: BTreeMap<_, _> = from_file.iter().map(|(key, value)| (key.clone(), Secret::new(value))).collect();
    for (key, template) in &draft.env {
        let value = resolver.text(&format!("env.{}", shown(key)), template);
        env.extend(value.map(|value| (key.clone(), Secret::new(value))));
    }
    let roots = match &draft.roots {
        Some(DraftRoots::Client) => Roots::Client,
        Some(DraftRoots::Own(list)) => Roots::Own(roots(&mut resolver, list)),
        None => Roots::default(),
    };
    let missing = resolver.missing;
    let spec = ServerSpec {
        name: name.clone(),
        command: command.unwrap_or_default(),
        args,
        env,
        cwd,
        port: draft.port.map(|at| at.value),
        enabled: draft.enabled.unwrap_or(true),
        start: draft.start.unwrap_or(Start::Eager),
        idle_stop: draft.idle_stop.and_then(Patience::until),
        share: draft.share.unwrap_or(Share::Shared),
        restart: restart(name, &draft, report),
        startup_timeout: draft.startup_timeout.map_or(limits::STARTUP_TIMEOUT, |at| at.value),
        probe_timeout: probe_timeout(name, &draft, report),
        request_timeout: draft.request_timeout.and_then(Patience::until),
        tools: ToolFilter::new(draft.allow.unwrap_or_else(|| vec!["*".to_owned()]), draft.deny.unwrap_or_default()),
        roots,
        concurrency: draft.concurrency.unwrap_or(Concurrency::Auto),
        era: draft.era.unwrap_or(EraChoice::Auto),
        park_timeout: draft.park_timeout.unwrap_or(limits::PARK_TIMEOUT),
    };
    Resolved { spec, missing }
}

/// A relative path is meant from `cwd`, as a shell there would read it; a bare name is looked up in PATH at the start.
fn program(command: String, cwd: &Path) -> String {
    let relative = command.contains('/') && !command.starts_with('/');
    match cwd.to_str() {
        Some(cwd) if relative => format!("{}/{command}", cwd.trim_end_matches('/')),
        _ => command,
    }
}

fn roots(resolver: &mut Resolver<'_>, templates: &[At<Template>]) -> Vec<String> {
    let mut roots = Vec::with_capacity(templates.len());
    for template in templates {
        let Some(root) = resolver.text("roots", template) else {
            continue;
        };
        // A literal one was judged with the schema.
        if !root.starts_with("file:///") && template.value.literal().is_none() {
            let hint = Some("a root is \"file:///path\"".to_owned());
            resolver.lack(template.line, "`roots`: is not a file URI once expanded".to_owned(), hint);
        }
        roots.push(root);
    }
    roots
}

/// The older way is tried after it, so it has to leave time for that. A default gives way.
fn probe_timeout(name: &ServerName, draft: &Draft, report: &mut Report) -> Duration {
    let startup = draft.startup_timeout.map_or(limits::STARTUP_TIMEOUT, |at| at.value);
    let Some(written) = draft.probe_timeout else { return limits::PROBE_TIMEOUT.min(startup / 2) };
    if written.value >= startup && draft.era.unwrap_or(EraChoice::Auto) == EraChoice::Auto {
        let what = "`probe_timeout` is not shorter than `startup_timeout`".to_owned();
        let hint = "shorten it, or write `era` to start without the probe".to_owned();
        report.add(Kind::Schema, &Owner::Server(name.clone()), written.line, what, Some(hint));
    }
    written.value
}

/// A bound that nobody wrote gives way to the one that somebody did.
fn restart(name: &ServerName, draft: &Draft, report: &mut Report) -> RestartPolicy {
    let default = RestartPolicy::default();
    match (draft.restart_initial, draft.restart_max) {
        (None, None) => default,
        (Some(initial), None) => RestartPolicy { initial: initial.value, max: default.max.max(initial.value) },
        (None, Some(max)) => RestartPolicy { initial: default.initial.min(max.value), max: max.value },
        (Some(initial), Some(max)) => {
            if max.value < initial.value {
                let what = "`restart.max` is shorter than `restart.initial`".to_owned();
                report.add(Kind::Schema, &Owner::Server(name.clone()), max.line, what, None);
            }
            RestartPolicy { initial: initial.value, max: max.value }
        }
    }
}
