//! `clawdbot gateway`.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anyhow::Context;
use shared::{admin::Admin, process::Process};
use tokio::net::TcpListener;

use crate::{stack::Stack, token::Token};

pub(crate) async fn serve(process: &Process, token: &Token) -> anyhow::Result<()> {
    let config = gateway_http::Config::load(&process.document)?;
    // First the port: another gateway on it is the likeliest trouble, and better known before a model is fetched.
    let listener =
        TcpListener::bind(config.listen()).await.with_context(|| format!("cannot listen on {}", config.listen()))?;
    let address = listener.local_addr()?;
    let admin = Admin::start(&process.document, &process.shutdown).await?;
    let stack = tokio::select! {
        stack = Stack::build(&process.document, &process.environment) => stack?,
        () = process.shutdown.cancelled() => return Ok(()),
    };
    tracing::info!(%address, "the gateway is listening");
    welcome(address, token).context("cannot write to standard output")?;
    let gateway = config.build(stack.runner(), stack.store());
    let of_admin = gateway.clone();
    admin.serves(move || of_admin.readiness());
    gateway_http::serve(gateway, listener, process.shutdown.clone()).await;
    stack.shutdown().await;
    admin.shutdown().await;
    Ok(())
}

/// Says how to talk to the gateway.
fn welcome(address: SocketAddr, token: &Token) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "Clawdbot is listening on http://{address}")?;
    let bearer = match token {
        Token::Configured => "YOUR_TOKEN".to_owned(),
        Token::Kept { path } => {
            writeln!(out, "Its token is in {}", path.display())?;
            format!("'\"$(cat {})\"'", path.display())
        }
        Token::Made { token, path } => {
            writeln!(out, "Its token, kept in {} and not shown again: {token}", path.display())?;
            token.clone()
        }
    };
    writeln!(
        out,
        "\nTry it:\n  curl -N http://{address}/v1/chat/completions -H 'Authorization: Bearer {bearer}' \
         -H 'Content-Type: application/json' \
         -d '{{\"model\": \"clawdbot\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"hi\"}}]}}'"
    )?;
    out.flush()
}
