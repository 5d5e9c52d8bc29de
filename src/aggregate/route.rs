//! From a request of an aggregate session to the server that it belongs to.
//!
//! In: a method and its raw params. Out: the server and the params as it knows them, or the answer. Owns nothing. May
//! not: copy params that stay as they are, or copy others more than once (they may be 64 MiB of arguments).

use std::sync::Arc;

use crate::mcp::error::Reason;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, ListKind, Method, Outcome, Raw, scan};

use crate::server::{ServerHandle, State};

use super::catalog::{Catalog, Member, Target, down};
use super::names::SEPARATOR;
use super::resources::Owned;
use super::search::Hit;
use super::{Aggregate, Routed, RoutedUri, UriForm};

/// Params of a request, scanned one level deep.
fn object(params: Option<&Raw>) -> Result<Object, Outcome> {
    params.and_then(Object::scan).ok_or_else(|| invalid("`params` must be an object"))
}

/// A member that must be one string; twice is refused, since two parsers may disagree on which one counts.
fn string(object: &Object, key: &str) -> Result<String, Outcome> {
    match object.get_once(key) {
        Err(_) => Err(invalid(&format!("`{key}` stands twice"))),
        Ok(raw) => match raw.as_deref().and_then(scan::unquote) {
            Some(text) => Ok(text.into_owned()),
            None => Err(invalid(&format!("`{key}` must be a string"))),
        },
    }
}

fn invalid(why: &str) -> Outcome {
    ErrorObject::invalid_params(format!("Invalid params: {why}")).into()
}

/// The answer in place of a server that is down. A failed tool call is a result, so that the model can react.
fn unavailable(method: &Method, alias: &str, reason: &str) -> Outcome {
    let text = format!("server '{alias}' is unavailable: {reason}");
    if *method == Method::ToolsCall {
        let result = serde_json::json!({ "content": [{ "type": "text", "text": text }], "isError": true });
        Outcome::Result(Raw::from(result.to_string()))
    } else {
        ErrorObject::internal(Reason::ServerUnavailable, text).into()
    }
}

/// The answer for a URI that nobody knows.
pub fn no_such_resource(uri: &str) -> Outcome {
    let data = Some(serde_json::json!({ "uri": uri }));
    let code = crate::mcp::error::RESOURCE_NOT_FOUND;
    ErrorObject { data, ..ErrorObject::new(code, format!("Resource not found: {uri}")) }.into()
}

/// The request on its way to `member`, unless that is down.
async fn towards(
    member: &Member,
    method: &Method,
    params: Option<Raw>,
    uri: Option<RoutedUri>,
) -> Result<Routed, Outcome> {
    let Some(server) = member.handle.clone() else {
        return Err(unavailable(method, &member.alias, member.down.as_deref().unwrap_or("it is disabled")));
    };
    // Asked anew: the catalogue may be a moment old.
    let Some(reason) = down(&server.snapshot()) else { return Ok(Routed { server, params, uri }) };
    // This request is answered now, but the next one may find it running.
    server.wake().await;
    Err(unavailable(method, &member.alias, &reason))
}

/// Why a server that should have a list has none.
fn why_missing(member: &Member, kind: ListKind) -> String {
    let state = member.handle.as_ref().map(|handle| handle.snapshot().state);
    match (&member.down, state) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(State::Ready)) => format!("its list of {} could not be read", kind.items_key()),
        (None, _) => "it is still starting".into(),
    }
}

impl Aggregate {
    /// `tools/call` and `prompts/get`: one look-up and one splice, as long as the name is known.
    pub(super) async fn route_name(&self, kind: ListKind, params: Option<Raw>) -> Result<Routed, Outcome> {
        let object = object(params.as_ref())?;
        let name = string(&object, "name")?;
        let method = if kind == ListKind::Tools { Method::ToolsCall } else { Method::PromptsGet };
        let Some((catalog, target)) = self.target(kind, &name).await else {
            return Err(self.unknown_name(&method, kind, &name).await);
        };
        let params = object.edit(&[("name", Some(&target.own))]);
        towards(&catalog.members()[target.member], &method, Some(params), None).await
    }

    /// The server of an exposed tool, and the tool's own name there.
    pub async fn tool(&self, exposed: &str) -> Option<(ServerHandle, String)> {
        let (catalog, target) = self.target(ListKind::Tools, exposed).await?;
        let server = catalog.members()[target.member].handle.clone()?;
        Some((server, scan::unquote(&target.own)?.into_owned()))
    }

    /// Looks a name up; if it is unknown, makes sure that this is not for want of a list.
    async fn target(&self, kind: ListKind, name: &str) -> Option<(Arc<Catalog>, Target)> {
        let find = |catalog: Arc<Catalog>| {
            let target = catalog.target(kind, name)?.clone();
            Some((catalog, target))
        };
        let known = self.known();
        // A list that was just filtered anew must not be bypassed.
        let known = if known.is_of(&self.registry.borrow()) { known } else { self.current() };
        if let Some(found) = find(known).or_else(|| find(self.current())) {
            return Some(found);
        }
        self.wait_for_lists(kind).await;
        find(self.current())
    }

