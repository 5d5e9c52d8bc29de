//! The conformance suite against fixtures on the TypeScript SDKs, one for each era: directly, and in all four cells behind
//! hub.
//!
//! In: `tests/conformance` and the pinned suite. Out: the required scenarios of both revisions, passed by either fixture
//! started once, but for what is excused by name. State: a private home. May not: count what the suite did not say.
//!
//! The direct runs are the control: were one to fail, the fixture would be to blame and the run behind hub would say
//! nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::env::{TestEnv, top};
use crate::hub::{Hub, endpoint};

/// The required scenarios of one revision.
struct Set {
    revision: &'static str,
    /// How many of them are scored.
    scored: usize,
    /// Scenarios that the suite runs and does not score, yet that a client may count on.
    held: &'static [&'static str],
}

const LEGACY: Set =
    Set { revision: "2025-11-25", scored: 30, held: &["server-session-lifecycle", "json-schema-2020-12"] };
const MODERN: Set = Set {
    revision: "2026-07-28",
    scored: 37,
    held: &["json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"],
};

/// A check that does not succeed, and why it cannot.
struct Excused {
    scenario: &'static str,
    check: &'static str,
    status: &'static str,
    #[expect(dead_code, reason = "for the reader")]
    why: &'static str,
}

/// What no legacy server behind hub can give to the modern suite.
const LEGACY_SERVER: [Excused; 2] = [
    Excused {
        scenario: "input-required-result-basic-elicitation",
        check: "sep-2322-elicitation-incomplete",
        status: "FAILURE",
        why: "looks for the input request under the literal key `user_name`; a legacy question carries no key",
    },
    Excused {
        scenario: "input-required-result-ignore-extra-params",
        check: "sep-2322-ignore-unexpected-params",
        status: "WARNING",
        why: "answers in its first call what was not asked yet; a legacy server cannot take an answer before its question",
    },
];

#[test]
fn the_legacy_fixture_alone_conforms() {
    directly(&LEGACY, "legacy");
}

#[test]
fn the_modern_fixture_alone_conforms() {
    // Its SDK compares `Mcp-Param-*` headers only with schemas that it made itself.
    directly(&Set { held: &["json-schema-2020-12", "http-header-validation"], ..MODERN }, "modern");
}

#[test]
fn the_legacy_suite_passes_with_a_legacy_server() {
    behind_hub(&LEGACY, "legacy", "", &[]);
}

#[test]
fn the_modern_suite_passes_with_a_modern_server() {
    behind_hub(&MODERN, "modern", "", &[]);
}

#[test]
fn the_legacy_suite_passes_with_a_modern_server() {
    behind_hub(&LEGACY, "modern", "", &[]);
}

#[test]
fn the_modern_suite_passes_with_a_legacy_server() {
    behind_hub(&MODERN, "legacy", "roots = \"client\"\n", &LEGACY_SERVER);
}

