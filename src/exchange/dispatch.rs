//! The method table: what hub does with a modern request (PROTOCOL 2.2 from step 5 on, 3.A.1).
//!
//! In: a request whose claims and headers are right. Out: its answer on its seat, or a call on its way to a server. Owns
//! nothing. May not: start or wait for a child whose handshake is known; ask a child for what it does not have.

use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::bridge::discover::{Parts, discover_result};
use crate::bridge::error;
use crate::limits::DISCOVER_TTL_MS;
use crate::mcp::meta::TASKS_EXTENSION;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Method, Outcome, Raw};
use crate::server::{CallId, CallerId, Handshake, Hints, NewCall, ServerHandle, next_id};
use crate::session::{Params, Target};

use super::call::Call;
use super::outcome::{self, Answer};
use super::{Claims, Exchanges, Seat};

/// A modern request whose claims and headers agree.
#[derive(Debug)]
pub struct Asking {
    /// Who serves it.
    pub target: Target,
    /// What it says of itself.
    pub claims: Claims,
    /// What it asks.
    pub params: Params,
}

impl Exchanges {
    /// Step 5: the handshake of who is to answer, if it has this method. Waits for a server that never ran before.
    pub async fn admit(&self, target: &Target, method: &Method) -> Result<Arc<Handshake>, ErrorObject> {
        let handshake = target.handshake().await?;
        if has(&handshake, method) { Ok(handshake) } else { Err(ErrorObject::method_not_found(method.name())) }
    }

    /// Step 7: the arguments of a call that headers mirror. `lookup` gives the raw value of a header.
    pub async fn mirrored<'h>(
        &self,
        asking: &Asking,
        lookup: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), ErrorObject> {
        let (Some(name), params) = (asking.params.text("name"), &asking.params) else { return Ok(()) };
        let (server, name) = match &asking.target {
            Target::Server(server) => (server.clone(), name),
            Target::Aggregate(aggregate) => match aggregate.tool(&name).await {
                Some(found) => found,
                None => return Ok(()),
            },
            Target::Down(_) => return Ok(()),
        };
        let Some(table) = self.shared.mirrors(&server) else { return Ok(()) };
        Ok(table.check(&name, params.get("arguments").as_ref(), lookup)?)
    }

    /// Serves a request. Returns when it is answered or on its way to a server.
    pub async fn serve(&self, asking: Asking, handshake: &Handshake, seat: &Arc<Seat>) {
        let served = match well_formed(&seat.method, &asking) {
            Ok(()) => self.answer(asking, handshake, seat).await,
            Err(error) => Err(error.into()),
        };
        if let Err(answer) = served {
            seat.answer(None, &answer);
        }
    }

    /// `Err` is the answer that hub gives itself.
    async fn answer(&self, asking: Asking, handshake: &Handshake, seat: &Arc<Seat>) -> Result<(), Outcome> {
        let Asking { target, claims, params } = asking;
        match (&seat.method, &target) {
            (Method::Discover, _) => Err(Outcome::Result(discovery(handshake))),
            (Method::Listen, _) => Ok(self.shared.listen(&target, handshake, &claims, &params, seat)?),
            (_, Target::Server(server)) => self.serve_one(server, &claims, params, seat).await,
            (_, Target::Aggregate(aggregate)) => self.serve_all(aggregate, handshake, &claims, params, seat).await,
            (_, Target::Down(why)) => Err(why.clone().into()),
        }
    }

    /// `Err` is the answer that hub gives itself.
    async fn serve_one(
        &self,
        server: &ServerHandle,
        claims: &Claims,
        params: Params,
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        let (hints, token) = (params.hints(), params.progress_token());
        self.forward(server, None, claims, (params.into_raw(), hints, token), seat).await
    }

    async fn serve_all(
        &self,
        aggregate: &Arc<Aggregate>,
        handshake: &Handshake,
        claims: &Claims,
        params: Params,
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        if let Some(kind) = seat.method.list_kind() {
            let page = aggregate.list(kind, params.get("cursor").as_ref()).await;
            return Err(hubs_own(&seat.method, handshake, page));
        }
        let (hints, token) = (params.hints(), params.progress_token());
        let routed = aggregate.route(&seat.method, params.into_raw()).await?;
        self.forward(&routed.server, Some(aggregate), claims, (routed.params, hints, token), seat).await
    }

    async fn forward(
        &self,
        server: &ServerHandle,
        aggregate: Option<&Arc<Aggregate>>,
        claims: &Claims,
        (params, hints, token): (Option<Raw>, Hints, Option<Raw>),
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        let instance = self.shared.instance(server).await?;
        let number = CallId(next_id());
        let call = Arc::new(Call::new(
            number,
            seat,
            claims.client.clone(),
            server,
            instance.clone(),
            aggregate,
            self.shared.clone(),
        ));
        seat.occupy(call.clone());
        if let Some(token) = token {
            seat.stream.expect_progress(number, token);
        }
        let (caller, client) = (CallerId::passing(number), Some(claims.client.clone()));
        let new = NewCall { caller, client, method: seat.method.clone(), params, hints, outlet: call };
        Ok(instance.call_as(number, new).await?)
    }
}

