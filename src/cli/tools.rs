//! `hub tools`: what clients can call.
//!
//! In: the daemon's lists. Out: names and the first line of each description, or the raw lists. Owns nothing. May not:
//! show a server whose list never came as one without tools.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::control::proto::{ServerTools, Tools};
use crate::server::State;

use super::args::ToolsArgs;
use super::failure::Failure;
use super::harmless::harmless;
use super::out::{Out, Tone, first_line};
use super::page::protocol;
use super::resolve::Setting;

/// What of a tool is shown or used.
#[derive(Debug, Deserialize)]
pub(super) struct Tool {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default, rename = "inputSchema")]
    pub(super) input_schema: serde_json::Value,
}

pub(super) async fn run(args: &ToolsArgs, setting: &Setting<'_>) -> Result<(), Failure> {
    let path = path(args.server.as_deref());
    if args.json {
        return setting.out.document(&setting.client.get_bytes(&path).await?);
    }
    let tools: Tools = setting.client.get(&path).await?;
    let pages: Vec<String> = tools.servers.iter().map(|server| page(server, setting.out)).collect();
    setting.out.text(&pages.join("\n"))
}

/// The path of the list of one server, or of all.
pub(super) fn path(server: Option<&str>) -> String {
    server.map_or("/v1/tools".to_owned(), |server| format!("/v1/tools?server={server}"))
}

/// The tools of a server, as far as they can be read.
pub(super) fn readable(server: &ServerTools) -> Option<Vec<Tool>> {
    let tools = server.tools.as_ref()?;
    Some(tools.iter().filter_map(|tool| serde_json::from_str(tool.get()).ok()).collect())
}

fn page(server: &ServerTools, out: &Out) -> String {
    let name = out.paint(Tone::Strong, &server.server);
    let Some(tools) = readable(server) else {
        let state = server.state.as_str();
        let why = match server.state {
            State::Disabled => format!("hub enable {}", server.server),
            State::Stopped => format!("hub tools {} starts it", server.server),
            _ => "hub status says why".to_owned(),
        };
        return format!("{name}: no list yet ({state}; {why})\n");
    };
    let plural = if tools.len() == 1 { "" } else { "s" };
    let spoken = protocol(server.era, &server.protocol_version);
    let spoken = if spoken.is_empty() { spoken } else { format!("   {}", out.paint(Tone::Faint, &spoken)) };
    let mut page = format!("{name}: {} tool{plural}{spoken}\n", tools.len());
    let longest = tools.iter().map(|tool| tool.name.chars().count()).max().unwrap_or(0);
    let room = out.width().map_or(100, |width| width.saturating_sub(longest + 4)).max(20);
    for tool in &tools {
        let description = harmless(&tool.description);
        let line = format!("  {:longest$}  {}", harmless(&tool.name), first_line(&description, room));
        // Writing to a string cannot fail.
        writeln!(page, "{}", line.trim_end()).ok();
    }
    page
}
