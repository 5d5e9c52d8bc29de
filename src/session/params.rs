//! The params of a client's message, scanned once.
//!
//! In: raw params. Out: the few members that hub reads. Owns the places of the members. May not: look into values.

use std::borrow::Cow;

use crate::limits::SCANNED_MEMBERS_KEPT_MAX;
use crate::mcp::splice::{Object, Scanned};
use crate::mcp::{Message, Method, Raw, RequestId};
use crate::server::Hints;

/// The key that makes a message modern (specification 2026-07-28, basic/index#_meta).
const MODERN_CLAIM: &str = "io.modelcontextprotocol/protocolVersion";

/// See the module's header.
#[derive(Debug, Default)]
pub struct Params {
    raw: Option<Raw>,
    scanned: Option<Scanned>,
}

impl Params {
    /// Scans the top level, and that of `_meta`.
    pub fn read(raw: Option<Raw>) -> Self {
        Self::of(raw, None)
    }

    /// What the first pass over the message found.
    fn of(raw: Option<Raw>, scanned: Option<Scanned>) -> Self {
        let scanned = scanned.or_else(|| raw.as_ref().and_then(Scanned::scan));
        Self { raw, scanned }
    }

    /// All members, if there are any params.
    pub fn object(&self) -> Option<&Object> {
        self.scanned.as_ref().map(|scanned| &scanned.object)
    }

    fn meta_object(&self) -> Option<&Object> {
        self.scanned.as_ref()?.meta.as_ref()
    }

    /// A member stands twice: two parsers may disagree on which one counts, and so on what was asked (PROTOCOL 0.2.8).
    pub fn is_ambiguous(&self) -> bool {
        [self.object(), self.meta_object()].into_iter().flatten().any(Object::has_duplicates)
    }

    /// Whether the message says of itself that it is of the modern revision (PROTOCOL 2.1, row 6).
    pub fn claims_modern(&self) -> bool {
        self.meta_object().is_some_and(|meta| meta.has(MODERN_CLAIM))
    }

    /// The raw text.
    pub fn raw(&self) -> Option<&Raw> {
        self.raw.as_ref()
    }

    /// The raw text, for sending it on.
    pub fn into_raw(self) -> Option<Raw> {
        self.raw
    }

    /// The raw text, for sending it on as a call, and what the instance must know of it.
    pub fn into_call(self) -> (Option<Raw>, Hints) {
        let hints = self.hints();
        // It stays as long as the call, and no budget counts it: of an unusual object it is found again when needed.
        let scanned = self.scanned.filter(|scanned| scanned.members() <= SCANNED_MEMBERS_KEPT_MAX);
        (self.raw, Hints { scanned, ..hints })
    }

    /// A raw member.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.object()?.get(key)
    }

    /// A raw member, without a share in the bytes.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.object()?.value(key)
    }

    /// A string member.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.object()?.text(key)
    }

    /// A raw member of `_meta`.
    pub fn meta(&self, key: &str) -> Option<Raw> {
        self.meta_object()?.get(key)
    }

    /// A raw member of `_meta`, without a share in the bytes.
    pub fn meta_value(&self, key: &str) -> Option<&[u8]> {
        self.meta_object()?.value(key)
    }

    /// The client's progress token: a string or a number, as it was written.
    pub fn progress_token(&self) -> Option<Raw> {
        self.meta("progressToken").filter(|token| is_token(token))
    }

    /// What the instance must act on, without the members.
    pub fn hints(&self) -> Hints {
        let token = self.meta_value("progressToken").is_some_and(is_token);
        Hints { token, task: self.value("task").is_some(), scanned: None }
    }

    /// The same without a top-level member.
    pub fn without(self, key: &str) -> Self {
        match self.object() {
            Some(object) if object.has(key) => Self::read(Some(object.edit(&[(key, None)]))),
            _ => self,
        }
    }
}

fn is_token(value: &[u8]) -> bool {
    matches!(value.first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

/// A message of a client as the method table takes it.
#[derive(Debug)]
pub enum FromClient {
    /// Wants an answer.
    Request(Asked),
    /// Wants none.
    Notification(Method, Params),
    /// Answers an ask.
    Response(crate::mcp::Response),
}

/// A request of a client.
#[derive(Debug)]
pub struct Asked {
    /// The client's id.
    pub id: RequestId,
    /// What it wants.
    pub method: Method,
    /// Of what.
    pub params: Params,
}

impl From<Message> for FromClient {
    fn from(message: Message) -> Self {
        match message {
            Message::Request(request) => {
                let params = Params::of(request.params, request.scanned);
                Self::Request(Asked { id: request.id, method: request.method, params })
            }
            Message::Notification(note) => Self::Notification(note.method, Params::of(note.params, note.scanned)),
            Message::Response(response) => Self::Response(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn params(text: &'static str) -> Params {
        Params::read(Some(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn members() {
        let read = params(r#"{"_meta":{"progressToken":1.50,"x":1},"level":"info","task":{}}"#);
        assert!(!read.is_ambiguous() && !read.claims_modern());
        assert_eq!(
            (read.progress_token().expect("a token"), read.text("level").as_deref()),
            ("1.50".into(), Some("info"))
        );
        assert_eq!(
            read.without("task").into_raw().expect("raw"),
            r#"{"_meta":{"progressToken":1.50,"x":1},"level":"info"}"#
        );
        assert_eq!(params(r#"{"_meta":{"progressToken":null}}"#).progress_token(), None);
        assert!(Params::read(None).get("x").is_none());
    }

    #[test]
    fn escapes_hide_nothing() {
        assert!(params(r#"{"name":1,"na\u006de":2}"#).is_ambiguous());
        assert!(params(r#"{"_meta":{"a":1,"a":2}}"#).is_ambiguous());
        assert!(params(r#"{"_meta":{"io.modelcontextprotocol\/protocolVersion":1}}"#).claims_modern());
        assert!(!params(r#"{"arguments":{"io.modelcontextprotocol/protocolVersion":1}}"#).claims_modern());
    }
}
