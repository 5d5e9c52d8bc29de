//! The knobs of the fake server.
//!
//! In: the argument list. Out: [`Knobs`]. Owns nothing. May not: act on a knob.

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Which kind of server this is (PROTOCOL 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `L`: answers -32601 to `server/discover`, as TypeScript SDK 1.x does.
    Legacy,
    /// `M`: modern only.
    Modern,
    /// `D`: both eras, pinned by the first request it reads, as Python SDK 2.x does.
    Dual,
    /// `X`: exits on any request before `initialize`, as rmcp before 3 does.
    ExitsEarly,
    /// `S`: never answers a method it does not know.
    Silent,
    /// `T`: both eras; `server/discover` pins nothing, `initialize` silently makes it legacy, as TypeScript SDK 2.x does.
    Unpinned,
}

/// Everything that can be asked of the fake server. Durations are milliseconds on the command line.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
pub struct Knobs {
    /// `--profile L|M|D|X|S|T`, or `@FILE` with the letter in it
    pub profile: Profile,
    /// `--version V`: answer this revision whatever was asked.
    pub version: Option<String>,
    /// `--journal FILE`: append what is read (`< `) and written (`> `), `start PID`, `exit PID`. `{pid}` is replaced.
    pub journal: Option<PathBuf>,
    /// `--name NAME`: `serverInfo.name`.
    pub name: String,
    /// `--tag TAG`: what `whoami`, resources and completions answer with, to tell children apart.
    pub tag: String,
    /// `--instructions TEXT`
    pub instructions: Option<String>,
    /// `--ready-delay-ms N`: nothing is read for that long.
    pub ready_delay: Duration,
    /// `--probe-delay-ms N`: `server/discover` is read at once and answered that much later.
    pub probe_delay: Duration,
    /// `--probe-error JSON`: refuse `server/discover` with this error object.
    pub probe_error: Option<Value>,
    /// `--probe-errors N`: only the first N times.
    pub probe_errors: u64,
    /// `--no-listen`: answer -32601 to `subscriptions/listen`, as Python low-level servers do.
    pub listen: bool,
    /// `--result-extra JSON`: members of the result of every list, read, get and completion; they win.
    pub result_extra: Option<Value>,
    /// `--init-error TEXT`: refuse `initialize`.
    pub init_error: Option<String>,
    /// `--caps JSON`: the capabilities, instead of all of them.
    pub caps: Option<Value>,
    /// `--no-list-changed`: declare and send none.
    pub list_changed: bool,
    /// `--ignore-term`: SIGTERM does nothing (to the grandchildren neither).
    pub ignore_term: bool,
    /// `--ignore-eof`: the end of stdin does nothing.
    pub ignore_eof: bool,
    /// `--grandchildren N`: sleepers of the same group that hold the pipes.
    pub grandchildren: usize,
    /// `--escapees N`: sleepers that hold the pipes and have left the group and the session.
    pub escapees: usize,
    /// `--sleeper`: be a grandchild.
    pub sleeper: bool,
    /// `--own-session`: with `--sleeper`, call `setsid` first.
    pub own_session: bool,
    /// `--crash-after N`: exit at the request after the Nth.
    pub crash_after: Option<u64>,
    /// `--crash-at-start`: exit before reading anything.
    pub crash_at_start: bool,
    /// `--dead-while FILE`: exit at start for as long as FILE exists.
    pub dead_while: Option<PathBuf>,
    /// `--exit-code N`: of the crashes above.
    pub exit_code: Option<i32>,
    /// `--tools-extra JSON` or `@FILE`: more entries of `tools/list`; a file is read at every list.
    pub tools_extra: Option<String>,
    /// `--tools-only JSON` or `@FILE`: these tools instead of the built-in ones.
    pub tools_only: Option<String>,
    /// `--resources-extra JSON`, `--templates-extra JSON`
    pub resources_extra: Vec<Value>,
    /// See `resources_extra`.
    pub templates_extra: Vec<Value>,
    /// `--no-resources`: list and read none of the built-in resources (extras stay).
    pub builtin_resources: bool,
    /// `--readable PREFIX`: URIs that can be read although no list names them.
    pub readable: Option<String>,
    /// `--stderr-lines N`: written at start.
    pub stderr_lines: usize,
    /// `--page-size N`: of every list; absent = one page.
    pub page_size: Option<usize>,
    /// `--name-set odd`: tool and prompt names that an aggregate must mend.
    pub odd_names: bool,
    /// `--hang-list`: never answer `tools/list`.
    pub hang_list: bool,
    /// `--hang-list-while FILE`: answer `tools/list` once FILE is gone.
    pub hang_list_while: Option<PathBuf>,
    /// `--list-error TEXT`: refuse `tools/list`.
    pub list_error: Option<String>,
    /// `--roots-after-init`: ask `roots/list` as server-filesystem does; the answer goes to the journal (`roots `).
    pub roots_after_init: bool,
    /// `--big-stdout-garbage N`: N bytes that are not JSON at start, ended by a newline.
    pub garbage: usize,
    /// `--bom`: a UTF-8 byte order mark before the first line.
    pub bom: bool,
    /// `--ask-ids string`: ids of the server's own requests are strings.
    pub ask_ids_are_strings: bool,
    /// `--vendor`: every response carries an unknown top-level member.
    pub vendor: bool,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            profile: Profile::Legacy,
            version: None,
            journal: None,
            name: "fake".into(),
            tag: "fake".into(),
            instructions: None,
            ready_delay: Duration::ZERO,
            probe_delay: Duration::ZERO,
            probe_error: None,
            probe_errors: u64::MAX,
            listen: true,
            result_extra: None,
            init_error: None,
            caps: None,
            list_changed: true,
            ignore_term: false,
            ignore_eof: false,
            grandchildren: 0,
            escapees: 0,
            sleeper: false,
            own_session: false,
            crash_after: None,
            crash_at_start: false,
            dead_while: None,
            exit_code: None,
            tools_extra: None,
            tools_only: None,
            resources_extra: Vec::new(),
            templates_extra: Vec::new(),
            builtin_resources: true,
            readable: None,
            stderr_lines: 0,
            page_size: None,
            odd_names: false,
            hang_list: false,
            hang_list_while: None,
            list_error: None,
            roots_after_init: false,
            garbage: 0,
            bom: false,
            ask_ids_are_strings: false,
            vendor: false,
        }
    }
}