    /// The answer for a name that is in no list. If it looks like one of a server that has no list, that is the reason.
    async fn unknown_name(&self, method: &Method, kind: ListKind, name: &str) -> Outcome {
        let catalog = self.known();
        let has_prefix =
            |member: &&Member| name.strip_prefix(&*member.alias).is_some_and(|rest| rest.starts_with(SEPARATOR));
        if let Some(member) = catalog.members().iter().find(|member| member.is_missing(kind) && has_prefix(member)) {
            if let Some(server) = &member.handle {
                server.wake().await;
            }
            return unavailable(method, &member.alias, &why_missing(member, kind));
        }
        let what = if kind == ListKind::Tools { "tool" } else { "prompt" };
        ErrorObject::invalid_params(format!("Unknown {what}: {name}")).into()
    }

    /// `resources/read`, `resources/subscribe`, `resources/unsubscribe`.
    pub(super) async fn route_uri(&self, method: &Method, params: Option<Raw>) -> Result<Routed, Outcome> {
        let object = object(params.as_ref())?;
        let uri = string(&object, "uri")?;
        let (catalog, owned) = self.owner(method, &uri).await?;
        let params = match owned.form {
            UriForm::Own => params,
            UriForm::Prefixed => Some(object.edit(&[("uri", Some(&quoted(&owned.own)))])),
        };
        let routed = RoutedUri { own: owned.own, form: owned.form };
        towards(&catalog.members()[owned.member], method, params, Some(routed)).await
    }

    /// The server of a URI: by the lists, else by asking all. `Err` is the answer.
    async fn owner(&self, method: &Method, uri: &str) -> Result<(Arc<Catalog>, Owned), Outcome> {
        let by_lists = |catalog: Arc<Catalog>| {
            let owned = catalog.resources().resolve(uri)?;
            Some((catalog, owned))
        };
        if let Some(found) = by_lists(self.current()) {
            return Ok(found);
        }
        self.wait_for_lists(ListKind::Resources).await;
        let catalog = self.current();
        if let Some(found) = by_lists(catalog.clone()) {
            return Ok(found);
        }
        let found = |member| Owned { member, own: uri.to_owned(), form: UriForm::Own };
        match self.search(&catalog, uri).await {
            Hit::Member(member) => Ok((catalog, found(member))),
            // Already read: not once more. What a modern server answered hub is not what it answers every client.
            Hit::Read(member, result) if *method == Method::ResourcesRead && !is_modern(&catalog, member) => {
                Err(Outcome::Result(result))
            }
            Hit::Read(member, _) => Ok((catalog, found(member))),
            Hit::Nobody => Err(no_such_resource(uri)),
        }
    }

    /// `completion/complete`: the server of the prompt or template that `ref` names.
    pub(super) async fn route_completion(&self, params: Option<Raw>) -> Result<Routed, Outcome> {
        let object = object(params.as_ref())?;
        let reference = object.get_once("ref").ok().flatten();
        let reference = reference.as_ref().and_then(Object::scan).ok_or_else(|| invalid("`ref` must be an object"))?;
        let method = &Method::Complete;
        match string(&reference, "type")?.as_str() {
            "ref/prompt" => {
                let name = string(&reference, "name")?;
                let Some((catalog, target)) = self.target(ListKind::Prompts, &name).await else {
                    return Err(self.unknown_name(method, ListKind::Prompts, &name).await);
                };
                let reference = reference.edit(&[("name", Some(&target.own))]);
                let params = object.edit(&[("ref", Some(&reference))]);
                towards(&catalog.members()[target.member], method, Some(params), None).await
            }
            "ref/resource" => {
                let uri = string(&reference, "uri")?;
                let catalog = self.current();
                let table = catalog.resources();
                let owned = table.resolve_template(&uri).or_else(|| table.resolve(&uri));
                let owned = owned.ok_or_else(|| no_such_resource(&uri))?;
                let params = match owned.form {
                    UriForm::Own => params,
                    UriForm::Prefixed => {
                        let reference = reference.edit(&[("uri", Some(&quoted(&owned.own)))]);
                        Some(object.edit(&[("ref", Some(&reference))]))
                    }
                };
                towards(&catalog.members()[owned.member], method, params, None).await
            }
            _ => Err(invalid("`ref.type` must be `ref/prompt` or `ref/resource`")),
        }
    }
}

fn is_modern(catalog: &Catalog, member: usize) -> bool {
    catalog.members()[member].handshake().is_some_and(|handshake| handshake.era == Era::Modern)
}

fn quoted(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).expect("a string serialises")
}
