//! Whose URI is it, when no list says so: all servers are asked to read it (PROTOCOL 4.3, step 4).
//!
//! In: a URI. Out: the server that has it, with what it read. Owns the memory of what was found. May not: start a child,
//! ask anything but `resources/read`, or take longer than `RESOURCE_SEARCH`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{ServerName, Share};
use crate::limits::{RESOURCE_SEARCH, RESOURCES_FOUND_MAX};
use crate::mcp::splice::Object;
use crate::mcp::{ListKind, Method, Outcome, Raw, error};
use crate::server::{CallId, CallerId, Delivery, Hints, InstanceHandle, NewCall, Outlet, ServerHandle, State, next_id};

use super::Aggregate;
use super::catalog::{Catalog, Member, may_have};

/// What a search came to.
#[derive(Debug)]
pub enum Hit {
    /// This member has it.
    Member(usize),
    /// This member has it, and that is the result of reading it.
    Read(usize, Raw),
    /// Nobody has it.
    Nobody,
}

/// URIs that were found by asking, and where. Two halves: when the young one is full the old one is forgotten, and what
/// is used moves to the young one, so that what is forgotten was not used for long.
#[derive(Debug, Default)]
pub struct Found {
    young: HashMap<Box<str>, ServerName>,
    old: HashMap<Box<str>, ServerName>,
}

impl Found {
    fn get(&mut self, uri: &str) -> Option<ServerName> {
        if let Some(server) = self.young.get(uri) {
            return Some(server.clone());
        }
        let server = self.old.remove(uri)?;
        self.insert(uri, server.clone());
        Some(server)
    }

    fn insert(&mut self, uri: &str, server: ServerName) {
        if self.young.len() >= RESOURCES_FOUND_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(uri.into(), server);
    }
}

/// Takes the answer of one server.
struct Reader(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Outlet for Reader {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        // hub can be asked nothing, and a search does not care for progress. A cancelled read just drops its sender.
        let Some(outcome) = delivery.into_outcome() else { return };
        if let Some(answer) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            answer.send(outcome).ok();
        }
    }
}

/// A read on its way; cancelled when it is dropped before its answer.
struct Reading {
    instance: InstanceHandle,
    call: CallId,
    answer: oneshot::Receiver<Outcome>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.answer.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty) {
            self.instance.cancel_now(self.call);
        }
    }
}

impl Aggregate {
    /// Asks all servers that could have `uri`, all at once; the first in the order of hub.toml that has it counts.
    pub(super) async fn search(&self, catalog: &Catalog, uri: &str) -> Hit {
        let remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(uri);
        if let Some(member) = remembered.and_then(|server| catalog.members().iter().position(|m| m.name == server)) {
            return Hit::Member(member);
        }
        let candidates: Vec<usize> =
            (0..catalog.members().len()).filter(|&at| could_have(&catalog.members()[at])).collect();
        // With one candidate there is nothing to choose, and it says itself what it does not have.
        if let [only] = candidates[..] {
            return Hit::Member(only);
        }
        let hit = ask(catalog, &candidates, uri).await;
        if let Hit::Read(member, _) = &hit {
            let server = catalog.members()[*member].name.clone();
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(uri, server);
        }
        hit
    }
}

/// It has resources, runs, and its answer is not a matter of which session asks.
fn could_have(member: &Member) -> bool {
    let Some(handle) = &member.handle else { return false };
    let snapshot = handle.snapshot();
    let declared = snapshot.handshake.as_deref();
    snapshot.state == State::Ready
        && declared.is_some()
        && handle.spec().share == Share::Shared
        && may_have(declared, &snapshot.lists, ListKind::Resources)
}

async fn ask(catalog: &Catalog, candidates: &[usize], uri: &str) -> Hit {
    let handle = |&member: &usize| catalog.members()[member].handle.as_ref().map(|handle| (member, handle));
    let mut reads: Vec<_> =
        candidates.iter().filter_map(handle).map(|(m, handle)| (m, Box::pin(read(handle, uri)))).collect();
    let mut outcomes: HashMap<usize, Outcome> = HashMap::new();
    let decision = std::future::poll_fn(|context| {
        for (member, read) in &mut reads {
            if !outcomes.contains_key(member)
                && let Poll::Ready(outcome) = read.as_mut().poll(context)
            {
                outcomes.insert(*member, outcome);
            }
        }
        // Done as soon as no server before the best one is still to answer.
        let undecided = candidates.iter().find(|member| !matches!(outcomes.get(member), Some(Outcome::Error(_))));
        let decided = undecided.is_none_or(|member| outcomes.contains_key(member));
        if decided { Poll::Ready(()) } else { Poll::Pending }
    });
    if timeout(RESOURCE_SEARCH, decision).await.is_err() {
        tracing::info!("a search for a resource was cut short: some servers did not answer");
    }
    choose(candidates, outcomes)
}

