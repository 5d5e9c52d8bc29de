//! Lines of the child: responses, notifications, requests.
//!
//! In: one line at a time. Out: deliveries through the [`Mux`]. Owns nothing of its own. May not: forward anything that
//! it cannot attribute (it counts and drops it).

use std::time::Duration;

use bytes::Bytes;

use crate::mcp::error::Reason;
use crate::mcp::message::NotAMessage;
use crate::mcp::meta::Level;
use crate::mcp::splice::Object;
use crate::mcp::{
    ErrorObject, ListKind, Message, Method, Notification, Outcome, Raw, RequestId, Response, WireId, message, scan,
};

use super::super::outlet::{CallerId, Delivery};
use super::calls::Purpose;
use super::modern::without_listen;
use super::owners::AtWork;
use super::{Mux, Output};

impl Mux {
    /// A line of the child was read. Lines that are no messages are counted and dropped; a server that prints to
    /// stdout is sloppy, not broken (PROTOCOL 0.2.6).
    pub fn line(&mut self, line: &Bytes, now: Duration) {
        match message::parse_body(line) {
            Ok(message::Body::One(message)) => self.on_message(message, now),
            // Only children of 2025-03-26 may send these.
            Ok(message::Body::Batch(messages)) => {
                for message in messages {
                    match message {
                        Ok(message) => self.on_message(message, now),
                        Err(error) => self.on_no_message(error, now),
                    }
                }
            }
            Err(error) => self.on_no_message(error, now),
        }
        self.pump(now);
    }

    /// What cannot be read is dropped, but a call whose only answer it was must not wait for another one for ever.
    fn on_no_message(&mut self, error: NotAMessage, now: Duration) {
        let NotAMessage::BadResponse { why, id } = error else {
            return self.out.push_back(Output::Dropped("not a JSON-RPC message"));
        };
        let error = ErrorObject::internal(Reason::MalformedAnswer, format!("the server's answer was malformed: {why}"));
        self.on_response(Response { id: Some(id), outcome: error.into(), object: None }, now);
    }

    fn on_message(&mut self, message: Message, now: Duration) {
        match message {
            Message::Response(response) => self.on_response(response, now),
            Message::Notification(notification) => self.on_notification(notification, now),
            // It may not ask anything, and no answer may be written to it (2026-07-28, basic/patterns/mrtr).
            Message::Request(_) if self.is_modern() => {
                self.out.push_back(Output::Dropped("a request of a modern server"));
            }
            Message::Request(request) => self.on_request(request, now),
        }
    }

    fn on_response(&mut self, response: Response, now: Duration) {
        let Some(wire) = response.id.as_ref().and_then(RequestId::as_number).map(WireId) else {
            return self.out.push_back(Output::Dropped("a response without an id of ours"));
        };
        let Some(id) = self.wires.remove(&wire) else {
            // The late answer of a cancelled call: expected, and nobody's any more.
            return match self.tombs.remove(&wire) {
                Some(owner) => self.owners.laid(owner, wire),
                None if self.listen_ended(wire, &response.outcome, now) => {}
                None => self.out.push_back(Output::Dropped("a response to nothing")),
            };
        };
        let Some(call) = self.calls.remove(&id) else { return };
        let owner = call.owner();
        self.owners.ended(owner, wire);
        self.call_ended_for_asks(owner, wire, false);
        if !self.callers.contains_key(&owner) {
            self.owners.forget_if_idle(owner);
        }
        if let Outcome::Result(result) = &response.outcome
            && self.must_ask(&call, response.object.as_ref())
        {
            return self.needs_input(id, call, result, now);
        }
        let object = response.object;
        let outcome = match (response.outcome, &call.method) {
            (Outcome::Result(result), Method::ToolsCall) => {
                if call.client.is_some() && self.makes_tasks(object.as_ref()) {
                    self.tasks.created(CallerId::MODERN, wire, None, &result, now);
                } else if call.hints.task {
                    let token = call.params.as_ref().and_then(crate::mcp::splice::progress_token);
                    self.tasks.created(owner, wire, token, &result, now);
                }
                Outcome::Result(result)
            }
            (Outcome::Result(result), Method::TasksList) => Outcome::Result(
                self.tasks.only_own(owner, &result).unwrap_or_else(|| Raw::from_static(b"{\"tasks\":[]}")),
            ),
            (Outcome::Result(result), Method::TasksGet | Method::TasksCancel) => {
                self.note_task_status(&result, now);
                Outcome::Result(result)
            }
            (outcome, Method::TasksResult) => {
                // Whatever came: the task has ended.
                let task = call.params.as_ref().and_then(Object::scan).and_then(|params| params.get_str("taskId"));
                task.iter().for_each(|task| self.tasks.status(task, "completed", now));
                outcome
            }
            (Outcome::Error(error), Method::ToolsCall) => {
                self.note_url_elicitations(owner, &error, now);
                Outcome::Error(error)
            }
            (outcome, _) => outcome,
        };
        match (outcome, object) {
            (Outcome::Result(result), Some(object)) if call.purpose == Purpose::Delivered && object.is_of(&result) => {
                self.left(&call, now);
                self.out.push_back(Output::Deliver(id, Delivery::Result(object)));
            }
            (outcome, _) => self.conclude(id, &call, outcome, now),
        }
    }

