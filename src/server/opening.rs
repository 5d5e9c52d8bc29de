//! The handshake with a child, as far as it has gone. PURE.
//!
//! In: lines of a child that was just started. Out: lines to write, then a [`Handshake`] or why there is none. Owns the
//! stage. May not: forward a client's `initialize` (PROTOCOL 1.1), or let who connects first decide what is declared.

use bytes::Bytes;
use serde_json::json;

use crate::config::Roots;
use crate::mcp::message::{self, NotAMessage, notification_line, request_line, response_line};
use crate::mcp::splice::Object;
use crate::mcp::{
    Era, ErrorObject, Line, Message, Method, Outcome, ProtocolVersion, Raw, Request, RequestId, WireId, scan,
};

use super::mux::roots_answer;
use super::snapshot::Handshake;

/// What is wanted next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Write(Line),
    /// Done; the wire id that comes next.
    Done(Box<Handshake>, u64),
    /// It cannot be used, and why.
    Failed(String),
    /// Something for the log.
    Note(String),
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Opening {
    name: String,
    roots: Roots,
    wire: u64,
    retried: bool,
}

impl Opening {
    /// Begins: the first line to write.
    pub(super) fn begin(name: &str, roots: &Roots) -> (Self, Line) {
        let opening = Self { name: name.to_owned(), roots: roots.clone(), wire: 1, retried: false };
        let line = opening.initialize(ProtocolVersion::LATEST_LEGACY.as_str());
        (opening, line)
    }

