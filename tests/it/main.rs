//! Black-box tests: the real `hub` binary between raw HTTP clients and scripted servers.
//!
//! In: the hub binary (`HUB_BIN`, or the one cargo built) and the `fake_server` example. Out: a verdict per rule of PROTOCOL.md 5.3 and DESIGN.md. Each
//! test owns its hub, its folder and its processes. May not: link hub's code, use an SDK, touch the user's files, or
//! leave a process behind.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests block, sleep while they poll, and say on stderr why they failed"
)]

mod add;
mod aggregate;
mod asks;
mod attribution;
mod background;
mod bad_input;
mod cancel;
mod cli;
mod cold_start;
mod connect;
mod crash;
mod doctor;
mod eras;
mod handshake;
mod http_rules;
mod ids;
mod import;
mod import_corpus;
mod import_killed;
mod leftovers;
mod legacy_on_modern;
mod logging;
mod modern_aggregate;
mod modern_headers;
mod modern_listen;
mod modern_mrtr;
mod modern_results;
mod modern_sharing;
mod modern_tasks;
mod noise;
mod notify;
mod progress;
mod reload;
mod restart;
mod service;
mod sharing;
mod slow;
mod soak;
mod soak_modern;
mod sse_2024;
mod status;
mod streams;
mod subscriptions;
mod support;
mod systemd;
mod tasks;
mod up;
