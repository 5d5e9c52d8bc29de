//! Which servers are the same: those that would be the same child.
//!
//! In: the text of a hub.toml and what came of reading it. Out: an [`Identity`] for each of its servers. Owns nothing.
//! May not: keep a value (it could be a secret): only hashes.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use toml_edit::{Document, Item};

use crate::config::{Loaded, ServerSpec};

/// Command, arguments, resolved variables and folder, as a hash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(Vec<u8>);

/// The identities of the servers in a hub.toml. What cannot be resolved now (a variable is not set, also when it has a
/// default) is compared as it is written: two that fall back to the same default today may be two accounts tomorrow.
pub(super) fn of_servers(text: &str, loaded: &Loaded) -> BTreeMap<String, Identity> {
    let mut all = BTreeMap::new();
    let Some(config) = &loaded.config else { return all };
    let written = Document::parse(text.to_owned()).ok();
    let table = |name: &str| written.as_ref()?.get("servers")?.as_table_like()?.get(name);
    for entry in &config.servers {
        let name = entry.name.as_str();
        let identity = match &entry.spec {
            Ok(spec) if !table(name).is_some_and(falls_back) => Some(resolved(spec)),
            _ => table(name).map(|item| as_written(name, item)),
        };
        all.extend(identity.map(|identity| (name.to_owned(), identity)));
    }
    all
}

/// Whether something in it has a default because its variable is not set here.
fn falls_back(item: &Item) -> bool {
    let is_unset = |reference: &str| {
        let name = reference.split_once(":-").map(|(name, _)| name).filter(|name| !name.contains('}'));
        name.is_some_and(|name| std::env::var_os(name).is_none_or(|value| value.is_empty()))
    };
    let in_text = |text: &str| text.split("${").skip(1).any(is_unset);
    let in_item = |item: &Item| in_text(&plain(item));
    let table = |item: &Item| item.as_table_like().is_some_and(|env| env.iter().any(|(_, value)| in_item(value)));
    ["command", "args", "env", "env_file", "cwd"]
        .iter()
        .filter_map(|key| item.as_table_like()?.get(key))
        .any(|item| table(item) || in_item(item))
}

fn resolved(spec: &ServerSpec) -> Identity {
    let mut hash = Fields::begin(b"resolved");
    hash.text(&spec.command);
    hash.texts(spec.args.iter().map(String::as_str));
    for (name, value) in &spec.env {
        hash.text(name);
        hash.text(value.expose());
    }
    hash.texts([]);
    hash.text(&spec.cwd.to_string_lossy());
    hash.end()
}

fn as_written(name: &str, item: &Item) -> Identity {
    let mut hash = Fields::begin(b"written");
    for key in ["command", "args", "env_file", "cwd"] {
        let value = item.as_table_like().and_then(|table| table.get(key));
        hash.text(&value.map(plain).unwrap_or_default());
    }
    let env = item.as_table_like().and_then(|table| table.get("env")).and_then(Item::as_table_like);
    let mut env: Vec<(String, String)> =
        env.into_iter().flat_map(|env| env.iter().map(|(name, value)| (name.to_owned(), plain(value)))).collect();
    env.sort();
    for (name, value) in &env {
        hash.text(name);
        hash.text(value);
    }
    // An unusable server without a command is like no other.
    if item.as_table_like().is_none_or(|table| !table.contains_key("command")) {
        hash.text(name);
    }
    hash.end()
}

/// A value without the blanks and comments around it.
fn plain(item: &Item) -> String {
    match item.as_value() {
        Some(toml_edit::Value::String(text)) => text.value().clone(),
        Some(toml_edit::Value::Array(list)) => {
            let texts: Vec<&str> = list.iter().filter_map(toml_edit::Value::as_str).collect();
            serde_json::Value::from(texts).to_string()
        }
        _ => item.to_string(),
    }
}

/// A hash over fields that cannot run into one another.
struct Fields(Sha256);

impl Fields {
    fn begin(kind: &[u8]) -> Self {
        let mut fields = Self(Sha256::new());
        fields.bytes(kind);
        fields
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        let mut count = 0_u64;
        for text in texts {
            self.text(text);
            count += 1;
        }
        self.bytes(&[&b"end"[..], &count.to_be_bytes()].concat());
    }

    fn end(self) -> Identity {
        Identity(self.0.finalize().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
    use std::path::Path;

    fn of(text: &str) -> BTreeMap<String, Identity> {
        let loaded = file::load(text, Path::new("/none/hub.toml"), Path::new("/"));
        of_servers(text, &loaded)
    }

    #[test]
    fn the_name_and_what_is_not_the_child_do_not_count() {
        let all = of("[servers.a]\ncommand = \"x\"\nenv = { A = \"${PATH}\" }\nport = 1\n\n\
                      [servers.b]\ncommand = \"x\"\nshare = \"session\"\nenabled = false\n\n[servers.b.env]\nA = \"${PATH}\"\n\n\
                      [servers.c]\ncommand = \"x\"\n\n[servers.d]\ncommand = \"x\"\ncwd = \"/tmp\"\n\n\
                      [servers.e]\ncommand = \"x\"\nargs = [\"1\"]\n");
        assert_eq!(all["a"], all["b"]);
        let different: std::collections::BTreeSet<_> = all.values().collect();
        assert_eq!(different.len(), 4);
    }

    #[test]
    fn variables_that_are_not_set_are_told_apart_though_they_have_a_default() {
        let all = of("[servers.work]\ncommand = \"x\"\nenv = { TOKEN = \"${NOT_SET_HERE:-}\" }\n\n\
                      [servers.home]\ncommand = \"x\"\nenv = { TOKEN = \"${NOT_SET_EITHER:-}\" }\n\n\
                      [servers.twin]\ncommand = \"x\"\n\n[servers.twin.env]\nTOKEN = \"${NOT_SET_HERE:-}\"\n\n\
                      [servers.set]\ncommand = \"x\"\nargs = [\"${PATH:-}\"]\n\n\
                      [servers.plain]\ncommand = \"x\"\nargs = [\"${PATH}\"]\n");
        assert_ne!(all["work"], all["home"]);
        assert_eq!(all["work"], all["twin"]);
        assert_eq!(all["set"], all["plain"]);
    }

    #[test]
    fn what_cannot_be_resolved_is_compared_as_it_is_written() {
        let all = of("[servers.a]\ncommand = \"x\"\nargs = [\"1\"]\nenv = { A = \"${NOT_SET_HERE}\", B = \"1\" }\n\n\
                      [servers.b]\nargs = [ \"1\" ] # one\ncommand = 'x'\nenv = { B = \"1\", A = \"${NOT_SET_HERE}\" }\n\n\
                      [servers.c]\ncommand = \"x\"\nargs = [\"1\"]\nenv = { A = \"${NOT_SET_EITHER}\", B = \"1\" }\n");
        assert_eq!(all["a"], all["b"]);
        assert_ne!(all["a"], all["c"]);
    }
}
