//! Which config files there are: those of every known client for this user, those of the current project and of every
//! project that Claude Code knows; or the files that were named.
//!
//! In: the places of [`crate::clients`], the folders of this user. Out: [`Source`]s with their texts. Owns nothing. May
//! not: write, or follow a file that is not this user's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::approvals::{Approval, Approvals};
use crate::clients::{self, Base, Bases, CLIENTS, Client, Entries, Entry, Place, Scope};
use crate::files;
use crate::limits::{IMPORT_FILE_BYTES_MAX, IMPORT_PROJECTS_MAX};
use crate::platform::dirs;

/// The folders of this user.
#[derive(Debug, Clone)]
pub struct Home {
    /// The home folder.
    pub home: PathBuf,
    /// The system's folder for settings.
    pub config: PathBuf,
    /// The one of programs that take no notice of the system.
    pub xdg: PathBuf,
    /// The current folder.
    pub here: PathBuf,
    /// The project at hand: the current folder, or the nearest above it in its repository that has a client's file.
    pub project: PathBuf,
}

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// These files; empty: all that are known.
    pub files: Vec<PathBuf>,
    /// Only files of this client; a named file is read as one of it.
    pub from: Option<&'static Client>,
}

/// Why a named file cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("there is no file {}", .0.display())]
    Absent(PathBuf),
    /// Neither its path nor its text says.
    #[error("cannot tell which client {} belongs to", .0.display())]
    Unknown(PathBuf),
}

/// One file that is there.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub client: &'static Client,
    /// Index into the places of the client.
    pub place: usize,
    /// The project whose file it is.
    pub project: Option<PathBuf>,
    /// As it was found or named.
    pub path: PathBuf,
    /// The file itself: links are followed.
    pub real: PathBuf,
    pub content: Content,
    /// What was agreed to for its project, when that is not the one at hand: nobody named it.
    pub agreed: Agreed,
}

/// What is known of a person's consent to run what a file says.
#[derive(Debug, Clone)]
pub(super) enum Agreed {
    /// The user's own file, or one that was named.
    Theirs,
    /// The file of the current folder.
    Here(Approvals),
    /// The file of another project.
    Elsewhere(Approvals),
}

/// What could be read of a file.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// There is no file.
    Absent,
    /// Its text.
    Text {
        text: String,
        /// Permission bits.
        mode: u32,
        /// Why it cannot be written.
        locked: Option<String>,
    },
    /// Nothing.
    Unusable(String),
}

// === impl Source ===

impl Source {
    /// Its text as JSON; null when it is none.
    fn json(&self) -> serde_json::Value {
        let Content::Text { text, .. } = &self.content else { return serde_json::Value::Null };
        serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default()
    }

    /// Why hub must not run a server of it, though it could.
    pub(super) fn objection(&self, name: &str) -> Option<&'static str> {
        const NOT_TRUSTED: &str =
            "its project is not trusted in Claude Code: run `hub import` in its folder to move it";
        const NOT_ASKED: &str = "it is not approved in Claude Code: run `hub import` in its folder to move it";
        let (approvals, is_here) = match &self.agreed {
            Agreed::Theirs => return None,
            Agreed::Here(approvals) => (approvals, true),
            Agreed::Elsewhere(approvals) => (approvals, false),
        };
        if !self.client.asks_approval {
            return (!is_here && !approvals.is_trusted()).then_some(NOT_TRUSTED);
        }
        match approvals.server(name) {
            Approval::No => Some("it is rejected in Claude Code"),
            Approval::NotAsked if !is_here => Some(NOT_ASKED),
            Approval::NotAsked | Approval::Yes => None,
        }
    }

    /// Where in the file its entries are.
    fn entries(&self) -> &'static [Entries] {
        self.client.places[self.place].shape.entries
    }
}

// === impl Home ===

impl Home {
    /// The folders for this environment; none without a home folder.
    pub fn find() -> Option<Self> {
        let home = dirs::home().ok()?;
        let config = directories::BaseDirs::new()?.config_dir().to_owned();
        let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let xdg = named.unwrap_or_else(|| home.join(".config"));
        let here = std::env::current_dir().unwrap_or_else(|_gone| home.clone());
        let project = project_around(&here);
        Some(Self { home, config, xdg, here, project })
    }

    fn path(&self, place: &Place, project: Option<&Path>) -> Option<PathBuf> {
        let vars = |name: &str| std::env::var(name).ok();
        place.path(&Bases { home: &self.home, config: &self.config, xdg: &self.xdg, vars: &vars, project })
    }

    /// The file of Claude Code that holds the user's entries and those of each project's local scope, there or not.
    pub(super) fn claude(&self) -> Option<Source> {
        let holds_projects = |place: &Place| place.local("", "").is_some();
        let place = |client: &'static Client| Some((client, client.places.iter().position(holds_projects)?));
        let (client, place) = CLIENTS.iter().find_map(place)?;
        let path = self.path(&client.places[place], None)?;
        Some(look(client, place, None, &path, Agreed::Theirs).unwrap_or(Source {
            client,
            place,
            project: None,
            real: path.clone(),
            path,
            content: Content::Absent,
            agreed: Agreed::Theirs,
        }))
    }

