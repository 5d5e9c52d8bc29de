//! The method table: what hub does with a modern request (PROTOCOL 2.2 from step 5 on, 3.A.1).
//!
//! In: a request whose claims and headers are right. Out: its answer on its seat, or a call on its way to a server. Owns
//! nothing. May not: start or wait for a child whose handshake is known; ask a child for what it does not have.

use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::mcp::splice::Object;
use crate::mcp::{Era, ErrorObject, Method, Outcome, Raw};
use crate::server::{CallId, CallerId, Handshake, Hints, NewCall, ServerHandle, next_id};
use crate::session::{Params, Target};

use super::call::Call;
use super::{Claims, Exchanges, Seat};

/// The extension whose methods are `tasks/…` (SEP-2663).
const TASKS: &str = "io.modelcontextprotocol/tasks";

impl Exchanges {
    /// Step 5: the handshake of who is to answer, if it has this method. Waits for a server that never ran before.
    pub async fn admit(&self, target: &Target, method: &Method) -> Result<Arc<Handshake>, ErrorObject> {
        let handshake = target.handshake().await?;
        if has(&handshake, method) { Ok(handshake) } else { Err(ErrorObject::method_not_found(method.name())) }
    }

    /// Serves a request. Returns when it is answered or on its way to a server.
    pub async fn serve(
        &self,
        target: &Target,
        handshake: &Handshake,
        claims: &Claims,
        params: Params,
        seat: &Arc<Seat>,
    ) {
        let served = match (&seat.method, target) {
            (Method::Discover, _) => Err(Outcome::Result(discovery(handshake))),
            (_, Target::Server(server)) => self.serve_one(server, claims, params, seat).await,
            (_, Target::Aggregate(aggregate)) => self.serve_all(aggregate, claims, params, seat).await,
            (_, Target::Down(why)) => Err(why.clone().into()),
        };
        if let Err(answer) = served {
            seat.answer(None, &answer);
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
        claims: &Claims,
        params: Params,
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        if let Some(kind) = seat.method.list_kind() {
            return Err(aggregate.list(kind, params.get("cursor").as_ref()).await);
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
        let call = Arc::new(Call::new(number, seat, server, instance.clone(), aggregate, self.shared.clone()));
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
            handshake.era == Era::Modern && extensions(&capabilities).any(|id| id == TASKS)
        }
        // An extension may have methods of its own.
        Method::Other(_) => {
            handshake.era == Era::Modern
                && !method.name().starts_with("notifications/")
                && extensions(&capabilities).any(|id| id != TASKS)
        }
        _ => false,
    }
}

fn extensions(capabilities: &Object) -> impl Iterator<Item = String> {
    let declared = capabilities.get("extensions").and_then(|raw| Object::scan(&raw));
    declared.map(|all| all.entries().map(|(id, _)| id).collect::<Vec<_>>()).unwrap_or_default().into_iter()
}

fn discovery(handshake: &Handshake) -> Raw {
    let mut out = b"{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":".to_vec();
    out.extend_from_slice(&handshake.capabilities);
    if let Some(instructions) = &handshake.instructions {
        out.extend_from_slice(b",\"instructions\":");
        out.extend_from_slice(instructions);
    }
    out.extend_from_slice(
        b",\"ttlMs\":60000,\"cacheScope\":\"private\",\"_meta\":{\"io.modelcontextprotocol/serverInfo\":",
    );
    out.extend_from_slice(&handshake.server_info);
    out.extend_from_slice(b"}}");
    Raw::from(out)
}
