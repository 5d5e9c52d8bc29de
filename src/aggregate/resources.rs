//! Which server a URI belongs to (PROTOCOL 4.3): exact, by prefix, by template, by scheme.
//!
//! In: the resources and templates of all servers, in the order of hub.toml. Out: how each is listed, and the server
//! of a URI. Owns its tables. May not: rewrite URIs that are unique, since results embed them too, or ask a server.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::mcp::scan;

use super::UriForm;
use super::catalog::{Key, Segment};
use super::merge::Entry;
use super::templates::Template;

/// The scheme and slashes of URIs that hub makes.
const PREFIX: &str = "hub://";

/// A URI as its server knows it, and that server's place in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Index into the catalogue's members.
    pub member: usize,
    /// The server's own URI.
    pub own: String,
    /// How the client wrote it.
    pub form: UriForm,
}

/// The servers of URIs.
#[derive(Debug, Default)]
pub struct ResourceTable {
    /// Exposed URI → its server (and its own URI, where that differs).
    exact: HashMap<Box<str>, (usize, Option<Box<str>>)>,
    /// Exposed template text → likewise.
    template_texts: HashMap<Box<str>, (usize, Option<Box<str>>)>,
    /// Most specific first.
    templates: Vec<TemplateRoute>,
    /// Scheme → the only server that lists it; `None` if several do.
    schemes: HashMap<Box<str>, Option<usize>>,
    aliases: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct TemplateRoute {
    member: usize,
    exposed: Template,
    /// The server's own template where the exposed one has a prefix.
    own: Option<Template>,
}

/// What a table is built from: one server's alias and its two lists, if it has them.
pub struct Source<'a> {
    /// The server's alias.
    pub alias: &'a Arc<str>,
    /// `resources/list`
    pub resources: Option<&'a Segment>,
    /// `resources/templates/list`
    pub templates: Option<&'a Segment>,
}

impl ResourceTable {
    /// The table, and the merged items of both lists.
    pub fn build(sources: &[Source<'_>]) -> (Self, Vec<Entry>, Vec<Entry>) {
        let mut table = Self::default();
        let (mut resources, mut templates) = (Vec::new(), Vec::new());
        for (member, source) in sources.iter().enumerate() {
            table.aliases.insert(source.alias.clone(), member);
            for (item, key) in source.resources.into_iter().flat_map(Segment::items) {
                table.note_scheme(&key.text, member);
                let prefixed = || prefixed_uri(source.alias, &key.text);
                resources.extend(
                    place(&mut table.exact, member, key, prefixed).map(|splice| Entry { item: item.clone(), splice }),
                );
            }
            for (item, key) in source.templates.into_iter().flat_map(Segment::items) {
                let Some(own) = Template::parse(&key.text) else {
                    tracing::warn!(server = %source.alias, template = %key.text, "not a URI template: listed, but never matched");
                    templates.push(Entry { item: item.clone(), splice: None });
                    continue;
                };
                table.note_scheme(own.literal_prefix(), member);
                let exposed = own.map_literals(encode).to_string();
                let prefixed = || format!("{PREFIX}{}/{exposed}", source.alias);
                let Some(splice) = place(&mut table.template_texts, member, key, prefixed) else { continue };
                let (exposed, own) = match &splice {
                    None => (own, None),
                    Some((_, quoted)) => {
                        let text = scan::unquote(quoted.as_bytes()).unwrap_or_default();
                        (Template::parse(&text).expect("encoded literals have no braces"), Some(own))
                    }
                };
                table.templates.push(TemplateRoute { member, exposed, own });
                templates.push(Entry { item: item.clone(), splice });
            }
        }
        table.templates.sort_by_key(|route| (Reverse(route.exposed.literal_len()), route.member));
        (table, resources, templates)
    }

    fn note_scheme(&mut self, uri: &str, member: usize) {
        if let Some(scheme) = scheme(uri) {
            let only = self.schemes.entry(scheme.into()).or_insert(Some(member));
            if *only != Some(member) {
                *only = None;
            }
        }
    }

    /// The server of a URI, as far as lists tell.
    pub fn resolve(&self, uri: &str) -> Option<Owned> {
        if let Some((member, own)) = self.exact.get(uri) {
            return Some(owned(*member, own.as_deref(), uri));
        }
        let prefixed = self.prefixed(uri);
        for route in &self.templates {
            // A catch-all template of one server must not take what is addressed to another.
            if prefixed.is_some() && route.own.is_none() {
                continue;
            }
            let Some(expansions) = route.exposed.expansions(uri) else { continue };
            let own = route.own.as_ref().map(|own| own.assemble(&expansions));
            return Some(owned(route.member, own.as_deref(), uri));
        }
        prefixed.or_else(|| {
            let member = (*self.schemes.get(scheme(uri)?)?)?;
            Some(owned(member, None, uri))
        })
    }

    /// The server of a template's text, as in the `ref` of a completion.
    pub fn resolve_template(&self, text: &str) -> Option<Owned> {
        let (member, own) = self.template_texts.get(text)?;
        Some(owned(*member, own.as_deref(), text))
    }

    /// `hub://ALIAS/…`, percent-decoded.
    fn prefixed(&self, uri: &str) -> Option<Owned> {
        let (alias, encoded) = uri.strip_prefix(PREFIX)?.split_once('/')?;
        let member = *self.aliases.get(alias)?;
        Some(Owned { member, own: decode(encoded)?, form: UriForm::Prefixed })
    }
}

fn owned(member: usize, own: Option<&str>, uri: &str) -> Owned {
    let form = if own.is_some() { UriForm::Prefixed } else { UriForm::Own };
    Owned { member, own: own.unwrap_or(uri).to_owned(), form }
}

/// Puts a key into a table, under its own text or, where that is taken, under `prefixed`. The inner `Option` is the
/// change to the item; the outer is `None` for a duplicate, which is not listed.
#[expect(clippy::option_option, reason = "not listed, listed as it is, listed with a change")]
fn place(
    table: &mut HashMap<Box<str>, (usize, Option<Box<str>>)>,
    member: usize,
    key: &Key,
    prefixed: impl FnOnce() -> String,
) -> Option<Option<(std::ops::Range<usize>, Box<str>)>> {
    match table.get(&*key.text) {
        None => {
            table.insert(key.text.clone(), (member, None));
            return Some(None);
        }
        Some((owner, _)) if *owner == member => return None,
        Some(_) => {}
    }
    let prefixed = prefixed();
    tracing::debug!(uri = %key.text, exposed = %prefixed, "two servers have the same URI");
    if table.contains_key(&*prefixed) {
        return None;
    }
    let quoted = serde_json::to_string(&prefixed).expect("a string serialises");
    table.insert(prefixed.into(), (member, Some(key.text.clone())));
    Some(Some((key.range.clone(), quoted.into())))
}

/// `hub://ALIAS/` and the URI percent-encoded.
pub fn prefixed_uri(alias: &str, uri: &str) -> String {
    format!("{PREFIX}{alias}/{}", encode(uri))
}

/// The scheme of a URI, if it has one (RFC 3986 section 3.1).
pub fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(good)).then_some(scheme)
}

