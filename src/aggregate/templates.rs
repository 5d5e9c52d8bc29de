//! URI templates (RFC 6570), backwards: could this URI have come out of that template, and with which expansions?
//!
//! In: a template's text, a URI. Out: a match with the text that each expression stands for. Owns nothing. May not:
//! expand templates, or take exponential time (a match walks sets of positions, never tries splits one by one).
//!
//! Clients expand sloppily and servers match sloppily, so this is lenient where both must agree to work at all: `{var}`
//! takes anything but `/`, `?` and `#`, encoded or not. What is strict is what tells templates apart: literals, the
//! leading character of an operator, and the names in a query.

use crate::limits::TEMPLATE_URI_BYTES_MAX;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expression(Expression),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression {
    /// As it stands in the template, with its braces.
    text: String,
    /// `+ # . / ; ? &`, or `None` for `{var}` (RFC 6570 section 2.2).
    operator: Option<u8>,
    names: Vec<String>,
    /// Some variable ends in `*`.
    explodes: bool,
}

impl Template {
    /// Parses a template; `None` if its braces do not match or an expression is empty or has an unknown operator.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            match rest.find(['{', '}']) {
                None => {
                    parts.push(Part::Literal(rest.into()));
                    break;
                }
                Some(0) => {
                    let end = rest.find('}').filter(|&end| end > 0)?;
                    parts.push(Part::Expression(Expression::parse(&rest[..=end])?));
                    rest = &rest[end + 1..];
                }
                Some(at) => {
                    parts.push(Part::Literal(rest[..at].into()));
                    rest = &rest[at..];
                }
            }
        }
        Some(Self { parts })
    }

    /// Bytes outside expressions: the more, the more specific.
    pub fn literal_len(&self) -> usize {
        self.literals().map(str::len).sum()
    }

    /// What a URI made from this template starts with, at least.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// The template with every literal passed through `map`.
    pub fn map_literals(&self, map: impl Fn(&str) -> String) -> Self {
        let part = |part: &Part| match part {
            Part::Literal(text) => Part::Literal(map(text)),
            expression @ Part::Expression(_) => expression.clone(),
        };
        Self { parts: self.parts.iter().map(part).collect() }
    }

    /// The text in `uri` that each expression stands for, in order; `None` if it cannot be an expansion.
    pub fn expansions<'a>(&self, uri: &'a str) -> Option<Vec<&'a str>> {
        let bytes = uri.as_bytes();
        if bytes.len() > TEMPLATE_URI_BYTES_MAX || !uri.starts_with(self.literal_prefix()) {
            return None;
        }
        // reached[k][i]: the first k parts can stand for the first i bytes.
        let mut reached = vec![starts(bytes.len())];
        for part in &self.parts {
            let from = reached.last().expect("never empty");
            reached.push(part.advance(bytes, from));
        }
        let mut end = bytes.len();
        if !reached.last().expect("never empty")[end] {
            return None;
        }
        let mut found = Vec::new();
        for (part, from) in self.parts.iter().zip(&reached).rev() {
            let start = part.start_of(bytes, from, end)?;
            if let Part::Expression(_) = part {
                found.push(uri.get(start..end)?);
            }
            end = start;
        }
        found.reverse();
        Some(found)
    }

    /// The URI that has these texts in place of the expressions.
    pub fn assemble(&self, expansions: &[&str]) -> String {
        let mut next = expansions.iter();
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Expression(_) => next.next().copied().unwrap_or_default().to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Expression(_) => None,
        })
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Expression(expression) => f.write_str(&expression.text),
        })
    }
}

/// Only the start is reached.
fn starts(length: usize) -> Vec<bool> {
    let mut row = vec![false; length + 1];
    row[0] = true;
    row
}

impl Part {
    /// The positions that are reached behind this part, from those before it.
    fn advance(&self, bytes: &[u8], from: &[bool]) -> Vec<bool> {
        let mut out = vec![false; from.len()];
        match self {
            Self::Literal(text) => {
                for at in (0..from.len()).filter(|&at| from[at] && bytes[at..].starts_with(text.as_bytes())) {
                    out[at + text.len()] = true;
                }
            }
            Self::Expression(expression) => expression.advance(bytes, from, &mut out),
        }
        out
    }

