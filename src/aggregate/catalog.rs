//! What the aggregate knows of all servers at one moment: merged lists and the tables that lead back.
//!
//! In: the registry and each server's snapshot. Out: an immutable [`Catalog`]; parts of the one before are taken over
//! where a server's list is the same. Owned by whoever holds the `Arc`. May not: wait, or change after it was built.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};

use crate::bridge::result::{needs_task, tools_to_legacy, tools_to_modern, tools_with_valid_headers};
use crate::config::ServerName;
use crate::limits::UNAVAILABLE_REASON_BYTES_MAX;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ListKind, Raw, scan};
use crate::server::registry::{NotRunning, Registered};
use crate::server::{Failure, Handshake, List, Lists, Registry, ServerHandle, Snapshot, State};

use super::identity;
use super::merge::{Entry, Merged};
use super::names;
use super::resources::{ResourceTable, Source};

/// The name or URI of one item.
#[derive(Debug, Clone)]
pub struct Key {
    /// Which item of the list.
    index: usize,
    /// Where its JSON string stands in the item.
    pub range: Range<usize>,
    /// What it spells.
    pub text: Box<str>,
}

/// One server's list of one kind with the keys of its items.
#[derive(Debug)]
pub struct Segment {
    list: Arc<List>,
    keys: Vec<Key>,
}

impl Segment {
    /// Finds the keys; items without one are left out.
    pub fn new(kind: ListKind, list: Arc<List>) -> Self {
        let keys = list.items.iter().enumerate().filter_map(|(index, item)| Key::find(kind, index, item)).collect();
        Self { list, keys }
    }

    /// Items and their keys, in the server's order.
    pub fn items(&self) -> impl Iterator<Item = (&Raw, &Key)> {
        self.keys.iter().map(|key| (&self.list.items[key.index], key))
    }
}

impl Key {
    fn find(kind: ListKind, index: usize, item: &Raw) -> Option<Self> {
        let member = match kind {
            ListKind::Tools | ListKind::Prompts => "name",
            ListKind::Resources => "uri",
            ListKind::Templates => "uriTemplate",
        };
        let value = Object::scan(item).and_then(|object| object.get(member));
        let Some(text) = value.as_deref().and_then(scan::unquote) else {
            tracing::warn!(kind = kind.items_key(), member, "an item without its key is left out");
            return None;
        };
        let start = value.as_ref()?.as_ptr().addr() - item.as_ptr().addr();
        Some(Self { index, range: start..start + value.as_ref()?.len(), text: text.into() })
    }
}

/// One configured server.
#[derive(Debug)]
pub struct Member {
    /// Its name in hub.toml.
    pub name: ServerName,
    /// Its name on the aggregate endpoint.
    pub alias: Arc<str>,
    /// The way to it; `None` if it does not run at all.
    pub handle: Option<ServerHandle>,
    /// `enabled = false`: it is as if it were not there.
    pub disabled: bool,
    /// Why it cannot be called, if it cannot.
    pub down: Option<Arc<str>>,
    handshake: Option<Arc<Handshake>>,
    lists: Arc<Lists>,
    segments: [Option<Arc<Segment>>; 4],
}

/// Why calls to a server in this state are not even queued. A child that starts or is about to be restarted is not
/// down: its instance holds the calls.
pub fn down(snapshot: &Snapshot) -> Option<Arc<str>> {
    match snapshot.state {
        State::Failed => Some(reason(snapshot.failure.as_deref())),
        State::Disabled => Some("it is disabled in hub.toml".into()),
        State::Stopped | State::Starting | State::Ready | State::Backoff | State::Stopping => None,
    }
}

/// The first line of a failure: what follows is its stderr.
fn reason(failure: Option<&Failure>) -> Arc<str> {
    let first = failure.and_then(|failure| failure.message.lines().next()).unwrap_or("it has failed");
    first[..first.floor_char_boundary(UNAVAILABLE_REASON_BYTES_MAX)].into()
}

/// Could a server with this handshake have a list of this kind? Without a handshake, yes.
pub fn may_have(handshake: Option<&Handshake>, lists: &Lists, kind: ListKind) -> bool {
    let Some(handshake) = handshake else { return true };
    // Many servers have resources but no method for templates.
    if kind == ListKind::Templates && lists.get(ListKind::Resources).is_some() {
        return false;
    }
    Object::scan(&handshake.capabilities).is_some_and(|capabilities| capabilities.get(kind.capability()).is_some())
}