/// Percent-encodes everything but unreserved characters (RFC 3986 section 2.3).
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes it");
        }
        out
    })
}

/// Undoes [`encode`]; `None` for a bad escape or what is not UTF-8 then.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{ListKind, Raw};
    use crate::server::List;
    use proptest::prelude::*;

    fn segment(kind: ListKind, member: &str, uris: &[&str]) -> Segment {
        let item = |uri: &&str| Raw::from(format!("{{\"name\":\"n\",\"{member}\":{}}}", serde_json::json!(uri)));
        Segment::new(kind, Arc::new(List { items: uris.iter().map(item).collect(), digest: 0 }))
    }

    struct Fixture(Vec<(Arc<str>, Segment, Segment)>);

    impl Fixture {
        fn new(servers: &[(&str, &[&str], &[&str])]) -> Self {
            let server = |&(alias, resources, templates): &(&str, &[&str], &[&str])| {
                let resources = segment(ListKind::Resources, "uri", resources);
                (alias.into(), resources, segment(ListKind::Templates, "uriTemplate", templates))
            };
            Self(servers.iter().map(server).collect())
        }

        fn build(&self) -> (ResourceTable, Vec<String>, Vec<String>) {
            let source = |(alias, resources, templates)| Source {
                alias,
                resources: Some(resources),
                templates: Some(templates),
            };
            let sources: Vec<_> = self.0.iter().map(|(a, r, t)| source((a, r, t))).collect();
            let (table, resources, templates) = ResourceTable::build(&sources);
            let own = |entry: &Entry, member: &str| {
                let exposed = entry.splice.as_ref().map(|(_, text)| serde_json::from_str(text).expect("a string"));
                let item: serde_json::Value = serde_json::from_slice(&entry.item).expect("JSON");
                exposed.unwrap_or_else(|| item[member].as_str().expect("a string").to_owned())
            };
            let listed = |entries: &[Entry], member| entries.iter().map(|entry| own(entry, member)).collect();
            (table, listed(&resources, "uri"), listed(&templates, "uriTemplate"))
        }
    }

    fn resolved(table: &ResourceTable, uri: &str) -> Option<(usize, String)> {
        table.resolve(uri).map(|owned| (owned.member, owned.own))
    }

    #[test]
    fn the_first_keeps_a_uri_and_the_others_get_a_prefix() {
        let fixture = Fixture::new(&[("a", &["x:1", "x:1"], &[]), ("b", &["x:1", "y:ü"], &[]), ("c", &["y:ü"], &[])]);
        let (table, listed, _) = fixture.build();
        assert_eq!(listed, ["x:1", "hub://b/x%3A1", "y:ü", "hub://c/y%3A%C3%BC"]);
        assert_eq!(resolved(&table, "x:1"), Some((0, "x:1".into())));
        assert_eq!(resolved(&table, "hub://b/x%3A1"), Some((1, "x:1".into())));
        assert_eq!(table.resolve("hub://c/y%3A%C3%BC").expect("c").form, UriForm::Prefixed);
        assert_eq!(
            resolved(&table, "hub://a/not%20listed"),
            Some((0, "not listed".into())),
            "any URI may be addressed"
        );
        assert_eq!(resolved(&table, "hub://zzz/x%3A1"), None);
        assert_eq!(resolved(&table, "hub://a/%zz"), None);
    }

    #[test]
    fn templates_by_specificity_then_order() {
        let fixture = Fixture::new(&[
            ("any", &[], &["{+all}"]),
            ("wide", &[], &["t://{x}/{y}"]),
            ("deep", &[], &["t://{x}/data"]),
            ("late", &[], &["t://{q}/{z}"]),
        ]);
        let (table, ..) = fixture.build();
        assert_eq!(resolved(&table, "t://1/data"), Some((2, "t://1/data".into())));
        assert_eq!(resolved(&table, "t://1/2"), Some((1, "t://1/2".into())));
        assert_eq!(resolved(&table, "zzz"), Some((0, "zzz".into())));
        assert_eq!(
            resolved(&table, "hub://late/t%3A%2F%2F1"),
            Some((3, "t://1".into())),
            "the prefix beats a catch-all"
        );
    }

    #[test]
    fn a_template_of_two_servers_stays_a_template() {
        let fixture = Fixture::new(&[("a", &[], &["t://{id}/d{?q*}"]), ("b", &[], &["t://{id}/d{?q*}"])]);
        let (table, _, listed) = fixture.build();
        assert_eq!(listed, ["t://{id}/d{?q*}", "hub://b/t%3A%2F%2F{id}%2Fd{?q*}"]);
        assert_eq!(resolved(&table, "t://1/d"), Some((0, "t://1/d".into())));
        // What a client expands under the prefix reaches the server with its own encoding intact.
        assert_eq!(resolved(&table, "hub://b/t%3A%2F%2Fa%20b%2Fd?q=1"), Some((1, "t://a%20b/d?q=1".into())));
        let by_text = table.resolve_template("hub://b/t%3A%2F%2F{id}%2Fd{?q*}").expect("listed");
        assert_eq!((by_text.member, by_text.own.as_str()), (1, "t://{id}/d{?q*}"));
    }

    #[test]
    fn a_scheme_of_one_server_only() {
        let fixture =
            Fixture::new(&[("a", &["one:1", "both:1"], &[]), ("b", &[], &["both:{x}{y}{z}/end", "two:{x}/end"])]);
        let (table, ..) = fixture.build();
        assert_eq!(resolved(&table, "one:other"), Some((0, "one:other".into())));
        assert_eq!(resolved(&table, "two:other"), Some((1, "two:other".into())));
        assert_eq!(resolved(&table, "both:other"), None);
        assert_eq!(resolved(&table, "no scheme"), None);
    }

    #[test]
    fn schemes() {
        assert_eq!(scheme("a+b.c-1:x"), Some("a+b.c-1"));
        for none in ["", ":x", "1a:x", "a b:x", "abc"] {
            assert_eq!(scheme(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn prefixed_uris_come_back(uri in "\\PC{0,30}") {
            let fixture = Fixture::new(&[("a", &[], &[])]);
            let (table, ..) = fixture.build();
            let exposed = prefixed_uri("a", &uri);
            prop_assert!(exposed.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\'));
            prop_assert_eq!(resolved(&table, &exposed), Some((0, uri)));
        }

        #[test]
        fn every_listed_uri_leads_back(a in proptest::collection::vec("[xy]:[ab]{0,2}", 0..5), b in proptest::collection::vec("[xy]:[ab]{0,2}|hub://a/x%3Aa", 0..5)) {
            let a: Vec<&str> = a.iter().map(String::as_str).collect();
            let b: Vec<&str> = b.iter().map(String::as_str).collect();
            let fixture = Fixture::new(&[("a", &a, &[]), ("b", &b, &[])]);
            let (table, listed, _) = fixture.build();
            let mut unique = std::collections::HashSet::new();
            for uri in listed {
                let found = table.resolve(&uri).expect("listed");
                prop_assert!([&a, &b][found.member].contains(&found.own.as_str()));
                prop_assert!(unique.insert(uri));
            }
        }
    }
}