/// Whether a server with this handshake has a method: gated on capabilities, because children answer unknown methods
/// with all kinds of codes (PROTOCOL 1.4).
fn has(handshake: &Handshake, method: &Method) -> bool {
    let Some(capabilities) = Object::scan(&handshake.capabilities) else { return false };
    let has = |key: &str| capabilities.get(key).is_some_and(|value| value.first() == Some(&b'{'));
    match method {
        Method::Discover | Method::Listen => true,
        Method::ToolsList | Method::ToolsCall => has("tools"),
        Method::PromptsList | Method::PromptsGet => has("prompts"),
        Method::ResourcesList | Method::TemplatesList | Method::ResourcesRead => has("resources"),
        Method::Complete => has("completions"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            handshake.era == Era::Modern && extensions(&capabilities).any(|id| id == TASKS_EXTENSION)
        }
        // An extension may have methods of its own.
        Method::Other(_) => {
            handshake.era == Era::Modern
                && !method.name().starts_with("notifications/")
                && extensions(&capabilities).any(|id| id != TASKS_EXTENSION)
        }
        _ => false,
    }
}

fn extensions(capabilities: &Object) -> impl Iterator<Item = String> {
    let declared = capabilities.get("extensions").and_then(|raw| Object::scan(&raw));
    declared.map(|all| all.entries().map(|(id, _)| id).collect::<Vec<_>>()).unwrap_or_default().into_iter()
}

fn discovery(handshake: &Handshake) -> Raw {
    discover_result(&Parts {
        era: handshake.era,
        capabilities: &handshake.capabilities,
        server_info: &handshake.server_info,
        instructions: handshake.instructions.as_ref(),
        ttl_ms: DISCOVER_TTL_MS,
        scope: "private",
    })
}

/// An answer of hub itself, as a modern one.
fn hubs_own(method: &Method, handshake: &Handshake, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Result(result) => match outcome::stamped(method, &result, handshake) {
            Answer::Result(pieces) => Outcome::Result(Raw::from(pieces.concat())),
            Answer::Error(error) => Outcome::Error(error),
        },
        Outcome::Error(error) => Outcome::Error(error::to_modern(method, error)),
    }
}

/// Step 8: the members that hub reads have the types that they must have.
fn well_formed(method: &Method, asking: &Asking) -> Result<(), ErrorObject> {
    let bad = |why: &str| Err(ErrorObject::invalid_params(format!("Invalid params: {why}")));
    let params = &asking.params;
    if asking.claims.bad_level {
        return bad("the log level is none of the eight");
    }
    let needed = match method {
        Method::ToolsCall | Method::PromptsGet => Some("name"),
        Method::ResourcesRead => Some("uri"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => Some("taskId"),
        _ => None,
    };
    if let Some(needed) = needed.filter(|key| params.text(key).is_none()) {
        return bad(&format!("`{needed}` must be a string"));
    }
    let is_object = |key: &str| params.get(key).is_none_or(|value| value.first() == Some(&b'{'));
    if matches!(method, Method::ToolsCall | Method::PromptsGet) && !is_object("arguments") {
        return bad("`arguments` must be an object");
    }
    if method.list_kind().is_some() && params.get("cursor").is_some_and(|cursor| cursor.first() != Some(&b'"')) {
        return bad("`cursor` must be a string");
    }
    Ok(())
}
