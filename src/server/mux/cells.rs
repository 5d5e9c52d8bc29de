//! The line of a call for the child that is there: same era as it is, else translated by `bridge` (PROTOCOL 0.3).
//!
//! In: a call, its wire id. Out: its line. Owns nothing. May not: let a client's progress token, or a claim that the
//! child does not know, reach the pipe.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::super::client::Client;
use super::super::outlet::CallerId;
use super::calls::Call;
use super::{Mux, levels};
use crate::bridge::request::{self, Claims};
use crate::mcp::message::request_line;
use crate::mcp::meta::Level;
use crate::mcp::splice::Scanned;
use crate::mcp::{ClientCapabilities, Era, Line, Raw, WireId, splice};

/// hub as the client of its own requests.
pub(super) fn hub() -> &'static Arc<Client> {
    static HUB: LazyLock<Arc<Client>> = LazyLock::new(|| {
        let info = serde_json::json!({ "name": "hub", "version": env!("CARGO_PKG_VERSION") });
        let info = Some(Raw::from(info.to_string()));
        Arc::new(Client { info, ..Client::legacy(ClientCapabilities::default(), None) })
    });
    &HUB
}

impl Mux {
    /// Who a call is for.
    pub(super) fn client_of<'a>(&'a self, call: &'a Call) -> &'a Arc<Client> {
        call.client.as_ref().or_else(|| self.callers.get(&call.caller)).unwrap_or_else(|| hub())
    }

    /// The log lines that a modern child is told to send for a call.
    pub(super) fn logs_told(&self, call: &Call) -> Option<Level> {
        let client = self.client_of(call);
        match client.era {
            _ if !self.is_modern() => None,
            Era::Modern => client.level,
            Era::Legacy => {
                let logs = call.owner() != CallerId::HUB && self.facts.is_some_and(|facts| facts.logging);
                // Who never set a level gets what a legacy server sends by itself; absent would mean none.
                logs.then(|| self.levels.of(call.caller).unwrap_or(levels::BASELINE))
            }
        }
    }

    pub(super) fn line_of(&self, call: &Call, wire: WireId) -> Line {
        let client = self.client_of(call);
        let token = call.hints.token.then_some(wire);
        // What was found when the message was read; `params` may be others by now.
        let is_same = |scanned: &&Scanned| call.params.as_ref().is_some_and(|params| scanned.object.is_of(params));
        let scanned = call.hints.scanned.as_ref().filter(is_same);
        match (client.era, self.era) {
            (Era::Legacy, Era::Legacy) | (Era::Modern, Era::Modern) => as_it_is(call, wire),
            (Era::Modern, Era::Legacy) => {
                request_line(wire, &call.method, &request::to_legacy(call.params.as_ref(), scanned, token))
            }
            (Era::Legacy, Era::Modern) => {
                let level = self.logs_told(call);
                let claims = Claims { capabilities: &client.capabilities, info: client.info.as_ref(), level };
                let more = call.rounds.as_ref().map(|rounds| rounds.more()).unwrap_or_default();
                request_line(
                    wire,
                    &call.method,
                    &request::to_modern(call.params.as_ref(), scanned, &claims, token, &more),
                )
            }
        }
    }
}

fn as_it_is(call: &Call, wire: WireId) -> Line {
    let params = call.params.as_ref().filter(|_| call.hints.token);
    let token = params.and_then(|params| Some((params, splice::progress_token_range(params)?)));
    match token {
        None => request_line(wire, &call.method, call.params.as_slice()),
        Some((params, range)) => {
            let number = Bytes::from(wire.0.to_string());
            request_line(wire, &call.method, &[params.slice(..range.start), number, params.slice(range.end..)])
        }
    }
}
