//! The clients that hub knows. Data, and nothing but.
//!
//! In: nothing. Out: [`CLIENTS`]. Owns no state. May not: compute.
//!
//! Left out on purpose: JetBrains AI Assistant, which keeps its servers where no file is worth editing.

use super::client::{Base, Client, Entries, Expansion, Format, HttpForm, Keys, Literal, Place, Scope, Shape, Unit};

// === What several of them share ===

const KEYS: Keys = Keys {
    command: "command",
    args: "args",
    env: "env",
    cwd: "cwd",
    passed_env: None,
    keyring_env: None,
    switches: true,
    timeout: None,
    stdio_only: &[],
    named: false,
    own_types: &[],
};

const SERVERS: &[Entries] = &[Entries::Map(&["mcpServers"])];
/// JSON with comments, `mcpServers`.
const PLAIN: Shape = Shape { format: Format::Jsonc, entries: SERVERS, misplaced: &["servers"], keys: &KEYS };
/// The same, but comments make the client refuse the file.
const STRICT: Shape = Shape { format: Format::Json, ..PLAIN };

const TYPE_HTTP: &[(&str, Literal)] = &[("type", Literal::Text("http"))];
/// `{"url": …}` and no more.
const URL: HttpForm = HttpForm::Url { key: "url", before: &[], defaults: &[] };

const fn user(base: Base, path: &'static str, shape: Shape) -> Place {
    Place { scope: Scope::User, base, path, shape }
}

const fn project(path: &'static str, shape: Shape) -> Place {
    Place { scope: Scope::Project, base: Base::Project, path, shape }
}

const fn managed(path: &'static str, shape: Shape) -> Place {
    Place { scope: Scope::Managed, base: Base::Root, path, shape }
}

// === Shapes of single clients ===

const CLAUDE_KEYS: Keys = Keys { timeout: Some(("timeout", Unit::Millis)), switches: false, ..KEYS };
const CLAUDE: Shape = Shape { keys: &CLAUDE_KEYS, ..STRICT };
const CLAUDE_USER: Shape =
    Shape { entries: &[SERVERS[0], Entries::Map(&["projects", "*", "mcpServers"])], misplaced: &[], ..CLAUDE };

const VSCODE_KEYS: Keys = Keys { stdio_only: &["dev", "sandbox", "sandboxEnabled"], ..KEYS };
const VSCODE: Shape = Shape {
    format: Format::Jsonc,
    entries: &[Entries::Map(&["servers"])],
    misplaced: &["mcpServers"],
    keys: &VSCODE_KEYS,
};
/// Where VS Code kept them before it had a file for them.
const VSCODE_SETTINGS: Shape =
    Shape { entries: &[Entries::Map(&["mcp", "servers"]), Entries::Map(&["mcp.servers"])], misplaced: &[], ..VSCODE };

const CLINE_KEYS: Keys = Keys { timeout: Some(("timeout", Unit::Seconds)), ..KEYS };
const CLINE: Shape = Shape { keys: &CLINE_KEYS, ..PLAIN };
const ROO_KEYS: Keys = Keys { stdio_only: &["watchPaths"], ..CLINE_KEYS };
const ROO: Shape = Shape { keys: &ROO_KEYS, ..PLAIN };

const CONTINUE_KEYS: Keys = Keys { named: true, ..KEYS };
const CONTINUE: Shape =
    Shape { format: Format::Yaml, entries: &[Entries::List(&["mcpServers"])], misplaced: &[], keys: &CONTINUE_KEYS };

const ZED_KEYS: Keys = Keys { stdio_only: &["source", "remote"], ..KEYS };
const ZED: Shape = Shape {
    format: Format::Jsonc,
    entries: &[Entries::Map(&["context_servers"])],
    misplaced: &["mcpServers"],
    keys: &ZED_KEYS,
};

const CODEX_KEYS: Keys =
    Keys { passed_env: Some("env_vars"), timeout: Some(("tool_timeout_sec", Unit::Seconds)), ..KEYS };
const CODEX: Shape = Shape {
    format: Format::Toml,
    entries: &[Entries::Map(&["mcp_servers"])],
    misplaced: &["mcpServers"],
    keys: &CODEX_KEYS,
};

const GEMINI_KEYS: Keys = Keys { timeout: Some(("timeout", Unit::Millis)), ..KEYS };
const GEMINI: Shape = Shape { misplaced: &[], keys: &GEMINI_KEYS, ..PLAIN };

const OPENCODE_KEYS: Keys = Keys { env: "environment", ..KEYS };
const OPENCODE: Shape = Shape {
    format: Format::Jsonc,
    entries: &[Entries::Map(&["mcp"]), Entries::Map(&["mcp", "servers"])],
    misplaced: &["mcpServers"],
    keys: &OPENCODE_KEYS,
};

