//! The method table: what hub does with a modern request (PROTOCOL 2.2 from step 5 on, 3.A.1).
//!
//! In: a request whose claims and headers are right. Out: its answer on its seat, or a call on its way to a server. Owns
//! nothing. May not: start or wait for a child whose handshake is known; ask a child for what it does not have.

use std::sync::Arc;

use crate::aggregate::Aggregate;
use crate::bridge::discover::{self, discover_result};
use crate::bridge::error;
use crate::bridge::state::{Kind, invalid};
use crate::limits::DISCOVER_TTL_MS;
use crate::mcp::{Era, ErrorObject, Method, Outcome, Raw};
use crate::server::{CallId, CallerId, Client, Handshake, Hints, NewCall, ServerHandle, next_id};
use crate::session::{EndpointId, Params, Target};

use super::call::{Call, Parts};
use super::outcome::{self, Answer};
use super::{Claims, Exchanges, Seat};

/// A modern request whose claims and headers agree.
#[derive(Debug)]
pub struct Asking {
    /// Where it came in.
    pub endpoint: EndpointId,
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
        if handshake.offers(method) { Ok(handshake) } else { Err(ErrorObject::method_not_found(method.name())) }
    }

    /// Step 7: the arguments of a call that headers mirror. `lookup` gives the raw value of a header.
    pub async fn mirrored<'h>(
        &self,
        asking: &Asking,
        lookup: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<(), ErrorObject> {
        let (Some(name), params) = (asking.params.text("name"), &asking.params) else { return Ok(()) };
        let found;
        let (server, name) = match &asking.target {
            Target::Server(server) => (server, &*name),
            Target::Aggregate(aggregate) => match aggregate.tool(&name).await {
                Some(tool) => {
                    found = tool;
                    (&found.0, &*found.1)
                }
                None => return Ok(()),
            },
            Target::Down(_) => return Ok(()),
        };
        let lists = server.snapshot().lists.clone();
        if lists.mirrors.is_empty() {
            return Ok(());
        }
        Ok(lists.mirrors.check(name, params.get("arguments").as_ref(), lookup)?)
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
        let Asking { endpoint, target, claims, params } = asking;
        if seat.method == Method::Discover {
            return Err(Outcome::Result(discovery(handshake)));
        }
        if seat.method == Method::Listen {
            return Ok(self.shared.listen(&target, handshake, &claims, &params, seat)?);
        }
        let mut reissued = 0;
        if let Some(claim) = self.shared.claimed(&endpoint, &seat.method, &params)? {
            match &claim.kind {
                Kind::Parked(ticket) => {
                    return Ok(self.shared.resume(*ticket, &claim, (&params, &claims.client), seat)?);
                }
                Kind::Reissue { waits_for, keys } => {
                    reissued = claim.round;
                    self.shared.visited(&seat.method, &claim.child, (waits_for, keys), &params).await?;
                }
            }
        }
        let on_its_way = OnItsWay {
            endpoint,
            client: claims.client,
            token: params.progress_token(),
            carries_state: params.value("requestState").is_some(),
            reissued,
        };
        match &target {
            Target::Server(server) => {
                let (raw, hints) = params.into_call();
                self.forward(server, None, on_its_way, (raw.clone(), raw, hints), seat).await
            }
            Target::Aggregate(aggregate) => self.forward_merged(aggregate, handshake, on_its_way, params, seat).await,
            Target::Down(why) => Err(why.clone().into()),
        }
    }

    async fn forward_merged(
        &self,
        aggregate: &Arc<Aggregate>,
        handshake: &Handshake,
        on_its_way: OnItsWay,
        params: Params,
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        let own = |outcome| hubs_own(&seat.method, handshake, outcome);
        if let Some(kind) = seat.method.list_kind() {
            return Err(own(aggregate.list(kind, params.get("cursor").as_ref(), Era::Modern).await));
        }
        // The members are those of other params than the server gets.
        let (hints, raw) = (params.hints(), params.into_raw());
        let routed = aggregate.route(&seat.method, raw.clone()).await.map_err(own)?;
        self.forward(&routed.server, Some(aggregate), on_its_way, (routed.params, raw, hints), seat).await
    }

    /// `own` are the client's own params, `params` those for the server, `hints` what is in them.
    async fn forward(
        &self,
        server: &ServerHandle,
        aggregate: Option<&Arc<Aggregate>>,
        on_its_way: OnItsWay,
        (params, own, hints): (Option<Raw>, Option<Raw>, Hints),
        seat: &Arc<Seat>,
    ) -> Result<(), Outcome> {
        let OnItsWay { endpoint, client, token, carries_state, reissued } = on_its_way;
        let instance = server.passing_instance().await?;
        let legacy = instance.handshake().is_none_or(|handshake| handshake.era == Era::Legacy);
        if carries_state && legacy && reissued == 0 && seat.method.may_need_input() {
            // It continues something, but nothing that is known: the call is not made again from the start.
            return Err(invalid().into());
        }
        let parts = Parts {
            number: CallId(next_id()),
            client: client.clone(),
            endpoint,
            server: server.clone(),
            instance: instance.clone(),
            aggregate: aggregate.cloned(),
            params: own.filter(|_| legacy && seat.method.may_need_input()),
            reissued,
        };
        let number = parts.number;
        let outlet = Call::new(parts, seat, self.shared.clone());
        seat.occupy(outlet.clone());
        if let Some(token) = token {
            seat.stream.expect_progress(number, token);
        }
        let (caller, method) = (CallerId::passing(number), seat.method.clone());
        Ok(instance.call_as(number, NewCall { caller, client: Some(client), method, params, hints, outlet }).await?)
    }
}

/// What is known of a request while its server is found.
struct OnItsWay {
    endpoint: EndpointId,
    client: Arc<Client>,
    token: Option<Raw>,
    /// It has a `requestState`.
    carries_state: bool,
    /// How often a server has refused it until URLs were visited.
    reissued: u32,
}

fn discovery(handshake: &Handshake) -> Raw {
    discover_result(&discover::Parts {
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
            Answer::Same(result) => Outcome::Result(result),
            Answer::Result(pieces) => Outcome::Result(Raw::from(pieces.concat())),
            Answer::Error(error) => Outcome::Error(error),
        },
        Outcome::Error(error) => Outcome::Error(error::to_modern(error)),
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
    let is_object = |key: &str| params.value(key).is_none_or(|value| value.first() == Some(&b'{'));
    if matches!(method, Method::ToolsCall | Method::PromptsGet) && !is_object("arguments") {
        return bad("`arguments` must be an object");
    }
    if method.list_kind().is_some() && params.value("cursor").is_some_and(|cursor| cursor.first() != Some(&b'"')) {
        return bad("`cursor` must be a string");
    }
    Ok(())
}
