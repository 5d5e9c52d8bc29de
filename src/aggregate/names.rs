//! Names on the aggregate endpoint: an alias per server, and `ALIAS__name` per tool and prompt (PROTOCOL 4.2).
//!
//! In: server names in the order of hub.toml, a server's own names in its order. Out: aliases and exposed names: unique,
//! bounded, of `[A-Za-z0-9_-]`, and the same after a restart because nothing but the input decides them. Owns nothing.
//! May not: split an exposed name to find its server (a tool name may contain `__`; resolving is the catalogue's table).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::limits::{AGGREGATE_ALIAS_BYTES_MAX, AGGREGATE_NAME_BYTES_MAX};

/// Between alias and name. An alias has no `_`, so names of two servers can never coincide.
pub const SEPARATOR: &str = "__";
/// Hexadecimal digits of a hash suffix.
const HASH_DIGITS: usize = 8;

/// One alias per server name: `[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?`, all different.
///
/// A server whose name already is an alias keeps it whatever stands before it, so that adding a server renames none of
/// those. The others get the nearest free alias, with a hash of their name where it is taken.
pub fn aliases(names: &[&str]) -> Vec<Arc<str>> {
    let mut taken: HashSet<String> =
        names.iter().filter(|name| base_alias(name) == **name).map(|&n| n.into()).collect();
    let choose = |name: &&str| -> Arc<str> {
        let base = base_alias(name);
        if base == *name {
            return base.into();
        }
        let mut tries =
            (0..u32::MAX).map(|round| if round == 0 { base.clone() } else { hashed_alias(&base, name, round) });
        let free = tries.find(|alias| !taken.contains(alias)).expect("fewer servers than rounds");
        taken.insert(free.clone());
        free.into()
    };
    names.iter().map(choose).collect()
}

fn base_alias(name: &str) -> String {
    let mapped: String = name
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let trimmed = mapped.trim_matches('-');
    let cut = trimmed[..trimmed.len().min(AGGREGATE_ALIAS_BYTES_MAX)].trim_end_matches('-');
    if cut.is_empty() { "server".into() } else { cut.into() }
}

fn hashed_alias(base: &str, name: &str, round: u32) -> String {
    let keep = base.len().min(AGGREGATE_ALIAS_BYTES_MAX - HASH_DIGITS - 1);
    format!("{}-{}", base[..keep].trim_end_matches('-'), hash(&[name.as_bytes(), &round.to_be_bytes()]))
}

/// The exposed name of each of a server's own names; `None` for a name that stood before (the first one wins).
///
/// A name that needs no change keeps its plain form even if a changed one before it looks the same; of the changed ones
/// the later gets a hash suffix.
pub fn expose(alias: &str, names: &[&str]) -> Vec<Option<String>> {
    let mut seen = HashSet::new();
    let fresh: Vec<bool> = names.iter().map(|name| seen.insert(*name)).collect();
    let mut taken: HashSet<String> = names.iter().filter_map(|name| plain(alias, name)).collect();
    let choose = |(name, fresh): (&&str, bool)| {
        if !fresh {
            return None;
        }
        if let Some(plain) = plain(alias, name) {
            return Some(plain);
        }
        let mut tries = (0..u32::MAX).map(|round| changed(alias, name, round));
        let free = tries.find(|exposed| !taken.contains(exposed)).expect("fewer names than rounds");
        taken.insert(free.clone());
        Some(free)
    };
    names.iter().zip(fresh).map(choose).collect()
}

/// `ALIAS__name`, if the name can stand there as it is.
fn plain(alias: &str, name: &str) -> Option<String> {
    let fits = alias.len() + SEPARATOR.len() + name.len() <= AGGREGATE_NAME_BYTES_MAX;
    (fits && name.bytes().all(allowed)).then(|| [alias, SEPARATOR, name].concat())
}

/// `ALIAS__name` with other characters replaced; with a hash suffix if it is too long, or from round 1 on.
fn changed(alias: &str, name: &str, round: u32) -> String {
    let mut out = [alias, SEPARATOR].concat();
    out.extend(name.chars().map(|c| if c.is_ascii() && allowed(c as u8) { c } else { '_' }));
    if round == 0 && out.len() <= AGGREGATE_NAME_BYTES_MAX {
        return out;
    }
    out.truncate(AGGREGATE_NAME_BYTES_MAX - HASH_DIGITS - 1);
    out.push('_');
    // Round 0 and 1 give the same hash: a name that is cut and one that is not differ by their text.
    let salt = round.saturating_sub(1).to_be_bytes();
    let parts: [&[u8]; 4] = [alias.as_bytes(), b"\0", name.as_bytes(), &salt];
    out.push_str(&hash(if round <= 1 { &parts[..3] } else { &parts }));
    out
}

fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// The first hexadecimal digits of the SHA-256 of all parts.
fn hash(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part);
    }
    sha.finalize().iter().take(HASH_DIGITS / 2).fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a string takes it");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exposed(alias: &str, names: &[&str]) -> Vec<String> {
        expose(alias, names).into_iter().map(|name| name.expect("no duplicates here")).collect()
    }

    #[test]
    fn aliases_are_the_names_where_they_can_be() {
        let names = ["GitHub", "my_server", "github", "--", "Ünïcode", "a-very-long-name-that-does-not-fit", "7"];
        let aliases = aliases(&names);
        let plain: Vec<&str> = aliases.iter().map(|a| &**a).collect();
        assert_eq!(plain[1..], ["my-server", "github", "server", "n-code", "a-very-long-name-that-do", "7"]);
        assert!(plain[0].starts_with("github-"), "the one that is called `github` keeps it: {}", plain[0]);
    }

    #[test]
    fn names_of_the_fixture() {
        assert_eq!(exposed("fs", &["read_file", "a__b"]), ["fs__read_file", "fs__a__b"]);
        // sha256("fs\0a.b"), sha256("fs\0xxx…"): fixed for ever, permission rules name them.
        let long = "x".repeat(130);
        let names = exposed("fs", &["a b", "a.b", "a_b", &long]);
        assert_eq!(names[0], "fs__a_b_8a3e1bd5".replace("8a3e1bd5", &hash(&[b"fs", b"\0", b"a b"])));
        assert_eq!(names[1], format!("fs__a_b_{}", hash(&[b"fs", b"\0", b"a.b"])));
        assert_eq!(names[2], "fs__a_b");
        assert_eq!(names[3], format!("fs__{}_{}", "x".repeat(51), hash(&[b"fs", b"\0", long.as_bytes()])));
        assert_eq!(names[3].len(), 64);
        assert_eq!(expose("fs", &["a", "a"]), [Some("fs__a".into()), None]);
    }

    #[test]
    fn a_real_name_that_looks_like_a_hashed_one_keeps_its_place() {
        let squatter = format!("a_b_{}", hash(&[b"fs", b"\0", b"a.b"]));
        let names = exposed("fs", &["a_b", "a.b", &squatter]);
        assert_eq!((names[0].as_str(), &names[2]), ("fs__a_b", &format!("fs__{squatter}")));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), 3);
    }

    proptest! {
        #[test]
        fn aliases_are_total_bounded_unique_and_stable(
            names in proptest::collection::hash_set("[A-Za-b0-1_é.-]{0,30}", 0..12),
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let out = aliases(&names);
            prop_assert_eq!(&out, &aliases(&names));
            prop_assert_eq!(out.iter().collect::<HashSet<_>>().len(), names.len());
            for alias in &out {
                prop_assert!(!alias.is_empty() && alias.len() <= AGGREGATE_ALIAS_BYTES_MAX, "{alias}");
                prop_assert!(!alias.starts_with('-') && !alias.ends_with('-'), "{alias}");
                prop_assert!(alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{alias}");
            }
        }

        #[test]
        fn exposed_names_are_total_bounded_unique_and_stable(
            servers in proptest::collection::vec(("[ab-]{1,3}", proptest::collection::vec("[ab_. ]{0,4}|[ab.]{60,70}", 0..12)), 1..4),
        ) {
            let owners: Vec<&str> = servers.iter().map(|(name, _)| name.as_str()).collect::<HashSet<_>>().into_iter().collect();
            let aliases = aliases(&owners);
            let mut all = HashSet::new();
            for (owner, alias) in owners.iter().zip(&aliases) {
                let (_, own) = servers.iter().find(|(name, _)| name == owner).expect("it is there");
                let own: Vec<&str> = own.iter().map(String::as_str).collect();
                let out = expose(alias, &own);
                prop_assert_eq!(&out, &expose(alias, &own));
                for (at, name) in out.iter().enumerate() {
                    prop_assert_eq!(name.is_none(), own[..at].contains(&own[at]), "only duplicates have none");
                    let Some(name) = name else { continue };
                    prop_assert!(name.len() <= AGGREGATE_NAME_BYTES_MAX && name.bytes().all(allowed), "{name}");
                    prop_assert!(name.starts_with(&format!("{alias}__")), "{name}");
                    prop_assert!(all.insert(name.clone()), "{name} twice");
                }
            }
        }

        #[test]
        fn plain_names_do_not_depend_on_the_others(others in proptest::collection::vec("[ab_.]{0,4}", 0..8), name in "[ab_]{1,4}") {
            let mut names: Vec<&str> = others.iter().map(String::as_str).filter(|other| *other != name).collect();
            names.push(&name);
            prop_assert_eq!(expose("s", &names).pop().expect("one each"), Some(format!("s__{name}")));
        }
    }
}
