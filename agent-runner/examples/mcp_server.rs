//! The MCP server of the tests as a program, spoken to over standard input and output.

use rmcp::{ServiceExt, transport::stdio};

#[path = "../src/mcp/tests/fake_server.rs"]
mod fake_server;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    eprint_line("starting");
    match mode.as_str() {
        "broken" => anyhow::bail!("this server does not start"),
        "silent" => std::future::pending().await,
        _ => {}
    }
    fake_server::FakeServer::default().serve(stdio()).await?.waiting().await?;
    Ok(())
}

fn eprint_line(text: &str) {
    // The runner reads this; there is nobody to tell if it does not.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}
