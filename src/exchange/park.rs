//! Parked calls: a child waits for its client, and the client has gone to ask somebody (PROTOCOL 3.A.4).
//!
//! In: calls whose child asks; retries with a `requestState`. Out: interim results; the call that a retry belongs to.
//! Owns the table of parked calls. May not: tell a client why its `requestState` is not taken; run anything twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use crate::bridge::state::{Claim, Digest, Expected, Invalid, Kind, PREFIX, digest, invalid};
use crate::limits::{PARKED_MAX, PARKED_PER_SERVER_MAX};
use crate::mcp::error::Reason;
use crate::mcp::meta::SERVER_INFO;
use crate::mcp::{ErrorObject, Method, Raw};
use crate::server::Client;
use crate::session::{EndpointId, Params};

use super::call::Call;
use super::outcome::Answer;
use super::{Seat, Shared};

/// Who calls: hub knows no users, so all are one.
const PRINCIPAL: Digest = [0; 32];
/// A seal outlives its call by this much: the call itself says when it is too late.
const SEAL_MARGIN: Duration = Duration::from_secs(60);

/// The calls whose child has asked something, by a number that nobody can guess.
#[derive(Default)]
pub(super) struct Parks {
    calls: Mutex<HashMap<u128, Arc<Call>>>,
}

impl std::fmt::Debug for Parks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parks").field("calls", &self.lock().len()).finish()
    }
}

impl Parks {
    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Arc<Call>>> {
        self.calls.lock().expect("no panic under this lock")
    }

    /// A call whose child asks for the first time.
    pub(super) fn admit(&self, call: Arc<Call>) -> Result<u128, ErrorObject> {
        let full = |what: &str| Err(ErrorObject::internal(Reason::Overloaded, format!("too many {what} calls wait")));
        let mut bytes = [0; 16];
        if let Err(error) = getrandom::fill(&mut bytes) {
            tracing::error!("no random numbers: {error}");
            return full("of its");
        }
        let ticket = u128::from_ne_bytes(bytes);
        let mut forgotten = Vec::new();
        let mut calls = self.lock();
        if calls.len() >= PARKED_MAX {
            // Ends that nobody has fetched make room for calls that run.
            forgotten.extend(calls.extract_if(|_, other| other.is_done()));
        }
        if calls.len() >= PARKED_MAX {
            return full("of hub's");
        }
        let name = call.parts.server.name();
        let of_server = calls.values().filter(|other| other.parts.server.name() == name && !other.is_done());
        if of_server.count() >= PARKED_PER_SERVER_MAX {
            return full("of this server's");
        }
        calls.insert(ticket, call);
        // Before what was forgotten is.
        drop(calls);
        Ok(ticket)
    }

    pub(super) fn forget(&self, ticket: u128) {
        // Dropped after the lock is released.
        let forgotten = self.lock().remove(&ticket);
        drop(forgotten);
    }

    /// How many run and wait for a client. Those that are over and keep their end for it are not counted.
    pub(super) fn len(&self) -> usize {
        self.lock().values().filter(|call| !call.is_done()).count()
    }

    /// hub stops: those that nobody waits for now will not be continued.
    pub(super) fn give_up(&self) {
        let calls: Vec<Arc<Call>> = self.lock().values().cloned().collect();
        for call in calls.iter().filter(|call| call.is_parked()) {
            call.give_up("hub is stopping");
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

impl Shared {
    /// The `requestState` for what a retry of `call` continues.
    pub(super) fn sealed(&self, call: &Call, kind: Kind, round: u32, params: Digest) -> String {
        let lasts = call.parts.server.spec().park_timeout + SEAL_MARGIN;
        self.sealer.seal(&Claim {
            kind,
            round,
            child: call.parts.server.name().to_string(),
            epoch: call.parts.instance.snapshot().generation,
            endpoint: call.parts.endpoint.to_string(),
            principal: PRINCIPAL,
            params,
            expires: unix_now() + lasts.as_secs(),
        })
    }

    /// The claim that a retry comes with. `None`: hub did not seal it; perhaps a modern server did.
    pub(super) fn claimed(
        &self,
        endpoint: &EndpointId,
        method: &Method,
        params: &Params,
    ) -> Result<Option<Claim>, ErrorObject> {
        let sealed = params.text("requestState").filter(|sealed| sealed.starts_with(PREFIX));
        let Some(sealed) = sealed.filter(|_| method.may_need_input()) else { return Ok(None) };
        let params = digest(method, params.raw());
        let expected = Expected { endpoint: &endpoint.to_string(), principal: &PRINCIPAL, params: &params };
        match self.sealer.open(&sealed, &expected, unix_now()) {
            Ok(claim) => Ok(Some(claim)),
            Err(Invalid::Forged) => Ok(None),
            Err(why) => {
                tracing::debug!(method = method.name(), %why, "a requestState is not taken");
                Err(why.to_error())
            }
        }
    }

    /// Gives the seat of a retry to the parked call that it continues.
    pub(super) fn resume(
        &self,
        ticket: u128,
        claim: &Claim,
        (params, client): (&Params, &Arc<Client>),
        seat: &Arc<Seat>,
    ) -> Result<(), ErrorObject> {
        let call = self.parks.lock().get(&ticket).cloned().ok_or_else(invalid)?;
        if !call.is_of(claim.epoch) {
            call.give_up("its server has been started anew");
            return Err(invalid());
        }
        let responses = params.get("inputResponses");
        call.attach(seat, client, (claim.round, responses.as_ref()), params.progress_token()).map_err(|why| {
            tracing::debug!(server = %call.parts.server.name(), %why, "a retry is not taken");
            invalid()
        })
    }
}

/// An interim result: the client is asked, and makes the call again.
pub(super) fn interim(call: &Call, input_requests: &Raw, sealed: &str) -> Answer {
    let handshake = call.parts.instance.snapshot().handshake.clone();
    let info = handshake.map_or_else(|| Raw::from_static(b"{}"), |handshake| handshake.server_info.clone());
    let tail = format!(",\"requestState\":\"{sealed}\",\"_meta\":{{\"{SERVER_INFO}\":");
    Answer::Result(vec![
        Raw::from_static(b"{\"resultType\":\"input_required\",\"inputRequests\":"),
        input_requests.clone(),
        Raw::from(tail),
        info,
        Raw::from_static(b"}}"),
    ])
}
