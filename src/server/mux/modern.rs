//! What is different at a modern child (2026-07-28): listens instead of subscriptions, no requests from it, and log
//! lines that only who asked for them may see (PROTOCOL 2.7).
//!
//! In: what subscriptions want, notifications that carry a subscription id, log lines. Out: lines and deliveries through
//! the [`Mux`]. Owns nothing of its own. May not: write a JSON-RPC response to such a child.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use crate::bridge::request::{self, Claims};
use crate::bridge::result::{ResultKind, kind};
use crate::mcp::error::Reason;
use crate::mcp::message::{notification_line, request_line};
use crate::mcp::meta::{Level, SUBSCRIPTION_ID};
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, ListKind, Method, Outcome, Raw, RequestId, WireId, message};

use super::super::outlet::CallerId;
use super::listens::{Was, Which};
use super::timers::Timer;
use super::{Mux, Output, Phase};

impl Mux {
    pub(super) fn is_modern(&self) -> bool {
        self.era == Era::Modern
    }

    // === Listens ===

    /// Opens, replaces and closes listens until they are what is wanted.
    pub(super) fn settle_listens(&mut self, now: Duration) {
        if self.phase != Phase::Up {
            return;
        }
        if self.listens.due(Which::Lists, now) {
            let flags = self.facts.unwrap_or_default().changes();
            let flags: serde_json::Map<String, serde_json::Value> =
                flags.map(|kind| (changed_flag(kind).to_owned(), true.into())).collect();
            if flags.is_empty() {
                self.listens.close(Which::Lists);
            } else {
                self.open_listen(Which::Lists, flags.into(), BTreeSet::new(), now);
            }
        }
        if self.listens.due(Which::Resources, now) {
            let uris = self.subscriptions.wanted();
            if uris.is_empty() {
                let over = self.listens.close(Which::Resources);
                over.into_iter().for_each(|wire| self.cancel_listen(wire));
            } else {
                self.open_listen(Which::Resources, serde_json::json!({ "resourceSubscriptions": uris }), uris, now);
            }
        }
    }

    fn open_listen(&mut self, which: Which, filter: serde_json::Value, uris: BTreeSet<String>, now: Duration) {
        let wire = WireId(self.next_wire);
        self.next_wire += 1;
        let params = Raw::from(serde_json::json!({ "notifications": filter }).to_string());
        let hub = super::cells::hub();
        let claims = Claims { capabilities: &hub.capabilities, info: hub.info.as_ref(), level: None };
        let pieces = request::to_modern(Some(&params), None, &claims, None, &[]);
        self.write(request_line(wire, &Method::Listen, &pieces));
        let until = self.listens.opened(which, wire, uris, now);
        self.timers.arm(until, Timer::Acknowledge(wire));
    }

    fn cancel_listen(&mut self, wire: WireId) {
        let params = format!("{{\"requestId\":{wire}}}");
        self.write(notification_line(&Method::Cancelled, Some(Raw::from(params))));
    }

    /// The child confirmed a listen, with what it honours of it.
    pub(super) fn on_acknowledged(&mut self, params: Option<&Raw>, now: Duration) {
        let params = params.and_then(Object::scan);
        let Some((which, uris, replaced)) =
            params.as_ref().and_then(subscription_id).and_then(|wire| self.listens.acknowledged(wire))
        else {
            return self.out.push_back(Output::Dropped("an acknowledgement of no listen"));
        };
        replaced.into_iter().for_each(|wire| self.cancel_listen(wire));
        if which == Which::Resources {
            let honoured = params.and_then(|params| Object::scan(&params.get("notifications")?));
            let honoured = honoured.and_then(|honoured| honoured.get("resourceSubscriptions"));
            let honoured: HashSet<String> = honoured.iter().flat_map(strings).collect();
            let refused = ErrorObject::invalid_params("the server does not send updates of this resource");
            self.settle_subscribing(uris, now, |uri| {
                if honoured.contains(uri) { Outcome::empty() } else { refused.clone().into() }
            });
            // One that the child honours nothing of is of no use to anybody.
            if self.subscriptions.wanted().is_empty() {
                self.listens.want(Which::Resources);
            }
        }
    }

