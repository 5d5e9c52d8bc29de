//! What one server says, as a client of all servers is to see it (PROTOCOL 4.5).
//!
//! In: raw params of a notification or ask, and the alias of the server that sent it. Out: params in which the server is
//! named. Owns nothing. May not: touch any other member.

use crate::mcp::splice::Object;
use crate::mcp::{Method, Raw, scan};

use super::UriForm;
use super::resources::prefixed_uri;

/// The params as the aggregate's client sees them; untouched where the method has nothing to tell apart.
pub fn outward(alias: &str, method: &Method, params: Option<Raw>, form: UriForm) -> Option<Raw> {
    match method {
        Method::LogMessage => Some(log_message(alias, params?)),
        Method::Elicitation => Some(elicitation(alias, params?)),
        Method::ResourceUpdated if form == UriForm::Prefixed => Some(updated(alias, params?)),
        _ => params,
    }
}

/// `logger` becomes `ALIAS` or `ALIAS/logger`.
fn log_message(alias: &str, params: Raw) -> Raw {
    let Some(object) = Object::scan(&params) else { return params };
    let logger = match object.get("logger") {
        Some(logger) if logger.len() > 2 && logger[0] == b'"' => before(&logger, &format!("{alias}/")),
        _ => format!("\"{alias}\"").into_bytes(),
    };
    object.edit(&[("logger", Some(&logger))])
}

/// `message` becomes `[ALIAS] message`: clients must show which server asks, and hub is all they see.
fn elicitation(alias: &str, params: Raw) -> Raw {
    let Some(object) = Object::scan(&params) else { return params };
    match object.get("message") {
        Some(message) if message.first() == Some(&b'"') => {
            object.edit(&[("message", Some(&before(&message, &format!("[{alias}] "))))])
        }
        _ => params,
    }
}

/// `uri` becomes `hub://ALIAS/…`.
fn updated(alias: &str, params: Raw) -> Raw {
    let Some(object) = Object::scan(&params) else { return params };
    match object.get("uri").as_deref().and_then(scan::unquote) {
        Some(uri) => object.edit(&[("uri", Some(format!("\"{}\"", prefixed_uri(alias, &uri)).as_bytes()))]),
        None => params,
    }
}

/// A JSON string with `text`, which needs no escapes, put in front.
fn before(string: &[u8], text: &str) -> Vec<u8> {
    [b"\"", text.as_bytes(), &string[1..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(method: &Method, params: &'static str, form: UriForm) -> String {
        let out = outward("fs", method, Some(Raw::from_static(params.as_bytes())), form).expect("params stay params");
        String::from_utf8(out.to_vec()).expect("UTF-8")
    }

    #[test]
    fn loggers() {
        let seen = |params| seen(&Method::LogMessage, params, UriForm::Own);
        assert_eq!(seen(r#"{"level":"info","data":1}"#), r#"{"level":"info","data":1,"logger":"fs"}"#);
        assert_eq!(seen(r#"{"logger":"a\"b","data":1}"#), r#"{"logger":"fs/a\"b","data":1}"#);
        assert_eq!(seen(r#"{"logger":null,"data":1}"#), r#"{"logger":"fs","data":1}"#);
        assert_eq!(seen(r#"{"logger":"","data":1}"#), r#"{"logger":"fs","data":1}"#);
    }

    #[test]
    fn elicitations() {
        let seen = |params| seen(&Method::Elicitation, params, UriForm::Own);
        assert_eq!(seen(r#"{"message":"\u0041?","x":1}"#), r#"{"message":"[fs] \u0041?","x":1}"#);
        assert_eq!(seen(r#"{"message":7}"#), r#"{"message":7}"#);
    }

    #[test]
    fn updates_in_the_form_of_the_subscriber() {
        let params = r#"{"uri":"a:\/b c","v":1}"#;
        assert_eq!(seen(&Method::ResourceUpdated, params, UriForm::Own), params);
        assert_eq!(
            seen(&Method::ResourceUpdated, params, UriForm::Prefixed),
            r#"{"uri":"hub://fs/a%3A%2Fb%20c","v":1}"#
        );
    }

    #[test]
    fn the_rest_passes() {
        let params = Some(Raw::from_static(b"{\"logger\":1}"));
        assert_eq!(outward("fs", &Method::Progress, params.clone(), UriForm::Own), params);
        assert_eq!(outward("fs", &Method::LogMessage, None, UriForm::Own), None);
    }
}
