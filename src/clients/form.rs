//! What an entry that points at hub looks like, in each client's own form.
//!
//! In: a client, a server's name and URL. Out: the keys of the entry; a snippet to paste. Owns no state. May not: know
//! where a file lies.

use serde_json::Value as Json;

use super::client::{Client, Entries, Format, HttpForm, Literal, Place, Scope, Shape};
use super::edit::Fields;
use super::entry::TRANSPORT_KEYS;
use super::{json, toml, yaml};

/// What an entry shall point at.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The server's name in hub.toml; empty: all of them together.
    pub server: &'a str,
    /// `http://127.0.0.1:PORT/mcp`.
    pub url: &'a str,
    /// The hub program, for clients that start one ([`HttpForm::Shim`]).
    pub hub: Program<'a>,
}

/// How the hub program is started for a client.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// An absolute path.
    pub path: &'a str,
    /// Arguments before the verb that say which hub is meant; none for the usual one.
    pub args: &'a [String],
    /// Variables that say it.
    pub env: &'a [(String, String)],
}

/// What to put into an entry of this client so that it reaches hub ([`super::Act::Put`]). What only a program has is
/// dropped; `disabled`, `autoApprove`, tool lists, a `timeout` of the user's and all unknown keys stay.
pub fn hub_entry(client: &Client, shape: &Shape, target: Target<'_>) -> Fields {
    let keys = shape.keys;
    let mut drop: Vec<String> =
        ["envFile", keys.cwd].into_iter().chain(keys.stdio_only.iter().copied()).map(str::to_owned).collect();
    drop.push(keys.env.to_owned());
    drop.extend(keys.passed_env.into_iter().chain(keys.keyring_env).map(str::to_owned));
    match client.http {
        HttpForm::Url { key, before, defaults } => {
            drop.extend([keys.command.to_owned(), keys.args.to_owned()]);
            drop.extend(TRANSPORT_KEYS.iter().map(|key| (*key).to_owned()));
            let own = |pairs: &[(&str, Literal)]| {
                pairs.iter().map(|(key, value)| ((*key).to_owned(), literal(*value))).collect::<Vec<_>>()
            };
            let mut set = own(before);
            set.push((key.to_owned(), Json::from(target.url)));
            Fields { set, defaults: own(defaults), drop }
        }
        HttpForm::Shim => {
            // Without a name: all servers together.
            let name = Some(target.server).filter(|name| !name.is_empty());
            let Program { path, args, env } = target.hub;
            let args: Vec<&str> = args.iter().map(String::as_str).chain(["connect"]).chain(name).collect();
            let mut set = vec![(keys.command.to_owned(), Json::from(path)), (keys.args.to_owned(), Json::from(args))];
            if !env.is_empty() {
                let env = env.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str())));
                set.push((keys.env.to_owned(), Json::Object(env.collect())));
            }
            Fields { set, defaults: Vec::new(), drop }
        }
    }
}

/// The keys of a new entry that a client knows by `name`, for [`super::Act::Insert`].
pub fn new_entry(client: &Client, shape: &Shape, name: &str, target: Target<'_>) -> Vec<(String, Json)> {
    let fields = hub_entry(client, shape, target);
    let own = shape.keys.named.then(|| ("name".to_owned(), Json::from(name)));
    own.into_iter().chain(fields.set).chain(fields.defaults).collect()
}

fn literal(value: Literal) -> Json {
    match value {
        Literal::Text(text) => Json::from(text),
        Literal::Number(number) => Json::from(number),
        Literal::Bool(is) => Json::from(is),
        Literal::Texts(texts) => Json::from(texts),
    }
}

/// Entries for this client's own user file, ready to paste: `(name in the client, target)`, in the format and under the
/// keys of that file. Ends with a newline.
pub fn export(client: &Client, entries: &[(&str, Target<'_>)]) -> String {
    let place = client.places.iter().find(|place| place.scope == Scope::User).or(client.places.first());
    let Some(Place { shape, .. }) = place else { return String::new() };
    let new = entries.iter().map(|(name, target)| (*name, new_entry(client, shape, name, *target)));
    let all: Vec<(&str, Vec<(String, Json)>)> = new.collect();
    let Some(entries) = shape.entries.first() else { return String::new() };
    let (path, value) = match entries {
        Entries::Map(path) => {
            let map = all.into_iter().map(|(name, pairs)| (name.to_owned(), Json::Object(pairs.into_iter().collect())));
            (path, Json::Object(map.collect()))
        }
        Entries::List(path) => {
            let items = all.into_iter().map(|(_, pairs)| Json::Object(pairs.into_iter().collect()));
            (path, Json::Array(items.collect()))
        }
    };
    let whole =
        path.iter().rev().fold(value, |inner, key| Json::Object(std::iter::once(((*key).to_owned(), inner)).collect()));
    match shape.format {
        Format::Json | Format::Jsonc => json::snippet(&whole),
        Format::Toml => toml::snippet(&whole),
        Format::Yaml => yaml::snippet(&whole),
    }
}
