//! The conformance suite against a fixture on the TypeScript SDK: directly, and behind hub.
//!
//! In: `tests/conformance` and the pinned suite. Out: the required scenarios of 2025-11-25, all passed, without warnings,
//! with the fixture started once. State: a private home. May not: count what the suite did not say.
//!
//! The direct run is the control: were it to fail, the fixture would be to blame and the run behind hub would say nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::env::{TestEnv, top};
use crate::hub::{Hub, endpoint};

const REVISION: &str = "2025-11-25";
/// Scored scenarios of the revision.
const REQUIRED: usize = 30;
/// Scenarios that the suite runs and does not score, yet that a client may count on.
const UNSCORED_BUT_HELD: [&str; 2] = ["server-session-lifecycle", "json-schema-2020-12"];

#[test]
fn the_fixture_alone_conforms() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut command = env.command(&env.node(), home.path());
    command.arg(top().join("tests/conformance/http.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut fixture = Reaped(command.spawn().unwrap());
    let mut url = String::new();
    BufReader::new(fixture.0.stdout.take().unwrap()).read_line(&mut url).unwrap();
    Report::of_suite(&env, &home, url.trim()).is_clean();
}

#[test]
fn the_fixture_behind_hub_conforms_and_is_started_once() {
    let Some(env) = TestEnv::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let starts = home.path().join("starts");
    let text = |path: &Path| json!(path.to_str().expect("UTF-8")).to_string();
    let servers = format!(
        "[servers.fixture]\ncommand = {}\nargs = [{}]\n[servers.fixture.env]\nFIXTURE_STARTS = {}\nHUB_TEST_ENV = {}\n",
        text(&env.node()),
        text(&top().join("tests/conformance/stdio.mjs")),
        text(&starts),
        text(env.npm().parent().unwrap()),
    );
    let suite_home = tempfile::tempdir().unwrap();
    let hub = Hub::start(&env, home, &servers);
    let url = endpoint(&hub.all_ready(Duration::from_mins(1)), "fixture");
    let report = Report::of_suite(&env, &suite_home, &url);
    let started = fs::read_to_string(&starts).unwrap();
    let log = hub.log();
    hub.stop();
    report.is_clean_or(&log);
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
    fn of_suite(env: &TestEnv, home: &TempDir, url: &str) -> Self {
        let results = home.path().join("results");
        let suite = env.npm().join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
        let mut command = env.command(Path::new("timeout"), home.path());
        command.args(["--kill-after=10", "240"]).arg(env.node()).arg(suite);
        command.args(["server", "--requirements", REVISION, "--url", url, "-o"]).arg(&results);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let scenarios = scenarios(&text);
        let complaints = complaints(&results, &scenarios);
        Self { scenarios, complaints, success: output.status.success(), output: format!("{text}\n{errors}") }
    }

    fn is_clean(&self) {
        self.is_clean_or("");
    }

    fn is_clean_or(&self, log: &str) {
        let scored = || self.scenarios.iter().filter(|(_, _, scored)| *scored);
        let passed = scored().filter(|(_, passed, _)| *passed).count();
        let counts = |scenario: &String| {
            scored().any(|(name, ..)| name == scenario) || UNSCORED_BUT_HELD.contains(&scenario.as_str())
        };
        let complaints: Vec<_> = self.complaints.iter().filter(|(scenario, _)| counts(scenario)).collect();
        let summary = self.output.split("=== SUMMARY ===").last().unwrap_or_default();
        let held = |name: &&str| self.scenarios.iter().any(|(known, passed, _)| known == name && *passed);
        assert!(
            self.success
                && (passed, scored().count()) == (REQUIRED, REQUIRED)
                && complaints.is_empty()
                && UNSCORED_BUT_HELD.iter().all(held),
            "{passed} of {} passed ({REQUIRED} required)\n{summary}\ncomplaints: {complaints:#?}\nhub's log:\n{log}",
            scored().count(),
        );
        eprintln!("conformance {REVISION}: {passed} passed, {} warnings or failures", complaints.len());
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
