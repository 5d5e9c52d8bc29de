//! A tool's definition as a client of the other era takes it (PROTOCOL 3.B.1, 3.C).
//!
//! In: one raw item of `tools/list`. Out: the same without what would make a client refuse the tool, or the whole list
//! with it. Owns nothing. May not: change a byte of a definition that needs no change.

use crate::mcp::Raw;
use crate::mcp::message::elements;
use crate::mcp::scan::may_hold;
use crate::mcp::splice::{Object, array};

use super::annotations::annotations;

/// A modern server's tool for a legacy session. The TypeScript SDK before 2.0 refuses the whole list for one tool whose
/// `outputSchema` is no object's or whose property has a boolean for a schema.
pub fn tools_to_legacy(item: &Raw) -> Raw {
    legacy(item).unwrap_or_else(|| item.clone())
}

fn legacy(item: &Raw) -> Option<Raw> {
    let tool = Object::scan(item)?;
    let input = tool.get("inputSchema").and_then(|schema| without_boolean_properties(&schema));
    let output = tool.get("outputSchema").map(|schema| {
        let is_object =
            Object::scan(&schema).and_then(|schema| schema.get_str("type")).is_some_and(|kind| kind == "object");
        is_object.then(|| without_boolean_properties(&schema).unwrap_or(schema))
    });
    let output_differs = output.is_some() && tool.get("outputSchema") != output.clone().flatten();
    if input.is_none() && !output_differs {
        return None;
    }
    let mut edits: Vec<(&str, Option<&[u8]>)> = Vec::new();
    edits.extend(input.as_ref().map(|input| ("inputSchema", Some(&input[..]))));
    edits.extend(output.as_ref().map(|output| ("outputSchema", output.as_deref())));
    Some(tool.edit(&edits))
}

/// A schema whose properties are all objects; `None` if they are.
fn without_boolean_properties(schema: &Raw) -> Option<Raw> {
    let schema = Object::scan(schema)?;
    let properties = Object::scan(&schema.get("properties")?)?;
    let entries: Vec<(String, Raw)> = properties.entries().collect();
    let replaced = |value: &Raw| match &value[..] {
        b"true" => Some(&b"{}"[..]),
        b"false" => Some(&b"{\"not\":{}}"[..]),
        _ => None,
    };
    let edits: Vec<(&str, Option<&[u8]>)> =
        entries.iter().filter_map(|(key, value)| Some((key.as_str(), Some(replaced(value)?)))).collect();
    (!edits.is_empty()).then(|| schema.edit(&[("properties", Some(&properties.edit(&edits)))]))
}

/// A legacy server's tool for a modern client: no `execution` (its tasks are not the modern ones), and no annotation of
/// headers that a client would have to refuse the tool for (2026-07-28, basic/transports/streamable-http).
pub fn tools_to_modern(item: &Raw) -> Raw {
    modern(item).unwrap_or_else(|| item.clone())
}

fn modern(item: &Raw) -> Option<Raw> {
    let tool = Object::scan(item)?;
    let schema = tool.get("inputSchema").and_then(|schema| annotations(&schema).repaired(&schema));
    let has_execution = tool.get("execution").is_some();
    if schema.is_none() && !has_execution {
        return None;
    }
    let mut edits: Vec<(&str, Option<&[u8]>)> = vec![("execution", None)];
    edits.extend(schema.as_ref().map(|schema| ("inputSchema", Some(&schema[..]))));
    Some(tool.edit(&edits))
}

/// Does this tool run only as a task (2025-11-25)? A client that has no such tasks could not call it.
pub fn needs_task(item: &Raw) -> bool {
    if !may_hold(item, "\"taskSupport\"") {
        return false;
    }
    let execution = Object::scan(item).and_then(|tool| Object::scan(&tool.get("execution")?));
    execution.and_then(|execution| execution.get_str("taskSupport")).is_some_and(|support| support == "required")
}

/// A modern server's tool for a modern client: without annotations of headers that are not valid.
pub fn tools_with_valid_headers(item: &Raw) -> Raw {
    let repaired = |tool: Object| {
        let schema = tool.get("inputSchema")?;
        let schema = annotations(&schema).repaired(&schema)?;
        Some(tool.edit(&[("inputSchema", Some(&schema))]))
    };
    Object::scan(item).and_then(repaired).unwrap_or_else(|| item.clone())
}

/// The raw `tools` of a page without some, with `change` applied to the others; `None` if it has none.
pub(super) fn each(page: &Object, hidden: fn(&Raw) -> bool, change: fn(&Raw) -> Raw) -> Option<Raw> {
    let tools = page.get("tools").filter(|tools| tools.first() == Some(&b'['))?;
    let changed: Vec<Raw> = elements(&tools).filter(|tool| !hidden(tool)).map(|tool| change(&tool)).collect();
    Some(array(&changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_legacy_client_gets_no_tool_that_it_would_refuse_the_list_for() {
        let of = |text: &str| tools_to_legacy(&raw(text));
        let fine = r#"{ "name":"a", "inputSchema":{"type":"object","properties":{"x":{"default":true}},"additionalProperties":false},"outputSchema":{"type":"object","properties":{"y":{}}} }"#;
        assert_eq!(of(fine), fine);
        assert_eq!(of(r#"{"name":"a","outputSchema":{"type":"array"},"x":1}"#), r#"{"name":"a","x":1}"#);
        assert_eq!(of(r#"{"name":"a","outputSchema":{"$ref":"x"}}"#), r#"{"name":"a"}"#);
        assert_eq!(of(r#"{"name":"a","outputSchema":true}"#), r#"{"name":"a"}"#);
        assert_eq!(
            of(
                r#"{"name":"a","inputSchema":{"type":"object","properties":{"x":true,"\u0079":false,"z":{"type":"string"}}}}"#
            ),
            r#"{"name":"a","inputSchema":{"type":"object","properties":{"x":{},"\u0079":{"not":{}},"z":{"type":"string"}}}}"#
        );
        assert_eq!(
            of(r#"{"outputSchema":{"type":"object","properties":{"x":true}}}"#),
            r#"{"outputSchema":{"type":"object","properties":{"x":{}}}}"#
        );
    }

    #[test]
    fn a_modern_client_gets_no_execution() {
        let of = |text: &str| tools_to_modern(&raw(text));
        assert_eq!(of(r#"{"name":"a","execution":{"taskSupport":"optional"}}"#), r#"{"name":"a"}"#);
        let fine = r#"{ "name":"a", "inputSchema":{"properties":{"r":{"type":"string","x-mcp-header":"Region"}}} }"#;
        assert_eq!(of(fine), fine);
    }

    #[test]
    fn tools_that_run_only_as_tasks() {
        assert!(needs_task(&raw(r#"{"name":"a","execution":{"taskSupport":"required"}}"#)));
        for fine in [r#"{"name":"a"}"#, r#"{"execution":{"taskSupport":"optional"}}"#, r#"{"taskSupport":"required"}"#]
        {
            assert!(!needs_task(&raw(fine)), "{fine}");
        }
    }
}
