//! hub runs each MCP server once per user and lets every client share it over HTTP.
//!
//! # Lexicon
//!
//! Every gateway confuses "server", because hub is one to its clients and a client to its children. In this code:
//!
//! | word | means here | never |
//! |---|---|---|
//! | **client** | an MCP client that speaks HTTP to hub | hub's own side towards a child |
//! | **server** | one `[servers.NAME]` of hub.toml: an MCP server | an HTTP listener |
//! | **instance** | one slot of a server that holds one child at a time (one per server, or one per session) | a process |
//! | **child** | the process group that runs an instance now; each start is a new **generation** | the server |
//! | **listener** | a bound socket | |
//! | **endpoint** | an MCP endpoint: serves one server, or the **aggregate** of all | |
//! | **session** | a protocol session (`Mcp-Session-Id`, revisions up to 2025-11-25) | any connection |
//! | **caller** | who a message came from: a session, one sessionless request, or hub itself | |
//! | **call** | one request of a caller on its way to an instance, until its response | a `tools/call` only |
//! | **ask** | a request that a child sends (sampling, elicitation, roots), until its answer | |
//! | **era** | *legacy* (`initialize` handshake) or *modern* (2026-07-28 and later) | |
//! | **message** = request, notification, response | as in JSON-RPC | "event", "packet" |
//! | **line** | one message as bytes with no newline inside: what a pipe carries | |
//! | **wire id** | the request id hub chose on the pipe; the client's own is its **request id** | |
//! | **plan**, **step** | difference between running and wanted config, and one act of it | |
//!
//! # Rooms, lowest first
//!
//! A room uses only rooms below it; `tests/tidy.rs` keeps that true.
//!
//! | layer | room | what it is |
//! |---|---|---|
//! | 0 | [`limits`], [`tasks`], [`backoff`] | numbers, joined tasks, jittered backoff |
//! | 0 | [`files`] | files replaced whole, one changer at a time |
//! | 1 | [`mcp`] | the protocol as bytes: envelope, ids, splicing. Pure |
//! | 1 | [`config`] | hub.toml: schema, validation, expansion, diff. Pure but for `file` and `watch` |
//! | 1 | [`platform`] | the operating system: the only `unsafe` and `cfg(target_os)` |
//! | 1 | [`store`] | what survives a restart, in one embedded database |
//! | 2 | [`bridge`] | one era told in the words of the other: params, results, errors, questions, parked calls. Pure |
//! | 2 | [`clients`] | other programs' config files: where they are, what they hold, how an entry is edited in place. Pure |
//! | 2 | [`child`] | one running process: spawn, lines in and out, stop, stderr |
//! | 3 | [`server`] | one MCP server: the mux (pure), the instance task, the server task |
//! | 3 | [`import`] | moving in and out: discovery, plan, crash-safe writing, undo, export |
//! | 4 | [`aggregate`] | many servers as one: names, lists, routing |
//! | 5 | [`session`] | legacy sessions: their streams, asks and the method table |
//! | 6 | [`exchange`] | modern requests: one exchange each, calls that are parked between two, listeners |
//! | 7 | [`http`], [`control`] | the edge (the only room that knows status codes); hub talking to hub |
//! | 8 | [`daemon`] | bootstrap, supervisor, reload, shutdown |
//! | 8 | [`service`] | what keeps hub running: a background process, systemd, launchd |
//! | 9 | [`stdio`] | the bridge for clients that speak only stdio |
//! | 9 | [`doctor`] | what is wrong on this machine and what to do about it. Only looks, but for `--kill` |
//! | 10 | [`cli`] | one file per verb |
//!
//! # The hot path
//!
//! `http::conn` reads a request head, `http::guard` checks Host and Origin, `http::endpoint` collects the body,
//! [`mcp::message::parse`] finds the envelope's byte ranges in one pass, `session` finds the caller, and
//! [`server::InstanceHandle`] queues the call. The instance task gives it a wire id in the [`server::mux`], splices the
//! line and writes it to the pipe. The answer comes back as one line; the mux finds the call by its wire id and hands
//! the untouched result bytes to the call's outlet, from which the HTTP response body takes them. Payload bytes are
//! never parsed into a tree and are copied at most once per direction.

pub mod aggregate;
pub mod backoff;
pub mod bridge;
pub mod child;
pub mod cli;
pub mod clients;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod exchange;
pub mod files;
pub mod http;
pub mod import;
pub mod limits;
pub mod mcp;
pub mod platform;
pub mod server;
pub mod service;
pub mod session;
pub mod stdio;
pub mod store;
pub mod tasks;