    /// Where this part may start so that it ends at `end`, the latest place first.
    fn start_of(&self, bytes: &[u8], from: &[bool], end: usize) -> Option<usize> {
        let fits = |&start: &usize| {
            from[start]
                && match self {
                    Self::Literal(text) => &bytes[start..end] == text.as_bytes(),
                    Self::Expression(expression) => expression.stands_for(&bytes[start..end]),
                }
        };
        match self {
            Self::Literal(text) => end.checked_sub(text.len()).filter(fits),
            Self::Expression(_) => (0..=end).rev().find(fits),
        }
    }
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('{')?.strip_suffix('}')?;
        let operator = inner.bytes().next().filter(|byte| b"+#./;?&".contains(byte));
        let list = &inner[usize::from(operator.is_some())..];
        let mut explodes = false;
        let mut names = Vec::new();
        for variable in list.split(',') {
            explodes |= variable.ends_with('*');
            let name = variable.trim_end_matches('*').split(':').next()?;
            let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '-');
            if name.is_empty() || !name.chars().all(good) {
                return None;
            }
            names.push(name.to_owned());
        }
        Some(Self { text: text.to_owned(), operator, names, explodes })
    }

    /// May this byte stand inside the expansion, behind its leading character?
    fn takes(&self, byte: u8) -> bool {
        match self.operator {
            Some(b'+' | b'#') => true,
            Some(b'/') => !matches!(byte, b'?' | b'#'),
            Some(b'?' | b'&') => byte != b'#',
            _ => !matches!(byte, b'/' | b'?' | b'#'),
        }
    }

    /// The character that a non-empty expansion starts with.
    fn lead(&self) -> Option<u8> {
        self.operator.filter(|&operator| operator != b'+')
    }

    /// Marks what is reached from `from`, in one sweep (queries: one per possible `?`).
    fn advance(&self, bytes: &[u8], from: &[bool], out: &mut [bool]) {
        if matches!(self.operator, Some(b'?' | b'&')) {
            return self.advance_query(bytes, from, out);
        }
        // Alive: some start lies behind and every byte since then may stand inside.
        let mut alive = false;
        for at in 0..from.len() {
            out[at] = alive || (self.lead().is_some() && from[at]);
            let Some(&byte) = bytes.get(at) else { break };
            let opens = from[at] && self.lead().is_none_or(|lead| lead == byte);
            let inside = self.takes(byte);
            alive = (alive && inside) || (opens && (inside || self.lead().is_some()));
        }
    }

    fn advance_query(&self, bytes: &[u8], from: &[bool], out: &mut [bool]) {
        for start in (0..from.len()).filter(|&at| from[at]) {
            out[start] = true;
            if bytes.get(start).copied() != self.operator {
                continue;
            }
            // The pair that is being read starts here; whether its name is known is settled by its `=`.
            let (mut pair, mut settled) = (start + 1, None);
            for end in start + 1..=bytes.len() {
                let known = settled.unwrap_or_else(|| self.knows(&bytes[pair..end]));
                out[end] |= known;
                match bytes.get(end) {
                    None | Some(b'#') => break,
                    Some(b'&') if !known => break,
                    Some(b'&') => (pair, settled) = (end + 1, None),
                    Some(b'=') => settled = Some(known),
                    Some(_) => {}
                }
            }
        }
    }

    /// Can the expression stand for exactly this text?
    fn stands_for(&self, text: &[u8]) -> bool {
        match (self.lead(), text) {
            (Some(_), []) => true,
            (Some(lead), [first, rest @ ..]) => {
                *first == lead
                    && rest.iter().all(|&byte| self.takes(byte))
                    && (!matches!(lead, b'?' | b'&')
                        || rest
                            .split(|&byte| byte == b'&')
                            .all(|pair| pair.split(|&byte| byte == b'=').next().is_some_and(|name| self.knows(name))))
            }
            (None, text) => !text.is_empty() && text.iter().all(|&byte| self.takes(byte)),
        }
    }

    /// May a variable have this name?
    fn knows(&self, name: &[u8]) -> bool {
        self.explodes || self.names.iter().any(|known| known.as_bytes() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template(text: &str) -> Template {
        Template::parse(text).expect(text)
    }

    fn matches(text: &str, uri: &str) -> bool {
        template(text).expansions(uri).is_some()
    }

    #[test]
    fn matching() {
        for (text, uri, expansions) in [
            ("file:///a", "file:///a", Some(vec![])),
            ("file:///a", "file:///ab", None),
            ("test://{id}/data", "test://123/data", Some(vec!["123"])),
            ("test://{id}/data", "test:///data", None),
            ("test://{id}/data", "test://1/2/data", None),
            ("test://{id}", "test://a%20b,c", Some(vec!["a%20b,c"])),
            ("test://{id}", "test://a?b", None),
            ("file://{+path}", "file:///a/b/c.txt?x#y", Some(vec!["/a/b/c.txt?x#y"])),
            ("file://{+path}", "file://", None),
            ("repo://{owner}/{repo}/contents{/path*}", "repo://o/r/contents", Some(vec!["o", "r", ""])),
            ("repo://{owner}/{repo}/contents{/path*}", "repo://o/r/contents/a/b", Some(vec!["o", "r", "/a/b"])),
            ("repo://{owner}/{repo}/contents{/path*}", "repo://o/r/contentsX", None),
            ("q://s{?q,page}", "q://s", Some(vec![""])),
            ("q://s{?q,page}", "q://s?q=a%26b&page=2", Some(vec!["?q=a%26b&page=2"])),
            ("q://s{?q,page}", "q://s?other=1", None),
            ("q://s{?q,page}", "q://s?q=1&other=1", None),
            ("q://s{?rest*}", "q://s?any=1&thing=2", Some(vec!["?any=1&thing=2"])),
            ("q://s?fixed=1{&x}", "q://s?fixed=1&x=2", Some(vec!["&x=2"])),
            ("q://s?fixed=1{&x}", "q://s?fixed=1&y=2", None),
            ("q://s{?q}{#frag}", "q://s?q=1#top", Some(vec!["?q=1", "#top"])),
            ("m://x{;a,b}", "m://x;a=1;b", Some(vec![";a=1;b"])),
            ("f://name{.ext}", "f://name.tar.gz", Some(vec![".tar.gz"])),
            ("f://name{.ext}", "f://name", Some(vec![""])),
            ("{+any}", "whatever:x", Some(vec!["whatever:x"])),
            ("ü://{x}", "ü://é", Some(vec!["é"])),
        ] {
            assert_eq!(template(text).expansions(uri), expansions, "{text} {uri}");
        }
    }

    #[test]
    fn what_is_not_a_template() {
        for text in ["{", "}", "a{}b", "{a", "a}b", "{=x}", "{a b}", "{{a}}", "{?}"] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
        assert_eq!(template("a{b:3}c{+d*}").literal_len(), 2);
    }

    #[test]
    fn a_hostile_pair_takes_no_time() {
        assert!(!matches(&("{a}-".repeat(40) + "x"), &"-".repeat(TEMPLATE_URI_BYTES_MAX)));
        assert!(!matches("{+a}{?q}{?q}x", &"?q=".repeat(TEMPLATE_URI_BYTES_MAX / 3)));
        assert!(!matches("{+a}{&q}{&q}x", &"&q=".repeat(TEMPLATE_URI_BYTES_MAX / 3)));
    }

    #[test]
    fn long_uris_match_nothing() {
        assert!(matches("{+a}", &"x".repeat(TEMPLATE_URI_BYTES_MAX)));
        assert!(!matches("{+a}", &"x".repeat(TEMPLATE_URI_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn expansions_put_together_are_the_uri(text in r"[a/:.-]{0,3}(\{[+#/.;?&]?[xy]\*?\}[a/:.-]{0,2}){0,4}", uri in "[axy/:.?&#;=-]{0,12}") {
            let Some(template) = Template::parse(&text) else { return Ok(()) };
            if let Some(found) = template.expansions(&uri) {
                prop_assert_eq!(template.assemble(&found), uri);
            }
        }

        #[test]
        fn what_was_expanded_matches(a in "[a-z0-9%.~_]{1,8}", b in "[a-z0-9/%.~_?#=-]{1,8}", q in "[a-z0-9%]{0,5}") {
            for (text, uri) in [
                ("s://{a}/x{?q}", format!("s://{a}/x?q={q}")),
                ("s://{a}/{+b}", format!("s://{a}/{b}")),
                ("s://{a}{/b,c}", format!("s://{a}/{a}/{q}")),
            ] {
                prop_assert!(matches(text, &uri), "{} {}", text, uri);
            }
        }

        #[test]
        fn any_text_parses_or_not_and_matches_or_not(text in "\\PC{0,20}", uri in "\\PC{0,20}") {
            if let Some(template) = Template::parse(&text) {
                template.expansions(&uri);
            }
        }
    }
}
