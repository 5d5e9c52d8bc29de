//! The launchd agent: its property list, and the words of `launchctl`. PURE.
//!
//! In: a [`Unit`]; what `launchctl print` printed. Out: the text of the agent; a [`State`]. Owns nothing. May not: run
//! anything, or let launchd throttle hub (`ProcessType` `Background` does so until nothing ever listens).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::manager::State;
use super::unit::{Unit, WRITTEN_BY, tag};

/// The label of the agent.
pub const LABEL: &str = "hub.agent";

/// What launchd gives an agent that names no PATH (`_PATH_STDPATH`).
pub const DEFAULT_PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// Restarted when it ends with an error, as a whole second passes; its servers are given the time to stop.
const TAIL: &str = "\
	<key>RunAtLoad</key>
	<true/>
	<key>KeepAlive</key>
	<dict>
		<key>SuccessfulExit</key>
		<false/>
	</dict>
	<key>ThrottleInterval</key>
	<integer>1</integer>
	<key>ExitTimeOut</key>
	<integer>45</integer>
	<key>SoftResourceLimits</key>
	<dict>
		<key>NumberOfFiles</key>
		<integer>10240</integer>
	</dict>
	<key>ProcessType</key>
	<string>Interactive</string>
</dict>
</plist>
";

/// The text of the agent.
pub fn render(unit: &Unit) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<!-- {WRITTEN_BY}; `hub service uninstall` removes it. -->\n<!-- {} -->\n\
         <plist version=\"1.0\">\n<dict>\n\t<key>Label</key>\n\t<string>{LABEL}</string>\n\t<key>ProgramArguments</key>\n\t<array>\n",
        tag(&unit.socket)
    );
    // Writing to a string cannot fail, here and below.
    for word in [unit.program.as_str(), "serve"] {
        writeln!(text, "\t\t<string>{}</string>", escaped(word)).ok();
    }
    text.push_str("\t</array>\n\t<key>EnvironmentVariables</key>\n\t<dict>\n");
    for (name, value) in &unit.env {
        writeln!(text, "\t\t<key>{}</key>\n\t\t<string>{}</string>", escaped(name), escaped(value)).ok();
    }
    text.push_str("\t</dict>\n");
    for key in ["StandardOutPath", "StandardErrorPath"] {
        writeln!(text, "\t<key>{key}</key>\n\t<string>{}</string>", escaped(&unit.log)).ok();
    }
    text.push_str(TAIL);
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// The variables of an agent that [`render`] wrote.
pub fn environment(text: &str) -> BTreeMap<String, String> {
    let inner = text.split_once("<key>EnvironmentVariables</key>\n\t<dict>\n").map(|(_, after)| after);
    let inner = inner.and_then(|after| after.split_once("\t</dict>")).map_or("", |(inner, _)| inner);
    let lines: Vec<&str> = inner.lines().map(str::trim).collect();
    let pair = |pair: &[&str]| {
        let name = pair.first()?.strip_prefix("<key>")?.strip_suffix("</key>")?;
        let value = pair.get(1)?.strip_prefix("<string>")?.strip_suffix("</string>")?;
        Some((unescaped(name), unescaped(value)))
    };
    lines.chunks(2).filter_map(pair).collect()
}

/// What `launchctl print` tells of the agent. An agent in its folder is loaded at every login.
pub fn state(printed: &str) -> State {
    let value = |name: &str| printed.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
    let pid = value("pid").and_then(|pid| pid.parse().ok());
    let code = value("last exit code").filter(|code| *code != "0" && !code.starts_with('('));
    State {
        loaded: !printed.is_empty(),
        enabled: !printed.is_empty(),
        running: value("state") == Some("running"),
        failure: code.filter(|_| pid.is_none()).map(|code| format!("exit code {code}")),
        pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plist::Value;

    fn unit() -> Unit {
        let env = [("PATH", "/opt/homebrew/bin:/a & b:/<c>"), ("HUB_CONFIG", "/Users/a b/hub.toml")];
        Unit {
            program: "/Applications/My Tools/hub".to_owned(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            log: "/Users/a b/hub.log".to_owned(),
            socket: "/a--b/hub.sock".to_owned(),
        }
    }

    /// Keys of launchd.plist(5) that hub uses, and their types.
    const KEYS: [(&str, &str); 11] = [
        ("Label", "string"),
        ("ProgramArguments", "array of strings"),
        ("EnvironmentVariables", "dictionary of strings"),
        ("RunAtLoad", "boolean"),
        ("KeepAlive", "dictionary of stuff"),
        ("StandardOutPath", "string"),
        ("StandardErrorPath", "string"),
        ("ThrottleInterval", "integer"),
        ("ExitTimeOut", "integer"),
        ("SoftResourceLimits", "dictionary of integers"),
        ("ProcessType", "string"),
    ];

    fn is(value: &Value, kind: &str) -> bool {
        let all = |test: fn(&Value) -> bool| value.as_dictionary().is_some_and(|all| all.values().all(test));
        let string = |value: &Value| value.as_string().is_some();
        match kind {
            "string" => string(value),
            "integer" => value.as_unsigned_integer().is_some(),
            "boolean" => value.as_boolean().is_some(),
            "array of strings" => value.as_array().is_some_and(|all| all.iter().all(string)),
            "dictionary of strings" => all(string),
            "dictionary of integers" => all(|value| value.as_unsigned_integer().is_some()),
            "dictionary of stuff" => value.as_dictionary().is_some_and(|keep| {
                keep.iter().all(|(key, value)| key == "SuccessfulExit" && value.as_boolean() == Some(false))
            }),
            _ => false,
        }
    }

    #[test]
    fn the_agent_is_valid_by_the_documented_keys() {
        let text = render(&unit());
        let agent = Value::from_reader_xml(text.as_bytes()).expect("a property list");
        let agent = agent.as_dictionary().expect("a dictionary");
        for (key, value) in agent {
            let kind = KEYS.iter().find(|(known, _)| known == key).unwrap_or_else(|| panic!("{key} is not documented"));
            assert!(is(value, kind.1), "{key} must be of type {}: {value:?}", kind.1);
        }
        assert_eq!(agent.len(), KEYS.len(), "each is there");
        let words: Vec<_> =
            agent["ProgramArguments"].as_array().expect("words").iter().map(|word| word.as_string()).collect();
        assert_eq!(words, [Some("/Applications/My Tools/hub"), Some("serve")]);
        let path = agent["EnvironmentVariables"].as_dictionary().expect("variables")["PATH"].as_string();
        assert_eq!(path, Some("/opt/homebrew/bin:/a & b:/<c>"));
        assert_ne!(agent["ProcessType"].as_string(), Some("Background"));
        assert!(text.contains(WRITTEN_BY));
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(environment(&render(&unit())), unit().env);
    }

    #[test]
    fn the_state_is_read_from_what_launchctl_prints() {
        let printed = "gui/501/hub.agent = {\n\tactive count = 1\n\tstate = running\n\n\tprogram = /x\n\tpid = 4711\n\tlast exit code = (never exited)\n}";
        let running = State { loaded: true, enabled: true, running: true, pid: Some(4711), failure: None };
        assert_eq!(state(printed), running);
        let failed = "gui/501/hub.agent = {\n\tstate = spawn scheduled\n\tlast exit code = 78: EX_CONFIG\n}";
        let waiting =
            State { failure: Some("exit code 78: EX_CONFIG".to_owned()), running: false, pid: None, ..running };
        assert_eq!(state(failed), waiting);
        assert_eq!(state(""), State::default());
    }
}