    /// The files that are there.
    pub(super) fn sources(&self, wanted: &Wanted) -> Result<Vec<Source>, Error> {
        if !wanted.files.is_empty() {
            let mut seen = BTreeSet::new();
            let sources: Result<Vec<Source>, Error> =
                wanted.files.iter().map(|file| self.named(file, wanted.from)).collect();
            return Ok(sources?.into_iter().filter(|source| seen.insert(source.real.clone())).collect());
        }
        let mut found = Found { sources: Vec::new() };
        let of = |client: &&'static Client| wanted.from.is_none_or(|from| from.id == client.id);
        for client in CLIENTS.iter().filter(of) {
            found.places(self, client, None, &Agreed::Theirs);
        }
        let claude = self.claude();
        let known = claude.as_ref().map(Source::json).unwrap_or_default();
        let settings = self.claude_settings();
        for project in self.projects(&known) {
            let approvals = Approvals::of(&project, &known, &settings);
            let agreed = if project == self.project { Agreed::Here(approvals) } else { Agreed::Elsewhere(approvals) };
            for client in CLIENTS.iter().filter(of) {
                found.places(self, client, Some(&project), &agreed);
            }
        }
        Ok(found.sources)
    }

    /// The folder of Claude Code's settings.
    fn claude_settings(&self) -> PathBuf {
        let named = std::env::var_os("CLAUDE_CONFIG_DIR").filter(|folder| !folder.is_empty());
        named.map_or_else(|| self.home.join(".claude"), PathBuf::from)
    }

    /// The project at hand, and the folders that Claude Code has worked in.
    fn projects(&self, claude: &serde_json::Value) -> Vec<PathBuf> {
        let mut projects = vec![self.project.clone()];
        let folders = claude.get("projects").and_then(serde_json::Value::as_object);
        projects.extend(folders.into_iter().flatten().map(|(folder, _)| PathBuf::from(folder)));
        projects.retain(|folder| folder.is_absolute() && folder.is_dir());
        projects.truncate(IMPORT_PROJECTS_MAX);
        projects
    }

    fn named(&self, file: &Path, from: Option<&'static Client>) -> Result<Source, Error> {
        let path = self.here.join(file.strip_prefix(".").unwrap_or(file));
        if !path.exists() {
            return Err(Error::Absent(path));
        }
        let guessed = clients::guess(&path).map(|(client, place)| (client, position(client, place)));
        let guessed = guessed.filter(|(client, _)| from.is_none_or(|from| from.id == client.id));
        let (client, place) = match (guessed, from) {
            (Some(known), _) => known,
            (None, Some(from)) => (from, by_format(from, &path)),
            (None, None) => by_text(&path).ok_or_else(|| Error::Unknown(path.clone()))?,
        };
        let told = &client.places[place];
        // A copy of a user's file in another place is read as that file; one in nobody's place is its folder's.
        let is_users = guessed.is_some() && told.scope != Scope::Project;
        let root = (!is_users).then(|| root(&path, told)).map(|root| fs::canonicalize(&root).unwrap_or(root));
        look(client, place, root, &path, Agreed::Theirs).ok_or(Error::Absent(path))
    }
}

/// Nothing above the repository counts: others may write there.
fn project_around(here: &Path) -> PathBuf {
    let Some(top) = here.ancestors().find(|folder| folder.join(".git").exists()) else { return here.to_owned() };
    let places = || CLIENTS.iter().flat_map(|client| client.places).filter(|place| place.scope == Scope::Project);
    // Of a path with `*` in it, the folder.
    let has_file =
        |folder: &&Path| places().any(|place| folder.join(place.path.split('*').next().unwrap_or("")).exists());
    let within = here.ancestors().take_while(|folder| folder.starts_with(top));
    within.into_iter().find(has_file).unwrap_or(here).to_owned()
}

struct Found {
    sources: Vec<Source>,
}

impl Found {
    /// The files of one client: the user's, or those of a project. Entries that two clients read in the same place count
    /// once; two clients may also keep theirs in different places of one file.
    fn places(&mut self, home: &Home, client: &'static Client, project: Option<&Path>, agreed: &Agreed) {
        for (index, place) in client.places.iter().enumerate() {
            if (place.base == Base::Project) != project.is_some() {
                continue;
            }
            for path in home.path(place, project).into_iter().flat_map(expand) {
                let project = project.map(Path::to_owned);
                let Some(source) = look(client, index, project, &path, agreed.clone()) else { continue };
                if !self.sources.iter().any(|known| known.real == source.real && known.entries() == source.entries()) {
                    self.sources.push(source);
                }
            }
        }
    }
}