    /// Answers who waits for one of these URIs.
    fn settle_subscribing(&mut self, uris: BTreeSet<String>, now: Duration, outcome: impl Fn(&str) -> Outcome) {
        for uri in uris {
            if self.subscriptions.is_subscribing(&uri) {
                let acts = self.subscriptions.subscribed(&uri, &outcome(&uri), now);
                self.act_on_subscriptions(acts, now);
            }
        }
    }

    /// A listen has not been acknowledged. A busy server may do better later.
    pub(super) fn acknowledge_over(&mut self, wire: WireId, now: Duration) {
        if self.listens.is_opening(wire) {
            self.cancel_listen(wire);
            let error = ErrorObject::internal(Reason::Timeout, "the server does not confirm subscriptions");
            self.listen_ended(wire, &error.into(), now);
        }
    }

    /// The child ended a listen: an error, a result, or a cancellation. Says whether it was one.
    pub(super) fn listen_ended(&mut self, wire: WireId, outcome: &Outcome, now: Duration) -> bool {
        let Some((was, again)) = self.listens.ended(wire, now) else { return false };
        let code = match outcome {
            Outcome::Error(error) => Object::scan(error).and_then(|error| error.get("code")),
            Outcome::Result(_) => None,
        };
        let (Was::Current(which) | Was::Opening(which, _)) = was;
        // Servers that are modern but know no listen: not asked again (PROTOCOL 2.7).
        if code.is_some_and(|code| &code[..] == b"-32601") {
            self.listens.set_unsupported(which);
        } else {
            self.timers.arm(again, Timer::Listen);
        }
        if let Was::Opening(Which::Resources, mut uris) = was {
            // Nor will those be asked for that were to come next.
            if self.listens.has_no_resources() {
                uris = self.subscriptions.wanted();
            }
            let refused = ErrorObject::method_not_found(Method::Subscribe.name());
            self.settle_subscribing(uris, now, |_| match outcome {
                Outcome::Error(error) => Outcome::Error(error.clone()),
                Outcome::Result(_) => refused.clone().into(),
            });
        }
        true
    }

    /// Did a notification come through a listen that hub has given up? One that names none is of the one for lists.
    pub(super) fn is_stale(&self, params: Option<&Raw>) -> bool {
        let named = params.and_then(Object::scan).as_ref().and_then(subscription_id);
        named.is_some_and(|wire| self.listens.current(wire).is_none())
    }

    // === Tasks ===

    /// Is this result of a `tools/call` a task? Only looked at where the child has them.
    pub(super) fn makes_tasks(&self, result: Option<&Object>) -> bool {
        self.is_modern() && self.facts.is_some_and(|facts| facts.tasks) && kind(result) == ResultKind::Task
    }

    // === Log lines ===

    /// Whose a log line of a modern child is: it names no request, so its owner must be the only one that has told the
    /// child to send it. What an owner wants by now, or whether it is still there, is no evidence of whose it is.
    pub(super) fn wants_log(&self, level: Level) -> Option<CallerId> {
        let mut wanting = self.owners.wanting_logs(level);
        let only = wanting.next().filter(|_| wanting.next().is_none());
        only.filter(|owner| self.levels.admits(*owner, level))
    }
}

/// The filter's name for changes of a list.
fn changed_flag(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => "toolsListChanged",
        ListKind::Prompts => "promptsListChanged",
        ListKind::Resources | ListKind::Templates => "resourcesListChanged",
    }
}

/// The params without the name of hub's own listen.
pub(super) fn without_listen(params: Option<Raw>) -> Option<Raw> {
    let object = Object::scan(params.as_ref()?)?;
    let Some(meta) = object.get("_meta").and_then(|meta| Object::scan(&meta)) else { return params };
    let meta = meta.edit(&[(SUBSCRIPTION_ID, None)]);
    let meta = (&meta[..] != b"{}").then_some(&meta[..]);
    Some(object.edit(&[("_meta", meta)]))
}

fn subscription_id(params: &Object) -> Option<WireId> {
    let id = Object::scan(&params.get("_meta")?)?.get(SUBSCRIPTION_ID)?;
    RequestId::from_raw(id)?.as_number().map(WireId)
}

fn strings(array: &Raw) -> Vec<String> {
    if array.first() != Some(&b'[') || crate::mcp::scan::text(array).is_err() {
        return Vec::new();
    }
    let texts = message::elements(array).filter_map(|text| Some(crate::mcp::scan::unquote(&text)?.into_owned()));
    texts.collect()
}
