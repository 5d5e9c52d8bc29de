//! Calls that a legacy server refuses until its client has visited URLs: `-32042` (PROTOCOL 3.A.4.7).
//!
//! In: such refusals, and the retries that follow. Out: an interim result that asks for the visits; then the same call
//! once more, as soon as the server says that they are complete. Owns what is waited for. May not: make a call again that
//! the server did not refuse to look at.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::bridge::ask::{by_key, input_request, usable_answer};
use crate::bridge::error::url_elicitations;
use crate::bridge::state::{Digest, Kind};
use crate::config::ServerName;
use crate::limits::{PARKED_MAX, ROUNDS_MAX, VISIT_WAIT};
use crate::mcp::error::INTERNAL_ERROR;
use crate::mcp::splice::Object;
use crate::mcp::{ClientCapabilities, Era, ErrorObject, Method, Outcome, Raw};
use crate::server::{CallerId, Delivery, InstanceHandle, NewCaller, Outlet};
use crate::session::Params;

use super::Shared;
use super::call::Call;
use super::outcome::Answer;
use super::park::interim;

/// Elicitations whose completion a server may still announce.
#[derive(Debug, Default)]
pub(super) struct Visits {
    open: Mutex<HashMap<(ServerName, String), Arc<Visit>>>,
}

/// The elicitations of one refusal.
#[derive(Debug)]
struct Visit {
    pending: Mutex<HashSet<String>>,
    moved: Notify,
}

impl Visit {
    fn is_pending(&self, id: &str) -> bool {
        self.pending.lock().expect("no panic under this lock").contains(id)
    }

    fn is_over(&self) -> bool {
        self.pending.lock().expect("no panic under this lock").is_empty()
    }
}

impl Outlet for Visit {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        let Delivery::Notification { method: Method::ElicitationComplete, params: Some(params) } = delivery else {
            return;
        };
        if let Some(id) = Object::scan(&params).and_then(|params| params.get_str("elicitationId")) {
            self.pending.lock().expect("no panic under this lock").remove(&id);
            self.moved.notify_waiters();
        }
    }
}

impl Visits {
    fn lock(&self) -> MutexGuard<'_, HashMap<(ServerName, String), Arc<Visit>>> {
        self.open.lock().expect("no panic under this lock")
    }

    /// Returns when a server has announced all of these, or does not in time. What it never promised is not waited for.
    pub(super) async fn complete(&self, server: &str, ids: &[String]) {
        let known: Vec<(String, Arc<Visit>)> = {
            let open = self.lock();
            let of_server = |id: &String| open.iter().find(|((name, known), _)| name.as_ref() == server && known == id);
            ids.iter().filter_map(|id| Some((id.clone(), of_server(id)?.1.clone()))).collect()
        };
        let all = async {
            for (id, visit) in known {
                loop {
                    let moved = visit.moved.notified();
                    if !visit.is_pending(&id) {
                        break;
                    }
                    moved.await;
                }
            }
        };
        tokio::time::timeout(VISIT_WAIT, all).await.ok();
    }
}

