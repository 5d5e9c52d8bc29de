//! A tool's definition as a client of the other era takes it (PROTOCOL 3.B.1, 3.C).
//!
//! In: one raw item of `tools/list`. Out: the same without what would make a client refuse the tool, or the whole list
//! with it. Owns nothing. May not: change a byte of a definition that needs no change.

use std::collections::HashSet;

use bytes::Bytes;

use crate::mcp::Raw;
use crate::mcp::message::elements;
use crate::mcp::scan::{self, may_hold};
use crate::mcp::splice::{Object, array};

/// The annotation that mirrors an argument into a header (SEP-2243).
const ANNOTATION: &str = "x-mcp-header";
/// The same as a key in JSON.
const ANNOTATION_KEY: &str = "\"x-mcp-header\"";

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
    let schema = tool.get("inputSchema").and_then(|schema| annotations(&schema).repaired);
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
        let schema = annotations(&tool.get("inputSchema")?).repaired?;
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

/// What an annotated argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `string`
    Text,
    /// `integer`
    Integer,
    /// `boolean`
    Boolean,
}

/// A valid annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Annotation {
    /// Where the argument is: names of nested properties.
    pub(super) path: Vec<String>,
    /// The header's name behind `Mcp-Param-`.
    pub(super) name: String,
    /// What the argument is.
    pub(super) kind: Kind,
}

/// What the annotations of one schema are.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    /// The valid ones, in the schema's order.
    pub(super) valid: Vec<Annotation>,
    /// Why others are not.
    pub(super) complaints: Vec<String>,
    /// The schema without the others; `None` if all are valid.
    pub(super) repaired: Option<Raw>,
}

/// Reads the annotations of an `inputSchema`.
pub(super) fn annotations(schema: &Raw) -> Annotations {
    let mut walk = Walk::default();
    let repaired = walk.schema(schema, true, 0);
    Annotations { valid: walk.valid, complaints: walk.complaints, repaired }
}

/// Schemas nested deeper than this lose what is below: no client reads them, and no stack has to.
const DEPTH_MAX: usize = 64;

#[derive(Debug, Default)]
struct Walk {
    path: Vec<String>,
    names: HashSet<String>,
    valid: Vec<Annotation>,
    complaints: Vec<String>,
}

impl Walk {
    /// The schema without its invalid annotations; `None` if nothing is to change. It is `reachable` if only the
    /// `properties` of schemas lead to it.
    fn schema(&mut self, schema: &Raw, reachable: bool, depth: usize) -> Option<Raw> {
        if !may_hold(schema, ANNOTATION_KEY) {
            return None;
        }
        if depth == DEPTH_MAX {
            self.complain("nested too deep");
            return Some(Bytes::from_static(b"{}"));
        }
        if schema.first() == Some(&b'[') {
            return self.list(schema, depth);
        }
        let object = Object::scan(schema)?;
        let mut edits: Vec<(String, Option<Raw>)> = Vec::new();
        for (key, value) in object.entries() {
            let change = match key.as_str() {
                ANNOTATION => match self.judge(&object, &value, reachable) {
                    Ok(annotation) => {
                        self.valid.push(annotation);
                        None
                    }
                    Err(why) => {
                        self.complain(why);
                        Some(None)
                    }
                },
                "properties" => self.by_name(&value, reachable, depth).map(Some),
                "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
                    self.by_name(&value, false, depth).map(Some)
                }
                // Values, not schemas.
                "default" | "const" | "enum" | "examples" => None,
                _ => self.schema(&value, false, depth + 1).map(Some),
            };
            edits.extend(change.map(|change| (key, change)));
        }
        let edits: Vec<(&str, Option<&[u8]>)> =
            edits.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        (!edits.is_empty()).then(|| object.edit(&edits))
    }

    fn list(&mut self, list: &Raw, depth: usize) -> Option<Raw> {
        let mut changed = false;
        let mut items = Vec::new();
        for item in elements(list) {
            let new = self.schema(&item, false, depth + 1);
            changed |= new.is_some();
            items.push(new.unwrap_or(item));
        }
        changed.then(|| array(&items))
    }

    /// An object whose keys are names, and whose values are schemas.
    fn by_name(&mut self, schemas: &Raw, reachable: bool, depth: usize) -> Option<Raw> {
        let object = Object::scan(schemas)?;
        let mut edits: Vec<(String, Raw)> = Vec::new();
        for (name, schema) in object.entries() {
            self.path.push(name.clone());
            let change = self.schema(&schema, reachable, depth + 1);
            self.path.pop();
            edits.extend(change.map(|change| (name, change)));
        }
        let edits: Vec<(&str, Option<&[u8]>)> =
            edits.iter().map(|(name, value)| (name.as_str(), Some(&value[..]))).collect();
        (!edits.is_empty()).then(|| object.edit(&edits))
    }

    fn judge(&mut self, schema: &Object, value: &Raw, reachable: bool) -> Result<Annotation, &'static str> {
        if !reachable || self.path.is_empty() {
            return Err("not on a property that only `properties` lead to");
        }
        let name = scan::unquote(value).filter(|name| is_token(name)).ok_or("not the name of a header")?;
        let kind = match schema.get_str("type").as_deref() {
            Some("string") => Kind::Text,
            Some("integer") => Kind::Integer,
            Some("boolean") => Kind::Boolean,
            _ => return Err("not on a string, an integer or a boolean"),
        };
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Err("the same header twice");
        }
        Ok(Annotation { path: self.path.clone(), name: name.into_owned(), kind })
    }

    fn complain(&mut self, why: &str) {
        self.complaints.push(format!("{ANNOTATION} at `{}`: {why}", self.path.join(".")));
    }
}

