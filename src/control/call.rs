//! One tool call for `hub call`: through the server's instance, as any client's.
//!
//! In: server, tool, arguments. Out: what the server answered, untouched. Owns its caller id for the length of the call.
//! May not: get past `tools.deny`, or leave a call running whose caller pressed Ctrl-C.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::limits;
use crate::mcp::{ClientCapabilities, ErrorObject, Method, Outcome, scan};
use crate::server::{CallerId, Client, Delivery, Hints, InstanceHandle, NewCall, NewCaller, Outlet, next_id};
use crate::tasks::Scope;

use super::desk::Desk;
use super::proto::{Call, Called, Refused};
use super::serve::{Fault, known};
use super::tools::boxed;

/// Calls the tool and waits for its answer.
pub(super) async fn run(desk: &Desk, call: &Call) -> Result<Called, Fault> {
    let name = known(desk, &call.server)?;
    let registry = desk.registry.borrow().clone();
    let Some(Ok(handle)) = registry.get(&name).map(|server| &server.handle) else {
        let why = registry.get(&name).and_then(crate::server::registry::Registered::failure);
        let why = why.map_or("it is disabled".to_owned(), |failure| failure.message.clone());
        return Err(Fault::Failed(Refused::new(format!("the server `{name}` does not run: {why}"))));
    };
    if !handle.spec().tools.admits(&call.tool) {
        let refused = Refused::new(format!("the tool `{}` is hidden by `tools` in hub.toml", call.tool));
        return Err(Fault::Failed(refused));
    }
    let failed = |error: ErrorObject| Fault::Failed(Refused::new(error.message));
    let instance = handle.instance(None).await.map_err(failed)?;
    let guest = Guest::enter(&instance, desk.sessions.scope()).await.map_err(failed)?;
    match guest.call(call).await.map_err(failed)? {
        Outcome::Result(result) => boxed(&result).map(Called::Result),
        Outcome::Error(error) => boxed(&error).map(Called::Error),
    }
    .ok_or_else(|| Fault::Failed(Refused::new("the server's answer is not text")))
}

/// The params as they go to the server. The arguments stay as they were written.
fn params(call: &Call) -> Result<Bytes, ErrorObject> {
    let arguments = call.arguments.get();
    let depth = scan::walk(arguments.as_bytes(), 0).map_or(0, |walked| walked.depth);
    // Around them are the params and the envelope.
    if depth + 2 > limits::JSON_DEPTH_MAX {
        return Err(ErrorObject::invalid_params("Invalid params: the arguments are nested too deeply"));
    }
    let name = serde_json::Value::from(call.tool.as_str());
    Ok(Bytes::from(format!("{{\"name\":{name},\"arguments\":{arguments}}}")))
}

/// A caller without capabilities, known to the instance for as long as this lives.
struct Guest {
    caller: CallerId,
    instance: InstanceHandle,
    scope: Scope,
}

impl Guest {
    async fn enter(instance: &InstanceHandle, scope: &Scope) -> Result<Self, ErrorObject> {
        let caller = CallerId(next_id());
        let newcomer = NewCaller {
            caller,
            client: Arc::new(Client::legacy(ClientCapabilities::default(), None)),
            subscriptions: Vec::new(),
            outlet: Arc::new(Answer(Mutex::default())),
        };
        instance.open(newcomer).await?;
        Ok(Self { caller, instance: instance.clone(), scope: scope.clone() })
    }

    async fn call(&self, call: &Call) -> Result<Outcome, ErrorObject> {
        let params = params(call)?;
        let (answer, answered) = oneshot::channel();
        let call = NewCall {
            hints: Hints::UNKNOWN,
            caller: self.caller,
            client: None,
            method: Method::ToolsCall,
            params: Some(params),
            outlet: Arc::new(Answer(Mutex::new(Some(answer)))),
        };
        self.instance.call(call).await?;
        answered.await.map_err(|_dropped| {
            ErrorObject::internal(crate::mcp::error::Reason::ServerUnavailable, "the call was cancelled")
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The connection may be gone in the middle of the call: leaving cancels what still runs.
        let (instance, caller) = (self.instance.clone(), self.caller);
        drop(self.scope.spawn("guest leaves", async move { instance.close(caller).await }));
    }
}

/// Waits for the end of the call; progress and logs are of no use here.
struct Answer(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Outlet for Answer {
    fn deliver(&self, _from: &InstanceHandle, delivery: Delivery) {
        let is_end = matches!(delivery, Delivery::Finish(_) | Delivery::Result(_) | Delivery::Cancelled);
        let sender = is_end.then(|| self.0.lock().unwrap_or_else(PoisonError::into_inner).take()).flatten();
        if let (Some(sender), Some(outcome)) = (sender, delivery.into_outcome()) {
            sender.send(outcome).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn written(arguments: String) -> Result<Bytes, ErrorObject> {
        let arguments = RawValue::from_string(arguments).expect("json");
        params(&Call { server: "s".to_owned(), tool: "a\"b".to_owned(), arguments })
    }

    #[test]
    fn arguments_stay_as_they_were_written_unless_they_are_too_deep() {
        let params = written(r#"{"n":1.50, "big":12345678901234567890123}"#.to_owned()).expect("fine");
        assert_eq!(params, r#"{"name":"a\"b","arguments":{"n":1.50, "big":12345678901234567890123}}"#);
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(written(deep(limits::JSON_DEPTH_MAX - 2)).is_ok());
        assert!(written(deep(limits::JSON_DEPTH_MAX - 1)).is_err() && written(deep(200_000)).is_err());
    }
}
