//! What a client declared that it can do, as far as hub must know it.
//!
//! In: the raw `capabilities` of an `initialize` (or of a modern request). Out: [`ClientCapabilities`]. Owns nothing.
//! May not: choose who is asked (a capability is never evidence of ownership, PROTOCOL 1.11.4).

use super::Raw;
use super::splice::Object;

/// The parts of a client's capabilities that decide whether a child's request may be relayed to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent capability of the specification")]
pub struct ClientCapabilities {
    /// `elicitation: {}` or with `form`
    pub elicitation_form: bool,
    /// `elicitation.url`
    pub elicitation_url: bool,
    /// `sampling`
    pub sampling: bool,
    /// `sampling.tools`
    pub sampling_tools: bool,
    /// `sampling.context`
    pub sampling_context: bool,
    /// `roots`
    pub roots: bool,
}

impl ClientCapabilities {
    /// Reads the raw object; anything unreadable counts as not declared.
    pub fn parse(raw: &Raw) -> Self {
        let Some(all) = Object::scan(raw) else { return Self::default() };
        let sub = |key: &str| all.get(key).and_then(|value| Object::scan(&value));
        let has = |object: &Option<Object>, key: &str| {
            object.as_ref().is_some_and(|o| o.get(key).is_some_and(|value| value.first() == Some(&b'{')))
        };
        let (elicitation, sampling) = (sub("elicitation"), sub("sampling"));
        let url = has(&elicitation, "url");
        Self {
            elicitation_form: elicitation.is_some() && (!url || has(&elicitation, "form")),
            elicitation_url: url,
            sampling: sampling.is_some(),
            sampling_tools: has(&sampling, "tools"),
            sampling_context: has(&sampling, "context"),
            roots: sub("roots").is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn parse(text: &'static str) -> ClientCapabilities {
        ClientCapabilities::parse(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn an_empty_elicitation_means_form() {
        assert!(parse(r#"{"elicitation":{}}"#).elicitation_form);
        assert!(!parse(r#"{"elicitation":{"url":{}}}"#).elicitation_form);
        let both = parse(r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#);
        assert!(both.elicitation_form && both.elicitation_url && both.sampling && both.sampling_tools && both.roots);
        assert!(!both.sampling_context);
        assert_eq!(parse("[]"), ClientCapabilities::default());
    }
}