    fn note_task_status(&mut self, task: &Raw, now: Duration) {
        if let Some(task) = Object::scan(task) {
            self.tasks.note(&task, now);
        }
    }

    /// An error `-32042` lists URLs to visit; their completion belongs to whoever got it (2025-11-25,
    /// client/elicitation#url-mode).
    fn note_url_elicitations(&mut self, owner: CallerId, error: &Raw, now: Duration) {
        let list = Object::scan(error)
            .filter(|error| error.get("code").is_some_and(|code| &code[..] == b"-32042"))
            .and_then(|error| Object::scan(&error.get("data")?)?.get("elicitations"));
        if let Some(list) = list.filter(|list| list.first() == Some(&b'[') && scan::text(list).is_ok()) {
            let ids = message::elements(&list).filter_map(|one| Object::scan(&one)?.get_str("elicitationId"));
            ids.for_each(|id| self.elicitations.shown(id, owner, now));
        }
    }

    fn on_notification(&mut self, notification: Notification, now: Duration) {
        let Notification { method, params, .. } = notification;
        match &method {
            Method::ListenAcknowledged if self.is_modern() => self.on_acknowledged(params.as_ref(), now),
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged | Method::ResourceUpdated
                if self.is_modern() =>
            {
                if self.is_stale(params.as_ref()) {
                    return self.out.push_back(Output::Dropped("of a listen that is over"));
                }
                self.on_change(method, without_listen(params), now);
            }
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged | Method::ResourceUpdated => {
                self.on_change(method, params, now);
            }
            Method::Progress => self.on_progress(params, now),
            Method::LogMessage => self.on_log(method, params, now),
            Method::Cancelled => {
                let id = params.as_ref().and_then(Object::scan).and_then(|params| params.get("requestId"));
                match id.and_then(RequestId::from_raw) {
                    Some(id) if self.is_modern() => {
                        let wire = id.as_number().map(WireId);
                        if let Some(wire) = wire {
                            self.listen_ended(wire, &Outcome::empty(), now);
                        }
                    }
                    Some(id) => self.ask_cancelled_by_child(&id),
                    None => {}
                }
            }
            Method::ElicitationComplete => {
                let id = params.as_ref().and_then(Object::scan).and_then(|params| params.get_str("elicitationId"));
                match id.and_then(|id| self.elicitations.complete(&id)) {
                    Some(owner) => self.tell_caller(owner, method, params),
                    None => self.out.push_back(Output::Dropped("elicitation/complete for nobody")),
                }
            }
            Method::TasksStatus if !self.is_modern() => {
                let object = params.as_ref().and_then(Object::scan);
                let owner = object.and_then(|params| self.tasks.owner(&params.get_str("taskId")?));
                params.iter().for_each(|task| self.note_task_status(task, now));
                match owner {
                    Some(owner) => self.tell_caller(owner, method, params),
                    None => self.out.push_back(Output::Dropped("status of an unknown task")),
                }
            }
            // Of this era hub knows all that belongs to a request; the rest is of a task, or of nobody.
            _ if self.is_modern() => {
                if method == Method::TasksNotification {
                    params.iter().for_each(|task| self.note_task_status(task, now));
                }
                self.out.push_back(Output::Dropped("an unknown notification of a modern server"));
            }
            _ => self.on_unknown(method, params, now),
        }
    }

