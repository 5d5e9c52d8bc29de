//! What a client says it takes, and what it says it sends.
//!
//! In: headers. Out: a [`Form`] for the answer, or none. Owns nothing. May not: refuse (the endpoint does).

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::session::Form;

const BOTH: &str = "application/json, text/event-stream";

/// How an answer may look. Missing, `*/*` and `q` above 0 are all the same (PROTOCOL 1.17); `None`: neither JSON nor
/// events.
pub(super) fn form(headers: &HeaderMap) -> Option<Form> {
    let mut values = headers.get_all(ACCEPT).iter();
    // What the specification tells clients to send, as they write it.
    let only = values.next().filter(|_| values.next().is_none());
    if only.is_some_and(|value| value == BOTH) {
        return Some(Form::Either);
    }
    let (mut json, mut events) = (None, None);
    let mut any = false;
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        any = true;
        let wanted = !parts.any(is_zero);
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        // A full name says more than a range.
        if is("application/json") {
            json = Some(wanted);
        } else if is("text/event-stream") {
            events = Some(wanted);
        } else if is("application/*") {
            json.get_or_insert(wanted);
        } else if is("text/*") {
            events.get_or_insert(wanted);
        } else if is("*/*") {
            json.get_or_insert(wanted);
            events.get_or_insert(wanted);
        }
    }
    match (json.unwrap_or(!any), events.unwrap_or(!any)) {
        (true, true) => Some(Form::Either),
        (true, false) => Some(Form::Json),
        (false, true) => Some(Form::Events),
        (false, false) => None,
    }
}

fn is_zero(parameter: &str) -> bool {
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    value.and_then(|q| q.trim().parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
}

/// Whether the body is declared as JSON. What a web page may send without asking is not (CSRF).
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).map(HeaderValue::to_str);
    let Some(Ok(declared)) = declared else { return false };
    let named = || declared.split(';').next().map(str::trim);
    declared == "application/json" || named().is_some_and(|name| name.eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(text: &[&'static str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for line in text {
            headers.append(ACCEPT, HeaderValue::from_static(line));
        }
        form(&headers)
    }

    #[test]
    fn accept() {
        assert_eq!(form_of(&[]), Some(Form::Either));
        assert_eq!(form_of(&["application/json, text/event-stream"]), Some(Form::Either));
        assert_eq!(form_of(&["application/json", "text/event-stream"]), Some(Form::Either));
        assert_eq!(form_of(&["*/*"]), Some(Form::Either));
        assert_eq!(form_of(&["Application/JSON; charset=utf-8"]), Some(Form::Json));
        assert_eq!(form_of(&["text/event-stream"]), Some(Form::Events));
        assert_eq!(form_of(&["*/*;q=0.1, text/event-stream;q=0"]), Some(Form::Json));
        assert_eq!(form_of(&["text/event-stream;q=0, */*;q=0.1"]), Some(Form::Json));
        assert_eq!(form_of(&["text/*"]), Some(Form::Events));
        assert_eq!(form_of(&["text/html"]), None);
        assert_eq!(form_of(&["application/json;q=0"]), None);
    }

    #[test]
    fn content_type() {
        let is = |text: &'static str| is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(text))]));
        assert!(is("application/json") && is("Application/JSON ; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/json-seq") && !is(""));
        assert!(!is_json(&HeaderMap::new()));
    }
}
