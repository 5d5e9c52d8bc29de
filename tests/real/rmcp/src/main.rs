//! rmcp 3.9 on either side of hub: `serve` is a dual-era stdio server, `rmcp-auto` and `rmcp-initialize` are clients.
//!
//! In: for a client, the job and commands of ts.mjs on stdin. Out: its JSON lines on stdout. State: the connections. May
//! not: judge anything; the Rust test that started it does.

mod client;
mod server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => server::serve().await,
        Some("rmcp-auto") => client::run(true).await,
        Some("rmcp-initialize") => client::run(false).await,
        other => Err(format!("serve, rmcp-auto or rmcp-initialize, not {other:?}").into()),
    }
}
