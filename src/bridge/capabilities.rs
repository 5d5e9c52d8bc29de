//! Capabilities of one era as the other declares them (PROTOCOL 3.C).
//!
//! In: raw `capabilities` objects. Out: the same with the few keys that differ. Owns nothing. May not: drop what it does
//! not know.

use bytes::Bytes;

use crate::mcp::Raw;
use crate::mcp::meta::TASKS_EXTENSION;
use crate::mcp::splice::Object;

/// What a legacy session's client can do, as a modern server is told with each of its requests.
pub fn client_to_modern(raw: &Raw) -> Raw {
    let Some(all) = Object::scan(raw) else { return Bytes::from_static(b"{}") };
    let mut edits = vec![("tasks", None)];
    if all.get("roots").is_some() {
        // Modern clients announce no changes of their roots.
        edits.push(("roots", Some(Bytes::from_static(b"{}"))));
    }
    if let Some(elicitation) = all.get("elicitation").and_then(|value| Object::scan(&value))
        && elicitation.get("form").is_none()
        && elicitation.get("url").is_none()
    {
        edits.push(("elicitation", Some(elicitation.edit(&[("form", Some(b"{}"))]))));
    }
    edits.extend(without_tasks_extension(&all));
    apply(&all, &edits)
}

/// What a modern server can do, as a modern client is told: hub itself says that lists changed when it starts it again.
pub fn server_same_era(raw: &Raw) -> Raw {
    match Object::scan(raw) {
        Some(all) => apply(&all, &lists_change(&all)),
        None => Bytes::from_static(b"{}"),
    }
}

/// What a server can do, as a client of the other era is told. Both ways the same: lists can always change, and tasks of
/// one era are not those of the other.
pub fn server_other_era(raw: &Raw) -> Raw {
    let Some(all) = Object::scan(raw) else { return Bytes::from_static(b"{}") };
    let mut edits = lists_change(&all);
    edits.push(("tasks", None));
    edits.extend(without_tasks_extension(&all));
    apply(&all, &edits)
}

type Edit = (&'static str, Option<Raw>);

fn lists_change(all: &Object) -> Vec<Edit> {
    let forced = |key: &'static str| {
        let feature = Object::scan(&all.get(key)?)?;
        Some((key, Some(feature.edit(&[("listChanged", Some(b"true"))]))))
    };
    ["tools", "prompts", "resources"].into_iter().filter_map(forced).collect()
}

fn without_tasks_extension(all: &Object) -> Option<Edit> {
    let extensions = Object::scan(&all.get("extensions")?)?;
    extensions.get(TASKS_EXTENSION)?;
    let left = extensions.edit(&[(TASKS_EXTENSION, None)]);
    Some(("extensions", (&left[..] != b"{}").then_some(left)))
}

fn apply(all: &Object, edits: &[Edit]) -> Raw {
    let edits: Vec<(&str, Option<&[u8]>)> = edits.iter().map(|(key, value)| (*key, value.as_deref())).collect();
    all.edit(&edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_legacy_client() {
        for (legacy, modern) in [
            ("{}", "{}"),
            ("null", "{}"),
            (r#"{"sampling":{"context":{},"tools":{}},"x":1}"#, r#"{"sampling":{"context":{},"tools":{}},"x":1}"#),
            (r#"{"roots":{"listChanged":true},"elicitation":{}}"#, r#"{"roots":{},"elicitation":{"form":{}}}"#),
            (r#"{"elicitation":{"form":{},"url":{}}}"#, r#"{"elicitation":{"form":{},"url":{}}}"#),
            (r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            (r#"{"tasks":{"list":{}},"experimental":{"a":1}}"#, r#"{"experimental":{"a":1}}"#),
            (r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"e":{}}}"#, r#"{"extensions":{"e":{}}}"#),
            (r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#, "{}"),
            (
                r#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
                r#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
            ),
        ] {
            assert_eq!(client_to_modern(&raw(legacy)), modern, "{legacy}");
        }
    }

    #[test]
    fn a_server() {
        let all = raw(
            r#"{"tools":{"listChanged":false},"prompts":{},"resources":{"subscribe":true},"completions":{},"logging":{},"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{},"e":{}},"experimental":{}}"#,
        );
        let told = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{},"extensions":{"e":{}},"experimental":{}}"#;
        assert_eq!(server_other_era(&all), told);
        assert_eq!(
            server_same_era(&raw(r#"{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#)),
            r#"{"tools":{"listChanged":true},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#
        );
        assert_eq!(server_other_era(&raw("1")), "{}");
    }
}
