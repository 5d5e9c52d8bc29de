//! Names of servers in hub.toml, from the names that entries have.
//!
//! In: the name of an entry, its project, the names that are taken. Out: a name that hub.toml takes and nobody has. Owns
//! nothing. PURE. May not: change a name in a client's file: permissions and approvals hang on those.

use std::collections::BTreeSet;
use std::path::Path;

use super::mask;
use crate::limits::SERVER_NAME_BYTES_MAX;

/// Names in use; hub.toml tells no two names apart by case.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeSet<String>);

impl Taken {
    /// These names are in use.
    pub(super) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    fn take(&mut self, name: String) -> Option<String> {
        self.0.insert(name.to_ascii_lowercase()).then_some(name)
    }

    /// A new name: that of the entry, then with its project's folder, then with a number.
    pub(super) fn name(&mut self, entry: &str, project: Option<&Path>) -> String {
        let bare = slug(entry);
        if let Some(name) = self.take(bare.clone()) {
            return name;
        }
        let folder = project.and_then(Path::file_name).map(|folder| slug(&folder.to_string_lossy()));
        let base = match folder {
            Some(folder) => {
                let name = joined(&bare, &folder);
                if let Some(name) = self.take(name.clone()) {
                    return name;
                }
                name
            }
            None => bare,
        };
        (2_u32..).find_map(|number| self.take(joined(&base, &number.to_string()))).expect("numbers do not end")
    }
}

/// Both with a dash between; the first is cut when they are too long together.
fn joined(first: &str, second: &str) -> String {
    let second: String = second.chars().take(SERVER_NAME_BYTES_MAX / 2).collect();
    let room = SERVER_NAME_BYTES_MAX - 1 - second.len();
    let first: String = first.chars().take(room).collect();
    format!("{}-{second}", first.trim_end_matches('-'))
}

/// The name with everything else than letters, digits, `_` and `-` as one dash.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(SERVER_NAME_BYTES_MAX);
    let slug = slug.trim_end_matches('-');
    // Shown everywhere, and part of URLs.
    if slug.is_empty() || mask::is_key(name) { "server".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerName;

    #[test]
    fn names_become_what_hub_toml_takes() {
        for (entry, name) in [
            ("github", "github"),
            ("My Server", "My-Server"),
            ("io.github.X/y", "io-github-X-y"),
            ("-lead", "lead"),
            ("a - b!", "a-b"),
            ("", "server"),
            ("日本", "server"),
            ("a__b", "a__b"),
            ("ghp_0123456789abcdef", "server"),
        ] {
            assert_eq!(slug(entry), name);
        }
        for entry in ["x".repeat(200), format!("{}--", "y".repeat(63)), "../../etc".to_owned()] {
            assert!(ServerName::new(&slug(&entry)).is_ok(), "{entry}");
        }
    }

    #[test]
    fn two_servers_of_one_name_are_told_apart() {
        let mut taken = Taken::of(["GitHub"]);
        let project = Some(Path::new("/w/My App"));
        assert_eq!(taken.name("github", None), "github-2");
        assert_eq!(taken.name("github", project), "github-My-App");
        assert_eq!(taken.name("github", project), "github-My-App-2");
        assert_eq!(taken.name("other", project), "other");
        let long = "n".repeat(64);
        assert_eq!(taken.name(&long, None), long);
        for project in [None, project, Some(Path::new("/")), Some(Path::new(&long))] {
            let name = taken.name(&long, project);
            assert!(ServerName::new(&name).is_ok() && name.len() <= 64, "{name}");
        }
    }
}
