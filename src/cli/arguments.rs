//! The arguments of `hub call`, as they were typed and as the tool wants them.
//!
//! In: words, perhaps a schema. Out: a JSON object, or what is wrong with the words. Owns nothing. May not: guess the type
//! of a value against the schema.

use serde_json::{Map, Value};

use super::failure::{Exit, Failure};

/// One JSON object, or pairs.
pub(super) fn arguments(typed: &[String], schema: Option<&Value>) -> Result<Map<String, Value>, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    if let [object] = typed
        && object.trim_start().starts_with('{')
    {
        return serde_json::from_str(object).map_err(|error| usage(format!("the arguments are not JSON: {error}")));
    }
    let mut arguments = Map::new();
    for pair in typed {
        let Some((key, text)) = pair.split_once('=') else {
            let hint = "write KEY=VALUE, or all arguments as one JSON object in quotes";
            return Err(usage(format!("`{pair}` is neither KEY=VALUE nor a JSON object")).hint(hint));
        };
        if key.is_empty() {
            let hint = "write KEY=VALUE, with the name of an argument before the `=`";
            return Err(usage(format!("`{pair}` names no argument")).hint(hint));
        }
        if arguments.contains_key(key) {
            let hint = "give each argument once; write a list as JSON, as in KEY='[1, 2]'";
            return Err(usage(format!("`{key}` is given twice")).hint(hint));
        }
        let property = schema.and_then(|schema| schema.get("properties")?.get(key));
        arguments.insert(key.to_owned(), value(key, text, property).map_err(usage)?);
    }
    Ok(arguments)
}

/// A value as the schema of its property wants it; without one, JSON if it is a number, true or false, else text.
fn value(key: &str, text: &str, property: Option<&Value>) -> Result<Value, String> {
    let json = serde_json::from_str::<Value>(text).ok();
    let wanted = property.map(types).unwrap_or_default();
    if wanted.is_empty() {
        let plain = json.filter(|json| json.is_number() || json.is_boolean());
        return Ok(plain.unwrap_or_else(|| Value::String(text.to_owned())));
    }
    let fits = |json: &Value| wanted.iter().any(|wanted| is(json, wanted));
    match json.filter(|json| !json.is_string() && fits(json)) {
        // A text that looks like a number is a text where a text is wanted.
        Some(json) if !wanted.contains(&"string") => Ok(json),
        _ if wanted.contains(&"string") => Ok(Value::String(text.to_owned())),
        _ => Err(format!("`{key}` must be of type {}, and `{text}` is not", wanted.join(" or "))),
    }
}

fn types(property: &Value) -> Vec<&str> {
    match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(typed: &[&str], schema: Option<&Value>) -> Result<Value, String> {
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        arguments(&typed, schema).map(Value::Object).map_err(|failure| failure.message)
    }

    #[test]
    fn pairs_follow_the_schema() {
        let schema = json!({ "properties": {
            "id": { "type": "string" }, "n": { "type": "integer" }, "x": { "type": ["number", "null"] },
            "on": { "type": "boolean" }, "list": { "type": "array" }, "maybe": { "type": ["string", "null"] },
            "any": {}
        }});
        let typed = ["id=7", "n=3", "x=null", "on=true", "list=[1,2]", "maybe=null", "any=1.5", "new=a=b"];
        let read_well = json!({ "id": "7", "n": 3, "x": null, "on": true, "list": [1, 2], "maybe": "null", "any": 1.5,
            "new": "a=b" });
        assert_eq!(read(&typed, Some(&schema)), Ok(read_well));
        let wrong = read(&["n=three"], Some(&schema));
        assert_eq!(wrong, Err("`n` must be of type integer, and `three` is not".to_owned()));
    }

    #[test]
    fn without_a_schema_only_plain_json_is_not_text() {
        let read_well = json!({ "a": 1, "b": false, "c": "[1]", "d": "null", "e": "" });
        assert_eq!(read(&["a=1", "b=false", "c=[1]", "d=null", "e="], None), Ok(read_well));
        assert_eq!(read(&["{\"a\": [1]}"], None), Ok(json!({ "a": [1] })));
        assert!(read(&["{\"a\": "], None).is_err() && read(&["a"], None).is_err());
        assert_eq!(read(&[], None), Ok(json!({})));
    }

    #[test]
    fn an_argument_without_a_name_or_given_twice_is_wrong_usage() {
        for (typed, said) in [
            (&["=1"][..], "`=1` names no argument"),
            (&["a=1", "b=1", "a=2"], "`a` is given twice"),
            (&["a=1", "a=1"], "`a` is given twice"),
        ] {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            let failure = arguments(&typed, None).expect_err("wrong");
            assert_eq!((failure.exit, failure.message.as_str()), (Exit::Usage, said));
            assert!(failure.hint.is_some());
        }
    }
}