impl Member {
    fn new(server: &Registered, alias: Arc<str>, previous: Option<&Self>) -> Self {
        let (handle, disabled, down, handshake, lists) = match &server.handle {
            Ok(handle) => {
                let snapshot = handle.snapshot();
                let (handshake, lists) = (snapshot.handshake.clone(), snapshot.lists.clone());
                (Some(handle.clone()), snapshot.state == State::Disabled, down(&snapshot), handshake, lists)
            }
            Err(NotRunning::Disabled) => (None, true, None, None, Arc::default()),
            Err(NotRunning::Unusable(failure)) => {
                // What it offered before its configuration broke is still listed, so that calls get a reason.
                let known = previous.map(|member| (member.handshake.clone(), member.lists.clone()));
                let (handshake, lists) = known.unwrap_or_default();
                (None, false, Some(reason(Some(failure))), handshake, lists)
            }
        };
        let segments = ListKind::ALL.map(|kind| {
            let list = lists.get(kind)?;
            let same = previous.and_then(|member| member.segments[kind as usize].as_ref());
            let same = same.filter(|segment| Arc::ptr_eq(&segment.list, list)).cloned();
            Some(same.unwrap_or_else(|| Arc::new(Segment::new(kind, list.clone()))))
        });
        Self { name: server.name.clone(), alias, handle, disabled, down, handshake, lists, segments }
    }

    /// Its handshake, perhaps of an earlier run.
    pub fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_deref()
    }

    fn segment(&self, kind: ListKind) -> Option<&Segment> {
        self.segments[kind as usize].as_deref().filter(|_| !self.disabled)
    }

    fn resource_source(&self) -> Source<'_> {
        let (resources, templates) = (self.segment(ListKind::Resources), self.segment(ListKind::Templates));
        Source { alias: &self.alias, resources, templates }
    }

    /// It should have a list of this kind, but has none or cannot be called.
    pub fn is_missing(&self, kind: ListKind) -> bool {
        let expected = || may_have(self.handshake(), &self.lists, kind);
        !self.disabled
            && (self.down.is_some() || self.segment(kind).is_none())
            && (self.segment(kind).is_some() || expected())
    }

    /// Does it still show what this member was built from?
    fn is_current(&self) -> bool {
        let Some(handle) = &self.handle else { return true };
        let snapshot = handle.snapshot();
        Arc::ptr_eq(&snapshot.lists, &self.lists)
            && match (&snapshot.handshake, &self.handshake) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                (now, then) => now.is_none() == then.is_none(),
            }
            && down(&snapshot) == self.down
    }
}

/// A tool or prompt: which server, and its own name as a JSON string.
#[derive(Debug, Clone)]
pub struct Target {
    /// Index into [`Catalog::members`].
    pub member: usize,
    /// The server's own name, raw, with quotes.
    pub own: Raw,
}

/// All servers at one moment.
#[derive(Debug)]
pub struct Catalog {
    registry: Arc<Registry>,
    members: Vec<Member>,
    by_name: HashMap<ServerName, usize>,
    names: [HashMap<Box<str>, Target>; 2],
    resources: ResourceTable,
    lists: [Merged; 4],
    /// The list of tools as modern clients can read it.
    modern_tools: OnceLock<Merged>,
    handshake: Arc<Handshake>,
}

impl Catalog {
    /// Builds a catalogue of what the servers show now.
    pub fn build(registry: Arc<Registry>, previous: Option<&Self>) -> Self {
        let server_names: Vec<&str> = registry.servers().iter().map(|server| server.name.as_ref()).collect();
        let member = |(server, alias): (&Registered, Arc<str>)| {
            Member::new(server, alias, previous.and_then(|catalog| catalog.member_of(&server.name)))
        };
        let members: Vec<Member> = registry.servers().iter().zip(names::aliases(&server_names)).map(member).collect();
        let (tool_names, tools) = merge_named(&members, ListKind::Tools, Era::Legacy);
        let (prompt_names, prompts) = merge_named(&members, ListKind::Prompts, Era::Legacy);
        let sources: Vec<Source<'_>> = members.iter().map(Member::resource_source).collect();
        let (resource_table, resources, templates) = ResourceTable::build(&sources);
        let mut entries = [tools, prompts, resources, templates].into_iter();
        let lists = ListKind::ALL.map(|kind| merged(kind, &members, entries.next().expect("one for each kind")));
        Self {
            by_name: members.iter().enumerate().map(|(index, member)| (member.name.clone(), index)).collect(),
            names: [tool_names, prompt_names],
            resources: resource_table,
            lists,
            modern_tools: OnceLock::new(),
            handshake: Arc::new(identity::handshake(&members)),
            registry,
            members,
        }
    }

    /// Is it what would be built now?
    pub fn is_current(&self, registry: &Arc<Registry>) -> bool {
        self.is_of(registry) && self.members.iter().all(Member::is_current)
    }