/// RFC 9110 section 5.6.2
fn is_token(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The schema without its invalid annotations, and the paths of the valid ones.
    fn judged(properties: &str) -> (String, Vec<String>) {
        let found = annotations(&raw(&format!(r#"{{"properties":{properties}}}"#)));
        assert_eq!(found.repaired.is_some(), !found.complaints.is_empty(), "{:?}", found.complaints);
        let repaired =
            found.repaired.map_or_else(|| "same".into(), |raw| String::from_utf8(raw.to_vec()).expect("text"));
        (repaired, found.valid.iter().map(|one| format!("{}={}", one.path.join("."), one.name)).collect())
    }

    #[test]
    fn valid_annotations() {
        let (repaired, valid) = judged(
            r#"{"a":{"type":"string","x-mcp-header":"A"},"o":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"x-b!"}}},"c":{"x-mcp-header":"C","type":"boolean"}}"#,
        );
        assert_eq!(repaired, "same");
        assert_eq!(valid, ["a=A", "o.b=x-b!", "c=C"]);
        // A property of that name, and a value that looks like one, are no annotations.
        let (repaired, valid) = judged(r#"{"x-mcp-header":{"type":"string"},"d":{"default":{"x-mcp-header":1}}}"#);
        assert_eq!((repaired.as_str(), valid.len()), ("same", 0));
    }

    #[test]
    fn invalid_annotations_are_taken_out() {
        for bad in [
            r#"{"a":{"type":"string"@"x-mcp-header":""}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"a b"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"a\r\nB: c"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":"ä"}}"#,
            r#"{"a":{"type":"string"@"x-mcp-header":1}}"#,
            r#"{"a":{"type":"number"@"x-mcp-header":"A"}}"#,
            r#"{"a":{"type":"object"@"x-mcp-header":"A"}}"#,
            r#"{"a":{"type":["string","null"]@"x-mcp-header":"A"}}"#,
            r#"{"a":{"items":{"type":"string"@"x-mcp-header":"A"}}}"#,
            r#"{"a":{"anyOf":[{},{"type":"string"@"x-mcp-header":"A"}]}}"#,
            r#"{"a":{"not":{"properties":{"b":{"type":"string"@"x-mcp-header":"A"}}}}}"#,
            r#"{"a":{"$defs":{"b":{"type":"string"@"x-\u006dcp-header":"A"}}}}"#,
        ] {
            let with = bad.replace('@', ",");
            let without = format!(r#"{{"properties":{}}}"#, &bad[..bad.find('@').expect("mark")]);
            let (repaired, valid) = judged(&with);
            assert!(repaired.starts_with(&without) && !repaired.contains("-header"), "{with} -> {repaired}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&repaired).map(|_| ()).ok(), Some(()));
            assert_eq!(valid, Vec::<String>::new());
        }
    }

    #[test]
    fn the_same_header_twice_and_one_at_the_root() {
        let (repaired, valid) =
            judged(r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#);
        assert_eq!(repaired, r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string"}}}"#);
        assert_eq!(valid, ["a=A"]);
        let found = annotations(&raw(r#"{"type":"string","x-mcp-header":"A"}"#));
        assert_eq!(found.repaired.expect("changed"), r#"{"type":"string"}"#);
    }

    #[test]
    fn a_deep_schema_costs_no_stack() {
        let depth = 20_000;
        let deep = format!("{}{{\"x-mcp-header\":1}}{}", "{\"not\":".repeat(depth), "}".repeat(depth));
        let repaired = annotations(&raw(&deep)).repaired.expect("cut");
        assert!(!may_hold(&repaired, ANNOTATION) && repaired.len() < 1000);
    }
}