/// The answer to a call that was refused until URLs are visited; `None` for every other outcome.
pub(super) fn required(
    call: &Call,
    can: ClientCapabilities,
    outcome: &Outcome,
    digest: impl FnOnce() -> Digest,
) -> Option<Answer> {
    let Outcome::Error(error) = outcome else { return None };
    let handshake = call.parts.instance.handshake();
    if !call.method.may_need_input() || handshake.is_none_or(|handshake| handshake.era == Era::Modern) {
        return None;
    }
    let elicitations = url_elicitations(error)?;
    if !can.elicitation_url {
        let needed = Raw::from_static(br#"{"elicitation":{"url":{}}}"#);
        return Some(ErrorObject::missing_capability(&needed).into());
    }
    let round = call.parts.reissued + 1;
    if round > ROUNDS_MAX {
        return Some(ErrorObject::new(INTERNAL_ERROR, "the call asked its client too often").into());
    }
    let id = |one: &Raw| Object::scan(one).and_then(|one| one.get_str("elicitationId"));
    let ids: Vec<String> = elicitations.iter().filter_map(id).collect();
    let keys: Vec<String> = (1..=elicitations.len()).map(|index| format!("u{index}")).collect();
    let with_mode = |one: &Raw| match Object::scan(one) {
        Some(object) => object.edit(&[("mode", Some(b"\"url\""))]),
        None => one.clone(),
    };
    let requests: Vec<Raw> =
        elicitations.iter().map(|one| input_request(&Method::Elicitation, Some(&with_mode(one)), false)).collect();
    let all = by_key(keys.iter().map(String::as_str).zip(&requests));
    await_completion(call, &ids);
    let kind = Kind::Reissue { waits_for: ids, keys };
    Some(interim(call, &all, &call.shared.sealed(call, kind, round, digest())))
}

/// Hears of completions in the name of the call, which is over.
fn await_completion(call: &Call, ids: &[String]) {
    let shared = call.shared.clone();
    let name = call.parts.server.name().clone();
    let visit = Arc::new(Visit { pending: Mutex::new(ids.iter().cloned().collect()), moved: Notify::new() });
    {
        let mut open = shared.visits.lock();
        if ids.is_empty() || open.len() + ids.len() > PARKED_MAX {
            return;
        }
        open.extend(ids.iter().map(|id| ((name.clone(), id.clone()), visit.clone())));
    }
    let (instance, client) = (call.parts.instance.clone(), call.parts.client.clone());
    let (caller, ids) = (CallerId::passing(call.parts.number), ids.to_vec());
    let expiry = call.parts.server.spec().park_timeout;
    let stop = shared.scope.stopping().clone();
    drop(call.shared.scope.spawn("visits", async move {
        let outlet = visit.clone();
        let all = async {
            instance.open(NewCaller { caller, client, subscriptions: Vec::new(), outlet }).await.ok();
            loop {
                let moved = visit.moved.notified();
                if visit.is_over() {
                    break;
                }
                moved.await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = instance.closed() => {}
            () = tokio::time::sleep(expiry) => {}
            () = all => {}
        }
        instance.close(caller).await;
        let mut open = shared.visits.lock();
        // The same elicitation may have been asked for again since.
        let ours = |(of, id): &(ServerName, String)| *of == name && ids.contains(id);
        open.retain(|key, other| !(ours(key) && Arc::ptr_eq(other, &visit)));
    }));
}

impl Shared {
    /// A retry after visits: waits until the server knows of them. `Err` is the answer if one was refused.
    pub(super) async fn visited(
        &self,
        method: &Method,
        server: &str,
        (ids, keys): (&[String], &[String]),
        params: &Params,
    ) -> Result<(), Outcome> {
        let responses = params.get("inputResponses").and_then(|raw| Object::scan(&raw));
        let action = |key: &String| {
            let answer = responses.as_ref()?.get(key).filter(|answer| usable_answer(&Method::Elicitation, answer))?;
            Object::scan(&answer)?.get_str("action")
        };
        let actions: Vec<Option<String>> = keys.iter().map(action).collect();
        if actions.iter().flatten().any(|action| action != "accept") {
            return Err(declined(method));
        }
        // With an answer missing, the server will refuse once more, and the client is asked again.
        if actions.iter().all(Option::is_some) {
            self.visits.complete(server, ids).await;
        }
        Ok(())
    }
}

fn declined(method: &Method) -> Outcome {
    let text = "The client did not open a URL that this needs";
    if *method == Method::ToolsCall {
        let content = serde_json::json!([{ "type": "text", "text": text }]);
        let result = serde_json::json!({ "resultType": "complete", "content": content, "isError": true });
        Outcome::Result(Raw::from(result.to_string()))
    } else {
        ErrorObject::new(INTERNAL_ERROR, text).into()
    }
}
