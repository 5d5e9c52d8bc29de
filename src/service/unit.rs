//! What a service manager must know to run hub, whichever it is. PURE.
//!
//! In: paths and variables. Out: a [`Unit`] whose texts every format can hold. Owns nothing. May not: look at the system,
//! or write a variable that could be a secret (only hub's own and PATH).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::platform::dirs::Dirs;

/// Says in a file that hub wrote it: only such a file is replaced or removed.
pub const WRITTEN_BY: &str = "Written by `hub service install`";

/// Variables that decide where hub's files are: the service must find the same ones.
const PLACES: [&str; 4] = ["HUB_CONFIG", "HUB_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];

/// What tells the service of one hub from that of another: a comment with its control socket. XML allows no `--` there.
pub fn tag(socket: &str) -> String {
    format!("hub-socket={}", socket.replace("--", "-%2D"))
}

/// hub as a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The program.
    pub program: String,
    /// Its variables; `PATH` is one of them.
    pub env: BTreeMap<String, String>,
    /// Where it writes when the manager has no log of its own.
    pub log: String,
    /// Its control socket, by which its own commands know it.
    pub socket: String,
}

/// A text that cannot be written into a unit. Shown to people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be written into a service file: {why}")]
pub struct Unfit {
    what: String,
    why: &'static str,
}

impl Unit {
    /// hub with these folders, and the PATH that its servers are to have. `place` gives the variables of this process.
    pub fn new(
        program: &Path,
        dirs: &Dirs,
        config: Option<&Path>,
        path: &str,
        place: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Unfit> {
        let mut env = BTreeMap::from([("PATH".to_owned(), fit("PATH", path.to_owned().into())?)]);
        for name in PLACES {
            let set = place(name).filter(|value| !value.is_empty());
            let value = match (name, set) {
                ("HUB_CONFIG", None) if config.is_some() => dirs.config_file.clone().into(),
                (_, None) => continue,
                // A relative path means something else to a service.
                ("HUB_CONFIG", Some(_)) => dirs.config_file.clone().into(),
                ("HUB_STATE_DIR", Some(_)) => dirs.state_dir.clone().into(),
                (_, Some(value)) => value,
            };
            env.insert(name.to_owned(), fit(name, value)?);
        }
        let path_of = |what: &str, path: PathBuf| fit(what, path.into());
        let program = path_of("the path of hub", program.to_owned())?;
        if program.contains(['"', '\'', '\\']) {
            let why = "systemd runs no program with a quote or a backslash in its path";
            return Err(Unfit { what: "the path of hub".to_owned(), why });
        }
        Ok(Self {
            program,
            env,
            log: path_of("the path of the log", dirs.own_log())?,
            socket: path_of("the path of the control socket", dirs.control_socket.clone())?,
        })
    }
}

/// A text of one line.
fn fit(what: &str, text: OsString) -> Result<String, Unfit> {
    let unfit = |why| Unfit { what: what.to_owned(), why };
    let text = text.into_string().map_err(|_bytes| unfit("it is not UTF-8"))?;
    if text.contains(char::is_control) {
        return Err(unfit("it has a line break or another control character"));
    }
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn dirs() -> Dirs {
        Dirs {
            config_file: "/home/a b/hub.toml".into(),
            config_dir: "/home/a b".into(),
            state_dir: "/home/a b/state".into(),
            control_socket: "/run/hub.sock".into(),
        }
    }

    fn new(program: &str, path: &str, set: &[(&str, &str)], config: bool) -> Result<Unit, String> {
        let place = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        let config = config.then_some(Path::new("hub.toml"));
        Unit::new(Path::new(program), &dirs(), config, path, place).map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_absolute_and_only_those_that_are_set() {
        let env =
            |set: &[_], config| new("/hub", "/bin", set, config).expect("fits").env.into_iter().collect::<Vec<_>>();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(env(&[("SECRET", "x"), ("HUB_CONFIG", "")], false), [pair("PATH", "/bin")]);
        assert_eq!(env(&[], true), [pair("HUB_CONFIG", "/home/a b/hub.toml"), pair("PATH", "/bin")]);
        let set = [("HUB_CONFIG", "hub.toml"), ("HUB_STATE_DIR", "state"), ("XDG_CONFIG_HOME", "/x")];
        assert_eq!(
            env(&set, false),
            [
                pair("HUB_CONFIG", "/home/a b/hub.toml"),
                pair("HUB_STATE_DIR", "/home/a b/state"),
                pair("PATH", "/bin"),
                pair("XDG_CONFIG_HOME", "/x")
            ]
        );
    }

    #[test]
    fn what_no_file_can_hold_is_refused() {
        for (program, path) in [("/a\nb", "/bin"), ("/hub", "/bin\r:/x"), ("/hub", "/a\0"), ("/hub\u{1b}", "/bin")] {
            let error = new(program, path, &[], false).expect_err("unfit");
            assert!(error.ends_with("it has a line break or another control character"), "{error}");
        }
        assert!(new("/a\"b/hub", "/bin", &[], false).is_err());
    }
}