const GOOSE_KEYS: Keys = Keys {
    command: "cmd",
    env: "envs",
    keyring_env: Some("env_keys"),
    timeout: Some(("timeout", Unit::Seconds)),
    named: true,
    own_types: &["builtin", "platform", "frontend", "inline_python"],
    ..KEYS
};
const GOOSE: Shape = Shape {
    format: Format::Yaml,
    entries: &[Entries::Map(&["extensions"])],
    misplaced: &["mcpServers"],
    keys: &GOOSE_KEYS,
};

const AMP: Shape =
    Shape { format: Format::Jsonc, entries: &[Entries::Map(&["amp.mcpServers"])], misplaced: &[], keys: &KEYS };

const WARP_KEYS: Keys = Keys { cwd: "working_directory", ..KEYS };
const WARP: Shape = Shape { keys: &WARP_KEYS, ..PLAIN };

/// What most clients have in common.
const QUIET: Client = Client {
    id: "",
    title: "",
    places: &[],
    expansion: Expansion::None,
    http: URL,
    tells_project: None,
    asks_approval: false,
};

// === The table ===

/// Every client, the most used first. Two of them may have a file in common (`.mcp.json`, VS Code's settings): the
/// entries of `.mcp.json` are written so that both take them.
pub static CLIENTS: &[Client] = &[
    Client {
        id: "claude-code",
        title: "Claude Code",
        places: &[
            user(Base::Env { var: "CLAUDE_CONFIG_DIR", home: "" }, ".claude.json", CLAUDE_USER),
            project(".mcp.json", CLAUDE),
            managed("etc/claude-code/managed-mcp.json", CLAUDE),
            managed("Library/Application Support/ClaudeCode/managed-mcp.json", CLAUDE),
        ],
        expansion: Expansion::Claude,
        // Any timeout lifts the 60 s to the first byte of an answer and the 300 s of silence: a day.
        http: HttpForm::Url { key: "url", before: TYPE_HTTP, defaults: &[("timeout", Literal::Number(86_400_000))] },
        tells_project: Some("CLAUDE_PROJECT_DIR"),
        asks_approval: true,
    },
    Client {
        id: "claude-desktop",
        title: "Claude Desktop",
        places: &[user(Base::Config, "Claude/claude_desktop_config.json", STRICT)],
        expansion: Expansion::None,
        http: HttpForm::Shim,
        ..QUIET
    },
    Client {
        id: "cursor",
        title: "Cursor",
        places: &[user(Base::Home, ".cursor/mcp.json", PLAIN), project(".cursor/mcp.json", PLAIN)],
        expansion: Expansion::Editor,
        http: URL,
        ..QUIET
    },
    Client {
        id: "vscode",
        title: "VS Code",
        places: &[
            user(Base::Config, "Code/User/mcp.json", VSCODE),
            user(Base::Config, "Code/User/profiles/*/mcp.json", VSCODE),
            user(Base::Config, "Code/User/settings.json", VSCODE_SETTINGS),
            user(Base::Config, "Code - Insiders/User/mcp.json", VSCODE),
            user(Base::Config, "Code - Insiders/User/profiles/*/mcp.json", VSCODE),
            user(Base::Config, "Code - Insiders/User/settings.json", VSCODE_SETTINGS),
            project(".vscode/mcp.json", VSCODE),
            project(".vscode/settings.json", VSCODE_SETTINGS),
        ],
        expansion: Expansion::Editor,
        http: HttpForm::Url { key: "url", before: TYPE_HTTP, defaults: &[] },
        ..QUIET
    },
    Client {
        id: "windsurf",
        title: "Windsurf",
        places: &[
            user(Base::Home, ".codeium/windsurf/mcp_config.json", PLAIN),
            user(Base::Home, ".codeium/mcp_config.json", PLAIN),
        ],
        expansion: Expansion::Editor,
        http: HttpForm::Url { key: "serverUrl", before: &[], defaults: &[] },
        ..QUIET
    },
    Client {
        id: "cline",
        title: "Cline",
        places: &[
            user(
                Base::Config,
                "Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
                CLINE,
            ),
            user(
                Base::Config,
                "Code - Insiders/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
                CLINE,
            ),
            user(Base::Home, ".cline/data/settings/cline_mcp_settings.json", CLINE),
        ],
        expansion: Expansion::None,
        http: HttpForm::Url {
            key: "url",
            before: &[("type", Literal::Text("streamableHttp"))],
            defaults: &[("disabled", Literal::Bool(false))],
        },
        ..QUIET
    },
    Client {
        id: "roo",
        title: "Roo Code",
        places: &[
            user(Base::Config, "Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json", ROO),
            user(
                Base::Config,
                "Code - Insiders/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
                ROO,
            ),
            project(".roo/mcp.json", ROO),
        ],
        expansion: Expansion::Editor,
        http: HttpForm::Url { key: "url", before: &[("type", Literal::Text("streamable-http"))], defaults: &[] },
        ..QUIET
    },
    Client {
        id: "continue",
        title: "Continue",
        places: &[
            user(Base::Home, ".continue/config.yaml", CONTINUE),
            user(Base::Home, ".continue/mcpServers/*.yaml", CONTINUE),
            user(Base::Home, ".continue/mcpServers/*.yml", CONTINUE),
            user(Base::Home, ".continue/mcpServers/*.json", PLAIN),
            project(".continue/mcpServers/*.yaml", CONTINUE),
            project(".continue/mcpServers/*.yml", CONTINUE),
            project(".continue/mcpServers/*.json", PLAIN),
        ],
        expansion: Expansion::Secrets,
        http: HttpForm::Url { key: "url", before: &[("type", Literal::Text("streamable-http"))], defaults: &[] },
        ..QUIET
    },
    Client {
        id: "zed",
        title: "Zed",
        places: &[user(Base::Xdg, "zed/settings.json", ZED), project(".zed/settings.json", ZED)],
        expansion: Expansion::None,
        http: URL,
        ..QUIET
    },
    Client {
        id: "codex",
        title: "Codex",
        places: &[
            user(Base::Env { var: "CODEX_HOME", home: ".codex" }, "config.toml", CODEX),
            project(".codex/config.toml", CODEX),
        ],
        expansion: Expansion::None,
        http: URL,
        ..QUIET
    },
    Client {
        id: "gemini",
        title: "Gemini CLI",
        places: &[
            user(Base::Home, ".gemini/settings.json", GEMINI),
            project(".gemini/settings.json", GEMINI),
            managed("etc/gemini-cli/settings.json", GEMINI),
            managed("Library/Application Support/GeminiCli/settings.json", GEMINI),
        ],
        expansion: Expansion::Shell,
        // Without the type it would speak the SSE of 2024.
        http: HttpForm::Url { key: "url", before: TYPE_HTTP, defaults: &[] },
        ..QUIET
    },
    Client {
        id: "opencode",
        title: "opencode",
        places: &[
            user(Base::Xdg, "opencode/opencode.json", OPENCODE),
            user(Base::Xdg, "opencode/opencode.jsonc", OPENCODE),
            user(Base::EnvFile { var: "OPENCODE_CONFIG" }, "", OPENCODE),
            project("opencode.json", OPENCODE),
            project("opencode.jsonc", OPENCODE),
        ],
        expansion: Expansion::Opencode,
        http: HttpForm::Url {
            key: "url",
            before: &[("type", Literal::Text("remote"))],
            defaults: &[("enabled", Literal::Bool(true))],
        },
        ..QUIET
    },
    Client {
        id: "goose",
        title: "Goose",
        places: &[user(Base::Xdg, "goose/config.yaml", GOOSE)],
        expansion: Expansion::None,
        http: HttpForm::Url {
            key: "uri",
            before: &[("type", Literal::Text("streamable_http"))],
            defaults: &[("enabled", Literal::Bool(true))],
        },
        ..QUIET
    },
    Client {
        id: "amp",
        title: "Amp",
        places: &[
            user(Base::Xdg, "amp/settings.json", AMP),
            user(Base::Config, "Code/User/settings.json", AMP),
            project(".amp/settings.json", AMP),
        ],
        expansion: Expansion::Braces,
        http: URL,
        ..QUIET
    },
    Client {
        id: "kiro",
        title: "Kiro",
        places: &[user(Base::Home, ".kiro/settings/mcp.json", PLAIN), project(".kiro/settings/mcp.json", PLAIN)],
        expansion: Expansion::Braces,
        http: URL,
        ..QUIET
    },
    Client {
        id: "junie",
        title: "Junie",
        places: &[user(Base::Home, ".junie/mcp/mcp.json", PLAIN), project(".junie/mcp/mcp.json", PLAIN)],
        expansion: Expansion::None,
        http: HttpForm::Shim,
        ..QUIET
    },
    Client {
        id: "warp",
        title: "Warp",
        places: &[user(Base::Home, ".warp/.mcp.json", WARP), project(".warp/.mcp.json", WARP)],
        expansion: Expansion::None,
        http: URL,
        ..QUIET
    },
    Client {
        id: "lmstudio",
        title: "LM Studio",
        places: &[user(Base::Home, ".lmstudio/mcp.json", PLAIN), user(Base::Home, ".cache/lm-studio/mcp.json", PLAIN)],
        expansion: Expansion::None,
        http: URL,
        ..QUIET
    },
    Client {
        id: "copilot",
        title: "Copilot CLI",
        places: &[
            user(Base::Home, ".copilot/mcp-config.json", PLAIN),
            user(Base::EnvOnly { var: "XDG_CONFIG_HOME" }, ".copilot/mcp-config.json", PLAIN),
            user(Base::EnvOnly { var: "XDG_CONFIG_HOME" }, "copilot/mcp-config.json", PLAIN),
            user(Base::EnvOnly { var: "COPILOT_HOME" }, "mcp-config.json", PLAIN),
            project(".mcp.json", STRICT),
            project(".github/mcp.json", PLAIN),
        ],
        expansion: Expansion::Braces,
        http: HttpForm::Url { key: "url", before: TYPE_HTTP, defaults: &[("tools", Literal::Texts(&["*"]))] },
        ..QUIET
    },
];