impl Knobs {
    /// Reads the argument list; an unknown argument is an error, so that a test cannot mistype one unnoticed.
    pub fn parse(argv: Vec<String>) -> Result<Self, String> {
        let mut knobs = Self::default();
        let mut args = argv.into_iter();
        while let Some(arg) = args.next() {
            if knobs.switch(&arg) {
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg}: unknown, or its value is missing"))?;
            knobs.set(&arg, value).map_err(|problem| format!("{arg}: {problem}"))?;
        }
        Ok(knobs)
    }

    fn switch(&mut self, arg: &str) -> bool {
        match arg {
            "--no-list-changed" => self.list_changed = false,
            "--ignore-term" => self.ignore_term = true,
            "--ignore-eof" => self.ignore_eof = true,
            "--sleeper" => self.sleeper = true,
            "--own-session" => self.own_session = true,
            "--crash-at-start" => self.crash_at_start = true,
            "--no-resources" => self.builtin_resources = false,
            "--hang-list" => self.hang_list = true,
            "--roots-after-init" => self.roots_after_init = true,
            "--bom" => self.bom = true,
            "--vendor" => self.vendor = true,
            "--no-listen" => self.listen = false,
            _ => return false,
        }
        true
    }

    fn set(&mut self, arg: &str, value: String) -> Result<(), String> {
        match arg {
            "--profile" => {
                // From a file: the same command line, and another server behind it.
                let letter = match value.strip_prefix('@') {
                    Some(path) => std::fs::read_to_string(path).map_err(|problem| problem.to_string())?,
                    None => value,
                };
                self.profile = match letter.trim() {
                    "L" => Profile::Legacy,
                    "M" => Profile::Modern,
                    "D" => Profile::Dual,
                    "X" => Profile::ExitsEarly,
                    "S" => Profile::Silent,
                    "T" => Profile::Unpinned,
                    _ => return Err("one of L M D X S T".into()),
                }
            }
            "--version" => self.version = Some(value),
            "--journal" => self.journal = Some(value.replace("{pid}", &std::process::id().to_string()).into()),
            "--name" => self.name = value,
            "--tag" => self.tag = value,
            "--instructions" => self.instructions = Some(value),
            "--ready-delay-ms" => self.ready_delay = Duration::from_millis(number(&value)?),
            "--probe-delay-ms" => self.probe_delay = Duration::from_millis(number(&value)?),
            "--probe-error" => self.probe_error = Some(parsed(&value)?),
            "--probe-errors" => self.probe_errors = number(&value)?,
            "--result-extra" => self.result_extra = Some(parsed(&value)?),
            "--init-error" => self.init_error = Some(value),
            "--caps" => self.caps = Some(parsed(&value)?),
            "--grandchildren" => self.grandchildren = number(&value)?,
            "--escapees" => self.escapees = number(&value)?,
            "--crash-after" => self.crash_after = Some(number(&value)?),
            "--dead-while" => self.dead_while = Some(value.into()),
            "--exit-code" => self.exit_code = Some(number(&value)?),
            "--tools-extra" => self.tools_extra = Some(value),
            "--tools-only" => self.tools_only = Some(value),
            "--resources-extra" => self.resources_extra = parsed(&value)?,
            "--templates-extra" => self.templates_extra = parsed(&value)?,
            "--readable" => self.readable = Some(value),
            "--stderr-lines" => self.stderr_lines = number(&value)?,
            "--page-size" => self.page_size = Some(number(&value)?),
            "--name-set" => self.odd_names = value == "odd",
            "--hang-list-while" => self.hang_list_while = Some(value.into()),
            "--list-error" => self.list_error = Some(value),
            "--big-stdout-garbage" => self.garbage = number(&value)?,
            "--ask-ids" => self.ask_ids_are_strings = value == "string",
            _ => return Err("unknown".into()),
        }
        Ok(())
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_problem| format!("{text:?} is not a number"))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|problem| problem.to_string())
}