/// The paths that a path with `*` in it means.
fn expand(path: PathBuf) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in path.components() {
        let text = part.as_os_str().to_string_lossy();
        if !matches!(part, Component::Normal(_)) || !text.contains('*') {
            paths.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let within = |folder: &PathBuf| {
            let names = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut names: Vec<PathBuf> = names
                .filter(|entry| clients::matches(&text, &entry.file_name().to_string_lossy()))
                .map(|entry| entry.path())
                .collect();
            names.sort();
            names
        };
        paths = paths.iter().flat_map(within).collect();
    }
    paths
}

/// Reads a file, if there is one.
fn look(
    client: &'static Client,
    place: usize,
    project: Option<PathBuf>,
    path: &Path,
    agreed: Agreed,
) -> Option<Source> {
    let real = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        other => other.unwrap_or_else(|_error| path.to_owned()),
    };
    let content = content(&real).unwrap_or_else(|error| Content::Unusable(error.to_string()));
    Some(Source { client, place, project, path: path.to_owned(), real, content, agreed })
}

fn content(path: &Path) -> io::Result<Content> {
    let unusable = |why: &str| Ok(Content::Unusable(why.to_owned()));
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return unusable("it is not a file");
    }
    if path.to_str().is_none() {
        return unusable("its path is not UTF-8");
    }
    let bytes = match files::read(path, IMPORT_FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return unusable(&format!("it is larger than {} MiB", IMPORT_FILE_BYTES_MAX >> 20));
        }
        other => other?.unwrap_or_default(),
    };
    let mode = found.permissions().mode() & 0o7777;
    let folder = path.parent().unwrap_or(path);
    let locked = if found.uid() != nix::unistd::geteuid().as_raw() {
        Some("it belongs to another user".to_owned())
    } else if mode & 0o200 == 0 {
        Some("it is read-only".to_owned())
    } else if nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_err() {
        Some("its folder is read-only".to_owned())
    } else {
        None
    };
    match clients::decode(&bytes) {
        Ok(text) => Ok(Content::Text { text: text.to_owned(), mode, locked }),
        Err(error) => Ok(Content::Unusable(error.to_string())),
    }
}

fn position(client: &Client, place: &Place) -> usize {
    client.places.iter().position(|known| std::ptr::eq(known, place)).unwrap_or(0)
}

/// The place of a client that a file fits best: the same name, else the same suffix, else the first.
fn by_format(client: &Client, path: &Path) -> usize {
    let suffix = |path: &Path| path.extension().map(|suffix| suffix.to_string_lossy().into_owned());
    let by = |fits: &dyn Fn(&Path) -> bool| client.places.iter().position(|place| fits(Path::new(place.path)));
    let named = by(&|place| place.file_name() == path.file_name());
    named.or_else(|| by(&|place| suffix(place) == suffix(path))).unwrap_or(0)
}

/// The first client that finds entries in a text.
fn by_text(path: &Path) -> Option<(&'static Client, usize)> {
    let Ok(Content::Text { text, .. }) = content(&fs::canonicalize(path).ok()?) else { return None };
    let is_usable = |found: &clients::Found| !matches!(found.entry, Entry::Other { .. });
    CLIENTS.iter().find_map(|client| {
        let reads =
            |place: &Place| clients::read(&text, &place.shape).is_ok_and(|reading| reading.found.iter().any(is_usable));
        client.places.iter().position(reads).map(|place| (client, place))
    })
}

/// The folder of the project that a named file belongs to: what is left of its path without that of the place, else the
/// folder that it is in.
fn root(path: &Path, place: &Place) -> PathBuf {
    let depth = place.path.split('/').count();
    let ends = place.base == Base::Project
        && path
            .components()
            .rev()
            .zip(place.path.rsplit('/'))
            .all(|(part, segment)| clients::matches(segment, &part.as_os_str().to_string_lossy()));
    let depth = if ends { depth } else { 1 };
    path.ancestors().nth(depth).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_names_of_the_folder() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["b/x.json", "a/x.json", ".hidden/x.json", "c/y.json"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
            fs::write(path, "{}").expect("written");
        }
        let found = expand(folder.path().join("*/x.json"));
        let found: Vec<_> = found.into_iter().filter(|path| path.exists()).collect();
        assert_eq!(found, ["a/x.json", "b/x.json"].map(|name| folder.path().join(name)));
    }

    #[test]
    fn files_that_are_no_use_say_why() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("f.json");
        let why = |content: io::Result<Content>| match content.expect("looked at") {
            Content::Unusable(why) => why,
            Content::Text { locked, .. } => locked.unwrap_or_default(),
            Content::Absent => "absent".to_owned(),
        };
        assert_eq!(why(content(folder.path())), "it is not a file");
        fs::write(&file, [0xff, 0xfe]).expect("written");
        assert_eq!(why(content(&file)), "it is not UTF-8 text");
        fs::write(&file, "{}").expect("written");
        assert_eq!(why(content(&file)), "");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("mode");
        assert_eq!(why(content(&file)), "it is read-only");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("mode");
        fs::File::options()
            .write(true)
            .open(&file)
            .and_then(|file| file.set_len(IMPORT_FILE_BYTES_MAX + 1))
            .expect("grown");
        assert_eq!(why(content(&file)), "it is larger than 16 MiB");
    }
}
