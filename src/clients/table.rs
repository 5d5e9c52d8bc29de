//! The clients that hub knows. Data, and nothing but.
//!
//! In: nothing. Out: [`CLIENTS`]. Owns no state. May not: compute.

use std::path::Path;

use super::client::{Base, Client, Entries, Expansion, Format, HttpForm, Keys, Literal, Place, Scope, Shape, Unit};

const KEYS: Keys = Keys {
    command: "command",
    args: "args",
    env: "env",
    passed_env: None,
    keyring_env: None,
    timeout: None,
    stdio_only: &[],
    own_types: &[],
};

const MCP_SERVERS: Entries = Entries::Map(&["mcpServers"]);

const PLAIN: Shape = Shape { format: Format::Jsonc, entries: &[MCP_SERVERS], misplaced: &["servers"], keys: &KEYS };
const STRICT: Shape = Shape { format: Format::Json, ..PLAIN };

const HTTP: (&str, Literal) = ("type", Literal::Text("http"));

/// Every client, the most used first. Two of them may share a file (`.mcp.json`): the first one counts.
pub static CLIENTS: &[Client] = &[
    Client {
        id: "claude-code",
        title: "Claude Code",
        places: &[
            Place {
                scope: Scope::User,
                base: Base::Env { var: "CLAUDE_CONFIG_DIR", home: "" },
                path: ".claude.json",
                shape: Shape {
                    entries: &[MCP_SERVERS, Entries::Map(&["projects", "*", "mcpServers"])],
                    keys: &Keys { timeout: Some(("timeout", Unit::Millis)), ..KEYS },
                    ..STRICT
                },
            },
            Place {
                scope: Scope::Project,
                base: Base::Project,
                path: ".mcp.json",
                shape: Shape { keys: &Keys { timeout: Some(("timeout", Unit::Millis)), ..KEYS }, ..STRICT },
            },
        ],
        expansion: Expansion::Claude,
        http: HttpForm::Url { key: "url", before: &[HTTP], defaults: &[("timeout", Literal::Number(86_400_000))] },
    },
    Client {
        id: "cursor",
        title: "Cursor",
        places: &[
            Place { scope: Scope::User, base: Base::Home, path: ".cursor/mcp.json", shape: PLAIN },
            Place { scope: Scope::Project, base: Base::Project, path: ".cursor/mcp.json", shape: PLAIN },
        ],
        expansion: Expansion::Editor,
        http: HttpForm::Url { key: "url", before: &[], defaults: &[] },
    },
];

/// The client of an id.
pub fn client(id: &str) -> Option<&'static Client> {
    CLIENTS.iter().find(|client| client.id == id)
}

/// Which client's file this is, by the end of its path, for a file that a person names; `None` if no place ends so.
pub fn guess(path: &Path) -> Option<(&'static Client, &'static Place)> {
    let _ = path;
    None
}