    fn on_change(&mut self, method: Method, params: Option<Raw>, now: Duration) {
        match method {
            Method::ToolsChanged => self.list_changed(ListKind::Tools, now),
            Method::PromptsChanged => self.list_changed(ListKind::Prompts, now),
            Method::ResourcesChanged => self.list_changed(ListKind::Resources, now),
            method => self.on_updated(&method, params),
        }
    }

    fn tell_caller(&mut self, caller: CallerId, method: Method, params: Option<Raw>) {
        self.out.push_back(Output::ToCaller(caller, Delivery::Notification { method, params }));
    }

    fn on_progress(&mut self, params: Option<Raw>, now: Duration) {
        let object = params.as_ref().and_then(Object::scan);
        let token = object.as_ref().and_then(|params| params.get("progressToken"));
        let wire = token.and_then(RequestId::from_raw).and_then(|token| token.as_number()).map(WireId);
        let (Some(wire), Some(object), Some(params)) = (wire, object, params) else {
            return self.out.push_back(Output::Dropped("progress without a token of ours"));
        };
        if let Some(id) = self.wires.get(&wire) {
            if let Some(call) = self.calls.get_mut(id) {
                call.last_sign = now;
            }
            self.out.push_back(Output::Deliver(*id, Delivery::Progress { params }));
        } else if let Some((owner, token)) = self.tasks.progress(wire) {
            let params = object.edit(&[("progressToken", Some(&token[..]))]);
            self.tell_caller(owner, Method::Progress, Some(params));
        } else {
            self.out.push_back(Output::Dropped("progress of a finished request"));
        }
    }

    /// A log line names no request. It goes to the only owner of work at the child, or, when there is none, to all
    /// that want its level; with several owners it may contain what one must not tell another (PROTOCOL 1.7).
    fn on_log(&mut self, method: Method, params: Option<Raw>, now: Duration) {
        let level = params.as_ref().and_then(Object::scan).and_then(|params| Level::parse(&params.get_str("level")?));
        let Some(level) = level else { return self.out.push_back(Output::Dropped("a log message without a level")) };
        if self.is_modern() {
            return match self.wants_log(level) {
                Some(owner) => self.tell_owner(owner, method, params),
                None => self.out.push_back(Output::Dropped("a log message of one of several callers")),
            };
        }
        match self.owners.at_work(now) {
            AtWork::One(owner) if self.client(owner).is_some() => {
                if self.levels.admits(owner, level) {
                    self.tell_owner(owner, method, params);
                }
            }
            AtWork::Nobody => {
                let mut callers: Vec<CallerId> = self.callers.keys().copied().collect();
                callers.retain(|caller| self.levels.admits(*caller, level));
                callers.sort_unstable();
                for caller in callers {
                    self.tell_caller(caller, method.clone(), params.clone());
                }
            }
            _ => self.out.push_back(Output::Dropped("a log message of one of several callers")),
        }
    }

    /// To the stream of the owner's newest call, else to the owner's own.
    fn tell_owner(&mut self, owner: CallerId, method: Method, params: Option<Raw>) {
        let newest = self.owners.get(owner).and_then(|load| load.live.last()).and_then(|wire| self.wires.get(wire));
        let delivery = Delivery::Notification { method, params };
        self.out.push_back(match newest {
            Some(call) => Output::Deliver(*call, delivery),
            None => Output::ToCaller(owner, delivery),
        });
    }

    fn on_updated(&mut self, method: &Method, params: Option<Raw>) {
        let Some(uri) = params.as_ref().and_then(Object::scan).and_then(|params| params.get_str("uri")) else {
            return self.out.push_back(Output::Dropped("resources/updated without a uri"));
        };
        for caller in self.subscriptions.interested(&uri) {
            self.tell_caller(caller, method.clone(), params.clone());
        }
    }

    /// A notification hub has no rule for: to the only owner of work, or to the only caller.
    fn on_unknown(&mut self, method: Method, params: Option<Raw>, now: Duration) {
        match self.owners.at_work(now) {
            AtWork::One(owner) if self.client(owner).is_some() => self.tell_owner(owner, method, params),
            AtWork::Nobody => match self.only_session() {
                Some(session) => self.tell_caller(session, method, params),
                None => self.out.push_back(Output::Dropped("an unknown notification of one of several callers")),
            },
            _ => self.out.push_back(Output::Dropped("an unknown notification of one of several callers")),
        }
    }
}
