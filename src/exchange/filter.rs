//! What a listener wants to hear (2026-07-28, basic/patterns/subscriptions#notification-filter).
//!
//! In: the params of a `subscriptions/listen`. Out: a [`Filter`], and the part of it that is honoured as raw JSON. Owns
//! nothing. May not: know who honours it.

use std::collections::HashSet;

use crate::limits::LISTENER_URIS_MAX;
use crate::mcp::message::elements;
use crate::mcp::meta::TASKS_EXTENSION;
use crate::mcp::splice::Object;
use crate::mcp::{ErrorObject, ListKind, Method, Raw, scan};
use crate::session::Params;

/// See the module's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// `toolsListChanged`
    pub(super) tools: bool,
    /// `promptsListChanged`
    pub(super) prompts: bool,
    /// `resourcesListChanged`
    pub(super) resources: bool,
    /// `resourceSubscriptions`, each once, in the client's order.
    pub(super) uris: Vec<String>,
}

impl Filter {
    /// Reads the filter of a request.
    pub(super) fn parse(params: &Params) -> Result<Self, ErrorObject> {
        let bad = |why: &str| ErrorObject::invalid_params(format!("Invalid params: {why}"));
        let filter = params.get("notifications").and_then(|filter| Object::scan(&filter));
        let filter = filter.ok_or_else(|| bad("`notifications` must be an object"))?;
        if filter.has_duplicates() {
            return Err(bad("a member of `notifications` stands twice"));
        }
        let flag = |key: &str| filter.get(key).is_some_and(|value| &value[..] == b"true");
        let mut uris = Vec::new();
        if let Some(list) = filter.get("resourceSubscriptions").filter(|list| &list[..] != b"null") {
            let strings = "`resourceSubscriptions` must be a list of strings";
            if list.first() != Some(&b'[') {
                return Err(bad(strings));
            }
            let mut seen = HashSet::new();
            for uri in elements(&list) {
                let uri = scan::unquote(&uri).ok_or_else(|| bad(strings))?.into_owned();
                if seen.insert(uri.clone()) {
                    uris.push(uri);
                }
            }
        }
        if uris.len() > LISTENER_URIS_MAX {
            return Err(bad(&format!("more than {LISTENER_URIS_MAX} resources in one subscription")));
        }
        Ok(Self {
            tools: flag("toolsListChanged"),
            prompts: flag("promptsListChanged"),
            resources: flag("resourcesListChanged"),
            uris,
        })
    }

    /// Did the client declare what it asks for? `taskIds` (SEP-2663) are never honoured, as tasks are polled here; but
    /// only who knows tasks may ask for them.
    pub(super) fn check(params: &Params, client_capabilities: &Raw) -> Result<(), ErrorObject> {
        let filter = params.get("notifications").and_then(|filter| Object::scan(&filter));
        let names_tasks = filter.and_then(|filter| filter.get("taskIds")).is_some_and(|list| &list[..] != b"null");
        let extensions = Object::scan(client_capabilities).and_then(|all| Object::scan(&all.get("extensions")?));
        if names_tasks && extensions.is_none_or(|all| all.get(TASKS_EXTENSION).is_none()) {
            let required = format!("{{\"extensions\":{{\"{TASKS_EXTENSION}\":{{}}}}}}");
            return Err(ErrorObject::missing_capability(&Raw::from(required)));
        }
        Ok(())
    }

    /// Only what a server with these capabilities can tell.
    pub(super) fn supported(&self, capabilities: &Raw) -> Self {
        let all = Object::scan(capabilities);
        let has = |kind: ListKind| {
            let value = all.as_ref().and_then(|all| all.get(kind.capability()));
            value.is_some_and(|value| value.first() == Some(&b'{'))
        };
        let resources = all.as_ref().and_then(|all| Object::scan(&all.get("resources")?));
        let subscribes = resources.and_then(|resources| resources.get("subscribe")).is_some_and(|flag| flag == "true");
        Self {
            tools: self.tools && has(ListKind::Tools),
            prompts: self.prompts && has(ListKind::Prompts),
            resources: self.resources && has(ListKind::Resources),
            uris: if subscribes { self.uris.clone() } else { Vec::new() },
        }
    }

    /// Is this one of the notifications that were asked for?
    pub(super) fn admits(&self, method: &Method) -> bool {
        match method {
            Method::ToolsChanged => self.tools,
            Method::PromptsChanged => self.prompts,
            Method::ResourcesChanged => self.resources,
            Method::ResourceUpdated => !self.uris.is_empty(),
            _ => false,
        }
    }

    /// As a raw object without what is not wanted.
    pub(super) fn to_raw(&self) -> Raw {
        let mut out = serde_json::Map::new();
        let flags = [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ];
        out.extend(flags.into_iter().filter(|(_, wanted)| *wanted).map(|(key, _)| (key.to_owned(), true.into())));
        if !self.uris.is_empty() {
            out.insert("resourceSubscriptions".to_owned(), self.uris.clone().into());
        }
        Raw::from(serde_json::Value::Object(out).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(filter: &str) -> Result<Filter, ErrorObject> {
        Filter::parse(&Params::read(Some(Raw::from(format!("{{\"notifications\":{filter}}}")))))
    }

    #[test]
    fn what_is_wanted() {
        let filter = parse(r#"{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:1","\u0061:1","b"],"x":1}"#)
            .expect("a filter");
        assert_eq!(filter.to_raw(), r#"{"toolsListChanged":true,"resourceSubscriptions":["a:1","b"]}"#);
        assert!(filter.admits(&Method::ToolsChanged) && filter.admits(&Method::ResourceUpdated));
        assert!(!filter.admits(&Method::PromptsChanged) && !filter.admits(&Method::LogMessage));
        assert_eq!(parse("{}").expect("nothing").to_raw(), "{}");
    }

    #[test]
    fn what_is_no_filter() {
        let many: Vec<String> = (0..=LISTENER_URIS_MAX).map(|n| format!("\"u:{n}\"")).collect();
        let many = format!(r#"{{"resourceSubscriptions":[{}]}}"#, many.join(","));
        for bad in ["7", "null", r#"{"resourceSubscriptions":"a"}"#, r#"{"resourceSubscriptions":[1]}"#, &many] {
            assert_eq!(parse(bad).expect_err(bad).code, -32602);
        }
    }

    #[test]
    fn only_what_the_server_has_is_honoured() {
        let all = parse(
            r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a"]}"#,
        )
        .expect("a filter");
        let supported = |capabilities: &str| all.supported(&Raw::copy_from_slice(capabilities.as_bytes())).to_raw();
        assert_eq!(supported(r#"{"tools":{}}"#), r#"{"toolsListChanged":true}"#);
        assert_eq!(supported(r#"{"resources":{}}"#), r#"{"resourcesListChanged":true}"#);
        assert_eq!(
            supported(r#"{"resources":{"subscribe":true},"prompts":{}}"#),
            r#"{"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a"]}"#
        );
    }
}
