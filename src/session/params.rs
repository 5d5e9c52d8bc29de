//! The params of a client's message, scanned once.
//!
//! In: raw params. Out: the few members that hub reads. Owns the places of the members. May not: look into values.

use crate::mcp::splice::Object;
use crate::mcp::{Message, Method, Raw, RequestId};
use crate::server::Hints;

/// The key that makes a message modern (specification 2026-07-28, basic/index#_meta).
const MODERN_CLAIM: &str = "io.modelcontextprotocol/protocolVersion";

/// See the module's header.
#[derive(Debug, Default)]
pub struct Params {
    raw: Option<Raw>,
    object: Option<Object>,
    meta: Option<Object>,
}

impl Params {
    /// Scans the top level, and that of `_meta`.
    pub fn read(raw: Option<Raw>) -> Self {
        Self::of(raw, None)
    }

    /// What the first pass over the message found.
    fn of(raw: Option<Raw>, object: Option<Object>) -> Self {
        let object = object.or_else(|| raw.as_ref().and_then(Object::scan));
        let meta = object.as_ref().and_then(|object| Object::scan(&object.get("_meta")?));
        Self { raw, object, meta }
    }

    /// A member stands twice: two parsers may disagree on which one counts, and so on what was asked (PROTOCOL 0.2.8).
    pub fn is_ambiguous(&self) -> bool {
        let ambiguous = |object: &Option<Object>| object.as_ref().is_some_and(Object::has_duplicates);
        ambiguous(&self.object) || ambiguous(&self.meta)
    }

    /// Whether the message says of itself that it is of the modern revision (PROTOCOL 2.1, row 6).
    pub fn claims_modern(&self) -> bool {
        self.meta.as_ref().is_some_and(|meta| meta.get(MODERN_CLAIM).is_some())
    }

    /// The raw text.
    pub fn raw(&self) -> Option<&Raw> {
        self.raw.as_ref()
    }

    /// The raw text, for sending it on.
    pub fn into_raw(self) -> Option<Raw> {
        self.raw
    }

    /// A raw member.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.object.as_ref()?.get(key)
    }

    /// A string member.
    pub fn text(&self, key: &str) -> Option<String> {
        self.object.as_ref()?.get_str(key)
    }

    /// A raw member of `_meta`.
    pub fn meta(&self, key: &str) -> Option<Raw> {
        self.meta.as_ref()?.get(key)
    }

    /// All members, if there are any params.
    pub fn object(&self) -> Option<&Object> {
        self.object.as_ref()
    }

    /// The client's progress token: a string or a number, as it was written.
    pub fn progress_token(&self) -> Option<Raw> {
        let token = self.meta.as_ref()?.get("progressToken")?;
        matches!(token.first(), Some(b'"' | b'-' | b'0'..=b'9')).then_some(token)
    }

    /// What the instance must act on.
    pub fn hints(&self) -> Hints {
        Hints { token: self.progress_token().is_some(), task: self.get("task").is_some() }
    }

    /// The same without a top-level member.
    pub fn without(self, key: &str) -> Self {
        match &self.object {
            Some(object) if object.get(key).is_some() => Self::read(Some(object.edit(&[(key, None)]))),
            _ => self,
        }
    }
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
                let params = Params::of(request.params, request.object);
                Self::Request(Asked { id: request.id, method: request.method, params })
            }
            Message::Notification(note) => Self::Notification(note.method, Params::of(note.params, note.object)),
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