    /// One static set of capabilities per configuration, so that behaviour does not depend on who connects first.
    fn initialize(&self, version: &str) -> Line {
        let mut capabilities = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} } });
        if self.roots != Roots::default() {
            capabilities["roots"] = json!({ "listChanged": false });
        }
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": { "name": "hub", "version": env!("CARGO_PKG_VERSION") },
        });
        request_line(WireId(self.wire), &Method::Initialize, [Raw::from(params.to_string())])
    }

    /// The child wrote a line.
    pub(super) fn line(&mut self, line: &Bytes) -> Vec<Step> {
        match message::parse(line) {
            Ok(Message::Response(response))
                if response.id.as_ref().and_then(RequestId::as_number) == Some(self.wire) =>
            {
                self.answered(&response.outcome)
            }
            Err(NotAMessage::BadResponse { why, id }) if id.as_number() == Some(self.wire) => {
                vec![Step::Failed(format!("initialize: the server's answer was malformed: {why}"))]
            }
            Ok(Message::Request(request)) => vec![Step::Write(self.on_request(&request))],
            Ok(Message::Notification(note)) if note.method == Method::LogMessage => {
                let text = note.params.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
                vec![Step::Note(text)]
            }
            Ok(Message::Notification(_)) => Vec::new(),
            Ok(Message::Response(_)) | Err(_) => {
                vec![Step::Note(format!(
                    "not expected on stdout: {}",
                    String::from_utf8_lossy(&line[..line.len().min(300)])
                ))]
            }
        }
    }

    fn on_request(&self, request: &Request) -> Line {
        let outcome = match &request.method {
            Method::Ping => Outcome::empty(),
            Method::RootsList => roots_answer(&self.roots),
            method => ErrorObject::method_not_found(method.name()).into(),
        };
        response_line(&request.id, &outcome)
    }

    fn answered(&mut self, outcome: &Outcome) -> Vec<Step> {
        let result = match outcome {
            Outcome::Error(error) => return vec![self.refused(error)],
            Outcome::Result(result) => Object::scan(result),
        };
        let Some(result) = result else { return vec![Step::Failed("initialize: the result is not an object".into())] };
        let version = result.get_str("protocolVersion").unwrap_or_default();
        if version.as_str() > ProtocolVersion::LATEST_LEGACY.as_str() {
            let latest = ProtocolVersion::LATEST_LEGACY;
            return vec![Step::Failed(format!("initialize: the server answered {version}; hub asked for {latest}"))];
        }
        let object = |key: &str| result.get(key).filter(|value| value.first() == Some(&b'{'));
        let handshake = Handshake {
            era: Era::Legacy,
            version,
            capabilities: object("capabilities").unwrap_or_else(|| Raw::from_static(b"{}")),
            server_info: object("serverInfo")
                .unwrap_or_else(|| Raw::from(json!({ "name": self.name, "version": "0" }).to_string())),
            instructions: result.get("instructions").filter(|text| text.first() == Some(&b'"')),
        };
        vec![Step::Write(notification_line(&Method::Initialized, None)), Step::Done(Box::new(handshake), self.wire + 1)]
    }

    /// A refused revision is tried again once, with the newest that both know.
    fn refused(&mut self, error: &Raw) -> Step {
        let object = Object::scan(error);
        let text = object.as_ref().and_then(|error| error.get_str("message")).unwrap_or_default();
        let supported = object.and_then(|error| Object::scan(&error.get("data")?)?.get("supported"));
        let best = supported.filter(|list| list.first() == Some(&b'[')).and_then(|list| {
            let known =
                message::elements(&list).filter_map(|version| ProtocolVersion::parse(&scan::unquote(&version)?));
            known.filter(|version| version.era() == Era::Legacy).max()
        });
        match best {
            Some(version) if !self.retried => {
                self.retried = true;
                self.wire += 1;
                Step::Write(self.initialize(version.as_str()))
            }
            _ => Step::Failed(format!("initialize was refused: {text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(opening: &mut Opening, line: &str) -> Vec<Step> {
        opening.line(&Bytes::copy_from_slice(line.as_bytes()))
    }

    #[test]
    fn the_usual_way() {
        let (mut opening, first) = Opening::begin("s", &Roots::default());
        let first = String::from_utf8(first.to_bytes().to_vec()).expect("text");
        assert!(first.contains("\"id\":1") && first.contains("2025-11-25") && !first.contains("roots"), "{first}");
        let ping = steps(&mut opening, r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#);
        assert!(
            matches!(&ping[..], [Step::Write(line)] if line.to_bytes() == "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\n")
        );
        assert!(matches!(&steps(&mut opening, "Server running on stdio")[..], [Step::Note(_)]));
        let done = steps(
            &mut opening,
            r#"{"result":{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}},"jsonrpc":"2.0","id":1}"#,
        );
        let [Step::Write(_), Step::Done(handshake, 2)] = &done[..] else { panic!("{done:?}") };
        assert_eq!((handshake.version.as_str(), &handshake.capabilities[..]), ("2024-11-05", &br#"{"tools":{}}"#[..]));
    }

    #[test]
    fn a_refused_revision_is_tried_again_once() {
        let (mut opening, _) = Opening::begin("s", &Roots::Own(vec!["file:///r".into()]));
        let refusal = |id: u32| {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"no","data":{{"supported":["2024-11-05","2025-03-26"]}}}}}}"#
            )
        };
        let again = steps(&mut opening, &refusal(1));
        assert!(
            matches!(&again[..], [Step::Write(line)] if String::from_utf8_lossy(&line.to_bytes()).contains("2025-03-26"))
        );
        assert_eq!(steps(&mut opening, &refusal(2)), [Step::Failed("initialize was refused: no".into())]);
    }

    #[test]
    fn a_malformed_answer_is_an_answer() {
        let (mut opening, _) = Opening::begin("s", &Roots::default());
        let other = steps(&mut opening, r#"{"jsonrpc":"2.0","id":2,"error":"no"}"#);
        assert!(matches!(&other[..], [Step::Note(_)]));
        let steps = steps(&mut opening, r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#);
        assert!(matches!(&steps[..], [Step::Failed(why)] if why.contains("malformed")), "{steps:?}");
    }

    #[test]
    fn a_newer_answer_is_refused() {
        let (mut opening, _) = Opening::begin("s", &Roots::default());
        let steps = steps(&mut opening, r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2026-07-28"}}"#);
        assert!(matches!(&steps[..], [Step::Failed(_)]));
    }
}
