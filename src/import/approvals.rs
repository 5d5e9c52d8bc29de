//! What a person has agreed to in Claude Code: folders that are trusted, servers of project files that may run.
//!
//! In: the settings of Claude Code. Out: for a project and a name, whether hub may run it. Owns nothing. May not: take the
//! word of a project that nobody trusts.
//!
//! A project's file comes with the project, from anybody. Claude Code runs nothing of it before it has asked; hub, which
//! runs servers by itself, must not be a way around that.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// What was agreed to for one project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Approvals {
    /// The folder is trusted.
    is_trusted: bool,
    /// All servers of its file may run.
    all: bool,
    enabled: BTreeSet<String>,
    disabled: BTreeSet<String>,
}

/// What a person said of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approval {
    Yes,
    No,
    NotAsked,
}

// === impl Approvals ===

impl Approvals {
    /// Of a project, with the text of `~/.claude.json` and the folder of Claude Code's settings.
    pub(super) fn of(project: &Path, claude: &Value, settings: &Path) -> Self {
        let mut approvals = Self::default();
        let own = claude.get("projects").zip(project.to_str()).and_then(|(projects, project)| projects.get(project));
        if let Some(own) = own {
            approvals.is_trusted = own.get("hasTrustDialogAccepted") == Some(&Value::Bool(true));
            approvals.add(own);
        }
        approvals.add(&read(&settings.join("settings.json")));
        if approvals.is_trusted {
            approvals.add(&read(&project.join(".claude/settings.json")));
            approvals.add(&read(&project.join(".claude/settings.local.json")));
        }
        approvals
    }

    fn add(&mut self, settings: &Value) {
        let names = |key: &str| {
            let list = settings.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        self.all |= settings.get("enableAllProjectMcpServers") == Some(&Value::Bool(true));
        self.enabled.extend(names("enabledMcpjsonServers"));
        self.disabled.extend(names("disabledMcpjsonServers"));
    }

    /// Of a server in the project's `.mcp.json`.
    pub(super) fn server(&self, name: &str) -> Approval {
        if self.disabled.contains(name) {
            Approval::No
        } else if self.is_trusted && (self.all || self.enabled.contains(name)) {
            Approval::Yes
        } else {
            Approval::NotAsked
        }
    }

    /// Of the project as a whole: what counts for the files of other clients, whose own approvals are out of reach.
    pub(super) fn is_trusted(&self) -> bool {
        self.is_trusted
    }
}

/// Settings that cannot be read say nothing.
fn read(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Approval::{No, NotAsked, Yes};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_project_cannot_approve_itself() {
        let folder = tempfile::tempdir().expect("folder");
        let project = folder.path().join("project");
        fs::create_dir_all(project.join(".claude")).expect("folder");
        let said = json!({"enabledMcpjsonServers": ["a", "b"], "disabledMcpjsonServers": ["b"]});
        fs::write(project.join(".claude/settings.local.json"), said.to_string()).expect("written");
        let of = |own: Value| {
            let claude = json!({"projects": {project.to_str().expect("a name"): own}});
            let approvals = Approvals::of(&project, &claude, folder.path());
            ["a", "b", "c"].map(|name| approvals.server(name))
        };
        assert_eq!(of(json!({})), [NotAsked; 3]);
        assert_eq!(of(json!({"hasTrustDialogAccepted": true})), [Yes, No, NotAsked]);
        assert_eq!(of(json!({"enabledMcpjsonServers": ["c"]})), [NotAsked; 3]);
        assert_eq!(of(json!({"hasTrustDialogAccepted": true, "enabledMcpjsonServers": ["c"]})), [Yes, No, Yes]);
        fs::write(folder.path().join("settings.json"), "{\"enableAllProjectMcpServers\": true}").expect("written");
        assert_eq!(
            of(json!({"disabledMcpjsonServers": ["c"]})),
            [NotAsked, NotAsked, No],
            "all is all that is trusted"
        );
        assert_eq!(of(json!({"hasTrustDialogAccepted": true, "disabledMcpjsonServers": ["c"]})), [Yes, No, No]);
    }
}
