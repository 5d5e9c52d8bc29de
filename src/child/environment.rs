//! The environment of a child: hub's own, the server's variables over it, hub's markers over both.
//!
//! In: variables. Out: the complete list for exec. Owns nothing. May not: expand or log a value.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::platform::detached::FOR_HUB_ALONE;
use crate::platform::family::{ENV_CHILD, ENV_RUN, ENV_SERVER, Marks};

/// hub's own environment without what is meant for hub alone, and a server's variables over it.
pub fn full_environment<K, V>(server: impl IntoIterator<Item = (K, V)>) -> Vec<(OsString, OsString)>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    for name in FOR_HUB_ALONE {
        all.remove(std::ffi::OsStr::new(name));
    }
    all.extend(server.into_iter().map(|(name, value)| (name.into(), value.into())));
    all.into_iter().collect()
}

/// The environment with hub's markers: first, so that they are found soon.
pub(super) fn with_marks(env: &[(OsString, OsString)], marks: &Marks, server: &str) -> Vec<(OsString, OsString)> {
    let child = marks.child.as_deref().unwrap_or_default();
    let marked = [(ENV_RUN, marks.run.as_str()), (ENV_CHILD, child), (ENV_SERVER, server)];
    let marked = marked.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let rest = env.iter().filter(|(name, _)| !marked.iter().any(|(mark, _)| mark == name));
    marked.iter().chain(rest).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_variable_wins_and_markers_cannot_be_overridden() {
        let env = full_environment([("PATH", "/only/here"), (ENV_RUN, "forged")]);
        let marks = Marks { run: "r".into(), child: Some("s.1.1".into()) };
        let env = with_marks(&env, &marks, "s");
        let values = |wanted: &str| -> Vec<OsString> {
            env.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
        };
        assert_eq!(values("PATH"), ["/only/here"]);
        assert_eq!(values(ENV_RUN), ["r"]);
        assert_eq!(values(ENV_CHILD), ["s.1.1"]);
        assert_eq!(values(ENV_SERVER), ["s"]);
        assert!(values("NOTIFY_SOCKET").is_empty());
    }
}