    /// Was it built from this registry?
    pub fn is_of(&self, registry: &Arc<Registry>) -> bool {
        Arc::ptr_eq(&self.registry, registry)
    }

    /// All configured servers, in the order of hub.toml.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of a server.
    pub fn member_of(&self, name: &ServerName) -> Option<&Member> {
        self.by_name.get(name).map(|&index| &self.members[index])
    }

    /// The tool or prompt of an exposed name.
    pub fn target(&self, kind: ListKind, exposed: &str) -> Option<&Target> {
        self.names.get(kind as usize)?.get(exposed)
    }

    /// Where URIs lead.
    pub fn resources(&self) -> &ResourceTable {
        &self.resources
    }

    /// The merged list of a kind.
    pub fn list(&self, kind: ListKind) -> &Merged {
        &self.lists[kind as usize]
    }

    /// The merged list of a kind without what clients of that era would stumble over.
    pub fn readable(&self, kind: ListKind, reader: Era) -> &Merged {
        match (kind, reader) {
            (ListKind::Tools, Era::Modern) => self.modern_tools.get_or_init(|| {
                let (_, entries) = merge_named(&self.members, kind, reader);
                merged(kind, &self.members, entries)
            }),
            _ => self.list(kind),
        }
    }

    /// What an aggregate session's `initialize` is answered with.
    pub fn handshake(&self) -> &Arc<Handshake> {
        &self.handshake
    }
}

fn merged(kind: ListKind, members: &[Member], entries: Vec<Entry>) -> Merged {
    let missing = members.iter().filter(|member| member.is_missing(kind));
    let unavailable: Vec<Arc<str>> = missing.map(|member| member.alias.clone()).collect();
    Merged::new(kind, generation(kind, members, &unavailable), unavailable, entries)
}

/// An item as clients of that era can read it, and where its name stands in that; `None` if they cannot use it.
fn readable(
    member: &Member,
    kind: ListKind,
    reader: Era,
    item: &Raw,
    name: &Range<usize>,
) -> Option<(Raw, Range<usize>)> {
    let era = member.handshake().map_or(Era::Legacy, |handshake| handshake.era);
    let edited = match (kind, era, reader) {
        (ListKind::Tools, Era::Modern, Era::Legacy) => tools_to_legacy(item),
        (ListKind::Tools, Era::Legacy, Era::Modern) if needs_task(item) => return None,
        (ListKind::Tools, Era::Legacy, Era::Modern) => tools_to_modern(item),
        (ListKind::Tools, Era::Modern, Era::Modern) => tools_with_valid_headers(item),
        _ => return Some((item.clone(), name.clone())),
    };
    let found = Object::scan(&edited).and_then(|tool| tool.get("name"));
    let start = found.as_ref().map_or(name.start, |found| found.as_ptr().addr() - edited.as_ptr().addr());
    Some((edited, start..start + name.len()))
}

/// The table of exposed names and the merged items of tools or prompts, for clients of one era.
fn merge_named(members: &[Member], kind: ListKind, reader: Era) -> (HashMap<Box<str>, Target>, Vec<Entry>) {
    let (mut table, mut entries) = (HashMap::new(), Vec::new());
    for (index, member) in members.iter().enumerate() {
        let Some(segment) = member.segment(kind) else { continue };
        let own: Vec<&str> = segment.keys.iter().map(|key| &*key.text).collect();
        for ((item, key), exposed) in segment.items().zip(names::expose(&member.alias, &own)) {
            let Some(exposed) = exposed else {
                tracing::warn!(server = %member.name, name = %key.text, "listed twice: the first one counts");
                continue;
            };
            let Some((readable, name)) = readable(member, kind, reader, item, &key.range) else { continue };
            let splice = Some((name, format!("\"{exposed}\"").into()));
            entries.push(Entry { item: readable, splice });
            table.insert(exposed.into(), Target { member: index, own: item.slice(key.range.clone()) });
        }
    }
    (table, entries)
}

/// A number that changes exactly when the merged list does, and is the same in the next run of hub.
fn generation(kind: ListKind, members: &[Member], unavailable: &[Arc<str>]) -> u64 {
    let mut sha = Sha256::new();
    sha.update([kind as u8]);
    let mut section = |tag: u8, alias: &str, digest: u64| {
        sha.update([tag]);
        sha.update(alias.as_bytes());
        sha.update([0]);
        sha.update(digest.to_be_bytes());
    };
    for member in members {
        if let Some(segment) = member.segment(kind) {
            section(1, &member.alias, segment.list.digest);
        }
    }
    for alias in unavailable {
        section(2, alias, 0);
    }
    let digest = sha.finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("32 bytes"))
}
