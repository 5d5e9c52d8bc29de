//! Which tools of a server clients may see and call.
//!
//! In: glob patterns and tool names. Out: yes or no. Owns no state. May not: know tools that a server really has.

/// Glob patterns over tool names: `*` is any run of characters, `?` any one. `deny` wins over `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolFilter {
    allow: Vec<String>,
    deny: Vec<String>,
}

// === impl ToolFilter ===

impl Default for ToolFilter {
    /// Admits everything.
    fn default() -> Self {
        Self { allow: vec!["*".to_owned()], deny: Vec::new() }
    }
}

impl ToolFilter {
    /// A filter from patterns; an empty `allow` admits nothing.
    pub fn new(allow: Vec<String>, deny: Vec<String>) -> Self {
        Self { allow, deny }
    }

    /// Whether the tool may be listed and called.
    pub fn admits(&self, tool: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tool));
        any(&self.allow) && !any(&self.deny)
    }

    /// Whether every tool is admitted, so that lists need no filtering.
    pub fn is_open(&self) -> bool {
        let everything = |pattern: &String| !pattern.is_empty() && pattern.bytes().all(|b| b == b'*');
        self.deny.is_empty() && self.allow.iter().any(everything)
    }
}

/// Matches in O(pattern × text): only the last `*` is ever retried, so no pattern can blow up.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut retry = None;
    loop {
        let mut ahead = pattern.clone();
        match (ahead.next(), text.clone().next()) {
            (Some('*'), _) => {
                retry = Some((ahead.clone(), text.clone()));
                pattern = ahead;
                continue;
            }
            (None, None) => return true,
            (Some(p), Some(t)) if p == '?' || p == t => {
                pattern = ahead;
                text.next();
                continue;
            }
            _ => {}
        }
        let Some((after_star, covered)) = &mut retry else {
            return false;
        };
        if covered.next().is_none() {
            return false;
        }
        pattern = after_star.clone();
        text = covered.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(allow: &[&str], deny: &[&str]) -> ToolFilter {
        let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
        ToolFilter::new(own(allow), own(deny))
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "ä", true),
            ("?", "", false),
            ("delete_*", "delete_", true),
            ("delete_*", "delete_repo", true),
            ("delete_*", "undelete_repo", false),
            ("*_repo", "delete_repo", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("a*b*c", "abbbc", true),
            ("get_??", "get_ab", true),
            ("get_??", "get_abc", false),
            ("[a]", "[a]", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn deny_wins_and_the_default_is_open() {
        assert!(ToolFilter::default().is_open());
        assert!(ToolFilter::default().admits("anything"));
        let some = filter(&["get_*", "list"], &["get_secret*"]);
        assert!(some.admits("get_x") && some.admits("list"));
        assert!(!some.admits("get_secrets") && !some.admits("put_x"));
        assert!(!some.is_open());
        assert!(!filter(&["*"], &["x"]).is_open());
        assert!(!filter(&[], &[]).admits("x"), "an empty allow admits nothing");
        assert!(!filter(&[], &[]).is_open());
        assert!(filter(&["**"], &[]).is_open());
    }

    #[test]
    fn a_hostile_pattern_stays_cheap() {
        let pattern = "*a".repeat(500);
        let text = "a".repeat(2000) + "b";
        assert!(!matches(&pattern, &text));
    }

    /// The obvious recursive definition, exponential but clear.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| oracle(rest, &text[n..])),
            Some((p, rest)) => text.split_first().is_some_and(|(t, tail)| (*p == '?' || p == t) && oracle(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), oracle(&chars(&pattern), &chars(&text)));
        }
    }
}
