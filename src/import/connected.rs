//! Who goes through hub by now: every entry of every client, and where it leads.
//!
//! In: the same files as an import. Out: for each entry its [`Link`]. Owns nothing. May not: change anything.

use std::path::PathBuf;

use super::discover::{Home, Wanted};
use super::plan::{EntryPlan, Fate, File, Manner};
use super::world::{self, Error};
use crate::clients::Client;
use crate::platform::dirs::Dirs;

/// One file of a client with the entries in it.
#[derive(Debug, Clone)]
pub struct LinkedFile {
    /// Whose it is.
    pub client: &'static Client,
    /// Its path.
    pub path: PathBuf,
    /// The project whose file it is; none: the user's.
    pub project: Option<PathBuf>,
    /// Why it cannot be read.
    pub unreadable: Option<String>,
    /// Its entries in order.
    pub entries: Vec<LinkedEntry>,
}

/// One entry.
#[derive(Debug, Clone)]
pub struct LinkedEntry {
    /// Its name in the client.
    pub name: String,
    /// The project that it is for, when the file is not a project's own (local scope of Claude Code).
    pub project: Option<PathBuf>,
    /// Where it leads.
    pub link: Link,
}

/// Where an entry leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Through hub: to this server, or to all of them together. Also an entry of a committed file that another one of
    /// the same name overrides.
    Hub {
        /// Name in hub.toml.
        server: Option<String>,
    },
    /// The client starts a copy of a server that hub has: every window pays for it again.
    Copy {
        /// Name in hub.toml.
        server: String,
        /// Why `hub import` leaves it alone; none: it moves it.
        left: Option<String>,
    },
    /// The client starts a server that hub does not have, and could: `hub import` would take it.
    Own,
    /// Not for hub.
    Other {
        /// Why.
        reason: String,
    },
}

/// Looks at the files of all clients that are known: the user's, those of the current project and of the projects that
/// Claude Code knows. Takes some milliseconds a project.
pub fn connected(dirs: &Dirs) -> Result<Vec<LinkedFile>, Error> {
    of(&Home::find().ok_or(Error::NoHome)?, dirs)
}

fn of(home: &Home, dirs: &Dirs) -> Result<Vec<LinkedFile>, Error> {
    let plan = world::prepare_for(home, &Wanted::default(), Manner::default(), dirs)?;
    let link = |fate: Fate, known: Option<String>| match (fate, known) {
        (Fate::Through { server }, _) => Link::Hub { server },
        (Fate::Left { reason }, Some(server)) => Link::Copy { server, left: Some(reason) },
        (_, Some(server)) => Link::Copy { server, left: None },
        (Fate::Left { reason }, None) => Link::Other { reason },
        _ => Link::Own,
    };
    let entry = |entry: EntryPlan| LinkedEntry {
        name: entry.name,
        project: entry.project,
        link: link(entry.fate, entry.known),
    };
    let linked = |file: File| LinkedFile {
        client: file.client,
        path: file.path,
        project: file.project,
        unreadable: file.left,
        entries: file.entries.into_iter().map(entry).collect(),
    };
    Ok(plan.files.into_iter().map(linked).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn entries_lead_through_hub_or_start_copies() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        let home = Home {
            home: path("home"),
            config: path("config"),
            xdg: path("xdg"),
            here: path("here"),
            project: path("here"),
        };
        for folder in ["home/.cursor", "here"] {
            fs::create_dir_all(path(folder)).expect("folder");
        }
        fs::write(path("hub.toml"), "[servers.a]\ncommand = \"a-mcp\"\nport = 18999\n").expect("written");
        let entries = "{\"mcpServers\": {\"through\": {\"url\": \"http://127.0.0.1:18999/mcp\"}, \"copy\": {\"command\": \"a-mcp\"}, \
                       \"own\": {\"command\": \"b-mcp\"}, \"remote\": {\"url\": \"https://example.com/\"}}}";
        let file = path("home/.cursor/mcp.json");
        fs::write(&file, entries).expect("written");
        // Also where hub must not write, a copy is a copy.
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("mode");
        let dirs = Dirs {
            config_file: path("hub.toml"),
            config_dir: folder.path().to_owned(),
            state_dir: path("state"),
            control_socket: path("hub.sock"),
        };
        let files = of(&home, &dirs).expect("looked at");
        let [file] = files.as_slice() else { panic!("one file: {files:?}") };
        let links: Vec<&Link> = file.entries.iter().map(|entry| &entry.link).collect();
        let server = || "a".to_owned();
        let read_only = Link::Other { reason: "it is read-only".to_owned() };
        let copy = Link::Copy { server: server(), left: Some("it is read-only".to_owned()) };
        let remote = Link::Other { reason: "a remote server: hub runs local ones".to_owned() };
        assert_eq!(links, [&Link::Hub { server: Some(server()) }, &copy, &read_only, &remote]);
        assert!(!path("state").exists(), "looking changes nothing");
    }
}