/// The first that has it; else the first whose error is not "not found": it knows the URI, so its own error is the
/// answer.
fn choose(order: &[usize], mut outcomes: HashMap<usize, Outcome>) -> Hit {
    let read = |member: &&usize| matches!(outcomes.get(member), Some(Outcome::Result(_)));
    if let Some(&member) = order.iter().find(read)
        && let Some(Outcome::Result(result)) = outcomes.remove(&member)
    {
        return Hit::Read(member, result);
    }
    let knows = |member: &&usize| matches!(outcomes.get(member), Some(Outcome::Error(error)) if !says_not_found(error));
    order.iter().find(knows).map_or(Hit::Nobody, |&member| Hit::Member(member))
}

/// What one server says when it is asked to read `uri`.
async fn read(handle: &ServerHandle, uri: &str) -> Outcome {
    let gone = || super::route::no_such_resource(uri);
    let Ok(instance) = handle.instance(None).await else { return gone() };
    let (sender, answer) = oneshot::channel();
    let call = CallId(next_id());
    let mut reading = Reading { instance, call, answer };
    let params = Some(Raw::from(serde_json::json!({ "uri": uri }).to_string()));
    let outlet = Arc::new(Reader(Mutex::new(Some(sender))));
    let (method, hints) = (Method::ResourcesRead, Hints::UNKNOWN);
    let new = NewCall { caller: CallerId::HUB, client: None, method, params, hints, outlet };
    if reading.instance.call_as(call, new).await.is_err() {
        return gone();
    }
    (&mut reading.answer).await.unwrap_or_else(|_closed| gone())
}

/// Does this error mean that the server does not know the URI? The specification says -32002 or -32602; SDKs also use
/// 0 and -32603 with a sentence.
fn says_not_found(raw: &Raw) -> bool {
    let Some(error) = Object::scan(raw) else { return true };
    let code: Option<i64> = error.get("code").and_then(|code| std::str::from_utf8(&code).ok()?.parse().ok());
    if let Some(error::RESOURCE_NOT_FOUND | error::INVALID_PARAMS | error::METHOD_NOT_FOUND) = code {
        return true;
    }
    let message = error.get_str("message").unwrap_or_default().to_lowercase();
    ["not found", "unknown", "no such", "does not exist", "enoent", "unsupported", "invalid"]
        .iter()
        .any(|hint| message.contains(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &'static str) -> Outcome {
        Outcome::Error(Raw::from_static(text.as_bytes()))
    }

    #[test]
    fn what_not_found_looks_like() {
        for (text, not_found) in [
            (r#"{"code":-32002,"message":"x"}"#, true),
            (r#"{"code":-32602,"message":"MCP error -32602: Resource x:1 not found"}"#, true),
            (r#"{"code":0,"message":"Unknown resource: x:1"}"#, true),
            (r#"{"code":-32603,"message":"ENOENT: no such file"}"#, true),
            (r#"{"code":-32603,"message":"EACCES: permission denied"}"#, false),
            (r#"{"code":-32603,"message":"connection refused"}"#, false),
        ] {
            assert_eq!(says_not_found(&Raw::from_static(text.as_bytes())), not_found, "{text}");
        }
    }

    #[test]
    fn the_first_in_order_that_has_it_counts() {
        let read = || Outcome::Result(Raw::from_static(b"{}"));
        let missing = || error(r#"{"code":-32002,"message":""}"#);
        let denied = || error(r#"{"code":-32603,"message":"permission denied"}"#);
        assert!(matches!(choose(&[0, 1, 2], [(2, read()), (1, read()), (0, denied())].into()), Hit::Read(1, _)));
        assert!(matches!(choose(&[0, 1, 2], [(0, missing()), (2, denied())].into()), Hit::Member(2)));
        assert!(matches!(choose(&[0, 1], [(0, missing())].into()), Hit::Nobody));
        assert!(matches!(choose(&[], HashMap::new()), Hit::Nobody));
    }

    #[test]
    fn what_was_found_is_forgotten_in_the_end() {
        let mut found = Found::default();
        let name = |text: &str| ServerName::new(text).expect("a name");
        found.insert("used", name("a"));
        found.insert("unused", name("b"));
        for n in 0..RESOURCES_FOUND_MAX {
            found.insert(&n.to_string(), name("c"));
            assert_eq!(found.get("used"), Some(name("a")), "{n}");
            assert!(found.young.len() + found.old.len() <= RESOURCES_FOUND_MAX);
        }
        assert_eq!(found.get("unused"), None);
    }
}