/// The control measurement: the suite against the fixture without hub.
fn directly(set: &Set, era: &str) {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut command = env.command(&env.node(), home.path());
    command.arg(top().join("tests/conformance/http.mjs")).arg(era).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut fixture = Reaped(command.spawn().unwrap());
    let mut url = String::new();
    BufReader::new(fixture.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    Report::of_suite(&env, &home, url.trim(), set).holds(set, &[], "");
}

/// One cell: the suite against hub's endpoint for the fixture, which is configured with `more` and started once.
fn behind_hub(set: &Set, era: &str, more: &str, excused: &[Excused]) {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let starts = home.path().join("starts");
    let text = |path: &Path| json!(path.to_str().expect("UTF-8")).to_string();
    let servers = format!(
        "[servers.fixture]\ncommand = {}\nargs = [{}, \"{era}\"]\n{more}\
         [servers.fixture.env]\nFIXTURE_STARTS = {}\nHUB_TEST_ENV = {}\n",
        text(&env.node()),
        text(&top().join("tests/conformance/stdio.mjs")),
        text(&starts),
        text(env.npm().parent().unwrap()),
    );
    let suite_home = tempfile::tempdir().unwrap();
    let hub = Hub::start(&env, home, &servers);
    let url = endpoint(&hub.all_ready(Duration::from_mins(1)), "fixture");
    let report = Report::of_suite(&env, &suite_home, &url, set);
    let started = fs::read_to_string(&starts).unwrap();
    let log = hub.log();
    hub.stop();
    report.holds(set, excused, &log);
    assert_eq!(started.lines().count(), 1, "the fixture was started once, not by {started:?}");
}

/// What the suite said.
struct Report {
    /// Name, whether it passed, and whether it is scored; in the order of the run.
    scenarios: Vec<(String, bool, bool)>,
    /// Checks that did not succeed, whole.
    complaints: Vec<(String, Value)>,
    success: bool,
    output: String,
}

impl Report {
    fn of_suite(env: &TestEnv, home: &TempDir, url: &str, set: &Set) -> Self {
        let results = home.path().join("results");
        let suite = env.npm().join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
        let mut command = env.command(Path::new("timeout"), home.path());
        command.args(["--kill-after=10", "240"]).arg(env.node()).arg(suite);
        command.args(["server", "--requirements", set.revision, "--url", url, "-o"]).arg(&results);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let scenarios = scenarios(&text);
        let complaints = complaints(&results, &scenarios);
        Self { scenarios, complaints, success: output.status.success(), output: format!("{text}\n{errors}") }
    }

    /// All that counts succeeded, but for the excused checks; and those did not.
    fn holds(&self, set: &Set, excused: &[Excused], log: &str) {
        let scored = || self.scenarios.iter().filter(|(_, _, scored)| *scored);
        let passed = scored().filter(|(_, passed, _)| *passed).count();
        let failing = excused.iter().filter(|check| check.status == "FAILURE").count();
        let counts = |scenario: &str| scored().any(|(name, ..)| name == scenario) || set.held.contains(&scenario);
        let counted: Vec<_> = self.complaints.iter().filter(|(scenario, _)| counts(scenario)).collect();
        let mut complaints: Vec<_> = counted
            .iter()
            .map(|(scenario, check)| {
                (scenario.as_str(), check["id"].as_str().unwrap(), check["status"].as_str().unwrap())
            })
            .collect();
        let mut expected: Vec<_> = excused.iter().map(|check| (check.scenario, check.check, check.status)).collect();
        complaints.sort_unstable();
        expected.sort_unstable();
        let summary = self.output.split("=== SUMMARY ===").last().unwrap_or_default();
        let held = |name: &&str| self.scenarios.iter().any(|(known, passed, _)| known == name && *passed);
        assert!(
            self.success == (failing == 0)
                && (passed, scored().count()) == (set.scored - failing, set.scored)
                && complaints == expected
                && set.held.iter().all(held),
            "{passed} of {} passed ({} - {failing} required)\n{summary}\ncomplaints: {counted:#?}\nhub's log:\n{log}",
            scored().count(),
            set.scored,
        );
        eprintln!("conformance {}: {passed} of {} passed, excused: {expected:?}", set.revision, set.scored);
    }
}

/// Reads the summary: a line per scenario, then those that are not scored.
fn scenarios(output: &str) -> Vec<(String, bool, bool)> {
    let summary = output.split("=== SUMMARY ===").nth(1).unwrap_or_default();
    let (all, unscored) = summary.split_once("Not scored").unwrap_or((summary, ""));
    let unscored: Vec<&str> = unscored.lines().filter_map(|line| line.trim().split(' ').nth(1)).collect();
    let scenario = |line: &str| {
        let passed = line.starts_with('✓');
        let name = line.strip_prefix(['✓', '✗'])?.trim().split(':').next()?;
        Some((name.to_owned(), passed, !unscored.contains(&name)))
    };
    all.lines().filter_map(scenario).collect()
}

/// The checks that neither succeeded nor only inform, with their scenario.
fn complaints(results: &Path, scenarios: &[(String, bool, bool)]) -> Vec<(String, Value)> {
    let mut complaints = Vec::new();
    for folder in fs::read_dir(results).into_iter().flatten().flatten() {
        // Folders are named after their scenario, with a prefix and the time.
        let folder_name = folder.file_name().to_string_lossy().into_owned();
        let known = scenarios.iter().filter(|(name, ..)| folder_name.starts_with(&format!("server-{name}-2")));
        let scenario = known.map(|(name, ..)| name.clone()).next().unwrap_or(folder_name);
        let checks = fs::read(folder.path().join("checks.json")).unwrap_or_default();
        let checks: Vec<Value> = serde_json::from_slice(&checks).unwrap_or_default();
        let bad = checks.into_iter().filter(|check| check["status"] != "SUCCESS" && check["status"] != "INFO");
        complaints.extend(bad.map(|check| (scenario.clone(), check)));
    }
    complaints
}

/// A process that ends with the test.
struct Reaped(std::process::Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
