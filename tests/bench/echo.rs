//! The child of the bench: a minimal stdio MCP server with one tool, `echo`, that returns its argument `v` as text.
//!
//! With `--modern` it speaks 2026-07-28 and nothing else; without, only the revisions with a handshake.
//!
//! In: lines on stdin. Out: one line per request on stdout, in the order of the requests. Owns two buffers. May not: do
//! anything that hides what a gateway costs, so it is single-threaded, splices the id and the argument as raw bytes and
//! writes once per read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Spare room kept in the read buffer: several small requests, or one full pipe, arrive in one read.
const READ_BYTES: usize = 128 << 10;

const TOOLS: &[u8] = br#"{"tools":[{"name":"echo","description":"Returns v","inputSchema":{"type":"object","properties":{"v":{"type":"string"}},"required":["v"]}}]}"#;

const MODERN_TOOLS: &[u8] = br#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{"name":"echo","description":"Returns v","inputSchema":{"type":"object","properties":{"v":{"type":"string"}},"required":["v"]}}]}"#;
const DISCOVERED: &[u8] = br#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench-echo","version":"1.0.0"}}}"#;

/// What the echo server reads of a message. The `tools/call` parameters are part of it, so that one pass is enough.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Params<'a> {
    protocol_version: Option<&'a str>,
    #[serde(borrow)]
    arguments: Arguments<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Arguments<'a> {
    #[serde(borrow)]
    v: Option<&'a RawValue>,
}

fn main() -> io::Result<()> {
    let is_modern = std::env::args().any(|arg| arg == "--modern");
    // The bare descriptors: std's own buffers would add a copy each way.
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut input = Vec::new();
    let mut output = Vec::new();
    let (mut filled, mut searched) = (0, 0);
    loop {
        if input.len() - filled < READ_BYTES {
            input.resize((input.len() * 2).max(filled + READ_BYTES), 0);
        }
        let count = stdin.read(&mut input[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut start = 0;
        while let Some(found) = memchr::memchr(b'\n', &input[searched..filled]) {
            let end = searched + found;
            answer(&input[start..end], is_modern, &mut output);
            start = end + 1;
            searched = start;
        }
        searched = filled - start;
        input.copy_within(start..filled, 0);
        filled -= start;
        if !output.is_empty() {
            stdout.write_all(&output)?;
            output.clear();
        }
    }
}

/// Appends the answer to one line, if it asks for one.
fn answer(line: &[u8], is_modern: bool, output: &mut Vec<u8>) {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(line) else {
        return;
    };
    let (Some(id), Some(method)) = (request.id, request.method) else {
        return;
    };
    output.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    output.extend_from_slice(id.get().as_bytes());
    let result = |output: &mut Vec<u8>, pieces: &[&[u8]]| {
        output.extend_from_slice(br#","result":"#);
        for piece in pieces {
            output.extend_from_slice(piece);
        }
    };
    match method {
        "tools/call" => {
            let v = request.params.arguments.v.map_or("null", RawValue::get).as_bytes();
            let start: &[u8] = if is_modern { br#"{"resultType":"complete","content""# } else { br#"{"content""# };
            result(output, &[start, br#":[{"type":"text","text":"#, v, b"}]}"]);
        }
        "tools/list" => result(output, &[if is_modern { MODERN_TOOLS } else { TOOLS }]),
        "server/discover" if is_modern => result(output, &[DISCOVERED]),
        "initialize" if !is_modern => {
            let version = request.params.protocol_version.unwrap_or("2025-11-25").as_bytes();
            let rest = br#"","capabilities":{"tools":{}},"serverInfo":{"name":"bench-echo","version":"1.0.0"}}"#;
            result(output, &[br#"{"protocolVersion":""#, version, rest]);
        }
        "ping" => result(output, &[b"{}"]),
        _ => output.extend_from_slice(br#","error":{"code":-32601,"message":"Method not found"}"#),
    }
    output.extend_from_slice(b"}\n");
}
